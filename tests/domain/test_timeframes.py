from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.candles import EPOCH, Timeframe, from_milliseconds, to_milliseconds

moments = st.timedeltas(timedelta(days=-10_000), timedelta(days=50_000)).map(lambda since: EPOCH + since)


@pytest.mark.parametrize(("timeframe", "minutes"), [(Timeframe.M1, 1), (Timeframe.M15, 15), (Timeframe.H4, 240), (Timeframe.D1, 1440)])
def test_length_is_what_the_name_says(timeframe: Timeframe, minutes: int) -> None:
    assert timeframe.duration == timedelta(minutes=minutes)
    assert timeframe.milliseconds == minutes * 60_000


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_every_timeframe_divides_the_day(timeframe: Timeframe) -> None:
    assert timedelta(days=1) % timeframe.duration == timedelta(0)


def test_moment_on_a_boundary_belongs_to_the_candle_that_opens() -> None:
    boundary = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert Timeframe.H4.floor(boundary) == boundary
    assert Timeframe.H4.floor(boundary - timedelta(microseconds=1)) == boundary - timedelta(hours=4)


@given(st.sampled_from(Timeframe), moments)
def test_every_moment_lies_in_its_candle(timeframe: Timeframe, moment: datetime) -> None:
    opened = timeframe.floor(moment)
    assert opened <= moment < opened + timeframe.duration
    assert (opened - EPOCH) % timeframe.duration == timedelta(0)
    assert timeframe.floor(opened) == opened


@given(st.integers(-(10**12), 4 * 10**12))
def test_milliseconds_go_there_and_back_exactly(milliseconds: int) -> None:
    assert to_milliseconds(from_milliseconds(milliseconds)) == milliseconds


@given(moments)
def test_parts_of_a_millisecond_are_cut(moment: datetime) -> None:
    assert timedelta(0) <= moment - from_milliseconds(to_milliseconds(moment)) < timedelta(milliseconds=1)
