"""The watch over triggers of several accounts: what is wrong with one of them keeps no other from being sold out."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, OrderType, Side
from app.errors import BadCredentials
from app.trading.records import OrderRecord
from app.trading.watch import TriggerWatch
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account
from tests.app.scripted_client import scripted
from tests.app.test_guardian import say

pytestmark = pytest.mark.asyncio


async def two_stops(moving: Pieces) -> tuple[OrderRecord, OrderRecord]:
    """Two users' stops of one symbol, watched here, without a feed for it; the account that is broken comes first."""
    whole = (await moving.desk.connections.client(moving.broker_id)).capabilities
    able = replace(whole, has_oco=False, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}))
    eve = await make_user(moving.database, "eve")
    key = open_account(moving.emulator)
    theirs = await make_broker(moving.database, moving.vault, eve, api_key=key)
    for broker_id in (moving.broker_id, theirs):
        moving.desk, _ = await scripted(moving.desk, broker_id, capabilities=able)
    stop = moving.intent(Side.SELL, type=OrderType.STOP_MARKET, trigger_price=Decimal(59500))
    first = (await moving.submit(stop)).order
    other = replace(moving, user_id=eve, broker_id=theirs, api_key=key)
    second = (await other.submit(replace(stop, key="theirs"))).order
    assert first.is_held
    assert second.is_held
    return first, second


async def sold(pieces: Pieces, order: OrderRecord) -> None:
    fatal: list[str] = []
    async with Supervisor(on_fatal=lambda: fatal.append("fatal")) as supervisor:
        supervisor.start("watch", TriggerWatch(pieces.desk).run)
        async with asyncio.timeout(15):
            while (await pieces.order(order.id)).state is not OrderState.FILLED:  # noqa: ASYNC110  # rows have no event
                await asyncio.sleep(0.05)
    assert fatal == []


async def test_a_refused_key_of_another_account_does_not_keep_the_price_from_a_stop(moving: Pieces) -> None:
    first, second = await two_stops(moving)

    async def refuse(*_: object, **__: object) -> None:
        raise BadCredentials("this key is not valid any more")

    moving.desk, _ = await scripted(moving.desk, first.broker_id, fetch_ticker=refuse)
    moving.emulator.advance(16)
    await sold(moving, second)


async def test_an_order_of_an_account_that_was_removed_does_not_stop_the_watch(moving: Pieces) -> None:
    first, second = await two_stops(moving)
    await moving.rows("UPDATE brokers SET removed_at = now(), is_active = false WHERE id = $1", first.broker_id)
    moving.desk.connections.clients.pop(first.broker_id)  # type: ignore[attr-defined]
    await moving.connections.drop(first.broker_id)
    moving.emulator.advance(16)
    await sold(moving, second)


async def test_one_price_wakes_the_stops_of_all_accounts(moving: Pieces) -> None:
    orders = await two_stops(moving)
    moving.emulator.advance(16)
    say(moving, "59400")
    await TriggerWatch(moving.desk).once("binance", SYMBOL, Decimal(59400))
    assert [(await moving.order(order.id)).state for order in orders] == [OrderState.FILLED] * 2
