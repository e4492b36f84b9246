"""When an alert that is expected with each candle counts as late."""

from datetime import UTC, datetime, timedelta

import pytest

from app.webhooks.overview import late_since

CLOSE = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
LONG_AGO = CLOSE - timedelta(days=1)


@pytest.mark.parametrize(
    ("interval", "expected_from", "last_at", "now", "late"),
    [
        (None, LONG_AGO, None, CLOSE, None),
        ("1h", None, None, CLOSE, None),
        ("1h", LONG_AGO, None, CLOSE + timedelta(minutes=2), CLOSE),
        ("1h", LONG_AGO, CLOSE + timedelta(seconds=3), CLOSE + timedelta(minutes=30), None),
        # A sender whose clock goes a little fast is not late.
        ("1h", LONG_AGO, CLOSE - timedelta(seconds=4), CLOSE + timedelta(minutes=30), None),
        # Within the minute that it has, the close before is what counts.
        ("1h", LONG_AGO, CLOSE - timedelta(minutes=59), CLOSE + timedelta(seconds=59), None),
        ("1h", LONG_AGO, CLOSE - timedelta(minutes=59), CLOSE + timedelta(seconds=60), CLOSE),
        ("1h", CLOSE + timedelta(minutes=5), None, CLOSE + timedelta(minutes=30), None),
    ],
)
def test_an_alert_is_late_a_minute_after_its_candle_closed(
    interval: str | None, expected_from: datetime | None, last_at: datetime | None, now: datetime, late: datetime | None
) -> None:
    assert late_since(interval, expected_from=expected_from, last_at=last_at, now=now) == late
