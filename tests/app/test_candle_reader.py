"""Reading a range from venues that answer differently: every candle, and no hole that is not one."""

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.candles import Candle, Timeframe
from app.errors import ExchangeRateLimited, ExchangeUnavailable
from app.marketdata import candle_reader
from app.marketdata.candle_reader import CandleReader
from tests.app.candle_venues import MINUTE, START, CandleVenue, ForgetsMinutes, LastOnesFirst, NeedsAnEnd, NewestOnly

KINDS = (CandleVenue, NeedsAnEnd, LastOnesFirst)


def reader_of(venue: CandleVenue, now: datetime) -> CandleReader:
    return CandleReader(venue, "A/B", Timeframe.M1, now=now, on_wait=lambda _why, _seconds: None)


def minute(moment: datetime) -> int:
    return (moment - START) // MINUTE


async def read(reader: CandleReader, first: int, last: int) -> tuple[list[Candle], list[int]]:
    """Candles, and the minutes in holes, of [first, last)."""
    candles: list[Candle] = []
    nobodys: list[int] = []
    until = START + first * MINUTE
    async for page in reader.pages(START + first * MINUTE, START + last * MINUTE):
        assert page.until > until
        until = page.until
        candles += page.candles
        nobodys += [number for start, end in page.holes for number in range(minute(start), minute(end))]
    return candles, nobodys


@st.composite
def markets(draw: st.DrawFn) -> tuple[set[int], int]:
    """Minutes with trades between day 0 and day 3, with holes of every size, and the present minute."""
    edges = sorted(draw(st.sets(st.integers(1, 4000), min_size=2, max_size=8)))
    minutes: set[int] = set()
    for first, last in zip(edges[::2], edges[1::2], strict=False):
        minutes |= set(range(first, last))
    minutes -= draw(st.sets(st.integers(1, 4000), max_size=20))
    return minutes | {edges[0]}, draw(st.integers(edges[-1], 4100))


@pytest.mark.parametrize("kind", KINDS)
@given(market=markets(), wanted=st.tuples(st.integers(0, 4100), st.integers(0, 4100)), at_once=st.sampled_from([3, 50, 300, 1000]))
@settings(max_examples=15, deadline=None)
def test_every_candle_is_read_and_every_hole_between_candles_is_told(
    kind: type[CandleVenue], market: tuple[set[int], int], wanted: tuple[int, int], at_once: int
) -> None:
    minutes, now = market
    first, last = min(wanted), max(wanted) + 1
    venue = kind(sorted(minutes), now_minute=now, at_once=at_once if kind is not LastOnesFirst else max(at_once, 50))
    reader = reader_of(venue, START + now * MINUTE + timedelta(seconds=30))

    candles, nobodys = asyncio.run(read(reader, first, last))

    closed = {each for each in minutes if each < now}
    assert [minute(each.open_time) for each in candles] == sorted(each for each in closed if first <= each < last)
    # Never a hole where there is a candle, before the first candle or after the last one.
    assert set(nobodys) <= set(range(min(closed, default=0), max(closed, default=0))) - closed
    # And all of those that lie between two candles of what was read.
    inside = [minute(each.open_time) for each in candles]
    if inside:
        assert set(nobodys) >= set(range(inside[0], inside[-1])) - closed


def test_a_hole_is_the_venues_own_when_it_has_candles_before_what_was_asked_for() -> None:
    venue = CandleVenue([*range(11), *range(20, 31)], now_minute=40)

    candles, nobodys = asyncio.run(read(reader_of(venue, START + 40 * MINUTE), 15, 31))

    assert nobodys == [15, 16, 17, 18, 19]
    assert len(candles) == 11


def test_a_venue_that_keeps_its_newest_candles_only_is_not_asked_for_ever() -> None:
    venue = NewestOnly(list(range(100_000)), now_minute=100_000, at_once=720)
    reader = reader_of(venue, START + 100_000 * MINUTE + timedelta(seconds=30))

    candles, nobodys = asyncio.run(read(reader, 0, 100_000))

    assert [minute(candles[0].open_time), minute(candles[-1].open_time)] == [99_280, 99_999]
    assert nobodys == []
    assert reader.nothing_before == candles[0].open_time
    assert reader.requests < 10


def test_what_a_venue_no_longer_gives_is_no_hole_of_its_own() -> None:
    venue = NewestOnly(list(range(5_000)), now_minute=5_000, at_once=720)
    reader = reader_of(venue, START + 5_000 * MINUTE + timedelta(seconds=30))

    gone = asyncio.run(read(reader, 100, 200))
    asked = reader.requests
    also_gone = asyncio.run(read(reader, 300, 400))

    assert gone == also_gone == ([], [])
    assert reader.requests == asked


def test_the_first_minutes_of_a_venue_that_forgets_them_are_found_by_longer_candles() -> None:
    venue = ForgetsMinutes(list(range(60 * 24 * 60)), now_minute=60 * 24 * 60, at_once=300)
    venue.forgotten_before = START + timedelta(days=41, hours=5)
    reader = reader_of(venue, START + timedelta(days=60))

    candles, nobodys = asyncio.run(read(reader, 0, 45 * 24 * 60))

    assert candles[0].open_time == venue.forgotten_before
    assert len(candles) == (timedelta(days=45) - timedelta(days=41, hours=5)) // MINUTE
    assert nobodys == []
    assert reader.requests < 120


def test_years_before_the_first_candle_cost_a_handful_of_requests() -> None:
    for kind in KINDS:
        venue = kind(list(range(525_600, 525_650)), now_minute=526_000, at_once=300)
        reader = reader_of(venue, START + 526_000 * MINUTE)

        candles, _ = asyncio.run(read(reader, 0, 526_000))

        assert len(candles) == 50, kind
        assert reader.requests < 40, kind


def test_a_venue_that_does_not_answer_is_asked_again_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_reader, "_PATIENCE_S", (0.0, 0.0))
    told: list[str] = []
    venue = CandleVenue([0, 1, 2], now_minute=3)
    reader = CandleReader(venue, "A/B", Timeframe.M1, now=START + 3 * MINUTE, on_wait=lambda why, _: told.append(why))
    venue.errors = [ExchangeUnavailable(), ExchangeRateLimited("slow down", retry_after_s=0.0)]

    candles, _ = asyncio.run(read(reader, 0, 3))
    venue.errors = [ExchangeUnavailable()] * 3
    with pytest.raises(ExchangeUnavailable):
        asyncio.run(read(reader, 0, 3))

    assert len(candles) == 3
    assert told == ["The exchange does not answer.", "slow down"] + ["The exchange does not answer."] * 2


def test_a_ban_that_lasts_is_not_waited_out() -> None:
    venue = CandleVenue([0], now_minute=3)
    venue.errors = [ExchangeRateLimited("blocked", retry_after_s=3600.0)]

    with pytest.raises(ExchangeRateLimited):
        asyncio.run(read(reader_of(venue, START + 3 * MINUTE), 0, 3))
