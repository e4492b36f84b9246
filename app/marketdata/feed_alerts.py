"""Says once when the market has been silent for too long, and once when it speaks again.

Every process watches for its own pages and its own log: the one whose feed died must not be the only one that could have told.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.core.db import Database
from app.core.events import EventBus
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.domain.candles import Timeframe
from app.marketdata.events import FeedAlert
from app.marketdata.feed_health import FeedReader
from app.marketdata.status import FeedStatus

log = structlog.get_logger(__name__)

_EVERY_S: Final = 2.0
#: A closed candle is never older than one interval while all is well; with two of them, one close has certainly been missed.
_INTERVALS: Final = 2
_UNTRADED_SQL: Final = """
SELECT symbol FROM instruments WHERE exchange = $1 AND symbol = ANY($2::text[]) GROUP BY symbol HAVING NOT bool_or(is_active)
"""


class AlertWatch:
    """Watches the feed of one exchange. `run` is a supervised loop of every process.

    Told are the feed, when it has not been fresh for two minutes and the `patience`, and while it is fresh each symbol whose newest closed
    candle is older than that. A market without trades closes its candles like any other; one that the exchange halted or delisted
    closes none, and is passed over.
    """

    def __init__(
        self,
        reader: FeedReader,
        *,
        database: Database,
        bus: EventBus,
        patience: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._database = database
        self._bus = bus
        self._limit = _INTERVALS * Timeframe.M1.duration + patience
        self._monotonic = monotonic
        #: Since when we ourselves have seen it not fresh; monotonic.
        self._stale_from: float | None = None
        self._open: dict[str | None, FeedAlert] = {}

    async def run(self, beat: Beat) -> None:
        """Look every two seconds until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                if not is_database_gone(error):
                    raise
                log.warning("feed_not_looked_at", error=type(error).__name__)
            beat()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Compare what is with what was told, and tell what is new."""
        feed = await self._reader.status()
        wanted: dict[str | None, datetime] = {}
        if (since := self._silent_since(feed)) is not None:
            wanted[None] = since
        else:
            wanted.update(await self._old_symbols(feed))
        for symbol in self._open.keys() - wanted.keys():
            # While nothing comes at all, nothing is known of a symbol.
            if symbol is None or feed.is_fresh or symbol not in feed.symbols:
                self._tell(self._open.pop(symbol), is_over=True)
        for symbol in wanted.keys() - self._open.keys():
            self._open[symbol] = FeedAlert(exchange=feed.exchange, symbol=symbol, is_over=False, since=wanted[symbol])
            self._tell(self._open[symbol], is_over=False)
        self._reader.alerts = tuple(sorted(self._open.values(), key=lambda alert: alert.symbol or ""))

    def _silent_since(self, feed: FeedStatus) -> datetime | None:
        """Since when the feed is silent, once that is too long. Our own start counts too: what is just starting may take its time."""
        if feed.is_fresh or feed.started_at is None:  # never started anywhere: there is nothing to miss
            self._stale_from = None
            return None
        now = self._monotonic()
        self._stale_from = now if self._stale_from is None else self._stale_from
        if now - self._stale_from <= self._limit.total_seconds():
            return None
        return feed.last_message_at or feed.started_at

    async def _old_symbols(self, feed: FeedStatus) -> dict[str, datetime]:
        if not feed.is_fresh:
            return {}
        newest = await self._reader.newest(feed.symbols)
        latest_open = self._reader.venue_now(feed) - Timeframe.M1.duration - self._limit
        old = {symbol: moment + Timeframe.M1.duration for symbol, moment in newest.items() if moment < latest_open}
        for symbol in await self._untraded(old) if old else ():
            del old[symbol]
        return old

    async def _untraded(self, symbols: Iterable[str]) -> list[str]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_UNTRADED_SQL, self._reader.exchange, list(symbols))
        return [row["symbol"] for row in rows]

    def _tell(self, alert: FeedAlert, *, is_over: bool) -> None:
        told = FeedAlert(exchange=alert.exchange, symbol=alert.symbol, is_over=is_over, since=alert.since)
        say = log.info if is_over else log.warning
        say("feed_alert_over" if is_over else "feed_alert", exchange=told.exchange, symbol=told.symbol, since=told.since)
        self._bus.publish(told)
