"""The day-long search for an order that was given up, on a clock of the test's own."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.clock import ManualClock
from app.domain.enums import OrderState
from app.domain.orders import Reported
from app.trading.desk import Desk
from app.trading.outbox import Notice, NoticeKind, Outbox
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import Pieces
from tests.app.scripted_client import ScriptedClient, scripted
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

LOOKS = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 6 * 60, 24 * 60)]


async def given_up(pieces: Pieces) -> tuple[Desk, ManualClock, ScriptedClient, OrderRecord]:
    """An order that was executed, while the venue denies knowing it until the test says otherwise."""
    order = await pieces.filled()
    clock = ManualClock(pieces.desk.clock.now())

    async def nothing(*_: Any, **__: Any) -> Reported | None:
        return None

    async def later(*_: Any, **__: Any) -> Any:
        return clock.now()

    desk, client = await scripted(pieces.with_clock(clock), pieces.broker_id, fetch_order=nothing, server_time=later)
    await pieces.rows("DELETE FROM fills")
    await pieces.rows("DELETE FROM positions")
    await pieces.rows(
        "UPDATE orders SET state = 'unknown', filled_quantity = 0, fills_quantity = 0, average_price = NULL, venue_order_id = NULL"
    )
    return desk, clock, client, order


@row(7)
async def test_lost_order_is_looked_for_at_six_moments_of_a_day_and_then_no_more(pieces: Pieces) -> None:
    desk, clock, client, order = await given_up(pieces)
    reconciler = Reconciler(desk)
    clock.advance(timedelta(seconds=21))
    await reconciler.once()
    assert (await pieces.order(order.id)).state is OrderState.LOST
    lost_at = clock.now()

    looked: list[timedelta] = []
    while clock.now() < lost_at + timedelta(hours=30):
        clock.advance(timedelta(seconds=30) if clock.now() < lost_at + timedelta(hours=1) else timedelta(minutes=30))
        before = client.asked.count("fetch_order")
        await reconciler.once()
        if client.asked.count("fetch_order") > before:
            looked.append(clock.now() - lost_at)
    assert looked == LOOKS


@row(3, 7)
async def test_order_that_appears_after_six_hours_is_resurrected_counted_and_told_once(pieces: Pieces) -> None:
    """§5 rows 3 and 7: the venue hides an order for longer than anybody waits."""
    desk, clock, client, order = await given_up(pieces)
    reconciler = Reconciler(desk)
    clock.advance(timedelta(seconds=21))
    await reconciler.once()
    assert (await pieces.order(order.id)).reserved == 0
    for after in (*LOOKS[:4], timedelta(minutes=1)):
        clock.advance(after)
        await reconciler.once()
    assert (await pieces.order(order.id)).state is OrderState.LOST

    del client._answers["fetch_order"]
    clock.advance(timedelta(hours=6))
    await reconciler.once()
    await reconciler.once()
    found = await pieces.order(order.id)
    assert (found.state, found.fills_quantity) == (OrderState.FILLED, order.quantity)
    (position,) = await pieces.rows("SELECT quantity FROM positions")
    assert position["quantity"] == Decimal("0.00999")
    kinds = [row["kind"] for row in await pieces.rows("SELECT kind FROM order_events WHERE order_id = $1 ORDER BY id", order.id)]
    assert (kinds[-2:], kinds.count("Resurrected")) == (["NotFoundAfterWindow", "Resurrected"], 1)
    assert [row["kind"] for row in await pieces.rows("SELECT kind FROM outbox ORDER BY id")] == ["order_lost", "order_resurrected"]
    assert len(pieces.placed()) == 1


@row(21)
async def test_notice_is_handed_on_once_and_again_only_if_the_process_died_before_it_was_done(pieces: Pieces) -> None:
    desk, clock, _, _ = await given_up(pieces)
    clock.advance(timedelta(seconds=21))
    await Reconciler(desk).once()
    with desk.bus.subscribe(Notice) as notices:
        assert [await Outbox(desk).once(), await Outbox(desk).once()] == [1, 0]
        first = notices.get_nowait()
        assert notices.get_nowait() is None
        await pieces.rows("UPDATE outbox SET done_at = NULL")
        await Outbox(desk).once()
        again = notices.get_nowait()
    assert isinstance(first, Notice)
    assert (first.kind, "never arrived. No money moved." in first.text) == (NoticeKind.ORDER_LOST, True)
    assert again == first, "whoever tells people knows it by its id"
