"""Ask the venue to cancel an order. The wish is committed first; a lost answer is found by reconcile, never assumed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from app.domain.enums import OrderState, Role
from app.domain.orders import TERMINAL, Denied
from app.errors import AppError, Fenced, OrderNotCancellable, OrderNotFound, OutcomeUnknown
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


_ASK_OTHER: Final = """
UPDATE orders SET cancel_requested_at = coalesce(cancel_requested_at, $3), updated_at = $3
 WHERE group_id = $1 AND id <> $2 AND state <> ALL($4) RETURNING *
"""
_ALL_OPEN: Final = """
SELECT * FROM orders
 WHERE user_id = $1 AND ($2::uuid IS NULL OR broker_id = $2) AND ($3::text IS NULL OR symbol = $3)
   AND state <> ALL($4) AND role NOT IN ('stop', 'target') ORDER BY created_at
"""
#: The code of an order that was canceled before it was sent.
CANCELED: Final = "CANCELED_BEFORE_SENDING"
log = structlog.get_logger(__name__)


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
        if order.state not in TERMINAL:
            order = await cancel_at_venue(desk, order)
        await _cancel_other_half(desk, order)
    except Fenced:
        return order
    return order


async def _cancel_other_half(desk: Desk, order: OrderRecord) -> None:
    """A pair is one wish: with one half the other goes too. Held ones go here; a venue took both back together, and tells so."""
    if order.group_id is None or order.role in (Role.STOP, Role.TARGET):
        return
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_ASK_OTHER, order.group_id, order.id, desk.clock.now(), list(TERMINAL))
    for row in rows:
        other = OrderRecord.of(row)
        if other.state is OrderState.INTENT:
            await deny_intent(desk, other.id)
        else:
            await cancel_at_venue(desk, other)


async def cancel_all(desk: Desk, user_id: UUID, *, broker_id: UUID | None = None, symbol: str | None = None) -> list[OrderRecord]:
    """Ask for the end of every open order of ours, except those that guard a position, and return them as they then stand.

    An account that is slow or cannot be reached does not keep the others from being canceled; its wishes stay, and reconcile repeats them.
    """
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_ALL_OPEN, user_id, broker_id, symbol, list(TERMINAL))
    accounts: defaultdict[UUID, list[Any]] = defaultdict(list)
    for row in rows:
        accounts[row["broker_id"]].append(row)
    found = await asyncio.gather(*(_cancel_each(desk, user_id, own) for own in accounts.values()))
    return sorted((order for orders in found for order in orders), key=lambda order: order.created_at)


async def _cancel_each(desk: Desk, user_id: UUID, rows: Sequence[Any]) -> list[OrderRecord]:
    """One after the other: they share their account's limits."""
    found: list[OrderRecord] = []
    for row in rows:
        try:
            found.append(await cancel(desk, user_id, row["id"]))
        except OrderNotCancellable:
            continue
        except AppError as error:
            log.warning("cancel_postponed", order_id=str(row["id"]), code=error.code)
            found.append(OrderRecord.of(row))
    return found


async def deny_intent(desk: Desk, order_id: UUID) -> OrderRecord:
    """Finish an order that was canceled before it was sent; one that was claimed meanwhile comes back as it is."""
    canceled = Denied(code=CANCELED, detail="canceled before it was sent")
    return await record(desk, order_id, canceled, only_from=OrderState.INTENT)


async def cancel_at_venue(desk: Desk, order: OrderRecord, client: ExchangeClient | None = None) -> OrderRecord:
    """Ask the venue to cancel, write down what it says, and return the order. One it does not know (yet) comes back as it was.

    Raises:
        ExchangeError: the venue refused, or cannot be reached.
        Fenced: the engine role has moved; the new owner finds what became of it.
    """
    client = client or await desk.connections.client(order.broker_id)
    kind = order.venue_type
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
