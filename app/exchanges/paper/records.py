"""What the paper exchange keeps, in memory and in its tables, and how the port's reports read it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Context, Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.enums import Liquidity, OrderState, OrderType, Side, TimeInForce
from app.domain.matching import BookOrder
from app.domain.orders import Fill, Reported
from app.exchanges.port import VenueOrder, VenueTrade

ZERO: Final = Decimal(0)
OPEN_STATES: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})
#: Room for products of two numbers of the tables: the usual 28 digits would round sums of long ones.
EXACT: Final = Context(prec=80)
_GRAIN: Final = Decimal("1e-18")


def notional_of(price: Decimal, quantity: Decimal, rounding: str) -> Decimal:
    """Return price × quantity in quote units, to the eighteenth decimal: what is booked is what the tables hold.

    What is kept back is rounded up and what is paid down, so that the one always covers the other.
    """
    return EXACT.multiply(price, quantity).quantize(_GRAIN, rounding, EXACT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a paper account starts with, in USDT, and what its fills cost, as fractions of what they bring in."""

    balance_usdt: Decimal = Decimal(10_000)
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")


@dataclass(slots=True)
class Holding:
    """What an account has of one asset, in its units."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(slots=True, kw_only=True)
class PaperOrder:
    """An order at the paper exchange; `models.PaperOrderRow` says what the columns mean."""

    order_id: int
    client_order_id: str
    list_id: str | None
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal
    notional: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    trailing_delta: Decimal | None
    watermark: Decimal | None
    is_awake: bool
    state: OrderState
    filled_quantity: Decimal
    filled_notional: Decimal
    locked: Decimal
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Any) -> "PaperOrder":
        """Return the order of an asyncpg row that has every column."""
        values = {name: row[name] for name in cls.__slots__}
        values.update(
            side=Side(row["side"]),
            type=OrderType(row["type"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            state=OrderState(row["state"]),
        )
        return cls(**values)

    @property
    def key(self) -> str:
        """Its name in the matching engine."""
        return str(self.order_id)

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.state in OPEN_STATES

    @property
    def remaining(self) -> Decimal:
        """Open base quantity."""
        return self.quantity - self.filled_quantity

    @property
    def pays(self) -> str:
        """The asset it gives."""
        base, _, quote = self.symbol.partition("/")
        return quote if self.side is Side.BUY else base

    @property
    def gets(self) -> str:
        """The asset it brings in, out of which the fee is taken."""
        base, _, quote = self.symbol.partition("/")
        return base if self.side is Side.BUY else quote

    @property
    def needed(self) -> Decimal:
        """What its open rest keeps back: base units of a sell, quote units of a buy at its limit, or at the trigger as far as one knows."""
        if self.side is Side.SELL:
            return self.remaining
        price = self.price or self.trigger_price
        if price is None and self.watermark is not None and self.trailing_delta is not None:
            price = self.watermark * (1 + self.trailing_delta)
        return ZERO if price is None else notional_of(price, self.remaining, ROUND_UP)

    def in_book(self) -> BookOrder:
        """Return it as the matching engine takes it."""
        return BookOrder(
            order_id=self.key,
            side=self.side,
            type=self.type,
            quantity=None if self.notional is not None else self.quantity,
            notional=self.notional,
            price=self.price,
            trigger_price=self.trigger_price,
            trailing_delta=self.trailing_delta,
            time_in_force=self.time_in_force,
            oco=self.list_id,
        )

    def report(self, fills: tuple[Fill, ...] = ()) -> Reported:
        """Return what the port says of it."""
        return Reported(
            state=self.state,
            venue_order_id=self.key,
            filled_quantity=self.filled_quantity,
            average_price=self.filled_notional / self.filled_quantity if self.filled_quantity else None,
            fills=fills,
            is_working=self.is_awake or self.state is not OrderState.OPEN,
        )

    def listed(self) -> VenueOrder:
        """Return it as it stands in the exchange's lists."""
        return VenueOrder(
            symbol=self.symbol,
            client_order_id=self.client_order_id,
            side=self.side,
            type=self.type,
            quantity=self.quantity,
            price=self.price,
            trigger_price=self.trigger_price,
            created_at=self.created_at,
            report=self.report(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFill:
    """One execution. `notional` is price × quantity in quote units."""

    trade_id: int
    order_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Liquidity
    executed_at: datetime

    @classmethod
    def of(cls, row: Any) -> "PaperFill":
        """Return the fill of an asyncpg row that has every column."""
        values = {name: row[name] for name in cls.__slots__}
        return cls(**{**values, "side": Side(row["side"]), "liquidity": Liquidity(row["liquidity"])})

    def reported(self) -> Fill:
        """Return it as the port says it."""
        return Fill(
            trade_id=str(self.trade_id),
            price=self.price,
            quantity=self.quantity,
            fee=self.fee,
            fee_asset=self.fee_asset,
            liquidity=self.liquidity,
            executed_at=self.executed_at,
        )

    def listed(self) -> VenueTrade:
        """Return it as it stands in the account's list of executions."""
        return VenueTrade(venue_order_id=str(self.order_id), side=self.side, fill=self.reported())


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An account as the tables had it at one revision: its balances and the orders that are open."""

    broker_id: UUID
    user_id: UUID
    revision: int
    maker_fee: Decimal
    taker_fee: Decimal
    balance_usdt: Decimal
    last_order_id: int
    last_trade_id: int
    holdings: dict[str, Holding]
    orders: tuple[PaperOrder, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one step did to an account, to be written in one statement on top of `revision`.

    `restarted` says that the account began anew: balances that are not named here are gone.
    """

    broker_id: UUID
    revision: int
    last_order_id: int
    last_trade_id: int
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: tuple[PaperOrder, ...] = ()
    fills: tuple[PaperFill, ...] = ()
    restarted: bool = False
