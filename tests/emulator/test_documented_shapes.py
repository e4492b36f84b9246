"""Every answer of the trading endpoints carries the fields of the example in the venue's documentation, nested ones included."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulator.test_order_lists import OCO, OTO, OTOCO, place
from tests.emulator.trading import BUY, SELL
from tests.emulator_process import EmulatorProcess, SignedClient
from tests.shared_data import shared_data

# What this venue never shows: icebergs are refused, and accounts have no number.
NOT_HERE = {"icebergQty", "uid"}

LIMIT: dict[str, str | int] = {**BUY, "type": "LIMIT", "timeInForce": "GTC", "price": "59000"}
BTC = {"symbol": "BTCUSDT"}


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> EmulatorProcess:
    return at_60000


def market_order(kind: str) -> Callable[[SignedClient], Any]:
    return lambda client: client.order(**SELL, type="MARKET", newOrderRespType=kind).document


def canceled(client: SignedClient) -> Any:
    client.order(**LIMIT, newClientOrderId="mine")
    return client.call("DELETE", "/api/v3/order", {**BTC, "origClientOrderId": "mine"}).document


def all_canceled(client: SignedClient) -> Any:
    client.order(**LIMIT)
    client.order(**LIMIT)
    place(client, "oco", OCO)
    return client.call("DELETE", "/api/v3/openOrders", BTC).document


def list_canceled(client: SignedClient) -> Any:
    placed = place(client, "oco", OCO)
    return client.call("DELETE", "/api/v3/orderList", {**BTC, "orderListId": placed["orderListId"]}).document


def old_oco(client: SignedClient) -> Any:
    return client.call("POST", "/api/v3/order/oco", {**BUY, "price": "59000", "stopPrice": "61000", "newOrderRespType": "RESULT"}).document


def after_order(path: str) -> Callable[[SignedClient], Any]:
    def ask(client: SignedClient) -> Any:
        order = client.order(**LIMIT).document
        return client.call("GET", path, {**BTC, "orderId": order["orderId"]} if path.endswith("/order") else BTC).document

    return ask


def after_list(path: str) -> Callable[[SignedClient], Any]:
    def ask(client: SignedClient) -> Any:
        placed = place(client, "oco", OCO)
        return client.call("GET", path, {"orderListId": placed["orderListId"]} if path.endswith("/orderList") else {}).document

    return ask


def replaced(mode: str, *, old: bool, new: bool) -> Callable[[SignedClient], Any]:
    def ask(client: SignedClient) -> Any:
        order = client.order(**LIMIT).document
        wanted = {**LIMIT, "cancelReplaceMode": mode, "cancelOrderId": order["orderId"] if old else 0}
        return client.call("POST", "/api/v3/order/cancelReplace", wanted if new else {**wanted, "quantity": "19"}).document

    return ask


def amended(client: SignedClient, placed: dict[str, Any]) -> Any:
    return client.call("PUT", "/api/v3/order/amend/keepPriority", {**BTC, "orderId": placed["orderId"], "newQty": "0.05"}).document


def amended_alone(client: SignedClient) -> Any:
    return amended(client, client.order(**LIMIT).document)


def amended_twice(client: SignedClient) -> Any:
    order = client.order(**LIMIT).document
    amended(client, order)
    client.call("PUT", "/api/v3/order/amend/keepPriority", {**BTC, "orderId": order["orderId"], "newQty": "0.04"})
    return client.call("GET", "/api/v3/order/amendments", {**BTC, "orderId": order["orderId"]}).document


def trades(client: SignedClient) -> Any:
    client.order(**SELL, type="MARKET")
    return client.call("GET", "/api/v3/myTrades", BTC).document


ANSWERS: dict[tuple[str, str], Callable[[SignedClient], Any]] = {
    ("POST /api/v3/order", "Response - ACK:"): market_order("ACK"),
    ("POST /api/v3/order", "Response - RESULT:"): market_order("RESULT"),
    ("POST /api/v3/order", "Response - FULL:"): market_order("FULL"),
    ("DELETE /api/v3/order", "Response:"): canceled,
    ("DELETE /api/v3/openOrders", "Response:"): all_canceled,
    ("POST /api/v3/order/oco", "Response:"): old_oco,
    ("POST /api/v3/orderList/oco", "Response format"): lambda client: place(client, "oco", OCO, belowType="STOP_LOSS"),
    ("POST /api/v3/orderList/oto", "Response:"): lambda client: place(client, "oto", OTO),
    ("POST /api/v3/orderList/otoco", "Response:"): lambda client: place(client, "otoco", OTOCO),
    ("DELETE /api/v3/orderList", "Response:"): list_canceled,
    ("POST /api/v3/order/cancelReplace", "Response SUCCESS"): replaced("STOP_ON_FAILURE", old=True, new=True),
    ("POST /api/v3/order/cancelReplace", "Response when Cancel Order Fails"): replaced("STOP_ON_FAILURE", old=False, new=True),
    ("POST /api/v3/order/cancelReplace", "Response when Cancel Order Succeeds"): replaced("STOP_ON_FAILURE", old=True, new=False),
    ("POST /api/v3/order/cancelReplace", "Response when Cancel Order fails"): replaced("ALLOW_FAILURE", old=False, new=True),
    ("POST /api/v3/order/cancelReplace", "Response when both"): replaced("ALLOW_FAILURE", old=False, new=False),
    ("PUT /api/v3/order/amend/keepPriority", "Response for a single order:"): lambda client: amended(
        client, client.order(**LIMIT).document
    ),
    ("PUT /api/v3/order/amend/keepPriority", "Response for an order that is part"): (
        lambda client: amended(client, place(client, "oto", OTO)["orders"][1])
    ),
    ("GET /api/v3/order/amendments", "Response:"): amended_twice,
    ("GET /api/v3/order", "Response:"): after_order("/api/v3/order"),
    ("GET /api/v3/openOrders", "Response:"): after_order("/api/v3/openOrders"),
    ("GET /api/v3/allOrders", "Response:"): after_order("/api/v3/allOrders"),
    ("GET /api/v3/orderList", "Response:"): after_list("/api/v3/orderList"),
    ("GET /api/v3/allOrderList", "Response:"): after_list("/api/v3/allOrderList"),
    ("GET /api/v3/openOrderList", "Response:"): after_list("/api/v3/openOrderList"),
    ("GET /api/v3/myTrades", "Response:"): trades,
    ("GET /api/v3/account/commission", "Response:"): lambda client: client.call("GET", "/api/v3/account/commission", BTC).document,
    ("GET /api/v3/account", "Response:"): lambda client: client.call("GET", "/api/v3/account").document,
}


@pytest.mark.parametrize(("endpoint", "label"), ANSWERS)
def test_answer_carries_every_documented_field(client: SignedClient, endpoint: str, label: str) -> None:
    found = [
        example["json"]
        for example in map(json.loads, (shared_data() / "binance-docs" / "examples.jsonl").read_text().splitlines())
        if example["doc"] == "rest-api.md" and example["endpoint"] == endpoint and example["label"].startswith(label)
    ]
    assert len(found) == 1
    assert list(missing(found[0], ANSWERS[endpoint, label](client))) == []


def missing(documented: Any, answered: Any, at: str = "") -> Iterator[str]:
    """Yield where an answer lacks a field, or has something of another kind in its place."""
    if isinstance(documented, dict) and isinstance(answered, dict):
        for name in documented.keys() - NOT_HERE:
            if name in answered:
                yield from missing(documented[name], answered[name], f"{at}.{name}")
            else:
                yield f"{at}.{name}"
    elif isinstance(documented, list) and isinstance(answered, list):
        for index, (expected, got) in enumerate(zip(documented, answered, strict=False)):
            yield from missing(expected, got, f"{at}[{index}]")
        if documented and not answered:
            yield f"{at}[0]"
    elif type(documented) is not type(answered):
        yield f"{at} is {answered!r}, documented {documented!r}"
