"""Binance's market streams as one endless iterator that reconnects by itself and says when it did. It knows no database.

Pings do not show that a stream went silent (they were answered for seconds while no data came), so only data counts as life.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from app.core.backoff import backoff
from app.exchanges.binance_messages import Acknowledged, AggTrade, BookTicker, KlineEvent, ServerShutdown, parse

log = structlog.get_logger(__name__)

#: Market data only, and apart from the servers that take orders: it fails alone. Source: web-socket-streams.md.
DEFAULT_STREAM_URL: Final = "wss://data-stream.binance.vision"
_STREAMS_IN_ADDRESS: Final = 100
_STREAMS_IN_REQUEST: Final = 200
#: Binance drops a connection that sends more than five messages a second.
_BETWEEN_REQUESTS_S: Final = 0.25
_HANDSHAKE_TIMEOUT_S: Final = 10.0
_PING_S: Final = 20.0
_FRAMES_IN_QUEUE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A connection is open and its first subscriptions are made. What happened since the last one is missing: fetch it."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The connection ended, or could not be made, and why. The next one is on its way."""

    reason: str


StreamEvent = Connected | Disconnected | KlineEvent | AggTrade | BookTicker | Acknowledged


class BinanceStream:
    """One connection at a time to the combined streams.

    Args:
        url: ws:// or wss:// base, without a path.
        streams: Names such as `btcusdt@kline_1m`; more may be added while it runs.
        silence_s: A connection without data for so long is dropped. Subscribe something that always speaks (`@bookTicker`).
    """

    def __init__(self, url: str, streams: Iterable[str], *, silence_s: float = 10.0) -> None:
        self._url = url.rstrip("/").removesuffix("/ws").removesuffix("/stream")
        self._streams = dict.fromkeys(streams)
        self._silence_s = silence_s
        self._connection: ClientConnection | None = None
        self._request_ids = itertools.count(1)
        self._sending = asyncio.Lock()

    @property
    def streams(self) -> tuple[str, ...]:
        """The names subscribed now, and again at each reconnection."""
        return tuple(self._streams)

    async def subscribe(self, streams: Iterable[str]) -> None:
        """Add streams, at once when connected; one that is there already is not asked for again."""
        new = [name for name in streams if name not in self._streams]
        self._streams.update(dict.fromkeys(new))
        connection = self._connection
        if connection is None or not new:
            return
        try:
            await self._ask(connection, new)
        except ConnectionClosed:
            log.info("subscribe_postponed", streams=len(new))  # the next connection brings them

    async def unsubscribe(self, streams: Iterable[str]) -> None:
        """Let go of streams, at once when connected."""
        gone = [name for name in streams if name in self._streams]
        for name in gone:
            del self._streams[name]
        connection = self._connection
        if connection is None or not gone:
            return
        try:
            await self._ask(connection, gone, method="UNSUBSCRIBE")
        except ConnectionClosed:
            log.info("unsubscribe_needless", streams=len(gone))

    async def reconnect(self) -> None:
        """Drop the present connection; the iterator makes a new one."""
        if self._connection is not None:
            await self._connection.close()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield events for ever. Waiting time between attempts starts again after a connection that brought data.

        The reader must keep up: beyond 4,096 waiting frames the venue is slowed down, and in the end it hangs up.
        """
        delays = backoff()
        for attempt in itertools.count(1):
            has_spoken = False
            reason = "closed"
            try:
                async with aclosing(self._connection_events(attempt)) as events:
                    async for event in events:
                        has_spoken = has_spoken or not isinstance(event, Connected)
                        if isinstance(event, Disconnected):
                            reason = event.reason
                            break
                        yield event
            except (OSError, TimeoutError, WebSocketException) as error:
                reason = _in_words(error)
            yield Disconnected(reason=reason)
            if has_spoken:
                delays = backoff()
            await asyncio.sleep(next(delays))

    async def _connection_events(self, attempt: int) -> AsyncGenerator[StreamEvent, None]:
        names = list(self._streams)
        first, rest = names[:_STREAMS_IN_ADDRESS], names[_STREAMS_IN_ADDRESS:]
        address = f"{self._url}/stream" + (f"?streams={'/'.join(first)}" if first else "")
        async with connect(
            address,
            open_timeout=_HANDSHAKE_TIMEOUT_S,
            close_timeout=1.0,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            compression=None,
            proxy=None,
            max_queue=_FRAMES_IN_QUEUE,
        ) as connection:
            self._connection = connection
            try:
                # Names added while the handshake ran are in neither list.
                await self._ask(connection, rest + [name for name in self._streams if name not in set(names)])
                yield Connected(attempt=attempt)
                async with aclosing(self._messages(connection)) as messages:
                    async for message in messages:
                        yield message
            finally:
                self._connection = None

    async def _messages(self, connection: ClientConnection) -> AsyncGenerator[StreamEvent, None]:
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    frame: Any = await connection.recv(decode=False)
            except TimeoutError:
                yield Disconnected(reason=f"no data for {self._silence_s:g} s")
                return
            except ConnectionClosed as error:
                yield Disconnected(reason=_in_words(error))
                return
            try:
                message = parse(frame)
            except ValueError as error:
                log.warning("stream_message_unreadable", error=str(error))
                continue
            if isinstance(message, ServerShutdown):
                yield Disconnected(reason="the server is shutting down")
                return
            if isinstance(message, Acknowledged) and message.error is not None:
                log.warning("subscription_refused", error=message.error)
            if message is not None:
                yield message

    async def _ask(self, connection: ClientConnection, streams: list[str], *, method: str = "SUBSCRIBE") -> None:
        async with self._sending:
            for chunk in _chunks(streams, _STREAMS_IN_REQUEST):
                request = {"method": method, "params": chunk, "id": next(self._request_ids)}
                await connection.send(orjson.dumps(request).decode())
                await asyncio.sleep(_BETWEEN_REQUESTS_S)


def _chunks(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _in_words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text[:200]
