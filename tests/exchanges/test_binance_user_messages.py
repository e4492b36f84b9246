import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import Liquidity, OrderState
from app.domain.orders import Fill, Reported
from app.exchanges.binance_user_messages import (
    AccountEvent,
    Answer,
    BalanceChanged,
    ExecutionReport,
    ServerShutdown,
    StreamTerminated,
    Unreadable,
    parse,
)
from app.exchanges.reports import order_report, trade_fills
from tests.recorded import shared_file

D = Decimal
#: The documentation's own example, as a limit buy of which a part has filled.
TRADE: dict[str, Any] = {
    "e": "executionReport",
    "E": 1499405658658,
    "s": "ETHBTC",
    "c": "q0000000000000001",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTC",
    "q": "1.00000000",
    "p": "0.10264410",
    "P": "0.00000000",
    "F": "0.00000000",
    "g": -1,
    "C": "",
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "r": "NONE",
    "i": 4293153,
    "l": "0.30000000",
    "z": "0.40000000",
    "L": "0.10000000",
    "n": "0.00030000",
    "N": "ETH",
    "T": 1499405658657,
    "t": 77517,
    "I": 8641984,
    "w": True,
    "m": False,
    "M": False,
    "O": 1499405658657,
    "Z": "0.04100000",
    "Y": "0.03000000",
    "Q": "0.00000000",
}


def body_of(**changes: object) -> Any:
    message = parse(json.dumps({"subscriptionId": 3, "event": {**TRADE, **changes}}))
    assert isinstance(message, AccountEvent)
    assert message.subscription_id == 3
    return message.body


def report_of(**changes: object) -> Reported:
    body = body_of(**changes)
    assert isinstance(body, ExecutionReport), body
    return body.report


def test_trade_carries_its_own_fill_and_the_orders_totals() -> None:
    body = body_of()
    assert (body.market, body.client_order_id, body.venue_order_id) == ("ETHBTC", "q0000000000000001", "4293153")
    assert body.report == Reported(
        state=OrderState.PARTIAL,
        venue_order_id="4293153",
        filled_quantity=D("0.4"),
        average_price=D("0.1025"),
        fills=(
            Fill(
                trade_id="77517",
                price=D("0.1"),
                quantity=D("0.3"),
                fee=D("0.0003"),
                fee_asset="ETH",
                liquidity=Liquidity.TAKER,
                executed_at=datetime(2017, 7, 7, 5, 34, 18, 657000, tzinfo=UTC),
            ),
        ),
    )


def test_resting_side_of_a_trade_is_the_maker() -> None:
    assert report_of(m=True).fills[0].liquidity is Liquidity.MAKER


@pytest.mark.parametrize(
    ("kind", "status", "filled", "state"),
    [
        ("NEW", "NEW", "0", OrderState.OPEN),
        ("NEW", "PENDING_NEW", "0", OrderState.OPEN),
        ("REPLACED", "NEW", "0", OrderState.OPEN),
        ("REPLACED", "PARTIALLY_FILLED", "0.4", OrderState.PARTIAL),
        ("TRADE_PREVENTION", "NEW", "0", OrderState.OPEN),
        ("TRADE_PREVENTION", "PARTIALLY_FILLED", "0.4", OrderState.PARTIAL),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", "0.4", OrderState.EXPIRED),
        ("NEW", "PENDING_CANCEL", "0.4", OrderState.PARTIAL),
        ("TRADE", "FILLED", "1", OrderState.FILLED),
        ("TRADE", "FILLED", "0.9", OrderState.CANCELED),
        ("CANCELED", "CANCELED", "0.4", OrderState.CANCELED),
        ("EXPIRED", "EXPIRED", "0", OrderState.EXPIRED),
        ("REJECTED", "REJECTED", "0", OrderState.REJECTED),
    ],
)
def test_every_status_of_the_venue_has_a_state(kind: str, status: str, filled: str, state: OrderState) -> None:
    report = report_of(x=kind, X=status, z=filled, Z="0.1" if filled != "0" else "0")
    assert report.state is state
    assert bool(report.fills) is (kind == "TRADE")


@pytest.mark.parametrize(
    ("status", "is_in_book", "is_working"),
    [("NEW", True, True), ("NEW", False, False), ("PENDING_NEW", False, False), ("CANCELED", False, True)],
)
def test_stop_before_its_trigger_and_order_behind_another_are_not_working(status: str, is_in_book: bool, is_working: bool) -> None:  # noqa: FBT001
    assert report_of(x=status, X=status, w=is_in_book, z="0", Z="0").is_working is is_working


def test_status_of_tomorrow_is_asked_for_and_not_guessed() -> None:
    assert isinstance(body_of(X="PONDERING"), Unreadable)


def test_cancellation_names_the_order_and_not_its_own_request() -> None:
    body = body_of(x="CANCELED", X="CANCELED", c="cancel-request-9", C="q0000000000000001", t=-1, l="0", L="0", N=None, n="0")
    assert body.client_order_id == "q0000000000000001"
    assert (body.report.state, body.report.fills, body.report.filled_quantity) == (OrderState.CANCELED, (), D("0.4"))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"x": "REJECTED", "X": "REJECTED", "r": "INSUFFICIENT_BALANCES"}, "the account does not hold enough"),
        ({"x": "EXPIRED", "X": "EXPIRED", "eR": "OCO_TRIGGER"}, "the other order of the pair took its place"),
        ({"x": "EXPIRED", "X": "EXPIRED", "eR": "A_NEW_REASON"}, "the exchange's reason is A_NEW_REASON"),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, "it would have traded with another order of the same owner"),
        ({"x": "EXPIRED", "X": "EXPIRED"}, None),
    ],
)
def test_why_an_order_ended_is_told_in_words(changes: dict[str, Any], detail: str | None) -> None:
    assert report_of(**changes).detail == detail


def test_trade_whose_fee_is_in_no_asset_tells_the_totals_and_leaves_the_fill_to_the_list_of_trades() -> None:
    report = report_of(N=None, n="0")
    assert (report.fills, report.filled_quantity, report.state) == ((), D("0.4"), OrderState.PARTIAL)


@pytest.mark.parametrize("changes", [{"z": None}, {"z": "NaN"}, {"z": "-1"}, {"i": "x"}, {"t": -1}, {"l": "0"}, {"q": "?", "X": "FILLED"}])
def test_damaged_report_says_only_that_there_is_news(changes: dict[str, Any]) -> None:
    assert isinstance(body_of(**changes), Unreadable)


@pytest.mark.parametrize("kind", ["outboundAccountPosition", "balanceUpdate", "externalLockUpdate"])
def test_whatever_moves_a_balance_is_news_of_the_balance(kind: str) -> None:
    message = parse(json.dumps({"subscriptionId": 0, "event": {"e": kind, "E": 1564034571105}}))
    assert isinstance(message, AccountEvent)
    assert isinstance(message.body, BalanceChanged)


def test_end_of_a_stream_and_of_a_server_are_told_apart() -> None:
    ended = parse('{"subscriptionId":7,"event":{"e":"eventStreamTerminated","E":1728973001334}}')
    assert ended == AccountEvent(subscription_id=7, body=StreamTerminated())
    assert parse('{"event":{"e":"serverShutdown","E":1770123456789}}') == ServerShutdown()


def test_answers_carry_what_their_request_was_for() -> None:
    assert parse('{"id":5,"status":200,"result":{"subscriptionId":0}}') == Answer(request_id=5, status=200, subscription_id=0)
    told = parse('{"id":6,"status":200,"result":{"serverTime":1656400526260}}')
    assert isinstance(told, Answer)
    assert told.server_time == datetime(2022, 6, 28, 7, 15, 26, 260000, tzinfo=UTC)
    assert told.is_success


def test_refusal_tells_its_code_and_until_when_to_keep_away() -> None:
    data = {"serverTime": 1659142907531, "retryAfter": 1659146400000}
    error = {"code": -1003, "msg": "Way too much request weight used; IP banned until 1659146400000.", "data": data}
    answer = parse(json.dumps({"id": 1, "status": 418, "error": error}))
    assert isinstance(answer, Answer)
    assert (answer.is_success, answer.code, answer.retry_at) == (False, -1003, datetime(2022, 7, 30, 2, 0, tzinfo=UTC))


@pytest.mark.parametrize("frame", ["{not json", "[]", "7"])
def test_frame_that_is_no_object_is_refused(frame: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(frame)


def test_every_account_event_of_the_documentation_is_understood() -> None:
    kinds: dict[str, str] = {}
    for line in shared_file("binance-docs/examples.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "user-data-stream" in entry["doc"] and "event" in entry["json"]:
            message = parse(json.dumps(entry["json"]))
            kinds[entry["json"]["event"]["e"]] = type(message.body if isinstance(message, AccountEvent) else message).__name__
    assert kinds == {
        "outboundAccountPosition": "BalanceChanged",
        "balanceUpdate": "BalanceChanged",
        "executionReport": "ExecutionReport",
        "listStatus": "NoneType",
        "eventStreamTerminated": "StreamTerminated",
        "externalLockUpdate": "BalanceChanged",
    }


@pytest.mark.parametrize("name", ["new", "filled"])
def test_recorded_production_report_says_the_same_as_the_unified_order_made_of_it(name: str) -> None:
    (recorded,) = json.loads(shared_file(f"rest/ccxt-watch_orders-{name}.json").read_text())
    message = parse(json.dumps({"subscriptionId": 0, "event": recorded["info"]}))
    assert isinstance(message, AccountEvent)
    assert isinstance(message.body, ExecutionReport)
    unified = order_report(
        "binance", {**recorded, "amount": str(recorded["amount"]), "filled": str(recorded["filled"]), "cost": None, "average": None}
    )
    report = message.body.report
    assert (report.state, report.venue_order_id, report.filled_quantity) == (unified.state, unified.venue_order_id, unified.filled_quantity)
    if name == "filled":
        (fill,) = report.fills
        assert (fill.trade_id, fill.price, fill.fee, fill.fee_asset) == ("248781682", D("1273.08"), D("0.0254616"), "USDT")
        assert report.average_price == D("1273.08")


def test_fill_of_the_stream_is_the_fill_of_the_list_of_trades() -> None:
    (streamed,) = report_of().fills
    listed = {
        "id": "77517",
        "price": "0.10000000",
        "amount": "0.30000000",
        "fee": {"cost": "0.00030000", "currency": "ETH"},
        "takerOrMaker": "taker",
        "timestamp": 1499405658657,
    }
    assert trade_fills([listed], quote="BTC") == (streamed,)
