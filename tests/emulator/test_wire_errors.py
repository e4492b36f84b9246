import http.client
import json
import time
import urllib.parse
from pathlib import Path

import pytest

from app.emulator.signature import sign, split_signature
from tests.emulator.conftest import SECRET, account_on
from tests.emulator_process import EmulatorProcess, SignedClient
from tests.shared_data import shared_data

MARKET_BUY: dict[str, str | int] = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
LIMIT_BUY: dict[str, str | int] = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.1",
    "price": "59000",
}


@pytest.fixture
def emulator(standing_emulator: EmulatorProcess) -> EmulatorProcess:
    return standing_emulator


def test_signatures_match_the_documented_vectors() -> None:
    document = json.loads((shared_data() / "binance-docs" / "signature-vectors.json").read_text())
    for vector in document["vectors"]:
        assert sign(document["secret_key"], vector["payload"]) == vector["signature"]


@pytest.mark.parametrize(
    ("query", "body"),
    [("a=1&b=2&signature=ff", ""), ("", "a=1&b=2&signature=ff"), ("a=1&signature=ff&b=2", ""), ("signature=ff", "a=1&b=2")],
)
def test_signature_is_found_wherever_it_stands(query: str, body: str) -> None:
    payload, found = split_signature(query, body)
    assert (payload.lstrip("&"), found) == ("a=1&b=2", "ff")


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.1000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "5000"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({"quantity": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"quantity": "-1"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "NaN"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "1e3"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": None}, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent"),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "WISH"}, -1116, "Invalid orderType."),
        ({"type": "STOP_LOSS"}, -1102, "Param 'stopPrice' or 'trailingDelta' must be sent"),
        ({"type": "STOP_LOSS", "trailingDelta": "9"}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"type": "STOP_LOSS", "trailingDelta": "2001"}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"type": "STOP_LOSS", "trailingDelta": "1.5"}, -1100, "Illegal characters found in parameter 'trailingDelta'"),
        ({"type": "STOP_LOSS", "stopPrice": "59000"}, -2010, "Stop price would trigger immediately."),
        ({"type": "TAKE_PROFIT", "stopPrice": "61000"}, -2010, "Stop price would trigger immediately."),
        ({"type": "STOP_LOSS", "stopPrice": "61000", "price": "61000"}, -1106, "Parameter 'price' sent when not required."),
        ({"trailingDelta": "100"}, -1106, "Parameter 'trailingDelta' sent when not required."),
        ({"side": None}, -1102, "Mandatory parameter 'side'"),
        ({"price": "1"}, -1106, "Parameter 'price' sent when not required."),
        ({"stopLoss": "1"}, -1104, "Not all sent parameters were read; read '5' parameter(s) but was sent '6'."),
        ({"newClientOrderId": "no spaces"}, -1100, "Illegal characters found in parameter 'newClientOrderId'"),
        ({"quantity": "20"}, -2010, "Account has insufficient balance for requested action."),
    ],
)
def test_bad_market_order_is_refused_in_the_venues_words(
    client: SignedClient, changes: dict[str, str | None], code: int, message: str
) -> None:
    merged = {**MARKET_BUY, **changes}
    reply = client.order(**{name: value for name, value in merged.items() if value is not None})
    assert (reply.status, reply.document["code"]) == (400, code)
    assert reply.document["msg"].startswith(message)
    assert client.placed() == []


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"price": "59000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "5900000"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"price": None}, -1102, "Mandatory parameter 'price'"),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce'"),
        ({"quoteOrderQty": "100"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"type": "STOP_LOSS_LIMIT", "side": "SELL", "stopPrice": "60100"}, -2010, "Stop price would trigger immediately."),
        ({"type": "TAKE_PROFIT_LIMIT", "stopPrice": "60100"}, -2010, "Stop price would trigger immediately."),
    ],
)
def test_bad_limit_order_is_refused_in_the_venues_words(
    client: SignedClient, changes: dict[str, str | None], code: int, message: str
) -> None:
    merged = {**LIMIT_BUY, **changes}
    reply = client.order(**{name: value for name, value in merged.items() if value is not None})
    assert (reply.status, reply.document["code"]) == (400, code)
    assert reply.document["msg"].startswith(message)


def test_order_test_checks_without_placing(client: SignedClient) -> None:
    assert client.call("POST", "/api/v3/order/test", MARKET_BUY).document == {}
    assert client.call("POST", "/api/v3/order/test", {**MARKET_BUY, "quantity": "20"}).document["code"] == -2010
    assert client.placed() == []


def test_wrong_secret_is_refused(client: SignedClient) -> None:
    reply = SignedClient(emulator=client.emulator, api_key=client.api_key, api_secret="wrong").order(**MARKET_BUY)
    assert (reply.status, reply.document) == (400, {"code": -1022, "msg": "Signature for this request is not valid."})


def test_unknown_key_is_refused(emulator: EmulatorProcess) -> None:
    reply = SignedClient(emulator=emulator, api_key="stranger", api_secret=SECRET).call("GET", "/api/v3/account")
    assert (reply.status, reply.document["code"]) == (401, -2015)


def test_missing_key_is_refused(emulator: EmulatorProcess) -> None:
    reply = emulator.request("GET", "/api/v3/account?timestamp=1&signature=ff")
    assert (reply.status, reply.document["code"]) == (401, -2014)


@pytest.mark.parametrize(("offset_ms", "message"), [(-5_500, "outside of the recvWindow"), (2_000, "ahead of the server's time")])
def test_request_from_another_time_is_refused(client: SignedClient, offset_ms: int, message: str) -> None:
    reply = client.call("POST", "/api/v3/order", MARKET_BUY, timestamp=time.time_ns() // 1_000_000 + offset_ms)
    assert (reply.status, reply.document["code"]) == (400, -1021)
    assert message in reply.document["msg"]
    assert client.placed() == []


def test_longer_window_lets_an_older_request_in(client: SignedClient) -> None:
    moment = time.time_ns() // 1_000_000 - 20_000
    assert client.call("GET", "/api/v3/account", {"recvWindow": 30_000}, timestamp=moment).status == 200
    assert client.call("GET", "/api/v3/account", {"recvWindow": 70_000}).document["code"] == -1131


def test_missing_signature_and_timestamp_are_named(client: SignedClient) -> None:
    headers = {"X-MBX-APIKEY": client.api_key}
    for query, name in (("timestamp=1", "signature"), ("signature=ff", "timestamp")):
        reply = client.emulator.request("GET", f"/api/v3/account?{query}", headers=headers)
        assert (reply.document["code"], f"'{name}'" in reply.document["msg"]) == (-1102, True)


def test_unknown_orders_have_their_own_codes(client: SignedClient) -> None:
    wanted = {"symbol": "BTCUSDT", "origClientOrderId": "never-sent"}
    assert client.call("GET", "/api/v3/order", wanted).document["code"] == -2013
    assert client.call("DELETE", "/api/v3/order", wanted).document["code"] == -2011
    assert client.call("DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).document["code"] == -2011
    assert client.call("GET", "/api/v3/order", {"symbol": "BTCUSDT"}).document["code"] == -1102


def test_trades_are_read_on_from_an_id(client: SignedClient) -> None:
    for _ in range(3):
        client.order(**MARKET_BUY)
    everything = client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}).document
    rest = client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "fromId": everything[1]["id"]}).document
    assert rest == everything[1:]
    of_order = client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "orderId": everything[0]["orderId"]}).document
    assert of_order == everything[:1]


def test_one_account_never_sees_anothers_orders(client: SignedClient) -> None:
    mine = client.order(**LIMIT_BUY, newClientOrderId="mine").document
    other = account_on(client.emulator)
    assert other.call("GET", "/api/v3/openOrders").document == []
    assert other.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": "mine"}).document["code"] == -2013
    assert other.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": mine["orderId"]}).document["code"] == -2013


def test_orders_tell_when_their_body_had_been_read(client: SignedClient) -> None:
    before = time.time_ns()
    client.order(**MARKET_BUY)
    (order,) = client.placed()
    assert before < order["received_ns"] < time.time_ns()


def test_unknown_paths_and_repeated_parameters_are_errors(emulator: EmulatorProcess) -> None:
    assert emulator.request("GET", "/api/v3/nothing").status == 404
    assert emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="7m")["code"] == -1120
    assert emulator.request("GET", "/api/v3/depth?symbol=BTCUSDT&symbol=BTCUSDT").document["code"] == -1101
    assert emulator.get("/api/v3/depth")["code"] == -1102
    assert emulator.get("/api/v3/exchangeInfo", symbols='["BTCUSDT","BTCUSDT"]')["code"] == -1151


def test_web_pages_cannot_use_the_control_interface(emulator: EmulatorProcess) -> None:
    parts = urllib.parse.urlsplit(emulator.url)
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        connection.request("GET", "/_state", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()


def test_state_shows_no_secret(emulator: EmulatorProcess) -> None:
    assert SECRET not in json.dumps(emulator.state())


def test_other_machines_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="loopback only"):
        EmulatorProcess("--host", "0.0.0.0").start()
