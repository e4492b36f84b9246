import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.emulator.conftest import NOW_MINUTE, StartEmulator
from tests.emulator_process import EmulatorProcess

KLINES = "btcusdt@kline_1m"


@pytest.mark.asyncio
async def test_streams_can_be_cut(emulator: EmulatorProcess) -> None:
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@kline_1m", proxy=None) as socket, asyncio.timeout(10):
        await (await socket.ping())
        assert emulator.state()["stream_connections"] == 1
        emulator.fault("ws_close")
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()
    assert emulator.state()["stream_connections"] == 0


@pytest.mark.asyncio
async def test_streams_can_fall_silent_while_pings_are_answered(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused")
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@aggTrade", proxy=None, max_queue=None) as socket, asyncio.timeout(10):
        emulator.fault("ws_silent", for_ms=60_000)
        emulator.advance(2)
        await (await socket.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.recv()
        emulator.control("DELETE", "/_fault")
        emulator.advance(1)
        assert json.loads(await socket.recv())["e"] == "aggTrade"


@pytest.fixture(scope="module")
def virtual_process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--generate", "BTCUSDT:50000", "--clock", "virtual", "--no-shift") as process:
        yield process


@pytest.fixture
def virtual(virtual_process: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """An emulator whose time stands still at the beginning of a minute."""
    virtual_process.advance_ms(60_000 - virtual_process.state()["server_time"] % 60_000)
    yield virtual_process
    virtual_process.control("DELETE", "/_fault")


@pytest.mark.asyncio
async def test_only_the_named_stream_falls_silent(virtual: EmulatorProcess) -> None:
    url = f"{virtual.ws_url}/stream?streams=btcusdt@kline_1m/btcusdt@miniTicker"
    async with websockets.connect(url, proxy=None) as socket, asyncio.timeout(10):
        virtual.fault("ws_silent", stream=KLINES, **{"for": "90s"})
        virtual.advance(1)
        assert json.loads(await socket.recv())["stream"] == "btcusdt@miniTicker"
        virtual.advance(1)
        while json.loads(await socket.recv())["stream"] != KLINES:
            pass


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [1008, 1011, 1012])
async def test_streams_can_be_closed_with_a_code(virtual: EmulatorProcess, code: int) -> None:
    async with websockets.connect(f"{virtual.ws_url}/ws/{KLINES}", proxy=None) as socket, asyncio.timeout(10):
        virtual.fault("close_code", code=code)
        await socket.wait_closed()
        assert socket.close_code == code


@pytest.mark.asyncio
async def test_shutdown_is_announced_and_then_the_connection_is_closed(virtual: EmulatorProcess) -> None:
    raw = websockets.connect(f"{virtual.ws_url}/ws/{KLINES}", proxy=None)
    combined = websockets.connect(f"{virtual.ws_url}/stream?streams={KLINES}", proxy=None)
    async with raw as one, combined as other, asyncio.timeout(10):
        virtual.fault("shutdown", delay_ms=5000)
        assert json.loads(await one.recv())["e"] == "serverShutdown"
        event = json.loads(await other.recv())
        assert (event["stream"], event["data"]["e"]) == ("!serverShutdown", "serverShutdown")
        async with websockets.connect(f"{virtual.ws_url}/ws/{KLINES}", proxy=None) as late:
            virtual.advance_ms(5000)
            await one.wait_closed()
            await other.wait_closed()
            assert (one.close_code, other.close_code) == (1001, 1001)
            await (await late.ping())


async def closes(emulator: EmulatorProcess, minutes: int, *, more_ms: int = 0) -> list[Any]:
    """The closed candles that a listener sees while virtual time passes; a mark at the end says that nothing more is to come."""
    async with websockets.connect(f"{emulator.ws_url}/ws/{KLINES}", proxy=None, max_queue=None) as socket, asyncio.timeout(10):
        emulator.advance_ms(minutes * 60_000 + more_ms)
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": "end"}))
        seen: list[Any] = []
        while "id" not in (message := json.loads(await socket.recv())):
            if message["k"]["x"]:
                seen.append(message)
        return seen


@pytest.mark.asyncio
async def test_closed_candle_can_be_missing(virtual: EmulatorProcess) -> None:
    virtual.fault("missing_close", stream=KLINES)
    opens = [each["k"]["t"] for each in await closes(virtual, 3)]
    served = virtual.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=4)
    assert opens == [row[0] for row in served[1:3]]


@pytest.mark.asyncio
async def test_closed_candle_can_come_twice(virtual: EmulatorProcess) -> None:
    virtual.fault("duplicate_close")
    seen = await closes(virtual, 2)
    assert seen[0] == seen[1]
    assert len({each["k"]["t"] for each in seen}) == 2
    assert len(seen) == 3


@pytest.mark.asyncio
async def test_closed_candle_can_come_after_the_next_one_has_begun(virtual: EmulatorProcess) -> None:
    virtual.fault("late_close", delay_ms=24_000)
    assert await closes(virtual, 1, more_ms=23_000) == []
    (late,) = await closes(virtual, 0, more_ms=30_000)
    assert late["k"]["T"] + 1 == late["E"] <= virtual.state()["server_time"] - 24_000


@pytest.mark.asyncio
async def test_closed_candle_can_be_changed_afterwards(virtual: EmulatorProcess) -> None:
    virtual.fault("revised_close", delay_ms=2000)
    first, second = await closes(virtual, 1, more_ms=3000)
    assert (first["k"]["t"], first["k"]["x"], second["k"]["x"]) == (second["k"]["t"], True, True)
    assert first["k"]["c"] != second["k"]["c"]
    assert float(second["k"]["v"]) > float(first["k"]["v"])


@pytest.mark.asyncio
async def test_neighbouring_messages_can_change_places(virtual: EmulatorProcess) -> None:
    async with websockets.connect(f"{virtual.ws_url}/ws/btcusdt@aggTrade", proxy=None, max_queue=None) as socket, asyncio.timeout(10):
        virtual.fault("reorder", stream="btcusdt@aggTrade", **{"for": "10m"})
        virtual.advance(1)
        numbers = [json.loads(await socket.recv())["a"] for _ in range(48)]
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + 48))
    assert all(abs(number - numbers[0]) <= index + 1 for index, number in enumerate(numbers))


@pytest.mark.asyncio
async def test_fault_waits_for_its_time(virtual: EmulatorProcess) -> None:
    virtual.fault("missing_close", at=f"{virtual.state()['elapsed_ms'] + 90_000}ms", **{"for": "60s"})
    assert virtual.control("GET", "/_fault")[0]["is_waiting"] is True
    opens = [each["k"]["t"] for each in await closes(virtual, 4)]
    served = [row[0] for row in virtual.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=5)[:4]]
    assert opens == [served[0], *served[2:]]
    assert virtual.control("GET", "/_fault") == []
