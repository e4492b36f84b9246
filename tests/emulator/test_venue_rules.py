import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tests.emulator.conftest import NOW_MINUTE, PRICES, SECRET, StartEmulator, account_on
from tests.emulator.test_order_lists import OCO, OTO, place
from tests.emulator.test_user_events import api_of
from tests.emulator.trading import BUY, SELL, D, balance, found, statuses
from tests.emulator_process import EmulatorProcess, SignedClient, steps, write_candles

LIMIT: dict[str, str | int] = {**BUY, "type": "LIMIT", "timeInForce": "GTC", "price": "59000"}
REFUSED = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> Iterator[EmulatorProcess]:
    yield at_60000
    at_60000.change_symbol(status="TRADING", tick="0.01", step="0.00001", min_notional="5")


def test_symbol_says_which_orders_it_takes(emulator: EmulatorProcess) -> None:
    (symbol,) = emulator.get("/api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"]
    allowed = ("ocoAllowed", "otoAllowed", "cancelReplaceAllowed", "allowTrailingStop", "amendAllowed", "quoteOrderQtyMarketAllowed")
    assert [symbol[name] for name in allowed] == [True] * len(allowed)
    assert not symbol["icebergAllowed"]
    assert set(symbol["orderTypes"]) >= {"STOP_LOSS", "TAKE_PROFIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT", "LIMIT_MAKER"}


@pytest.mark.parametrize("status", ["HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY"])
def test_closed_market_takes_no_order_but_lets_cancel(client: SignedClient, emulator: EmulatorProcess, status: str) -> None:
    resting = client.order(**LIMIT).document
    emulator.change_symbol(status=status)
    assert emulator.get("/api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"][0]["status"] == status
    refused = {"code": -1013, "msg": "Market is closed."}
    assert client.order(**LIMIT).document == refused
    assert client.call("POST", "/api/v3/orderList/oco", OCO).document == refused
    replacement = {**LIMIT, "cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": resting["orderId"]}
    assert client.call("POST", "/api/v3/order/cancelReplace", replacement).document == refused
    amended = {"symbol": "BTCUSDT", "orderId": resting["orderId"], "newQty": "0.05"}
    assert client.call("PUT", "/api/v3/order/amend/keepPriority", amended).document == refused
    assert found(client, resting)["status"] == "NEW"
    assert client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": resting["orderId"]}).document["status"] == "CANCELED"


def test_halted_market_fills_and_triggers_nothing_until_it_opens(client: SignedClient, emulator: EmulatorProcess) -> None:
    resting, stop = client.order(**LIMIT).document, client.order(**SELL, type="STOP_LOSS", stopPrice="58500").document
    emulator.change_symbol(status="HALT")
    emulator.price("58000", quantity="1")
    assert [found(client, each)["status"] for each in (resting, stop)] == ["NEW", "NEW"]
    emulator.change_symbol(status="TRADING")
    emulator.price("58000", quantity="1")
    assert [found(client, each)["status"] for each in (resting, stop)] == ["FILLED", "FILLED"]


def test_filters_can_change_between_two_orders(client: SignedClient, emulator: EmulatorProcess) -> None:
    emulator.change_symbol(tick="0.1", step="0.001", min_notional="100")
    for changes, name in (
        ({"price": "59000.05"}, "PRICE_FILTER"),
        ({"quantity": "0.0105"}, "LOT_SIZE"),
        ({"quantity": "0.001"}, "NOTIONAL"),
    ):
        assert client.order(**{**LIMIT, **changes}).document == {"code": -1013, "msg": f"Filter failure: {name}"}
    filters = {each["filterType"]: each for each in emulator.get("/api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"][0]["filters"]}
    assert D(filters["PRICE_FILTER"]["tickSize"]) == D("0.1")
    assert D(filters["LOT_SIZE"]["stepSize"]) == D(filters["LOT_SIZE"]["minQty"]) == D("0.001")
    assert D(filters["NOTIONAL"]["minNotional"]) == 100
    bought = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quoteOrderQty="150").document
    assert D(bought["executedQty"]) == D("0.002")


def test_pending_exit_meets_the_filters_of_its_own_time(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "oto", OTO, pendingStopPrice="58000.05")
    emulator.change_symbol(tick="0.1")
    emulator.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "EXPIRED"]
    assert found(client, placed["orders"][1])["expiryReason"] == "REJECTED"


@pytest.mark.asyncio
async def test_ccxt_sees_the_halt(exchange: Any, emulator: EmulatorProcess) -> None:
    await exchange.load_markets()
    emulator.change_symbol(status="BREAK")
    with pytest.raises(ccxt.MarketClosed):
        await exchange.create_order("BTC/USDT", "limit", "buy", "0.1", "59000")
    assert (await exchange.load_markets(True))["BTC/USDT"]["active"] is False


@pytest.mark.parametrize("permission", [{"revoked": True}, {"ip_allowed": False}])
def test_key_that_is_not_let_in_can_do_nothing(client: SignedClient, emulator: EmulatorProcess, permission: dict[str, bool]) -> None:
    order = client.order(**LIMIT).document
    emulator.change_key(client.api_key, **permission)
    for method, path, params in (("GET", "/api/v3/account", {}), ("POST", "/api/v3/order", LIMIT), ("DELETE", "/api/v3/openOrders", BUY)):
        reply = client.call(method, path, params)
        assert (reply.status, reply.document) == (401, REFUSED)
    emulator.change_key(client.api_key, revoked=False, ip_allowed=True)
    assert found(client, order)["status"] == "NEW"


def test_key_that_may_only_read_does_not_trade(client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**LIMIT).document
    emulator.change_key(client.api_key, read_only=True)
    replacement = {**LIMIT, "cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": order["orderId"]}
    for method, path, params in (
        ("POST", "/api/v3/order", LIMIT),
        ("POST", "/api/v3/orderList/oco", OCO),
        ("POST", "/api/v3/order/cancelReplace", replacement),
        ("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": order["orderId"]}),
    ):
        reply = client.call(method, path, params)
        assert (reply.status, reply.document) == (401, REFUSED)
    assert found(client, order)["status"] == "NEW"


@pytest.mark.asyncio
async def test_stream_of_a_key_ends_with_its_permission(client: SignedClient, emulator: EmulatorProcess) -> None:
    async with api_of(emulator) as api:
        await api.subscribe(client)
        emulator.change_key(client.api_key, ip_allowed=False)
        assert (await api.event())["event"]["e"] == "eventStreamTerminated"
        assert (await api.subscribe(client))["error"]["code"] == -2015


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/_symbols", {"symbol": "NOPE", "status": "HALT"}, 404),
        ("/_symbols", {"symbol": "BTCUSDT", "status": "CLOSED"}, 422),
        ("/_symbols", {"symbol": "BTCUSDT", "tick": "0"}, 422),
        ("/_symbols", {"symbol": "BTCUSDT", "colour": "1"}, 422),
        ("/_keys", {"api_key": "nobody"}, 404),
    ],
)
def test_rules_that_cannot_be_are_refused(emulator: EmulatorProcess, path: str, document: dict[str, object], status: int) -> None:
    assert emulator.request("POST", path, body=json.dumps(document).encode()).status == status


# -- fees in BNB ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_bnb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """A venue with BTC at 60000 and BNB at 600."""
    folder = tmp_path_factory.mktemp("with-bnb")
    btc = write_candles(folder / "binance-BTCUSDT-1m-x.csv", steps(PRICES))
    bnb = write_candles(folder / "binance-BNBUSDT-1m-x.csv", steps([600.0] * len(PRICES)))
    with EmulatorProcess("--replay", str(btc), "--replay", str(bnb), "--history", str(NOW_MINUTE), "--paused") as process:
        yield process


def payer(emulator: EmulatorProcess, *, bnb: str) -> SignedClient:
    client = account_on(emulator)
    emulator.open_account(client.api_key, SECRET, {"USDT": "1000000", "BTC": "1", "BNB": bnb}, bnb_fee=True)
    return client


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_fee_in_bnb_is_a_quarter_less_and_leaves_the_fill_whole(with_bnb: EmulatorProcess, side: str) -> None:
    client = payer(with_bnb, bnb="1")
    order = client.order(symbol="BTCUSDT", side=side, type="MARKET", quantity="0.1").document
    value = D(order["cummulativeQuoteQty"])
    (fill,) = order["fills"]
    assert (fill["commissionAsset"], D(fill["commission"])) == ("BNB", (value * D("0.00075") / 600).quantize(D("0.00000001"), "ROUND_DOWN"))
    assert balance(client, "BNB")[0] == 1 - D(fill["commission"])
    assert balance(client, "BTC")[0] == (D("1.1") if side == "BUY" else D("0.9"))
    (trade,) = client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}).document
    assert (trade["commission"], trade["commissionAsset"]) == (fill["commission"], "BNB")


def test_too_little_bnb_takes_the_whole_fee_from_what_comes_in(with_bnb: EmulatorProcess) -> None:
    client = payer(with_bnb, bnb="0.001")
    (fill,) = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1").document["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.00010000", "BTC")
    assert balance(client, "BNB")[0] == D("0.001")


def test_without_a_price_of_bnb_fees_come_from_what_comes_in(emulator: EmulatorProcess) -> None:
    client = payer(emulator, bnb="1")
    (fill,) = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1").document["fills"]
    assert fill["commissionAsset"] == "BTC"
    discount = client.call("GET", "/api/v3/account/commission", {"symbol": "BTCUSDT"}).document["discount"]
    assert (discount["enabledForAccount"], discount["enabledForSymbol"]) == (True, False)


def test_fee_in_bnb_lets_a_bracket_sell_all_it_bought(with_bnb: EmulatorProcess) -> None:
    client = payer(with_bnb, bnb="1")
    with_bnb.open_account(client.api_key, SECRET, {"USDT": "10000", "BNB": "1"}, bnb_fee=True)
    placed = place(client, "oto", OTO)
    with_bnb.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "NEW"]
    with_bnb.price("60000")


def test_rules_permissions_and_fee_wishes_survive_a_restart(start_emulator: StartEmulator, script: Path, tmp_path: Path) -> None:
    arguments = ("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--state", str(tmp_path / "state.json"))
    first = start_emulator(*arguments)
    client, reader = payer(first, bnb="1"), account_on(first)
    first.change_symbol(status="HALT", tick="0.5", step="0.01", min_notional="50")
    first.change_key(reader.api_key, read_only=True)
    info = first.get("/api/v3/exchangeInfo")["symbols"]
    first.stop()

    second = start_emulator(*arguments)
    assert second.get("/api/v3/exchangeInfo")["symbols"] == info
    client, reader = (SignedClient(emulator=second, api_key=each.api_key, api_secret=SECRET) for each in (client, reader))
    assert reader.order(**LIMIT).document == REFUSED
    commission = client.call("GET", "/api/v3/account/commission", {"symbol": "BTCUSDT"}).document
    assert commission["discount"]["enabledForAccount"] is True
