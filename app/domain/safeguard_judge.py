"""Whether the safeguards of a bot trip, and whether they let it enter. Pure: how the bot stands in, what trips out.

`domain.guarded_account` is the same for a simulated account, in floats and one candle at a time; a property test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.candles import Timeframe
from app.domain.safeguard_words import Refusal, Tripped, moment, refusal
from app.domain.safeguards import TRIPPING, Loss, LossStreak, Rule, Safeguards, Span, StopGuard

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTrade:
    """A round trip that has ended. `profit` is in quote units after fees, `is_stop` whether its stop ended it."""

    closed_at: datetime
    profit: Decimal
    is_stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeguardState:
    """How a bot, or all bots of a user in one quote currency, stand. Amounts in quote units.

    Attributes:
        now: Aware.
        timeframe: Of the bot; None: of all bots.
        capital: Assigned.
        equity: Now, what is not realised included.
        day_start: Equity at 00:00 UTC; where daily loss was re-armed today, at that moment.
        peak: Highest equity at closes of candles since the start, or since drawdown was re-armed (the equity then included).
        trades: Round trips that have ended, oldest first; as many as the rules count.
        since: When rules were re-armed; trades that closed before do not count.
        tripped: Rules that have tripped and were not re-armed.
        held_positions: Positions that bots of the user hold.
    """

    now: datetime
    capital: Decimal
    equity: Decimal
    day_start: Decimal
    peak: Decimal
    timeframe: Timeframe | None = None
    trades: tuple[ClosedTrade, ...] = ()
    since: Mapping[Rule, datetime] = field(default_factory=dict)
    tripped: frozenset[Rule] = frozenset()
    held_positions: int = 0

    def counted(self, rule: Rule) -> tuple[ClosedTrade, ...]:
        """Return the trades that closed since a rule was re-armed."""
        since = self.since.get(rule)
        return self.trades if since is None else tuple(one for one in self.trades if one.closed_at > since)


def judge(safeguards: Safeguards, state: SafeguardState) -> tuple[Tripped, ...]:
    """Return the rules that trip now, in the order of `TRIPPING`; none of those that have tripped already."""
    found = (_judged(safeguards, rule, state) for rule in TRIPPING if rule not in state.tripped)
    return tuple(one for one in found if one is not None)


def entry_refusal(safeguards: Safeguards, state: SafeguardState) -> Refusal | None:
    """Return why a position may not be opened now; None when it may. What it may be worth, `largest_quantity` says."""
    if state.tripped:
        return refusal("tripped", None)
    most = safeguards.max_positions
    if most is not None and state.held_positions >= most.most:
        return refusal("max_positions", Rule.MAX_POSITIONS, held=str(state.held_positions), limit=str(most.most))
    cooldown = safeguards.cooldown
    if cooldown is None:
        return None
    last = next((one for one in reversed(state.trades) if one.profit < 0 or not cooldown.is_after_losing), None)
    if last is None:
        return None
    until = cooled_at(last.closed_at, cooldown.span, state.timeframe)
    if _floored(state.now, state.timeframe) >= until:
        return None
    kind = "cooldown_losing" if cooldown.is_after_losing else "cooldown"
    return refusal(kind, Rule.COOLDOWN, until=until, closed=moment(last.closed_at))


def largest_quantity(safeguards: Safeguards, *, price: Decimal, held: Decimal = _ZERO) -> Decimal | None:
    """Return how much may be entered at a price with `held` base units there already, not yet on the step; None: as much as one likes."""
    if safeguards.max_notional is None or price <= 0:
        return None
    return max((safeguards.max_notional.most - held * price) / price, _ZERO)


def cooled_at(closed_at: datetime, span: Span, timeframe: Timeframe | None) -> datetime:
    """Return when entries wait no longer: so long after the close of the candle in which a trade closed."""
    if timeframe is None:
        return closed_at + timedelta(milliseconds=span.milliseconds(None))
    return timeframe.floor(closed_at) + timeframe.duration + timedelta(milliseconds=span.milliseconds(timeframe.milliseconds))


def equity_floor(safeguards: Safeguards, rule: Rule, state: SafeguardState) -> Decimal | None:
    """Return the equity at which daily loss or drawdown trips; None where there is no such rule."""
    one = safeguards.tripping(rule)
    if not isinstance(one, Loss):
        return None
    return state.day_start - one.fraction * state.capital if rule is Rule.DAILY_LOSS else state.peak * (1 - one.fraction)


def _judged(safeguards: Safeguards, rule: Rule, state: SafeguardState) -> Tripped | None:
    one = safeguards.tripping(rule)
    if isinstance(one, StopGuard):
        return _stops(one, state)
    if isinstance(one, LossStreak):
        return _losses(one, state)
    floor = equity_floor(safeguards, rule, state)
    if not isinstance(one, Loss) or floor is None or state.equity > floor:
        return None
    is_day = rule is Rule.DAILY_LOSS
    base, whole = (state.day_start, state.capital) if is_day else (state.peak, state.peak)
    measured = (base - state.equity) / whole if whole > 0 else Decimal(1)
    return Tripped(rule=rule, action=one.action, at=state.now, limit=one.fraction, measured=measured, equity=state.equity, base=base)


def _stops(one: StopGuard, state: SafeguardState) -> Tripped | None:
    times = [_floored(trade.closed_at, state.timeframe) for trade in state.counted(Rule.STOPS) if trade.is_stop]
    if not times:
        return None
    milliseconds = None if state.timeframe is None else state.timeframe.milliseconds
    after = times[-1] - timedelta(milliseconds=one.window.milliseconds(milliseconds))
    count = sum(time > after for time in times)
    return _counted(Rule.STOPS, one, state, count, one.stops, window=one.window)


def _losses(one: LossStreak, state: SafeguardState) -> Tripped | None:
    count = 0
    for trade in reversed(state.counted(Rule.LOSSES)):
        if trade.profit >= 0:
            break
        count += 1
    return _counted(Rule.LOSSES, one, state, count, one.trades)


def _counted(
    rule: Rule, one: StopGuard | LossStreak, state: SafeguardState, count: int, limit: int, *, window: Span | None = None
) -> Tripped | None:
    if count < limit:
        return None
    return Tripped(rule=rule, action=one.action, at=state.now, limit=Decimal(limit), measured=Decimal(count), window=window)


def _floored(at: datetime, timeframe: Timeframe | None) -> datetime:
    return at if timeframe is None else timeframe.floor(at)
