"""The reference matching engine: orders of one symbol against a market that does not notice them.

What is known of the market comes in as depth (levels somebody offers now) and as tape prints (trades that happened). The rules:

1. An order that arrives takes the depth it reaches, level by level, as taker. What is left of a limit rests; what is left of a market or
   IOC order expires; FOK takes all or nothing.
2. A resting limit fills only when the market trades *through* its price (touch is not enough: others may have stood before us), at its
   own price, as maker, and never by more than the quantity traded. Better prices first, then earlier arrival.
3. A stop or take-profit sleeps until a print reaches its trigger (touch is enough); then it arrives like a fresh market or limit order,
   behind the others. With a trailing delta the trigger price only makes it active, and without one it is active at once: from then on it
   follows the market (see domain.trailing) and arrives when the market has come back by the delta.
4. A notional buys or sells as many whole steps as it pays for.
5. Of orders with the same `oco` the first that fills, be it in part, or is triggered displaces the others at once.

Depth is not used up by our own orders and two of our orders never trade with each other: an assumption in the trader's favour for orders
that are large beside the depth. A quote alone fills nothing that rests. All is pure: no time, no I/O, Decimals only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.book import ZERO, BookFill, BookOrder, Depth, Level, TapePrint, is_marketable, is_triggered, take
from app.domain.enums import Liquidity, Side, TimeInForce
from app.domain.matching_queue import PriceQueue
from app.domain.trailing import Trail

__all__ = [
    "NOTHING",
    "ZERO",
    "BookFill",
    "BookOrder",
    "Depth",
    "Level",
    "MatchingEngine",
    "Outcome",
    "TapePrint",
    "is_marketable",
    "is_triggered",
    "take",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one event did, each tuple in the order it happened.

    `triggered` names sleeping orders that woke, `activated` trailing stops whose trigger price was reached and that follow the market from
    now on. `expired` names orders whose remainder the market could not fill and that do not rest, `displaced` those whose place another of
    the same `oco` took; they fill no more.
    """

    fills: tuple[BookFill, ...] = ()
    triggered: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    activated: tuple[str, ...] = ()
    displaced: tuple[str, ...] = ()


NOTHING = Outcome()


class MatchingEngine:
    """The open orders of one symbol, and what the market's events do to them. `step_size` (base units) may change between events."""

    def __init__(self, *, step_size: Decimal) -> None:
        self.step_size = step_size
        self._arrivals = 0
        self._orders: dict[str, BookOrder] = {}
        self._remaining: dict[str, Decimal] = {}
        self._groups: dict[str, list[str]] = {}
        self._bids = PriceQueue(descending=True)
        self._asks = PriceQueue(descending=False)
        self._rising = PriceQueue(descending=False)
        self._falling = PriceQueue(descending=True)
        self._trails = {side: Trail(side) for side in Side}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    def remaining(self, order_id: str) -> Decimal:
        """Return the open base quantity of an order, 0 if it is not open."""
        return self._remaining.get(order_id, ZERO)

    def watermark(self, order_id: str) -> Decimal | None:
        """Return the best price (quote per base) an active trailing stop has seen; None for every other order. `restore` takes it back."""
        order = self._orders.get(order_id)
        return None if order is None or order.trailing_delta is None else self._trails[order.side].watermark(order_id)

    def submit(self, order: BookOrder, depth: Depth, *, last_price: Decimal | None = None) -> Outcome:
        """Take in a new order.

        Args:
            order: The order; its id is not open.
            depth: What it finds if it does not sleep.
            last_price: The market's last trade, quote per base: from there a trailing stop without trigger price follows the market.
                None lets it begin at the next trade.

        Raises:
            ValueError: an open order has that id.
        """
        if order.order_id in self._orders:
            raise ValueError(f"order {order.order_id} is already open")
        if order.type.waits:
            self._sleep(order, order.quantity or ZERO, watermark=None if order.trigger_price is not None else last_price)
            return NOTHING
        return self._arrive(order, depth)

    def restore(self, order: BookOrder, *, remaining: Decimal, is_awake: bool, watermark: Decimal | None = None) -> None:
        """Put an order back that was open before a restart, without matching it. Call in the order of arrival.

        Args:
            order: An order of a type that rests or waits.
            remaining: Open base quantity.
            is_awake: Whether it rests in the book; False means that its trigger is still awaited.
            watermark: What `watermark` had said of it.

        Raises:
            ValueError: it can neither rest nor sleep.
        """
        if order.price is None if is_awake else not order.type.waits:
            raise ValueError(f"order {order.order_id} cannot have been open")
        if is_awake:
            self._rest(order, remaining)
        else:
            self._sleep(order, remaining, watermark=watermark)

    def trade(self, tape_print: TapePrint, depth: Depth) -> Outcome:
        """Let a trade of the market fill what rests and wake what waits; `depth` is what woken orders find."""
        fills: list[BookFill] = []
        displaced: list[str] = []
        quantity_left = tape_print.quantity // self.step_size * self.step_size
        for queue, is_through in (
            (self._bids, lambda limit: tape_print.price < limit),
            (self._asks, lambda limit: tape_print.price > limit),
        ):
            quantity_left = self._fill_resting(queue, is_through, quantity_left, fills, displaced)
        woken, activated = self._wake(tape_print.price)
        if not fills and not woken and not activated:
            return NOTHING
        triggered: list[str] = []
        expired: list[str] = []
        for order in woken:
            if order.order_id not in self._orders:
                continue  # another of its group went first
            self._drop(order)
            triggered.append(order.order_id)
            self._displace_mates(order, displaced)
            outcome = self._arrive(order, depth)
            fills.extend(outcome.fills)
            expired.extend(outcome.expired)
        return Outcome(
            fills=tuple(fills),
            triggered=tuple(triggered),
            expired=tuple(expired),
            activated=tuple(order_id for order_id in activated if order_id in self._orders),
            displaced=tuple(displaced),
        )

    def reacts_to(self, *, low: Decimal, high: Decimal) -> bool:
        """Return whether trades between `low` and `high` could change anything; a cheap way to pass over quiet stretches.

        A trailing stop's watermark counts: whoever passes over trades that would move it loses it.
        """
        bid, ask, rising, falling = self._bids.head(), self._asks.head(), self._rising.head(), self._falling.head()
        return (
            (bid is not None and bid.key > low)
            or (ask is not None and ask.key < high)
            or (rising is not None and rising.key <= high)
            or (falling is not None and falling.key >= low)
            or any(trail.reacts_to(low=low, high=high) for trail in self._trails.values())
        )

    def cancel(self, order_id: str) -> Decimal:
        """Take an open order out and return the base quantity that was still open; 0 if it was not open."""
        order, remaining = self._orders.get(order_id), self._remaining.get(order_id, ZERO)
        if order is not None:
            self._drop(order)
        return remaining

    def reduce(self, order_id: str, remaining: Decimal) -> None:
        """Lower the open base quantity of an order, which keeps its place.

        Raises:
            ValueError: it is not open, or that is no reduction to something above 0.
        """
        open_quantity = self._remaining.get(order_id, ZERO)
        if not 0 < remaining < open_quantity:
            raise ValueError(f"order {order_id} has {open_quantity} open and cannot be reduced to {remaining}")
        order = self._orders[order_id]
        self._orders[order_id] = replace(order, quantity=(order.quantity or ZERO) - open_quantity + remaining)
        self._remaining[order_id] = remaining

    def _arrive(self, order: BookOrder, depth: Depth) -> Outcome:
        fills = take(order, depth, step_size=self.step_size)
        displaced: list[str] = []
        if fills:
            self._displace_mates(order, displaced)
        filled = sum((fill.quantity for fill in fills), ZERO)
        if order.notional is not None:
            spent = sum((fill.price * fill.quantity for fill in fills), ZERO)
            is_done = bool(fills) and order.notional - spent < fills[-1].price * self.step_size
            return Outcome(fills=fills, expired=() if is_done else (order.order_id,), displaced=tuple(displaced))
        remaining = (order.quantity or ZERO) - filled
        is_over = remaining > 0 and (order.price is None or order.time_in_force is not TimeInForce.GTC)
        if remaining > 0 and not is_over:
            self._rest(order, remaining)
        return Outcome(fills=fills, expired=(order.order_id,) if is_over else (), displaced=tuple(displaced))

    def _fill_resting(
        self,
        queue: PriceQueue,
        is_through: Callable[[Decimal], bool],
        quantity_left: Decimal,
        fills: list[BookFill],
        displaced: list[str],
    ) -> Decimal:
        while quantity_left > 0 and (head := queue.head()) is not None and is_through(head.key):
            order = self._orders[head.order_id]
            quantity = min(quantity_left, self._remaining[head.order_id])
            fills.append(BookFill(order_id=head.order_id, price=head.key, quantity=quantity, liquidity=Liquidity.MAKER))
            quantity_left -= quantity
            self._remaining[head.order_id] -= quantity
            self._displace_mates(order, displaced)
            if self._remaining[head.order_id] <= 0:
                self._drop(order)
        return quantity_left

    def _wake(self, price: Decimal) -> tuple[list[BookOrder], list[str]]:
        """Return the orders that a trade at `price` triggers, in order of arrival, and the ids of those it makes active."""
        woken: list[tuple[int, str]] = []
        activated: list[str] = []
        for trail in self._trails.values():
            if trail:
                woken.extend(trail.follow(price))
        for queue in (self._rising, self._falling):
            while (head := queue.head()) is not None and is_triggered(order := self._orders[head.order_id], price):
                queue.remove(head.order_id)
                if order.trailing_delta is None:
                    woken.append((head.arrival, head.order_id))
                else:
                    self._trails[order.side].add(head.order_id, order.trailing_delta, arrival=head.arrival, watermark=price)
                    activated.append(head.order_id)
        return [self._orders[order_id] for _, order_id in sorted(woken)], activated

    def _rest(self, order: BookOrder, remaining: Decimal) -> None:
        if order.price is not None:
            side = self._bids if order.side is Side.BUY else self._asks
            side.add(order.order_id, order.price, self._keep(order, remaining))

    def _sleep(self, order: BookOrder, remaining: Decimal, *, watermark: Decimal | None) -> None:
        arrival = self._keep(order, remaining)
        if order.trailing_delta is not None and (order.trigger_price is None or watermark is not None):
            self._trails[order.side].add(order.order_id, order.trailing_delta, arrival=arrival, watermark=watermark)
        elif order.trigger_price is not None:
            (self._rising if order.fires_upwards else self._falling).add(order.order_id, order.trigger_price, arrival)

    def _keep(self, order: BookOrder, remaining: Decimal) -> int:
        self._arrivals += 1
        self._orders[order.order_id] = order
        self._remaining[order.order_id] = remaining
        if order.oco is not None:
            self._groups.setdefault(order.oco, []).append(order.order_id)
        return self._arrivals

    def _displace_mates(self, order: BookOrder, displaced: list[str]) -> None:
        if order.oco is None:
            return
        for order_id in tuple(self._groups.get(order.oco, ())):
            if order_id != order.order_id:
                self._drop(self._orders[order_id])
                displaced.append(order_id)

    def _drop(self, order: BookOrder) -> None:
        order_id = order.order_id
        del self._orders[order_id], self._remaining[order_id]
        for queue in (self._bids, self._asks, self._rising, self._falling):
            queue.remove(order_id)
        if order.trailing_delta is not None:
            self._trails[order.side].remove(order_id)
        if order.oco is not None:
            mates = self._groups[order.oco]
            mates.remove(order_id)
            if not mates:
                del self._groups[order.oco]
