import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets

from app.emulator.clock import read_clock_mode
from app.emulator.durations import read_duration
from app.errors import ConfigError, InvalidInput
from tests.emulator.conftest import NOW_MINUTE, StartEmulator, account_on, connect_ccxt
from tests.emulator_process import MINUTE_MS, EmulatorProcess

START_MS = 1_700_000_040_000 + NOW_MINUTE * MINUTE_MS


@pytest.fixture
def virtual(start_emulator: StartEmulator, script: Path) -> EmulatorProcess:
    """An emulator that lives in November 2023 and whose time stands still."""
    return start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--no-shift", "--clock", "virtual")


def server_time(emulator: EmulatorProcess) -> int:
    return int(emulator.get("/api/v3/time")["serverTime"])


def test_virtual_time_moves_by_hand_only_and_to_the_millisecond(virtual: EmulatorProcess) -> None:
    assert server_time(virtual) == START_MS
    virtual.advance_ms(250)
    virtual.advance(2)
    virtual.advance_ms(1)
    assert server_time(virtual) == START_MS + 250 + 2 * MINUTE_MS + 1
    assert virtual.state()["market_time"] == server_time(virtual)


def test_signatures_are_judged_by_virtual_time(virtual: EmulatorProcess) -> None:
    client = account_on(virtual)
    assert client.call("GET", "/api/v3/account", timestamp=START_MS).status == 200
    assert client.call("GET", "/api/v3/account").document["code"] == -1021
    virtual.advance_ms(5001)
    assert client.call("GET", "/api/v3/account", timestamp=START_MS).document["code"] == -1021


@pytest.mark.asyncio
async def test_ccxt_trades_in_virtual_time_and_orders_carry_its_stamps(virtual: EmulatorProcess, session: aiohttp.ClientSession) -> None:
    exchange = connect_ccxt(account_on(virtual), session)
    await exchange.load_markets()
    virtual.advance_ms(777)
    order = await exchange.create_order("BTC/USDT", "market", "buy", "0.1")
    assert (order["status"], order["timestamp"]) == ("closed", START_MS + 777)
    trades = await exchange.fetch_my_trades("BTC/USDT")
    assert {trade["timestamp"] for trade in trades} == {START_MS + 777}
    assert virtual.orders()[0]["received_ns"] == (START_MS + 777) * 1_000_000
    await exchange.close()


@pytest.mark.asyncio
async def test_candles_close_as_virtual_time_passes_each_at_its_own_minute(virtual: EmulatorProcess) -> None:
    closed: list[Any] = []
    async with websockets.connect(f"{virtual.ws_url}/ws/btcusdt@kline_1m", proxy=None) as socket:
        virtual.advance_ms(3 * MINUTE_MS + 500)
        while len(closed) < 3:
            message = json.loads(await socket.recv())
            if message["k"]["x"]:
                closed.append((message["k"]["t"], message["E"]))
    assert closed == [(START_MS + index * MINUTE_MS, START_MS + (index + 1) * MINUTE_MS) for index in range(3)]


def test_resting_order_fills_when_virtual_time_reaches_its_price(virtual: EmulatorProcess) -> None:
    client = account_on(virtual)
    limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59500"}
    order_id = client.call("POST", "/api/v3/order", limit, timestamp=START_MS).document["orderId"]
    virtual.advance(30)
    found = client.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": order_id}, timestamp=server_time(virtual)).document
    assert found["status"] == "FILLED"
    assert START_MS < found["updateTime"] <= server_time(virtual)


def test_virtual_clock_is_neither_paused_nor_sped_up(virtual: EmulatorProcess) -> None:
    assert virtual.request("POST", "/_pause").status == 409
    assert virtual.request("POST", "/_resume").status == 409
    with pytest.raises(RuntimeError, match="virtual clock"):
        EmulatorProcess("--clock", "virtual", "--speed", "60").start()


def test_virtual_clock_goes_on_from_where_it_stopped(start_emulator: StartEmulator, script: Path, tmp_path: Path) -> None:
    arguments = ("--replay", str(script), "--history", "60", "--no-shift", "--clock", "virtual", "--state", str(tmp_path / "state.json"))
    first = start_emulator(*arguments)
    first.advance_ms(90_500)
    first.stop()
    assert server_time(start_emulator(*arguments)) == START_MS + 90_500
    with pytest.raises(RuntimeError, match="virtual clock"):
        EmulatorProcess(*arguments[:-4], *arguments[-2:]).start()


def test_displaced_clock_moves_server_time_and_market_together(start_emulator: StartEmulator) -> None:
    emulator = start_emulator("--clock", "real+skew:-2h")
    state = emulator.state()
    assert abs(time.time() * 1000 - 2 * 3_600_000 - state["server_time"]) < 2000
    assert abs(state["market_time"] - state["server_time"]) < 100
    assert account_on(emulator).call("GET", "/api/v3/account").document["code"] == -1021


@pytest.mark.parametrize("body", [{}, {"ms": 0}, {"ms": 1.5}, {"ms": True}, {"minutes": -1}, {"ms": 1, "minutes": 1}, {"hours": 1}])
def test_advance_that_means_nothing_is_refused(standing_emulator: EmulatorProcess, body: dict[str, object]) -> None:
    assert standing_emulator.request("POST", "/_advance", body=json.dumps(body).encode()).status == 422


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30_000), ("7000ms", 7000), ("-2h", -7_200_000), ("00:05:00", 300_000), ("1d", 86_400_000), (25, 25), ("00:00:01.5", 1500)],
)
def test_durations_are_read_as_people_write_them(text: object, expected: int) -> None:
    assert read_duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "1:2", "00:61:00", None, True, 1.5])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput):
        read_duration(text)


@pytest.mark.parametrize("text", ["imaginary", "real+skew", "real+skew:soon", "virtual+skew:1s", "real+skew:8d"])
def test_what_is_no_clock_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_clock_mode(text)
