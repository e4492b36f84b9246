import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.core.supervisor import Supervisor
from app.domain.enums import Liquidity, OrderState, Side
from app.domain.orders import Claimed, Denied, Fill, Reported
from app.errors import Conflict, ExchangeError, Fenced, InvalidTransition, OrderNotFound
from app.exchanges.reports import trade_fills
from app.trading.apply import record
from app.trading.reconcile import Reconciler
from app.trading.submit import submit
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


def fill(trade_id: str, quantity: str, price: str = "60000") -> Fill:
    return Fill(
        trade_id=trade_id,
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(0),
        fee_asset="USDT",
        liquidity=Liquidity.MAKER,
        executed_at=MOMENT,
    )


def report(state: OrderState, filled: str, *fills: Fill, price: str = "60000", venue_order_id: str = "77") -> Reported:
    average = Decimal(price) if Decimal(filled) else None
    return Reported(state=state, venue_order_id=venue_order_id, filled_quantity=Decimal(filled), average_price=average, fills=fills)


async def claimed(pieces: Pieces, quantity: str = "1") -> UUID:
    """An order that this process claimed and sent, by its row; the venue was never told."""
    lease = pieces.desk.lease
    stranger = replace(pieces.desk, lease=type(lease)(pieces.database, lease.role))
    await pieces.connections.client(pieces.broker_id)
    order = (await submit(stranger, pieces.user_id, pieces.limit("50000.00", quantity=quantity))).order
    await record(pieces.desk, order.id, Claimed())
    return order.id


async def leave_submitting(pieces: Pieces, order_id: UUID) -> None:
    """As a process leaves it that was killed before it could write down the answer."""
    await pieces.rows("DELETE FROM fills")
    await pieces.rows("DELETE FROM positions")
    await pieces.rows(
        "UPDATE orders SET state = 'submitting', filled_quantity = 0, fills_quantity = 0, average_price = NULL, venue_order_id = NULL"
        " WHERE id = $1",
        order_id,
    )


@row(21)
async def test_order_of_a_dead_process_is_found_filled(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    assert await Reconciler(pieces.desk, interval_s=1).once() == 1
    found = await pieces.order(order.id)
    assert (found.state, found.filled_quantity, found.venue_order_id) == (OrderState.FILLED, order.quantity, order.venue_order_id)
    assert found.fills_quantity == order.quantity
    assert len(await pieces.rows("SELECT 1 FROM positions WHERE status = 'open'")) == 1
    assert len(pieces.placed()) == 1


async def test_order_that_this_process_is_sending_is_left_alone(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    pieces.desk.in_flight.add(order.id)
    assert await Reconciler(pieces.desk, interval_s=1).once() == 0
    assert (await pieces.order(order.id)).state is OrderState.SUBMITTING


async def test_venue_that_does_not_answer_leaves_the_order_in_doubt(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    await pieces.backdate(order.id, seconds=3600)
    pieces.fault("drop_before", method="GET", times=10)
    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.UNKNOWN
    pieces.emulator.control("DELETE", "/_fault")
    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.FILLED


async def test_one_accounts_trouble_does_not_stop_the_others(pieces: Pieces) -> None:
    order = await pieces.filled()
    broken = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key="a-key-nobody-opened", name="Broken")
    await leave_submitting(pieces, order.id)
    await pieces.rows(
        "INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object('id', $2::text, 'broker_id', $1::text))).* FROM orders o",
        str(broken),
        str(new_id()),
    )
    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.FILLED
    (paused,) = await pieces.rows("SELECT paused_reason FROM brokers WHERE id = $1", broken)
    assert paused["paused_reason"] is not None


async def test_partial_then_filled_counts_each_fill_once_however_often_it_is_reported(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    first = report(OrderState.PARTIAL, "0.4", fill("1", "0.4", "50000"), price="50000")
    last = report(OrderState.FILLED, "1", fill("1", "0.4", "50000"), fill("2", "0.6", "49000"), price="49400")
    for event in (first, first, last, first, last):
        await record(pieces.desk, order_id, event)
    order = await pieces.order(order_id)
    assert (order.state, order.filled_quantity, order.fills_quantity) == (OrderState.FILLED, Decimal(1), Decimal(1))
    assert order.average_price == Decimal(49400)
    assert len(await pieces.rows("SELECT 1 FROM fills")) == 2
    (position,) = await pieces.rows("SELECT quantity, average_price FROM positions")
    assert (position["quantity"], position["average_price"]) == (Decimal(1), Decimal(49400))
    assert len(await pieces.rows("SELECT 1 FROM order_events WHERE kind = 'Reported'")) == 2


async def test_reports_at_the_same_moment_count_a_fill_once(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    event = report(OrderState.FILLED, "1", fill("1", "0.4"), fill("2", "0.6"))
    await asyncio.gather(*(record(pieces.desk, order_id, event) for _ in range(8)))
    (position,) = await pieces.rows("SELECT quantity FROM positions")
    assert position["quantity"] == Decimal(1)


async def test_fills_that_came_after_the_orders_report_are_believed(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    behind = report(OrderState.OPEN, "0", fill("1", "0.4", "50000"))
    assert (await record(pieces.desk, order_id, behind)).state is OrderState.PARTIAL
    lagging = report(OrderState.PARTIAL, "0.4", fill("1", "0.4", "50000"), fill("2", "0.6", "49000"), price="50000")
    order = await record(pieces.desk, order_id, lagging)
    assert (order.state, order.filled_quantity, order.average_price) == (OrderState.FILLED, Decimal(1), Decimal(49400))


async def test_order_filled_without_its_fills_is_asked_about_until_they_are_there(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    assert order.venue_order_id is not None
    bare = report(OrderState.FILLED, str(order.quantity), venue_order_id=order.venue_order_id)
    assert (await record(pieces.desk, order.id, bare)).state is OrderState.FILLED

    reconciler = Reconciler(pieces.desk, interval_s=1)
    assert [await reconciler.once(), await reconciler.once()] == [1, 0]
    assert (await pieces.order(order.id)).fills_quantity == order.quantity


async def test_step_that_cannot_be_leaves_everything_as_it_was(pieces: Pieces) -> None:
    order = await pieces.filled()
    before = await pieces.rows("SELECT count(*) FROM order_events")
    with pytest.raises(InvalidTransition):
        await record(pieces.desk, order.id, Claimed())
    assert await pieces.rows("SELECT count(*) FROM order_events") == before
    with pytest.raises(OrderNotFound):
        await record(pieces.desk, new_id(), Claimed())


@row(23)
async def test_process_that_lost_the_role_writes_nothing(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    await pieces.rows("UPDATE leases SET owner = 'another', epoch = epoch + 1")
    with pytest.raises(Fenced):
        await record(pieces.desk, order_id, report(OrderState.FILLED, "1", fill("1", "1")))
    assert (await pieces.order(order_id)).state is OrderState.SUBMITTING
    assert await pieces.rows("SELECT 1 FROM fills") == []


async def test_loop_settles_a_doubt_without_waiting_for_its_interval(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    reconciler = Reconciler(pieces.desk, interval_s=60)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("reconcile", reconciler.run)
        await asyncio.sleep(0)
        pieces.fault("drop_after")
        order = (await pieces.submit()).order
        async with asyncio.timeout(10):
            while (await pieces.order(order.id)).state is not OrderState.FILLED:  # noqa: ASYNC110  # another task's row, in PostgreSQL
                await asyncio.sleep(0.02)
        assert supervisor.health["reconcile"].restarts == 0


async def test_sell_that_never_was_a_buy_is_a_short(pieces: Pieces) -> None:
    await pieces.filled(Side.SELL)
    (position,) = await pieces.rows("SELECT quantity FROM positions")
    assert position["quantity"] == Decimal("-0.01")


async def odd(*_: Any, **__: Any) -> Any:
    raise TypeError("an answer nobody expected")


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def copied_to_another_account(pieces: Pieces) -> UUID:
    """The orders of the account once more, in another account."""
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await pieces.rows(
        "INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object('id', $2::text, 'broker_id', $1::text))).* FROM orders o",
        str(broker_id),
        str(new_id()),
    )
    return broker_id


async def test_answer_that_breaks_our_reading_harms_no_other_order_and_no_other_account(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    desk, _ = await scripted(pieces.desk, await copied_to_another_account(pieces), fetch_order=odd)
    reconciler = Reconciler(desk, interval_s=1)
    assert await reconciler.once() == 2
    assert (await pieces.order(order.id)).state is OrderState.FILLED
    assert await reconciler.once() == 1


async def test_number_that_no_column_can_hold_harms_no_other_order(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    other = await pieces.filled()
    await pieces.rows("UPDATE orders SET state = 'submitting', filled_quantity = 0, fills_quantity = 0 WHERE id = $1", other.id)
    absurd = report(OrderState.FILLED, "1E+30", fill("1", "1E+30"))

    async def answer(_symbol: str, *, client_order_id: str, **_: Any) -> Reported:
        return absurd if client_order_id != other.client_order_id else report(OrderState.FILLED, str(other.quantity), venue_order_id="78")

    await pieces.rows("UPDATE orders SET venue_order_id = NULL")
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_order=answer)
    await Reconciler(desk, interval_s=1).once()
    assert (await pieces.order(order_id)).state is OrderState.UNKNOWN
    assert (await pieces.order(other.id)).state is OrderState.FILLED


async def test_venue_whose_order_ids_begin_again_leaves_the_second_order_as_it_is(pieces: Pieces) -> None:
    first, second = await claimed(pieces), await claimed(pieces)
    await record(pieces.desk, first, report(OrderState.OPEN, "0", venue_order_id="1"))
    with pytest.raises(Conflict):
        await record(pieces.desk, second, report(OrderState.OPEN, "0", venue_order_id="1"))
    assert (await pieces.order(second)).state is OrderState.SUBMITTING


async def test_slow_account_holds_up_nobody_elses_doubt(pieces: Pieces) -> None:
    order = await pieces.filled()
    await leave_submitting(pieces, order.id)
    desk, _ = await scripted(pieces.desk, await copied_to_another_account(pieces), fetch_order=hang)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("reconcile", Reconciler(desk, interval_s=0.1).run)
        for _ in range(2):
            async with asyncio.timeout(10):
                while (await pieces.order(order.id)).state is not OrderState.FILLED:  # noqa: ASYNC110  # another task's row
                    await asyncio.sleep(0.02)
            await leave_submitting(pieces, order.id)
        assert supervisor.health["reconcile"].restarts == 0


async def test_slow_list_of_open_orders_holds_up_no_doubt_of_its_own_account(pieces: Pieces) -> None:
    order = await pieces.filled()
    await pieces.submit(pieces.limit("50000.00"))
    desk, client = await scripted(pieces.desk, pieces.broker_id, fetch_open_orders=hang)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("reconcile", Reconciler(desk, interval_s=0.1).run)
        async with asyncio.timeout(10):
            while not client.asked.count("fetch_open_orders"):  # noqa: ASYNC110  # asked by another task
                await asyncio.sleep(0.02)
            await leave_submitting(pieces, order.id)
            while (await pieces.order(order.id)).state is not OrderState.FILLED:  # noqa: ASYNC110  # another task's row
                await asyncio.sleep(0.02)


async def test_trade_with_oneself_is_a_fill_of_both_orders(pieces: Pieces) -> None:
    for number, order_id in enumerate([await claimed(pieces), await claimed(pieces)]):
        await record(pieces.desk, order_id, report(OrderState.FILLED, "1", fill("9", "1"), venue_order_id=str(number)))
        assert (await pieces.order(order_id)).fills_quantity == Decimal(1)
    assert len(await pieces.rows("SELECT 1 FROM fills WHERE trade_id = '9'")) == 2


async def test_trade_that_is_told_twice_in_one_report_is_counted_once(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    order = await record(pieces.desk, order_id, report(OrderState.PARTIAL, "0.4", fill("1", "0.4"), fill("1", "0.4")))
    assert (order.fills_quantity, order.filled_quantity) == (Decimal("0.4"), Decimal("0.4"))
    (position,) = await pieces.rows("SELECT quantity FROM positions")
    assert position["quantity"] == Decimal("0.4")


async def test_trade_without_an_id_is_not_counted() -> None:
    trade = {"id": None, "price": "1", "amount": "1", "timestamp": 1617151923742, "takerOrMaker": "taker"}
    with pytest.raises(ExchangeError):
        trade_fills([trade], quote="USDT")


async def test_order_that_was_claimed_a_moment_ago_is_not_denied(pieces: Pieces) -> None:
    order_id = await claimed(pieces)
    late = Denied(code="DEADLINE_PASSED", detail="too late")
    assert (await record(pieces.desk, order_id, late, only_from=OrderState.INTENT)).state is OrderState.SUBMITTING
