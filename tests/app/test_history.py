"""Backfill from the command line's side: what is missing is fetched once, holes are explained, and it can be stopped anywhere."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.domain.candles import Timeframe, to_milliseconds
from app.errors import ExchangeUnavailable, InvalidInput, SymbolNotFound, TimeframeMissing
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata import candle_reader
from app.marketdata.aggregate import aggregate, to_array
from app.marketdata.bulk import Candles
from app.marketdata.candle_transfer import Series, import_file
from app.marketdata.gaps import GapBook
from app.marketdata.history import History, HistoryReport, Progress, resolved
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore, Close
from tests.app.candle_venues import ALL, MINUTE, START, CandleVenue, NewestOnly, candle
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess, write_candles
from tests.recorded import candle_rows, shared_file

NONE, FILLED, OPEN = GapOutcome.EXCHANGE_HAS_NONE, GapOutcome.FILLED, GapOutcome.OPEN
OUTAGES = [(1618884000000, 1618893000000, NONE), (1619323260000, 1619340300000, NONE)]  # 2021-04-20 02:00, 2021-04-25 04:01
RECORDED = "binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz"


@pytest_asyncio.fixture
async def database(emptied_urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(emptied_urls.app)
    await database.open()
    yield database
    await database.close()


class Bench:
    """A venue, the table and the book."""

    def __init__(self, database: Database, venue: CandleVenue, timeframe: Timeframe = Timeframe.M1) -> None:
        self.venue, self.timeframe = venue, timeframe
        self.store = CandleStore(database)
        self.gaps = GapBook(database, "binance", timeframe)
        self.history = History(venue, "A/B", timeframe, database=database, store=self.store, clock=SystemClock())
        self.told: list[tuple[int, int]] = []

    async def run(self, first: int, last: int | None, *, stop_after: int | None = None) -> HistoryReport:
        async def told(progress: Progress) -> None:
            self.told.append((progress.done, progress.expected))
            if stop_after is not None and len(self.told) > stop_after:
                raise asyncio.CancelledError

        end = None if last is None else START + last * MINUTE
        return await self.history.run(start=START + first * MINUTE, end=end, on_progress=told, on_wait=lambda _why, _seconds: None)

    async def put(self, *minutes: int) -> None:
        closes = [Close("A/B", Timeframe.M1, candle(minute)) for minute in minutes]
        await self.store.upsert("binance", closes, source=CandleSource.STREAM)

    async def stored(self) -> list[int]:
        first = to_milliseconds(START)
        return [(moment - first) // 60_000 for moment in (await self.array())["open_time"].tolist()]

    async def array(self) -> Candles:
        return await self.store.array("binance", "A/B", self.timeframe)

    async def holes(self) -> list[tuple[int, int, GapOutcome]]:
        return [((start - START) // MINUTE, (end - START) // MINUTE, outcome) for start, end, outcome in await self.gaps.of("A/B")]


@pytest.mark.asyncio
async def test_only_what_is_missing_is_fetched_and_the_holes_are_explained(database: Database) -> None:
    bench = Bench(database, CandleVenue([*range(50), *range(60, 400)], now_minute=400, at_once=100))
    await bench.put(*range(20, 30), *range(100, 200))

    report = await bench.run(0, 300)

    assert await bench.stored() == [*range(50), *range(60, 300)]
    assert report.stored == 290 - 110
    assert (50, 60, NONE) in await bench.holes()
    assert OPEN not in {outcome for *_, outcome in await bench.holes()}
    assert report.unexplained == []
    assert bench.told[-1] == (190, 190)


@pytest.mark.asyncio
async def test_a_second_run_asks_for_nothing(database: Database) -> None:
    bench = Bench(database, CandleVenue([*range(50), *range(60, 400)], now_minute=400, at_once=100))
    first = await bench.run(0, 300)

    second = await bench.run(0, 300)

    assert first.requests > 3
    assert (second.requests, second.stored) == (0, 0)


@pytest.mark.asyncio
async def test_a_run_that_was_stopped_goes_on_where_it_was(database: Database) -> None:
    bench = Bench(database, CandleVenue([*range(250), *range(260, 900)], now_minute=900, at_once=100))
    for pages in (1, 2, 4):
        bench.told.clear()
        with pytest.raises(asyncio.CancelledError):
            await bench.run(0, None, stop_after=pages)
    had = len(await bench.stored())

    report = await bench.run(0, None)

    assert 0 < had < 890
    assert report.stored == 890 - had
    assert await bench.stored() == [*range(250), *range(260, 900)]
    assert [hole for hole in await bench.holes() if hole[2] is NONE] == [(250, 260, NONE)]


@pytest.mark.asyncio
async def test_a_venue_that_dies_half_way_leaves_its_pages_behind(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_reader, "_PATIENCE_S", ())
    venue = CandleVenue(list(range(300)), now_minute=300, at_once=100)
    bench = Bench(database, venue)

    async def breaks(progress: Progress) -> None:
        if progress.done > 90:
            venue.errors = [ExchangeUnavailable()]

    with pytest.raises(ExchangeUnavailable):
        await bench.history.run(start=START, end=None, on_progress=breaks, on_wait=lambda _why, _seconds: None)

    assert await bench.stored() == list(range(99))


@pytest.mark.asyncio
async def test_the_open_candle_is_never_stored(database: Database) -> None:
    bench = Bench(database, CandleVenue(list(range(11)), now_minute=10))

    await bench.run(0, None)

    assert await bench.stored() == list(range(10))


@pytest.mark.asyncio
async def test_a_stored_candle_is_not_touched_by_what_the_exchange_says_now(database: Database) -> None:
    bench = Bench(database, CandleVenue(list(range(10)), now_minute=10))
    kept = Close("A/B", Timeframe.M1, candle(6))  # other numbers, at the fourth minute
    moved = Close("A/B", Timeframe.M1, type(kept.candle)(open_time=START + 4 * MINUTE, open=1, high=3, low=1, close=2, volume=9))
    await bench.store.upsert("binance", [moved], source=CandleSource.STREAM)

    await bench.run(0, 10)

    assert (await bench.array())["volume"].tolist() == [1.5] * 4 + [9.0] + [1.5] * 5


@pytest.mark.asyncio
async def test_holes_close_to_one_another_are_asked_for_together(database: Database) -> None:
    traded = [minute for minute in range(2_000) if minute % 4]
    venue = CandleVenue(traded, now_minute=2_000)
    bench = Bench(database, venue)
    await bench.put(*traded)

    report = await bench.run(1, 2_000)

    assert report.requests < 10
    assert len(report.has_none) == 499
    assert {outcome for *_, outcome in await bench.holes()} == {NONE}


@pytest.mark.asyncio
async def test_what_the_exchange_no_longer_gives_stays_open(database: Database) -> None:
    bench = Bench(database, NewestOnly(list(range(3_000)), now_minute=3_000, at_once=720))
    await bench.put(*range(100), *range(150, 200))

    report = await bench.run(0, None)

    assert report.nothing_before == START + 2_280 * MINUTE
    assert (100, 150, OPEN) in await bench.holes()
    assert NONE not in {outcome for *_, outcome in await bench.holes()}
    assert (START + 100 * MINUTE, START + 150 * MINUTE) in report.unexplained


@pytest.mark.asyncio
async def test_candles_the_exchange_has_none_of_are_made_of_the_longest_that_divide_them(database: Database) -> None:
    traded = [*range(7, 95), *range(120, 500)]
    bench = Bench(database, CandleVenue(traded, now_minute=507, at_once=20), Timeframe.M10)

    report = await bench.run(0, None)

    expected, _ = aggregate(to_array([candle(minute) for minute in traded if 10 <= minute < 500]), Timeframe.M10)
    assert report.source is Timeframe.M5
    assert (await bench.array()).tobytes() == expected.tobytes()
    assert await bench.holes() == [(100, 120, NONE)]


def test_a_length_that_cannot_be_made_is_refused_with_those_there_are(emptied_urls: DatabaseUrls) -> None:
    database = Database(emptied_urls.app)
    venue = CandleVenue([0], now_minute=1, timeframes=frozenset({Timeframe.H1, Timeframe.D1}))

    with pytest.raises(TimeframeMissing, match="binance has no candles of 15m; it has 1h, 1d"):
        History(venue, "A/B", Timeframe.M15, database=database, store=CandleStore(database), clock=SystemClock())
    assert venue.candle_offer.source_of(Timeframe.H4) is Timeframe.H1
    assert CandleVenue([0], now_minute=1, timeframes=ALL).candle_offer.source_of(Timeframe.M10) is Timeframe.M5


@pytest.mark.asyncio
async def test_a_time_without_candles_is_refused(database: Database) -> None:
    bench = Bench(database, CandleVenue([0], now_minute=10))

    with pytest.raises(InvalidInput, match="no candle of 1m"):
        await bench.run(9, 5)
    with pytest.raises(InvalidInput, match="before 2009"):
        await bench.history.run(start=START - timedelta(days=9_000), end=None, on_progress=bench.run, on_wait=print)  # type: ignore[arg-type]


async def _explained_by_an_emulator(database: Database, emulator: EmulatorProcess, first: datetime, last: datetime) -> Registry:
    registry = Registry(RegistryConfig(binance_rest_url=emulator.url), clock=SystemClock())
    venue = await registry.public("binance")
    assert await resolved(venue, "btcusdt") == "BTC/USDT"

    async def told(_: Progress) -> None: ...

    history = History(venue, "BTC/USDT", Timeframe.M1, database=database, store=CandleStore(database), clock=SystemClock())
    report = await history.run(start=first, end=last, on_progress=told, on_wait=print)
    assert report.stored == 0
    return registry


@pytest.mark.asyncio
async def test_holes_of_an_imported_file_are_explained_by_the_exchange(database: Database, tmp_path: Path) -> None:
    first_ms = 1_700_000_040_000
    rows = [(first_ms + minute * 60_000, 5, 6, 4, 5.5, 1) for minute in range(300) if not 100 <= minute < 130]
    path = write_candles(tmp_path / "binance-BTCUSDT-1m-hole.csv", rows)
    series = Series(exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.M1)
    done = await import_file(path, series, database=database, store=CandleStore(database), clock=SystemClock())
    gaps = GapBook(database, "binance", Timeframe.M1)
    before = [(int(start.timestamp() * 1000), outcome) for start, _, outcome in await gaps.of("BTC/USDT")]

    with EmulatorProcess("--replay", str(path), "--no-shift", "--history", "299", "--paused", *WITHOUT_LIMITS) as emulator:
        registry = await _explained_by_an_emulator(database, emulator, done.first, done.last)
        with pytest.raises(SymbolNotFound, match="NOPE/USDT is not listed at binance"):
            await resolved(await registry.public("binance"), "NOPE/USDT")
        with pytest.raises(TimeframeMissing, match="binance has no candles of 10m"):
            await (await registry.public("binance")).fetch_candles("BTC/USDT", Timeframe.M10)
        await registry.close()

    assert before == [(first_ms + 100 * 60_000, OPEN)]
    assert [(int(start.timestamp() * 1000), outcome) for start, _, outcome in await gaps.of("BTC/USDT")] == [
        (first_ms + 100 * 60_000, NONE)
    ]


@pytest.mark.asyncio
async def test_the_outages_of_april_2021_end_as_holes_of_the_exchange(database: Database) -> None:
    path = shared_file(f"candles/{RECORDED}")
    series = Series(exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.M1)
    done = await import_file(path, series, database=database, store=CandleStore(database), clock=SystemClock())
    history = str(len(candle_rows(RECORDED)) + 433)

    with EmulatorProcess("--replay", str(path), "--no-shift", "--history", history, "--paused", *WITHOUT_LIMITS) as emulator:
        registry = await _explained_by_an_emulator(database, emulator, done.first, done.last)
        await registry.close()

    assert [(start, end) for start, end in done.holes] != []
    found = await GapBook(database, "binance", Timeframe.M1).of("BTC/USDT")
    assert [(int(start.timestamp() * 1000), int(end.timestamp() * 1000), outcome) for start, end, outcome in found] == OUTAGES
