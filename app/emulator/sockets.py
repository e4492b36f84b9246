"""Websocket connections: their pings, the end of their lives, and all the ways a venue ends them.

Source: Binance Spot API documentation, web-socket-streams.md. One difference: a consumer that falls far behind is disconnected at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import WSMsgType, web

from app.emulator.requests import ip_of
from app.emulator.timeline import Timeline

log = structlog.get_logger(__name__)

ABNORMAL = 1006
"""RFC 6455: never sent, only seen, when a connection broke without a closing handshake."""
GOING_AWAY = 1001
POLICY_VIOLATION = 1008

_MAX_QUEUED = 8192


@dataclass(frozen=True, slots=True)
class _Close:
    """The last thing in an outbox: close with this code."""

    code: int


class Connection:
    """One client. `is_combined` and `is_api` say how an event that belongs to no request is wrapped."""

    def __init__(self, transport: asyncio.Transport | None, *, ip: str, is_combined: bool, is_api: bool = False) -> None:
        self.ip = ip
        self.is_combined = is_combined
        self.is_api = is_api
        self.last_pong = time.monotonic()
        self._transport = transport
        self._outbox: asyncio.Queue[str | _Close] = asyncio.Queue()
        self._is_over = False
        self.is_closing = False
        """Whether a closing handshake is on its way."""

    def send(self, text: str) -> None:
        """Queue a message. A client that is too slow is disconnected."""
        if self._is_over:
            return
        if self._outbox.qsize() >= _MAX_QUEUED:
            log.warning("a stream client is too slow and is disconnected")
            self.abort()
        else:
            self._outbox.put_nowait(text)

    def close(self, code: int) -> None:
        """Close with a handshake, after what is queued; 1006 breaks the connection instead."""
        if code == ABNORMAL:
            self.abort()
        elif not self._is_over:
            self._is_over = self.is_closing = True
            self._outbox.put_nowait(_Close(code))

    def abort(self) -> None:
        """Break the connection without a closing handshake."""
        self._is_over, self.is_closing = True, False
        if self._transport is not None:
            self._transport.abort()

    async def pump(self, socket: web.WebSocketResponse) -> None:
        """Send what is queued, until it is over."""
        while isinstance(item := await self._outbox.get(), str):
            await socket.send_str(item)
        await socket.close(code=item.code)


class Sockets:
    """All websocket connections of a venue, those for market streams and those for the websocket API."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        now_ms: Callable[[], int],
        ping_interval_s: float,
        pong_timeout_s: float,
        lifetime_s: float,
        message_limit: int | None = None,
    ) -> None:
        self._timeline = timeline
        self._now_ms = now_ms
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._connections: set[Connection] = set()
        self.lifetime_s = lifetime_s
        """How old a connection may become that is opened from now on."""
        self.message_limit = message_limit
        """How many frames a client may send in a second, pings and pongs counted; the documented number is 5. None sets no limit."""

    @property
    def count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def serve(
        self,
        request: web.Request,
        *,
        on_open: Callable[[Connection], None],
        on_text: Callable[[Connection, str], Awaitable[None]],
        on_gone: Callable[[Connection], None],
        is_combined: bool = False,
        is_api: bool = False,
    ) -> web.WebSocketResponse:
        """Run one connection until either side ends it.

        Args:
            request: The handshake.
            on_open: Called once, before anything is read.
            on_text: Called with each text message, one after the other.
            on_gone: Called once at the end, whatever it was.
            is_combined: See `Connection`.
            is_api: See `Connection`.
        """
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=64 * 1024, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(request.transport, ip=ip_of(request), is_combined=is_combined, is_api=is_api)
        self._connections.add(connection)
        cut = self._timeline.call_after(int(self.lifetime_s * 1000), lambda: self._cut(connection))
        on_open(connection)
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(connection.pump(socket), name="socket-send")
                pinger = group.create_task(self._ping(connection, socket), name="socket-ping")
                await self._receive(connection, socket, on_text)
                if not connection.is_closing:
                    pump.cancel()
                pinger.cancel()
        except* ConnectionError:
            log.debug("a stream client went away")
        finally:
            cut.cancel()
            self._connections.discard(connection)
            on_gone(connection)
        return socket

    def abort_all(self) -> None:
        """Break every connection without a closing handshake."""
        self.close(ABNORMAL)

    def abort_api(self, ip: str | None) -> None:
        """Break the connections to the websocket API from one IP or all, as a ban does."""
        for connection in self._chosen("api"):
            if ip in (None, connection.ip):
                self._connections.discard(connection)
                connection.abort()

    def close(self, code: int, *, on: str = "all") -> None:
        """Close connections with a code: all of them, or those of the `api` or for `streams` only; 1006 breaks them."""
        for connection in self._chosen(on):
            if code == ABNORMAL:
                self._connections.discard(connection)
            connection.close(code)

    def shut_down(self, *, after_ms: int, code: int, on: str = "all") -> None:
        """Tell clients that the server is about to go, and close their connections later; those who come afterwards stay."""
        event = {"e": "serverShutdown", "E": self._now_ms()}
        raw = orjson.dumps(event).decode()
        combined = orjson.dumps({"stream": "!serverShutdown", "data": event}).decode()
        wrapped = orjson.dumps({"event": event}).decode()
        told = self._chosen(on)
        for connection in told:
            connection.send(wrapped if connection.is_api else combined if connection.is_combined else raw)

        def close_told() -> None:
            for connection in told:
                connection.close(code)

        self._timeline.call_after(after_ms, close_told)

    def _chosen(self, on: str) -> tuple[Connection, ...]:
        return tuple(connection for connection in self._connections if on == "all" or connection.is_api == (on == "api"))

    def _cut(self, connection: Connection) -> None:
        log.info("a connection has reached its age and is cut", lifetime_s=self.lifetime_s)
        self._connections.discard(connection)
        connection.abort()

    async def _ping(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(self._ping_interval_s)
            if time.monotonic() - connection.last_pong > self._pong_timeout_s:
                log.info("a stream client does not answer pings and is disconnected")
                connection.abort()
                return
            await socket.ping(str(self._now_ms()).encode())

    async def _receive(
        self, connection: Connection, socket: web.WebSocketResponse, on_text: Callable[[Connection, str], Awaitable[None]]
    ) -> None:
        second, count = 0, 0
        async for message in socket:
            now = int(time.monotonic())
            second, count = now, (count + 1 if now == second else 1)
            if self.message_limit is not None and count > self.message_limit:
                log.info("a stream client sends too much and is disconnected", limit_per_s=self.message_limit)
                connection.close(POLICY_VIOLATION)
            elif message.type is WSMsgType.PONG:
                connection.last_pong = time.monotonic()
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                await on_text(connection, message.data)
