"""Cash and one position of one market, one candle at a time; the rules are told in `domain.simulation`."""

import math
from collections.abc import Iterable
from typing import Final

from app.domain.arrays import EXIT, LONG, SHORT, Candles, numbers
from app.domain.grid import GRID_TOLERANCE, dues, floored, on_tick, tighter, worse
from app.domain.simulated import Reason, SimulatedFill, SimulatedTrade, SimulatedTrip, SimulationCosts, Wish

#: How many targets a position may have.
TARGETS: Final = 3


class Account:
    """Let a candle happen with `step` or `walk`, then `decide` at its close.

    `quantity` is signed and 0 while flat; `entry_price` is the mean of what was entered; `stop` is absolute, as is `target`, the nearest
    one; `is_busy` is whether a candle could change anything.

    Args:
        costs: Of the account.
        candles: Of the market, for their volumes and times; needed by accounts with a share of the volume or a funding rate that step.
    """

    _is_guarded = False  # whether a position may be left at another level than its own
    __slots__ = (
        "_costs", "_cut_at", "_done", "_dues", "_entered", "_has_orders", "_leaving", "_new", "_owed", "_parts", "_pending",
        "_resting", "_targets", "_trade", "_trailing", "_volumes", "best_price", "capped", "cash", "denied", "entry_candle",
        "entry_price", "fees", "fills", "funding", "is_busy", "limited", "missed", "quantity", "refused", "slippage", "stop", "target",
        "trades", "trips", "worst_price",
    )  # fmt: skip

    def __init__(self, costs: SimulationCosts, candles: Candles | None = None) -> None:
        self._costs = costs
        self._dues = numbers(dues(candles.time)) if costs.funding_rate and candles is not None else None
        self._volumes = numbers(candles.volume) if costs.volume_share and candles is not None else None
        self._has_orders = False
        self._pending: Wish | None = None
        self._trade: SimulatedTrade | None = None
        self.best_price = self.worst_price = 0.0
        self.capped = self.denied = self.limited = self.missed = self.refused = 0
        self.cash, self.entry_candle = costs.capital, -1
        self.fees = self.funding = self.slippage = 0.0
        self.fills: list[SimulatedFill] = []
        self.is_busy = False
        self.quantity = 0.0
        self.trades, self.trips = list[SimulatedTrade](), list[SimulatedTrip]()
        self._forget()

    def _forget(self) -> None:
        """Be flat: nothing rests, follows or is owed."""
        self._cut_at = [-1] * TARGETS
        self._done = [False] * TARGETS
        self._entered = 0.0
        self._leaving: Reason | None = None
        self._new = 0  # bits of the targets that were set at the close before, or with the entry
        self._owed = [0.0] * TARGETS
        self._parts: list[float | None] = [None] * TARGETS
        self._resting: tuple[Wish, float] | None = None
        self._targets: list[float | None] = [None] * TARGETS
        self._trailing: float | None = None
        self.entry_price = 0.0
        self.stop: float | None = None
        self.target: float | None = None

    def equity(self, price: float) -> float:
        """Return cash and position at a price, in quote units."""
        return self.cash + self.quantity * price

    def decide(self, wish: Wish) -> None:
        """Take in what the strategy decided at the close of the candle that was stepped last."""
        if self.quantity == 0:
            if wish.flags & (LONG | SHORT):
                self._pending = wish
                self._has_orders = self.is_busy = True
            return
        if self._leaving is not None:
            return
        self._move_levels(wish)
        if wish.flags & EXIT or wish.adjust:
            self._pending = wish
            self._has_orders = True

    def step(self, candle: int, open_: float, high: float, low: float, close: float) -> None:
        """Let one candle happen: orders that wait fill at its open, then its range reaches limits, stops and targets."""
        if self._has_orders:
            self._at_open(candle, open_)
        self._in_range(candle, open_, high, low, close)
        self._at_close()

    def walk(self, candle: int, open_: float, minutes: Iterable[tuple[float, float, float, float]]) -> None:
        """Let one candle happen as the shorter ones in it did: open, high, low and close of each."""
        if self._has_orders:
            self._at_open(candle, open_)
        for minute in minutes:
            self._in_range(candle, *minute)
        self._at_close()

    def finish(self, candle: int, close: float) -> None:
        """Mark a position that is still open at the last close."""
        if self._trade is not None:
            self._trade.left += abs(self.quantity) * close
            self._trade.settle(candle, None, worst=self.worst_price, best=self.best_price)
            self.trades.append(self._trade)
            self._trade = None

    def hold(self, *, quantity: float, entry_price: float, equity: float, price: float, stop: float | None, target: float | None) -> None:
        """Take over a position that was made elsewhere; `equity` is at `price`."""
        self.cash = equity - quantity * price
        self.quantity = quantity
        self.entry_price = entry_price
        self.stop, self.target = stop, target
        self.is_busy = quantity != 0

    def _at_open(self, candle: int, open_: float) -> None:
        if self._dues is not None and self.quantity:
            self._pay_funding(open_, self._dues[candle])
        wish, self._pending = self._pending, None
        if self._leaving is not None:
            self._close(candle, open_, self._leaving)
        elif wish is not None:
            self._act(candle, open_, wish)

    def _in_range(self, candle: int, open_: float, high: float, low: float, close: float) -> None:
        if self.quantity:
            if self._leaving is not None:
                self._see(high, low)
            elif self.quantity > 0:
                self._inside_long(candle, open_, high, low)
            else:
                self._inside_short(candle, open_, high, low)
        elif self._resting is not None:
            self._reach_resting(candle, high, low, close)

    def _at_close(self) -> None:
        if self._resting is not None:
            self._resting = None
            self.missed += 1
        self._new = 0
        self.is_busy = self.quantity != 0
        self._has_orders = self.is_busy and (self._dues is not None or self._leaving is not None)

    def _pay_funding(self, open_: float, due: int) -> None:
        payment = self.quantity * open_ * (self._costs.funding_rate * due)
        self.cash -= payment
        self.funding += payment
        if self._trade is not None:
            self._trade.funding += payment

    def _act(self, candle: int, open_: float, wish: Wish) -> None:
        if self.quantity and wish.flags & EXIT:
            self._close(candle, open_, Reason.EXIT)
        elif self.quantity:
            if wish.adjust:
                self._adjust(candle, open_, wish.adjust)
            return
        if self.quantity == 0 and wish.flags & (LONG | SHORT):
            self._enter(candle, open_, 1 if wish.flags & LONG else -1, wish)

    def _enter(self, candle: int, open_: float, side: int, wish: Wish) -> None:
        price = self._market(side, open_)
        if wish.limit is None:
            self._open(candle, side, price, open_, wish, is_maker=False)
            return
        limit = on_tick(wish.limit, self._costs.tick, up=side < 0)
        if side * (limit - open_) >= 0:
            # It meets somebody's offer at once, and pays no more than its limit.
            self._open(candle, side, min(price, limit) if side > 0 else max(price, limit), open_, wish, is_maker=False)
        else:
            self._resting = (wish, limit)

    def _open(self, candle: int, side: int, price: float, reference: float, wish: Wish, *, is_maker: bool) -> None:
        budget = self.cash * (1.0 if wish.size is None else min(wish.size, 1.0))
        rate = self._costs.maker_fee if is_maker else self._costs.fee
        # What is worth less than a tick is sold for nothing.
        quantity = self._allowed(floored(budget / (price * (1 + rate)), self._costs.step) if price > 0 else 0.0, price)
        most = self._most(candle)
        if min(quantity, most) <= 0 or min(quantity, most) * price < self._costs.least_notional:
            self.denied += 1
            return
        if most < quantity:
            self.capped += 1
            quantity = most
        self._trade = SimulatedTrade(side=side, entry_candle=candle)
        self.entry_candle = candle
        self._fill(candle, side, quantity, price, reference, Reason.ENTRY, rate)
        self.best_price = self.worst_price = price
        self._trailing = wish.trailing
        self.stop = tighter(side, wish.stop, None if wish.stop_loss is None else price * (1 - side * wish.stop_loss))
        profits = (wish.take_profit, wish.take_profit_2, wish.take_profit_3)
        for place, (target, profit) in enumerate(zip((wish.target, wish.target_2, wish.target_3), profits, strict=True)):
            self._targets[place] = price * (1 + side * profit) if target is None and profit is not None else target
        self._parts, self._new = [wish.part, wish.part_2, wish.part_3], -1
        self._put_levels_on_ticks(side)

    def _adjust(self, candle: int, open_: float, fraction: float) -> None:
        side = 1 if self.quantity > 0 else -1
        held = abs(self.quantity)
        if fraction <= -1:
            self._close(candle, open_, Reason.EXIT)
            return
        way, reason = (side, Reason.ADD) if fraction > 0 else (-side, Reason.REDUCE)
        price = self._market(way, open_)
        # What may still be bought: the whole position is never worth more than the equity.
        room = (self.equity(price) - held * price) / (price * (1 + self._costs.fee)) if price > 0 else 0.0
        quantity = floored(min(held * abs(fraction), room if fraction > 0 else held), self._costs.step)
        quantity = self._allowed(quantity, price, held) if fraction > 0 else quantity
        most = self._most(candle)
        # Dust is what rounding leaves of a room that is used up.
        if min(quantity, most) <= held * GRID_TOLERANCE or min(quantity, most) * price < self._costs.least_notional:
            self.denied += 1
            return
        if most < quantity:
            self.capped += 1
            quantity = most
        self._fill(candle, way, quantity, price, open_, reason, self._costs.fee)

    def _reach_resting(self, candle: int, high: float, low: float, close: float) -> None:
        """Fill an entry that rests when the price trades through it; what follows in the same candle is what must have come later."""
        if self._resting is None:
            return
        wish, limit = self._resting
        side = 1 if wish.flags & LONG else -1
        worse = low if side > 0 else high
        if side * (limit - worse) <= 0:
            return
        self._resting = None
        self._open(candle, side, limit, limit, wish, is_maker=True)
        if self.quantity == 0:
            return
        stop, reason = self._stop()
        if stop is not None and side * (stop - worse) >= 0:
            self._close(candle, min(stop, limit) if side > 0 else max(stop, limit), reason)
            return
        # The other end of the candle may have been before the fill; its close was not.
        self._take(candle, close, None)
        if self.quantity:
            self._see(close, low) if side > 0 else self._see(high, close)

    def _stop(self) -> tuple[float | None, Reason]:
        """Return the nearest of the levels at which the position is left at a loss, and its reason."""
        side = 1 if self.quantity > 0 else -1
        stop, reason = self.stop, Reason.STOP
        if side < 0:
            # Where the losses have eaten the equity; a stop nearer than that goes first.
            eaten = self.cash / -self.quantity
            if stop is None or not stop < eaten:
                stop, reason = eaten, Reason.LIQUIDATION
        if self._trailing is not None:
            trailing = on_tick(self.best_price * (1 - side * self._trailing), self._costs.tick, up=side < 0)
            if stop is None or side * (trailing - stop) > 0:
                stop, reason = trailing, Reason.TRAILING
        return stop, reason

    def _inside_long(self, candle: int, open_: float, high: float, low: float) -> None:
        stop, reason = self._stop() if self._is_guarded or self._trailing is not None else (self.stop, Reason.STOP)
        if stop is not None and open_ <= stop:
            self._close(candle, open_, reason)
            return
        if self.target is not None and open_ > self.target:
            self._take(candle, open_, open_)
        if self.quantity and stop is not None and low <= stop:
            self._close(candle, stop, reason)
            return
        if self.target is not None and high > self.target:
            self._take(candle, high, None)
        if self.quantity:
            self._see(high, low)

    def _inside_short(self, candle: int, open_: float, high: float, low: float) -> None:
        stop, reason = self._stop()
        if stop is not None and open_ >= stop:
            self._close(candle, open_, reason)
            return
        if self.target is not None and open_ < self.target:
            self._take(candle, open_, open_)
        if self.quantity and stop is not None and high >= stop:
            self._close(candle, stop, reason)
            return
        if self.target is not None and low < self.target:
            self._take(candle, low, None)
        if self.quantity:
            self._see(high, low)

    def _see(self, high: float, low: float) -> None:
        if self.quantity > 0:
            self.best_price, self.worst_price = max(self.best_price, high), min(self.worst_price, low)
        else:
            self.best_price, self.worst_price = min(self.best_price, low), max(self.worst_price, high)

    def _take(self, candle: int, reached: float, at: float | None) -> None:
        """Fill the targets that a price has gone through, the nearest first: each at its own, or all at one that is better."""
        side = 1 if self.quantity > 0 else -1
        for target, place in sorted((side * target, place) for place, target in enumerate(self._targets) if target is not None):
            if self.quantity and side * reached > target and self._cut_at[place] != candle:
                self._take_part(candle, place, side * target, at)
        self._find_nearest()

    def _take_part(self, candle: int, place: int, limit: float, at: float | None) -> None:
        """Fill a target; one that was set where the price is already meets somebody's offer, and is a market order with that limit."""
        price, is_met = limit if at is None else at, at is not None and self._new >> place & 1
        side, held = (1 if self.quantity > 0 else -1), abs(self.quantity)
        part, wanted = self._parts[place], held
        if part is not None:
            wanted = self._owed[place] if self._owed[place] > 0 else floored(part * self._entered, self._costs.step)
        if held - wanted <= held * GRID_TOLERANCE:
            wanted = held
        elif wanted <= 0 or wanted * price < self._costs.least_notional:
            self.denied += 1
            self._targets[place], self._done[place] = None, True
            return
        quantity = min(wanted, self._most(candle))
        if quantity < wanted:
            self.capped += self._owed[place] == 0
            self._cut_at[place] = candle
            self._owed[place] = wanted - quantity
        else:
            self._targets[place], self._done[place] = None, True
        if quantity > 0:
            paid = side * max(side * self._market(-side, price), side * limit) if is_met else price
            self._fill(candle, -side, quantity, paid, price, Reason.TARGET, self._costs.fee if is_met else self._costs.maker_fee)

    def _move_levels(self, wish: Wish) -> None:
        side = 1 if self.quantity > 0 else -1
        self.stop = tighter(side, self.stop, wish.stop)
        targets = ((wish.target, wish.part), (wish.target_2, wish.part_2), (wish.target_3, wish.part_3))
        for place, (target, part) in enumerate(targets):
            if target is not None and not self._done[place]:
                price = on_tick(target, self._costs.tick, up=side > 0)
                self._new |= (price != self._targets[place]) << place
                self._targets[place] = price
                self._parts[place] = self._parts[place] if part is None else part
        if wish.trailing is not None:
            self._trailing = wish.trailing
        self._put_levels_on_ticks(side)

    def _close(self, candle: int, price: float, reason: Reason) -> None:
        side, held = (-1 if self.quantity > 0 else 1), abs(self.quantity)
        quantity = min(held, self._most(candle))
        if quantity < held:
            self.capped += self._leaving is None
            self._leaving = reason
        if quantity > 0:
            self._fill(candle, side, quantity, self._market(side, price), price, reason, self._costs.fee)

    def _fill(self, candle: int, side: int, quantity: float, price: float, reference: float, reason: Reason, rate: float) -> None:
        fee = quantity * price * rate
        slippage = side * (price - reference) * quantity
        self.cash -= side * quantity * price + fee
        self.fees += fee
        self.slippage += slippage
        self.fills.append(SimulatedFill(candle, side, quantity, price, fee, slippage, reason))
        trade = self._trade
        held = self.quantity
        is_entering = held == 0 or (held > 0) == (side > 0)
        left = held + side * quantity
        if not is_entering and abs(left) <= quantity * GRID_TOLERANCE:
            left = 0.0
        self.quantity = left
        if is_entering:
            self.entry_price = (abs(held) * self.entry_price + quantity * price) / abs(left)
            self._entered += quantity
        if trade is None:
            return
        trade.fees += fee
        trade.slippage += slippage
        if is_entering:
            trade.quantity += quantity
            trade.entered += quantity * price
        else:
            trade.left += quantity * price
        if left == 0:
            side = trade.side
            trade.settle(candle, reason, worst=worse(side, self.worst_price, reference), best=worse(-side, self.best_price, reference))
            self.trades.append(trade)
            self._trade = None
            self._forget()

    def _most(self, candle: int) -> float:
        """Return what one order may take of a candle's volume."""
        return math.inf if self._volumes is None else floored(self._volumes[candle] * self._costs.volume_share, self._costs.step)

    def _allowed(self, quantity: float, price: float, held: float = 0.0) -> float:  # a guarded account looks at them
        return quantity

    def _market(self, side: int, price: float) -> float:
        return on_tick(price * (1 + side * self._costs.slippage), self._costs.tick, up=side > 0)

    def _find_nearest(self) -> None:
        open_ones = [target for target in self._targets if target is not None]
        self.target = None if not open_ones else min(open_ones) if self.quantity > 0 else max(open_ones)

    def _put_levels_on_ticks(self, side: int) -> None:
        # Against the trader: the stop farther away, and the target too.
        if self._costs.tick > 0:
            if self.stop is not None:
                self.stop = on_tick(self.stop, self._costs.tick, up=side < 0)
            self._targets = [None if target is None else on_tick(target, self._costs.tick, up=side > 0) for target in self._targets]
        self._find_nearest()
