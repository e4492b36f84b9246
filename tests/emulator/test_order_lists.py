from typing import Any

import pytest

from tests.emulator.conftest import account_on
from tests.emulator.trading import BUY, SELL, D, balance, found, statuses
from tests.emulator_process import EmulatorProcess, SignedClient

OCO: dict[str, str | int] = {
    **SELL,
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "61000",
    "belowType": "STOP_LOSS",
    "belowStopPrice": "59000",
}
WORKING: dict[str, str | int] = {
    "symbol": "BTCUSDT",
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "59500",
    "workingQuantity": "0.1",
    "workingTimeInForce": "GTC",
}
OTO: dict[str, str | int] = {
    **WORKING,
    "pendingType": "STOP_LOSS",
    "pendingSide": "SELL",
    "pendingQuantity": "0.1",
    "pendingStopPrice": "58000",
}
OTOCO: dict[str, str | int] = {
    **WORKING,
    "pendingSide": "SELL",
    "pendingQuantity": "0.1",
    "pendingAboveType": "LIMIT_MAKER",
    "pendingAbovePrice": "61000",
    "pendingBelowType": "STOP_LOSS_LIMIT",
    "pendingBelowStopPrice": "58000",
    "pendingBelowPrice": "57000",
    "pendingBelowTimeInForce": "GTC",
}


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> EmulatorProcess:
    return at_60000


def place(client: SignedClient, kind: str, params: dict[str, str | int], **changes: str | int | None) -> dict[str, Any]:
    merged = {name: value for name, value in {**params, **changes}.items() if value is not None}
    reply = client.call("POST", f"/api/v3/orderList/{kind}", merged)
    assert reply.status == 200, reply
    document: dict[str, Any] = reply.document
    return document


def listed(client: SignedClient, placed: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = client.call("GET", "/api/v3/orderList", {"orderListId": placed["orderListId"]}).document
    return document


def test_oco_holds_the_quantity_once_and_starts_with_both_legs(client: SignedClient) -> None:
    placed = place(client, "oco", OCO, listClientOrderId="pair", aboveClientOrderId="up", belowClientOrderId="down")
    assert (placed["contingencyType"], placed["listStatusType"], placed["listOrderStatus"]) == ("OCO", "EXEC_STARTED", "EXECUTING")
    assert placed["listClientOrderId"] == "pair"
    stop, target = placed["orderReports"]
    assert [(leg["clientOrderId"], leg["type"], leg["status"]) for leg in (stop, target)] == [
        ("down", "STOP_LOSS", "NEW"),
        ("up", "LIMIT_MAKER", "NEW"),
    ]
    assert (stop["workingTime"], target["workingTime"]) == (-1, target["transactTime"])
    assert {leg["orderListId"] for leg in (stop, target)} == {placed["orderListId"]}
    assert balance(client, "BTC") == (D("0.9"), D("0.1"))


@pytest.mark.parametrize(("quantity", "status"), [("1", "FILLED"), ("0.04", "PARTIALLY_FILLED")])
def test_leg_that_fills_even_in_part_expires_the_other(client: SignedClient, emulator: EmulatorProcess, quantity: str, status: str) -> None:
    placed = place(client, "oco", OCO)
    emulator.price("61000.01", quantity=quantity)
    assert statuses(client, placed) == ["EXPIRED", status]
    assert found(client, placed["orders"][0])["expiryReason"] == "OCO_TRIGGER"
    assert listed(client, placed)["listStatusType"] == ("ALL_DONE" if status == "FILLED" else "EXEC_STARTED")
    emulator.price("58000")
    assert statuses(client, placed) == ["EXPIRED", status]
    free, locked = balance(client, "BTC")
    assert (free, locked) == (D("0.9"), D(0) if status == "FILLED" else D("0.06"))


def test_leg_that_triggers_expires_the_other_and_sells(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "oco", OCO)
    emulator.price("59000")
    assert statuses(client, placed) == ["FILLED", "EXPIRED"]
    assert listed(client, placed)["listOrderStatus"] == "ALL_DONE"
    emulator.price("62000")
    assert len(client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}).document) == 1
    assert balance(client, "BTC") == (D("0.9"), D(0))


def test_triggered_limit_leg_keeps_the_pairs_funds_while_it_rests(client: SignedClient, emulator: EmulatorProcess) -> None:
    stop = {"belowType": "STOP_LOSS_LIMIT", "belowPrice": "60500", "belowTimeInForce": "GTC"}
    placed = place(client, "oco", OCO, **stop)
    emulator.price("59000")
    assert statuses(client, placed) == ["NEW", "EXPIRED"]
    assert balance(client, "BTC") == (D("0.9"), D("0.1"))
    emulator.price("60501", quantity="1")
    assert statuses(client, placed) == ["FILLED", "EXPIRED"]


def test_buy_oco_holds_what_its_dearer_leg_may_cost(client: SignedClient, emulator: EmulatorProcess) -> None:
    legs = {"aboveType": "STOP_LOSS_LIMIT", "aboveStopPrice": "61000", "abovePrice": "62000", "aboveTimeInForce": "GTC"}
    placed = place(client, "oco", {**BUY, **legs, "belowType": "LIMIT_MAKER", "belowPrice": "59000"})
    assert balance(client, "USDT") == (D(1000000 - 6200), D(6200))
    emulator.price("58999", quantity="0.05")
    assert statuses(client, placed) == ["EXPIRED", "PARTIALLY_FILLED"]
    assert balance(client, "USDT") == (D(1000000 - 5900), D(2950))


def test_trailing_leg_of_an_oco_follows_the_market(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "oco", OCO, abovePrice="65000", belowStopPrice=None, belowTrailingDelta=100)
    emulator.price("62000")
    emulator.price("61380")
    assert statuses(client, placed) == ["FILLED", "EXPIRED"]


def test_canceling_one_leg_cancels_the_list(client: SignedClient) -> None:
    placed = place(client, "oco", OCO)
    reply = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": placed["orders"][1]["orderId"]})
    assert (reply.document["status"], reply.document["orderListId"]) == ("CANCELED", placed["orderListId"])
    assert statuses(client, placed) == ["CANCELED", "CANCELED"]
    assert client.call("GET", "/api/v3/openOrderList").document == []
    assert balance(client, "BTC") == (D(1), D(0))


def test_list_is_canceled_by_either_of_its_ids(client: SignedClient) -> None:
    for ids in ({"listClientOrderId": "mine"}, {}):
        placed = place(client, "oco", OCO, **ids)
        wanted = ids or {"orderListId": placed["orderListId"]}
        reply = client.call("DELETE", "/api/v3/orderList", {"symbol": "BTCUSDT", **wanted, "newClientOrderId": "stop-it"})
        assert (reply.document["listStatusType"], reply.document["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
        assert [(each["status"], each["clientOrderId"]) for each in reply.document["orderReports"]] == [("CANCELED", "stop-it")] * 2
        assert client.call("DELETE", "/api/v3/orderList", {"symbol": "BTCUSDT", **wanted}).document["code"] == -2011


def test_cancel_all_shows_lists_as_lists(client: SignedClient) -> None:
    placed = place(client, "oco", OCO)
    single = client.order(**BUY, type="LIMIT", timeInForce="GTC", price="59000").document
    document = client.call("DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).document
    assert [each.get("orderId", each["orderListId"]) for each in document] == [placed["orderListId"], single["orderId"]]
    assert [each["status"] for each in document[0]["orderReports"]] == ["CANCELED", "CANCELED"]
    assert client.call("GET", "/api/v3/openOrders").document == []


def test_pending_order_waits_for_the_whole_working_one(client: SignedClient, emulator: EmulatorProcess) -> None:
    emulator.open_account(client.api_key, client.api_secret, {"USDT": "1000000", "BTC": "1"})
    placed = place(client, "oto", OTO)
    assert placed["contingencyType"] == "OTO"
    assert [each["status"] for each in placed["orderReports"]] == ["NEW", "PENDING_NEW"]
    assert balance(client, "BTC") == (D(1), D(0))
    emulator.price("59499", quantity="0.05")
    assert statuses(client, placed) == ["PARTIALLY_FILLED", "PENDING_NEW"]
    emulator.price("57000", quantity="0.01")
    assert statuses(client, placed) == ["PARTIALLY_FILLED", "PENDING_NEW"]
    emulator.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "NEW"]
    assert balance(client, "BTC")[1] == D("0.1")
    emulator.price("58000")
    assert statuses(client, placed) == ["FILLED", "FILLED"]
    assert listed(client, placed)["listOrderStatus"] == "ALL_DONE"


def test_answer_shows_the_pending_order_as_pending_even_when_the_working_one_is_filled_at_once(client: SignedClient) -> None:
    placed = place(client, "oto", OTO, workingPrice="60100")
    assert [each["status"] for each in placed["orderReports"]] == ["FILLED", "PENDING_NEW"]
    assert statuses(client, placed) == ["FILLED", "NEW"]


def test_pending_order_ends_with_a_working_one_that_expires(client: SignedClient) -> None:
    placed = place(client, "oto", OTO, workingTimeInForce="FOK")
    assert statuses(client, placed) == ["EXPIRED", "EXPIRED"]
    reasons = [found(client, order)["expiryReason"] for order in placed["orders"]]
    assert reasons == ["UNFILLED_FOK_ORDER_EXPIRED", "OTO_PHASE_ONE_EXPIRED"]


def test_pending_order_can_be_a_market_order(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "oto", OTO, pendingType="MARKET", pendingStopPrice=None)
    emulator.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "FILLED"]


def test_bracket_places_its_exits_when_the_entry_is_filled(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "otoco", OTOCO)
    assert placed["contingencyType"] == "OTO"
    assert [(each["type"], each["status"]) for each in placed["orderReports"]] == [
        ("LIMIT", "NEW"),
        ("STOP_LOSS_LIMIT", "PENDING_NEW"),
        ("LIMIT_MAKER", "PENDING_NEW"),
    ]
    emulator.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "NEW", "NEW"]
    assert balance(client, "BTC")[1] == D("0.1")
    emulator.price("61001", quantity="1")
    assert statuses(client, placed) == ["FILLED", "EXPIRED", "FILLED"]
    assert listed(client, placed)["listStatusType"] == "ALL_DONE"


def test_exits_of_what_the_fee_has_left_are_refused_as_the_venue_does(emulator: EmulatorProcess) -> None:
    client = account_on(emulator)
    emulator.open_account(client.api_key, client.api_secret, {"USDT": "10000"})
    placed = place(client, "otoco", OTOCO)
    emulator.price("59499", quantity="1")
    assert statuses(client, placed) == ["FILLED", "EXPIRED", "EXPIRED"]
    assert [found(client, order)["expiryReason"] for order in placed["orders"][1:]] == ["REJECTED", "OCO_TRIGGER"]
    assert balance(client, "BTC") == (D("0.0999"), D(0))


def test_exits_the_market_has_already_passed_are_refused(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "otoco", OTOCO)
    emulator.price("57500", quantity="1")
    assert statuses(client, placed) == ["FILLED", "EXPIRED", "EXPIRED"]


def test_canceling_the_working_order_cancels_those_that_wait(client: SignedClient) -> None:
    placed = place(client, "otoco", OTOCO)
    client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": placed["orders"][0]["orderId"]})
    assert statuses(client, placed) == ["CANCELED"] * 3
    assert balance(client, "USDT") == (D(1000000), D(0))


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity'"),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"aboveType": "LIMIT"}, -1158, "Order type not supported in OCO."),
        ({"aboveType": "STOP_LOSS"}, -1197, "A stop loss order in a sell OCO must be below."),
        ({"belowType": "TAKE_PROFIT"}, -1199, "A take profit order in a sell OCO must be above."),
        ({"belowType": "LIMIT_MAKER"}, -1168, "At least one OCO order must be contingent."),
        ({"aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"}, -1166, "A limit order in a sell OCO must be above."),
        ({"side": "BUY"}, -1196, "A stop loss order in a buy OCO must be above."),
        ({"side": "BUY", "aboveType": "LIMIT_MAKER", "belowType": "TAKE_PROFIT"}, -1165, "A limit order in a buy OCO must be below."),
        ({"side": "BUY", "aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"}, -1198, "A take profit order in a buy OCO must be below."),
        ({"belowStopPrice": None}, -1102, "Param 'belowStopPrice' or 'belowTrailingDelta' must be sent"),
        ({"belowPrice": "58000"}, -1106, "Parameter 'belowPrice' sent when not required."),
        ({"aboveIcebergQty": "0.01"}, -2010, "Iceberg orders are not supported for this symbol."),
        ({"abovePrice": "59900"}, -2010, "The relationship of the prices for the orders is not correct."),
        ({"belowStopPrice": "60500"}, -2010, "The relationship of the prices for the orders is not correct."),
        ({"abovePrice": "61000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "2"}, -2010, "Account has insufficient balance for requested action."),
        ({"aboveClientOrderId": "same", "belowClientOrderId": "same"}, -2010, "Duplicate order sent."),
        ({"stopPrice": "1"}, -1104, "Not all sent parameters were read"),
    ],
)
def test_bad_oco_is_refused_in_the_venues_words(client: SignedClient, changes: dict[str, str | None], code: int, message: str) -> None:
    merged = {name: value for name, value in {**OCO, **changes}.items() if value is not None}
    reply = client.call("POST", "/api/v3/orderList/oco", merged)
    assert (reply.status, reply.document["code"]) == (400, code)
    assert reply.document["msg"].startswith(message)
    assert client.placed() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"workingType": "MARKET"}, -1116),
        ({"workingPrice": None}, -1102),
        ({"pendingType": "MARKET"}, -1106),
        ({"pendingQuantity": "0.0000001"}, -1013),
        ({"workingQuantity": "100"}, -2010),
        ({"workingType": "LIMIT_MAKER", "workingTimeInForce": None, "workingPrice": "60100"}, -2010),
    ],
)
def test_bad_oto_is_refused(client: SignedClient, changes: dict[str, str | None], code: int) -> None:
    merged = {name: value for name, value in {**OTO, **changes}.items() if value is not None}
    reply = client.call("POST", "/api/v3/orderList/oto", merged)
    assert (reply.status, reply.document["code"]) == (400, code)
    assert client.placed() == []


def test_ids_of_open_lists_and_their_orders_are_not_taken_twice(client: SignedClient) -> None:
    place(client, "oco", OCO, listClientOrderId="one", aboveClientOrderId="leg")
    for again in ({"listClientOrderId": "one"}, {"belowClientOrderId": "leg"}):
        assert client.call("POST", "/api/v3/orderList/oco", {**OCO, **again}).document["msg"] == "Duplicate order sent."
    client.call("DELETE", "/api/v3/orderList", {"symbol": "BTCUSDT", "listClientOrderId": "one"})
    place(client, "oco", OCO, listClientOrderId="one", aboveClientOrderId="leg")


def test_lists_are_found_open_and_closed_by_id_and_by_client_id(client: SignedClient) -> None:
    first = place(client, "oco", OCO, listClientOrderId="first")
    client.call("DELETE", "/api/v3/orderList", {"symbol": "BTCUSDT", "orderListId": first["orderListId"]})
    second = place(client, "oto", OTO, listClientOrderId="second")
    ids = [first["orderListId"], second["orderListId"]]
    assert [each["orderListId"] for each in client.call("GET", "/api/v3/openOrderList").document] == ids[1:]
    assert [each["orderListId"] for each in client.call("GET", "/api/v3/allOrderList").document] == ids[::-1]
    assert [each["orderListId"] for each in client.call("GET", "/api/v3/allOrderList", {"fromId": ids[0], "limit": 1}).document] == ids[:1]
    assert client.call("GET", "/api/v3/allOrderList", {"fromId": ids[0], "startTime": 1}).document["code"] == -1128
    assert client.call("GET", "/api/v3/orderList", {"origClientOrderId": "first"}).document["listStatusType"] == "ALL_DONE"
    assert client.call("GET", "/api/v3/orderList", {"origClientOrderId": "third"}).document["code"] == -2013
    assert client.call("GET", "/api/v3/orderList").document["code"] == -1102
    stranger = account_on(client.emulator)
    assert stranger.call("GET", "/api/v3/orderList", {"orderListId": ids[0]}).document["code"] == -2013


@pytest.mark.asyncio
async def test_unmodified_ccxt_places_follows_and_cancels_every_kind_of_list(exchange: Any, emulator: EmulatorProcess) -> None:
    await exchange.load_markets()
    oco = await exchange.private_post_orderlist_oco({**OCO, "listClientOrderId": "q-list", "aboveClientOrderId": "q-above"})
    assert (oco["listClientOrderId"], oco["orders"][1]["clientOrderId"]) == ("q-list", "q-above")
    legs = [await exchange.fetch_order(str(order["orderId"]), "BTC/USDT") for order in oco["orders"]]
    assert [(leg["status"], leg["type"]) for leg in legs] == [("open", "market"), ("open", "limit")]
    old = {**BUY, "price": "58000", "stopPrice": "62000", "stopLimitPrice": "62100", "stopLimitTimeInForce": "GTC"}
    deprecated = await exchange.private_post_order_oco(old)
    assert [each["type"] for each in deprecated["orderReports"]] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    oto, otoco = await exchange.private_post_orderlist_oto(OTO), await exchange.private_post_orderlist_otoco(OTOCO)
    placed = [oco, deprecated, oto, otoco]
    assert [each["orderListId"] for each in await exchange.private_get_openorderlist()] == [each["orderListId"] for each in placed]
    assert len(await exchange.fetch_open_orders("BTC/USDT")) == 9

    emulator.price("61001", quantity="1")
    assert (await exchange.private_get_orderlist({"orderListId": oco["orderListId"]}))["listStatusType"] == "ALL_DONE"
    assert [(await exchange.fetch_order(str(order["orderId"]), "BTC/USDT"))["status"] for order in oco["orders"]] == ["expired", "closed"]
    await exchange.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": deprecated["orderListId"]})
    await exchange.cancel_order(str(oto["orders"][0]["orderId"]), "BTC/USDT")
    await exchange.cancel_all_orders("BTC/USDT")
    assert await exchange.fetch_open_orders("BTC/USDT") == []
    assert {each["listOrderStatus"] for each in await exchange.private_get_allorderlist()} == {"ALL_DONE"}
