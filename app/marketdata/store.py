"""The candle table: one statement for a batch of closes, COPY for history, plain reads. Plain asyncpg, because this is a hot path."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import numpy as np

from app.core.clock import Clock, SystemClock
from app.core.db import Database
from app.core.ids import new_id
from app.domain.candles import EPOCH, Candle, Timeframe, from_milliseconds
from app.errors import InvalidInput
from app.marketdata.aggregate import to_candles
from app.marketdata.bulk import COLUMNS, VALUES, Candles, compared, copy_in, copy_out
from app.marketdata.models import CandleSource, DifferenceCause

_NEW: Final = """
FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::float8[])
    AS new (symbol, timeframe, open_time, open, high, low, close, volume)
"""
_INSERT_SQL: Final = f"""
INSERT INTO candles (exchange, symbol, timeframe, open_time, open, high, low, close, volume, source)
SELECT $1, symbol, timeframe, open_time, open, high, low, close, volume, $2 {_NEW}
ON CONFLICT (exchange, symbol, timeframe, open_time) DO NOTHING RETURNING symbol, timeframe, open_time
"""
#: Only for candles that are there already: it reads what they were, replaces those that differ, and writes down that they did.
_REPLACE_SQL: Final = f"""
WITH new AS (SELECT * {_NEW}),
changed AS (
    UPDATE candles AS stored SET open = new.open, high = new.high, low = new.low, close = new.close, volume = new.volume, source = $2
    FROM new JOIN candles AS old USING (symbol, timeframe, open_time)
    WHERE old.exchange = $1 AND stored.exchange = $1 AND old.open_time BETWEEN $13 AND $14 AND stored.open_time BETWEEN $13 AND $14
      AND (stored.symbol, stored.timeframe, stored.open_time) = (new.symbol, new.timeframe, new.open_time)
      AND (stored.open, stored.high, stored.low, stored.close, stored.volume)
          IS DISTINCT FROM (new.open, new.high, new.low, new.close, new.volume)
    RETURNING stored.symbol, stored.timeframe, stored.open_time, ARRAY[old.open, old.high, old.low, old.close, old.volume] AS was,
              ARRAY[new.open, new.high, new.low, new.close, new.volume] AS became
),
told AS (SELECT *, row_number() OVER () AS number FROM changed),
noted AS (
    INSERT INTO candle_differences (id, exchange, symbol, timeframe, open_time, cause, was, became, found_at)
    SELECT ($11::uuid[])[number], $1, symbol, timeframe, open_time, $12, was, became, now() FROM told
)
SELECT symbol, timeframe, open_time, was FROM told
"""  # noqa: S608  # constants
_LATEST_SQL: Final = """
SELECT open_time, open, high, low, close, volume FROM (
    SELECT * FROM candles WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time < $4 ORDER BY open_time DESC LIMIT $5
) AS latest ORDER BY open_time
"""
_FROM_SQL: Final = """
SELECT open_time, open, high, low, close, volume FROM candles
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5 ORDER BY open_time LIMIT $6
"""
_LAST_SQL: Final = """
SELECT wanted.symbol, last.open_time FROM unnest($3::text[]) AS wanted (symbol)
CROSS JOIN LATERAL (
    SELECT open_time FROM candles WHERE exchange = $1 AND timeframe = $2 AND symbol = wanted.symbol ORDER BY open_time DESC LIMIT 1
) AS last
"""
_FAR_FUTURE: Final = datetime(2100, 1, 1, tzinfo=UTC)
_UPSERT_CHUNK: Final = 5_000
_COPY_FROM: Final = 10
_MERGE_CHUNK: Final = 250_000
_APPEND_TRIES: Final = 5
#: The youngest months are never dropped: retention keeps one whole month at least, and clocks of processes differ.
_NEVER_DROPPED: Final = timedelta(days=25)


#: Symbol, timeframe and open time.
Key = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class Close:
    """A closed candle on its way into the table."""

    symbol: str
    timeframe: Timeframe
    candle: Candle

    @property
    def key(self) -> Key:
        """What makes it unique within an exchange."""
        return self.symbol, self.timeframe.value, self.candle.open_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stored candle that got other numbers; `was` is what it had before."""

    close: Close
    was: Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of candles that were handed to the store; one that was there with the same numbers is in neither."""

    new: set[Key] = field(default_factory=set)
    changed: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """How many candles were not stored before, and how many were with other numbers."""

    new: int
    changed: int


class CandleStore:
    """Reads and writes candles. Only closed ones are stored."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._months: set[tuple[int, int]] = set()

    async def write(
        self, exchange: str, closes: Sequence[Close], *, source: CandleSource, cause: DifferenceCause = DifferenceCause.REVISED
    ) -> Written:
        """Store closed candles, all that are new in one statement.

        The same candle again changes nothing. One with other numbers replaces what was stored, and the difference is written down with
        it and its cause. Of several with the same key the last counts.
        """
        unique = {close.key: close for close in closes}
        if not unique:
            return Written()
        try:
            return await self._write(exchange, unique, source, cause)
        except asyncpg.CheckViolationError:
            # A month was dropped for its age since we looked.
            return await self._write(exchange, unique, source, cause)

    async def _write(self, exchange: str, unique: dict[Key, Close], source: CandleSource, cause: DifferenceCause) -> Written:
        await self._ensure_partitions({(close.candle.open_time.year, close.candle.open_time.month) for close in unique.values()})
        # Two statements, each whole by itself: as a rule the first is all there is, and a transaction would be two more round trips.
        async with self._database.connection() as connection:
            new = await _insert(connection, exchange, unique, source)
            known = [close for key, close in unique.items() if key not in new]
            if not known:
                return Written(new=new)
            moments = [close.candle.open_time for close in known]
            ids = [new_id() for _ in known]
            rows = await connection.fetch(
                _REPLACE_SQL, exchange, source.value, *_columns(known), ids, cause.value, min(moments), max(moments)
            )
        changed = tuple(Change(close=unique[row["symbol"], row["timeframe"], row["open_time"]], was=_was(row)) for row in rows)
        return Written(new=new, changed=changed)

    async def upsert(self, exchange: str, closes: Sequence[Close], *, source: CandleSource) -> set[Key]:
        """As `write`; return the keys that were new or different."""
        written = await self.write(exchange, closes, source=source)
        return written.new | {change.close.key for change in written.changed}

    async def load(self, exchange: str, symbol: str, timeframe: Timeframe, candles: Candles, *, source: CandleSource) -> int:
        """Store history of any length and return how many candles it had. Raises as `merge`."""
        await self.merge(exchange, symbol, timeframe, candles, source=source)
        return len(candles)

    async def merge(self, exchange: str, symbol: str, timeframe: Timeframe, candles: Candles, *, source: CandleSource) -> Merged:
        """Store history of any length beside what is there: by COPY what is new, by upsert what has other numbers, else nothing.

        Comparing costs a COPY out of the same range, a fourth of writing it again. Many processes may write meanwhile.

        Raises:
            InvalidInput: the candles are not ascending, not on the timeframe's grid, or not finite.
        """
        check_series(candles, timeframe)
        new = changed = 0
        for start in range(0, len(candles), _MERGE_CHUNK):
            chunk = candles[start : start + _MERGE_CHUNK]
            part, other = await self._append(exchange, symbol, timeframe, chunk, source=source)
            closes = [Close(symbol, timeframe, candle) for candle in to_candles(other)]
            for first in range(0, len(closes), _UPSERT_CHUNK):
                await self.upsert(exchange, closes[first : first + _UPSERT_CHUNK], source=source)
            new, changed = new + part, changed + len(other)
        return Merged(new=new, changed=changed)

    async def _append(
        self, exchange: str, symbol: str, timeframe: Timeframe, candles: Candles, *, source: CandleSource
    ) -> tuple[int, Candles]:
        """Store those of which there is none; return their number, and those that are stored with other numbers."""
        first, last = (from_milliseconds(int(candles["open_time"][edge])) for edge in (0, -1))
        end = last + timeframe.duration
        for attempt in range(_APPEND_TRIES):
            await self._ensure_partitions(_months_between(first, last))
            async with self._database.connection() as connection:
                stored = await copy_out(connection, exchange, symbol, timeframe, start=first, end=end)
                new, other = compared(candles, stored)
                try:
                    await copy_in(connection, new, exchange=exchange, symbol=symbol, timeframe=timeframe, source=source)
                except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError):
                    # Somebody stored one of them since we looked, or a month was dropped for its age.
                    if attempt == _APPEND_TRIES - 1:
                        raise
                    continue
                return len(new), other
        raise AssertionError("the last try returns or raises")

    async def latest(self, exchange: str, symbol: str, timeframe: Timeframe, *, limit: int, before: datetime = _FAR_FUTURE) -> list[Candle]:
        """Return the last `limit` stored candles that opened before `before`, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LATEST_SQL, exchange, symbol, timeframe.value, before, limit)
        return [_candle(row) for row in rows]

    async def between(
        self, exchange: str, symbol: str, timeframe: Timeframe, *, start: datetime, end: datetime = _FAR_FUTURE, limit: int
    ) -> list[Candle]:
        """Return the first `limit` stored candles with open times in [start, end), oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_FROM_SQL, exchange, symbol, timeframe.value, start, end, limit)
        return [_candle(row) for row in rows]

    async def array(
        self, exchange: str, symbol: str, timeframe: Timeframe, *, start: datetime = EPOCH, end: datetime = _FAR_FUTURE
    ) -> Candles:
        """Return stored candles with open times in [start, end) as a numpy array, oldest first."""
        async with self._database.connection() as connection:
            return await copy_out(connection, exchange, symbol, timeframe, start=start, end=end)

    async def last_open_times(self, exchange: str, timeframe: Timeframe, symbols: Collection[str]) -> dict[str, datetime]:
        """Return the newest stored open time of each symbol that has any."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LAST_SQL, exchange, timeframe.value, list(symbols))
        return {row["symbol"]: row["open_time"] for row in rows}

    async def _ensure_partitions(self, months: set[tuple[int, int]]) -> None:
        # Months that retention may have dropped since, in whatever process, are asked for each time: 0.2 ms.
        young = self._clock.now() - _NEVER_DROPPED
        known = {month for month in self._months if month >= (young.year, young.month)}
        missing = sorted(months - known)
        if not missing:
            return
        async with self._database.connection() as connection:
            for year, month in missing:
                await connection.execute("SELECT ensure_candle_partition($1)", datetime(year, month, 1, tzinfo=UTC))
        self._months = known | months


async def _insert(connection: Any, exchange: str, unique: dict[Key, Close], source: CandleSource) -> set[Key]:
    """Store those that are not stored yet, and return their keys. As a rule none is, and a COPY costs a third of an INSERT."""
    if len(unique) >= _COPY_FROM:
        rows = [
            (exchange, close.symbol, close.timeframe.value, c.open_time, c.open, c.high, c.low, c.close, c.volume, source.value)
            for close in unique.values()
            for c in (close.candle,)
        ]
        with suppress(asyncpg.UniqueViolationError):
            await connection.copy_records_to_table("candles", records=rows, columns=COLUMNS)
            return set(unique)
    found = await connection.fetch(_INSERT_SQL, exchange, source.value, *_columns(unique.values()))
    return {(row["symbol"], row["timeframe"], row["open_time"]) for row in found}


def _columns(closes: Iterable[Close]) -> list[list[Any]]:
    rows = [(c.symbol, c.timeframe.value, k.open_time, k.open, k.high, k.low, k.close, k.volume) for c in closes for k in (c.candle,)]
    return [list(column) for column in zip(*rows, strict=True)]


def _was(row: Any) -> Candle:
    opened, high, low, close, volume = row["was"]
    return Candle(open_time=row["open_time"], open=opened, high=high, low=low, close=close, volume=volume)


def _candle(row: Any) -> Candle:
    moment, opened, high, low, close, volume = row
    return Candle(open_time=moment, open=opened, high=high, low=low, close=close, volume=volume)


def check_series(candles: Candles, timeframe: Timeframe) -> None:
    """Refuse what is no series of candles.

    Raises:
        InvalidInput: they are not ascending, not on the timeframe's grid, or not finite.
    """
    moments = candles["open_time"]
    if np.any(moments[1:] <= moments[:-1]):
        raise InvalidInput("candles must be in ascending order of open time, each once", field="open_time")
    if np.any(moments % timeframe.milliseconds):
        raise InvalidInput(f"every open time must be a multiple of {timeframe.value}", field="open_time")
    if not all(np.all(np.isfinite(candles[name])) for name in VALUES):
        raise InvalidInput("prices and volumes must be finite numbers", field="close")


def _months_between(first: datetime, last: datetime) -> set[tuple[int, int]]:
    months = set()
    moment = first.replace(day=1)
    while moment <= last:
        months.add((moment.year, moment.month))
        moment = (moment + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return months
