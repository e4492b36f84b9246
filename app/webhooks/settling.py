"""Wait until it is known what became of an alert's order."""

import asyncio
import time
from typing import Final

from app.domain.enums import OrderState, OrderType
from app.domain.orders import TERMINAL
from app.errors import Fenced
from app.trading.desk import Desk
from app.trading.records import OrderRecord

_POLL_S: Final = 0.1
#: For all orders of a delivery together; longer than any doubt lasts by itself. One that needs a person must not hold up the symbol for
#: ever; the order's own state tells of it.
SETTLE_S: Final = 120.0
#: A market order fills at once, but some exchanges tell of the fills a moment later. What comes next is sized by the position.
_FILL_S: Final = 10.0
#: Whether there is an order at the venue is not known yet, so neither is what became of the alert.
NOT_SETTLED: Final = frozenset({OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN})


async def settled(desk: Desk, order: OrderRecord, *, give_up_at: float) -> OrderRecord:
    """Return the order once it is known whether it is at the venue, and, if it is a market order, what it has filled.

    Until then the next alert of this symbol waits too: a close that came before its open was counted would find nothing to close.

    Args:
        desk: What trading works with.
        order: The order, stored.
        give_up_at: The monotonic moment from which on a doubt is left to the order's own state.

    Raises:
        Fenced: the role has moved; whoever holds it settles the order and decides.
    """
    while order.state in NOT_SETTLED and not order.is_held and time.monotonic() < give_up_at:
        order = await _later(desk, order)
    give_up_at = min(give_up_at, time.monotonic() + _FILL_S)
    while order.type is OrderType.MARKET and not is_counted(order) and time.monotonic() < give_up_at:
        order = await _later(desk, order)
    return order


def is_counted(order: OrderRecord) -> bool:
    """Whether the order has ended, and the position has all of its fills."""
    return order.state in TERMINAL and order.fills_quantity == order.filled_quantity


async def _later(desk: Desk, order: OrderRecord) -> OrderRecord:
    if not desk.lease.is_held:
        raise Fenced(f"this process does not hold the role {desk.lease.role}")
    await asyncio.sleep(_POLL_S)
    async with desk.database.connection() as connection:
        return OrderRecord.of(await connection.fetchrow("SELECT * FROM orders WHERE id = $1", order.id))
