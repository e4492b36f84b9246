"""Rows of the fault matrix that one engine and the emulated exchange can show: what becomes of an order when something goes wrong."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import Execution, Liquidity, OrderState, OrderType, Role, Side
from app.domain.orders import Fill, Reported
from app.domain.protection import ProtectionPlan, dump_plan
from app.errors import DenialReason, OrderDenied
from app.trading.apply import record
from app.trading.cancel import cancel
from app.trading.guardian import guard
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import API_SECRET, SYMBOL, Pieces, make_broker
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

PAST_THE_WINDOW_S = 60


@pytest.fixture(autouse=True)
def nothing_left(standing_emulator: Any) -> Iterator[None]:
    """The exchange is everybody's: what a test broke is whole afterwards."""
    yield
    standing_emulator.control("DELETE", "/_fault")


async def settled(pieces: Pieces, order: OrderRecord) -> OrderRecord:
    """The order after one round of asking, from a fresh reconciler as a restart would have."""
    await Reconciler(pieces.desk, interval_s=60).once()
    return await pieces.order(order.id)


async def is_counted_once(pieces: Pieces, order: OrderRecord) -> None:
    """The exchange has the order once, its fills are counted once, and asking again changes nothing."""
    assert [placed["clientOrderId"] for placed in pieces.placed()] == [order.client_order_id]
    before = await pieces.rows("SELECT * FROM fills ORDER BY trade_id"), await pieces.rows("SELECT * FROM positions")
    (position,) = before[1]
    bought = sum(fill["quantity"] for fill in before[0])
    assert (order.state, order.filled_quantity, order.fills_quantity, bought) == (OrderState.FILLED, order.quantity, bought, order.quantity)
    assert position["quantity"] == sum(fill["quantity"] - fill["fee"] for fill in before[0])
    await settled(pieces, order)
    assert (await pieces.rows("SELECT * FROM fills ORDER BY trade_id"), await pieces.rows("SELECT * FROM positions")) == before


@row(1)
async def test_an_order_whose_connection_broke_first_is_lost_after_the_window_and_never_sent_again(pieces: Pieces) -> None:
    pieces.fault("drop_before")
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    assert "may or may not exist" in (order.detail or "")
    assert (await settled(pieces, order)).state is OrderState.UNKNOWN, "within the window it may still arrive"
    await pieces.backdate(order.id, seconds=PAST_THE_WINDOW_S)
    lost = await settled(pieces, order)
    assert (lost.state, lost.reserved) == (OrderState.LOST, Decimal(0))
    assert "no money moved" in (lost.detail or "")
    assert pieces.placed() == []


_AFTER_EXECUTION: dict[str, dict[str, Any]] = {
    "504 -1007": {"do": "status_after", "status": 504, "body": {"code": -1007, "msg": "Timeout waiting for response"}},
    "503 -1000": {"do": "status_after", "status": 503, "body": {"code": -1000, "msg": "An unknown error occurred"}},
    "502 page": {"do": "status_after", "status": 502, "body": "<html>502 Bad Gateway</html>"},
    "-1008": {"do": "unavailable_1008", "executed": True},
}


@row(4)
@pytest.mark.parametrize("fault", _AFTER_EXECUTION.values(), ids=_AFTER_EXECUTION)
async def test_an_error_after_the_order_executed_is_a_doubt_that_ends_in_one_fill(pieces: Pieces, fault: dict[str, Any]) -> None:
    pieces.fault(**fault)
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    await is_counted_once(pieces, await settled(pieces, order))


@row(2)
async def test_a_lost_reply_is_found_by_our_id_and_filled_once(pieces: Pieces) -> None:
    pieces.fault("drop_after")
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    await is_counted_once(pieces, await settled(pieces, order))


@row(5)
@pytest.mark.parametrize("what", ["truncate", "html", "empty"])
async def test_an_answer_that_cannot_be_read_is_a_doubt_that_ends_in_one_fill(pieces: Pieces, what: str) -> None:
    pieces.fault(what)
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    await is_counted_once(pieces, await settled(pieces, order))


@row(8)
async def test_an_answer_without_an_id_is_never_an_open_order_and_is_looked_up(pieces: Pieces) -> None:
    pieces.fault("id_none")
    order = (await pieces.submit(pieces.limit("50000"))).order
    assert (order.state, order.venue_order_id) == (OrderState.UNKNOWN, None)
    found = await settled(pieces, order)
    assert found.state is OrderState.OPEN
    assert found.venue_order_id == str(pieces.placed()[0]["orderId"])


@row(3, 7)
async def test_an_order_hidden_beyond_the_window_is_lost_and_comes_back_into_the_position(pieces: Pieces) -> None:
    pieces.emulator.fault("hide_orders", api_key=pieces.api_key)
    pieces.fault("drop_after")
    order = (await pieces.submit()).order
    await pieces.backdate(order.id, seconds=PAST_THE_WINDOW_S)
    assert (await settled(pieces, order)).state is OrderState.LOST
    assert len(pieces.placed()) == 1, "it is never sent again"
    pieces.emulator.control("DELETE", "/_fault")
    await pieces.rows("UPDATE orders SET next_check_at = now() WHERE id = $1", order.id)
    back = await settled(pieces, order)
    assert back.state is OrderState.FILLED
    kinds = [event["kind"] for event in await pieces.rows("SELECT kind FROM order_events WHERE order_id = $1 ORDER BY id", order.id)]
    assert kinds[-1] in ("AppearedLate", "Resurrected")
    await is_counted_once(pieces, back)


@row(15)
async def test_a_part_filled_order_keeps_its_fills_when_canceled_and_a_late_one_counts(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit("59950", quantity="10"))).order
    moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "59900", "quantity": "7.5"})
    canceled = await cancel(moving.desk, moving.user_id, order.id)
    assert (canceled.state, canceled.filled_quantity) == (OrderState.CANCELED, Decimal("7.5"))
    (fill,) = await moving.rows("SELECT * FROM fills")
    assert fill["quantity"] == canceled.fills_quantity == Decimal("7.5")
    late = Fill(
        trade_id="late-1",
        price=Decimal(59950),
        quantity=Decimal("0.5"),
        fee=Decimal(0),
        fee_asset="USDT",
        liquidity=Liquidity.MAKER,
        executed_at=moving.desk.clock.now(),
    )
    told = Reported(
        state=OrderState.CANCELED,
        venue_order_id=canceled.venue_order_id or "",
        filled_quantity=Decimal(8),
        average_price=Decimal(59950),
        fills=(late,),
    )
    grown = await record(moving.desk, order.id, told)
    assert (grown.state, grown.filled_quantity, grown.fills_quantity) == (OrderState.CANCELED, Decimal(8), Decimal(8))
    (position,) = await moving.rows("SELECT quantity FROM positions")
    assert position["quantity"] == Decimal(8) - fill["fee"]


@row(16)
async def test_fees_in_base_leave_what_can_be_sold_and_the_rest_is_dust(pieces: Pieces) -> None:
    order = await pieces.filled(quantity="0.01234")
    (fill,) = await pieces.rows("SELECT * FROM fills")
    assert (fill["fee_asset"], fill["fee"]) == ("BTC", Decimal("0.00001234"))
    (position,) = await pieces.rows("SELECT * FROM positions")
    assert position["quantity"] == order.quantity - fill["fee"] == Decimal("0.01232766")
    closed = (await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))).order
    assert (closed.state, closed.quantity) == (OrderState.FILLED, Decimal("0.01232"))
    (position,) = await pieces.rows("SELECT * FROM positions")
    assert (position["status"], position["quantity"]) == ("closed", Decimal("0.00000766")), "less than a step cannot be sold"


@row(16)
async def test_fees_in_the_exchanges_own_coin_leave_the_whole_position(pieces: Pieces) -> None:
    key = f"bnb-{pieces.api_key}"
    account = {"api_key": key, "api_secret": API_SECRET, "balances": {"USDT": "1000", "BNB": "5"}, "bnb_fee": True}
    pieces.emulator.control("POST", "/_accounts", account)
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=key, name="With BNB")
    order = (await pieces.submit(broker_id=broker_id)).order
    (fill,) = await pieces.rows("SELECT * FROM fills")
    (position,) = await pieces.rows("SELECT * FROM positions")
    assert order.state is OrderState.FILLED
    assert position["quantity"] == order.quantity if fill["fee_asset"] == "BNB" else order.quantity - fill["fee"]


@row(16)
async def test_more_filled_than_ordered_is_kept_and_flagged(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    told = Reported(
        state=OrderState.FILLED, venue_order_id=order.venue_order_id or "", filled_quantity=Decimal("0.011"), average_price=Decimal(50000)
    )
    after = await record(pieces.desk, order.id, told)
    assert (after.state, after.filled_quantity, after.is_overfilled) == (OrderState.FILLED, Decimal("0.011"), True)


@row(17)
@pytest.mark.parametrize(
    ("wish", "reason", "words"),
    [
        ({"quantity": "0.00001"}, DenialReason.NOTIONAL_BELOW_MINIMUM, "0.6 USDT is below the exchange minimum of 5 USDT"),
        ({"quantity": "0.000001"}, DenialReason.QUANTITY_BELOW_MINIMUM, "the smallest quantity is 0.00001 BTC, was 0.000001"),
        ({"type": OrderType.LIMIT, "price": Decimal("0.001")}, DenialReason.PRICE_OUT_OF_RANGE, "at least 0.01"),
    ],
)
async def test_an_order_that_breaks_a_filter_is_denied_here_with_the_numbers(
    pieces: Pieces, wish: dict[str, Any], reason: DenialReason, words: str
) -> None:
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), last=Decimal(60000), bid=Decimal(60000), ask=Decimal(60000))
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(pieces.intent(**wish))
    assert caught.value.reason is reason
    assert words in caught.value.message
    assert pieces.placed() == []


@row(17)
async def test_the_exchanges_own_refusal_is_put_in_words(pieces: Pieces) -> None:
    body = {"code": -1013, "msg": "Filter failure: PERCENT_PRICE_BY_SIDE"}
    pieces.fault("status_before", status=400, body=body)
    order = (await pieces.submit(pieces.limit("50000"))).order
    assert (order.state, order.code) == (OrderState.REJECTED, "ORDER_REJECTED")
    assert "the price is too far from the market" in (order.detail or "")


@row(18)
async def test_on_a_halted_symbol_an_entry_is_refused_and_the_rules_are_read_again(moving: Pieces) -> None:
    await moving.desk.instruments.all("binance")
    moving.emulator.control("POST", "/_symbols", {"symbol": "BTCUSDT", "status": "HALT"})
    order = (await moving.submit()).order
    assert order.state is OrderState.REJECTED
    await moving.registry.listings("binance", max_age_s=0.0)
    await moving.desk.instruments.refresh("binance")  # type: ignore[attr-defined]  # the book behind the protocol
    with pytest.raises(OrderDenied) as caught:
        await moving.submit()
    assert caught.value.reason is DenialReason.SYMBOL_NOT_TRADING
    assert [placed for placed in moving.placed() if placed["status"] == "FILLED"] == []


@row(19)
@pytest.mark.parametrize("change", [{"revoked": True}, {"ip_allowed": False}, {"read_only": True}])
async def test_a_key_that_is_refused_pauses_its_account_at_once_and_says_so(pieces: Pieces, change: dict[str, bool]) -> None:
    await pieces.filled()
    pieces.emulator.control("POST", "/_keys", {"api_key": pieces.api_key, **change})
    order = (await pieces.submit()).order
    assert (order.state, order.code) == (OrderState.REJECTED, "BAD_CREDENTIALS")
    (broker,) = await pieces.rows("SELECT paused_reason FROM brokers")
    assert "key" in broker["paused_reason"]
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.BROKER_DISABLED
    assert len(pieces.placed()) == 1


@row(20)
async def test_a_stop_whose_replacement_was_done_by_half_is_there_again_within_a_second(moving: Pieces) -> None:
    moving.quotes.put(SYMBOL, at=moving.desk.clock.now(), last=Decimal(60000), bid=Decimal(60000), ask=Decimal(60000))
    await moving.submit(moving.intent(protection=ProtectionPlan(stop_price=Decimal(59000))))
    (protection,) = await moving.rows("SELECT id FROM protections")
    await guard(moving.desk, protection["id"])
    (stop,) = await live_stops(moving)
    assert stop.execution is Execution.NATIVE
    plan = dump_plan(ProtectionPlan(stop_price=Decimal(59500)))
    await moving.rows("UPDATE protections SET plan = $2 WHERE id = $1", protection["id"], plan)
    moving.emulator.control("POST", "/_symbols", {"symbol": "BTCUSDT", "status": "CANCEL_ONLY"})
    again_in_s = await guard(moving.desk, protection["id"])
    assert await live_stops(moving) == [], "the old one is gone, and the new one was refused"
    assert (await moving.order(stop.id)).state is OrderState.CANCELED
    assert again_in_s is not None
    assert again_in_s < 1, "without a stop for less than a second"
    moving.emulator.control("POST", "/_symbols", {"symbol": "BTCUSDT", "status": "TRADING"})
    await asyncio.sleep(again_in_s)
    await guard(moving.desk, protection["id"])
    (new,) = await live_stops(moving)
    assert (new.execution, new.trigger_price) == (Execution.NATIVE, Decimal(59500))
    assert [order["orderId"] for order in moving.placed() if order["status"] == "NEW"] == [int(new.venue_order_id or 0)]


async def live_stops(pieces: Pieces) -> list[OrderRecord]:
    rows = await pieces.rows("SELECT * FROM orders WHERE role = $1 AND state IN ('open', 'intent')", Role.STOP.value)
    return [OrderRecord.of(found) for found in rows]
