"""What one simulated candle means: decisions at closes, fills at opens, stops and targets in between.

1. A decision at the close of a candle becomes a market order at the open of the next one: moved by slippage against the trader, put on the
   tick against the trader, then the taker's fee. Leaving comes first, then adding or taking off, then entering.
2. Stops and targets live from the fill on. A candle that opens beyond a level fills at its open. Otherwise the stop goes first where both
   lie inside one candle. A stop fires by touch and is a market order; a target is a limit order: the price must trade *through* it, and it
   fills at its price and pays the maker's fee.
3. A trailing stop follows the best price of the candles that have closed since the entry: what a candle's own high did before its low is
   not known, so it moves the stop from the next candle on.
4. Quantities are floored to the step. An entry or a partial exit below the least notional is denied and counted; leaving is never denied.
5. Nothing is borrowed: an entry takes at most the equity. A short whose losses have eaten the equity is closed where they do.
6. Equity is cash + position at the close. A position that is open at the end is marked there and shown as open.

All is pure: no time, no I/O. `Account` is one step at a time, which a strategy's per-candle methods see; `simulate` walks through decisions
that are already made and must come to the same fills.
"""

import math
from typing import Final

import numpy as np

from app.domain.arrays import DECIDED, EXIT, LONG, SHORT, Candles, Decisions, deciding_rows, numbers
from app.domain.simulated import Reason, SimulatedFill, SimulatedTrade, Simulation, SimulationCosts, Wish

__all__ = ["Account", "Reason", "SimulatedFill", "SimulatedTrade", "Simulation", "SimulationCosts", "Wish", "simulate"]

#: Quantities that differ by less than this fraction of a step are the same: 0.1 + 0.2 is three steps of 0.1.
_GRID_TOLERANCE: Final = 1e-9


class Account:
    """Cash and one position of one market, one candle at a time: `step` what the market does in a candle, then `decide` at its close.

    `quantity` is signed and 0 while flat; `entry_price` is the mean of what was entered; `stop` and `target` are absolute; `is_busy` is
    whether a candle could change anything.
    """

    __slots__ = (
        "_costs", "_pending", "_trade", "_trailing", "best_price", "cash", "denied", "entry_candle", "entry_price", "fees", "fills",
        "is_busy", "quantity", "slippage", "stop", "target", "trades", "worst_price",
    )  # fmt: skip

    def __init__(self, costs: SimulationCosts) -> None:
        self._costs = costs
        self._pending: Wish | None = None
        self._trade: SimulatedTrade | None = None
        self._trailing: float | None = None
        self.best_price = 0.0
        self.cash = costs.capital
        self.denied = 0
        self.entry_candle = -1
        self.entry_price = 0.0
        self.fees = 0.0
        self.fills: list[SimulatedFill] = []
        self.is_busy = False
        self.quantity = 0.0
        self.slippage = 0.0
        self.stop: float | None = None
        self.target: float | None = None
        self.trades: list[SimulatedTrade] = []
        self.worst_price = 0.0

    def equity(self, price: float) -> float:
        """Return cash and position at a price, in quote units."""
        return self.cash + self.quantity * price

    def decide(self, wish: Wish) -> None:
        """Take in what the strategy decided at the close of the candle that was stepped last."""
        if self.quantity == 0:
            if wish.flags & (LONG | SHORT):
                self._pending = wish
                self.is_busy = True
            return
        self._move_levels(wish)
        if wish.flags & EXIT or wish.adjust:
            self._pending = wish

    def step(self, candle: int, open_: float, high: float, low: float) -> None:
        """Let one candle happen: orders that wait fill at its open, then its range reaches stops and targets."""
        if self._pending is not None:
            wish, self._pending = self._pending, None
            self._act(candle, open_, wish)
        if self.quantity > 0:
            self._inside_long(candle, open_, high, low)
        elif self.quantity < 0:
            self._inside_short(candle, open_, high, low)
        self.is_busy = self.quantity != 0

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

    def _act(self, candle: int, open_: float, wish: Wish) -> None:
        if self.quantity and wish.flags & EXIT:
            self._close(candle, open_, Reason.EXIT)
        elif self.quantity and wish.adjust:
            self._adjust(candle, open_, wish.adjust)
        if self.quantity == 0 and wish.flags & (LONG | SHORT):
            self._enter(candle, open_, 1 if wish.flags & LONG else -1, wish)

    def _enter(self, candle: int, open_: float, side: int, wish: Wish) -> None:
        price = self._market(side, open_)
        budget = self.cash * (1.0 if wish.size is None else min(wish.size, 1.0))
        # What is worth less than a tick is sold for nothing.
        quantity = self._floored(budget / (price * (1 + self._costs.fee))) if price > 0 else 0.0
        if quantity <= 0 or quantity * price < self._costs.least_notional:
            self.denied += 1
            return
        self._trade = SimulatedTrade(side=side, entry_candle=candle)
        self.entry_candle = candle
        self._fill(candle, side, quantity, price, open_, Reason.ENTRY)
        self.best_price = self.worst_price = price
        self._trailing = wish.trailing
        self.stop = _tighter(side, wish.stop, None if wish.stop_loss is None else price * (1 - side * wish.stop_loss))
        self.target = wish.target
        if wish.target is None and wish.take_profit is not None:
            self.target = price * (1 + side * wish.take_profit)
        self._put_levels_on_ticks(side)

    def _adjust(self, candle: int, open_: float, fraction: float) -> None:
        side = 1 if self.quantity > 0 else -1
        held = abs(self.quantity)
        if fraction <= -1:
            self._close(candle, open_, Reason.EXIT)
            return
        if fraction < 0:
            price = self._market(-side, open_)
            quantity = self._floored(held * -fraction)
            reason = Reason.REDUCE
        else:
            price = self._market(side, open_)
            # What may still be bought: the whole position is never worth more than the equity.
            room = (self.equity(price) - held * price) / (price * (1 + self._costs.fee))
            quantity = self._floored(min(held * fraction, room))
            reason = Reason.ADD
        # Dust is what rounding leaves of a room that is used up.
        if quantity <= held * _GRID_TOLERANCE or quantity * price < self._costs.least_notional:
            self.denied += 1
            return
        self._fill(candle, side if fraction > 0 else -side, quantity, price, open_, reason)

    def _inside_long(self, candle: int, open_: float, high: float, low: float) -> None:
        stop, reason = self.stop, Reason.STOP
        if self._trailing is not None:
            trailing = self._on_tick(self.best_price * (1 - self._trailing), up=False)
            if stop is None or trailing > stop:
                stop, reason = trailing, Reason.TRAILING
        target = self.target
        if stop is not None and open_ <= stop:
            self._close(candle, open_, reason)
        elif target is not None and open_ > target:
            self._close(candle, open_, Reason.TARGET)
        elif stop is not None and low <= stop:
            self._close(candle, stop, reason)
        elif target is not None and high > target:
            self._close(candle, target, Reason.TARGET)
        else:
            self.best_price = max(self.best_price, high)
            self.worst_price = min(self.worst_price, low)

    def _inside_short(self, candle: int, open_: float, high: float, low: float) -> None:
        # Where the losses have eaten the equity; a stop nearer than that goes first.
        stop, reason = self.cash / -self.quantity, Reason.LIQUIDATION
        if self.stop is not None and self.stop < stop:
            stop, reason = self.stop, Reason.STOP
        if self._trailing is not None:
            trailing = self._on_tick(self.best_price * (1 + self._trailing), up=True)
            if trailing < stop:
                stop, reason = trailing, Reason.TRAILING
        target = self.target
        if open_ >= stop:
            self._close(candle, open_, reason)
        elif target is not None and open_ < target:
            self._close(candle, open_, Reason.TARGET)
        elif high >= stop:
            self._close(candle, stop, reason)
        elif target is not None and low < target:
            self._close(candle, target, Reason.TARGET)
        else:
            self.best_price = min(self.best_price, low)
            self.worst_price = max(self.worst_price, high)

    def _move_levels(self, wish: Wish) -> None:
        side = 1 if self.quantity > 0 else -1
        if wish.stop is not None:
            self.stop = _tighter(side, self.stop, wish.stop)
        if wish.target is not None:
            self.target = wish.target
        if wish.trailing is not None:
            self._trailing = wish.trailing
        self._put_levels_on_ticks(side)

    def _close(self, candle: int, price: float, reason: Reason) -> None:
        side = -1 if self.quantity > 0 else 1
        filled_at = price if reason is Reason.TARGET else self._market(side, price)
        self._fill(candle, side, abs(self.quantity), filled_at, price, reason)

    def _fill(self, candle: int, side: int, quantity: float, price: float, reference: float, reason: Reason) -> None:
        rate = self._costs.maker_fee if reason is Reason.TARGET else self._costs.fee
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
        if not is_entering and abs(left) <= quantity * _GRID_TOLERANCE:
            left = 0.0
        self.quantity = left
        if is_entering:
            self.entry_price = (abs(held) * self.entry_price + quantity * price) / abs(left)
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
            trade.settle(
                candle,
                reason,
                worst=_farther(trade.side, self.worst_price, reference),
                best=_farther(-trade.side, self.best_price, reference),
            )
            self.trades.append(trade)
            self._trade = None
            self.stop = self.target = self._trailing = None
            self.entry_price = 0.0

    def _market(self, side: int, price: float) -> float:
        return self._on_tick(price * (1 + side * self._costs.slippage), up=side > 0)

    def _put_levels_on_ticks(self, side: int) -> None:
        # Against the trader: the stop farther away, and the target too.
        if self._costs.tick > 0:
            if self.stop is not None:
                self.stop = self._on_tick(self.stop, up=side < 0)
            if self.target is not None:
                self.target = self._on_tick(self.target, up=side > 0)

    def _on_tick(self, price: float, *, up: bool) -> float:
        tick = self._costs.tick
        if tick <= 0:
            return price
        return math.ceil(price / tick - _GRID_TOLERANCE) * tick if up else math.floor(price / tick + _GRID_TOLERANCE) * tick

    def _floored(self, quantity: float) -> float:
        step = self._costs.step
        return quantity if step <= 0 else math.floor(quantity / step + _GRID_TOLERANCE) * step


def simulate(candles: Candles, decisions: Decisions, costs: SimulationCosts, start: int = 0) -> Simulation:
    """Walk through candles with decisions that are already made.

    Args:
        candles: Of the market that is traded.
        decisions: As many rows as there are candles.
        costs: Of the account.
        start: Row of the first decision that counts.

    Raises:
        ValueError: decisions and candles differ in length.
    """
    if len(decisions) != len(candles):
        raise ValueError(f"there must be one decision a candle, was {len(decisions)} for {len(candles)}")
    account = Account(costs)
    equity = np.full(len(candles), costs.capital)
    wishes = _wishes(decisions, start)
    candles_held = 0
    opens, highs, lows, closes = numbers(candles.open), numbers(candles.high), numbers(candles.low), numbers(candles.close)
    for row in range(start, len(candles)):
        if account.is_busy:
            account.step(row, opens[row], highs[row], lows[row])
        if (wish := wishes.get(row)) is not None:
            account.decide(wish)
        if account.quantity:
            candles_held += 1
            equity[row] = account.cash + account.quantity * closes[row]
        else:
            equity[row] = account.cash
    if len(candles):
        account.finish(len(candles) - 1, closes[-1])
    return Simulation(tuple(account.trades), tuple(account.fills), equity, account.denied, account.fees, account.slippage, candles_held)


def _wishes(decisions: Decisions, start: int) -> dict[int, Wish]:
    """Return the rows that decide anything."""
    rows = deciding_rows(decisions)
    rows = rows[rows >= start]
    flags = decisions.flags[rows].tolist()
    values = [[None if value != value else value for value in getattr(decisions, name)[rows].tolist()] for name in DECIDED]
    return {row: Wish(flag, *rest) for row, flag, *rest in zip(rows.tolist(), flags, *values, strict=True)}


def _tighter(side: int, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other) if side > 0 else min(one, other)


def _farther(side: int, one: float, other: float) -> float:
    """Return the worse of two prices for a side."""
    return min(one, other) if side > 0 else max(one, other)
