"""Claim intents (step W3): from here on an order may be at the venue. The claim is committed before the request leaves.

Whether it may still leave is read in the same statement: the lease, the account, the deadline, a cancellation and the trading states.
"""

from typing import Any, Final
from uuid import UUID

from app.core.leases import HOLD
from app.domain.enums import TradingState
from app.domain.orders import Denied
from app.domain.risk import refusal
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.states import restraining

_CLAIM: Final = f"""
WITH held AS ({HOLD.format(role="$2", owner="$3", epoch="$4")}),
restraint AS (SELECT r.* FROM orders o, LATERAL ({restraining("o")}) r WHERE o.id = $1),
claimed AS (
  UPDATE orders SET state = 'submitting', epoch = $4, sent_at = $5, updated_at = $5 FROM held
   WHERE orders.id = $1 AND orders.state = 'intent' AND (orders.deadline IS NULL OR orders.deadline > $5)
     AND orders.cancel_requested_at IS NULL AND (orders.execution = 'native' OR orders.triggered_at IS NOT NULL)
     AND EXISTS (SELECT 1 FROM brokers WHERE id = orders.broker_id AND is_active AND paused_reason IS NULL)
     AND NOT EXISTS (SELECT 1 FROM restraint) RETURNING orders.*),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, epoch) SELECT id, user_id, $5, 'Claimed', state, $4 FROM claimed)
SELECT claimed.*, restraint.state AS restraint, restraint.reason, restraint.is_mode FROM (SELECT 1) AS one
  LEFT JOIN claimed ON true LEFT JOIN restraint ON true
"""  # noqa: S608  # constants


async def claim_alone(desk: Desk, order_id: UUID) -> OrderRecord | Denied | None:
    """Claim one intent in a transaction of its own; see `claim_one`."""
    async with desk.database.fast_connection() as connection:
        return await claim_one(desk, connection, order_id)


async def claim_pair(desk: Desk, *order_ids: UUID) -> list[OrderRecord] | Denied:
    """Make both intents ours to send, or neither.

    Returns:
        The claimed orders; an empty list when one of them was not there to be claimed; or why a trading state, as of the very same moment,
        forbids one of them.
    """
    async with desk.database.connection() as connection:
        try:
            async with connection.transaction():
                return [_claimed_or_none(await claim_one(desk, connection, order_id)) for order_id in order_ids]
        except _NotClaimedError as error:
            return error.refusal or []


async def claim_one(desk: Desk, connection: Any, order_id: UUID) -> OrderRecord | Denied | None:
    """Claim one intent on `connection`: the claimed order, why a trading state forbids it, or None when there is nothing to claim.

    Raises:
        Fenced: this process does not own the engine role.
    """
    lease = desk.lease
    row = await connection.fetchrow(_CLAIM, order_id, lease.role, lease.owner, lease.epoch, desk.clock.now())
    if row["id"] is not None:
        return OrderRecord.of(row)
    if row["restraint"] is None:
        return None
    code, detail = refusal(TradingState(row["restraint"]), row["reason"], is_mode=row["is_mode"])
    return Denied(code=code, detail=detail)


class _NotClaimedError(Exception):
    """Undoes the claims of the others."""

    def __init__(self, refusal: Denied | None) -> None:
        super().__init__()
        self.refusal = refusal


def _claimed_or_none(found: OrderRecord | Denied | None) -> OrderRecord:
    if not isinstance(found, OrderRecord):
        raise _NotClaimedError(found)
    return found
