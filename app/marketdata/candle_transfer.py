"""Candles from files into the table and back, and what is stored altogether."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.db import Database
from app.domain.candles import Timeframe, from_milliseconds
from app.errors import InvalidInput
from app.marketdata import candle_files
from app.marketdata.candle_files import FileLabel
from app.marketdata.coverage import Range, absent, without
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore

_EXPORTED_AT_ONCE: Final = 200_000
#: The months are counted each by itself, and side by side where the server has processors to spare.
_BY_MONTH_SQL: Final = "SET LOCAL enable_partitionwise_aggregate = on"
_INVENTORY_SQL: Final = """
SELECT exchange, symbol, timeframe, first, last, count, coalesce(open_gaps, 0) AS open_gaps FROM (
    SELECT exchange, symbol, timeframe, min(open_time) AS first, max(open_time) AS last, count(*) AS count
    FROM candles GROUP BY exchange, symbol, timeframe
) AS stored LEFT JOIN (
    SELECT exchange, symbol, timeframe, count(*) AS open_gaps FROM candle_gaps WHERE outcome = 'open' GROUP BY exchange, symbol, timeframe
) AS holes USING (exchange, symbol, timeframe)
"""
_EDGES_SQL: Final = """
SELECT min(open_time), max(open_time) FROM candles
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Which candles are meant."""

    exchange: str
    symbol: str
    timeframe: Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file: its rows, how many were new, how many replaced other numbers, and the holes in it that nothing explains."""

    rows: int
    new: int
    changed: int
    first: datetime
    last: datetime
    holes: list[Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What there is of one series. `first` and `last` are open times, `open_gaps` counts holes that are not explained yet."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    first: datetime
    last: datetime
    count: int
    open_gaps: int


async def import_file(path: Path, series: Series, *, database: Database, store: CandleStore, clock: Clock) -> Imported:
    """Store the candles of a file, all or, if a row is bad, none. What it has not and nobody explained yet is written down as a hole.

    Raises:
        CandleFileUnreadable: see `candle_files.read`; nothing was stored.
    """
    timeframe = series.timeframe
    pieces = await asyncio.to_thread(lambda: list(candle_files.read(path, timeframe)))
    if not pieces:
        raise InvalidInput(f"there is no candle in {path.name}")
    first, last = from_milliseconds(int(pieces[0]["open_time"][0])), from_milliseconds(int(pieces[-1]["open_time"][-1]))
    new = changed = 0
    for piece in pieces:
        merged = await store.merge(series.exchange, series.symbol, timeframe, piece, source=CandleSource.IMPORT)
        new, changed = new + merged.new, changed + merged.changed
    gaps = GapBook(database, series.exchange, timeframe)
    holes = await absent(database, series.exchange, series.symbol, timeframe, start=first, end=last + timeframe.duration)
    known = [(hole[0], hole[1]) for hole in await gaps.of(series.symbol) if hole[2] is GapOutcome.EXCHANGE_HAS_NONE]
    holes = without(holes, known)
    await gaps.found_all(series.symbol, holes, at=clock.now())
    return Imported(rows=sum(len(piece) for piece in pieces), new=new, changed=changed, first=first, last=last, holes=holes)


async def export(series: Series, path: Path, *, start: datetime, end: datetime, database: Database, store: CandleStore) -> int:
    """Write the stored candles of [start, end) to a new file, in pieces, and return their number.

    Raises:
        InvalidInput: there are none.
    """
    timeframe = series.timeframe
    async with database.connection() as connection:
        first, last = await connection.fetchrow(_EDGES_SQL, series.exchange, series.symbol, timeframe.value, start, end)
    if first is None:
        raise InvalidInput(f"no candle of {series.symbol} {timeframe.value} of {series.exchange} is stored in that time")
    count, step = 0, timeframe.duration * _EXPORTED_AT_ONCE
    label = FileLabel(exchange=series.exchange, symbol=series.symbol, timeframe=timeframe.value)
    with candle_files.written(path, label) as append:
        while first <= last:
            until = min(first + step, last + timedelta(milliseconds=1))
            candles = await store.array(series.exchange, series.symbol, timeframe, start=first, end=until)
            if len(candles):
                await asyncio.to_thread(append, candles)
            count += len(candles)
            first += step
    return count


async def inventory(database: Database) -> list[Stored]:
    """Return what is stored of every exchange, symbol and timeframe, in this order."""
    async with database.raw_transaction() as connection:
        await connection.execute(_BY_MONTH_SQL)
        rows = await connection.fetch(_INVENTORY_SQL)
    found = [Stored(**{**dict(row), "timeframe": Timeframe(row["timeframe"])}) for row in rows]
    return sorted(found, key=lambda each: (each.exchange, each.symbol, each.timeframe.duration))
