"""Whether an alert comes in time."""

from datetime import UTC, datetime, timedelta

from app.domain.candles import Timeframe
from app.webhooks.timing import deadline_of, out_of_order, untimely
from tests.app.alert_post import buy

NOW = datetime(2026, 11, 26, 6, 30, tzinfo=UTC)


def test_age_counts_from_the_alerts_own_moment_and_the_shorter_patience_holds() -> None:
    def code(at_s: float | None, arrived_s: float, max_age_s: int | None = None) -> str | None:
        wish = buy(at=None if at_s is None else NOW + timedelta(seconds=at_s), max_age_s=max_age_s)
        late = untimely(wish, received_at=NOW + timedelta(seconds=arrived_s), max_age_s=60, now=NOW)
        return None if late is None else late.code

    assert code(None, -60) is None
    assert code(None, -61) == "DEADLINE_PASSED"
    assert code(-62, 0) is None
    assert code(-63, 0) == "ALERT_TOO_OLD"
    assert code(-86400, 0) == "ALERT_TOO_OLD"
    assert code(-13, 0, max_age_s=10) == "ALERT_TOO_OLD"
    assert code(-63, 0, max_age_s=300) == "ALERT_TOO_OLD"
    assert code(10, 0) is None
    assert code(11, 0) == "ALERT_IN_FUTURE"
    wish = buy(at=NOW - timedelta(seconds=30))
    assert deadline_of(wish, received_at=NOW, max_age_s=60) == NOW + timedelta(seconds=32)


def test_an_alert_that_names_only_its_candle_is_too_old_when_that_has_long_closed() -> None:
    def code(opened_min: float, interval: Timeframe | None) -> str | None:
        wish = buy(bar_time=NOW - timedelta(minutes=opened_min), interval=interval)
        late = untimely(wish, received_at=NOW, max_age_s=60, now=NOW)
        return None if late is None else late.code

    assert code(5, Timeframe.M5) is None
    assert code(6, Timeframe.M5) is None
    assert code(6.1, Timeframe.M5) == "ALERT_TOO_OLD"
    assert code(59, Timeframe.H1) is None, "it may fire within its candle"
    assert code(1440, Timeframe.M15) == "ALERT_TOO_OLD"
    assert code(1440, None) is None, "a candle of unknown length may be open still"


def test_older_than_the_newest_is_out_of_order_and_the_same_moment_is_not() -> None:
    assert out_of_order(buy(at=NOW), NOW) is None
    assert out_of_order(buy(at=NOW), None) is None
    assert out_of_order(buy(), NOW) is None
    late = out_of_order(buy(at=NOW), NOW + timedelta(seconds=1))
    assert late is not None
    assert late.code == "OUT_OF_ORDER"
