"""Who owns what and who ordered what: the records that live in memory and go into the snapshot."""

from dataclasses import dataclass, field, fields
from decimal import Decimal

from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.matching import BookOrder

ZERO = Decimal(0)
OPEN_STATUSES = frozenset({"NEW", "PENDING_NEW", "PARTIALLY_FILLED"})

_HOLDING_STATUSES = OPEN_STATUSES - {"PENDING_NEW"}

_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A checked request for an order, in the wire's words. Zero means that a number was not given; `trailing_delta` is in BIPS."""

    symbol: str
    side: Side
    type: str
    time_in_force: str
    client_order_id: str | None
    quantity: Decimal = ZERO
    notional: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_delta: int = 0

    @property
    def waits(self) -> bool:
        """Whether it sleeps until the market reaches its trigger."""
        return _TYPES[self.type].waits


@dataclass(slots=True)
class Balance:
    """Free and locked amount of one asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    def copy(self) -> "Balance":
        """Return another like it."""
        return Balance(self.free, self.locked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill of one account's order. `time` in wall ms; the commission is in `commission_asset` units."""

    id: int
    order_id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool

    @property
    def quote_quantity(self) -> Decimal:
        """What changed hands, in quote units."""
        return self.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """One lowering of an order's quantity (base units), with the client ids before and after; `time` in wall ms."""

    id: int
    old_client_id: str
    new_client_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    time: int


@dataclass(slots=True, kw_only=True)
class OrderRecord:
    """An order with everything the venue tells about it. Types and states are the wire's words; times are wall ms.

    `unit_reserve` is what a buy keeps back for each base unit. `held` is what it has locked at the moment: of the legs of an OCO one holds
    for both. `oco` names the pair it is a leg of, empty if none; `list_id` is -1 outside of lists.
    """

    order_id: int
    api_key: str
    client_order_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    price: Decimal
    quantity: Decimal
    notional: Decimal
    stop_price: Decimal
    time: int
    received_ns: int
    unit_reserve: Decimal = ZERO
    trailing_delta: int = 0
    trailing_time: int = -1
    list_id: int = -1
    oco: str = ""
    expiry_reason: str = ""
    update_time: int = 0
    working_time: int = -1
    status: str = "NEW"
    held: Decimal = ZERO
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    executions: list[Execution] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)

    def copy(self) -> "OrderRecord":
        """Return another like it; copy.copy takes several times as long, and every change is told with one."""
        other = object.__new__(OrderRecord)
        for name in _ORDER_FIELDS:
            setattr(other, name, getattr(self, name))
        other.executions, other.amendments = self.executions.copy(), self.amendments.copy()
        return other

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES

    @property
    def is_working(self) -> bool:
        """Whether it is in the book: untriggered stops are not."""
        return self.working_time >= 0

    @property
    def remaining(self) -> Decimal:
        """Open base quantity."""
        return self.quantity - self.executed

    @property
    def cancel_id(self) -> str:
        """The client id of a request to cancel it that gave none."""
        return f"cancel{self.order_id:016d}"

    @property
    def waits(self) -> bool:
        """Whether it is of a type that sleeps until the market reaches its trigger."""
        return _TYPES[self.type].waits

    @property
    def has_limit(self) -> bool:
        """Whether it carries a limit price."""
        return _TYPES[self.type].has_limit

    @property
    def wanted(self) -> Decimal:
        """What its open remainder must keep back: quote units for a buy, base units for a sell. Pending orders keep back nothing."""
        if self.type == "MARKET" or self.status not in _HOLDING_STATUSES:
            return ZERO
        return self.remaining * self.unit_reserve if self.side is Side.BUY else self.remaining


_ORDER_FIELDS = tuple(field.name for field in fields(OrderRecord))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewList:
    """A checked request for an order list: the orders that wait for `working`, or without it go into the book at once.

    Two of them exclude each other; the one that is a stop loss comes first.
    """

    client_id: str | None
    working: NewOrder | None
    legs: tuple[NewOrder, ...]

    @property
    def orders(self) -> tuple[NewOrder, ...]:
        """All orders, in the order they are numbered."""
        return self.legs if self.working is None else (self.working, *self.legs)


@dataclass(slots=True, kw_only=True)
class OrderList:
    """Orders that depend on each other, by id. `working_id` is 0 for an OCO; times are wall ms."""

    list_id: int
    api_key: str
    symbol: str
    client_id: str
    order_ids: list[int]
    working_id: int
    time: int
    update_time: int
    is_done: bool = False

    @property
    def contingency(self) -> str:
        """OCO or OTO; a list whose pending orders exclude each other is an OTO, too."""
        return "OTO" if self.working_id else "OCO"

    @property
    def leg_ids(self) -> list[int]:
        """The orders that wait for the working one, or all when there is none."""
        return [order_id for order_id in self.order_ids if order_id != self.working_id]


@dataclass(slots=True, kw_only=True)
class Account:
    """A key pair with balances and its own orders. Only keys that were made here are let in.

    With `pays_in_bnb` fees are taken in BNB, at a discount, where there is enough of it, with `pays_in_quote` in the quote asset, of buys
    too. The flags after them are the key's: a test can take permissions away. `may_withdraw` and `is_ip_bound` are only told; no money
    leaves here, and every client is at one address.
    """

    api_key: str
    api_secret: str = field(repr=False)
    update_time: int = 0
    pays_in_bnb: bool = False
    pays_in_quote: bool = False
    is_revoked: bool = False
    is_read_only: bool = False
    is_ip_allowed: bool = True
    may_withdraw: bool = False
    is_ip_bound: bool = True
    balances: dict[str, Balance] = field(default_factory=dict)
    orders: dict[int, OrderRecord] = field(default_factory=dict)
    by_client_id: dict[str, OrderRecord] = field(default_factory=dict)
    open_orders: dict[int, OrderRecord] = field(default_factory=dict)
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    lists: dict[int, OrderList] = field(default_factory=dict)
    open_lists: dict[int, OrderList] = field(default_factory=dict)

    def balance(self, asset: str) -> Balance:
        """Return the balance of an asset, which may be nothing."""
        return self.balances.setdefault(asset, Balance())

    def has_open_client_id(self, client_order_id: str) -> bool:
        """Whether an open order carries that id. Ids of finished orders may be used again, as on the real venue."""
        known = self.by_client_id.get(client_order_id)
        return known is not None and known.is_open

    def keep(self, order: OrderRecord) -> None:
        """Add an order to the indexes."""
        self.orders[order.order_id] = order
        self.by_client_id[order.client_order_id] = order
        if order.is_open:
            self.open_orders[order.order_id] = order

    def rename(self, order: OrderRecord, client_order_id: str) -> None:
        """Give an order another client id, under which alone it is found from now on."""
        if self.by_client_id.get(order.client_order_id) is order:
            del self.by_client_id[order.client_order_id]
        order.client_order_id = client_order_id
        self.by_client_id[client_order_id] = order

    def keep_list(self, order_list: OrderList) -> None:
        """Add an order list to the indexes."""
        self.lists[order_list.list_id] = order_list
        if not order_list.is_done:
            self.open_lists[order_list.list_id] = order_list

    def lock(self, asset: str, amount: Decimal) -> None:
        """Move `amount` from free to locked; negative gives it back."""
        balance = self.balance(asset)
        balance.free -= amount
        balance.locked += amount


def unit_reserve(order: NewOrder | OrderRecord, last_price: Decimal) -> Decimal:
    """Return what a buy keeps back for each base unit, in quote units.

    What a stop without limit will cost is not known before it triggers: it keeps back its stop price, or without one the last price.
    """
    return order.price or order.stop_price or last_price


def book_order(order: NewOrder | OrderRecord, order_id: int, *, oco: str = "") -> BookOrder:
    """Return an order as the matching engine takes it."""
    kind = _TYPES[order.type]
    return BookOrder(
        order_id=str(order_id),
        side=order.side,
        type=kind,
        quantity=None if order.notional else order.quantity,
        notional=order.notional or None,
        price=order.price if kind.has_limit else None,
        trigger_price=order.stop_price or None,
        trailing_delta=Decimal(order.trailing_delta).scaleb(-4) if order.trailing_delta else None,
        time_in_force=TimeInForce(order.time_in_force.lower()) if kind.has_limit else TimeInForce.GTC,
        oco=oco or None,
    )
