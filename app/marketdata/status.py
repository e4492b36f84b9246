"""Whether the feed may be acted upon: in memory for the process, in two tables for everybody else."""

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.marketdata.events import FeedAlert, HeartbeatChanged

log = structlog.get_logger(__name__)

_STATUS_SQL: Final = """
INSERT INTO heartbeat_status AS stored
    (exchange, is_connected, is_fresh, last_heartbeat, last_error, symbols_monitored, started_at, stopped_at, updated_at,
     lag_ms, clock_offset_ms, reconnects, connections)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (exchange) DO UPDATE SET
    is_connected = excluded.is_connected, is_fresh = excluded.is_fresh, last_error = excluded.last_error,
    last_heartbeat = coalesce(excluded.last_heartbeat, stored.last_heartbeat), symbols_monitored = excluded.symbols_monitored,
    started_at = excluded.started_at, stopped_at = excluded.stopped_at, updated_at = excluded.updated_at,
    lag_ms = excluded.lag_ms, clock_offset_ms = excluded.clock_offset_ms, reconnects = excluded.reconnects,
    connections = excluded.connections
"""
_ENSURE_SQL: Final = """
INSERT INTO heartbeat_status (exchange, is_connected, is_fresh, symbols_monitored, updated_at) VALUES ($1, false, false, '[]'::jsonb, $2)
ON CONFLICT (exchange) DO NOTHING RETURNING exchange
"""
_OPEN_SQL: Final = "INSERT INTO heartbeat_sessions (id, exchange, started_at) VALUES ($1, $2, $3)"
_CLOSE_SQL: Final = "UPDATE heartbeat_sessions SET stopped_at = $2, stop_reason = $3 WHERE id = $1"
#: Of so many messages the lag is the median.
_LAG_SAMPLES: Final = 100
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(slots=True, kw_only=True)
class FeedStatus:
    """The live feed of one exchange.

    `is_fresh` means safe to act on: connected, everything missed is stored, and data is coming. `last_message_at` is by our clock.
    `lag_ms` is how long messages take from the venue's clock to us: the median of the last hundred. `clock_offset_ms` is how far the
    venue's clock is ahead of ours; without it there is no lag. `reconnects` counts since the start. `connections` are those that are open:
    url, streams (how many), opened_at (ISO), age_ms (of their last data). `is_running` tells whether anybody works at it now, and
    `updated_at` when it was last written down. `alerts` are those that are not over.
    """

    exchange: str
    is_connected: bool = False
    is_fresh: bool = False
    last_message_at: datetime | None = None
    last_error: str | None = None
    symbols: list[str] = field(default_factory=list)
    started_at: datetime | None = None
    lag_ms: float | None = None
    clock_offset_ms: float | None = None
    reconnects: int = 0
    connections: list[dict[str, Any]] = field(default_factory=list)
    is_running: bool = False
    updated_at: datetime | None = None
    alerts: tuple[FeedAlert, ...] = ()


async def ensure_row(database: Database, exchange: str, *, now: datetime) -> bool:
    """Make the row of a feed that has never run; return whether there was none."""
    async with database.connection() as connection:
        return await connection.fetchval(_ENSURE_SQL, exchange, now) is not None


class StatusKeeper:
    """Changes the status, tells the process of it and writes it down.

    `offset_ms` tells how far the venue's clock is ahead of ours, None while that is not known. `connections_of` tells what is open.
    """

    def __init__(
        self, exchange: str, *, database: Database, bus: EventBus, clock: Clock, offset_ms: Callable[[], float | None] = lambda: None
    ) -> None:
        self.feed = FeedStatus(exchange=exchange)
        self.connections_of: Callable[[], list[dict[str, Any]]] = list
        self._offset_ms = offset_ms
        self._delays_ms: deque[float] = deque(maxlen=_LAG_SAMPLES)
        self._database = database
        self._bus = bus
        self._clock = clock
        self._session_id: UUID | None = None

    async def open(self) -> None:
        """Note the start."""
        self.feed.started_at = self._clock.now()
        self.feed.reconnects = 0
        self.feed.is_running = True
        self._session_id = new_id()
        async with self._database.connection() as connection:
            await connection.execute(_OPEN_SQL, self._session_id, self.feed.exchange, self.feed.started_at)
        await self.write()

    async def close(self, reason: str) -> None:
        """Note the stop."""
        self.change(is_connected=False, is_fresh=False)
        self.feed.is_running = False
        stopped_at = self._clock.now()
        async with self._database.connection() as connection:
            await connection.execute(_CLOSE_SQL, self._session_id, stopped_at, reason)
        await self.write(stopped_at=stopped_at)

    async def write(self, *, stopped_at: datetime | None = None) -> None:
        """Write the status row."""
        feed = self.feed
        feed.updated_at = self._clock.now()
        feed.clock_offset_ms = self._offset_ms()
        feed.lag_ms = self._lag_ms(feed.clock_offset_ms)
        feed.connections = self.connections_of()
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
                feed.updated_at,
                feed.lag_ms,
                feed.clock_offset_ms,
                feed.reconnects,
                feed.connections,
            )

    def heard(self) -> None:
        """Note that data came."""
        self.feed.last_message_at = self._clock.now()

    def told(self, event_time: datetime) -> timedelta:
        """Note that data came which says when the venue sent it; return how far that is ahead of our clock."""
        now = self._clock.now()
        self.feed.last_message_at = now
        ahead = event_time - now
        self._delays_ms.append(-ahead / _MILLISECOND)
        return ahead

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
            # What came by the connection before says nothing of this one's way.
            self._delays_ms.clear()
        feed.is_connected, feed.is_fresh = is_connected, is_fresh
        if is_fresh:
            feed.last_error = None
        log.info("feed_changed", exchange=feed.exchange, is_connected=is_connected, is_fresh=is_fresh)
        self._publish()

    def _lag_ms(self, offset_ms: float | None) -> float | None:
        if offset_ms is None or not self._delays_ms:
            return None
        return round(statistics.median(self._delays_ms) + offset_ms, 1)

    def _publish(self) -> None:
        feed = self.feed
        self._bus.publish(
            HeartbeatChanged(exchange=feed.exchange, is_connected=feed.is_connected, is_fresh=feed.is_fresh, last_error=feed.last_error)
        )
