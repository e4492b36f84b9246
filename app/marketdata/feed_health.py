"""How the live feed is doing, for whoever asks: from memory where it runs, from the tables in every other process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from app.core.clock import Clock
from app.core.db import Database
from app.domain.candles import Timeframe
from app.marketdata.events import FeedAlert
from app.marketdata.status import FeedStatus
from app.marketdata.store import CandleStore

_M1: Final = Timeframe.M1
#: The row is written every two seconds; one older than this was left by a process that is gone.
_ROW_GOOD_FOR: Final = timedelta(seconds=15)
_DIFFERENCES_OF: Final = timedelta(hours=24)
_SESSIONS: Final = 10

_STATUS_SQL: Final = "SELECT * FROM heartbeat_status WHERE exchange = $1"
_SESSIONS_SQL: Final = """
SELECT started_at, stopped_at, stop_reason FROM heartbeat_sessions WHERE exchange = $1 ORDER BY started_at DESC LIMIT $2
"""
_GAPS_SQL: Final = "SELECT symbol, count(*) FROM candle_gaps WHERE exchange = $1 AND outcome = 'open' GROUP BY symbol"
_DIFFERENCES_SQL: Final = """
SELECT symbol, count(*) FROM candle_differences WHERE exchange = $1 AND found_at > $2 GROUP BY symbol
"""


class Coherence(StrEnum):
    """Whether the stored candles are what the exchange has. Holes weigh more than numbers that were put right."""

    OK = "ok"
    GAPS = "gaps"
    DIFFERENCES = "differences"


class LiveFeed(Protocol):
    """What the heartbeat tells of itself."""

    @property
    def status(self) -> FeedStatus:
        """How the feed is doing."""

    def last_closed(self, symbol: str) -> datetime | None:
        """Return the open time of the newest candle that is stored and released."""

    def venue_now(self) -> datetime:
        """Return the venue's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolHealth:
    """One watched symbol. `age_s` is seconds since its newest one-minute candle closed, by the venue's clock; None before the first."""

    symbol: str
    last_closed: datetime | None
    age_s: float | None
    open_gaps: int
    differences_24h: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of the heartbeat. No stop: it is running, or its process was killed."""

    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """Everything there is to say of one feed; counts are of all symbols of the exchange, watched now or not."""

    feed: FeedStatus
    symbols: tuple[SymbolHealth, ...]
    open_gaps: int
    differences_24h: int
    sessions: tuple[Session, ...]

    @property
    def coherence(self) -> Coherence:
        """The one word for it."""
        if self.open_gaps:
            return Coherence.GAPS
        return Coherence.DIFFERENCES if self.differences_24h else Coherence.OK


class FeedReader:
    """Reads how the feed of one exchange is doing. `alerts` are set by whoever watches it in this process."""

    def __init__(self, exchange: str, *, live: LiveFeed, database: Database, clock: Clock) -> None:
        self.exchange = exchange
        self.alerts: tuple[FeedAlert, ...] = ()
        self._live = live
        self._database = database
        self._clock = clock
        self._store = CandleStore(database)

    @property
    def is_here(self) -> bool:
        """Whether the feed runs in this process."""
        return self._live.status.is_running

    async def status(self) -> FeedStatus:
        """Return how the feed is doing: as it is here, or as the process that runs it wrote down last."""
        feed = self._live.status
        if not feed.is_running:
            async with self._database.connection() as connection:
                row = await connection.fetchrow(_STATUS_SQL, self.exchange)
            feed = feed if row is None else _status_of(row, now=self._clock.now())
        return replace(feed, alerts=self.alerts)

    async def newest(self, symbols: Sequence[str]) -> dict[str, datetime]:
        """Return the open time of each symbol's newest closed one-minute candle, where there is any."""
        if not self.is_here:
            return await self._store.last_open_times(self.exchange, _M1, symbols)
        found = {symbol: self._live.last_closed(symbol) for symbol in symbols}
        return {symbol: moment for symbol, moment in found.items() if moment is not None}

    def venue_now(self, feed: FeedStatus) -> datetime:
        """Return the venue's time; ours where it is not known."""
        if self.is_here:
            return self._live.venue_now()
        return self._clock.now() + timedelta(milliseconds=feed.clock_offset_ms or 0.0)

    async def report(self) -> FeedReport:
        """Return everything there is to say."""
        feed = await self.status()
        newest = await self.newest(feed.symbols)
        now = self.venue_now(feed)
        async with self._database.connection() as connection:
            gaps = dict(await connection.fetch(_GAPS_SQL, self.exchange))
            differences = dict(await connection.fetch(_DIFFERENCES_SQL, self.exchange, self._clock.now() - _DIFFERENCES_OF))
            sessions = await connection.fetch(_SESSIONS_SQL, self.exchange, _SESSIONS)
        symbols = [
            SymbolHealth(
                symbol=symbol,
                last_closed=newest.get(symbol),
                age_s=age_s(newest.get(symbol), now),
                open_gaps=gaps.get(symbol, 0),
                differences_24h=differences.get(symbol, 0),
            )
            for symbol in feed.symbols
        ]
        return FeedReport(
            feed=feed,
            symbols=tuple(symbols),
            open_gaps=sum(gaps.values()),
            differences_24h=sum(differences.values()),
            sessions=tuple(Session(**row) for row in sessions),
        )


def age_s(last_closed: datetime | None, now: datetime) -> float | None:
    """Return the seconds since the one-minute candle that opened then closed; None without one. Never negative: clocks differ a little."""
    return None if last_closed is None else max(0.0, (now - last_closed - _M1.duration).total_seconds())


def host_of(connection: Mapping[str, Any]) -> str:
    """Return the host and port of a connection, and nothing else of its address."""
    return urlsplit(str(connection.get("url", ""))).netloc.rpartition("@")[2]


def _status_of(row: Any, *, now: datetime) -> FeedStatus:
    """What another process wrote down; when it is silent itself, nothing of it may be acted on."""
    is_running = row["stopped_at"] is None and now - row["updated_at"] <= _ROW_GOOD_FOR
    last_error = row["last_error"]
    if not is_running and row["stopped_at"] is None and row["started_at"] is not None:
        last_error = f"nothing has been heard of the process that watches the market since {row['updated_at']:%Y-%m-%d %H:%M:%S} UTC"
    return FeedStatus(
        exchange=row["exchange"],
        is_connected=row["is_connected"] and is_running,
        is_fresh=row["is_fresh"] and is_running,
        last_message_at=row["last_heartbeat"],
        last_error=last_error,
        symbols=list(row["symbols_monitored"]),
        started_at=row["started_at"],
        lag_ms=row["lag_ms"],
        clock_offset_ms=row["clock_offset_ms"],
        reconnects=row["reconnects"],
        connections=list(row["connections"]) if is_running else [],
        is_running=is_running,
        updated_at=row["updated_at"],
    )
