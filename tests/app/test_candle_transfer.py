"""Candles from files into the table and out again, what is stored altogether, and months that are dropped for their age."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.domain.candles import EPOCH, Candle, Timeframe, from_milliseconds, to_milliseconds
from app.errors import CandleFileUnreadable, InvalidInput
from app.marketdata.bulk import CANDLE_DTYPE, Candles, compared
from app.marketdata.candle_files import FileLabel, written
from app.marketdata.candle_transfer import Imported, Series, export, import_file, inventory
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.retention import Retention
from app.marketdata.store import CandleStore, Close
from tests.postgres import connected

BTC = Series(exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.M1)
FIRST = datetime(2024, 1, 31, 23, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(database_urls.app)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> CandleStore:
    return CandleStore(database)


def series_of(minutes: range | list[int], *, first: datetime = FIRST) -> Candles:
    candles = np.zeros(len(minutes), CANDLE_DTYPE)
    candles["open_time"] = to_milliseconds(first) + 60_000 * np.array(minutes)
    for place, name in enumerate(("low", "open", "close", "high", "volume")):
        candles[name] = 1 + place + candles["open_time"] % 977_000 / 7
    return candles


def file_of(path: Path, candles: Candles) -> Path:
    with written(path, FileLabel()) as append:
        append(candles)
    return path


async def imported(path: Path, database: Database, store: CandleStore, series: Series = BTC) -> Imported:
    return await import_file(path, series, database=database, store=store, clock=SystemClock())


async def stored(store: CandleStore) -> Candles:
    return await store.array("binance", "BTC/USDT", Timeframe.M1)


async def holes(database: Database) -> list[tuple[int, int, GapOutcome]]:
    found = await GapBook(database, "binance", Timeframe.M1).of("BTC/USDT")
    return [((start - FIRST) // MINUTE, (end - FIRST) // MINUTE, outcome) for start, end, outcome in found]


@pytest.mark.asyncio
async def test_a_file_is_stored_whole_and_its_holes_are_written_down(database: Database, store: CandleStore, tmp_path: Path) -> None:
    candles = series_of([*range(50), *range(60, 200)])

    done = await imported(file_of(tmp_path / "a.csv", candles), database, store)

    assert (done.rows, done.new, done.changed) == (190, 190, 0)
    assert done.holes == [(FIRST + 50 * MINUTE, FIRST + 60 * MINUTE)]
    assert (await stored(store)).tobytes() == candles.tobytes()
    assert await holes(database) == [(50, 60, GapOutcome.OPEN)]


@pytest.mark.asyncio
async def test_the_same_file_again_changes_nothing_and_says_so(database: Database, store: CandleStore, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.csv", series_of(range(100)))
    await imported(path, database, store)

    again = await imported(path, database, store)

    assert (again.rows, again.new, again.changed) == (100, 0, 0)


@pytest.mark.asyncio
async def test_other_numbers_replace_what_is_stored_and_are_counted(database: Database, store: CandleStore, tmp_path: Path) -> None:
    await imported(file_of(tmp_path / "a.csv", series_of(range(50, 100))), database, store)
    candles = series_of(range(120))
    candles["volume"][[60, 70]] += 1

    done = await imported(file_of(tmp_path / "b.csv", candles), database, store)

    assert (done.new, done.changed) == (70, 2)
    assert (await stored(store)).tobytes() == candles.tobytes()


@pytest.mark.asyncio
async def test_a_file_with_a_bad_row_leaves_nothing_behind(database: Database, store: CandleStore, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.csv", series_of(range(100)))
    path.write_text(path.read_text() + "rubbish\n")

    with pytest.raises(CandleFileUnreadable, match=r"a\.csv, line 102"):
        await imported(path, database, store)

    assert len(await stored(store)) == 0
    assert await holes(database) == []


@pytest.mark.asyncio
async def test_a_hole_that_the_exchange_explained_is_not_opened_again(database: Database, store: CandleStore, tmp_path: Path) -> None:
    gaps = GapBook(database, "binance", Timeframe.M1)
    await gaps.exchange_has_none("BTC/USDT", FIRST + 10 * MINUTE, FIRST + 20 * MINUTE, at=FIRST)
    await store.merge("binance", "BTC/USDT", Timeframe.M1, series_of(range(30, 40)), source=CandleSource.STREAM)

    done = await imported(file_of(tmp_path / "a.csv", series_of([*range(10), *range(20, 30), *range(40, 50)])), database, store)

    assert done.holes == []
    assert await holes(database) == [(10, 20, GapOutcome.EXCHANGE_HAS_NONE)]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
async def test_what_is_exported_is_imported_again_and_is_equal(
    database: Database, store: CandleStore, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.marketdata.candle_transfer._EXPORTED_AT_ONCE", 1_000)
    candles = series_of([*range(2_500), *range(9_000, 9_100)])
    await store.merge("binance", "BTC/USDT", Timeframe.M1, candles, source=CandleSource.STREAM)
    elsewhere = Series(exchange="kraken", symbol="BTC/USDT", timeframe=Timeframe.M1)

    count = await export(BTC, tmp_path / name, start=EPOCH, end=FAR, database=database, store=store)
    done = await imported(tmp_path / name, database, store, elsewhere)

    assert count == done.new == 2_600
    assert (await store.array("kraken", "BTC/USDT", Timeframe.M1)).tobytes() == candles.tobytes()


@pytest.mark.asyncio
async def test_an_export_of_a_part_ends_before_its_end(database: Database, store: CandleStore, tmp_path: Path) -> None:
    await store.merge("binance", "BTC/USDT", Timeframe.M1, series_of(range(100)), source=CandleSource.STREAM)
    part = {"start": FIRST + 10 * MINUTE, "end": FIRST + 20 * MINUTE}

    count = await export(BTC, tmp_path / "part.csv", **part, database=database, store=store)

    assert count == 10
    with pytest.raises(InvalidInput, match="no candle of BTC/USDT 1m of binance is stored in that time"):
        await export(BTC, tmp_path / "none.csv", start=FAR, end=FAR, database=database, store=store)


@pytest.mark.asyncio
async def test_candles_that_somebody_stores_meanwhile_are_no_error(
    database: Database, store: CandleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles, other = series_of(range(1_000)), CandleStore(database)
    real, raced = compared, []

    def slowly(new: Candles, there: Candles) -> tuple[Candles, Candles]:
        raced.append(len(there))
        return real(new, there if len(raced) > 1 else there[:0])  # as if the others came after we looked

    await other.merge("binance", "BTC/USDT", Timeframe.M1, candles[400:500], source=CandleSource.STREAM)
    monkeypatch.setattr("app.marketdata.store.compared", slowly)

    merged = await store.merge("binance", "BTC/USDT", Timeframe.M1, candles, source=CandleSource.IMPORT)

    assert (merged.new, merged.changed) == (900, 0)
    assert raced == [100, 100]
    assert (await stored(store)).tobytes() == candles.tobytes()


@pytest.mark.asyncio
async def test_the_list_counts_each_series_and_its_open_holes(database: Database, store: CandleStore) -> None:
    await store.merge("binance", "ETH/USDT", Timeframe.M1, series_of(range(5)), source=CandleSource.STREAM)
    await store.merge("binance", "BTC/USDT", Timeframe.M1, series_of(range(90)), source=CandleSource.STREAM)
    daily = series_of([0], first=datetime(2024, 2, 1, tzinfo=UTC))
    await store.merge("binance", "BTC/USDT", Timeframe.D1, daily, source=CandleSource.STREAM)
    await GapBook(database, "binance", Timeframe.M1).found("BTC/USDT", FIRST, FIRST + MINUTE, at=FIRST)

    found = await inventory(database)

    assert [(each.symbol, each.timeframe.value, each.count, each.open_gaps) for each in found] == [
        ("BTC/USDT", "1m", 90, 1),
        ("BTC/USDT", "1d", 1, 0),
        ("ETH/USDT", "1m", 5, 0),
    ]
    assert (found[0].first, found[0].last) == (FIRST, FIRST + 89 * MINUTE)


def month(back: int) -> datetime:
    """The first of a month, `back` months ago."""
    now = SystemClock().now()
    number = now.year * 12 + now.month - 1 - back
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


async def months(urls: DatabaseUrls) -> list[str]:
    async with connected(urls.owner) as owner:
        rows = await owner.fetch("SELECT relname FROM pg_class WHERE relname ~ '^candles_[0-9]{4}_[0-9]{2}$' ORDER BY relname")
    return [row["relname"].removeprefix("candles_") for row in rows]


async def put(store: CandleStore, moment: datetime) -> None:
    candle = Candle(open_time=moment, open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    await store.upsert("binance", [Close("BTC/USDT", Timeframe.M1, candle)], source=CandleSource.STREAM)


@pytest.mark.asyncio
async def test_months_that_are_too_old_are_dropped_with_their_holes(
    database: Database, store: CandleStore, database_urls: DatabaseUrls
) -> None:
    gaps = GapBook(database, "binance", Timeframe.M1)
    for back in range(8):
        await put(store, month(back))
        await gaps.found("BTC/USDT", month(back) + MINUTE, month(back) + 2 * MINUTE, at=month(0))

    dropped = await Retention(database, keep_months=3).drop()

    # The third month back is not over for three months yet, unless this is the first moment of one.
    assert dropped == [month(back).date() for back in (7, 6, 5, 4)]
    assert await months(database_urls) == [f"{month(back):%Y_%m}" for back in (3, 2, 1, 0)]
    assert [start for start, *_ in await gaps.of("BTC/USDT")] == [month(back) + MINUTE for back in (3, 2, 1, 0)]
    assert await Retention(database, keep_months=3).drop() == []


@pytest.mark.asyncio
async def test_a_month_that_was_dropped_is_made_again_by_a_store_that_knew_it(database: Database, store: CandleStore) -> None:
    await put(store, month(9))
    assert await Retention(database, keep_months=3).drop() == [month(9).date()]

    await put(store, month(9))
    other = series_of(range(3), first=month(9) + MINUTE)
    await Retention(database, keep_months=3).drop()
    merged = await store.merge("binance", "BTC/USDT", Timeframe.M1, other, source=CandleSource.IMPORT)

    assert merged.new == 3


@pytest.mark.asyncio
async def test_the_database_refuses_to_drop_what_is_younger_than_a_month(database: Database, store: CandleStore) -> None:
    await put(store, month(0))
    await put(store, month(1))
    async with database.connection() as connection:
        for keep in (0, -5, None):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("SELECT drop_candle_month($1)", keep)
        assert await connection.fetchval("SELECT drop_candle_month(1)") is None
    with pytest.raises(ValueError, match="at least one month"):
        Retention(database, keep_months=0)


@pytest.mark.asyncio
async def test_dropping_waits_its_turn_and_holds_nobody_up(database: Database, store: CandleStore, database_urls: DatabaseUrls) -> None:
    await put(store, month(9))
    retention = Retention(database, keep_months=3, rest_s=0.05)
    async with connected(database_urls.app) as reader:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetchval("SELECT count(*) FROM candles")
        dropping = asyncio.ensure_future(retention.drop())  # noqa: TID251  # a test's own
        await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            await put(store, month(0))  # would wait for the reader's end behind a patient DROP
        assert not dropping.done()
        await transaction.rollback()
        assert await dropping == [month(9).date()]


@pytest.mark.asyncio
async def test_retention_runs_at_once_and_beats(database: Database, store: CandleStore, database_urls: DatabaseUrls) -> None:
    await put(store, month(9))
    beats: list[date] = []
    running = asyncio.ensure_future(Retention(database, keep_months=3).run(lambda: beats.append(month(9).date())))  # noqa: TID251  # as above
    async with asyncio.timeout(30):
        while await months(database_urls):  # noqa: ASYNC110  # in the database
            await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert len(beats) >= 2


def test_candles_are_compared_by_their_time_and_numbers() -> None:
    stored_ones, new = series_of([0, 2, 4, 6]), series_of([1, 2, 4, 7])
    new["close"][2] += 1

    fresh, changed = compared(new, stored_ones)

    assert [from_milliseconds(int(each)) for each in fresh["open_time"]] == [FIRST + MINUTE, FIRST + 7 * MINUTE]
    assert [from_milliseconds(int(each)) for each in changed["open_time"]] == [FIRST + 4 * MINUTE]
    assert [len(each) for each in compared(new, stored_ones[:0])] == [4, 0]
