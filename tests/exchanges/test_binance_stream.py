import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from app.exchanges.binance_messages import BookTicker
from app.exchanges.binance_stream import BinanceStream, Connected, Disconnected, StreamEvent
from tests.fault_matrix import row

BOOK = orjson.dumps({"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}).decode()
SHUTDOWN = '{"stream":"x","data":{"e":"serverShutdown","E":1}}'


@asynccontextmanager
async def server(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0) as running:
        host, port = next(iter(running.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"


async def take(events: AsyncGenerator[StreamEvent, None], count: int) -> list[StreamEvent]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


@row(11, 14)
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("last_words", "reason"),
    [(SHUTDOWN, "shutting down"), ("bye", "received 1000"), ("", "no data for 0.3 s")],
)
async def test_a_connection_that_ends_is_made_again(last_words: str, reason: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(BOOK)
        if last_words == SHUTDOWN:
            await connection.send(SHUTDOWN)
        if last_words == "bye":
            return
        await connection.wait_closed()

    async with server(handler) as url, aclosing(BinanceStream(url, ["btcusdt@bookTicker"], silence_s=0.3).events()) as events:
        first = await take(events, 5)

    assert [type(event) for event in first] == [Connected, BookTicker, Disconnected, Connected, BookTicker]
    assert isinstance(first[2], Disconnected)
    assert reason in first[2].reason


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_tried_again() -> None:
    async with aclosing(BinanceStream("ws://127.0.0.1:9", ["btcusdt@bookTicker"]).events()) as events:
        tries = await take(events, 3)

    assert all(isinstance(event, Disconnected) for event in tries)


@pytest.mark.asyncio
async def test_streams_come_by_address_and_by_request_and_all_of_them_again_after_a_reconnection() -> None:
    wanted = [f"s{i}@bookTicker" for i in range(150)]
    asked: list[list[str]] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append(connection.request.path.partition("?streams=")[2].split("/"))
        await connection.send(BOOK)
        async for message in connection:
            said = orjson.loads(message)
            asked[-1] += said["params"]
            await connection.send(orjson.dumps({"result": None, "id": said["id"]}).decode())

    async with server(handler) as url:
        stream = BinanceStream(url, wanted, silence_s=5)
        async with aclosing(stream.events()) as events:
            await take(events, 3)
            await stream.subscribe(["late@bookTicker", "s1@bookTicker"])
            await take(events, 1)
            await stream.reconnect()
            await take(events, 4)

    assert asked[0] == [*wanted, "late@bookTicker"]
    assert asked[1] == [*wanted, "late@bookTicker"]
    assert stream.streams == (*wanted, "late@bookTicker")


@pytest.mark.asyncio
async def test_an_unreadable_message_does_not_end_the_stream() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("{not json")
        await connection.send(BOOK)
        await connection.wait_closed()

    async with server(handler) as url, aclosing(BinanceStream(url, ["x@bookTicker"]).events()) as events:
        first = await take(events, 2)

    assert [type(event) for event in first] == [Connected, BookTicker]
