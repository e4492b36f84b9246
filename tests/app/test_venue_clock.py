from datetime import UTC, datetime, timedelta

from app.marketdata.venue_clock import VenueClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATE = timedelta(seconds=90)


class Standing:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


def test_what_the_venue_last_said_is_its_time_while_nothing_was_measured() -> None:
    clock = VenueClock(Standing())
    assert clock.now() == NOW
    clock.heard(NOW - LATE)
    assert clock.now() == NOW - LATE


def test_a_stream_that_lags_does_not_make_the_venues_clock_late() -> None:
    clock = VenueClock(Standing(), measured=lambda: NOW + timedelta(milliseconds=40))
    clock.heard(NOW - LATE)
    assert clock.now() == NOW + timedelta(milliseconds=40)
