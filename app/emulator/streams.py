"""Market streams: who listens to what, and the websocket side of it.

Source: Binance Spot API documentation, web-socket-streams.md. One difference: a consumer that falls far behind is disconnected at once.
"""

import asyncio
import time
from collections import defaultdict

import orjson
import structlog
from aiohttp import WSMsgType, web

log = structlog.get_logger(__name__)

_MAX_STREAMS = 1024
_MAX_QUEUED = 8192


class Connection:
    """One client. `outbox` is what waits to be sent to it."""

    def __init__(self, transport: asyncio.Transport | None, *, is_combined: bool) -> None:
        self.transport = transport
        self.is_combined = is_combined
        self.streams: set[str] = set()
        self.outbox: asyncio.Queue[str] = asyncio.Queue()
        self.last_pong = time.monotonic()


class StreamHub:
    """All connections, by stream."""

    def __init__(self, *, ping_interval_s: float, pong_timeout_s: float) -> None:
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._listeners: dict[str, set[Connection]] = defaultdict(set)
        self._connections: set[Connection] = set()
        self._silent_until = 0.0

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def has_listeners(self, stream: str) -> bool:
        """Whether anybody wants that stream."""
        return bool(self._listeners.get(stream))

    def subscribed(self) -> list[str]:
        """Return the streams somebody listens to."""
        return [stream for stream, listeners in self._listeners.items() if listeners]

    def publish(self, stream: str, payload: object) -> None:
        """Send a payload to everybody who listens to `stream`."""
        listeners = self._listeners.get(stream)
        if not listeners or time.monotonic() < self._silent_until:
            return
        raw = orjson.dumps(payload).decode()
        combined = f'{{"stream":"{stream}","data":{raw}}}'
        for connection in tuple(listeners):
            if connection.outbox.qsize() >= _MAX_QUEUED:
                log.warning("a stream client is too slow and is disconnected", stream=stream)
                self._drop(connection)
            else:
                connection.outbox.put_nowait(combined if connection.is_combined else raw)

    def close_all(self) -> None:
        """Break every connection without a closing handshake."""
        for connection in tuple(self._connections):
            self._drop(connection)

    def silence(self, duration_ms: int) -> None:
        """Send no market data for a while; connections stay open and pings are answered."""
        self._silent_until = time.monotonic() + duration_ms / 1000

    async def serve(self, request: web.Request, streams: list[str], *, is_combined: bool) -> web.WebSocketResponse:
        """Run one connection until either side ends it."""
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=64 * 1024, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(request.transport, is_combined=is_combined)
        self._connections.add(connection)
        self._subscribe(connection, streams)
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send(connection, socket), name="stream-send")
                pinger = group.create_task(self._ping(connection, socket), name="stream-ping")
                await self._receive(connection, socket)
                sender.cancel()
                pinger.cancel()
        except* ConnectionError:
            log.debug("a stream client went away")
        finally:
            self._forget(connection)
        return socket

    async def _send(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        while True:
            await socket.send_str(await connection.outbox.get())

    async def _ping(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(self._ping_interval_s)
            if time.monotonic() - connection.last_pong > self._pong_timeout_s:
                log.info("a stream client does not answer pings and is disconnected")
                self._drop(connection)
                return
            await socket.ping(str(time.time_ns() // 1_000_000).encode())

    async def _receive(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.PONG:
                connection.last_pong = time.monotonic()
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                connection.outbox.put_nowait(orjson.dumps(self._command(connection, message.data)).decode())

    def _command(self, connection: Connection, text: str) -> dict[str, object]:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            return {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        identity, method, params = document.get("id"), document.get("method"), document.get("params", [])
        if not isinstance(params, list):
            return _invalid("params must be a list", identity)
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(connection.streams), "id": identity}
        if method == "SET_PROPERTY" and len(params) == 2 and params[0] == "combined" and isinstance(params[1], bool):
            connection.is_combined = params[1]
            return {"result": None, "id": identity}
        if method == "GET_PROPERTY" and params == ["combined"]:
            return {"result": connection.is_combined, "id": identity}
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not params or not all(isinstance(name, str) for name in params):
            return _invalid(f"unknown method or bad parameters: {str(method)[:40]}", identity)
        if method == "UNSUBSCRIBE":
            self._unsubscribe(connection, params)
        elif len(connection.streams | set(params)) > _MAX_STREAMS:
            return _invalid("too many subscriptions", identity)
        else:
            self._subscribe(connection, params)
        return {"result": None, "id": identity}

    def _subscribe(self, connection: Connection, streams: list[str]) -> None:
        for stream in streams:
            connection.streams.add(stream)
            self._listeners[stream].add(connection)

    def _unsubscribe(self, connection: Connection, streams: list[str]) -> None:
        for stream in streams:
            connection.streams.discard(stream)
            listeners = self._listeners.get(stream)
            if listeners is not None:
                listeners.discard(connection)
                if not listeners:
                    del self._listeners[stream]

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        if connection.transport is not None:
            connection.transport.abort()

    def _forget(self, connection: Connection) -> None:
        self._unsubscribe(connection, list(connection.streams))
        self._connections.discard(connection)


def _invalid(reason: str, identity: object) -> dict[str, object]:
    return {"error": {"code": 2, "msg": f"Invalid request: {reason}"}, "id": identity}
