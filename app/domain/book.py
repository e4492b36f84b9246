"""The words of the matching engine, and what an order takes from a visible book. All is pure: no time, no I/O, Decimals only."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.enums import Liquidity, OrderType, Side, TimeInForce

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A price (quote per base) and the base quantity offered there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The visible book, best level first on each side."""

    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()

    def facing(self, side: Side) -> tuple[Level, ...]:
        """Return the levels an order of `side` takes from."""
        return self.asks if side is Side.BUY else self.bids


@dataclass(frozen=True, slots=True, kw_only=True)
class TapePrint:
    """A trade that happened in the market: price in quote per base, quantity in base units."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOrder:
    """An order as the book sees it.

    Exactly one of `quantity` (base units) and `notional` (quote units, market orders only) is given. `price` is the limit, of the types
    that have one. An order that waits has a `trigger_price`, or a `trailing_delta`, or both: see domain.trailing. `trailing_delta` is a
    fraction of the best price seen, 0.01 is 1 %. Of the orders with the same `oco` only one may ever fill: see rule 5 of domain.matching.

    Raises:
        ValueError: a field is missing, superfluous or out of range.
    """

    order_id: str
    side: Side
    type: OrderType
    quantity: Decimal | None = None
    notional: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trailing_delta: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    oco: str | None = None

    def __post_init__(self) -> None:
        kind = self.type
        if (self.quantity is None) == (self.notional is None) or (self.notional is not None and kind is not OrderType.MARKET):
            raise ValueError("an order has a quantity, or, if it is a market order, a notional instead")
        if (self.price is not None) != kind.has_limit:
            raise ValueError(f"a {kind} order was given price {self.price}")
        if (self.trigger_price is not None or self.trailing_delta is not None) != kind.waits or (
            kind is OrderType.TRAILING_STOP and self.trailing_delta is None
        ):
            raise ValueError(f"a {kind} order was given trigger price {self.trigger_price} and trailing delta {self.trailing_delta}")
        if any(value is not None and value <= 0 for value in (self.quantity, self.notional, self.price, self.trigger_price)):
            raise ValueError("quantity, notional, price and trigger price must be positive")
        if self.trailing_delta is not None and not 0 < self.trailing_delta < 1:
            raise ValueError(f"a trailing delta is a fraction above 0 and below 1, was {self.trailing_delta}")

    @property
    def fires_upwards(self) -> bool:
        """Whether its trigger price is reached by a rise: of a buy stop, of a sell take-profit and of a sell trailing stop."""
        return (self.type in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)) == (self.side is Side.BUY)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFill:
    """One execution: `price` in quote per base, `quantity` in base units."""

    order_id: str
    price: Decimal
    quantity: Decimal
    liquidity: Liquidity


def is_marketable(order: BookOrder, depth: Depth) -> bool:
    """Return whether `order`, arriving now, would take at least the best level."""
    levels = depth.facing(order.side)
    return bool(levels) and _reaches(order, levels[0].price)


def is_triggered(order: BookOrder, price: Decimal) -> bool:
    """Return whether a trade at `price` reaches the trigger price of an order that waits for one."""
    if order.trigger_price is None:
        return False
    return price >= order.trigger_price if order.fires_upwards else price <= order.trigger_price


def take(order: BookOrder, depth: Depth, *, step_size: Decimal) -> tuple[BookFill, ...]:
    """Return the fills `order` gets from `depth` if it arrives now; its trigger is not looked at.

    Args:
        order: For a notional, quantities are floored to `step_size` (base units) and the notional is never exceeded.
        depth: Levels to walk, best first.
        step_size: Smallest quantity increment, base units.
    """
    fills: list[BookFill] = []
    quantity_left, notional_left = order.quantity or ZERO, order.notional or ZERO
    for level in depth.facing(order.side):
        if not _reaches(order, level.price):
            break
        if order.notional is None:
            quantity = min(quantity_left, level.quantity)
        else:
            # Whole steps by exact integer division: a rounded quotient could spend a hair more than the notional.
            quantity = min(notional_left // (level.price * step_size), level.quantity // step_size) * step_size
        if quantity > 0:
            fills.append(BookFill(order_id=order.order_id, price=level.price, quantity=quantity, liquidity=Liquidity.TAKER))
            quantity_left -= quantity
            notional_left -= quantity * level.price
        if not _wants_more(order, level.price, quantity_left=quantity_left, notional_left=notional_left, step_size=step_size):
            return tuple(fills)
    return () if order.time_in_force is TimeInForce.FOK else tuple(fills)


def _reaches(order: BookOrder, price: Decimal) -> bool:
    if order.price is None:
        return True
    return price <= order.price if order.side is Side.BUY else price >= order.price


def _wants_more(order: BookOrder, price: Decimal, *, quantity_left: Decimal, notional_left: Decimal, step_size: Decimal) -> bool:
    if order.notional is None:
        return quantity_left > 0
    return notional_left >= price * step_size
