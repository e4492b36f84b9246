"""A trigger that is moved while the market is at the old one."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from app.core.events import EventBus
from app.domain.enums import OrderState, OrderType, Side
from app.marketdata.events import TickerChanged
from app.trading.amend import Amendment, amend
from app.trading.watch import TriggerWatch
from tests.app.conftest import SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.test_order_kinds import say

pytestmark = pytest.mark.asyncio


def tick(pieces: Pieces, price: str) -> TickerChanged:
    return TickerChanged(exchange="binance", symbol=SYMBOL, bid=None, ask=None, last=Decimal(price), at=pieces.desk.clock.now())


async def test_a_stop_that_was_moved_does_not_go_at_the_price_it_had(pieces: Pieces) -> None:
    """By another process, whose news of it does not come here: what is watched is read anew every two seconds."""
    whole = (await pieces.desk.connections.client(pieces.broker_id)).capabilities
    able = replace(whole, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}))
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, capabilities=able)
    say(pieces, "60000")
    order = (await pieces.submit(pieces.intent(Side.SELL, type=OrderType.STOP_MARKET, trigger_price=Decimal(59500)))).order
    assert order.is_held
    watch = TriggerWatch(pieces.desk)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch.run(lambda: None))
        await asyncio.sleep(0.3)
        elsewhere = replace(pieces.desk, bus=EventBus())
        await amend(elsewhere, pieces.user_id, order.id, Amendment(trigger_price=Decimal(58000)))
        say(pieces, "59400")
        pieces.bus.publish(tick(pieces, "59400"))
        await asyncio.sleep(1)
        kept = await pieces.order(order.id)
        assert (kept.state, kept.triggered_at) == (OrderState.INTENT, None), "it sold at the stop that it had before"
        say(pieces, "57900")
        await asyncio.sleep(0.5)
        pieces.bus.publish(tick(pieces, "57900"))
        await asyncio.sleep(1)
        assert (await pieces.order(order.id)).state is OrderState.FILLED, "the new one still counts"
        watching.cancel()
