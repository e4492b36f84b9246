"""Order books and tapes of whatever symbol somebody looks at or decides about.

Where the exchange streams them to us they come over connections of their own, so that ten books a second hold up no candle; elsewhere one
question in two seconds serves everybody. Nobody looks: nothing is asked and nothing is subscribed.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.events import Subscription
from app.core.waiting import happens_within
from app.domain.book import Depth
from app.domain.candles import to_milliseconds
from app.errors import ExchangeError
from app.exchanges.binance_messages import AggTrade, PartialDepth
from app.exchanges.binance_stream import BinanceStreams, Connected, Disconnected, StreamConfig, StreamEvent
from app.exchanges.catalogue import PAPER
from app.exchanges.port import ExchangeClient
from app.marketdata.book_looks import STALE_S, TRADES, Book, Look
from app.marketdata.depths import FRESH_S, Depths

log = structlog.get_logger(__name__)

ROUND_S: Final = 0.25
POLL_S: Final = 2.0
GRACE_S: Final = 15.0
_IDLE_S: Final = 5.0
#: Of a new look, when the stream has not come by then, and of an exchange that did not answer.
_FIRST_READING_S: Final = 1.0
_FAILED_S: Final = 5.0
#: Questions at the same time to one exchange: one that is slow keeps those to the others from nothing.
_QUESTIONS: Final = 8
_READING_PATIENCE_S: Final = 10.0
#: The heartbeat has most of what the venue allows an address.
_ATTEMPTS_PER_5_MIN: Final = 30
#: Speaks at most ten times a second; of best offers there would be hundreds, for nobody.
_CANARY: Final = "btcusdt@depth5@100ms"
#: Only its stream is read by us.
_STREAMED: Final = "binance"


class Books:
    """The books of all exchanges. `run` is a supervised loop.

    Args:
        exchange: Whose live feed this process can have; paper accounts trade at its prices.
        public: Returns the client of an exchange's public data.
        clock: Dates books.
        streams: How connections to the live feed behave.
        grace_s: For how long a symbol is kept that nobody looks at any more: a page that is loaded again finds it still there.
        poll_s: Seconds between two questions where there is no stream.
    """

    def __init__(
        self,
        exchange: str,
        *,
        public: Callable[[str], Awaitable[ExchangeClient]],
        clock: Clock,
        streams: StreamConfig,
        grace_s: float = GRACE_S,
        poll_s: float = POLL_S,
    ) -> None:
        self.exchange = exchange
        self._public = public
        self._clock = clock
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._depths = Depths(public)
        own = replace(streams, attempts_per_5_min=_ATTEMPTS_PER_5_MIN, canary=_CANARY)
        self._streams = BinanceStreams(own, clock=clock)
        self._looks: dict[tuple[str, str], Look] = {}
        #: Those that are streamed, by the venue's name of the symbol.
        self._streamed: dict[str, Look] = {}
        self._questions: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_QUESTIONS))
        self._open_questions = 0
        self._wake = asyncio.Event()

    def source(self, exchange: str) -> str:
        """Return the exchange whose book the traders of `exchange` meet."""
        return self.exchange if exchange == PAPER else exchange

    @property
    def looked_at(self) -> dict[tuple[str, str], int]:
        """How many look at each exchange and symbol that is kept; 0 in its time of grace."""
        return {key: len(look.followers) for key, look in self._looks.items()}

    @property
    def subscribed(self) -> tuple[str, ...]:
        """The names of the streams that are wanted now."""
        return self._streams.streams

    async def depth(self, exchange: str, symbol: str) -> Depth | None:
        """Return the book of a unified symbol, best level first, not older than about a second; None when nobody knows it.

        Where somebody looks at a streamed one it costs no question and has at least 20 levels a side, if there are so many; else up to 100.
        """
        exchange = self.source(exchange)
        look = self._looks.get((exchange, symbol))
        if look is not None and look.book is not None and self._is_streamed(exchange) and not self._is_old(look, FRESH_S):
            try:
                return look.book.depth()
            except ArithmeticError:
                log.warning("book_unreadable", exchange=exchange, symbol=symbol)
        return await self.whole_depth(exchange, symbol)

    async def whole_depth(self, exchange: str, symbol: str) -> Depth | None:
        """Return up to 100 levels a side, asked of the exchange within the last second; None when it gives none."""
        return await self._depths.of(self.source(exchange), symbol)

    @asynccontextmanager
    async def looking(self, exchange: str, symbol: str, subscription: Subscription[object]) -> AsyncIterator[None]:
        """Have the book and the tape of a listed unified symbol in this subscription inside the block, as `FeedNews`.

        What is known comes at once; see `book_looks` for the messages.
        """
        exchange = self.source(exchange)
        look = self._looks.get((exchange, symbol)) or await self._begin(exchange, symbol)
        look.followers.add(subscription)
        look.left_at = None
        self._wake.set()
        for news in look.beginning():
            subscription.put(news)
        try:
            yield
        finally:
            look.followers.discard(subscription)
            if not look.followers:
                look.left_at = time.monotonic()

    async def run(self, beat: Callable[[], None]) -> None:
        """Collect and tell until cancelled."""
        while True:
            beat()
            if self._looks:
                await self._work(beat)
                continue
            self._wake.clear()
            await happens_within(self._wake, _IDLE_S)

    # While somebody looks.

    async def _begin(self, exchange: str, symbol: str) -> Look:
        now = time.monotonic()
        look = self._looks[exchange, symbol] = Look(exchange, symbol, begun_at=now)
        look.read_at = now
        if self._is_streamed(exchange):
            look.read_at = now + _FIRST_READING_S
            self._streamed[_market(symbol)] = look
            await self._streams.subscribe(_names(symbol))
        return look

    async def _end(self, look: Look) -> None:
        del self._looks[look.exchange, look.symbol]
        if self._streamed.pop(_market(look.symbol), None) is not None:
            await self._streams.unsubscribe(_names(look.symbol))

    async def _work(self, beat: Callable[[], None]) -> None:
        for look in self._looks.values():
            # What was being asked when something broke this loop got no answer: nobody else would ask it again.
            look.read_at = time.monotonic() if look.read_at is None else look.read_at
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read_streams(), name="books:streams")
            while self._looks or self._open_questions:
                beat()
                await self._round(group)
                await asyncio.sleep(ROUND_S)
            reader.cancel()

    async def _round(self, group: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        for look in list(self._looks.values()):
            if look.left_at is not None and not look.followers:
                if now - look.left_at >= self._grace_s:
                    await self._end(look)
                continue
            if look.read_at is not None and now >= look.read_at and not look.is_being_read:
                look.read_at, look.is_being_read = None, True
                self._open_questions += 1
                group.create_task(self._read(look), name=f"books:{look.exchange}:{look.symbol}")
            look.tell(is_stale=self._is_old(look, STALE_S), now=now)

    def _is_old(self, look: Look, age_s: float) -> bool:
        """Whether a book says nothing of the present: it is older than that, and not of a quiet market whose stream lives."""
        now = time.monotonic()
        if look.age_s(now) <= age_s and look.is_sure:
            return False
        if look.book is None or not look.is_sure or not self._is_streamed(look.exchange):
            return look.age_s(now) > age_s
        silent_s = max((connection.age_s for connection in self._streams.connections), default=age_s + 1)
        return silent_s > age_s or _names(look.symbol)[0] not in self._streams.live

    def _is_streamed(self, exchange: str) -> bool:
        return exchange == self.exchange == _STREAMED

    # The stream: only sorts what comes.

    async def _read_streams(self) -> None:
        async with aclosing(self._streams.events()) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: StreamEvent) -> None:
        match event:
            case PartialDepth():
                look = self._streamed.get(event.market)
                if look is not None:
                    look.hear(Book.streamed(event, now_s=time.monotonic(), now_ms=self._now_ms()))
            case AggTrade():
                look = self._streamed.get(event.market)
                if look is not None:
                    look.tape.hear(event)
            case Connected():
                # Whatever was printed before is asked for, and the book of a market so quiet that its stream says nothing.
                for look in self._of(event.streams):
                    look.read_at = time.monotonic()
            case Disconnected():
                for look in self._of(event.streams):
                    look.is_sure = False
            case _:
                pass

    def _of(self, streams: frozenset[str]) -> list[Look]:
        markets = {name.partition("@")[0].upper() for name in streams}
        return [look for market, look in self._streamed.items() if market in markets]

    # The questions.

    async def _read(self, look: Look) -> None:
        """Ask for the book and the trades, and say when to ask again: of what is streamed, only if the exchange did not answer."""
        asked_at = time.monotonic()
        try:
            async with self._questions[look.exchange]:
                depth = await self._depths.of(look.exchange, look.symbol)
                if depth is not None and (look.book is None or look.book.heard_s < asked_at):
                    look.hear(Book.asked(depth, now_s=time.monotonic(), now_ms=self._now_ms()))
                await self._read_trades(look)
        finally:
            look.is_being_read = False
            self._open_questions -= 1
        # The stream may have brought the book in the meantime: then nobody misses the answer.
        is_without = look.is_failing or look.book is None or look.book.heard_s < asked_at
        if is_without or not self._is_streamed(look.exchange):
            look.read_at = time.monotonic() + (_FAILED_S if is_without else self._poll_s)

    async def _read_trades(self, look: Look) -> None:
        try:
            async with asyncio.timeout(_READING_PATIENCE_S):
                client = await self._public(look.exchange)
                look.tape.answered(await client.fetch_market_trades(look.symbol, limit=TRADES))
        except (ExchangeError, TimeoutError) as error:
            if not look.is_failing:
                log.warning("tape_not_read", exchange=look.exchange, symbol=look.symbol, error=type(error).__name__)
            look.is_failing = True
        else:
            look.is_failing = False

    def _now_ms(self) -> int:
        return to_milliseconds(self._clock.now())


def _market(symbol: str) -> str:
    return symbol.replace("/", "")


def _names(symbol: str) -> list[str]:
    market = _market(symbol).lower()
    return [f"{market}@depth20@100ms", f"{market}@aggTrade"]
