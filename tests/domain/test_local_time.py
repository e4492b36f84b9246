"""Days and hours on the clocks of a place, beside the standard library, over the turns of clocks."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.local_time import clock_of

ZONES = (
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINS = st.integers(946_684_800_000, 1_893_456_000_000)
_LATER = st.lists(st.integers(0, 400 * 86_400_000), min_size=1, max_size=12)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@given(zone=st.sampled_from(ZONES), begin=_BEGINS, later=_LATER)
def test_clocks_show_what_the_standard_library_says(zone: str, begin: int, later: list[int]) -> None:
    place, moments = ZoneInfo(zone), [begin + after for after in later]
    clock = clock_of(place, min(moments), max(moments))
    shown = [(_EPOCH + timedelta(milliseconds=at)).astimezone(place) for at in moments]
    expected = [round((each.replace(tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1)) for each in shown]
    assert clock.local(np.array(moments)).tolist() == expected
    assert clock.days(np.array(moments)).tolist() == [each.date().toordinal() - _EPOCH.date().toordinal() for each in shown]
    assert clock.weekday_hours(np.array(moments)).tolist() == [each.weekday() * 24 + each.hour for each in shown]


@pytest.mark.parametrize(
    ("turned_at", "hours"),
    [(datetime(2026, 3, 29, 1, tzinfo=UTC), [1, 3]), (datetime(2026, 10, 25, 1, tzinfo=UTC), [2, 2])],
    ids=["one hour is missing", "one hour comes twice"],
)
def test_clocks_are_turned_to_the_millisecond(turned_at: datetime, hours: list[int]) -> None:
    at = _ms(turned_at)
    clock = clock_of(ZoneInfo("Europe/Paris"), at - 90 * 86_400_000, at + 90 * 86_400_000)
    assert (clock.weekday_hours(np.array([at - 1, at])) % 24).tolist() == hours
    assert at in clock.starts.tolist()


def test_a_day_has_as_many_hours_as_its_clocks_show() -> None:
    for day, length in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)):
        begin, end = (_ms(datetime.combine(each, time(), ZoneInfo("Europe/Paris"))) for each in (day, day + timedelta(days=1)))
        hours = np.arange(begin, end, 3_600_000)
        clock = clock_of(ZoneInfo("Europe/Paris"), begin - 86_400_000, end + 86_400_000)
        assert len(hours) == length
        assert len(set(clock.days(hours).tolist())) == 1
        assert clock.days(np.array([begin - 1, end])).tolist() == [clock.days(hours)[0] - 1, clock.days(hours)[0] + 1]
