import time
from typing import Any

import ccxt
import pytest

from tests.emulator.conftest import account_on
from tests.emulator_process import EmulatorProcess, SignedClient

SYMBOL = "BTC/USDT"
PATH = "/api/v3/order"


@pytest.fixture
def emulator(standing_emulator: EmulatorProcess) -> EmulatorProcess:
    return standing_emulator


async def limit_buy(exchange: Any, client_order_id: str) -> Any:
    return await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "50000", {"newClientOrderId": client_order_id})


async def sees(exchange: Any, client_order_id: str) -> tuple[bool, bool, bool]:
    """Whether the venue admits an order when asked for it, for the open ones, for all."""
    try:
        await exchange.fetch_order("", SYMBOL, {"clientOrderId": client_order_id})
        by_id = True
    except ccxt.OrderNotFound:
        by_id = False
    listed = [await exchange.fetch_open_orders(SYMBOL), await exchange.fetch_orders(SYMBOL)]
    in_open, in_all = (client_order_id in [order["clientOrderId"] for order in orders] for orders in listed)
    return by_id, in_open, in_all


@pytest.mark.asyncio
async def test_venue_denies_an_accepted_order_for_a_while(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    client.emulator.fault("hide_orders", for_ms=60_000)
    await limit_buy(exchange, "q-hidden")
    await exchange.create_order(SYMBOL, "market", "buy", "0.1")
    assert await sees(exchange, "q-hidden") == (False, False, False)
    assert await exchange.fetch_my_trades(SYMBOL) == []
    client.emulator.control("DELETE", "/_fault")
    assert await sees(exchange, "q-hidden") == (True, True, True)
    assert len(await exchange.fetch_my_trades(SYMBOL)) == 1


@pytest.mark.asyncio
async def test_hidden_order_can_still_be_canceled(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    client.emulator.fault("hide_orders", for_ms=60_000)
    order = await limit_buy(exchange, "q-hidden-cancel")
    assert (await exchange.cancel_order(order["id"], SYMBOL))["status"] == "canceled"


@pytest.mark.asyncio
async def test_only_orders_of_one_account_and_prefix_are_hidden(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    other = account_on(client.emulator)
    client.emulator.fault("hide_orders", api_key=client.api_key, client_order_id_prefix="bot", for_ms=60_000)
    await limit_buy(exchange, "bot-1")
    await limit_buy(exchange, "hand-1")
    placed = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "50000"}
    other.order(symbol="BTCUSDT", newClientOrderId="bot-1", **placed)
    assert await sees(exchange, "bot-1") == (False, False, False)
    assert await sees(exchange, "hand-1") == (True, True, True)
    assert other.call("GET", PATH, {"symbol": "BTCUSDT", "origClientOrderId": "bot-1"}).status == 200


@pytest.mark.asyncio
async def test_venue_that_lags_shows_an_order_only_after_a_moment(exchange: Any, client: SignedClient) -> None:
    await exchange.load_markets()
    client.emulator.fault("hide_orders", delay_ms=300, for_ms=60_000)
    placed = time.monotonic()
    await limit_buy(exchange, "q-young")
    while not (await sees(exchange, "q-young"))[0]:
        assert time.monotonic() < placed + 10
    assert time.monotonic() > placed + 0.28
    await limit_buy(exchange, "q-younger")
    assert await sees(exchange, "q-young") == (True, True, True)


@pytest.mark.asyncio
@pytest.mark.parametrize("skew_ms", [7000, -7000])
async def test_wrong_clock_refuses_honest_signatures_until_the_client_asks_for_the_time(
    exchange: Any, client: SignedClient, skew_ms: int
) -> None:
    await exchange.load_markets()
    client.emulator.fault("clock_skew", clock_skew_ms=skew_ms, for_ms=60_000)
    with pytest.raises(ccxt.InvalidNonce):
        await exchange.fetch_balance()
    await exchange.load_time_difference()
    order = await exchange.create_order(SYMBOL, "market", "buy", "0.1")
    assert abs(order["timestamp"] - time.time() * 1000 - skew_ms) < 2000
    client.emulator.control("DELETE", "/_fault")
    with pytest.raises(ccxt.InvalidNonce):
        await exchange.fetch_balance()


def test_journal_tells_what_was_sent_and_what_became_of_it(client: SignedClient) -> None:
    emulator = client.emulator
    last = emulator.control("GET", "/_log")["last_number"]
    buy = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    emulator.fault("drop_after", method="POST", path=PATH)
    with pytest.raises(OSError, match=r"."):
        client.order(**buy, newClientOrderId="lost")
    emulator.fault("drop_before", method="POST", path=PATH)
    with pytest.raises(OSError, match=r"."):
        client.order(**buy, newClientOrderId="never")
    client.order(**buy, newClientOrderId="good")
    client.order(**{**buy, "quantity": "1000000"}, newClientOrderId="greedy")
    entries = emulator.control("GET", f"/_log?since={last}&method=POST&path={PATH}")["entries"]
    told = [(entry["client_order_id"], entry["status"], entry["executed"], entry["fault"]) for entry in entries]
    assert told == [
        ("lost", None, True, "drop_after"),
        ("never", None, False, "drop_before"),
        ("good", 200, True, None),
        ("greedy", 400, False, None),
    ]
    assert {entry["api_key"] for entry in entries} == {client.api_key}
    assert [entry["number"] for entry in entries] == sorted(entry["number"] for entry in entries)


def test_journal_forgets_the_oldest_and_says_so() -> None:
    with EmulatorProcess("--journal", "3", "--paused") as emulator:
        for _ in range(5):
            emulator.get("/api/v3/ping")
        log = emulator.control("GET", "/_log")
        assert ([entry["number"] for entry in log["entries"]], log["forgotten"]) == ([3, 4, 5], 2)
        emulator.control("DELETE", "/_log")
        assert emulator.control("GET", "/_log") == {"entries": [], "last_number": 5, "forgotten": 5}
