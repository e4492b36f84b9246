"""What happens at the very moment at which a broker account is removed or changed: nothing is sent that nobody follows, no keys mix."""

import asyncio
from typing import Any

import pytest

from app.brokers.keys import stored_keys
from app.brokers.schemas import BrokerPatch
from app.brokers.service import change_broker, get_broker, remove_broker
from app.domain.enums import OrderState, Side
from app.errors import BrokerNotFound, OrderDenied
from app.trading import wind_down
from app.trading.claim import claim_one
from app.trading.guardian import Guardian
from tests.app.conftest import Pieces
from tests.app.test_guardian import STOP, protection

pytestmark = pytest.mark.asyncio


async def remove(pieces: Pieces) -> None:
    await wind_down.wind_down(pieces.desk, pieces.user_id, pieces.broker_id)
    async with pieces.database.transaction() as session:
        await remove_broker(session, pieces.user_id, pieces.broker_id, now=pieces.desk.clock.now())
    await pieces.connections.drop(pieces.broker_id)


async def change(pieces: Pieces, **fields: object) -> None:
    async with pieces.database.transaction() as session:
        await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, BrokerPatch.model_validate(fields))


async def test_an_order_that_is_admitted_at_that_moment_is_waited_for(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed, go_on = asyncio.Event(), asyncio.Event()

    async def claim_and_wait(*values: Any) -> Any:
        found = await claim_one(*values)
        claimed.set()
        await go_on.wait()
        return found

    await pieces.filled()
    monkeypatch.setattr("app.trading.place.claim_one", claim_and_wait)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(pieces.submit(pieces.intent(Side.BUY, "0.02")))
        await claimed.wait()
        removing = group.create_task(remove(pieces))
        await asyncio.wait([removing], timeout=0.5)
        is_removed = removing.done()
        go_on.set()

    assert not is_removed, "the order was claimed, and nobody else could see it yet"
    assert (await pieces.order(sending.result().order.id)).state is OrderState.FILLED, "its fate is known"
    assert await pieces.rows("SELECT 1 FROM positions WHERE status <> 'closed'") == []


async def test_a_stop_for_what_an_answer_brought_meanwhile_is_taken_back(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.fault("drop_after")
    order = (await moving.submit(moving.intent(Side.BUY, protection=STOP))).order
    assert order.state is OrderState.UNKNOWN
    end = wind_down._end
    rounds: list[int] = []

    async def guard_and_end(*values: Any) -> int:
        if not rounds:
            await Guardian(moving.desk).once()
        rounds.append(await end(*values))
        return rounds[-1]

    monkeypatch.setattr(wind_down, "_end", guard_and_end)
    await remove(moving)

    assert rounds == [1, 0]
    assert [(found["side"], found["status"]) for found in moving.placed()] == [("BUY", "FILLED"), ("SELL", "CANCELED")]
    assert (await protection(moving))["status"] == "done"


async def test_a_guard_that_comes_with_the_last_answer_ends_with_the_account(moving: Pieces) -> None:
    moving.fault("drop_after")
    await moving.submit(moving.intent(Side.BUY, protection=STOP))
    await wind_down.wind_down(moving.desk, moving.user_id, moving.broker_id)
    await Guardian(moving.desk).once()
    assert (await protection(moving))["status"] == "done"
    assert [found["side"] for found in moving.placed()] == ["BUY"]


async def test_an_account_that_was_wound_down_sends_nothing_until_it_is_removed(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    await wind_down.wind_down(pieces.desk, pieces.user_id, pieces.broker_id)
    with pytest.raises(OrderDenied):
        await pieces.submit(pieces.intent(Side.SELL, "0.01"))
    (row,) = await pieces.rows("SELECT is_active FROM brokers")
    assert (row["is_active"], len(pieces.placed())) == (False, 1)


async def test_a_change_that_waits_for_a_removal_brings_no_keys_back(pieces: Pieces) -> None:
    async def change_late() -> None:
        with pytest.raises(BrokerNotFound):
            await change(pieces, is_active=True, api_key="k" * 20, api_secret="s" * 20)

    async with asyncio.TaskGroup() as group, pieces.database.transaction() as session:
        await remove_broker(session, pieces.user_id, pieces.broker_id, now=pieces.desk.clock.now())
        await asyncio.wait([group.create_task(change_late())], timeout=0.5)
    (row,) = await pieces.rows("SELECT api_key IS NULL AS has_none, is_active FROM brokers")
    assert (row["has_none"], row["is_active"]) == (True, False)


async def test_keys_that_are_given_twice_at_once_do_not_mix(pieces: Pieces) -> None:
    first = BrokerPatch.model_validate({"api_key": "1" * 20, "api_secret": "1" * 20, "api_password": "1" * 20})
    async with asyncio.TaskGroup() as group, pieces.database.transaction() as session:
        await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, first)
        await asyncio.wait([group.create_task(change(pieces, api_key="2" * 20, api_secret="2" * 20))], timeout=0.5)
    async with pieces.database.transaction() as session:
        keys = stored_keys(pieces.vault, await get_broker(session, pieces.user_id, pieces.broker_id))
    assert keys == {"api_key": "2" * 20, "api_secret": "2" * 20}, "the passphrase belongs to the keys before"
