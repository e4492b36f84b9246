"""What a person is told of the live feed, read from its tables: any process shows the same, whichever of them watches the market."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.marketdata.models import DifferenceCause, GapOutcome

#: Candles of so many symbols are put together for the signals of all; the row of the feed has the configured ones first.
MOST_SYMBOLS: Final = 200
_DAY: Final = timedelta(days=1)
_FEED_SQL: Final = """
SELECT f.*,
       (SELECT count(*) FROM candle_gaps g WHERE g.exchange = $1 AND g.outcome = 'open') AS open_gaps,
       (SELECT count(*) FROM candle_gaps g WHERE g.exchange = $1 AND g.id >= $2) AS gaps_of_day,
       (SELECT count(*) FROM candle_differences d WHERE d.exchange = $1 AND d.found_at >= $3) AS differences_of_day,
       (SELECT g.id FROM candle_gaps g WHERE g.exchange = $1 ORDER BY g.id DESC LIMIT 1) AS newest_gap,
       (SELECT max(d.found_at) FROM candle_differences d WHERE d.exchange = $1) AS newest_difference
  FROM (SELECT $1::text AS exchange) asked LEFT JOIN heartbeat_status f ON f.exchange = asked.exchange
"""
#: One step down the primary key for each symbol and timeframe, so that the cost does not grow with what is stored.
_LATEST_SQL: Final = """
SELECT timeframe, open_time, symbol, close FROM (
  SELECT c.*, row_number() OVER (PARTITION BY c.timeframe ORDER BY c.open_time DESC, c.symbol) AS place
    FROM unnest($2::text[]) AS t (timeframe) CROSS JOIN unnest($3::text[]) AS s (symbol)
   CROSS JOIN LATERAL (
     SELECT timeframe, open_time, symbol, close FROM candles
      WHERE exchange = $1 AND symbol = s.symbol AND timeframe = t.timeframe ORDER BY open_time DESC LIMIT $4) c) ranked
 WHERE place <= $5 ORDER BY timeframe, open_time DESC, symbol
"""
#: Those behind the cursor: earlier ones, and of the same moment the symbols that follow in the alphabet.
_PAGE_SQL: Final = """
SELECT c.* FROM unnest($3::text[]) AS s (symbol)
 CROSS JOIN LATERAL (
   SELECT symbol, open_time, open, high, low, close, volume, source FROM candles
    WHERE exchange = $1 AND symbol = s.symbol AND timeframe = $2
      AND open_time <= CASE WHEN s.symbol COLLATE "C" > $5 THEN $4::timestamptz ELSE $4::timestamptz - interval '1 millisecond' END
    ORDER BY open_time DESC LIMIT $6) c
 ORDER BY c.open_time DESC, c.symbol COLLATE "C" LIMIT $6
"""
_GAPS_SQL: Final = """
SELECT g.id, g.symbol, g.timeframe, g.start_at, g.end_at, g.found_at, g.resolved_at, g.outcome FROM candle_gaps g
 WHERE g.exchange = $1 AND ($2::uuid IS NULL OR g.id < $2) AND ($3::text IS NULL OR g.outcome = $3) AND ($4::text IS NULL OR g.symbol = $4)
 ORDER BY g.id DESC LIMIT $5
"""
_DIFFERENCES_SQL: Final = """
SELECT id, symbol, timeframe, open_time, cause, was, became, found_at FROM candle_differences
 WHERE exchange = $1 ORDER BY found_at DESC, id DESC LIMIT $2
"""
_SESSIONS_SQL: Final = """
SELECT id, started_at, stopped_at, stop_reason FROM heartbeat_sessions WHERE exchange = $1 ORDER BY started_at DESC LIMIT $2
"""
_LAST_CLOSED_SQL: Final = """
SELECT s.symbol, c.open_time FROM unnest($2::text[]) AS s (symbol)
  LEFT JOIN LATERAL (
    SELECT open_time FROM candles WHERE exchange = $1 AND symbol = s.symbol AND timeframe = '1m' ORDER BY open_time DESC LIMIT 1) c ON true
 ORDER BY c.open_time NULLS FIRST, s.symbol
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """The row of a feed and what its ledgers count. `gaps_of_day` and `differences_of_day` were found in the last 24 hours.

    `updated_at` is None when the feed has never run. `connections` holds mappings of url, streams, opened_at and age_ms.
    """

    exchange: str
    is_connected: bool
    is_fresh: bool
    last_heartbeat: datetime | None
    last_error: str | None
    symbols: list[str]
    started_at: datetime | None
    stopped_at: datetime | None
    updated_at: datetime | None
    lag_ms: float | None
    clock_offset_ms: float | None
    reconnects: int
    connections: list[dict[str, Any]]
    open_gaps: int
    gaps_of_day: int
    differences_of_day: int
    newest_gap: UUID | None
    newest_difference: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSignal:
    """A closed candle as it is told of: its open time and its closing price."""

    timeframe: Timeframe
    symbol: str
    open_time: datetime
    close: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A hole: open times from `start_at` inclusive to `end_at` exclusive."""

    id: UUID
    symbol: str
    timeframe: Timeframe
    start_at: datetime
    end_at: datetime
    found_at: datetime
    resolved_at: datetime | None
    outcome: GapOutcome

    @property
    def candles(self) -> int:
        """How many are missing."""
        return (self.end_at - self.start_at) // self.timeframe.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A stored candle that got other numbers. `was` and `became` are open, high, low, close and volume."""

    id: UUID
    symbol: str
    timeframe: Timeframe
    open_time: datetime
    cause: DifferenceCause
    was: list[float]
    became: list[float]
    found_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSession:
    """One run of the heartbeat. Without a stop it is running, or its process was killed."""

    id: UUID
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None


async def feed_row(database: Database, exchange: str, *, now: datetime) -> FeedRow:
    """Return how the feed of an exchange is doing."""
    async with database.connection() as connection:
        row = await connection.fetchrow(_FEED_SQL, exchange, _first_id(now - _DAY), now - _DAY)
    return FeedRow(
        exchange=exchange,
        is_connected=bool(row["is_connected"]),
        is_fresh=bool(row["is_fresh"]),
        last_heartbeat=row["last_heartbeat"],
        last_error=row["last_error"],
        symbols=row["symbols_monitored"] or [],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        updated_at=row["updated_at"],
        lag_ms=row["lag_ms"],
        clock_offset_ms=row["clock_offset_ms"],
        reconnects=row["reconnects"] or 0,
        connections=row["connections"] or [],
        open_gaps=row["open_gaps"],
        gaps_of_day=row["gaps_of_day"],
        differences_of_day=row["differences_of_day"],
        newest_gap=row["newest_gap"],
        newest_difference=row["newest_difference"],
    )


async def latest_signals(database: Database, exchange: str, symbols: Sequence[str], *, each: int) -> list[StoredSignal]:
    """Return the newest `each` stored candles of every live timeframe, newest first.

    Of many symbols the newest few of each are looked at, which is enough unless some have fallen behind. At most MOST_SYMBOLS count.
    """
    chosen = list(symbols)[:MOST_SYMBOLS]
    if not chosen:
        return []
    per_symbol = min(each, each // len(chosen) + 2)
    async with database.connection() as connection:
        rows = await connection.fetch(_LATEST_SQL, exchange, [tf.value for tf in LIVE_TIMEFRAMES], chosen, per_symbol, each)
    return [
        StoredSignal(timeframe=Timeframe(row["timeframe"]), symbol=row["symbol"], open_time=row["open_time"], close=row["close"])
        for row in rows
    ]


async def signals_page(
    database: Database, exchange: str, symbols: Sequence[str], timeframe: Timeframe, *, after: tuple[datetime, str], limit: int
) -> list[Any]:
    """Return rows of closed candles of one timeframe, newest first: symbol, open_time, open, high, low, close, volume, source.

    Args:
        database: Where they are.
        exchange: Whose.
        symbols: Of which; at most MOST_SYMBOLS count.
        timeframe: Which length.
        after: Open time and symbol of the last one of the page before.
        limit: How many at most.
    """
    async with database.connection() as connection:
        rows: list[Any] = await connection.fetch(_PAGE_SQL, exchange, timeframe.value, list(symbols)[:MOST_SYMBOLS], *after, limit)
    return rows


async def gaps_page(
    database: Database,
    exchange: str,
    *,
    before: UUID | None = None,
    outcome: GapOutcome | None = None,
    symbol: str | None = None,
    limit: int,
) -> list[Gap]:
    """Return holes, the ones found last first; those before the one with the id `before`."""
    async with database.connection() as connection:
        rows = await connection.fetch(_GAPS_SQL, exchange, before, outcome, symbol, limit)
    return [Gap(**{**row, "timeframe": Timeframe(row["timeframe"]), "outcome": GapOutcome(row["outcome"])}) for row in rows]


async def differences(database: Database, exchange: str, *, limit: int) -> list[Difference]:
    """Return the candles that got other numbers, the latest first."""
    async with database.connection() as connection:
        rows = await connection.fetch(_DIFFERENCES_SQL, exchange, limit)
    return [Difference(**{**row, "timeframe": Timeframe(row["timeframe"]), "cause": DifferenceCause(row["cause"])}) for row in rows]


async def sessions(database: Database, exchange: str, *, limit: int) -> list[FeedSession]:
    """Return the latest runs of the heartbeat, the newest first."""
    async with database.connection() as connection:
        return [FeedSession(**row) for row in await connection.fetch(_SESSIONS_SQL, exchange, limit)]


async def last_closed(database: Database, exchange: str, symbols: Sequence[str]) -> list[tuple[str, datetime | None]]:
    """Return each symbol with the open time of its newest stored minute, those furthest behind first; None: nothing is stored."""
    async with database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(_LAST_CLOSED_SQL, exchange, list(symbols))]


def _first_id(moment: datetime) -> UUID:
    """The smallest id (UUIDv7, `core.ids`) that can have been made at a moment: ids are in order of time, and indexed."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)
