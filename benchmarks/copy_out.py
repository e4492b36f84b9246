"""Candles out of PostgreSQL into numpy and back, beside asyncpg `fetch` of the same columns and pandas `read_sql`.

    uv run --group bench python benchmarks/copy_out.py [--quick]

One embedded PostgreSQL, one connection at a time, one-minute candles of one symbol from 2021-01-01 on, so a million lie in 23 monthly
partitions. Every way must give the same numbers: float64 open, high, low, close, volume and the open time. Each is tried a few times in
turn and the best time counts, for other work on the machine only ever adds. Ingest: `CandleStore.merge` into empty months (COPY), the same
candles again (compared, nothing written), and `CandleStore.upsert` in pages as a backfill does.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.domain.candles import EPOCH, Timeframe, to_milliseconds
from app.marketdata.aggregate import to_candles
from app.marketdata.bulk import CANDLE_DTYPE, VALUES, Candles
from app.marketdata.candle_files import FileLabel, written
from app.marketdata.candle_transfer import Series, import_file
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore, Close

ROWS: Final = 1_000_000
QUICK_ROWS: Final = 50_000
EXCHANGE: Final = "binance"
SYMBOL: Final = "BTC/USDT"
FIRST: Final = datetime(2021, 1, 1, tzinfo=UTC)
UPSERT_PAGE: Final = 1_000
_END: Final = datetime(2100, 1, 1, tzinfo=UTC)
_SQL: Final = """
SELECT open_time, open, high, low, close, volume FROM candles
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5 ORDER BY open_time
"""


def made_up(count: int, *, seed: int = 7) -> Candles:
    """Return `count` minutes of a random walk with prices of two and volumes of five decimals."""
    chance = np.random.default_rng(seed)
    candles = np.zeros(count, CANDLE_DTYPE)
    candles["open_time"] = to_milliseconds(FIRST) + 60_000 * np.arange(count)
    close = np.round(30_000 * np.exp(np.cumsum(chance.normal(0, 2e-4, count))), 2)
    candles["open"], candles["close"] = np.r_[close[0], close[:-1]], close
    candles["high"] = np.round(np.maximum(candles["open"], close) + chance.exponential(5, count), 2)
    candles["low"] = np.round(np.minimum(candles["open"], close) - chance.exponential(5, count), 2)
    candles["volume"] = np.round(chance.exponential(20, count), 5)
    return candles


async def by_copy(database: Database) -> Candles:
    """Ours."""
    return await CandleStore(database).array(EXCHANGE, SYMBOL, Timeframe.M1)


async def by_fetch(database: Database) -> Candles:
    """The usual way: rows, and numpy makes columns of them."""
    async with database.connection() as connection:
        rows = await connection.fetch(_SQL, EXCHANGE, SYMBOL, Timeframe.M1.value, EPOCH, _END)
    columns = list(zip(*rows, strict=True))
    candles = np.empty(len(rows), CANDLE_DTYPE)
    candles["open_time"] = np.array([moment.replace(tzinfo=None) for moment in columns[0]], "datetime64[ms]").view("<i8")
    for place, name in enumerate(VALUES, start=1):
        candles[name] = columns[place]
    return candles


async def by_fetch_of_floats(database: Database) -> Candles:
    """As `by_fetch`, but for the five float columns alone: the kindest comparison, for a moment is dear to make and to read."""
    async with database.connection() as connection:
        rows = await connection.fetch(_SQL.replace("open_time, open", "open", 1), EXCHANGE, SYMBOL, Timeframe.M1.value, EPOCH, _END)
    values = np.array(rows, "<f8")
    candles = np.empty(len(rows), CANDLE_DTYPE)
    candles["open_time"] = to_milliseconds(FIRST) + 60_000 * np.arange(len(rows))
    for place, name in enumerate(VALUES):
        candles[name] = values[:, place]
    return candles


async def by_pandas(database: Database) -> Candles:
    """Pandas over SQLAlchemy and asyncpg. Raises ImportError where it is not installed."""
    import pandas as pd  # noqa: PLC0415  # a peer of the group `bench`
    from sqlalchemy import text  # noqa: PLC0415  # as above
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # as above

    statement = text(
        _SQL.replace("$1", ":exchange").replace("$2", ":symbol").replace("$3", ":timeframe").replace("$4", ":start").replace("$5", ":end")
    )
    values = {"exchange": EXCHANGE, "symbol": SYMBOL, "timeframe": Timeframe.M1.value, "start": EPOCH, "end": _END}
    # Without our limit on idle transactions: it takes longer than that to make its columns, while the transaction is open.
    engine = create_async_engine(database.engine.url)
    async with engine.connect() as connection:
        frame = await connection.run_sync(lambda plain: pd.read_sql(statement, plain, params=values))
    await engine.dispose()
    candles = np.empty(len(frame), CANDLE_DTYPE)
    candles["open_time"] = frame["open_time"].dt.tz_localize(None).to_numpy("datetime64[ms]").view("<i8")
    for name in VALUES:
        candles[name] = frame[name].to_numpy()
    return candles


async def best_of(
    ways: Mapping[str, Callable[[Database], Awaitable[Candles]]], database: Database, expected: Candles, *, rounds: int
) -> dict[str, float]:
    """Return the best seconds of each way; one that is not installed is left out, one that gives other numbers ends the program."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            try:
                found = await way(database)
            except ImportError as error:
                print(f"{name}: {error.name} is not installed")
                continue
            taken = time.perf_counter() - started
            if found.tobytes() != expected.tobytes():
                raise SystemExit(f"{name} gave other numbers than were stored")
            best[name] = min(best.get(name, taken), taken)
    return best


async def ingest(database: Database, candles: Candles, folder: Path, *, upserts: int) -> dict[str, float]:
    """Store the candles, again, from a csv file and some by upsert under other names; return the seconds of each, per candle."""
    store, seconds = CandleStore(database), {}
    for name in ("merge of new", "merge again"):
        started = time.perf_counter()
        merged = await store.merge(EXCHANGE, SYMBOL, Timeframe.M1, candles, source=CandleSource.IMPORT)
        seconds[name] = (time.perf_counter() - started) / len(candles)
        if (merged.new, merged.changed) != (len(candles) if name == "merge of new" else 0, 0):
            raise SystemExit(f"{name} stored {merged}")
    with written(folder / "benchmark.csv", FileLabel()) as append:
        append(candles)
    started = time.perf_counter()
    series = Series(exchange="kraken", symbol=SYMBOL, timeframe=Timeframe.M1)
    await import_file(folder / "benchmark.csv", series, database=database, store=store, clock=SystemClock())
    seconds["import of csv"] = (time.perf_counter() - started) / len(candles)
    closes = [Close("ETH/USDT", Timeframe.M1, candle) for candle in to_candles(candles[:upserts])]
    started = time.perf_counter()
    for first in range(0, len(closes), UPSERT_PAGE):
        await store.upsert(EXCHANGE, closes[first : first + UPSERT_PAGE], source=CandleSource.REST)
    seconds["upsert"] = (time.perf_counter() - started) / len(closes)
    return seconds


async def measure(urls: DatabaseUrls, folder: Path, *, rows: int, rounds: int) -> dict[str, object]:
    """Fill an empty database, read it in every way, print a table and return the figures."""
    database = Database(urls.app)
    await database.open()
    try:
        candles = made_up(rows)
        stored = await ingest(database, candles, folder, upserts=min(rows, 100_000))
        ways = {"COPY": by_copy, "asyncpg fetch": by_fetch, "fetch, floats only": by_fetch_of_floats, "pandas read_sql": by_pandas}
        seconds = await best_of(ways, database, candles, rounds=rounds)
    finally:
        await database.close()
    return show(rows, stored, seconds)


def show(rows: int, stored: dict[str, float], seconds: dict[str, float]) -> dict[str, object]:
    """Print a line for each way, and return the figures."""
    print(f"{rows:,} candles\n{'':20} {'seconds':>9} {'rows/s':>12} {'times COPY':>11}")
    for name, taken in seconds.items():
        print(f"{name:20} {taken:9.2f} {rows / taken:12,.0f} {taken / seconds['COPY']:11.1f}")
    for name, each in stored.items():
        print(f"{name:20} {'':9} {1 / each:12,.0f}")
    pandas = seconds.get("pandas read_sql")
    return {
        "rows": rows,
        "copy_out_s": round(seconds["COPY"], 3),
        "copy_out_rows_per_s": round(rows / seconds["COPY"]),
        "ratio_to_fetch": round(seconds["asyncpg fetch"] / seconds["COPY"], 2),
        "ratio_to_fetch_floats": round(seconds["fetch, floats only"] / seconds["COPY"], 2),
        "ratio_to_pandas": None if pandas is None else round(pandas / seconds["COPY"], 2),
        "import_rows_per_s": round(1 / stored["import of csv"]),
        "merge_rows_per_s": round(1 / stored["merge of new"]),
        "again_rows_per_s": round(1 / stored["merge again"]),
        "upsert_rows_per_s": round(1 / stored["upsert"]),
    }


async def with_database(folder: Path, *, is_quick: bool) -> dict[str, object]:
    """Start PostgreSQL, and measure."""
    postgres = EmbeddedPostgres(folder / "postgres-data")
    urls = await postgres.start()
    try:
        await upgrade(urls.owner, app_role=urls.app_role)
        return await measure(urls, folder, rows=QUICK_ROWS if is_quick else ROWS, rounds=2 if is_quick else 5)
    finally:
        await postgres.stop()


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few candles: shows that it runs, not how fast")
    is_quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder:
        # Root's server cannot pass through a folder that is root's alone.
        Path(folder).chmod(0o711)
        print(json.dumps(asyncio.run(with_database(Path(folder), is_quick=is_quick))))


if __name__ == "__main__":
    main()
