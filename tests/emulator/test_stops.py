import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.emulator.conftest import account_on
from tests.emulator.trading import BUY, SELL, D, balance, found
from tests.emulator_process import EmulatorProcess, SignedClient


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> EmulatorProcess:
    return at_60000


@pytest.mark.parametrize(
    ("type_", "trigger", "quiet", "wakes"), [("STOP_LOSS", "59500", "59500.01", "59500"), ("TAKE_PROFIT", "60500", "60499.99", "60500")]
)
def test_stop_without_limit_sells_at_the_market_when_touched(
    client: SignedClient, emulator: EmulatorProcess, type_: str, trigger: str, quiet: str, wakes: str
) -> None:
    order = client.order(**SELL, type=type_, stopPrice=trigger, newOrderRespType="RESULT").document
    assert (order["status"], order["stopPrice"], order["workingTime"], D(order["price"])) == ("NEW", f"{trigger}.00000000", -1, D(0))
    assert balance(client, "BTC") == (D("0.9"), D("0.1"))
    emulator.price(quiet)
    assert found(client, order)["isWorking"] is False
    emulator.price(wakes)
    done = found(client, order)
    assert (done["status"], done["isWorking"]) == ("FILLED", True)
    assert D(done["cummulativeQuoteQty"]) / D("0.1") <= D(wakes)
    assert balance(client, "BTC") == (D("0.9"), D(0))


def test_buy_stop_keeps_back_its_stop_price_and_pays_the_rest_from_what_is_free(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**BUY, type="STOP_LOSS", stopPrice="60500").document
    assert balance(client, "USDT") == (D(1000000) - D(6050), D(6050))
    emulator.price("60600")
    done = found(client, order)
    assert done["status"] == "FILLED"
    assert balance(client, "USDT") == (D(1000000) - D(done["cummulativeQuoteQty"]), D(0))


def test_buy_stop_that_cannot_be_paid_expires_unfilled(emulator: EmulatorProcess) -> None:
    client = account_on(emulator)
    emulator.open_account(client.api_key, client.api_secret, {"USDT": "6050"})
    order = client.order(**BUY, type="STOP_LOSS", stopPrice="60500").document
    emulator.price("60600")
    done = found(client, order)
    assert (done["status"], D(done["executedQty"]), done["expiryReason"]) == ("EXPIRED", D(0), "REJECTED")
    assert balance(client, "USDT") == (D(6050), D(0))


def test_stop_into_an_empty_book_expires(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**SELL, type="STOP_LOSS", stopPrice="59500").document
    emulator.depth(bids=[("59400", "0.04")], asks=[])
    emulator.price("59500")
    done = found(client, order)
    assert (done["status"], D(done["executedQty"]), done["expiryReason"]) == ("EXPIRED", D("0.04"), "INSUFFICIENT_LIQUIDITY")
    assert balance(client, "BTC") == (D("0.96"), D(0))


@pytest.mark.parametrize("kind", [{"type": "STOP_LOSS"}, {"type": "STOP_LOSS_LIMIT", "price": "58000", "timeInForce": "GTC"}])
def test_trailing_stop_follows_the_rise_and_sells_after_the_fall(
    client: SignedClient, emulator: EmulatorProcess, kind: dict[str, str]
) -> None:
    order = client.order(**SELL, **kind, trailingDelta=100, newOrderRespType="RESULT").document
    assert (order["trailingDelta"], order["trailingTime"]) == (100, order["transactTime"])
    emulator.price("59401")
    emulator.price("62000")
    emulator.price("61380.01")
    assert found(client, order)["status"] == "NEW"
    emulator.price("61380")
    assert found(client, order)["status"] == "FILLED"


def test_trailing_stop_with_a_stop_price_follows_only_from_there(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**SELL, type="TAKE_PROFIT", trailingDelta=100, stopPrice="61000", newOrderRespType="RESULT").document
    assert order["trailingTime"] == -1
    emulator.price("60900")
    emulator.price("55000")
    emulator.price("61000")
    active = found(client, order)
    assert (active["status"], active["trailingTime"] > 0, active["isWorking"]) == ("NEW", True, False)
    emulator.price("60390")
    assert found(client, order)["status"] == "FILLED"


def test_trailing_buy_follows_the_fall(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**BUY, type="STOP_LOSS", trailingDelta=1000).document
    emulator.price("50000")
    emulator.price("54999.99")
    assert found(client, order)["status"] == "NEW"
    emulator.price("55000")
    assert found(client, order)["status"] == "FILLED"


@pytest.mark.asyncio
async def test_unmodified_ccxt_places_market_stops_and_trailing_stops(exchange: Any, emulator: EmulatorProcess) -> None:
    stop = await exchange.create_order("BTC/USDT", "market", "sell", "0.1", None, {"stopLossPrice": "59500"})
    target = await exchange.create_order("BTC/USDT", "market", "sell", "0.1", None, {"takeProfitPrice": "60500"})
    trailing = await exchange.create_order("BTC/USDT", "STOP_LOSS", "sell", "0.1", None, {"trailingPercent": "1"})
    assert [order["info"]["type"] for order in (stop, target, trailing)] == ["STOP_LOSS", "TAKE_PROFIT", "STOP_LOSS"]
    assert trailing["info"]["trailingDelta"] == 100
    emulator.price("60500")
    emulator.price("59895")
    emulator.price("59500")
    for order in (stop, target, trailing):
        assert (await exchange.fetch_order(order["id"], "BTC/USDT"))["status"] == "closed"


def test_price_set_by_hand_is_what_the_market_shows(client: SignedClient, emulator: EmulatorProcess) -> None:
    emulator.price("61234.5", quantity="3")
    assert D(emulator.get("/api/v3/ticker/price", symbol="BTCUSDT")["price"]) == D("61234.5")
    book = emulator.get("/api/v3/ticker/bookTicker", symbol="BTCUSDT")
    assert D(book["bidPrice"]) < D(book["askPrice"]) == D("61234.5")
    assert D(emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1)[0][4]) == D("61234.5")


@pytest.mark.asyncio
async def test_streams_tell_of_a_price_set_by_hand(emulator: EmulatorProcess) -> None:
    async with connect(f"{emulator.ws_url}/ws/btcusdt@trade") as socket:
        emulator.price("60007", quantity="0.5")
        message = await socket.recv()
    assert all(part in str(message) for part in ('"e":"trade"', '"p":"60007.00000000"', '"q":"0.50000000"'))


def test_small_trade_fills_a_resting_order_in_part(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**BUY, type="LIMIT", timeInForce="GTC", price="59000").document
    emulator.price("58999", quantity="0.03")
    partly = found(client, order)
    assert (partly["status"], D(partly["executedQty"])) == ("PARTIALLY_FILLED", D("0.03"))
    assert balance(client, "USDT") == (D(1000000) - D(5900), D("4130"))


def test_thin_book_fills_an_arriving_order_in_part(client: SignedClient, emulator: EmulatorProcess) -> None:
    emulator.depth(bids=[("59990", "1")], asks=[("60010", "0.02"), ("60020", "5")])
    order = client.order(**BUY, type="LIMIT", timeInForce="GTC", price="60015").document
    assert (order["status"], D(order["executedQty"])) == ("PARTIALLY_FILLED", D("0.02"))
    assert emulator.get("/api/v3/depth", symbol="BTCUSDT")["asks"][0] == ["60010.00000000", "0.02000000"]


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/_price", {"symbol": "NOPE", "price": "1"}, 404),
        ("/_price", {"symbol": "BTCUSDT", "price": "0"}, 422),
        ("/_price", {"symbol": "BTCUSDT", "price": "sixty"}, 422),
        ("/_price", {"symbol": "BTCUSDT", "price": "60000", "quantity": "-1"}, 422),
        ("/_depth", {"symbol": "BTCUSDT", "bids": [["1", "1"]], "asks": [["1", "1"]]}, 422),
        ("/_depth", {"symbol": "BTCUSDT", "bids": [["1", "1"], ["2", "1"]], "asks": []}, 422),
        ("/_depth", {"symbol": "BTCUSDT", "bids": "many", "asks": []}, 422),
    ],
)
def test_prices_that_cannot_be_are_refused(emulator: EmulatorProcess, path: str, document: dict[str, object], status: int) -> None:
    assert emulator.request("POST", path, body=json.dumps(document).encode()).status == status
