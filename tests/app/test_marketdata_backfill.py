from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from app.core.db import Database
from app.domain.candles import Candle, Timeframe
from app.exchanges.port import ExchangeClient
from app.marketdata import backfill
from app.marketdata.backfill import Backfill, holes
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore, Close

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def candle(minute: int) -> Candle:
    return Candle(open_time=START + minute * MINUTE, open=1.0, high=2.0, low=0.5, close=1.5, volume=3.0)


class CandleVenue:
    """A venue that has these minutes; `lag` answers show only those before `shown_until`."""

    def __init__(self, minutes: list[int], *, now: datetime) -> None:
        self.minutes = minutes
        self.now = now
        self.lag = 0
        self.shown_until = 10**6
        self.requests = 0

    async def server_time(self) -> datetime:
        return self.now

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        self.requests += 1
        self.lag -= 1
        until = self.shown_until if self.lag >= 0 else 10**6
        shown = [candle(minute) for minute in self.minutes if minute < until]
        if start is None:
            return shown[-limit:]
        return [found for found in shown if found.open_time >= start][:limit]


class Bench:
    """A backfill with what it told."""

    def __init__(self, database: Database, venue: CandleVenue) -> None:
        self.store = CandleStore(database)
        self.gaps = GapBook(database, "binance", Timeframe.M1)
        self.backfill = Backfill(Timeframe.M1, client=cast(ExchangeClient, venue), gaps=self.gaps)
        self.told: list[int] = []

    async def keep(self, page: list[Candle]) -> None:
        await self.store.upsert("binance", [Close("A/B", Timeframe.M1, found) for found in page], source=CandleSource.REST)
        self.told += [(found.open_time - START) // MINUTE for found in page]

    async def put(self, minute: int) -> None:
        await self.store.upsert("binance", [Close("A/B", Timeframe.M1, candle(minute))], source=CandleSource.STREAM)

    async def stored(self) -> list[int]:
        return [(found.open_time - START) // MINUTE for found in await self.store.latest("binance", "A/B", Timeframe.M1, limit=10_000)]

    async def holes(self) -> list[tuple[int, int, GapOutcome]]:
        return [((start - START) // MINUTE, (end - START) // MINUTE, outcome) for start, end, outcome in await self.gaps.of("A/B")]


@pytest.mark.asyncio
async def test_history_of_several_pages_ends_before_the_open_candle(database: Database) -> None:
    venue = CandleVenue(list(range(2500)), now=START + 2499 * MINUTE + timedelta(seconds=30))
    bench = Bench(database, venue)

    done = await bench.backfill.history("A/B", start=START, now=venue.now, keep=bench.keep)

    assert done.count == 2499
    assert bench.told == await bench.stored() == list(range(2499))
    assert venue.requests == 3
    assert await bench.holes() == []


@pytest.mark.asyncio
async def test_a_full_page_that_ends_with_the_open_candle_is_cut(database: Database) -> None:
    venue = CandleVenue(list(range(1000)), now=START + 999 * MINUTE + timedelta(seconds=30))
    bench = Bench(database, venue)

    done = await bench.backfill.history("A/B", start=START, now=venue.now, keep=bench.keep)

    assert done.last == START + 998 * MINUTE
    assert bench.told == list(range(999))


@pytest.mark.asyncio
async def test_a_gap_is_written_down_as_found_and_then_as_filled(database: Database) -> None:
    venue = CandleVenue(list(range(11)), now=START + 10 * MINUTE + timedelta(seconds=5))
    bench = Bench(database, venue)

    await bench.backfill.catch_up("A/B", last=START, now=venue.now, keep=bench.keep)

    assert await bench.holes() == [(1, 10, GapOutcome.FILLED)]
    assert bench.told == list(range(1, 10))


@pytest.mark.asyncio
async def test_a_hole_longer_than_a_page_is_the_exchanges_own(database: Database) -> None:
    venue = CandleVenue([0, 1, *range(1500, 1504)], now=START + 1503 * MINUTE + timedelta(seconds=5))
    bench = Bench(database, venue)

    await bench.backfill.catch_up("A/B", last=START, now=venue.now, keep=bench.keep)

    assert await bench.holes() == [(1, 1503, GapOutcome.FILLED), (2, 1500, GapOutcome.EXCHANGE_HAS_NONE)]


@pytest.mark.asyncio
async def test_what_is_late_at_the_end_stays_open_until_it_comes(database: Database) -> None:
    venue = CandleVenue(list(range(11)), now=START + 10 * MINUTE + timedelta(seconds=5))
    venue.lag, venue.shown_until = 1, 8
    bench = Bench(database, venue)

    first = await bench.backfill.catch_up("A/B", last=START, now=venue.now, keep=bench.keep)
    waiting = await bench.holes()
    assert first.last is not None
    await bench.backfill.catch_up("A/B", last=first.last, now=venue.now, keep=bench.keep)

    assert waiting == [(1, 10, GapOutcome.OPEN)]
    assert {outcome for *_, outcome in await bench.holes()} == {GapOutcome.FILLED}
    assert bench.told == list(range(1, 10))


@pytest.mark.asyncio
async def test_a_hole_before_a_closed_candle_is_asked_for_a_few_times_and_then_believed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_LAGGING_REST_S", 0.0)
    venue = CandleVenue([0, 1, 2], now=START + 7 * MINUTE + timedelta(seconds=5))
    bench = Bench(database, venue)

    done = await bench.backfill.up_to("A/B", last=START, newer=START + 6 * MINUTE, keep=bench.keep)

    assert done.last == START + 5 * MINUTE
    assert bench.told == [1, 2]
    assert (3, 6, GapOutcome.EXCHANGE_HAS_NONE) in await bench.holes()
    assert GapOutcome.OPEN not in {outcome for start, end, outcome in await bench.holes() if end <= 6}


@pytest.mark.asyncio
async def test_a_venue_whose_rest_side_lags_is_asked_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_LAGGING_REST_S", 0.0)
    venue = CandleVenue(list(range(8)), now=START + 7 * MINUTE + timedelta(seconds=5))
    venue.lag, venue.shown_until = 2, 4
    bench = Bench(database, venue)

    done = await bench.backfill.up_to("A/B", last=START, newer=START + 6 * MINUTE, keep=bench.keep)

    assert done.last == START + 6 * MINUTE
    assert bench.told == list(range(1, 7))
    assert GapOutcome.EXCHANGE_HAS_NONE not in {outcome for *_, outcome in await bench.holes()}


def test_holes_lie_between_candles_only() -> None:
    found = holes([candle(3), candle(4), candle(9)], last=None, step=MINUTE)
    after = holes([candle(3)], last=START, step=MINUTE)

    assert found == [(START + 5 * MINUTE, START + 9 * MINUTE)]
    assert after == [(START + MINUTE, START + 3 * MINUTE)]
    assert holes([], last=START, step=MINUTE) == []
