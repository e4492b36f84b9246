import asyncio
import csv
import gzip
import json
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.emulator.conftest import NOW_MINUTE, PRICES, StartEmulator
from tests.emulator_process import MINUTE_MS, EmulatorProcess, steps, write_candles
from tests.shared_data import shared_data

FIRST_MS = 1_700_000_040_000
RECORDING = "binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz"


def numbers(row: Any) -> tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]:
    first, high, low, last, volume = map(Decimal, row[1:6])
    return int(row[0]), first, high, low, last, volume


def recorded(path: Path, count: int) -> list[list[str]]:
    with gzip.open(path, "rt") as lines:
        rows = csv.reader(lines)
        next(rows)
        return [row for row, _ in zip(rows, range(count), strict=False)]


def test_klines_are_the_replayed_file(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--no-shift")
    served = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000)
    assert [numbers(row) for row in served[:NOW_MINUTE]] == [numbers(row) for row in steps(PRICES)[:NOW_MINUTE]]
    assert served[NOW_MINUTE][0] == FIRST_MS + NOW_MINUTE * MINUTE_MS
    assert len(served) == NOW_MINUTE + 1


def test_klines_of_a_recording_are_its_numbers(start_emulator: StartEmulator) -> None:
    path = shared_data() / "candles" / RECORDING
    emulator = start_emulator("--replay", str(path), "--history", "1000", "--paused", "--no-shift")
    served = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000, endTime=1_617_321_600_000 + 999 * MINUTE_MS)
    assert [numbers(row) for row in served] == [numbers(row) for row in recorded(path, 1000)]


def test_holes_of_a_recording_stay_holes(start_emulator: StartEmulator) -> None:
    path = shared_data() / "candles" / RECORDING
    outage = 1_618_884_000_000  # 2021-04-20T02:00Z, 150 minutes without a candle
    emulator = start_emulator("--replay", str(path), "--start-at", "2021-04-20T06:00:00Z", "--paused", "--no-shift")
    served = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=outage - 2 * MINUTE_MS, limit=4)
    assert [(row[0] - outage) // MINUTE_MS for row in served] == [-2, -1, 150, 151]
    hourly = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1h", startTime=outage, limit=2)
    assert [row[0] for row in hourly] == [outage + 120 * MINUTE_MS, outage + 180 * MINUTE_MS]


def test_klines_can_be_paged_through(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--no-shift")
    found: list[Any] = []
    start = FIRST_MS - 500_000
    while page := emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=start, limit=25):
        found += page
        start = page[-1][0] + 1
    assert [row[0] for row in found] == [FIRST_MS + index * MINUTE_MS for index in range(NOW_MINUTE + 1)]


def test_longer_candles_add_up(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", "80", "--paused", "--no-shift")
    minutes = {row[0]: numbers(row) for row in emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000)}
    fives = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="5m", limit=3)
    for row in fives[:2]:
        parts = [minutes[row[0] + index * MINUTE_MS] for index in range(5)]
        assert numbers(row) == (
            row[0],
            parts[0][1],
            max(part[2] for part in parts),
            min(part[3] for part in parts),
            parts[-1][4],
            sum(part[5] for part in parts),
        )


def test_market_is_shifted_to_the_present_by_whole_minutes(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE))
    served = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000)
    assert abs(emulator.state()["market_time"] - time.time_ns() // 1_000_000) < 1_000
    assert served[-1][0] <= time.time_ns() // 1_000_000 < served[-1][0] + 2 * MINUTE_MS
    assert emulator.state()["shift_ms"] % MINUTE_MS == 0


@pytest.mark.asyncio
async def test_stream_closes_every_candle_once_with_the_files_numbers(start_emulator: StartEmulator, tmp_path: Path) -> None:
    rows = steps(range(1000, 1200, 1), volume="12.345678")
    del rows[40:43]
    path = write_candles(tmp_path / "binance-ETHUSDT-1m-holes.csv", rows)
    emulator = start_emulator("--replay", str(path), "--history", "20", "--speed", "3000", "--no-shift")
    closed: list[Any] = []
    async with websockets.connect(f"{emulator.ws_url}/stream?streams=ethusdt@kline_1m", proxy=None) as socket, asyncio.timeout(30):
        while not closed or closed[-1]["t"] < rows[-1][0]:
            message = json.loads(await socket.recv())
            assert message["stream"] == "ethusdt@kline_1m"
            if message["data"]["k"]["x"]:
                closed.append(message["data"]["k"])
    expected = [numbers(row) for row in rows if row[0] >= closed[0]["t"]]
    assert len(expected) > 50
    assert [numbers([k["t"], k["o"], k["h"], k["l"], k["c"], k["v"]]) for k in closed] == expected


@pytest.mark.asyncio
async def test_open_candle_grows_until_it_closes(emulator: EmulatorProcess) -> None:
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@kline_1m", proxy=None) as socket, asyncio.timeout(20):
        emulator.control("POST", "/_resume")
        opened = json.loads(await socket.recv())["k"]
        assert opened["x"] is False
        emulator.control("POST", "/_pause")
        emulator.advance(1)
        while not (closed := json.loads(await socket.recv())["k"])["x"]:
            assert Decimal(closed["v"]) >= Decimal(opened["v"])
    assert (closed["t"], Decimal(closed["v"])) == (opened["t"], Decimal(48))


@pytest.mark.asyncio
async def test_five_minute_stream_closes_on_its_own_boundary(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", "60", "--paused", "--no-shift")
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@kline_5m", proxy=None) as socket, asyncio.timeout(20):
        emulator.advance(12)
        closed = [message["k"] for _ in range(3) if (message := json.loads(await socket.recv()))["k"]["x"]]
    served = {row[0]: numbers(row) for row in emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="5m", limit=50)}
    assert len(closed) >= 2
    for k in closed:
        assert numbers([k["t"], k["o"], k["h"], k["l"], k["c"], k["v"]]) == served[k["t"]]


@pytest.mark.asyncio
async def test_live_subscriptions_are_acknowledged_and_end(emulator: EmulatorProcess) -> None:
    async with websockets.connect(f"{emulator.ws_url}/ws", proxy=None) as socket, asyncio.timeout(20):

        async def ask(**command: object) -> Any:
            await socket.send(json.dumps(command))
            while "id" not in (answer := json.loads(await socket.recv())):
                pass
            return answer

        wanted = ["btcusdt@kline_1m", "btcusdt@bookTicker"]
        assert await ask(method="SUBSCRIBE", params=wanted, id=1) == {"result": None, "id": 1}
        assert await ask(method="LIST_SUBSCRIPTIONS", id=2) == {"result": sorted(wanted), "id": 2}
        assert await ask(method="UNSUBSCRIBE", params=wanted[:1], id=3) == {"result": None, "id": 3}
        assert await ask(method="LIST_SUBSCRIPTIONS", id=4) == {"result": wanted[1:], "id": 4}
        assert (await ask(method="DANCE", id=5))["error"]["code"] == 2


@pytest.mark.asyncio
async def test_public_trades_add_up_to_the_candle(emulator: EmulatorProcess) -> None:
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@aggTrade/btcusdt@bookTicker", proxy=None) as socket, asyncio.timeout(20):
        emulator.advance(2)
        trades: dict[int, Decimal] = {}
        while len(trades) < 96:
            message = json.loads(await socket.recv())
            if message.get("e") == "aggTrade":
                trades[message["a"]] = Decimal(message["q"])
    first = min(trades)
    rest = emulator.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=first, limit=96)
    assert {trade["a"]: Decimal(trade["q"]) for trade in rest} == trades


@pytest.mark.asyncio
async def test_streams_of_partial_depth_tell_the_book_that_the_rest_api_shows(emulator: EmulatorProcess) -> None:
    streams = "btcusdt@depth20@100ms/btcusdt@depth5/btcusdt@depth7/nopeusdt@depth20@100ms"
    told: dict[str, list[Any]] = {}
    async with websockets.connect(f"{emulator.ws_url}/stream?streams={streams}", proxy=None) as socket, asyncio.timeout(20):
        begun = time.monotonic()
        while len(told.get("btcusdt@depth5", [])) < 2:
            message = json.loads(await socket.recv())
            told.setdefault(message["stream"], []).append(message["data"])
        waited_s = time.monotonic() - begun
        rest = emulator.get("/api/v3/depth", symbol="BTCUSDT", limit=20)
        emulator.advance(1)
        moved = json.loads(await socket.recv())

    assert told.keys() == {"btcusdt@depth20@100ms", "btcusdt@depth5"}
    assert waited_s > 0.9
    for book in told["btcusdt@depth20@100ms"]:
        assert book.keys() == {"lastUpdateId", "bids", "asks"}
        assert (book["bids"], book["asks"]) == (rest["bids"], rest["asks"])
        assert len(book["bids"]) == len(book["asks"]) == 20
    assert told["btcusdt@depth5"][0]["bids"] == rest["bids"][:5]
    assert moved["data"]["lastUpdateId"] > told["btcusdt@depth20@100ms"][-1]["lastUpdateId"]


@pytest.mark.asyncio
async def test_client_that_answers_no_ping_is_disconnected(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", "60", "--ping-interval", "0.1", "--pong-timeout", "0.4")
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@kline_1m", proxy=None, ping_interval=None) as healthy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        writer.write(
            b"GET /ws/btcusdt@bookTicker HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                while await reader.read(4096):
                    pass
            await healthy.recv()
        writer.close()


def test_market_stops_quietly_at_the_end_of_the_recording(emulator: EmulatorProcess) -> None:
    emulator.advance(1000)
    assert emulator.state()["symbols"]["BTCUSDT"]["is_over"] is True
    served = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000)
    assert len(served) == len(PRICES) - 1
    assert emulator.get("/api/v3/ticker/price", symbol="BTCUSDT")["price"] == "61000.00000000"
    assert emulator.stop().count("the recording has ended") == 1


def test_generated_market_is_the_same_for_the_same_seed(start_emulator: StartEmulator) -> None:
    first, same, other = (
        start_emulator("--seed", seed, "--paused", "--no-shift").get("/api/v3/klines", symbol="ETHUSDT", interval="1m", limit=200)
        for seed in ("7", "7", "8")
    )
    assert first == same
    assert first != other
