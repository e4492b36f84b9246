"""The live feed: every closed candle of every timeframe stored once, in order, without holes that the exchange could fill.

The reader only sorts messages into memory; the closer alone talks to the database and to REST. After each connection, and whenever a
candle is newer than expected or overdue, what is missing is fetched first, then what waited is released.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.domain.candles import Candle, Timeframe
from app.exchanges.binance_messages import BookTicker, KlineEvent
from app.exchanges.binance_stream import DEFAULT_STREAM_URLS, BinanceStreams, Connected, Disconnected, StreamConfig, StreamEvent
from app.exchanges.registry import Registry
from app.marketdata.announcer import ROUND_S, Announcer, last_price
from app.marketdata.backfill import Backfill
from app.marketdata.closer import PASSING, Closer
from app.marketdata.events import CandleClosed, CandleRevised
from app.marketdata.gaps import GapBook
from app.marketdata.quotes import Quotes
from app.marketdata.status import FeedStatus, StatusKeeper
from app.marketdata.store import CandleStore
from app.marketdata.venue_clock import VenueClock

log = structlog.get_logger(__name__)

_M1: Final = Timeframe.M1
_STATUS_EVERY_S: Final = 2.0
_WATCH_EVERY_S: Final = 0.25
_STOP_TIMEOUT_S: Final = 2.0
#: A writer busy for longer than this hangs; the supervisor is then told no more beats.
_LONGEST_WRITE_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatConfig:
    """What to watch.

    `history` is fetched for a symbol that has nothing stored, `overdue` is the patience with a candle's close. `is_timed`: the venue's time
    goes as ours does, so that a connection whose events lag can be told by it; an emulator's may not. `attempts_per_5_min`: connections
    that may be tried; Binance allows an address 300.
    """

    exchange: str = "binance"
    symbols: tuple[str, ...] = ()
    history: timedelta = timedelta(days=3)
    stream_urls: tuple[str, ...] = DEFAULT_STREAM_URLS
    silence_s: float = 10.0
    is_timed: bool = True
    attempts_per_5_min: int = 240
    overdue: timedelta = timedelta(seconds=1.5)


class Heartbeat:
    """Watches symbols of one exchange: those configured, and those that somebody wants for a while. `run` is a supervised loop."""

    def __init__(
        self, config: HeartbeatConfig, *, database: Database, registry: Registry, quotes: Quotes, bus: EventBus, clock: Clock
    ) -> None:
        self.store = CandleStore(database)
        self.gaps = GapBook(database, config.exchange, _M1)
        self._config = config
        self._registry = registry
        self._quotes = quotes
        self._clock = clock
        offset_ms = partial(registry.clock_ahead_ms, config.exchange)
        self._status = StatusKeeper(config.exchange, database=database, bus=bus, clock=clock, offset_ms=offset_ms)
        self._announcer = Announcer(config.exchange, _M1, bus=bus)
        self._venue = VenueClock(clock, measured=self._measured_time)
        self._closer = Closer(
            config.exchange,
            store=self.store,
            gaps=self.gaps,
            bus=bus,
            history=config.history,
            venue_clock=self._venue,
            on_trouble=self._trouble,
            on_settled=self._settled,
            on_close=self._note_close,
        )
        self._markets: dict[str, str] = {}
        streams = StreamConfig(
            urls=config.stream_urls,
            silence_standby_s=config.silence_s / 2,
            silence_kill_s=config.silence_s,
            attempts_per_5_min=config.attempts_per_5_min,
        )
        self.stream_config = streams
        """How its connections behave: whoever has others to the same venue goes by it too."""
        self._stream = BinanceStreams(streams, _streams(config.symbols), clock=clock, venue_time=self._measured_time)
        self._lost: frozenset[str] = frozenset()
        self._status.connections_of = self._connections
        bus.count(CandleRevised, self._note_revision)
        for symbol in config.symbols:
            self._add(symbol)

    @property
    def status(self) -> FeedStatus:
        """How the feed is doing."""
        return self._status.feed

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is watched."""
        return tuple(self._markets.values())

    def open_candle(self, symbol: str) -> Candle | None:
        """Return the candle that is still open, as last heard."""
        line = self._closer.lines.get(symbol)
        return None if line is None else line.open_candle

    def last_closed(self, symbol: str) -> datetime | None:
        """Return the open time of the newest candle that is stored and released."""
        line = self._closer.lines.get(symbol)
        return None if line is None else line.last

    def refusal(self, symbol: str) -> str | None:
        """Return why the exchange gives no candles of a watched symbol, if it will not."""
        line = self._closer.lines.get(symbol)
        return None if line is None else line.refusal

    async def watch(self, symbol: str) -> None:
        """Watch one more symbol from now on; its history is fetched first. One that is watched already is left alone."""
        if symbol in self._closer.lines:
            return
        self._add(symbol)
        await self._stream.subscribe(_streams([symbol]))

    async def unwatch(self, symbol: str) -> None:
        """Let go of a symbol that nobody wants any more. Those that are configured stay."""
        if symbol in self._config.symbols or symbol not in self._closer.lines:
            return
        del self._markets[_market(symbol)]
        self._closer.unwatch(symbol)
        self._status.feed.symbols = list(self.symbols)
        await self._stream.unsubscribe(_streams([symbol]))

    def _add(self, symbol: str) -> None:
        self._markets[_market(symbol)] = symbol
        self._closer.watch(symbol)
        self._status.feed.symbols = list(self.symbols)

    async def run(self, beat: Callable[[], None]) -> None:
        """Keep the feed alive until cancelled; beats every two seconds while it is well."""
        client = await self._registry.public(self._config.exchange)
        backfill = Backfill(_M1, client=client, gaps=self.gaps)
        await self._status.open()
        reason = "stopped"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._closer.run(backfill), name="heartbeat-closer")
                group.create_task(self._read(), name="heartbeat-reader")
                group.create_task(_repeat(ROUND_S, self._announce), name="heartbeat-announcer")
                group.create_task(_repeat(_WATCH_EVERY_S, self._look_for_overdue), name="heartbeat-watchdog")
                group.create_task(_repeat(_STATUS_EVERY_S, partial(self._keep_status, beat)), name="heartbeat-status")
        except* Exception as errors:
            reason = f"failed: {errors.exceptions[0]!r}"[:200]
            raise
        finally:
            await self._note_stop(reason)

    async def _note_stop(self, reason: str) -> None:
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._status.close(reason)
        except PASSING as error:
            log.warning("heartbeat_stop_not_noted", error=type(error).__name__)

    # The reader: no database, no REST, no waiting.

    async def _read(self) -> None:
        async with aclosing(self._stream.events()) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: StreamEvent) -> None:
        match event:
            case BookTicker():
                self._take_book(event)
            case KlineEvent():
                self._take_kline(event)
            case Connected():
                self._lost -= event.streams
                self._status.feed.reconnects = self._stream.reconnects
                markets = {name.partition("@")[0].upper() for name in event.streams}
                wanted = [symbol for market, symbol in self._markets.items() if market in markets]
                # A symbol that is only now watched takes nothing from what is known of the others.
                if not self.status.is_connected or any(self._closer.lines[symbol].is_live for symbol in wanted):
                    self._status.change(is_connected=True, is_fresh=False)
                self._closer.want(wanted)
            case Disconnected():
                self._lost |= event.streams
                self._status.feed.reconnects = self._stream.reconnects
                self._status.change(is_connected=bool(self._stream.live), is_fresh=False)
                self._status.failed(event.reason)
                log.warning("stream_disconnected", exchange=self._config.exchange, reason=event.reason, streams=len(event.streams))
            case _:
                pass

    def _take_book(self, event: BookTicker) -> None:
        symbol = self._markets.get(event.market)
        if symbol is None:
            return
        self._status.heard()
        quantities = {"bid_quantity": event.bid_quantity, "ask_quantity": event.ask_quantity}
        self._announcer.quote(self._quotes.put(symbol, at=self._clock.now(), bid=event.bid, ask=event.ask, **quantities))

    def _take_kline(self, event: KlineEvent) -> None:
        symbol = self._markets.get(event.market)
        if symbol is None or event.timeframe is not _M1:
            return
        self._status.told(event.event_time)
        self._venue.heard(event.event_time)
        self._announcer.quote(self._quotes.put(symbol, at=event.event_time, last=last_price(event.candle)))
        line = self._closer.lines[symbol]
        if event.is_closed:
            line.open_candle = None
            self._closer.closed(symbol, event.candle)
            return
        if line.open_candle is not None and event.candle.open_time > line.open_candle.open_time:
            # The next candle has begun and this one's close never came.
            self._closer.ask(symbol)
        line.open_candle = event.candle
        self._announcer.candle(symbol, event.candle)

    # What the closer tells.

    def _trouble(self, error: BaseException) -> None:
        self._status.change(is_connected=self.status.is_connected, is_fresh=False)
        self._status.failed(f"{type(error).__name__}: {error}"[:200])
        log.warning("heartbeat_postponed", error=type(error).__name__, detail=str(error)[:200])

    def _settled(self) -> None:
        is_whole = not self._lost.intersection(self._stream.streams)
        if self.status.is_connected and not self.status.is_fresh and is_whole and self._closer.is_current:
            self._status.change(is_connected=True, is_fresh=True)

    def _note_close(self, event: CandleClosed) -> None:
        if event.timeframe is _M1 and not event.is_late:
            self._quotes.put_close(event.symbol, last_price(event.candle))

    def _note_revision(self, event: CandleRevised) -> None:
        if event.exchange == self._config.exchange:
            self.reread(event.symbol)

    def reread(self, symbol: str) -> None:
        """Read the minutes of the open longer candles again before the next close: one of them was stored or changed."""
        line = self._closer.lines.get(symbol)
        if line is not None:
            line.rollup = None

    # The small loops beside them.

    async def _announce(self) -> None:
        self._announcer.round()

    async def _look_for_overdue(self) -> None:
        """Fetch a candle whose close the stream has not told in time: a quiet market, or a lost message."""
        if not self.status.is_connected:
            return
        now = self.venue_now()
        for line in list(self._closer.lines.values()):
            if line.is_current and line.is_overdue(now, self._config.overdue):
                self._closer.ask(line.symbol)

    async def _keep_status(self, beat: Callable[[], None]) -> None:
        # One that carries nothing yet is as old as its handshake, which says nothing of data.
        ages = [found.age_s for found in self._stream.connections if found.streams]
        if ages:
            # The stream that always speaks is not ours to read, but it shows that the connection lives.
            heard, known = self._clock.now() - timedelta(seconds=min(ages)), self.status.last_message_at
            self.status.last_message_at = heard if known is None else max(heard, known)
        if self.status.is_fresh and ages and min(ages) > 2 * self._config.silence_s:
            self._status.change(is_connected=self.status.is_connected, is_fresh=False)
            self._closer.want(self.symbols)
        busy_since = self._closer.busy_since
        if busy_since is None or time.monotonic() - busy_since < _LONGEST_WRITE_S:
            beat()
        try:
            await self._status.write()
        except PASSING as error:
            log.warning("heartbeat_status_not_written", error=type(error).__name__)

    def _connections(self) -> list[dict[str, Any]]:
        return [
            {
                "url": found.url,
                "streams": found.streams,
                "opened_at": found.opened_at.isoformat(),
                "age_ms": round(found.age_s * 1000),
                "lag_ms": found.lag_ms,
            }
            for found in self._stream.connections
        ]

    def _measured_time(self) -> datetime | None:
        ahead_ms = self._registry.clock_ahead_ms(self._config.exchange) if self._config.is_timed else None
        return None if ahead_ms is None else self._clock.now() + timedelta(milliseconds=ahead_ms)

    def venue_now(self) -> datetime:
        """Return the venue's time, as its last words have it."""
        return self._venue.now()


async def _repeat(every_s: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await step()
        await asyncio.sleep(every_s)


def _market(symbol: str) -> str:
    return symbol.replace("/", "")


def _streams(symbols: Iterable[str]) -> list[str]:
    names = []
    for symbol in symbols:
        market = _market(symbol).lower()
        names += [f"{market}@kline_1m", f"{market}@bookTicker"]
    return names
