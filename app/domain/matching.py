"""The reference matching engine: orders of one symbol against a market that does not notice them.

What is known of the market comes in as depth (levels somebody offers now) and as tape prints (trades that happened). The rules:

1. An order that arrives takes the depth it reaches, level by level, as taker. What is left of a limit rests; what is left of a market or
   IOC order expires; FOK takes all or nothing.
2. A resting limit fills only when the market trades *through* its price (touch is not enough: others may have stood before us), at its
   own price, as maker, and never by more than the quantity traded. Better prices first, then earlier arrival.
3. A stop or take-profit sleeps until a print reaches its trigger (touch is enough); then it arrives like a fresh order, behind the others.
4. A notional buys or sells as many whole steps as it pays for.

Depth is not used up by our own orders and two of our orders never trade with each other: an assumption in the trader's favour for orders
that are large beside the depth. A quote alone fills nothing that rests. All is pure: no time, no I/O, Decimals only.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
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

    Exactly one of `quantity` (base units) and `notional` (quote units, market orders only) is given. `price` is the limit; `trigger_price`
    belongs to stop-limit and take-profit-limit orders.

    Raises:
        ValueError: a field is missing, superfluous or not positive.
    """

    order_id: str
    side: Side
    type: OrderType
    quantity: Decimal | None = None
    notional: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC

    def __post_init__(self) -> None:
        is_market = self.type is OrderType.MARKET
        has_trigger = self.type in (OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
        if (self.quantity is None) == (self.notional is None) or (self.notional is not None and not is_market):
            raise ValueError("an order has a quantity, or, if it is a market order, a notional instead")
        if (self.price is None) != is_market or (self.trigger_price is not None) != has_trigger:
            raise ValueError(f"a {self.type} order was given price {self.price} and trigger price {self.trigger_price}")
        if any(value is not None and value <= 0 for value in (self.quantity, self.notional, self.price, self.trigger_price)):
            raise ValueError("quantity, notional, price and trigger price must be positive")

    @property
    def fires_upwards(self) -> bool:
        """Whether a rising price triggers it: a buy stop and a sell take-profit; the other two wait for a fall."""
        return (self.type is OrderType.STOP_LIMIT) == (self.side is Side.BUY)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFill:
    """One execution: `price` in quote per base, `quantity` in base units."""

    order_id: str
    price: Decimal
    quantity: Decimal
    liquidity: Liquidity


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one event did, each tuple in the order it happened.

    `triggered` names sleeping orders that woke. `expired` names orders whose remainder the market could not fill and that do not rest.
    """

    fills: tuple[BookFill, ...] = ()
    triggered: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


NOTHING = Outcome()


def is_marketable(order: BookOrder, depth: Depth) -> bool:
    """Return whether `order`, arriving now, would take at least the best level."""
    levels = depth.facing(order.side)
    return bool(levels) and _reaches(order, levels[0].price)


def is_triggered(order: BookOrder, price: Decimal) -> bool:
    """Return whether a trade at `price` wakes a stop or take-profit order."""
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


class MatchingEngine:
    """The open orders of one symbol, and what the market's events do to them."""

    def __init__(self, *, step_size: Decimal) -> None:
        self._step_size = step_size
        self._arrivals = 0
        self._orders: dict[str, BookOrder] = {}
        self._remaining: dict[str, Decimal] = {}
        self._bids = _Queue(descending=True)
        self._asks = _Queue(descending=False)
        self._rising = _Queue(descending=False)
        self._falling = _Queue(descending=True)

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    def remaining(self, order_id: str) -> Decimal:
        """Return the open base quantity of an order, 0 if it is not open."""
        return self._remaining.get(order_id, ZERO)

    def submit(self, order: BookOrder, depth: Depth) -> Outcome:
        """Take in a new order.

        Raises:
            ValueError: an open order has that id.
        """
        if order.order_id in self._orders:
            raise ValueError(f"order {order.order_id} is already open")
        if order.trigger_price is not None:
            self._keep(order, order.quantity or ZERO, queue=self._sleepers(order), key=order.trigger_price)
            return NOTHING
        return self._arrive(order, depth)

    def restore(self, order: BookOrder, *, remaining: Decimal, is_awake: bool) -> None:
        """Put an order back that was open before a restart, without matching it. Call in the order of arrival.

        Args:
            order: A limit, stop-limit or take-profit-limit order.
            remaining: Open base quantity.
            is_awake: Whether it rests in the book; False means that its trigger is still awaited.

        Raises:
            ValueError: it can neither rest nor sleep.
        """
        key = order.price if is_awake else order.trigger_price
        if key is None:
            raise ValueError(f"order {order.order_id} cannot have been open")
        self._keep(order, remaining, queue=self._book_side(order.side) if is_awake else self._sleepers(order), key=key)

    def trade(self, tape_print: TapePrint, depth: Depth) -> Outcome:
        """Let a trade of the market fill what rests and wake what waits; `depth` is what woken orders find."""
        fills: list[BookFill] = []
        quantity_left = tape_print.quantity // self._step_size * self._step_size
        for queue, is_through in (
            (self._bids, lambda limit: tape_print.price < limit),
            (self._asks, lambda limit: tape_print.price > limit),
        ):
            quantity_left = self._fill_resting(queue, is_through, quantity_left, fills)
        woken = self._wake(tape_print.price)
        if not fills and not woken:
            return NOTHING
        expired: list[str] = []
        for order in woken:
            outcome = self._arrive(order, depth)
            fills.extend(outcome.fills)
            expired.extend(outcome.expired)
        return Outcome(fills=tuple(fills), triggered=tuple(order.order_id for order in woken), expired=tuple(expired))

    def reacts_to(self, *, low: Decimal, high: Decimal) -> bool:
        """Return whether trades between `low` and `high` could fill or wake anything; a cheap way to pass over quiet stretches."""
        bid, ask, rising, falling = self._bids.head(), self._asks.head(), self._rising.head(), self._falling.head()
        return (
            (bid is not None and bid.key > low)
            or (ask is not None and ask.key < high)
            or (rising is not None and rising.key <= high)
            or (falling is not None and falling.key >= low)
        )

    def cancel(self, order_id: str) -> Decimal:
        """Take an open order out and return the base quantity that was still open; 0 if it was not open."""
        remaining = self._remaining.get(order_id, ZERO)
        if order_id in self._orders:
            self._drop(order_id)
        return remaining

    def _arrive(self, order: BookOrder, depth: Depth) -> Outcome:
        fills = take(order, depth, step_size=self._step_size)
        filled = sum((fill.quantity for fill in fills), ZERO)
        if order.notional is not None:
            spent = sum((fill.price * fill.quantity for fill in fills), ZERO)
            is_done = bool(fills) and order.notional - spent < fills[-1].price * self._step_size
            return Outcome(fills=fills, expired=() if is_done else (order.order_id,))
        remaining = (order.quantity or ZERO) - filled
        if remaining <= 0:
            return Outcome(fills=fills)
        if order.price is None or order.time_in_force is not TimeInForce.GTC:
            return Outcome(fills=fills, expired=(order.order_id,))
        self._keep(order, remaining, queue=self._book_side(order.side), key=order.price)
        return Outcome(fills=fills)

    def _fill_resting(
        self, queue: "_Queue", is_through: Callable[[Decimal], bool], quantity_left: Decimal, fills: list[BookFill]
    ) -> Decimal:
        while quantity_left > 0 and (head := queue.head()) is not None and is_through(head.key):
            quantity = min(quantity_left, self._remaining[head.order_id])
            fills.append(BookFill(order_id=head.order_id, price=head.key, quantity=quantity, liquidity=Liquidity.MAKER))
            quantity_left -= quantity
            self._remaining[head.order_id] -= quantity
            if self._remaining[head.order_id] <= 0:
                self._drop(head.order_id)
        return quantity_left

    def _wake(self, price: Decimal) -> list[BookOrder]:
        woken: list[_Entry] = []
        for queue in (self._rising, self._falling):
            while (head := queue.head()) is not None and is_triggered(self._orders[head.order_id], price):
                woken.append(head)
                queue.remove(head.order_id)
        orders = [self._orders[entry.order_id] for entry in sorted(woken, key=lambda entry: entry.arrival)]
        for order in orders:
            self._drop(order.order_id)
        return orders

    def _keep(self, order: BookOrder, remaining: Decimal, *, queue: "_Queue", key: Decimal) -> None:
        self._arrivals += 1
        self._orders[order.order_id] = order
        self._remaining[order.order_id] = remaining
        queue.add(order.order_id, key, self._arrivals)

    def _drop(self, order_id: str) -> None:
        del self._orders[order_id], self._remaining[order_id]
        for queue in (self._bids, self._asks, self._rising, self._falling):
            queue.remove(order_id)

    def _book_side(self, side: Side) -> "_Queue":
        return self._bids if side is Side.BUY else self._asks

    def _sleepers(self, order: BookOrder) -> "_Queue":
        return self._rising if order.fires_upwards else self._falling


@dataclass(frozen=True, slots=True)
class _Entry:
    key: Decimal
    arrival: int
    order_id: str


class _Queue:
    """Order ids by price, then arrival; the head is the one that goes first."""

    def __init__(self, *, descending: bool) -> None:
        self._sign = -1 if descending else 1
        self._entries: list[tuple[Decimal, int, _Entry]] = []
        self._ranks: dict[str, tuple[Decimal, int]] = {}

    def add(self, order_id: str, key: Decimal, arrival: int) -> None:
        rank = (self._sign * key, arrival)
        self._ranks[order_id] = rank
        insort(self._entries, (*rank, _Entry(key, arrival, order_id)))

    def head(self) -> _Entry | None:
        return self._entries[0][2] if self._entries else None

    def remove(self, order_id: str) -> None:
        rank = self._ranks.pop(order_id, None)
        if rank is not None:
            del self._entries[bisect_left(self._entries, rank, key=lambda entry: entry[:2])]


def _reaches(order: BookOrder, price: Decimal) -> bool:
    if order.price is None:
        return True
    return price <= order.price if order.side is Side.BUY else price >= order.price


def _wants_more(order: BookOrder, price: Decimal, *, quantity_left: Decimal, notional_left: Decimal, step_size: Decimal) -> bool:
    if order.notional is None:
        return quantity_left > 0
    return notional_left >= price * step_size
