"""A simulated account with safeguards; `domain.safeguards` says what they are, `domain.simulation` how a candle happens without them.

1. Daily loss and drawdown are levels of equity, and so of the price while there is a position: one that flattens is a stop at this price,
   with the reason `safeguard`. What a range reaches at its worse end trips one that only suspends. The UTC day begins with the first
   candle that opens in it, at the equity of the close before; the peak is the highest equity at a close.
2. Stops and losses are counted when a trade closes, by the candle in which it did. Stops are what left by stop, by trailing stop or where
   the losses had eaten the equity.
3. A rule that has tripped is looked at no more until it is re-armed: with the candle that opens so long after the close of the one in which
   it tripped. Its day or its peak then begins at the equity of that moment, and it counts trades from there.
4. While a rule has tripped, and while a cooldown lasts, an entry is denied when it would be sent, at the open of a candle; so is
   an addition to a position while a rule has tripped. Leaving, its stop and its targets go on.
5. What a position is worth is looked at where it is entered or added to, at the order's price; the quantity is floored to the step.
"""

from collections.abc import Iterable
from typing import Final

from app.domain.account import Account
from app.domain.arrays import Candles, numbers
from app.domain.grid import floored
from app.domain.safeguards import TRIPPING, Rule, RuleNumbers, SafeguardNumbers
from app.domain.simulated import Reason, SimulatedTrip, SimulationCosts, Wish

DAILY_LOSS: Final = TRIPPING.index(Rule.DAILY_LOSS)
DRAWDOWN: Final = TRIPPING.index(Rule.DRAWDOWN)
STOPS: Final = TRIPPING.index(Rule.STOPS)
LOSSES: Final = TRIPPING.index(Rule.LOSSES)
DAY_MS: Final = 86_400_000
#: What a stop guard counts.
STOPPING: Final = (Reason.STOP, Reason.TRAILING, Reason.LIQUIDATION)


def made_account(costs: SimulationCosts, candles: Candles) -> Account:
    """Return an account with the safeguards that its costs name, if any."""
    return Account(costs, candles) if costs.safeguards is None else GuardedAccount(costs, candles, costs.safeguards)


class GuardedAccount(Account):
    """An account whose safeguards trip, deny and cut.

    Args:
        costs: Of the account.
        candles: Of the market.
        safeguards: What it keeps to.
    """

    _is_guarded = True
    __slots__ = (
        "_closes", "_cooled_at", "_counts_from", "_day", "_day_start", "_has_tripped", "_peak", "_rearms_at", "_rules", "_safeguards",
        "_streak", "_times",
    )  # fmt: skip

    def __init__(self, costs: SimulationCosts, candles: Candles, safeguards: SafeguardNumbers) -> None:
        super().__init__(costs, candles)
        self._closes, self._times = numbers(candles.close), numbers(candles.time)
        self._safeguards = safeguards
        self._rules: tuple[RuleNumbers, ...] = safeguards.rules
        self._has_tripped = [False] * len(TRIPPING)
        self._rearms_at = [0] * len(TRIPPING)  # 0: never
        self._cooled_at = 0
        self._counts_from = 0  # the trade from which on stops count
        self._day = -1
        self._day_start = self._peak = costs.capital
        self._streak = 0

    def step(self, candle: int, open_: float, high: float, low: float, close: float) -> None:
        """As `Account.step`."""
        super().step(candle, open_, high, low, close)
        self._note_close(candle)

    def walk(self, candle: int, open_: float, minutes: Iterable[tuple[float, float, float, float]]) -> None:
        """As `Account.walk`."""
        super().walk(candle, open_, minutes)
        self._note_close(candle)

    def _at_open(self, candle: int, open_: float) -> None:
        self._begin(candle)
        super()._at_open(candle, open_)

    def _begin(self, candle: int) -> None:
        """Begin a day where the candle is the first one in it, and re-arm what is due."""
        equity = self.cash + self.quantity * self._closes[candle - 1] if candle else self.cash
        time = self._times[candle]
        if time // DAY_MS != self._day:
            self._day, self._day_start = time // DAY_MS, equity
        for rule, has_tripped in enumerate(self._has_tripped):
            if has_tripped and 0 < self._rearms_at[rule] <= time:
                self._has_tripped[rule] = False
                if rule == DAILY_LOSS:
                    self._day_start = equity
                elif rule == DRAWDOWN:
                    self._peak = equity
                elif rule == STOPS:
                    self._counts_from = len(self.trades)
                else:
                    self._streak = 0

    def _in_range(self, candle: int, open_: float, high: float, low: float, close: float) -> None:
        super()._in_range(candle, open_, high, low, close)
        # Of a range that it was not there for from the beginning, the worse end came after the entry: a limit lies beyond the open.
        self._look_at(candle, self.cash + self.quantity * (low if self.quantity > 0 else high))

    def _look_at(self, candle: int, equity: float) -> None:
        """Trip the rules whose level an equity has reached."""
        for rule in (DAILY_LOSS, DRAWDOWN):
            if self._is_armed(rule) and equity <= self._floor(rule):
                self._trip_by_equity(rule, candle, equity)
                # Where it would have left already but for the last bit of a float.
                if self._rules[rule].flattens and self.quantity and self._leaving is None:
                    self._leaving = Reason.SAFEGUARD

    def _at_close(self) -> None:
        super()._at_close()
        self._has_orders = self.is_busy  # each candle begins with a look at the day

    def _note_close(self, candle: int) -> None:
        self._peak = max(self._peak, self.cash + self.quantity * self._closes[candle])

    def _is_armed(self, rule: int) -> bool:
        return self._rules[rule].limit > 0 and not self._has_tripped[rule]

    def _floor(self, rule: int) -> float:
        limit = self._rules[rule].limit
        return self._day_start - limit * self._costs.capital if rule == DAILY_LOSS else self._peak * (1 - limit)

    def _highest_floor(self) -> tuple[float | None, int]:
        """Return the equity at which the position is left, and by which rule; None where there is no such rule."""
        floor, found = None, DAILY_LOSS
        for rule in (DAILY_LOSS, DRAWDOWN):
            if self._rules[rule].flattens and self._is_armed(rule) and (floor is None or self._floor(rule) > floor):
                floor, found = self._floor(rule), rule
        return floor, found

    def _stop(self) -> tuple[float | None, Reason]:
        stop, reason = super()._stop()
        floor, _ = self._highest_floor()
        if floor is None:
            return stop, reason
        side, level = (1 if self.quantity > 0 else -1), (floor - self.cash) / self.quantity
        return (level, Reason.SAFEGUARD) if stop is None or side * (level - stop) > 0 else (stop, reason)

    def _close(self, candle: int, price: float, reason: Reason) -> None:
        if reason is Reason.SAFEGUARD and self._leaving is None:
            _, rule = self._highest_floor()
            self._trip_by_equity(rule, candle, self.cash + self.quantity * price)
        super()._close(candle, price, reason)

    def _trip_by_equity(self, rule: int, candle: int, equity: float) -> None:
        base, whole = (self._day_start, self._costs.capital) if rule == DAILY_LOSS else (self._peak, self._peak)
        self._trip(rule, candle, (base - equity) / whole if whole > 0 else 1.0, equity, base)

    def _trip(self, rule: int, candle: int, measured: float, equity: float = 0.0, base: float = 0.0) -> None:
        one = self._rules[rule]
        self._has_tripped[rule] = True
        self._rearms_at[rule] = self._times[candle] + self._safeguards.timeframe_ms + one.rearm_ms if one.rearm_ms else 0
        self.trips.append(SimulatedTrip(candle, rule, one.flattens, measured, equity, base))

    def _fill(self, candle: int, side: int, quantity: float, price: float, reference: float, reason: Reason, rate: float) -> None:
        super()._fill(candle, side, quantity, price, reference, reason, rate)
        if self.quantity == 0:
            self._count(candle, reason)

    def _count(self, candle: int, reason: Reason) -> None:
        """Count the trade that has just closed."""
        guards, is_loss = self._safeguards, self.trades[-1].profit < 0
        if guards.cooldown_ms and (is_loss or not guards.is_after_losing):
            self._cooled_at = self._times[candle] + guards.timeframe_ms + guards.cooldown_ms
        self._streak = self._streak + 1 if is_loss else 0
        self._look_at(candle, self.cash)
        if reason in STOPPING and self._is_armed(STOPS) and (stops := self._stops_until(candle)) >= self._rules[STOPS].limit:
            self._trip(STOPS, candle, stops)
        if self._is_armed(LOSSES) and self._streak >= self._rules[LOSSES].limit:
            self._trip(LOSSES, candle, self._streak)

    def _stops_until(self, candle: int) -> int:
        """Return how many stops there were within the window."""
        after, count = self._times[candle] - self._safeguards.stops_window_ms, 0
        for trade in reversed(self.trades[self._counts_from :]):
            if self._times[trade.exit_candle] <= after:
                break
            count += trade.reason in STOPPING
        return count

    def _enter(self, candle: int, open_: float, side: int, wish: Wish) -> None:
        if any(self._has_tripped) or self._times[candle] < self._cooled_at:
            self.refused += 1
        else:
            super()._enter(candle, open_, side, wish)

    def _adjust(self, candle: int, open_: float, fraction: float) -> None:
        if fraction > 0 and any(self._has_tripped):
            self.refused += 1
        else:
            super()._adjust(candle, open_, fraction)

    def _allowed(self, quantity: float, price: float, held: float = 0.0) -> float:
        most = self._safeguards.most_notional
        if most == 0 or price <= 0:
            return quantity
        room = max(floored((most - held * price) / price, self._costs.step), 0.0)
        if room < quantity:
            self.limited += 1
            return room
        return quantity
