"""Shapes of the trading API. Money is a JSON string."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from app.domain.enums import Execution, OrderType, Role, Side, Source, TimeInForce
from app.domain.instruments import plain
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.domain.ticket import Size, SizeBy
from app.errors import DenialReason, OrderDenied
from app.trading.queries import MarkedPosition
from app.trading.wish import Wish

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,3})?")
_LONGEST_NUMBER = 60
#: What NUMERIC(38, 18) holds before and behind the point.
_DIGITS = 18


def parse_decimal(value: object) -> Decimal:
    """Return a number that a person or a program wrote, exactly: text with one `.` or `,`, or a JSON number.

    Raises:
        ValueError: it is not a finite number, has grouping marks, or is absurdly long.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004  # pydantic turns ValueError into a field's problem
    text = str(value).strip()
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError(f"must be a number like 0.01, was {text[:40]}")
    number = Decimal(text.replace(",", "."))
    if not number.is_finite() or (number and not -_DIGITS <= number.adjusted() <= _DIGITS):
        raise ValueError("must be a number of a size that markets know")
    return number


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError(f"must be more than 0, was {plain(value)}")
    return value


def _money(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


Amount = Annotated[Decimal, BeforeValidator(parse_decimal), AfterValidator(_positive), Field(json_schema_extra={"type": "string"})]
MoneyOut = Annotated[Decimal, PlainSerializer(_money, return_type=str)]


class TargetIn(BaseModel):
    """A price at which `percent` (0–100) of the position is to be sold."""

    model_config = ConfigDict(extra="forbid")

    price: Amount
    percent: Amount


def plan_of(
    *,
    stop_loss: Decimal | None,
    stop_limit_price: Decimal | None,
    trailing_percent: Decimal | None,
    take_profit: Decimal | None,
    take_profits: list[TargetIn],
    break_even_after: int | None,
) -> ProtectionPlan:
    """Return the plan that the API's fields mean; `take_profit` sells everything at one price."""
    targets = [Target(price=target.price, fraction=target.percent / 100) for target in take_profits]
    if take_profit is not None:
        targets.append(Target(price=take_profit, fraction=Decimal(1)))
    return ProtectionPlan(
        stop_price=stop_loss,
        stop_limit_price=stop_limit_price,
        trailing_delta=None if trailing_percent is None else trailing_percent / 100,
        targets=tuple(targets),
        break_even_after=break_even_after,
    )


class OrderIn(BaseModel):
    """A new order. Give one of `quantity` (base), `notional` (quote) or `percent` (of the free balance, 0–100).

    Or let a buy be sized by what may be lost at its stop, fees of both ways included: `risk` (quote) or `risk_percent` (of equity, 0–100).
    `stop_loss`, `take_profit(s)` and, except for a trailing stop itself, `trailing_percent` guard what a buy opens: they make it a bracket.
    """

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(min_length=1, max_length=60)
    side: Side
    type: OrderType = OrderType.MARKET
    broker_id: UUID | None = None
    quantity: Amount | None = None
    notional: Amount | None = None
    percent: Amount | None = None
    risk: Amount | None = None
    risk_percent: Amount | None = None
    price: Amount | None = None
    trigger_price: Amount | None = None
    trailing_percent: Amount | None = None
    stop_loss: Amount | None = None
    stop_limit_price: Amount | None = None
    take_profit: Amount | None = None
    take_profits: list[TargetIn] = Field(default_factory=list, max_length=20)
    break_even_after: int | None = Field(None, ge=1, le=20)
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    client_intent_id: str | None = Field(None, min_length=1, max_length=100)

    def intent(self, key: str) -> OrderIntent:
        """Return the intent, identified by `key`."""
        return OrderIntent(
            symbol=self.symbol,
            side=self.side,
            source=Source.MANUAL,
            key=key,
            type=self.type,
            quantity=self.quantity,
            notional=self.notional,
            percent=None if self.percent is None else self.percent / 100,
            price=self.price,
            trigger_price=self.trigger_price,
            trailing_delta=self.trailing_percent / 100 if self._is_trailing and self.trailing_percent is not None else None,
            protection=plan_of(
                stop_loss=self.stop_loss,
                stop_limit_price=self.stop_limit_price,
                trailing_percent=None if self._is_trailing else self.trailing_percent,
                take_profit=self.take_profit,
                take_profits=self.take_profits,
                break_even_after=self.break_even_after,
            ),
            time_in_force=self.time_in_force,
            post_only=self.post_only,
        )

    def wish(self, key: str) -> Wish:
        """Return the wish, identified by `key`. Two sizes, of which one is a risk, are refused as any two are.

        Raises:
            OrderDenied: QUANTITY_INVALID.
        """
        intent = self.intent(key)
        risks = {"risk": self.risk, "risk_percent": self.risk_percent}
        named = [name for name in ("quantity", "notional", "percent") if getattr(self, name) is not None]
        named += [name for name, value in risks.items() if value is not None]
        if len(named) > 1:
            raise OrderDenied(DenialReason.QUANTITY_INVALID, f"say how much in one way only, was {' and '.join(named)}", field=named[1])
        if self.risk is not None:
            return Wish(intent=intent, size=Size(by=SizeBy.RISK, value=self.risk))
        if self.risk_percent is not None:
            return Wish(intent=intent, size=Size(by=SizeBy.RISK_PERCENT, value=self.risk_percent / 100))
        return Wish(intent=intent, size=None)

    @property
    def _is_trailing(self) -> bool:
        return self.type is OrderType.TRAILING_STOP


class Denial(BaseModel):
    """Why an order was refused, by us or by the exchange."""

    code: str
    detail: str


class OrderOut(BaseModel):
    """An order. A `supervised` one is watched by this server, because the exchange cannot; `is_working` is False until a stop triggers."""

    id: UUID
    client_order_id: str
    venue_order_id: str | None
    broker_id: UUID
    symbol: str
    side: Side
    type: OrderType
    state: str
    quantity: MoneyOut
    filled_quantity: MoneyOut
    average_price: MoneyOut | None
    price: MoneyOut | None
    trigger_price: MoneyOut | None
    trailing_percent: MoneyOut | None
    notional: MoneyOut | None
    role: Role
    execution: Execution
    is_working: bool
    triggered_at: datetime | None
    group_id: UUID | None
    replaces_id: UUID | None
    fee: MoneyOut | None
    fee_asset: str | None
    time_in_force: TimeInForce
    post_only: bool
    source: Source
    delivery_id: UUID | None
    bot_id: UUID | None
    denial: Denial | None
    detail: str | None
    sent_at: datetime | None
    acknowledged_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Any) -> "OrderOut":
        """Return an order of a database row of `queries.ORDERS`."""
        values = {name: row[name] for name in cls.model_fields if name not in ("denial", "detail", "trailing_percent")}
        refused = row["code"] is not None
        return cls(
            **values,
            trailing_percent=None if row["trailing_delta"] is None else row["trailing_delta"] * 100,
            denial=Denial(code=row["code"], detail=row["detail"] or "") if refused else None,
            detail=row["detail"],
        )


class OrderPage(BaseModel):
    """Orders, newest first; `next` is the cursor of the following page."""

    items: list[OrderOut]
    next: str | None


class FillOut(BaseModel):
    """One execution; `fee_worth` is what its fee was worth in the quote asset, null where nobody knew. `position_id` is what it changed.

    `bot_id` is of the bot whose order it was, null for the others.
    """

    trade_id: str
    order_id: UUID
    broker_id: UUID
    symbol: str
    side: Side
    price: MoneyOut
    quantity: MoneyOut
    fee: MoneyOut
    fee_asset: str
    fee_worth: MoneyOut | None
    liquidity: Literal["maker", "taker"]
    executed_at: datetime
    position_id: UUID | None
    bot_id: UUID | None


class FillPage(BaseModel):
    """Fills, newest first."""

    items: list[FillOut]
    next: str | None


class PositionOut(BaseModel):
    """A position; `quantity` is signed, P&L is in the symbol's quote currency.

    Each bot has its own in a symbol of an account (`bot_id`), beside that of whoever trades by hand (null). `delivery_id` is of the alert
    that opened it.
    """

    id: UUID
    broker_id: UUID
    symbol: str
    quantity: MoneyOut
    average_price: MoneyOut | None
    mark_price: MoneyOut | None
    unrealized_pnl: MoneyOut | None
    realized_pnl: MoneyOut
    stop: MoneyOut | None
    target: MoneyOut | None
    source: Source
    bot_id: UUID | None
    delivery_id: UUID | None
    opened_at: datetime

    @classmethod
    def of(cls, position: MarkedPosition) -> "PositionOut":
        """Return a position of a row of `queries.list_positions`."""
        row = position.row
        names = ("id", "broker_id", "symbol", "quantity", "average_price", "realized_pnl", "source", "bot_id", "delivery_id", "opened_at")
        return cls(
            mark_price=position.mark_price,
            unrealized_pnl=position.unrealized_pnl,
            stop=row["stop_loss"],
            target=row["take_profit"],
            **{name: row[name] for name in names},
        )


class PositionPage(BaseModel):
    """Open positions."""

    items: list[PositionOut]
    next: str | None = None
