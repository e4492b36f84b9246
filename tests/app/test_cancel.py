"""Canceling when the order, or the engine, is somewhere else; and orders that the venue does not show."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.brokers.connections import Connections
from app.brokers.schemas import BrokerPatch
from app.brokers.service import change_broker, remove_broker
from app.core.leases import LeaseHolder
from app.domain.enums import OrderState
from app.errors import BrokerNotFound, Conflict
from app.trading import sweep
from app.trading.cancel import cancel, cancel_all
from app.trading.desk import Desk
from app.trading.portfolio import count_open_orders
from app.trading.reconcile import Reconciler
from app.trading.submit import submit
from tests.app.conftest import API_SECRET, Pieces, open_account
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio


def without_the_role(pieces: Pieces) -> Desk:
    return replace(pieces.desk, lease=LeaseHolder(pieces.database, pieces.desk.lease.role))


async def nothing(*_: Any, **__: Any) -> None:
    return None


async def none_open(*_: Any, **__: Any) -> list[Any]:
    return []


async def kinds(pieces: Pieces) -> list[str]:
    return [row["kind"] for row in await pieces.rows("SELECT kind FROM order_events ORDER BY id")]


async def test_order_that_was_canceled_on_its_way_is_canceled_when_it_has_arrived(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    await pieces.rows(
        "UPDATE orders SET state = 'submitting', venue_order_id = NULL, cancel_requested_at = now() WHERE id = $1",
        order.id,
    )
    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.CANCELED
    assert [placed["status"] for placed in pieces.placed()] == ["CANCELED"]


async def test_process_without_the_role_only_writes_down_the_wish_and_the_engine_cancels(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    asked = await cancel(without_the_role(pieces), pieces.user_id, order.id)
    assert (asked.state, [placed["status"] for placed in pieces.placed()]) == (OrderState.OPEN, ["NEW"])
    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await pieces.order(order.id)).state is OrderState.CANCELED
    assert [placed["status"] for placed in pieces.placed()] == ["CANCELED"]


async def test_intent_canceled_by_a_process_without_the_role_is_never_sent(pieces: Pieces) -> None:
    stranger = without_the_role(pieces)
    order = (await submit(stranger, pieces.user_id, pieces.intent())).order
    assert (await cancel(stranger, pieces.user_id, order.id)).state is OrderState.INTENT
    await Reconciler(pieces.desk, interval_s=1).once()
    denied = await pieces.order(order.id)
    assert (denied.state, denied.code, pieces.placed()) == (OrderState.DENIED, "CANCELED_BEFORE_SENDING", [])


async def test_overdue_intent_of_an_account_that_is_gone_is_denied(pieces: Pieces) -> None:
    order = (await submit(without_the_role(pieces), pieces.user_id, pieces.intent())).order
    async with pieces.database.transaction() as session:
        await remove_broker(session, pieces.user_id, pieces.broker_id, now=pieces.desk.clock.now())
    await pieces.connections.drop(pieces.broker_id)
    await pieces.rows("UPDATE orders SET deadline = now() - interval '1 minute'")
    await Reconciler(pieces.desk, interval_s=1).once()
    denied = await pieces.order(order.id)
    assert (denied.state, denied.code) == (OrderState.DENIED, "DEADLINE_PASSED")


async def lost(pieces: Pieces, *, minutes_ago: int) -> Any:
    """An order at the venue that was given up so many minutes ago and is due to be looked for."""
    order = await pieces.filled()
    await pieces.rows("DELETE FROM fills")
    await pieces.rows("DELETE FROM positions")
    await pieces.rows(
        "UPDATE orders SET state = 'lost', filled_quantity = 0, fills_quantity = 0, average_price = NULL, venue_order_id = NULL,"
        " updated_at = now() - $1::interval, next_check_at = now() - interval '1 second'",
        timedelta(minutes=minutes_ago),
    )
    return order


async def test_lost_order_that_appears_late_is_counted_and_says_so(pieces: Pieces) -> None:
    order = await lost(pieces, minutes_ago=1)
    await Reconciler(pieces.desk, interval_s=1).once()
    found = await pieces.order(order.id)
    assert (found.state, found.fills_quantity) == (OrderState.FILLED, order.quantity)
    assert (await kinds(pieces))[-1] == "Resurrected"
    assert len(await pieces.rows("SELECT 1 FROM positions WHERE status = 'open'")) == 1
    assert len(await pieces.rows("SELECT 1 FROM orders WHERE next_check_at IS NULL")) == 1


@pytest.mark.parametrize(("minutes_ago", "following"), [(1, 5), (5, 15), (16, 60), (61, 360), (361, 1440), (1441, None)])
async def test_lost_order_is_looked_for_less_and_less_often_for_a_day(pieces: Pieces, minutes_ago: int, following: int | None) -> None:
    order = await lost(pieces, minutes_ago=minutes_ago)
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_order=nothing)
    await Reconciler(desk, interval_s=1).once()
    (row,) = await pieces.rows("SELECT state, next_check_at - updated_at AS following FROM orders WHERE id = $1", order.id)
    assert row["state"] == "lost"
    assert row["following"] == (None if following is None else timedelta(minutes=following))


async def test_order_is_looked_for_a_minute_after_it_was_lost(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_before")
    order = (await pieces.submit()).order
    await pieces.backdate(order.id, seconds=21)
    await Reconciler(pieces.desk, interval_s=1).once()
    (row,) = await pieces.rows("SELECT state, next_check_at - updated_at AS following FROM orders WHERE id = $1", order.id)
    assert (row["state"], row["following"]) == ("lost", timedelta(minutes=1))


async def test_open_order_the_venue_has_forgotten_is_pointed_out_once_and_does_not_hold_its_account(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pieces.submit(pieces.limit("50000.00"))
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_order=nothing, fetch_open_orders=none_open)
    reconciler = Reconciler(desk, interval_s=1)
    for _ in range(6):
        await reconciler.once()
    assert sweep.MISSING not in await kinds(pieces), "five looks within a moment prove nothing"
    assert await count_open_orders(desk, pieces.broker_id) == 1

    monkeypatch.setattr(sweep, "_MISSING_S", 0.0)
    for _ in range(3):
        await reconciler.once()
    assert (await kinds(pieces)).count(sweep.MISSING) == 1
    assert await count_open_orders(desk, pieces.broker_id) == 0

    await Reconciler(pieces.desk, interval_s=1).once()
    assert (await kinds(pieces))[-1] == "FoundAtVenue"
    assert await count_open_orders(desk, pieces.broker_id) == 1


async def test_resting_orders_of_a_paused_account_are_asked_about_seldom(pieces: Pieces) -> None:
    await pieces.submit(pieces.limit("50000.00"))
    await pieces.rows("UPDATE brokers SET paused_reason = 'a test'")
    desk, client = await scripted(pieces.desk, pieces.broker_id)
    reconciler = Reconciler(desk, interval_s=1)
    for _ in range(3):
        await reconciler.once()
    assert client.asked.count("fetch_open_orders") == 1


async def test_keys_that_another_process_changed_are_used(pieces: Pieces) -> None:
    elsewhere = Connections(pieces.database, pieces.vault, pieces.registry)
    old = await elsewhere.client(pieces.broker_id)
    assert await elsewhere.drop_changed() == set()
    changes = BrokerPatch.model_validate({"api_key": open_account(pieces.emulator), "api_secret": API_SECRET})
    async with pieces.database.transaction() as session:
        await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, changes)
    assert await elsewhere.drop_changed() == {pieces.broker_id}
    assert await elsewhere.client(pieces.broker_id) is not old
    assert await elsewhere.drop_changed() == set()
    async with pieces.database.transaction() as session:
        await remove_broker(session, pieces.user_id, pieces.broker_id, now=pieces.desk.clock.now())
    await elsewhere.drop_changed()
    with pytest.raises(BrokerNotFound):
        await elsewhere.client(pieces.broker_id)
    await elsewhere.close()


async def test_an_order_that_cannot_be_written_down_does_not_keep_the_others_from_being_canceled(pieces: Pieces) -> None:
    first, second = [(await pieces.submit(pieces.limit(price))).order for price in ("50000", "51000")]
    real = (await pieces.desk.connections.client(pieces.broker_id)).cancel_order

    async def conflicting(symbol: str, *, client_order_id: str, **known: Any) -> Any:
        if client_order_id == first.client_order_id:
            raise Conflict("the exchange gave this order an id that another order of the account has")
        return await real(symbol, client_order_id=client_order_id, **known)

    desk, _ = await scripted(pieces.desk, pieces.broker_id, cancel_order=conflicting)
    found = await cancel_all(desk, pieces.user_id)
    assert [order.id for order in found] == [first.id, second.id]
    assert (await pieces.order(second.id)).state is OrderState.CANCELED
