"""Whether an alert comes in time: by its arrival, and by its own moment when it gives one. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.i18n import N_
from app.webhooks.alert import Alert
from app.webhooks.models import Decision

#: How far two clocks that are kept right may differ, and what a moment in whole seconds has lost.
LATE_ALLOWANCE: Final = timedelta(seconds=2)
#: Ahead of ours by more than that is no moment of the past: a clock is wrong, and what came next would seem to be older.
AHEAD_ALLOWANCE: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untimely:
    """Why an alert is not traded now."""

    decision: Decision
    code: str
    reason: str


def patience(alert: Alert, max_age_s: int) -> int:
    """Return how old the alert may be, in seconds: the webhook's bound, or the message's own if that is smaller."""
    return max_age_s if alert.max_age_s is None else max(min(max_age_s, alert.max_age_s), 1)


def deadline_of(alert: Alert, *, received_at: datetime, max_age_s: int) -> datetime:
    """Return until when an order of the alert may leave: so long after its arrival and after its own moment."""
    age = timedelta(seconds=patience(alert, max_age_s))
    arrived = received_at + age
    return arrived if alert.at is None else min(arrived, alert.at + age + LATE_ALLOWANCE)


def untimely(alert: Alert, *, received_at: datetime, max_age_s: int, now: datetime) -> Untimely | None:
    """Return why the alert comes at the wrong moment; None when it comes in time."""
    most = patience(alert, max_age_s)
    if alert.at is not None and alert.at - received_at > AHEAD_ALLOWANCE:
        ahead = int((alert.at - received_at).total_seconds())
        reason = N_(f"the message gives a moment that was {ahead} s in the future when it arrived; it was not traded")
        return Untimely(decision=Decision.DENIED, code="ALERT_IN_FUTURE", reason=reason)
    if alert.at is not None and now - alert.at > timedelta(seconds=most) + LATE_ALLOWANCE:
        age = int((now - alert.at).total_seconds())
        reason = N_(f"the alert was {age} s old by the moment that it gives (limit {most} s); it was not traded")
        return Untimely(decision=Decision.STALE, code="ALERT_TOO_OLD", reason=reason)
    closed_at = _candle_closed_at(alert)
    if alert.at is None and closed_at is not None and now - closed_at > timedelta(seconds=most) + LATE_ALLOWANCE:
        age = int((now - closed_at).total_seconds())
        reason = N_(f"the candle that the alert names had closed {age} s before (limit {most} s); it was not traded")
        return Untimely(decision=Decision.STALE, code="ALERT_TOO_OLD", reason=reason)
    if now - received_at > timedelta(seconds=most):
        late = int((now - received_at).total_seconds())
        reason = N_(f"the server came to it {late} s after it arrived (limit {most} s); it was not traded")
        return Untimely(decision=Decision.STALE, code="DEADLINE_PASSED", reason=reason)
    return None


def _candle_closed_at(alert: Alert) -> datetime | None:
    """When the candle on which the alert fired closed, if it says which that was: an alert fires at its close at the latest."""
    return None if alert.bar_time is None or alert.interval is None else alert.bar_time + alert.interval.duration


def out_of_order(alert: Alert, newest: datetime | None) -> Untimely | None:
    """Return why an alert is not traded that is older than the newest which was acted on; equal moments are worked as they arrive."""
    if alert.at is None or newest is None or alert.at >= newest:
        return None
    behind = (newest - alert.at).total_seconds()
    reason = N_(f"a later alert of this webhook for the same symbol was acted on before, this one is {behind:g} s older")
    return Untimely(decision=Decision.STALE, code="OUT_OF_ORDER", reason=reason)
