"""A websocket API that knows its accounts by their keys and does to a connection what a test tells it to. The wire is real."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

#: Returns the error an `apiKey` is refused with, or None to let it in.
Refusal = Callable[[str], tuple[int, int, str] | None]


@dataclass
class FakeLine:
    """One connection: what was asked on it, with the moments, and its subscriptions (id → key)."""

    connection: ServerConnection
    requests: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    subscriptions: dict[int, str] = field(default_factory=dict)
    next_id: int = 0

    async def send(self, document: Any) -> None:
        await self.connection.send(orjson.dumps(document).decode())

    async def tell(self, key: str, event: dict[str, Any]) -> None:
        """Send an event of the account."""
        subscription_id = next(each for each, owner in self.subscriptions.items() if owner == key)
        await self.send({"subscriptionId": subscription_id, "event": event})

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [parameters for _, asked, parameters in self.requests if asked == method]


@dataclass
class FakeWsApi:
    """`refuse` decides on subscriptions, `is_deaf` lets requests without an answer, `skew_ms` sets the venue's clock wrong."""

    url: str = ""
    lines: list[FakeLine] = field(default_factory=list)
    refuse: Refusal = lambda _key: None
    is_deaf: bool = False
    skew_ms: int = 0
    most_per_line: int = 1000
    same_account: dict[str, str] = field(default_factory=dict)

    @property
    def open_lines(self) -> list[FakeLine]:
        return [line for line in self.lines if line.connection.close_code is None and line.connection.state.name == "OPEN"]

    @property
    def last(self) -> FakeLine:
        return self.open_lines[-1]

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew_ms

    async def handle(self, connection: ServerConnection) -> None:
        line = FakeLine(connection)
        self.lines.append(line)
        try:
            async for frame in connection:
                request = orjson.loads(frame)
                parameters = request.get("params") or {}
                line.requests.append((time.monotonic(), request["method"], parameters))
                if not self.is_deaf:
                    await line.send({"id": request["id"], **self._answer(line, request["method"], parameters)})
        except ConnectionClosed:
            return

    def _answer(self, line: FakeLine, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if method == "time":
            return {"status": 200, "result": {"serverTime": self.now_ms()}}
        if method == "userDataStream.unsubscribe":
            line.subscriptions.pop(parameters["subscriptionId"])
            return {"status": 200, "result": {}}
        refused = self._refusal(line, parameters)
        if refused is not None:
            status, code, message = refused
            return {"status": status, "error": {"code": code, "msg": message}}
        subscription_id, line.next_id = line.next_id, line.next_id + 1
        line.subscriptions[subscription_id] = parameters["apiKey"]
        return {"status": 200, "result": {"subscriptionId": subscription_id}}

    def _refusal(self, line: FakeLine, parameters: dict[str, Any]) -> tuple[int, int, str] | None:
        key = parameters["apiKey"]
        if abs(self.now_ms() - parameters["timestamp"]) > 1000:
            return 400, -1021, "Timestamp for this request is outside of the recvWindow."
        if self.same_account.get(key, key) in {self.same_account.get(each, each) for each in line.subscriptions.values()}:
            return 400, -2035, "User Data Stream subscription already active."
        return self.refuse(key)


@asynccontextmanager
async def fake_ws_api() -> AsyncIterator[FakeWsApi]:
    """Run one on a free loopback port."""
    api = FakeWsApi()
    async with serve(api.handle, "127.0.0.1", 0) as running:
        host, port = next(iter(running.sockets)).getsockname()[:2]
        api.url = f"ws://{host}:{port}/ws-api/v3"
        yield api
        for line in api.lines:
            line.connection.transport.abort()
        await asyncio.sleep(0)
