"""A venue of market streams in the test's own process, which can be told to misbehave, and a consumer that keeps what it heard."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from app.core.clock import SystemClock
from app.domain.candles import from_milliseconds
from app.exchanges.binance_messages import BookTicker, KlineEvent
from app.exchanges.binance_stream import BinanceStreams, Connected, Disconnected, StreamConfig, StreamEvent

MINUTE_MS = 60_000
PATIENCE_S = 20.0


@dataclass(eq=False)
class Peer:
    """A client's connection as the venue sees it."""

    socket: ServerConnection
    streams: set[str]
    opened_at: float = field(default_factory=time.monotonic)
    #: When the client sent something, pongs counted.
    sent_at: list[float] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    is_silent: bool = False
    is_deaf: bool = False
    lag_ms: int = 0

    def cut(self) -> None:
        self.socket.transport.abort()

    async def shut_down(self) -> None:
        await self.socket.send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')


class StreamVenue:
    """Every `every_s` a minute closes on every kline stream and every book changes. `peers` are all that ever came, `open` those there."""

    def __init__(self, *, every_s: float = 0.02) -> None:
        self.url = ""
        self.every_s = every_s
        self.peers: list[Peer] = []
        self.open: list[Peer] = []
        self.minute = 0
        self.refuses: set[str] = set()
        self.newcomers_are_silent = False
        self.handshake_s = 0.0
        self.ping_every_s: float | None = None

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        await asyncio.sleep(self.handshake_s)
        peer = Peer(socket, set(socket.request.path.partition("?streams=")[2].split("/")), is_silent=self.newcomers_are_silent)
        self.peers.append(peer)
        self.open.append(peer)
        try:
            with suppress(ConnectionClosed):
                async for message in socket:
                    peer.sent_at.append(time.monotonic())
                    if not peer.is_deaf:
                        await socket.send(self._answer(peer, orjson.loads(message)))
        finally:
            self.open.remove(peer)

    def _answer(self, peer: Peer, request: dict[str, Any]) -> str:
        peer.requests.append(request)
        names = set(request["params"])
        if names & self.refuses:
            return orjson.dumps({"error": {"code": 2, "msg": "Invalid request: no such stream"}, "id": request["id"]}).decode()
        peer.streams = peer.streams | names if request["method"] == "SUBSCRIBE" else peer.streams - names
        return orjson.dumps({"result": None, "id": request["id"]}).decode()

    async def publish(self) -> None:
        while True:
            self.minute += 1
            for peer in tuple(self.open):
                if not peer.is_silent:
                    for stream in tuple(peer.streams):
                        with suppress(ConnectionClosed):
                            await peer.socket.send(self._message(stream, peer))
            await asyncio.sleep(self.every_s)

    async def ping(self) -> None:
        while self.ping_every_s is not None:
            for peer in tuple(self.open):
                with suppress(ConnectionClosed):
                    await (await peer.socket.ping())
                    peer.sent_at.append(time.monotonic())
            await asyncio.sleep(self.ping_every_s)

    def _message(self, stream: str, peer: Peer) -> str:
        market, _, kind = stream.partition("@")
        if kind != "bookTicker":
            return self.kline(stream, self.minute, lag_ms=peer.lag_ms)
        data = {"u": self.minute, "s": market.upper(), "b": "1", "B": "1", "a": "2", "A": "1"}
        return orjson.dumps({"stream": stream, "data": data}).decode()

    def kline(self, stream: str, minute: int, *, lag_ms: int = 0) -> str:
        market = stream.partition("@")[0].upper()
        bar = {"t": minute * MINUTE_MS, "i": "1m", "o": "1", "h": "2", "l": "1", "c": "2", "v": "3", "n": 4, "x": True}
        data = {"e": "kline", "E": time.time_ns() // 1_000_000 - lag_ms, "s": market, "k": bar}
        return orjson.dumps({"stream": stream, "data": data}).decode()


@asynccontextmanager
async def stream_venue(*, every_s: float = 0.02, ping_every_s: float | None = None) -> AsyncIterator[StreamVenue]:
    venue = StreamVenue(every_s=every_s)
    venue.ping_every_s = ping_every_s
    async with serve(venue.serve, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as running:
        host, port = next(iter(running.sockets)).getsockname()[:2]
        venue.url = f"ws://{host}:{port}"
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(venue.publish()), group.create_task(venue.ping())]
            yield venue
            for task in tasks:
                task.cancel()
            for peer in venue.open:
                peer.cut()


class Listener:
    """A consumer that asks the venue for what it missed, as a real one asks REST."""

    def __init__(self, streams: BinanceStreams, venue: StreamVenue | None = None) -> None:
        self.streams = streams
        self.events: list[StreamEvent] = []
        self.live: set[str] = set()
        self.known: dict[str, set[int]] = defaultdict(set)
        self.books: set[str] = set()
        self._venue = venue

    @property
    def connected(self) -> list[Connected]:
        return [event for event in self.events if isinstance(event, Connected)]

    @property
    def disconnected(self) -> list[Disconnected]:
        return [event for event in self.events if isinstance(event, Disconnected)]

    def take(self, event: StreamEvent) -> None:
        match event:
            case Connected():
                self.events.append(event)
                self.live |= event.streams
                if self._venue is not None:
                    for name in event.streams:
                        self.known[name].update(range(1, self._venue.minute + 1))
            case Disconnected():
                self.events.append(event)
                self.live -= event.streams
            case KlineEvent():
                minute = (event.candle.open_time - from_milliseconds(0)).total_seconds() // 60
                self.known[f"{event.market.lower()}@kline_1m"].add(int(minute))
            case BookTicker():
                self.books.add(event.market)

    def missing(self, stream: str) -> set[int]:
        """The minutes up to the newest one heard that are known neither by a message nor by asking after a `Connected`."""
        known = self.known[stream]
        return set(range(1, max(known, default=0) + 1)) - known

    async def hears_more(self, stream: str, minutes: int = 3) -> None:
        assert self._venue is not None
        goal = self._venue.minute + minutes
        await until(lambda: max(self.known[stream], default=0) >= goal)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(
    streams: BinanceStreams, venue: StreamVenue | None = None, *, listener: Listener | None = None
) -> AsyncIterator[Listener]:
    """A consumer at work; when it stops, no task of the streams is left."""
    listener = listener or Listener(streams, venue)

    async def listen() -> None:
        async with aclosing(streams.events()) as events:
            async for event in events:
                listener.take(event)

    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listen())
        try:
            yield listener
        finally:
            task.cancel()
    names = [task.get_name() for task in asyncio.all_tasks() - before]
    assert not [name for name in names if name.startswith(("stream", "binance"))]


def streams_at(
    *venues: StreamVenue | str, streams: Iterable[str] = (), venue_time: Callable[[], Any] = lambda: None, **limits: Any
) -> BinanceStreams:
    """Streams of one venue, or of several hosts; faster than in production where `limits` does not say otherwise."""
    urls = tuple(venue if isinstance(venue, str) else venue.url for venue in venues)
    quick: dict[str, Any] = {"watch_every_s": 0.02, "between_requests_s": 0.01, **limits}
    return BinanceStreams(StreamConfig(urls=urls, **quick), streams, clock=SystemClock(), venue_time=venue_time)


def klines(count: int) -> list[str]:
    return [f"s{number}@kline_1m" for number in range(count)]


Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    """A server that does just what `script` says."""
    async with serve(script, "127.0.0.1", 0) as running:
        host, port = next(iter(running.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"
