"""What Binance sent on the 4th of April 2021, played to the heartbeat: what is stored is what Binance itself had closed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from app.core.db import Database
from app.domain.candles import Candle, Timeframe, from_milliseconds
from tests.app.test_marketdata_heartbeat import feed_at, running, until
from tests.emulator_process import EmulatorProcess
from tests.recorded import candle_rows, captured_frames

pytestmark = pytest.mark.asyncio

CAPTURE = "binance-spot-2021-04-04-btc-eth-dot.jsonl.gz"
CANARY = json.dumps({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "58000", "B": "1", "a": "58001", "A": "1"}})
#: The minute of 20:03, which closed while the recorder listened.
CLOSED_MS = 1_617_566_580_000
FILES = {"BTC/USDT": "binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz", "ETH/USDT": "binance-ETHUSDT-1m-2021-04-02_2021-05-14.csv.gz"}


@asynccontextmanager
async def playing(frames: list[str]) -> AsyncIterator[str]:
    """A server that plays the frames once to whoever has subscribed to everything, and the canary before and after."""

    async def handle(socket: ServerConnection) -> None:
        wanted = set(socket.request.path.partition("?streams=")[2].split("/")) if socket.request else set()

        async def listen() -> None:
            async for message in socket:
                request = json.loads(message)
                wanted.update(request["params"])
                await socket.send(json.dumps({"result": None, "id": request["id"]}))

        with suppress(ConnectionClosed, BaseExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                while not {"btcusdt@kline_1m", "ethusdt@kline_1m"} <= wanted:
                    await socket.send(CANARY)
                    await asyncio.sleep(0.02)
                for frame in frames:
                    await socket.send(frame)
                while True:
                    await socket.send(CANARY)
                    await asyncio.sleep(0.1)

    async with serve(handle, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


Rows = list[tuple[int, float, float, float, float, float]]


def recorded_hour(name: str) -> Rows:
    """The recorded candles of an hour before the capture and half an hour after it."""
    return [row for row in candle_rows(name, limit=6_000) if CLOSED_MS - 3_600_000 <= row[0] < CLOSED_MS + 1_800_000]


def replaying(folder: Path, recorded: dict[str, Rows]) -> list[str]:
    """The emulator's arguments for these markets."""
    arguments = []
    for symbol, rows in recorded.items():
        path = folder / f"binance-{symbol.replace('/', '')}-1m-hour.csv"
        path.write_text("\n".join(["open_time,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows)]) + "\n")
        arguments += ["--replay", str(path)]
    return arguments


async def test_a_captured_minute_is_stored_as_the_venue_closed_it(tmp_path: Path, database: Database) -> None:
    frames = list(captured_frames(CAPTURE))
    bars = [json.loads(frame)["data"]["k"] for frame in frames if "@kline_1m" in frame[:60]]
    theirs = {bar["s"]: bar for bar in bars if bar["x"]}
    assert {bar["t"] for bar in theirs.values()} == {CLOSED_MS}
    recorded = {symbol: recorded_hour(name) for symbol, name in FILES.items()}
    with EmulatorProcess(*replaying(tmp_path, recorded), "--history", "60", "--clock", "virtual", "--no-shift") as emulator:
        async with playing(frames) as url:
            settings = {"symbols": tuple(FILES), "stream_urls": (url,), "history": timedelta(minutes=50)}
            async with feed_at(emulator, database, **settings) as feed, running(feed):
                closed = from_milliseconds(CLOSED_MS)
                await until(lambda: all(feed.heartbeat.last_closed(symbol) == closed for symbol in FILES))
                for symbol, rows in recorded.items():
                    bar = theirs[symbol.replace("/", "")]
                    (stored,) = await feed.heartbeat.store.latest("binance", symbol, Timeframe.M1, limit=1)
                    told = [float(bar[key]) for key in "ohlcv"]
                    assert stored == Candle(open_time=closed, **dict(zip(("open", "high", "low", "close", "volume"), told, strict=True)))
                    (row,) = [row for row in rows if row[0] == CLOSED_MS]
                    assert list(row[1:]) == told
                    (event,) = [event for event in feed.closed(symbol) if event.candle.open_time == closed]
                    assert event.source == "stream"
