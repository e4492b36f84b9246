"""Ask the venue to cancel an order. The wish is committed first; a lost answer is found by reconcile, never assumed."""

from typing import Final
from uuid import UUID

from app.domain.enums import Execution, OrderState
from app.domain.orders import TERMINAL, Denied
from app.errors import Fenced, OrderNotCancellable, OrderNotFound, OutcomeUnknown
from app.exchanges.port import ExchangeClient
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

    Without the engine role only the wish is committed: reconcile of the process that holds it carries it out, as it does for an order
    that is on its way to the venue now.

    Raises:
        OrderNotFound: no such order of this user.
        OrderNotCancellable: it is finished already.
        ExchangeUnavailable: the venue cannot be reached now; the wish stays, and reconcile repeats it.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_ASK, order_id, user_id, desk.clock.now(), list(TERMINAL))
        if row is None:
            state = await connection.fetchval("SELECT state FROM orders WHERE id = $1 AND user_id = $2", order_id, user_id)
            raise OrderNotFound if state is None else OrderNotCancellable(f"the order is already {state}")
    order = OrderRecord.of(row)
    if not desk.lease.is_held:
        return order
    try:
        if order.state is OrderState.INTENT:
            order = await deny_intent(desk, order.id)
        return order if order.state in TERMINAL else await cancel_at_venue(desk, order)
    except Fenced:
        return order


async def deny_intent(desk: Desk, order_id: UUID) -> OrderRecord:
    """Finish an order that was canceled before it was sent; one that was claimed meanwhile comes back as it is."""
    canceled = Denied(code="CANCELED_BEFORE_SENDING", detail="canceled before it was sent")
    return await record(desk, order_id, canceled, only_from=OrderState.INTENT)


async def cancel_at_venue(desk: Desk, order: OrderRecord, client: ExchangeClient | None = None) -> OrderRecord:
    """Ask the venue to cancel, write down what it says, and return the order. One it does not know (yet) comes back as it was.

    Raises:
        ExchangeError: the venue refused, or cannot be reached.
        Fenced: the engine role has moved; the new owner finds what became of it.
    """
    client = client or await desk.connections.client(order.broker_id)
    kind = order.type if order.execution is Execution.NATIVE else order.type.once_triggered
    try:
        report = await client.cancel_order(
            order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, type=kind
        )
    except OutcomeUnknown:
        report = None
    if report is None:
        # Not knowing the order may mean that it has just filled: ask before believing anything.
        report = await client.fetch_order(
            order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, type=kind
        )
    return order if report is None else await record(desk, order.id, report)
