"""Orders where each venue keeps them: found after they were triggered, forgotten by id, canceled in the place they are in; and Binance's
calls for two orders at once.
"""

import json
from typing import Any

import pytest

from app.domain.enums import OrderState, OrderType, Side
from app.errors import ExchangeUnavailable, OrderRejected, OutcomeUnknown
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.port import ReplaceOutcome
from tests.exchanges.wire.calls import OURS, go, order, pair
from tests.exchanges.wire.clients import SYMBOL, make_client
from tests.exchanges.wire.record import answers_of
from tests.exchanges.wire.session import Answer, RecordingSession
from tests.recorded import shared_file

NOT_KNOWN: dict[str, Any] = {
    "kraken": {"error": ["EOrder:Unknown order"]},
    "coinbase": {"results": [{"success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER", "order_id": "28"}]},
    "kucoin": {"code": "100001", "msg": "order_not_exist_or_not_allow_to_cancel"},
    "bitget": {"code": "43001", "msg": "The order does not exist", "data": None},
    "okx": {"code": "1", "data": [{"clOrdId": OURS, "ordId": "", "sCode": "51400", "sMsg": "Cancellation failed"}], "msg": ""},
    "bybit": {"retCode": 170213, "retMsg": "Order does not exist.", "result": {}, "retExtInfo": {}, "time": 1},
    "gate": {"label": "ORDER_NOT_FOUND", "message": "Order not found"},
    "mexc": {"code": -2011, "msg": "Unknown order sent."},
    "binance": {"code": -2011, "msg": "Unknown order sent."},
}
ALGO_GONE = {"code": "0", "data": [{"algoId": "28", "sCode": "51400", "sMsg": "canceled already"}], "msg": ""}


def session_of(venue: str, **replies: Any) -> RecordingSession:
    """Return a session that answers as laid down, but for some answers: a list is one after the other."""
    changed = {
        name: [each if isinstance(each, Answer) else Answer(body=each) for each in (body if isinstance(body, tuple) else (body,))]
        for name, body in replies.items()
    }
    return RecordingSession(answers_of(venue) | changed)


def body_of(venue: str, name: str) -> Any:
    return json.loads(json.dumps(answers_of(venue)[name][0].body))


async def fetch(client: CcxtClient, venue_order_id: str | None = None, kind: OrderType = OrderType.STOP_LIMIT) -> Any:
    return await client.fetch_order(SYMBOL, client_order_id=OURS, venue_order_id=venue_order_id, type=kind)


async def cancel(client: CcxtClient, venue_order_id: str | None = None, kind: OrderType = OrderType.LIMIT) -> Any:
    return await client.cancel_order(SYMBOL, client_order_id=OURS, venue_order_id=venue_order_id, type=kind)


@pytest.mark.asyncio
@pytest.mark.parametrize("venue_order_id", [None, "28"])
async def test_an_algo_order_that_was_triggered_is_the_order_it_became(venue_order_id: str | None) -> None:
    algo = body_of("okx", "GET /api/v5/trade/order-algo")
    algo["data"][0] |= {"state": "effective", "ordId": "77", "ordIdList": ["77"]}
    placed = body_of("okx", "GET /api/v5/trade/order")
    placed["data"][0] |= {"ordId": "77", "clOrdId": "", "state": "filled", "accFillSz": "1234567.12345678"}
    trades = body_of("okx", "GET /api/v5/trade/fills-history")
    trades["data"][0] |= {"ordId": "77", "fillSz": "1234567.12345678"}
    session = session_of(
        "okx",
        **{"GET /api/v5/trade/order-algo": algo, "GET /api/v5/trade/order": placed, "GET /api/v5/trade/fills-history": trades},
    )
    client = make_client("okx", session)

    report = await fetch(client, venue_order_id)

    assert (report.state, report.venue_order_id, len(report.fills)) == (OrderState.FILLED, "28", 1)
    assert session.sent[1].parameters["ordId"] == "77"
    await client.close()


@pytest.mark.asyncio
async def test_what_a_triggered_algo_order_became_is_canceled_in_its_own_place() -> None:
    algo = body_of("okx", "GET /api/v5/trade/order-algo")
    algo["data"][0] |= {"state": "effective", "ordId": "77"}
    placed = body_of("okx", "GET /api/v5/trade/order")
    placed["data"][0] |= {"ordId": "77"}
    done = body_of("okx", "GET /api/v5/trade/order")
    done["data"][0] |= {"ordId": "77", "state": "canceled", "accFillSz": "0"}
    session = session_of(
        "okx",
        **{
            "POST /api/v5/trade/cancel-algos": ALGO_GONE,
            "GET /api/v5/trade/order-algo": algo,
            "GET /api/v5/trade/order": (placed, done),
        },
    )
    client = make_client("okx", session)

    report = await cancel(client, "28", OrderType.STOP_LIMIT)

    assert (report.state, report.venue_order_id) == (OrderState.CANCELED, "28")
    assert [sent.parameters["ordId"] for sent in session.sent if sent.name == "POST /api/v5/trade/cancel-order"] == ["77"]
    await client.close()


@pytest.mark.asyncio
async def test_a_plan_order_that_was_triggered_is_the_order_under_its_own_id() -> None:
    plans = body_of("bitget", "GET /api/v2/spot/trade/current-plan-order")
    history = body_of("bitget", "GET /api/v2/spot/trade/history-plan-order")
    history["data"]["orderList"][0] |= {"status": "executed"}
    plans["data"]["orderList"] = []
    placed = body_of("bitget", "GET /api/v2/spot/trade/orderInfo")
    placed["data"][0] |= {"orderId": "77", "clientOid": "28", "status": "filled", "baseVolume": "1234567.12345678"}
    trades = body_of("bitget", "GET /api/v2/spot/trade/fills")
    trades["data"][0] |= {"orderId": "77"}
    session = session_of(
        "bitget",
        **{
            "GET /api/v2/spot/trade/current-plan-order": plans,
            "GET /api/v2/spot/trade/history-plan-order": history,
            "GET /api/v2/spot/trade/orderInfo": placed,
            "GET /api/v2/spot/trade/fills": trades,
        },
    )
    client = make_client("bitget", session)

    report = await fetch(client)

    assert (report.state, report.venue_order_id, len(report.fills)) == (OrderState.FILLED, "28", 1)
    (asked,) = [sent for sent in session.sent if sent.name == "GET /api/v2/spot/trade/orderInfo"]
    assert asked.parameters == {"clientOid": "28"}
    await client.close()


@pytest.mark.asyncio
async def test_a_triggered_plan_order_whose_order_is_not_there_yet_is_open_and_not_filled() -> None:
    plans = body_of("bitget", "GET /api/v2/spot/trade/current-plan-order")
    plans["data"]["orderList"][0] |= {"status": "executed"}
    empty = {"code": "00000", "msg": "success", "requestTime": 1, "data": []}
    gone = dict.fromkeys(("orderInfo", "unfilled-orders", "history-orders"), empty)
    session = session_of(
        "bitget",
        **{"GET /api/v2/spot/trade/current-plan-order": plans, **{f"GET /api/v2/spot/trade/{name}": body for name, body in gone.items()}},
    )
    client = make_client("bitget", session)

    report = await fetch(client)

    assert (report.state, report.filled_quantity, report.is_working) == (OrderState.OPEN, 0, True)
    await client.close()


@pytest.mark.asyncio
async def test_a_kucoin_stop_that_was_triggered_is_never_taken_for_canceled() -> None:
    stops = body_of("kucoin", "GET /api/v1/stop-order/queryOrderByClientOid")
    stops["data"][0] |= {"status": "TRIGGERED"}
    name = f"GET /api/v1/hf/orders/client-order/{OURS}"
    placed = body_of("kucoin", name)
    placed["data"] |= {"id": "77", "active": False, "dealSize": "1234567.12345678"}
    trades = body_of("kucoin", "GET /api/v1/hf/fills")
    trades["data"]["items"][0] |= {"orderId": "77"}
    query = "GET /api/v1/stop-order/queryOrderByClientOid"
    client = make_client("kucoin", session_of("kucoin", **{query: stops, name: placed, "GET /api/v1/hf/fills": trades}))

    report = await fetch(client)
    assert (report.state, report.venue_order_id, len(report.fills)) == (OrderState.FILLED, "28", 1)
    await client.close()

    nothing = {"code": "400100", "msg": "order not exist"}
    lists = {
        "GET /api/v1/hf/orders/active": {"code": "200000", "data": []},
        "GET /api/v1/stop-order": {"code": "200000", "data": {"items": []}},
    }
    done = {"GET /api/v1/hf/orders/done": {"code": "200000", "data": {"lastId": 0, "items": []}}}
    client = make_client("kucoin", session_of("kucoin", **{query: stops, name: nothing, **lists, **done}))

    report = await fetch(client)
    assert (report.state, report.is_working) == (OrderState.OPEN, True)
    await client.close()


@pytest.mark.asyncio
async def test_an_order_that_gate_no_longer_finds_by_our_id_is_found_in_its_list() -> None:
    finished = body_of("gate", "GET /api/v4/spot/orders")
    finished[0] |= {"id": "28"}
    gone = Answer(body={"label": "CLIENT_ID_NOT_FOUND", "message": "Order with client ID not found"}, status=404)
    empty: list[Any] = []
    client = make_client(
        "gate",
        session_of(
            "gate",
            **{f"GET /api/v4/spot/orders/t-{OURS}": gone, "GET /api/v4/spot/open_orders": empty, "GET /api/v4/spot/orders": finished},
        ),
    )

    report = await fetch(client, kind=OrderType.LIMIT)

    assert (report.state, report.venue_order_id) == (OrderState.FILLED, "28")
    await client.close()


@pytest.mark.asyncio
async def test_all_of_many_kraken_trades_are_asked_for() -> None:
    orders = body_of("kraken", "POST /0/private/QueryOrders")
    orders["result"]["28"] |= {"trades": [f"T{number}" for number in range(20)]}
    some = body_of("kraken", "POST /0/private/QueryTrades")["result"]["TT5UC3-GOIRW-6AZZ6R"]
    many = [{"error": [], "result": {f"T{number}": some for number in numbers}} for numbers in (range(19), range(19, 20))]
    session = session_of("kraken", **{"POST /0/private/QueryOrders": orders, "POST /0/private/QueryTrades": tuple(many)})
    client = make_client("kraken", session)

    report = await fetch(client, "28", OrderType.LIMIT)

    assert {fill.trade_id for fill in report.fills} == {f"T{number}" for number in range(20)}
    asked = [sent.parameters["txid"] for sent in session.sent if sent.name == "POST /0/private/QueryTrades"]
    assert [text.count("T") for text in asked] == [19, 1]
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", NOT_KNOWN)
async def test_an_order_that_the_venue_does_not_know_cannot_be_canceled_and_is_not_assumed_to_be(venue: str) -> None:
    unknown = Answer(body=NOT_KNOWN[venue], status=404 if venue == "gate" else 400 if venue in ("mexc", "bitget", "binance") else 200)
    replies = {name: unknown for name in answers_of(venue) if "cancel" in name.lower() or name.startswith("DELETE")}
    client = make_client(venue, session_of(venue, **replies))

    assert await cancel(client, "28") is None

    await client.close()


@pytest.mark.asyncio
async def test_a_cancellation_that_was_taken_is_not_yet_one_that_was_done() -> None:
    client = make_client("okx", session_of("okx"))
    assert (await cancel(client)).state is OrderState.PARTIAL  # still in the book when it was looked at
    await client.close()

    trouble = Answer(body={"code": "50013", "msg": "Systems are busy"}, status=503)
    client = make_client("okx", session_of("okx", **{"GET /api/v5/trade/order": trouble}))
    with pytest.raises(OutcomeUnknown, match="took the cancellation"):
        await cancel(client)
    await client.close()


@pytest.mark.asyncio
async def test_a_list_that_cannot_be_read_is_not_an_empty_one() -> None:
    trouble = Answer(body={"error": ["EService:Unavailable"]})
    client = make_client("kraken", session_of("kraken", **{"POST /0/private/OpenOrders": trouble}))

    with pytest.raises(ExchangeUnavailable):
        await fetch(client, kind=OrderType.LIMIT)

    await client.close()


# Binance: two orders at once.


def documented(label: str) -> Any:
    """Return the JSON of an example of the cancel-replace call by the beginning of its label."""
    with shared_file("binance-docs/examples.jsonl").open() as file:
        examples = [json.loads(line) for line in file]
    return next(each["json"] for each in examples if "cancelReplace" in str(each["endpoint"]) and each["label"].startswith(label))


async def replaced(answer: Answer) -> ReplaceOutcome:
    session = session_of("binance", **{"POST /api/v3/order/cancelReplace": answer})
    client = make_client("binance", session)
    try:
        return await client.replace_order(order(OrderType.LIMIT), old_client_order_id="q1", old_venue_order_id="3", guard=go)
    finally:
        assert [sent.name for sent in session.sent].count("POST /api/v3/order/cancelReplace") == 1
        await client.close()


@pytest.mark.asyncio
async def test_a_replacement_that_was_done_tells_of_both_orders() -> None:
    outcome = await replaced(Answer(body=documented("Response SUCCESS and account has not exceeded")))

    assert outcome.canceled is not None
    assert outcome.created is not None
    assert (outcome.canceled.state, outcome.canceled.venue_order_id) == (OrderState.CANCELED, "9")
    assert (outcome.created.state, outcome.created.venue_order_id, outcome.refusal) == (OrderState.OPEN, "10", None)


@pytest.mark.asyncio
async def test_a_replacement_that_lost_the_old_order_and_got_no_new_one_says_so() -> None:
    outcome = await replaced(Answer(body=documented("Response when Cancel Order Succeeds but New Order Placement Fails"), status=409))

    assert outcome.canceled is not None
    assert (outcome.canceled.state, outcome.canceled.venue_order_id, outcome.created) == (OrderState.CANCELED, "3", None)
    assert outcome.refusal == "The exchange rejected it: Order would immediately match and take."


@pytest.mark.asyncio
async def test_a_replacement_that_could_not_cancel_leaves_the_old_order() -> None:
    outcome = await replaced(Answer(body=documented("Response when Cancel Order Fails with STOP_ON FAILURE"), status=400))

    assert (outcome.canceled, outcome.created) == (None, None)
    assert outcome.refusal == "The exchange rejected it: Unknown order sent."


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        Answer(body={"code": -1007, "msg": "Timeout waiting for response from backend server."}, status=504),
        Answer(body={"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "cancelResponse": {}, "newOrderResponse": {"orderId": 1}}),
        Answer(body="<html></html>", status=502),
        Answer(body={}),
        Answer(
            status=409,
            body={
                "code": -2021,
                "msg": "Order cancel-replace partially failed.",
                "data": {
                    "cancelResult": "SUCCESS",
                    "newOrderResult": "FAILURE",
                    "cancelResponse": {"orderId": 3, "symbol": "BTCUSDT", "status": "CANCELED"},
                    "newOrderResponse": {"code": -1006, "msg": "An unexpected response was received from the message bus."},
                },
            },
        ),
    ],
    ids=["time-out", "no id", "page", "empty", "new one in doubt"],
)
async def test_a_replacement_whose_answer_proves_nothing_leaves_both_in_doubt(answer: Answer) -> None:
    with pytest.raises(OutcomeUnknown):
        await replaced(answer)


@pytest.mark.asyncio
async def test_a_replacement_that_was_refused_whole_changed_nothing() -> None:
    with pytest.raises(OrderRejected, match="not a multiple of the step"):
        await replaced(Answer(body={"code": -1013, "msg": "Filter failure: LOT_SIZE"}, status=400))


@pytest.mark.asyncio
@pytest.mark.parametrize("side", Side)
async def test_both_legs_of_a_pair_are_told_apart_by_our_ids(side: Side) -> None:
    client = make_client("binance", session_of("binance"))

    report = await client.place_oco(pair(side), guard=go)

    assert (report.target.venue_order_id, report.stop.venue_order_id) == ("29", "28")
    assert (report.target.is_working, report.stop.is_working) == (True, False)
    await client.close()


@pytest.mark.asyncio
async def test_a_pair_of_which_one_leg_is_not_named_is_in_doubt() -> None:
    answered = body_of("binance", "POST /api/v3/orderList/oco")
    answered["orderReports"].pop()
    client = make_client("binance", session_of("binance", **{"POST /api/v3/orderList/oco": answered}))

    with pytest.raises(OutcomeUnknown, match="both orders of the pair"):
        await client.place_oco(pair(Side.SELL), guard=go)

    await client.close()
