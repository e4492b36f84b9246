"""Market streams: who listens to what.

Source: Binance Spot API documentation, web-socket-streams.md.
"""

from collections import defaultdict

import orjson
from aiohttp import web

from app.emulator.sockets import Connection, Sockets
from app.emulator.stream_faults import Payload, StreamFaults

_MAX_STREAMS = 1024


class StreamHub:
    """All listeners, by stream."""

    def __init__(self, sockets: Sockets, faults: StreamFaults) -> None:
        self._sockets = sockets
        self._faults = faults
        self._listeners: dict[str, set[Connection]] = defaultdict(set)
        self._streams: dict[Connection, set[str]] = {}

    def has_listeners(self, stream: str) -> bool:
        """Whether anybody wants that stream."""
        return bool(self._listeners.get(stream))

    def subscribed(self) -> list[str]:
        """Return the streams somebody listens to."""
        return [stream for stream, listeners in self._listeners.items() if listeners]

    def publish(self, stream: str, payload: Payload) -> None:
        """Send a payload to everybody who listens to `stream`, unless a fault in force has other plans."""
        if not self._listeners.get(stream):
            return
        if self._faults.is_active:
            self._faults.pass_on(stream, payload, self._send)
        else:
            self._send(stream, payload)

    async def serve(self, request: web.Request, streams: list[str], *, is_combined: bool) -> web.WebSocketResponse:
        """Run one connection until either side ends it."""

        def opened(connection: Connection) -> None:
            self._streams[connection] = set()
            self._subscribe(connection, streams)

        async def received(connection: Connection, text: str) -> None:
            connection.send(orjson.dumps(self._command(connection, text)).decode())

        return await self._sockets.serve(request, on_open=opened, on_text=received, on_gone=self._forget, is_combined=is_combined)

    def _send(self, stream: str, payload: Payload) -> None:
        raw = orjson.dumps(payload).decode()
        combined = f'{{"stream":"{stream}","data":{raw}}}'
        for connection in tuple(self._listeners.get(stream, ())):
            connection.send(combined if connection.is_combined else raw)

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
            return {"result": sorted(self._streams[connection]), "id": identity}
        if method == "SET_PROPERTY" and len(params) == 2 and params[0] == "combined" and isinstance(params[1], bool):
            connection.is_combined = params[1]
            return {"result": None, "id": identity}
        if method == "GET_PROPERTY" and params == ["combined"]:
            return {"result": connection.is_combined, "id": identity}
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not params or not all(isinstance(name, str) for name in params):
            return _invalid(f"unknown method or bad parameters: {str(method)[:40]}", identity)
        if method == "UNSUBSCRIBE":
            self._unsubscribe(connection, params)
        elif len(self._streams[connection] | set(params)) > _MAX_STREAMS:
            return _invalid("too many subscriptions", identity)
        else:
            self._subscribe(connection, params)
        return {"result": None, "id": identity}

    def _subscribe(self, connection: Connection, streams: list[str]) -> None:
        for stream in streams:
            self._streams[connection].add(stream)
            self._listeners[stream].add(connection)

    def _unsubscribe(self, connection: Connection, streams: list[str]) -> None:
        for stream in streams:
            self._streams[connection].discard(stream)
            listeners = self._listeners.get(stream)
            if listeners is not None:
                listeners.discard(connection)
                if not listeners:
                    del self._listeners[stream]

    def _forget(self, connection: Connection) -> None:
        self._unsubscribe(connection, list(self._streams[connection]))
        del self._streams[connection]


def _invalid(reason: str, identity: object) -> dict[str, object]:
    return {"error": {"code": 2, "msg": f"Invalid request: {reason}"}, "id": identity}
