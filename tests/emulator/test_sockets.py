import asyncio
import json
from pathlib import Path

import pytest
import websockets

from tests.emulator.conftest import NOW_MINUTE, StartEmulator


@pytest.mark.asyncio
async def test_connection_is_cut_when_it_reaches_its_age(start_emulator: StartEmulator) -> None:
    emulator = start_emulator("--connection-lifetime", "0.3")
    async with websockets.connect(f"{emulator.ws_url}/ws/btcusdt@kline_1m", proxy=None) as socket, asyncio.timeout(10):
        await socket.wait_closed()
    assert socket.close_code == 1006
    assert emulator.state()["stream_connections"] == 0


@pytest.mark.asyncio
async def test_connection_lives_a_whole_virtual_day_and_no_longer(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--clock", "virtual")
    async with websockets.connect(f"{emulator.ws_url}/ws", proxy=None) as socket, asyncio.timeout(10):
        await asyncio.to_thread(emulator.advance_ms, 24 * 3_600_000 - 1)
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
        assert json.loads(await socket.recv()) == {"result": [], "id": 1}
        await asyncio.to_thread(emulator.advance_ms, 1)
        await socket.wait_closed()
    assert socket.close_code == 1006
