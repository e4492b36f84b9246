import http.client
import time
from typing import Any

import aiohttp
import ccxt
import pytest

from tests.emulator_process import EmulatorProcess, SignedClient
from tests.fault_matrix import row

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
        ("slow_body", {"delay_ms": 3000}, ccxt.RequestTimeout, 1),
        ("delay_before", {"delay_ms": 1500}, ccxt.RequestTimeout, 0),
        ("waf_403", {}, ccxt.ExchangeNotAvailable, 0),
        ("unavailable_1008", {}, ccxt.OperationFailed, 0),
        ("unavailable_1008", {"executed": True}, ccxt.OperationFailed, 1),
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
@pytest.mark.parametrize("do", ["html", "empty", "id_none"])
async def test_reply_that_is_no_order_leaves_an_order_without_an_id(exchange: Any, client: SignedClient, do: str) -> None:
    await exchange.load_markets()
    client.emulator.fault(do, method="POST", path=PATH)
    assert (await place(exchange))["id"] is None
    assert len(client.placed()) == 1


def test_order_without_an_id_shows_everything_else(client: SignedClient) -> None:
    client.emulator.fault("id_none", method="POST", path=PATH)
    document = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1", newClientOrderId="nameless").document
    assert (document["orderId"], document["clientOrderId"], document["status"]) == (None, "nameless", "FILLED")


@pytest.mark.asyncio
async def test_late_order_is_executed_after_its_client_has_given_up(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    exchange.timeout = 100
    client.emulator.fault("delay_before", method="POST", path=PATH, delay_ms=1000)
    with pytest.raises(ccxt.RequestTimeout):
        await place(exchange, "q-late")
    assert client.placed() == []
    deadline = time.monotonic() + 10
    while not client.placed():
        assert time.monotonic() < deadline
    assert [order["clientOrderId"] for order in client.placed()] == ["q-late"]


@row(23)
def test_order_that_arrives_too_late_is_refused_by_its_timestamp(client: SignedClient) -> None:
    client.emulator.fault("delay_before", method="POST", path=PATH, delay_ms=300)
    reply = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1", recvWindow=200)
    assert (reply.document["code"], client.placed()) == (-1021, [])


def test_slow_reply_comes_byte_by_byte_and_whole(emulator: EmulatorProcess) -> None:
    emulator.fault("slow_body", path="/api/v3/time", delay_ms=400)
    started = time.monotonic()
    assert "serverTime" in emulator.get("/api/v3/time")
    assert 0.3 < time.monotonic() - started < 3


def test_money_of_a_lost_reply_is_spent_once(client: SignedClient) -> None:
    client.emulator.fault("drop_after", method="POST", path=PATH)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1", newClientOrderId="once")
    found = client.call("GET", PATH, {"symbol": "BTCUSDT", "origClientOrderId": "once"})
    assert (found.document["status"], len(client.placed())) == ("FILLED", 1)
