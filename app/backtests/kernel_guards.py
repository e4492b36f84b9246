"""The compiled form of `domain.guarded_account.GuardedAccount`, with the same sums in the same order."""

import numpy as np

from app.backtests.kernel_records import NOBODY, SAFEGUARD
from app.backtests.kernel_state import Desk, compiled, floored
from app.domain.guarded_account import DAILY_LOSS, DAY_MS, DRAWDOWN, LOSSES, STOPS
from app.domain.outcome import REASONS
from app.domain.safeguards import TRIPPING
from app.domain.simulated import Reason

_RULES = len(TRIPPING)
_STOP, _TRAILING, _LIQUIDATION = (REASONS.index(one) for one in (Reason.STOP, Reason.TRAILING, Reason.LIQUIDATION))


@compiled
def is_stopping(reason: int) -> bool:
    """Whether a stop guard counts what left so."""
    return reason == _STOP or reason == _TRAILING or reason == _LIQUIDATION  # compiled, comparisons are cheaper


@compiled
def begin(desk: Desk, candle: int, last_close: float) -> None:
    """Begin a day where the candle is the first one in it, and re-arm what is due."""
    account, guards = desk.account, desk.guards
    if not guards.is_on:
        return
    equity = account.cash + account.quantity * last_close if candle else account.cash
    time = desk.times[candle]
    if time // DAY_MS != guards.day:
        guards.day, guards.day_start = time // DAY_MS, equity
    if not guards.has_tripped:
        return
    guards.has_tripped = 0
    for place in range(_RULES):
        rule = desk.rules[place]
        if rule.has_tripped and 0 < rule.rearms_at <= time:
            rule.has_tripped = 0
            if place == DAILY_LOSS:
                guards.day_start = equity
            elif place == DRAWDOWN:
                guards.peak = equity
            elif place == STOPS:
                guards.counts_from = account.trades
            else:
                guards.streak = 0
        guards.has_tripped |= rule.has_tripped


@compiled
def is_armed(desk: Desk, place: int) -> bool:
    """Whether there is such a rule, and it has not tripped."""
    return desk.rules[place].limit > 0 and not desk.rules[place].has_tripped


@compiled
def floor_of(desk: Desk, place: int) -> float:
    """Return the equity at which daily loss or drawdown trips."""
    guards, limit = desk.guards, desk.rules[place].limit
    return float(guards.day_start - limit * guards.capital if place == DAILY_LOSS else guards.peak * (1 - limit))


@compiled
def highest_floor(desk: Desk) -> tuple[float, int]:
    """Return the equity at which the position is left, NaN where there is none, and by which rule."""
    floor, found = np.nan, DAILY_LOSS
    for place in (DAILY_LOSS, DRAWDOWN):
        if desk.rules[place].flattens and is_armed(desk, place):
            at = floor_of(desk, place)
            if floor != floor or at > floor:
                floor, found = at, place
    return floor, found


@compiled
def trip(desk: Desk, place: int, candle: int, measured: float, equity: float, base: float) -> None:
    """Write down that a rule has tripped."""
    guards, rule = desk.guards, desk.rules[place]
    guards.has_tripped = rule.has_tripped = 1
    rule.rearms_at = desk.times[candle] + guards.timeframe_ms + rule.rearm_ms if rule.rearm_ms else 0
    line = desk.trips[guards.trips]
    line.candle, line.rule, line.flattens = candle, place, rule.flattens
    line.measured, line.equity, line.base = measured, equity, base
    guards.trips += 1


@compiled
def trip_by_equity(desk: Desk, place: int, candle: int, equity: float) -> None:
    """Trip daily loss or drawdown."""
    guards = desk.guards
    base = guards.day_start if place == DAILY_LOSS else guards.peak
    whole = guards.capital if place == DAILY_LOSS else guards.peak
    trip(desk, place, candle, (base - equity) / whole if whole > 0 else 1.0, equity, base)


@compiled
def look_at(desk: Desk, candle: int, equity: float) -> None:
    """Trip the rules whose level an equity has reached."""
    account = desk.account
    for place in (DAILY_LOSS, DRAWDOWN):
        if is_armed(desk, place) and equity <= floor_of(desk, place):
            trip_by_equity(desk, place, candle, equity)
            if desk.rules[place].flattens and account.quantity != 0 and account.leaving == NOBODY:
                account.leaving = SAFEGUARD


@compiled
def count(desk: Desk, candle: int, reason: int) -> None:
    """Count the trade that has just been written down."""
    account, guards = desk.account, desk.guards
    is_loss = desk.trades[account.trades - 1].profit < 0
    if guards.cooldown_ms and (is_loss or not guards.is_after_losing):
        guards.cooled_at = desk.times[candle] + guards.timeframe_ms + guards.cooldown_ms
    guards.streak = guards.streak + 1 if is_loss else 0
    look_at(desk, candle, account.cash)
    if is_stopping(reason) and is_armed(desk, STOPS):
        stops = stops_until(desk, candle)
        if stops >= desk.rules[STOPS].limit:
            trip(desk, STOPS, candle, float(stops), 0.0, 0.0)
    if is_armed(desk, LOSSES) and guards.streak >= desk.rules[LOSSES].limit:
        trip(desk, LOSSES, candle, float(guards.streak), 0.0, 0.0)


@compiled
def stops_until(desk: Desk, candle: int) -> int:
    """Return how many stops there were within the window."""
    after, stops, place = desk.times[candle] - desk.guards.stops_window_ms, 0, desk.account.trades - 1
    while place >= desk.guards.counts_from and desk.times[desk.trades[place].exit_candle] > after:
        stops += is_stopping(desk.trades[place].reason)
        place -= 1
    return stops


@compiled
def is_refused(desk: Desk, candle: int) -> bool:
    """Whether an entry is denied at the open of a candle."""
    guards = desk.guards
    return bool(guards.is_on) and (guards.has_tripped != 0 or desk.times[candle] < guards.cooled_at)


@compiled
def allowed(desk: Desk, quantity: float, price: float, held: float) -> float:
    """Return how much of a quantity may be bought, or sold short, beside what is held."""
    most = desk.guards.most_notional
    if most == 0 or price <= 0:
        return quantity
    room = max(floored((most - held * price) / price, desk.costs.step), 0.0)
    if room < quantity:
        desk.guards.limited += 1
        return room
    return quantity


@compiled
def next_look(desk: Desk) -> int:
    """Return when the next day begins or a rule is re-armed; nothing but prices matters before."""
    soonest = (desk.guards.day + 1) * DAY_MS
    for place in range(_RULES):
        rule = desk.rules[place]
        if rule.has_tripped and rule.rearms_at > 0:
            soonest = min(soonest, rule.rearms_at)
    return int(soonest)


@compiled
def armed_floor(desk: Desk) -> float:
    """Return the highest equity at which anything trips, whether the position is left then or not."""
    floor = -np.inf
    for place in (DAILY_LOSS, DRAWDOWN):
        if is_armed(desk, place):
            floor = max(floor, floor_of(desk, place))
    return floor
