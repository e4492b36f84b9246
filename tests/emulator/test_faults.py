import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest
import websockets

from tests.emulator.conftest import NOW_MINUTE, StartEmulator
from tests.emulator_process import EmulatorProcess, SignedClient

SYMBOL = "BTC/USDT"
PATH = "/api/v3/order"


@pytest.fixture
def emulator(standing_emulator: EmulatorProcess) -> EmulatorProcess:
    return standing_emulator


async def place(exchange: Any, client_order_id: str = "q-fault") -> Any:
    return await exchange.create_order(SYMBOL, "market", "buy", "0.1", None, {"newClientOrderId": client_order_id})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("do", "fields", "error", "orders"),
    [
        ("drop_before", {}, ccxt.ExchangeNotAvailable, 0),
        ("drop_after", {}, ccxt.ExchangeNotAvailable, 1),
        ("delay", {"delay_ms": 1500}, ccxt.RequestTimeout, 1),
        ("status_after", {"status": 504, "body": {"code": -1007, "msg": "Timeout"}}, ccxt.RequestTimeout, 1),
        (
            "status_before",
            {"status": 429, "body": {"code": -1003, "msg": "Too many"}, "headers": {"Retry-After": "5"}},
            ccxt.DDoSProtection,
            0,
        ),
        ("truncate", {}, ccxt.ExchangeError, 1),
    ],
)
async def test_fault_breaks_one_order_and_only_its_reply(
    exchange: Any, client: SignedClient, do: str, fields: dict[str, object], error: type[Exception], orders: int
) -> None:
    await exchange.load_markets()
    exchange.timeout = 1000
    client.emulator.fault(do, method="POST", path=PATH, **fields)
    with pytest.raises(error):
        await place(exchange)
    assert len(client.placed()) == orders
    if orders:
        found = await exchange.fetch_order("", SYMBOL, {"clientOrderId": "q-fault"})
        assert found["status"] == "closed"
    assert (await place(exchange, "q-next"))["status"] == "closed"


@pytest.mark.asyncio
async def test_truncated_reply_is_cut_inside_the_body(exchange: Any, emulator: EmulatorProcess) -> None:
    await exchange.load_markets()
    emulator.fault("truncate", method="POST", path=PATH)
    with pytest.raises(ccxt.ExchangeError) as caught:
        await place(exchange)
    assert isinstance(caught.value.__cause__, aiohttp.ClientPayloadError)


@pytest.mark.asyncio
async def test_html_reply_leaves_an_order_without_an_id(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    client.emulator.fault("html", method="POST", path=PATH)
    assert (await place(exchange))["id"] is None
    assert len(client.placed()) == 1


def test_rules_count_skips_and_times_and_can_be_cleared(emulator: EmulatorProcess) -> None:
    emulator.fault("status_before", path="/api/v3/ping", times=2, skip=1, status=503, body={"code": -1000, "msg": "Busy"})
    assert [emulator.request("GET", "/api/v3/ping").status for _ in range(4)] == [200, 503, 503, 200]
    emulator.fault("status_before", path="/api/v3/ping", times=100, status=503)
    emulator.control("DELETE", "/_fault")
    assert emulator.request("GET", "/api/v3/ping").status == 200
    assert emulator.state()["faults"] == []


@pytest.mark.parametrize(
    "rule", [{"do": "explode"}, {}, {"do": "delay", "speed": 1}, {"do": "delay", "times": "many"}, {"do": "delay", "times": True}]
)
def test_rule_that_means_nothing_is_refused(emulator: EmulatorProcess, rule: dict[str, object]) -> None:
    assert emulator.request("POST", "/_fault", body=json.dumps(rule).encode()).status == 422


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


def test_money_of_a_lost_reply_is_spent_once(client: SignedClient) -> None:
    client.emulator.fault("drop_after", method="POST", path=PATH)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1", newClientOrderId="once")
    found = client.call("GET", PATH, {"symbol": "BTCUSDT", "origClientOrderId": "once"})
    assert (found.document["status"], len(client.placed())) == ("FILLED", 1)
