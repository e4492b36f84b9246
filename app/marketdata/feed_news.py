"""What the live feed says, told to everybody who looks at it: collected and written as JSON once, however many look.

Nobody looks: nothing is collected. A channel is one symbol, or all of them; four times a second each channel that somebody follows gets
what came meanwhile, as finished messages of an event stream. Whatever was missed is in the tables, so nothing is ever repeated.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.core.waiting import happens_within
from app.domain.candles import LIVE_TIMEFRAMES, Candle, Timeframe, to_milliseconds
from app.marketdata.events import CandleChanged, CandleClosed, CandlesLoaded, GapsChanged, HeartbeatChanged, TickerChanged
from app.marketdata.feed_health import host_of
from app.marketdata.heartbeat_queries import FeedRow, StoredSignal, feed_row, last_closed, latest_signals
from app.marketdata.status import FeedStatus

ROUND_S: Final = 0.25
#: Kept of each timeframe, here and in a page.
SIGNALS: Final = 60
#: Lines of the raw stream in a round: more of them nobody reads.
_LINES: Final = 15
_ROUNDS_A_STATUS: Final = 4
_ROUNDS_A_LIST: Final = 20
#: Symbols in the list of those furthest behind.
_LISTED: Final = 60
_QUEUE: Final = 20_000
_OF_CANDLES: Final = (CandleClosed, CandleChanged, TickerChanged)
#: After these the table has candles that no `CandleClosed` told of: history that was fetched, holes that were filled.
_OF_HISTORY: Final = (CandlesLoaded, GapsChanged, HeartbeatChanged)
_IDLE_S: Final = 5.0
_SNAPSHOT_S: Final = 1.0
#: A row that its process has not written for so long is no news of what is: the process is gone or hangs.
ROW_IS_OLD: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class FeedNews:
    """One message for everybody who follows a channel: `name` is the event's, `message` the finished text of it."""

    name: str
    message: bytes


@dataclass(slots=True)
class _Channel:
    """What came since the last round, and who is to be told."""

    symbol: str | None
    followers: set[Subscription[object]] = field(default_factory=set)
    lines: deque[list[object]] = field(default_factory=lambda: deque(maxlen=_LINES))
    line_count: int = 0
    signals: dict[Timeframe, deque[list[object]]] = field(default_factory=dict)
    #: The newest signals of the table, and when they were read.
    stored: tuple[float, list[StoredSignal]] = (0.0, [])


class NewsDesk:
    """Collects the news of one exchange's feed. `run` is a supervised loop.

    Args:
        exchange: Whose feed.
        database: The platform's.
        bus: Where the feed tells what it does, if it is watched in this process.
        clock: The present.
        feed: The feed as this process knows it.
    """

    def __init__(self, exchange: str, *, database: Database, bus: EventBus, clock: Clock, feed: Callable[[], FeedStatus]) -> None:
        self.exchange = exchange
        self._database = database
        self._bus = bus
        self._clock = clock
        self._feed = feed
        self._channels: dict[str | None, _Channel] = {}
        self._wake = asyncio.Event()
        self._number = 0
        self._turn = asyncio.Lock()
        self._ledgers: tuple[object, ...] = ()

    @contextmanager
    def following(self, symbol: str | None, subscription: Subscription[object]) -> Iterator[None]:
        """Put the news of a symbol, of all when it is None, into this subscription inside the block, as `FeedNews`."""
        channel = self._channels.setdefault(symbol, _Channel(symbol))
        channel.followers.add(subscription)
        self._wake.set()
        try:
            yield
        finally:
            channel.followers.discard(subscription)
            if not channel.followers:
                self._channels.pop(symbol, None)

    @property
    def followers(self) -> int:
        """How many follow it now."""
        return sum(len(channel.followers) for channel in self._channels.values())

    async def row(self) -> FeedRow:
        """Return the feed's row."""
        return await feed_row(self._database, self.exchange, now=self._clock.now())

    async def stored(self, symbol: str | None) -> list[StoredSignal]:
        """Return the newest stored signals of each timeframe, newest first. Many who ask at the same moment share one reading."""
        channel = self._channels.get(symbol) or _Channel(symbol)
        async with self._turn:
            if time.monotonic() - channel.stored[0] > _SNAPSHOT_S:
                symbols = [symbol] if symbol is not None else (await self.row()).symbols
                found = await latest_signals(self._database, self.exchange, symbols, each=SIGNALS)
                channel.stored = time.monotonic(), found
            return channel.stored[1]

    async def beginning(self, symbol: str | None) -> FeedNews:
        """Return the first message for whoever begins to follow: the stored signals."""
        return self._news("feed-stored", as_lists(await self.stored(symbol)))

    async def run(self, beat: Callable[[], None]) -> None:
        """Collect and tell until cancelled."""
        while True:
            beat()
            if self._channels:
                await self._look(beat)
                continue
            self._wake.clear()
            await happens_within(self._wake, _IDLE_S)

    async def _look(self, beat: Callable[[], None]) -> None:
        rounds = 0
        with self._bus.subscribe(*_OF_CANDLES, *_OF_HISTORY, size=_QUEUE) as events:
            while self._channels:
                beat()
                if rounds % _ROUNDS_A_STATUS == 0:
                    await self._tell_status(with_list=rounds % _ROUNDS_A_LIST == 0)
                if self._is_elsewhere() and rounds % _ROUNDS_A_STATUS == 0:
                    await self._read_signals()
                has_history = events.dropped > 0
                events.dropped = 0
                while (event := events.get_nowait()) is not None:
                    has_history = has_history or isinstance(event, _OF_HISTORY)
                    self._take(event)
                if has_history:
                    await self._tell_stored()
                self._tell()
                rounds += 1
                await asyncio.sleep(ROUND_S)

    def _is_elsewhere(self) -> bool:
        """Whether another process watches the market: no event of it comes here, and the table alone tells what closed."""
        return self._feed().started_at is None

    # What came.

    def _take(self, event: object) -> None:
        for channel in (self._channels.get(None), self._channels.get(getattr(event, "symbol", ""))):
            if channel is None:
                continue
            match event:
                case CandleClosed():
                    signals = channel.signals.setdefault(event.timeframe, deque(maxlen=SIGNALS))
                    signals.append([to_milliseconds(event.candle.open_time), event.symbol, event.candle.close, event.is_late])
                    self._line(channel, event.symbol, event.timeframe, event.candle, is_closed=True)
                case CandleChanged():
                    self._line(channel, event.symbol, event.timeframe, event.candle, is_closed=False)
                case TickerChanged():
                    prices = [None if price is None else float(price) for price in (event.bid, event.ask, event.last)]
                    channel.lines.append([to_milliseconds(event.at), event.symbol, *prices])
                    channel.line_count += 1

    def _line(self, channel: _Channel, symbol: str, timeframe: Timeframe, candle: Candle, *, is_closed: bool) -> None:
        numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        channel.lines.append([to_milliseconds(self._clock.now()), symbol, timeframe.value, *numbers, is_closed])
        channel.line_count += 1

    async def _read_signals(self) -> None:
        for channel in list(self._channels.values()):
            known = {(signal.timeframe, signal.symbol, signal.open_time) for signal in channel.stored[1]}
            channel.stored = (0.0, channel.stored[1])
            now = self._clock.now()
            for signal in reversed(await self.stored(channel.symbol)):
                if not known or (signal.timeframe, signal.symbol, signal.open_time) in known:
                    continue
                is_late = now - signal.open_time > 2 * signal.timeframe.duration
                signals = channel.signals.setdefault(signal.timeframe, deque(maxlen=SIGNALS))
                signals.append([to_milliseconds(signal.open_time), signal.symbol, signal.close, is_late])

    # What is told.

    async def _tell_stored(self) -> None:
        for channel in list(self._channels.values()):
            channel.stored = (0.0, channel.stored[1])
            self._send(channel, await self.beginning(channel.symbol))

    def _tell(self) -> None:
        for channel in self._channels.values():
            if channel.signals:
                self._send(channel, self._news("feed", {timeframe.value: list(found) for timeframe, found in channel.signals.items()}))
                channel.signals = {}
            if channel.lines:
                self._send(channel, self._news("feed-raw", {"lines": sorted(channel.lines, key=_moment), "count": channel.line_count}))
                channel.lines.clear()
                channel.line_count = 0

    async def _tell_status(self, *, with_list: bool) -> None:
        row = await self.row()
        told = as_status(row, self._feed(), now=self._clock.now())
        if with_list:
            behind = await last_closed(self._database, self.exchange, row.symbols)
            told["symbols"] = [[symbol, moment and to_milliseconds(moment)] for symbol, moment in behind[:_LISTED]]
        news = [self._news("feed-status", told)]
        ledgers = (row.open_gaps, row.newest_gap, row.newest_difference, row.started_at)
        if self._ledgers and ledgers != self._ledgers:
            news.append(self._news("feed-ledgers", {}))
        self._ledgers = ledgers
        for channel in self._channels.values():
            for item in news:
                self._send(channel, item)

    def tell_ledgers(self) -> None:
        """The holes are being looked at, or somebody has looked: what shows them reads them anew."""
        news = self._news("feed-ledgers", {})
        for channel in self._channels.values():
            self._send(channel, news)

    def _send(self, channel: _Channel, news: FeedNews) -> None:
        for subscription in channel.followers:
            subscription.put(news)

    def _news(self, name: str, value: object) -> FeedNews:
        # Microseconds: they go on after a restart, so that nobody sees a number twice.
        self._number = max(self._number + 1, time.time_ns() // 1000)
        return FeedNews(name, b"id: %d\nevent: %s\ndata: %s\n\n" % (self._number, name.encode(), orjson.dumps(value)))


def _moment(line: list[object]) -> int:
    return line[0] if isinstance(line[0], int) else 0


def as_lists(signals: list[StoredSignal]) -> dict[str, list[list[object]]]:
    """Return signals by timeframe, each as open time in milliseconds, symbol and closing price."""
    found: dict[str, list[list[object]]] = {timeframe.value: [] for timeframe in LIVE_TIMEFRAMES}
    for signal in signals:
        found[signal.timeframe.value].append([to_milliseconds(signal.open_time), signal.symbol, signal.close])
    return found


def heard_at(row: FeedRow, feed: FeedStatus) -> datetime | None:
    """Return when data last came: as this process heard it, else as the row has it, which is written every two seconds."""
    known = [moment for moment in (row.last_heartbeat, feed.last_message_at) if moment is not None]
    return max(known, default=None)


def is_fresh(row: FeedRow, *, now: datetime) -> bool:
    """Whether the feed said so, not long ago."""
    return row.is_fresh and row.updated_at is not None and now - row.updated_at < ROW_IS_OLD


def as_status(row: FeedRow, feed: FeedStatus, *, now: datetime) -> dict[str, Any]:
    """Return the feed's state as pages and programs read it; moments are milliseconds since the epoch, None what is not known."""

    def at(moment: datetime | None) -> int | None:
        return None if moment is None else to_milliseconds(moment)

    return {
        "at": to_milliseconds(now),
        "connected": row.is_connected,
        "fresh": is_fresh(row, now=now),
        "heard": at(heard_at(row, feed)),
        "started": at(row.started_at) if row.stopped_at is None else None,
        "lag": row.lag_ms,
        "offset": row.clock_offset_ms,
        "reconnects": row.reconnects,
        "connections": [{"host": host_of(one), "streams": one.get("streams"), "age_ms": one.get("age_ms")} for one in row.connections],
        "open_gaps": row.open_gaps,
        "gaps": row.gaps_of_day,
        "differences": row.differences_of_day,
        "error": row.last_error,
        "watched": len(row.symbols),
    }
