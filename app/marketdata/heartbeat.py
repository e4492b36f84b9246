"""The live feed: every closed one-minute candle stored once, in order, without holes that the exchange could fill.

The reader only sorts messages into memory and a queue; the writer alone talks to the database and to REST. After each connection, and
whenever a candle is newer than expected or overdue, the writer first fetches what is missing, then releases what waited.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import asyncpg
import structlog

from app.core.backoff import backoff
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.domain.candles import Candle, Timeframe
from app.errors import ExchangeError
from app.exchanges.binance_messages import BookTicker, KlineEvent
from app.exchanges.binance_stream import DEFAULT_STREAM_URL, BinanceStream, Connected, Disconnected, StreamEvent
from app.exchanges.registry import Registry
from app.marketdata.announcer import ROUND_S, Announcer, last_price
from app.marketdata.backfill import Backfill
from app.marketdata.events import CandleClosed, CandlesLoaded
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource
from app.marketdata.quotes import Quotes
from app.marketdata.status import FeedStatus, StatusKeeper
from app.marketdata.store import CandleStore, Close

log = structlog.get_logger(__name__)

_M1: Final = Timeframe.M1
_STATUS_EVERY_S: Final = 2.0
_WATCH_EVERY_S: Final = 1.0
_ASK_AGAIN_AFTER_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 2.0
#: A writer busy for longer than this hangs; the supervisor is then told no more beats.
_LONGEST_WRITE_S: Final = 300.0
_SYMBOLS_AT_ONCE: Final = 4
#: What a database that went away, or an exchange that does not answer, raises. Both pass.
PASSING: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ExchangeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatConfig:
    """What to watch. `history` is fetched for a symbol that has nothing stored; `overdue` is the patience with a candle's close."""

    exchange: str = "binance"
    symbols: tuple[str, ...] = ()
    history: timedelta = timedelta(days=3)
    stream_url: str = DEFAULT_STREAM_URL
    silence_s: float = 10.0
    overdue: timedelta = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class _Resync:
    """Fetch what is missing: of these symbols, or of all after a new connection."""

    symbols: frozenset[str] | None


_Work = _Resync | Close


class Heartbeat:
    """Watches the configured symbols of one exchange. `run` is a supervised loop."""

    def __init__(
        self, config: HeartbeatConfig, *, database: Database, registry: Registry, quotes: Quotes, bus: EventBus, clock: Clock
    ) -> None:
        self.store = CandleStore(database)
        self.gaps = GapBook(database, config.exchange, _M1)
        self._config = config
        self._registry = registry
        self._quotes = quotes
        self._bus = bus
        self._clock = clock
        self._status = StatusKeeper(config.exchange, database=database, bus=bus, clock=clock)
        self._announcer = Announcer(config.exchange, _M1, bus=bus)
        self._markets = {_market(symbol): symbol for symbol in config.symbols}
        self._stream = BinanceStream(config.stream_url, _streams(config.symbols), silence_s=config.silence_s)
        self._work: asyncio.Queue[_Work] = asyncio.Queue()
        self._backfill: Backfill | None = None
        self._open_candles: dict[str, Candle] = {}
        self._last_closed: dict[str, datetime] = {}
        self._asked_at: dict[str, float] = {}
        self._venue_ahead = timedelta(0)
        self._busy_since: float | None = None
        self._status.feed.symbols = list(config.symbols)

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
        return self._open_candles.get(symbol)

    def last_closed(self, symbol: str) -> datetime | None:
        """Return the open time of the newest candle that is stored and released."""
        return self._last_closed.get(symbol)

    async def watch(self, symbol: str) -> None:
        """Watch one more symbol from now on; its history is fetched first. One that is watched already is left alone."""
        if symbol in self._markets.values():
            return
        self._markets[_market(symbol)] = symbol
        self._status.feed.symbols = list(self.symbols)
        await self._stream.subscribe(_streams([symbol]))
        self._work.put_nowait(_Resync(frozenset({symbol})))

    async def unwatch(self, symbol: str) -> None:
        """Take no more of a symbol that is not configured; what is stored stays."""
        if symbol not in self._config.symbols and self._markets.pop(_market(symbol), ""):
            self._status.feed.symbols = list(self.symbols)
            self._last_closed.pop(symbol, None)

    async def run(self, beat: Callable[[], None]) -> None:
        """Keep the feed alive until cancelled; beats every two seconds while it is well."""
        client = await self._registry.public(self._config.exchange)
        self._backfill = Backfill(self._config.exchange, _M1, client=client, store=self.store, gaps=self.gaps)
        self._work = asyncio.Queue()
        await self._status.open()
        reason = "stopped"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(), name="heartbeat-writer")
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
        async for event in self._stream.events():
            self._take(event)

    def _take(self, event: StreamEvent) -> None:
        match event:
            case BookTicker():
                self._take_book(event)
            case KlineEvent():
                self._take_kline(event)
            case Connected():
                self._status.change(is_connected=True, is_fresh=False)
                self._work.put_nowait(_Resync(None))
            case Disconnected():
                self._status.change(is_connected=False, is_fresh=False)
                self._status.failed(event.reason)
                log.warning("stream_disconnected", exchange=self._config.exchange, reason=event.reason)
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
        self._status.heard()
        self._venue_ahead = event.event_time - self._clock.now()
        self._announcer.quote(self._quotes.put(symbol, at=event.event_time, last=last_price(event.candle)))
        if event.is_closed:
            self._open_candles.pop(symbol, None)
            self._work.put_nowait(Close(symbol, _M1, event.candle))
            return
        known = self._open_candles.get(symbol)
        if known is not None and event.candle.open_time > known.open_time:
            # The next candle has begun and this one's close never came.
            self._ask_for(symbol)
        self._open_candles[symbol] = event.candle
        self._announcer.candle(symbol, event.candle)

    # The writer: one unit of work after another.

    async def _write(self) -> None:
        delays = backoff()
        waiting: list[_Work] = []
        while True:
            if not waiting:
                waiting.append(await self._work.get())
            while not self._work.empty():
                waiting.append(self._work.get_nowait())
            self._busy_since = time.monotonic()
            try:
                await self._process(waiting)
            except PASSING as error:
                self._status.change(is_connected=self.status.is_connected, is_fresh=False)
                self._status.failed(f"{type(error).__name__}: {error}"[:200])
                log.warning("heartbeat_write_postponed", error=type(error).__name__, waiting=len(waiting))
                # Nothing is dropped: what waits is tried again, after everything that is missing by then.
                waiting = [_Resync(None), *(item for item in waiting if isinstance(item, Close))]
                await asyncio.sleep(next(delays))
            else:
                waiting.clear()
                delays = backoff()
            finally:
                self._busy_since = None

    async def _process(self, work: list[_Work]) -> None:
        resyncs = [item for item in work if isinstance(item, _Resync)]
        is_full = any(item.symbols is None for item in resyncs)
        wanted = frozenset(self.symbols) if is_full else frozenset[str]().union(*(item.symbols or () for item in resyncs))
        connections = self.status.connections
        await self._catch_up_all(wanted)
        await self._release([item for item in work if isinstance(item, Close)])
        # A connection lost and made again meanwhile brings its own resync.
        if is_full and self.status.is_connected and connections == self.status.connections:
            self._status.change(is_connected=True, is_fresh=True)

    async def _catch_up_all(self, symbols: frozenset[str]) -> None:
        if not symbols:
            return
        now = await self._filler().venue_time()
        few = asyncio.Semaphore(_SYMBOLS_AT_ONCE)

        async def catch_up(symbol: str) -> None:
            async with few:
                await self._catch_up(symbol, now=now)

        failures: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                for symbol in sorted(symbols):
                    group.create_task(catch_up(symbol))
        except* PASSING as errors:
            failures.extend(errors.exceptions)
        if failures:
            raise failures[0]

    async def _catch_up(self, symbol: str, *, now: datetime) -> None:
        backfill = self._filler()
        is_live = symbol in self._last_closed
        last = self._last_closed.get(symbol)
        if last is None:
            last = (await self.store.last_open_times(self._config.exchange, _M1, [symbol])).get(symbol)
        begin = _M1.floor(now) - self._config.history
        if last is not None and last >= _M1.floor(now):
            newest = await backfill.newest(symbol)
            if newest is not None and newest < last:
                # The venue's time went back: an emulator that was started again. What it shows now is the market.
                log.warning("stored_candles_are_ahead", symbol=symbol, stored=last, venue=newest)
                last, begin = None, newest - self._config.history
        start = begin if last is None else last + _M1.duration
        on_page = partial(self._publish_page, symbol) if is_live else _say_nothing
        if last is None:
            done = await backfill.history(symbol, start=start, now=now, on_page=on_page)
        else:
            done = await backfill.catch_up(symbol, last=last, now=now, on_page=on_page)
        if done.last is not None:
            self._last_closed[symbol] = done.last
            if done.count and not is_live:
                self._bus.publish(
                    CandlesLoaded(
                        exchange=self._config.exchange, symbol=symbol, timeframe=_M1, start=start, end=done.last, count=done.count
                    )
                )

    async def _release(self, closes: list[Close]) -> None:
        """Store and publish closed candles; per symbol in order, after whatever is missing before them."""
        fresh: list[Close] = []
        again: list[Close] = []
        expected = dict(self._last_closed)
        for close in sorted(closes, key=lambda item: item.candle.open_time):
            last = expected.get(close.symbol)
            if last is not None and close.candle.open_time > last + _M1.duration:
                await self._store_and_publish([item for item in fresh if item.symbol == close.symbol])
                fresh = [item for item in fresh if item.symbol != close.symbol]
                last = await self._fill_up_to(close, last)
            if last is not None and close.candle.open_time <= last:
                again.append(close)
            else:
                fresh.append(close)
                last = close.candle.open_time
            expected[close.symbol] = last
        await self._store_and_publish(fresh)
        revised = await self.store.upsert(self._config.exchange, again, source=CandleSource.STREAM)
        for symbol, _, open_time in revised:
            log.warning("candle_revised", symbol=symbol, open_time=open_time)

    async def _fill_up_to(self, close: Close, last: datetime) -> datetime:
        on_page = partial(self._publish_page, close.symbol)
        done = await self._filler().up_to(close.symbol, last=last, newer=close.candle.open_time, on_page=on_page)
        assert done.last is not None  # noqa: S101  # it starts from `last`
        self._last_closed[close.symbol] = done.last
        return done.last

    async def _store_and_publish(self, closes: list[Close]) -> None:
        await self.store.upsert(self._config.exchange, closes, source=CandleSource.STREAM)
        for close in closes:
            self._last_closed[close.symbol] = close.candle.open_time
            self._publish(close.symbol, close.candle, CandleSource.STREAM)

    async def _publish_page(self, symbol: str, page: list[Candle]) -> None:
        for candle in page:
            self._last_closed[symbol] = candle.open_time
            self._publish(symbol, candle, CandleSource.REST)

    def _publish(self, symbol: str, candle: Candle, source: CandleSource) -> None:
        is_late = self._venue_now() - candle.open_time > 2 * _M1.duration
        if not is_late:
            self._quotes.put_close(symbol, last_price(candle))
        self._bus.publish(
            CandleClosed(exchange=self._config.exchange, symbol=symbol, timeframe=_M1, candle=candle, source=source, is_late=is_late)
        )

    def _filler(self) -> Backfill:
        assert self._backfill is not None  # noqa: S101  # made before the writer starts
        return self._backfill

    # The small loops beside them.

    async def _announce(self) -> None:
        self._announcer.round()

    async def _look_for_overdue(self) -> None:
        """Fetch a candle whose close the stream has not told in time: a quiet market, or a lost message."""
        if not self.status.is_fresh:
            return
        now = self._venue_now()
        for symbol in self.symbols:
            last = self._last_closed.get(symbol)
            if last is not None and now > last + 2 * _M1.duration + self._config.overdue:
                self._ask_for(symbol)

    async def _keep_status(self, beat: Callable[[], None]) -> None:
        heard = self.status.last_message_at
        if self.status.is_fresh and heard is not None and self._clock.now() - heard > timedelta(seconds=2 * self._config.silence_s):
            self._status.change(is_connected=self.status.is_connected, is_fresh=False)
            self._work.put_nowait(_Resync(None))
        if self._busy_since is None or time.monotonic() - self._busy_since < _LONGEST_WRITE_S:
            beat()
        try:
            await self._status.write()
        except PASSING as error:
            log.warning("heartbeat_status_not_written", error=type(error).__name__)

    def _ask_for(self, symbol: str) -> None:
        now = time.monotonic()
        if now - self._asked_at.get(symbol, -_ASK_AGAIN_AFTER_S) >= _ASK_AGAIN_AFTER_S:
            self._asked_at[symbol] = now
            self._work.put_nowait(_Resync(frozenset({symbol})))

    def _venue_now(self) -> datetime:
        return self._clock.now() + self._venue_ahead


async def _repeat(every_s: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await step()
        await asyncio.sleep(every_s)


async def _say_nothing(page: list[Candle]) -> None:
    del page


def _market(symbol: str) -> str:
    return symbol.replace("/", "")


def _streams(symbols: Iterable[str]) -> list[str]:
    names = []
    for symbol in symbols:
        market = _market(symbol).lower()
        names += [f"{market}@kline_1m", f"{market}@bookTicker"]
    return names
