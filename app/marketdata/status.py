"""Whether the feed may be acted upon: in memory for the process, in two tables for everybody else."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.marketdata.events import HeartbeatChanged

log = structlog.get_logger(__name__)

_STATUS_SQL: Final = """
INSERT INTO heartbeat_status AS stored
    (exchange, is_connected, is_fresh, last_heartbeat, last_error, symbols_monitored, started_at, stopped_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (exchange) DO UPDATE SET
    is_connected = excluded.is_connected, is_fresh = excluded.is_fresh, last_error = excluded.last_error,
    last_heartbeat = coalesce(excluded.last_heartbeat, stored.last_heartbeat), symbols_monitored = excluded.symbols_monitored,
    started_at = excluded.started_at, stopped_at = excluded.stopped_at, updated_at = excluded.updated_at
"""
_ENSURE_SQL: Final = """
INSERT INTO heartbeat_status (exchange, is_connected, is_fresh, symbols_monitored, updated_at) VALUES ($1, false, false, '[]'::jsonb, $2)
ON CONFLICT (exchange) DO NOTHING RETURNING exchange
"""
_OPEN_SQL: Final = "INSERT INTO heartbeat_sessions (id, exchange, started_at) VALUES ($1, $2, $3)"
_CLOSE_SQL: Final = "UPDATE heartbeat_sessions SET stopped_at = $2, stop_reason = $3 WHERE id = $1"


@dataclass(slots=True, kw_only=True)
class FeedStatus:
    """The live feed of one exchange.

    `is_fresh` means safe to act on: connected, everything missed is stored, and data is coming. `last_message_at` is by our clock.
    """

    exchange: str
    is_connected: bool = False
    is_fresh: bool = False
    last_message_at: datetime | None = None
    last_error: str | None = None
    symbols: list[str] = field(default_factory=list)
    started_at: datetime | None = None
    connections: int = 0


async def ensure_row(database: Database, exchange: str, *, now: datetime) -> bool:
    """Make the row of a feed that has never run; return whether there was none."""
    async with database.connection() as connection:
        return await connection.fetchval(_ENSURE_SQL, exchange, now) is not None


class StatusKeeper:
    """Changes the status, tells the process of it and writes it down."""

    def __init__(self, exchange: str, *, database: Database, bus: EventBus, clock: Clock) -> None:
        self.feed = FeedStatus(exchange=exchange)
        self._database = database
        self._bus = bus
        self._clock = clock
        self._session_id: UUID | None = None

    async def open(self) -> None:
        """Note the start."""
        self.feed.started_at = self._clock.now()
        self._session_id = new_id()
        async with self._database.connection() as connection:
            await connection.execute(_OPEN_SQL, self._session_id, self.feed.exchange, self.feed.started_at)
        await self.write()

    async def close(self, reason: str) -> None:
        """Note the stop."""
        self.change(is_connected=False, is_fresh=False)
        stopped_at = self._clock.now()
        async with self._database.connection() as connection:
            await connection.execute(_CLOSE_SQL, self._session_id, stopped_at, reason)
        await self.write(stopped_at=stopped_at)

    async def write(self, *, stopped_at: datetime | None = None) -> None:
        """Write the status row."""
        feed = self.feed
        async with self._database.connection() as connection:
            await connection.execute(
                _STATUS_SQL,
                feed.exchange,
                feed.is_connected,
                feed.is_fresh,
                feed.last_message_at,
                feed.last_error,
                feed.symbols,
                feed.started_at,
                stopped_at,
                self._clock.now(),
            )

    def heard(self) -> None:
        """Note that data came."""
        self.feed.last_message_at = self._clock.now()

    def failed(self, reason: str) -> None:
        """Note an error; it stays until the feed is fresh again."""
        if reason != self.feed.last_error:
            self.feed.last_error = reason
            self._publish()

    def change(self, *, is_connected: bool, is_fresh: bool) -> None:
        """Set both marks, and tell when one of them changed."""
        feed = self.feed
        if (feed.is_connected, feed.is_fresh) == (is_connected, is_fresh):
            return
        if is_connected and not feed.is_connected:
            feed.connections += 1
        feed.is_connected, feed.is_fresh = is_connected, is_fresh
        if is_fresh:
            feed.last_error = None
        log.info("feed_changed", exchange=feed.exchange, is_connected=is_connected, is_fresh=is_fresh)
        self._publish()

    def _publish(self) -> None:
        feed = self.feed
        self._bus.publish(
            HeartbeatChanged(exchange=feed.exchange, is_connected=feed.is_connected, is_fresh=feed.is_fresh, last_error=feed.last_error)
        )
