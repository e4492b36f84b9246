"""Ask the venue to cancel an order. The wish is committed first; a lost answer is found by reconcile, never assumed."""

from typing import Final
from uuid import UUID

from app.domain.enums import OrderState
from app.domain.orders import TERMINAL, Denied
from app.errors import OrderNotCancellable, OrderNotFound, OutcomeUnknown
from app.trading.apply import record
from app.trading.desk import Desk
from app.trading.records import OrderRecord

_ASK: Final = """
WITH asked AS (
  UPDATE orders SET cancel_requested_at = coalesce(cancel_requested_at, $3), updated_at = $3
   WHERE id = $1 AND user_id = $2 AND state <> ALL($4) RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state) SELECT id, user_id, $3, 'CancelRequested', state FROM asked)
SELECT * FROM asked
"""


async def cancel(desk: Desk, user_id: UUID, order_id: UUID) -> OrderRecord:
    """Cancel what is left of an order and return it as it then stands.

    Raises:
        OrderNotFound: no such order of this user.
        OrderNotCancellable: it is finished already.
        ExchangeUnavailable: the venue cannot be reached; the order is as it was.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_ASK, order_id, user_id, desk.clock.now(), list(TERMINAL))
        if row is None:
            state = await connection.fetchval("SELECT state FROM orders WHERE id = $1 AND user_id = $2", order_id, user_id)
            raise OrderNotFound if state is None else OrderNotCancellable(f"the order is already {state}")
    order = OrderRecord.of(row)
    if order.state is OrderState.INTENT:
        return await record(desk, order.id, Denied(code="CANCELED_BEFORE_SENDING", detail="canceled before it was sent"))
    client = await desk.connections.client(order.broker_id)
    try:
        report = await client.cancel_order(order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)
    except OutcomeUnknown:
        report = None
    if report is None:
        # Not knowing the order may mean that it has just filled: ask before believing anything.
        report = await client.fetch_order(order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)
    return order if report is None else await record(desk, order.id, report)
