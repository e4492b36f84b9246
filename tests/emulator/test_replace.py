from typing import Any

import ccxt
import pytest

from tests.emulator.test_order_lists import OCO, OTO, place
from tests.emulator.test_user_events import api_of
from tests.emulator.trading import BUY, D, balance, found, statuses
from tests.emulator_process import EmulatorProcess, Reply, SignedClient

LIMIT: dict[str, str | int] = {**BUY, "type": "LIMIT", "timeInForce": "GTC", "price": "59000"}


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> EmulatorProcess:
    return at_60000


def replace(client: SignedClient, mode: str, **changes: str | int) -> Reply:
    return client.call("POST", "/api/v3/order/cancelReplace", {**LIMIT, "cancelReplaceMode": mode, **changes})


def test_order_is_canceled_and_another_takes_its_place(client: SignedClient) -> None:
    old = client.order(**LIMIT, newClientOrderId="same").document
    reply = replace(client, "STOP_ON_FAILURE", cancelOrderId=old["orderId"], price="59100", newClientOrderId="same")
    assert (reply.status, reply.document["cancelResult"], reply.document["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
    assert reply.document["cancelResponse"]["origClientOrderId"] == "same"
    assert (found(client, old)["status"], found(client, reply.document["newOrderResponse"])["status"]) == ("CANCELED", "NEW")
    assert balance(client, "USDT") == (D(1000000 - 5910), D(5910))


def test_new_order_can_fail_after_the_old_one_is_gone(client: SignedClient) -> None:
    old = client.order(**LIMIT).document
    for mode in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
        old = client.order(**LIMIT).document
        reply = replace(client, mode, cancelOrderId=old["orderId"], quantity="19", price="59001")
        data = reply.document["data"]
        assert (reply.status, reply.document["code"]) == (409, -2021)
        assert (data["cancelResult"], data["newOrderResult"]) == ("SUCCESS", "FAILURE")
        assert data["newOrderResponse"] == {"code": -2010, "msg": "Account has insufficient balance for requested action."}
        assert data["cancelResponse"]["status"] == found(client, old)["status"] == "CANCELED"


def test_without_an_order_to_cancel_nothing_is_placed_when_failure_stops(client: SignedClient) -> None:
    reply = replace(client, "STOP_ON_FAILURE", cancelOrigClientOrderId="nobody")
    assert (reply.status, reply.document) == (
        400,
        {
            "code": -2022,
            "msg": "Order cancel-replace failed.",
            "data": {
                "cancelResult": "FAILURE",
                "newOrderResult": "NOT_ATTEMPTED",
                "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
                "newOrderResponse": None,
            },
        },
    )
    assert client.placed() == []


def test_without_an_order_to_cancel_the_new_one_is_placed_when_failure_is_allowed(client: SignedClient) -> None:
    reply = replace(client, "ALLOW_FAILURE", cancelOrigClientOrderId="nobody")
    data = reply.document["data"]
    assert (reply.status, reply.document["code"], data["cancelResult"], data["newOrderResult"]) == (409, -2021, "FAILURE", "SUCCESS")
    assert found(client, data["newOrderResponse"])["status"] == "NEW"


def test_both_halves_can_fail(client: SignedClient) -> None:
    reply = replace(client, "ALLOW_FAILURE", cancelOrigClientOrderId="nobody", quantity="19")
    data = reply.document["data"]
    assert (reply.status, reply.document["code"], data["cancelResult"], data["newOrderResult"]) == (400, -2022, "FAILURE", "FAILURE")


def test_filters_are_looked_at_before_anything_is_canceled(client: SignedClient) -> None:
    old = client.order(**LIMIT).document
    reply = replace(client, "ALLOW_FAILURE", cancelOrderId=old["orderId"], price="59000.001")
    assert (reply.status, reply.document) == (400, {"code": -1013, "msg": "Filter failure: PRICE_FILTER"})
    assert found(client, old)["status"] == "NEW"


@pytest.mark.parametrize(("restriction", "is_canceled"), [("ONLY_NEW", False), ("ONLY_PARTIALLY_FILLED", True)])
def test_restriction_spares_orders_in_another_state(
    client: SignedClient, emulator: EmulatorProcess, restriction: str, *, is_canceled: bool
) -> None:
    old = client.order(**LIMIT).document
    emulator.price("58999", quantity="0.04")
    reply = replace(client, "STOP_ON_FAILURE", cancelOrderId=old["orderId"], cancelRestrictions=restriction)
    assert (reply.status, found(client, old)["status"]) == ((200, "CANCELED") if is_canceled else (400, "PARTIALLY_FILLED"))
    plain = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": old["orderId"], "cancelRestrictions": "ONLY_NEW"})
    assert plain.document["code"] == -2011
    assert (
        client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1, "cancelRestrictions": "ALL"}).document["code"] == -1145
    )


def test_replacing_a_leg_cancels_its_list(client: SignedClient) -> None:
    placed = place(client, "oco", OCO)
    assert replace(client, "STOP_ON_FAILURE", cancelOrderId=placed["orders"][0]["orderId"]).status == 200
    assert statuses(client, placed) == ["CANCELED", "CANCELED"]


def test_mode_must_be_known(client: SignedClient) -> None:
    assert replace(client, "PERHAPS", cancelOrderId=1).document["code"] == -1130


@pytest.mark.asyncio
async def test_unmodified_ccxt_edits_an_order(exchange: Any) -> None:
    old = await exchange.create_order("BTC/USDT", "limit", "buy", "0.1", "59000")
    new = await exchange.edit_order(old["id"], "BTC/USDT", "limit", "buy", "0.2", "59100")
    assert (new["status"], new["amount"], new["price"]) == ("open", "0.20000000", "59100.00000000")
    assert (await exchange.fetch_order(old["id"], "BTC/USDT"))["status"] == "canceled"
    with pytest.raises(ccxt.BaseError, match="-2022"):
        await exchange.edit_order(old["id"], "BTC/USDT", "limit", "buy", "0.2", "59200")


def amend(client: SignedClient, order: dict[str, Any], quantity: str, **changes: str) -> Reply:
    wanted = {"symbol": "BTCUSDT", "orderId": order["orderId"], "newQty": quantity, **changes}
    return client.call("PUT", "/api/v3/order/amend/keepPriority", wanted)


def test_amended_order_keeps_its_place_and_frees_the_difference(client: SignedClient, emulator: EmulatorProcess) -> None:
    first, second = (client.order(**LIMIT).document for _ in range(2))
    emulator.price("58999", quantity="0.02")
    reply = amend(client, first, "0.05", newClientOrderId="smaller")
    shown = reply.document["amendedOrder"]
    assert (reply.status, shown["qty"], shown["clientOrderId"], shown["status"]) == (200, "0.05000000", "smaller", "PARTIALLY_FILLED")
    assert balance(client, "USDT") == (D(1000000) - D("0.15") * 59000, D("0.13") * 59000)
    emulator.price("58999", quantity="0.04")
    assert [(each["status"], D(each["executedQty"])) for each in (found(client, first), found(client, second))] == [
        ("FILLED", D("0.05")),
        ("PARTIALLY_FILLED", D("0.01")),
    ]
    by_name = client.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": "smaller"}).document
    assert by_name["orderId"] == first["orderId"]


def test_every_amendment_is_remembered(client: SignedClient) -> None:
    order = client.order(**LIMIT, newClientOrderId="first").document
    amend(client, order, "0.08", newClientOrderId="second")
    amend(client, order, "0.05", newClientOrderId="second")
    wanted = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    listed = client.call("GET", "/api/v3/order/amendments", wanted).document
    assert [(each["origClientOrderId"], each["newClientOrderId"], each["origQty"], each["newQty"]) for each in listed] == [
        ("first", "second", "0.10000000", "0.08000000"),
        ("second", "second", "0.08000000", "0.05000000"),
    ]
    later = client.call("GET", "/api/v3/order/amendments", {**wanted, "fromExecutionId": listed[1]["executionId"]}).document
    assert later == listed[1:]


def test_amending_a_leg_amends_the_pair(client: SignedClient) -> None:
    placed = place(client, "oco", OCO)
    reply = amend(client, placed["orders"][0], "0.04")
    assert reply.document["listStatus"]["contingencyType"] == "OCO"
    assert [found(client, order)["origQty"] for order in placed["orders"]] == ["0.04000000"] * 2
    assert balance(client, "BTC") == (D("0.96"), D("0.04"))


def test_pending_order_is_amended_alone(client: SignedClient, emulator: EmulatorProcess) -> None:
    placed = place(client, "oto", OTO)
    assert amend(client, placed["orders"][1], "0.04").document["amendedOrder"]["status"] == "PENDING_NEW"
    emulator.price("59499", quantity="1")
    assert [found(client, order)["origQty"] for order in placed["orders"]] == ["0.10000000", "0.04000000"]
    assert balance(client, "BTC")[1] == D("0.04")


@pytest.mark.parametrize(
    ("quantity", "code", "message"),
    [
        ("0.2", -2038, "Order amend (quantity increase) is not supported."),
        ("0.1", -2038, "The requested action would change no state; rejecting"),
        ("0.02", -2038, "The requested action would change no state; rejecting"),
        ("0.0500001", -1013, "Filter failure: LOT_SIZE"),
        ("0", -1013, "Invalid quantity."),
    ],
)
def test_bad_amendment_is_refused_and_changes_nothing(
    client: SignedClient, emulator: EmulatorProcess, quantity: str, code: int, message: str
) -> None:
    order = client.order(**LIMIT).document
    emulator.price("58999", quantity="0.03")
    before = found(client, order)
    assert amend(client, order, quantity).document == {"code": code, "msg": message}
    assert found(client, order) == before


def test_closed_order_and_taken_id_are_refused(client: SignedClient) -> None:
    order, other = (client.order(**LIMIT, newClientOrderId=name).document for name in ("one", "two"))
    assert amend(client, order, "0.05", newClientOrderId="two").document["msg"] == "Duplicate order sent."
    client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": other["orderId"]})
    assert amend(client, other, "0.05").document == {"code": -2038, "msg": "Unknown order sent."}
    assert amend(client, {"orderId": 10**9}, "0.05").document["code"] == -2038


@pytest.mark.asyncio
async def test_subscriber_hears_of_an_amendment_sent_with_ccxt(exchange: Any, client: SignedClient, emulator: EmulatorProcess) -> None:
    order = client.order(**LIMIT, newClientOrderId="before").document
    async with api_of(emulator) as api:
        await api.subscribe(client)
        wanted = {"symbol": "BTCUSDT", "orderId": order["orderId"], "newQty": "0.05", "newClientOrderId": "after"}
        await exchange.load_markets()
        amended = await exchange.request("order/amend/keepPriority", ["private"], "PUT", wanted)
        assert amended["amendedOrder"]["qty"] == "0.05000000"
        report = await api.report()
    assert (report["x"], report["X"], report["q"], report["C"], report["c"]) == ("REPLACED", "NEW", "0.05000000", "before", "after")
