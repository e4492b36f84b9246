"""Whoever waits for an order in doubt hears of it, and asks the database next to nothing meanwhile."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from app.core.events import EventBus
from app.core.leases import LeaseHolder
from app.domain.enums import OrderState
from app.errors import Fenced
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from app.webhooks import settling
from app.webhooks.settling import settled
from tests.app.conftest import Pieces
from tests.app.fast_ways import counted_statements

pytestmark = pytest.mark.asyncio

DEADLINE_S = 20.0


@pytest.fixture
def rare_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no event tells is not heard of."""
    monkeypatch.setattr(settling, "_POLL_S", 3600.0)


async def in_doubt(pieces: Pieces) -> OrderRecord:
    """An order that is at the exchange, and of which nobody here knows it."""
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_after")
    order = (await pieces.submit()).order
    assert order.state is OrderState.UNKNOWN
    return order


async def found(pieces: Pieces, bus: EventBus | None = None) -> None:
    """Let the exchange be asked about it."""
    desk = pieces.desk if bus is None else replace(pieces.desk, bus=bus)
    await Reconciler(desk, interval_s=1).once()


def waits(pieces: Pieces, order: OrderRecord, *, for_s: float = 3600.0) -> Any:
    return settled(pieces.desk, order, give_up_at=time.monotonic() + for_s)


async def test_two_hundred_that_wait_ask_once_each_and_hear_at_once(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch, rare_polls: None
) -> None:
    order = await in_doubt(pieces)
    asked = counted_statements(monkeypatch)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(waits(pieces, order)) for _ in range(200)]
        while asked.count(settling._ORDER) < 200:  # noqa: ASYNC110  # nobody tells of a statement
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert asked.count(settling._ORDER) == 200
        await found(pieces)
    assert {task.result().state for task in tasks} == {OrderState.FILLED}


@pytest.mark.usefixtures("rare_polls")
async def test_what_happened_before_anybody_listened_is_read(pieces: Pieces) -> None:
    order = await in_doubt(pieces)
    await found(pieces)
    async with asyncio.timeout(DEADLINE_S):
        assert (await waits(pieces, order)).state is OrderState.FILLED


@pytest.mark.usefixtures("rare_polls")
async def test_news_that_comes_while_the_order_is_read_is_not_lost(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    order = await in_doubt(pieces)
    read = settling._read

    async def slowly(*values: Any) -> OrderRecord:
        current = await read(*values)
        if current.state is OrderState.UNKNOWN:
            await found(pieces)
        return current

    monkeypatch.setattr(settling, "_read", slowly)
    async with asyncio.timeout(DEADLINE_S):
        assert (await waits(pieces, order)).state is OrderState.FILLED


async def test_what_another_process_wrote_is_found_by_and_by(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_POLL_S", 0.2)
    order = await in_doubt(pieces)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        task = group.create_task(waits(pieces, order))
        await asyncio.sleep(0.1)
        await found(pieces, bus=EventBus())
    assert task.result().state is OrderState.FILLED


@pytest.mark.usefixtures("rare_polls")
async def test_who_gives_up_does_so_in_time_and_has_the_order_as_it_is(pieces: Pieces) -> None:
    order = await in_doubt(pieces)
    async with asyncio.timeout(DEADLINE_S):
        assert (await waits(pieces, order, for_s=0.3)).state is OrderState.UNKNOWN


async def test_who_lost_the_role_waits_no_longer(pieces: Pieces) -> None:
    order = await in_doubt(pieces)
    stranger = replace(pieces.desk, lease=LeaseHolder(pieces.database, pieces.desk.lease.role))
    with pytest.raises(Fenced):
        await settled(stranger, order, give_up_at=time.monotonic() + DEADLINE_S)


async def test_order_that_is_settled_costs_no_question(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    order = await pieces.filled()
    asked = counted_statements(monkeypatch)
    assert await waits(pieces, order) is order
    assert settling._ORDER not in asked
