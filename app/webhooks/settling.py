"""Wait until it is known what became of an alert's order.

Whoever waits is told by the events of trading. Hundreds may wait, for minutes: the table is asked seldom, for what another process wrote.
"""

import asyncio
import time
from typing import Any, Final
from uuid import UUID

from app.domain.enums import OrderState, OrderType
from app.domain.orders import TERMINAL
from app.errors import Fenced
from app.trading.desk import Desk
from app.trading.events import FillRecorded, OrderChanged
from app.trading.records import OrderRecord

_POLL_S: Final = 2.0
_ORDER: Final = "SELECT * FROM orders WHERE id = $1"
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
    if not _is_in_doubt(order) and not _lacks_fills(order):
        return order
    # One event is enough to look again. What happened before this was heard of by nobody, so the order is read once more.
    with desk.bus.subscribe(OrderChanged, FillRecorded, size=1, wanted=lambda event: event.order_id == order.id) as news:
        current = await _read(desk, order.id)
        while _is_in_doubt(current) and time.monotonic() < give_up_at:
            current = await _later(desk, current, news, until=give_up_at)
        give_up_at = min(give_up_at, time.monotonic() + _FILL_S)
        while _lacks_fills(current) and time.monotonic() < give_up_at:
            current = await _later(desk, current, news, until=give_up_at)
    return current


def _is_in_doubt(order: OrderRecord) -> bool:
    return order.state in NOT_SETTLED and not order.is_held


def _lacks_fills(order: OrderRecord) -> bool:
    return order.type is OrderType.MARKET and not is_counted(order)


def is_counted(order: OrderRecord) -> bool:
    """Whether the order has ended, and the position has all of its fills."""
    return order.state in TERMINAL and order.fills_quantity == order.filled_quantity


async def _later(desk: Desk, order: OrderRecord, news: Any, *, until: float) -> OrderRecord:
    """The order once something is said to have happened to it, or after a while."""
    _check_role(desk)
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with an event.
        async with asyncio.timeout(min(_POLL_S, max(until - time.monotonic(), 0))):
            await news.get()
    except TimeoutError:
        pass
    _check_role(desk)
    return await _read(desk, order.id)


def _check_role(desk: Desk) -> None:
    if not desk.lease.is_held:
        raise Fenced(f"this process does not hold the role {desk.lease.role}")


async def _read(desk: Desk, order_id: UUID) -> OrderRecord:
    async with desk.database.connection() as connection:
        return OrderRecord.of(await connection.fetchrow(_ORDER, order_id))
