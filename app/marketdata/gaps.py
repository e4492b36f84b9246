"""The book of holes: a range of missing candles is written down when found, and again when it is known what became of it."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from app.core.db import Database
from app.core.ids import new_id
from app.domain.candles import Timeframe
from app.marketdata.models import GapOutcome

#: A hole that grows at its end, as that of a halted market does, stays one row.
_FOUND_SQL: Final = """
WITH grown AS (
    UPDATE candle_gaps SET end_at = $6
    WHERE exchange = $2 AND symbol = $3 AND timeframe = $4 AND start_at = $5 AND outcome = 'open' AND end_at < $6 RETURNING id
)
INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, outcome)
SELECT $1, $2, $3, $4, $5, $6, $7, 'open' WHERE NOT EXISTS (SELECT FROM grown)
ON CONFLICT (exchange, symbol, timeframe, start_at, end_at) DO NOTHING
"""
#: Open holes within it are explained by it.
_HAS_NONE_SQL: Final = """
WITH within AS (
    DELETE FROM candle_gaps
    WHERE exchange = $2 AND symbol = $3 AND timeframe = $4 AND outcome = 'open' AND start_at >= $5 AND end_at <= $6
      AND (start_at, end_at) <> ($5, $6)
)
INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, resolved_at, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 'exchange_has_none')
ON CONFLICT (exchange, symbol, timeframe, start_at, end_at) DO UPDATE SET resolved_at = $7, outcome = 'exchange_has_none'
"""
_FILLED_SQL: Final = """
UPDATE candle_gaps SET outcome = 'filled', resolved_at = $5
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND outcome = 'open' AND end_at BETWEEN $6 AND $4
"""
_FOUND_AND_FILLED_SQL: Final = """
INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, resolved_at, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 'filled')
ON CONFLICT (exchange, symbol, timeframe, start_at, end_at) DO UPDATE SET resolved_at = $7, outcome = 'filled'
"""
_RESOLVED_SQL: Final = """
UPDATE candle_gaps SET outcome = $6, resolved_at = $7
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND start_at = $4 AND end_at = $5 AND outcome = 'open'
"""
_READ_SQL: Final = """
SELECT start_at, end_at, outcome FROM candle_gaps WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 ORDER BY start_at, end_at
"""

_OPEN_SQL: Final = """
SELECT start_at, end_at FROM candle_gaps
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND outcome = 'open' AND end_at > $4 ORDER BY start_at
"""


class GapBook:
    """Holes in the candles of one exchange and timeframe. Ranges are open times, start inclusive, end exclusive."""

    def __init__(self, database: Database, exchange: str, timeframe: Timeframe) -> None:
        self._database = database
        self._exchange = exchange
        self._timeframe = timeframe.value

    async def found(self, symbol: str, start: datetime, end: datetime, *, at: datetime) -> None:
        """Write down that candles are missing and will be fetched."""
        async with self._database.connection() as connection:
            await connection.execute(_FOUND_SQL, new_id(), self._exchange, symbol, self._timeframe, start, end, at)

    async def found_all(self, symbol: str, holes: Collection[tuple[datetime, datetime]], *, at: datetime) -> None:
        """As `found`, of many holes."""
        async with self._database.connection() as connection:
            await connection.executemany(_FOUND_SQL, self._rows(symbol, holes, at))

    async def exchange_has_none_of(self, symbol: str, holes: Collection[tuple[datetime, datetime]], *, at: datetime) -> None:
        """As `exchange_has_none`, of many holes."""
        async with self._database.connection() as connection:
            await connection.executemany(_HAS_NONE_SQL, self._rows(symbol, holes, at))

    def _rows(self, symbol: str, holes: Collection[tuple[datetime, datetime]], at: datetime) -> list[tuple[object, ...]]:
        return [(new_id(), self._exchange, symbol, self._timeframe, start, end, at) for start, end in holes]

    async def exchange_has_none(self, symbol: str, start: datetime, end: datetime, *, at: datetime) -> None:
        """Write down that the exchange itself has no candles there; they are never invented."""
        async with self._database.connection() as connection:
            await connection.execute(_HAS_NONE_SQL, new_id(), self._exchange, symbol, self._timeframe, start, end, at)

    async def covered(self, symbol: str, since: datetime, until: datetime, *, at: datetime) -> None:
        """Mark every open hole that ends within [since, until] as filled; older ones, of an import perhaps, are still to be explained."""
        async with self._database.connection() as connection:
            await connection.execute(_FILLED_SQL, self._exchange, symbol, self._timeframe, until, at, since)

    async def found_and_filled(self, symbol: str, start: datetime, end: datetime, *, at: datetime) -> None:
        """Write down that candles were missing which are stored now."""
        async with self._database.connection() as connection:
            await connection.execute(_FOUND_AND_FILLED_SQL, new_id(), self._exchange, symbol, self._timeframe, start, end, at)

    async def unexplained(self, symbol: str, *, since: datetime) -> list[tuple[datetime, datetime]]:
        """Return the holes that end after `since` and are neither filled nor known to be the exchange's own, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_OPEN_SQL, self._exchange, symbol, self._timeframe, since)
        return [(row["start_at"], row["end_at"]) for row in rows]

    async def resolve(self, symbol: str, start: datetime, end: datetime, outcome: GapOutcome, *, at: datetime) -> None:
        """Write down what became of one open hole, of exactly this range."""
        async with self._database.connection() as connection:
            await connection.execute(_RESOLVED_SQL, self._exchange, symbol, self._timeframe, start, end, outcome.value, at)

    async def of(self, symbol: str) -> list[tuple[datetime, datetime, GapOutcome]]:
        """Return all holes of a symbol, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_READ_SQL, self._exchange, symbol, self._timeframe)
        return [(row["start_at"], row["end_at"], GapOutcome(row["outcome"])) for row in rows]
