"""Let a protection's legs step aside for an order that sells the position: at the venue they lock what is to be sold.

While the order is on its way the protection yields, for a bounded time, so that a crash in between leaves the position without its stop
for that time at most; then the guardian guards what is left.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog

from app.domain.enums import Role, Side
from app.domain.orders import TERMINAL
from app.trading.desk import Desk
from app.trading.events import GuardWanted
from app.trading.records import OrderRecord

log = structlog.get_logger(__name__)

_YIELD: Final = timedelta(seconds=15)
_LONGEST_WAIT_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.02
_ASIDE: Final = """
UPDATE protections SET yield_until = $3, updated_at = $4 WHERE broker_id = $1 AND symbol = $2 AND status = 'active' RETURNING id
"""
_IN_THE_WAY: Final = "SELECT count(*) FROM orders WHERE group_id = $1 AND state <> ALL($2) AND sent_at IS NOT NULL"
_BACK: Final = "UPDATE protections SET yield_until = NULL, updated_at = $2 WHERE id = $1"
_MAKES_WAY_FOR: Final = frozenset({Role.EXIT, Role.FLATTEN})


@asynccontextmanager
async def room_for(desk: Desk, order: OrderRecord) -> AsyncIterator[None]:
    """While the context lasts, no leg of the position's protection stands in the way of `order`, if it is one that closes."""
    if order.role not in _MAKES_WAY_FOR or order.side is not Side.SELL or order.group_id is not None:
        yield
        return
    now = desk.clock.now()
    async with desk.database.connection() as connection:
        protection_id = await connection.fetchval(_ASIDE, order.broker_id, order.symbol, now + _YIELD, now)
    if protection_id is None:
        yield
        return
    desk.bus.publish(GuardWanted(protection_id=protection_id))
    try:
        until = time.monotonic() + _LONGEST_WAIT_S
        while await _in_the_way(desk, protection_id):
            if time.monotonic() > until:
                log.warning("legs_in_the_way", order_id=str(order.id), protection_id=str(protection_id))
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        yield
    finally:
        async with desk.database.connection() as connection:
            await connection.execute(_BACK, protection_id, desk.clock.now())
        desk.bus.publish(GuardWanted(protection_id=protection_id))


async def _in_the_way(desk: Desk, protection_id: object) -> bool:
    async with desk.database.connection() as connection:
        found: int = await connection.fetchval(_IN_THE_WAY, protection_id, list(TERMINAL))
    return found > 0
