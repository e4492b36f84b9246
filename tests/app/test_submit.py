import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.leases import LeaseHolder
from app.domain.enums import OrderState, OrderType, Side, TimeInForce
from app.errors import BrokerNotFound, DenialReason, OrderDenied, OrderNotCancellable, OrderNotFound
from app.exchanges import venue_class
from app.trading.cancel import cancel
from app.trading.events import FillRecorded, OrderChanged
from app.trading.reconcile import Reconciler
from app.trading.send import send
from app.trading.submit import submit
from tests.app.conftest import Pieces, make_broker, make_user, open_account
from tests.app.stored import told
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

#: Faults after which the order is at the venue although nobody told us.
EXECUTED = [
    ("drop_after", {}),
    ("status_after", {"status": 504, "body": {"code": -1007, "msg": "Timeout waiting for response from backend server."}}),
    ("status_after", {"status": 503, "body": {"code": -1000, "msg": "Unknown error"}}),
    ("truncate", {}),
    ("html", {}),
]


async def test_market_order_is_filled_and_written_down_once(pieces: Pieces) -> None:
    with pieces.bus.subscribe(OrderChanged, FillRecorded) as events:
        submission = await pieces.submit(pieces.intent(quantity="0.01"))

    order = await pieces.order(submission.order.id)
    (placed,) = pieces.placed()
    assert submission.is_new
    assert (order.state, order.filled_quantity, order.fills_quantity) == (OrderState.FILLED, Decimal("0.01"), Decimal("0.01"))
    assert (order.client_order_id, order.venue_order_id) == (placed["clientOrderId"], str(placed["orderId"]))
    assert order.average_price is not None
    assert order.sent_at is not None
    assert order.acknowledged_at is not None
    kinds = [row["kind"] for row in await pieces.rows("SELECT kind FROM order_events WHERE order_id = $1 ORDER BY id", order.id)]
    assert kinds == ["Intent", "Claimed", "Reported"]
    published = []
    while (event := events.get_nowait()) is not None:
        published.append(event)
    assert [type(event).__name__ for event in published][:2] == ["OrderChanged", "OrderChanged"]
    assert any(isinstance(event, FillRecorded) for event in published)


@pytest.mark.parametrize(("do", "fields"), EXECUTED)
async def test_lost_reply_leaves_the_order_unknown_until_reconcile_finds_it_filled(pieces: Pieces, do: str, fields: dict[str, Any]) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault(do, **fields)
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    assert pieces.desk.doubt.is_set()

    await Reconciler(pieces.desk, interval_s=1).once()
    await Reconciler(pieces.desk, interval_s=1).once()

    settled = await pieces.order(order.id)
    assert (settled.state, settled.filled_quantity, settled.fills_quantity) == (OrderState.FILLED, order.quantity, order.quantity)
    assert len(pieces.placed()) == 1


@row(10)
async def test_reply_slower_than_our_patience_is_a_doubt_not_a_failure(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_class, "WRITE_TIMEOUT_MS", 300)
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("delay", delay_ms=900)
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN

    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.FILLED
    assert len(pieces.placed()) == 1


async def test_order_that_never_arrived_is_lost_only_after_the_window_and_never_sent_again(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_before")
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN

    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.UNKNOWN

    await pieces.backdate(order.id, seconds=21)
    await Reconciler(pieces.desk, interval_s=1).once()
    await Reconciler(pieces.desk, interval_s=1).once()
    lost = await pieces.order(order.id)
    assert lost.state is OrderState.LOST
    assert lost.detail is not None
    assert "never arrived" in lost.detail
    assert pieces.placed() == []


async def test_the_venue_clock_decides_when_the_window_has_passed(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_before")
    order = (await pieces.submit()).order
    fast = type("FastClock", (), {"now": lambda _: pieces.desk.clock.now() + timedelta(minutes=5)})()

    await Reconciler(pieces.with_clock(fast), interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.UNKNOWN


async def test_rate_limited_order_is_rejected_and_not_at_the_venue(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("status_before", status=429, body={"code": -1003, "msg": "Too many"}, headers={"Retry-After": "5"})
    order = (await pieces.submit()).order
    assert (order.state, order.code) == (OrderState.REJECTED, "EXCHANGE_RATE_LIMITED")
    assert pieces.placed() == []


async def test_funds_that_went_elsewhere_since_the_balance_was_told_are_a_rejection_with_words(pieces: Pieces) -> None:
    await told(pieces, {"USDT": "9000000"})
    order = (await pieces.submit(pieces.intent(quantity="50"))).order
    assert (order.state, order.code) == (OrderState.REJECTED, "INSUFFICIENT_FUNDS")
    assert order.detail == "Not enough USDT: free 9000000."
    assert pieces.placed() == []


async def test_refused_key_pauses_the_account_and_the_next_order_is_denied(pieces: Pieces) -> None:
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key="a-key-nobody-opened", name="Bad key")
    await told(replace(pieces, broker_id=broker_id), {"USDT": "1000"})
    order = (await pieces.submit(broker_id=broker_id)).order
    assert (order.state, order.code) == (OrderState.REJECTED, "BAD_CREDENTIALS")
    with pytest.raises(OrderDenied, match="paused") as caught:
        await pieces.submit(broker_id=broker_id)
    assert caught.value.reason is DenialReason.BROKER_DISABLED


@row(27)
async def test_same_key_twice_makes_one_order(pieces: Pieces) -> None:
    intent = pieces.intent(key="one signal")
    first, second = await pieces.submit(intent), await pieces.submit(intent)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.order.id == second.order.id
    assert len(pieces.placed()) == 1


@row(27)
async def test_same_key_at_once_makes_one_order(pieces: Pieces) -> None:
    intent = pieces.intent(key="one signal")
    submissions = await asyncio.gather(*(pieces.submit(intent) for _ in range(6)))
    assert sum(submission.is_new for submission in submissions) == 1
    assert len({submission.order.id for submission in submissions}) == 1
    assert len(pieces.placed()) == 1


@row(25)
async def test_without_the_role_the_intent_waits_and_its_owner_sends_it(pieces: Pieces) -> None:
    stranger = replace(pieces.desk, lease=LeaseHolder(pieces.database, pieces.desk.lease.role))
    order = (await submit(stranger, pieces.user_id, pieces.intent())).order
    assert order.state is OrderState.INTENT
    assert pieces.placed() == []

    reconciler = Reconciler(pieces.desk, interval_s=1)
    await reconciler.once()
    assert pieces.placed() == [], "an intent this young may still be on its sender's way"
    await pieces.backdate(order.id, seconds=2)
    await reconciler.once()
    assert (await pieces.order(order.id)).state is OrderState.FILLED
    assert len(pieces.placed()) == 1


async def test_order_whose_deadline_has_passed_is_denied_and_not_sent(pieces: Pieces) -> None:
    late = pieces.intent(deadline=pieces.desk.clock.now() - timedelta(seconds=1))
    order = (await pieces.submit(late)).order
    assert (order.state, order.code) == (OrderState.DENIED, "DEADLINE_PASSED")
    assert pieces.placed() == []


@row(21)
async def test_manual_order_left_by_a_dead_process_is_not_sent_long_after(pieces: Pieces) -> None:
    stranger = replace(pieces.desk, lease=LeaseHolder(pieces.database, pieces.desk.lease.role))
    order = (await submit(stranger, pieces.user_id, pieces.intent())).order
    await pieces.backdate(order.id, seconds=3600)
    await pieces.rows("UPDATE orders SET deadline = deadline - interval '1 hour' WHERE id = $1", order.id)

    await Reconciler(pieces.desk, interval_s=1).once()
    late = await pieces.order(order.id)
    assert (late.state, late.code) == (OrderState.DENIED, "DEADLINE_PASSED")
    assert pieces.placed() == []


async def test_limit_order_rests_fills_when_the_market_comes_and_is_found_by_reconcile(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit("59500.00"))).order
    assert order.state is OrderState.OPEN
    moving.emulator.advance(18)
    await Reconciler(moving.desk, interval_s=1).once()
    filled = await moving.order(order.id)
    assert (filled.state, filled.average_price) == (OrderState.FILLED, Decimal(59500))
    (fill,) = await moving.rows("SELECT sum(quantity) AS quantity FROM fills WHERE order_id = $1", order.id)
    assert fill["quantity"] == order.quantity


async def test_resting_order_is_canceled_once(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    canceled = await cancel(pieces.desk, pieces.user_id, order.id)
    assert canceled.state is OrderState.CANCELED
    assert canceled.cancel_requested_at is not None
    with pytest.raises(OrderNotCancellable, match="already canceled"):
        await cancel(pieces.desk, pieces.user_id, order.id)
    assert [placed["status"] for placed in pieces.placed()] == ["CANCELED"]


async def test_cancel_that_comes_after_the_fill_finds_the_fill(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit("59500.00"))).order
    moving.emulator.advance(18)
    assert (await cancel(moving.desk, moving.user_id, order.id)).state is OrderState.FILLED


async def test_lost_answer_to_a_cancel_is_looked_up(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    pieces.fault("drop_after", method="DELETE")
    assert (await cancel(pieces.desk, pieces.user_id, order.id)).state is OrderState.CANCELED


async def test_asking_to_cancel_a_finished_order_leaves_no_mark_on_it(pieces: Pieces) -> None:
    order = await pieces.filled()
    with pytest.raises(OrderNotCancellable):
        await cancel(pieces.desk, pieces.user_id, order.id)
    assert (await pieces.order(order.id)).cancel_requested_at is None


async def test_order_of_somebody_else_cannot_be_canceled(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    with pytest.raises(OrderNotFound):
        await cancel(pieces.desk, await make_user(pieces.database, "eve"), order.id)
    assert (await pieces.order(order.id)).state is OrderState.OPEN


async def test_intent_that_nobody_sent_yet_is_canceled_here(pieces: Pieces) -> None:
    stranger = replace(pieces.desk, lease=LeaseHolder(pieces.database, pieces.desk.lease.role))
    order = (await submit(stranger, pieces.user_id, pieces.intent())).order
    canceled = await cancel(pieces.desk, pieces.user_id, order.id)
    assert (canceled.state, canceled.code) == (OrderState.DENIED, "CANCELED_BEFORE_SENDING")
    assert pieces.placed() == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"symbol": "NOPE/USDT"}, DenialReason.SYMBOL_UNKNOWN),
        ({"symbol": "BTCUSDT.P"}, DenialReason.SYMBOL_UNKNOWN),
        ({"quantity": "0.000001"}, DenialReason.QUANTITY_BELOW_MINIMUM),
        ({"quantity": "1000000"}, DenialReason.QUANTITY_ABOVE_MAXIMUM),
        ({"quantity": None}, DenialReason.QUANTITY_MISSING),
        ({"quantity": "NaN"}, DenialReason.QUANTITY_INVALID),
        ({"type": OrderType.LIMIT}, DenialReason.PRICE_MISSING),
        ({"type": OrderType.STOP_LIMIT, "price": Decimal(1)}, DenialReason.TRIGGER_MISSING),
        ({"type": OrderType.LIMIT, "price": Decimal("60000"), "quantity": "0.00001"}, DenialReason.NOTIONAL_BELOW_MINIMUM),
        ({"quantity": None, "close_position": True, "side": Side.SELL}, DenialReason.NO_POSITION),
    ],
)
async def test_denied_order_is_neither_stored_nor_sent(pieces: Pieces, fields: dict[str, Any], reason: DenialReason) -> None:
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(pieces.intent(**fields))
    assert caught.value.reason is reason
    assert await pieces.rows("SELECT 1 FROM orders") == []
    assert pieces.placed() == []


async def test_user_without_an_account_is_told_to_add_one(pieces: Pieces) -> None:
    nobody = await make_user(pieces.database, "nobody")
    with pytest.raises(OrderDenied) as caught:
        await submit(pieces.desk, nobody, pieces.intent())
    assert caught.value.reason is DenialReason.NO_BROKER


async def test_account_of_somebody_else_is_not_found(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    with pytest.raises(BrokerNotFound):
        await submit(pieces.desk, eve, pieces.intent(), broker_id=pieces.broker_id)


async def test_switched_off_account_trades_nothing(pieces: Pieces) -> None:
    await pieces.rows("UPDATE brokers SET is_active = false")
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.BROKER_INACTIVE


async def test_notional_buys_for_no_more_than_it_says(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.intent(quantity=None, notional=Decimal(600)))).order
    assert order.state is OrderState.FILLED
    assert order.average_price is not None
    assert Decimal(590) < order.filled_quantity * order.average_price <= Decimal(600)


async def test_whole_balance_can_be_spent_and_sold(pieces: Pieces) -> None:
    sold = (await pieces.submit(pieces.intent(Side.SELL, None, percent=Decimal(1)))).order
    assert (sold.state, sold.filled_quantity) == (OrderState.FILLED, Decimal(1))
    bought = (await pieces.submit(pieces.intent(Side.BUY, None, percent=Decimal("0.1")))).order
    assert bought.state is OrderState.FILLED


async def test_fill_or_kill_that_cannot_fill_is_over_at_once(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00", time_in_force=TimeInForce.FOK))).order
    assert order.state in (OrderState.EXPIRED, OrderState.CANCELED)
    assert order.filled_quantity == 0


async def test_each_account_sends_with_its_own_key(pieces: Pieces) -> None:
    other_key = open_account(pieces.emulator)
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=other_key, name="Other")
    await pieces.submit(broker_id=other)
    assert [order["api_key"] for order in pieces.emulator.orders() if order["api_key"] in (other_key, pieces.api_key)] == [other_key]


async def test_account_switched_off_after_the_intent_was_stored_is_not_traded(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.desk.lease.lose()
    order = (await pieces.submit()).order
    assert order.state is OrderState.INTENT
    async with pieces.database.connection() as connection:
        await connection.execute("UPDATE brokers SET is_active = false WHERE id = $1", pieces.broker_id)
    await pieces.desk.lease.renew()
    client = await pieces.connections.client(pieces.broker_id)

    sent = await send(pieces.desk, order, client)
    assert (sent.state, sent.code) == (OrderState.DENIED, "BROKER_INACTIVE")
    assert pieces.placed() == []


async def test_repeated_percent_finds_its_order_although_the_balance_has_changed(pieces: Pieces) -> None:
    first = await pieces.submit(pieces.intent(quantity=None, percent=Decimal("0.5"), key="half"))
    again = await pieces.submit(pieces.intent(quantity=None, percent=Decimal("0.5"), key="half"))
    assert (again.is_new, again.order.id) == (False, first.order.id)
