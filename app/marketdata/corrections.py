"""Writes candles that take the place of others, each with the row that says what was there, in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from app.core.db import Database
from app.core.ids import new_id
from app.domain.candles import Candle, Timeframe
from app.marketdata.models import CandleSource, DifferenceCause
from app.marketdata.store import Close

_LOCK_SQL: Final = """
SELECT symbol, timeframe, open_time, open, high, low, close, volume FROM candles
 JOIN unnest($2::text[], $3::text[], $4::timestamptz[]) AS wanted (symbol, timeframe, open_time) USING (symbol, timeframe, open_time)
WHERE exchange = $1 FOR UPDATE OF candles
"""
_UPSERT_SQL: Final = """
INSERT INTO candles AS stored (exchange, symbol, timeframe, open_time, open, high, low, close, volume, source)
SELECT $1, symbol, timeframe, open_time, open, high, low, close, volume, $2
FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::float8[])
    AS new (symbol, timeframe, open_time, open, high, low, close, volume)
ON CONFLICT (exchange, symbol, timeframe, open_time) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    source = excluded.source
"""
_NOTE_SQL: Final = """
INSERT INTO candle_differences (id, exchange, symbol, timeframe, open_time, cause, was, became, found_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_FILLED_SQL: Final = """
INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, resolved_at, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 'filled')
ON CONFLICT (exchange, symbol, timeframe, start_at, end_at) DO UPDATE SET resolved_at = $7, outcome = 'filled'
"""

#: A candle that was written, and the open, high, low, close and volume that it took the place of.
Written = tuple[Close, list[float]]


class Corrections:
    """Puts candles of one exchange right."""

    def __init__(self, database: Database, exchange: str) -> None:
        self._database = database
        self._exchange = exchange

    async def write(
        self,
        closes: Sequence[Close],
        *,
        source: CandleSource,
        at: datetime | None = None,
        instead: Mapping[datetime, Candle] | None = None,
    ) -> list[Written]:
        """Store candles and return those that took the place of other numbers; with `at`, each of these is recorded as a difference.

        Args:
            closes: Candles of any symbols and timeframes, each once.
            source: Which road they came by.
            at: When the difference was found; None where there can be none.
            instead: By open time, what stood for a candle that is not stored itself.
        """
        instead = instead or {}
        written: list[Written] = []
        async with self._database.raw_transaction() as connection:
            stored = await self._lock(connection, closes)
            changed = [close for close in closes if stored.get(close.key) != numbers(close.candle)]
            await self._upsert(connection, changed, source, is_new=any(close.key not in stored for close in changed))
            for close in changed:
                stood = instead.get(close.candle.open_time)
                was = stored.get(close.key) or (None if stood is None else numbers(stood))
                if was is not None:
                    written.append((close, was))
            if at is not None and written:
                await connection.executemany(_NOTE_SQL, [self._note(close, was, at) for close, was in written])
        return written

    async def found_and_filled(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime, *, at: datetime) -> None:
        """Write down that candles with open times in [start, end) were missing and are stored now."""
        async with self._database.connection() as connection:
            await connection.execute(_FILLED_SQL, new_id(), self._exchange, symbol, timeframe.value, start, end, at)

    async def _lock(self, connection: Any, closes: Sequence[Close]) -> dict[tuple[str, str, datetime], list[float]]:
        symbols, timeframes, moments = zip(*(close.key for close in closes), strict=True)
        rows = await connection.fetch(_LOCK_SQL, self._exchange, symbols, timeframes, moments)
        return {tuple(row)[:3]: list(tuple(row)[3:]) for row in rows}

    async def _upsert(self, connection: Any, closes: Sequence[Close], source: CandleSource, *, is_new: bool) -> None:
        if not closes:
            return
        candles = [close.candle for close in closes]
        if is_new:
            for year, month in sorted({(candle.open_time.year, candle.open_time.month) for candle in candles}):
                await connection.execute("SELECT ensure_candle_partition($1)", datetime(year, month, 1, tzinfo=UTC))
        await connection.execute(
            _UPSERT_SQL,
            self._exchange,
            source.value,
            [close.symbol for close in closes],
            [close.timeframe.value for close in closes],
            [c.open_time for c in candles],
            [c.open for c in candles],
            [c.high for c in candles],
            [c.low for c in candles],
            [c.close for c in candles],
            [c.volume for c in candles],
        )

    def _note(self, close: Close, was: list[float], at: datetime) -> tuple[object, ...]:
        cause, (symbol, timeframe, open_time) = DifferenceCause.CROSS_CHECK.value, close.key
        return new_id(), self._exchange, symbol, timeframe, open_time, cause, was, numbers(close.candle), at


def numbers(candle: Candle) -> list[float]:
    """Return open, high, low, close and volume."""
    return [candle.open, candle.high, candle.low, candle.close, candle.volume]
