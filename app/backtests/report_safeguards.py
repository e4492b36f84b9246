"""What a report says of safeguards: which tripped when and why, and what they denied and cut."""

from decimal import Decimal
from typing import Any, Final

from app.backtests.report_parts import MOST_TRIPS, Trip
from app.domain.arrays import Candles
from app.domain.candles import from_milliseconds
from app.domain.outcome import Outcome
from app.domain.safeguard_words import Tripped
from app.domain.safeguards import TRIPPING, Action, Rule, SafeguardNumbers, Span
from app.domain.simulated import SimulatedTrip, SimulationCosts

_MINUTE_MS: Final = 60_000


def told_of(outcome: Outcome, candles: Candles, costs: SimulationCosts) -> dict[str, Any]:
    """Return the fields of a report that are about safeguards."""
    found = outcome.trips if costs.safeguards is not None else ()
    return {
        "refused": outcome.refused,
        "limited": outcome.limited,
        "trips": tuple(_trip(one, costs.safeguards, int(candles.time[one.candle])) for one in found[:MOST_TRIPS] if costs.safeguards),
        "trip_count": len(found),
    }


def _trip(one: SimulatedTrip, safeguards: SafeguardNumbers, at_ms: int) -> Trip:
    rule, action = TRIPPING[one.rule], Action.FLATTEN if one.flattens else Action.SUSPEND
    is_about_equity = rule in (Rule.DAILY_LOSS, Rule.DRAWDOWN)
    tripped = Tripped(
        rule=rule,
        action=action,
        at=from_milliseconds(at_ms),
        limit=_decimal(safeguards.rules[one.rule].limit),
        measured=_decimal(one.measured),
        equity=_decimal(one.equity) if is_about_equity else None,
        base=_decimal(one.base) if is_about_equity else None,
        window=_window(safeguards) if rule is Rule.STOPS else None,
    )
    return Trip(at_ms=at_ms, rule=rule.value, action=action.value, message=tripped.reason.message, values=tripped.reason.values)


def _window(safeguards: SafeguardNumbers) -> Span:
    candles, rest = divmod(safeguards.stops_window_ms, safeguards.timeframe_ms)
    return Span(minutes=safeguards.stops_window_ms // _MINUTE_MS) if rest else Span(candles=candles)


def _decimal(value: float) -> Decimal:
    whole = int(value) if value.is_integer() else value
    return Decimal(repr(whole))
