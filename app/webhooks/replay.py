"""Try an alert of the log once more, on play money: a new delivery with the same message, for the user's paper account alone."""

from typing import Any, Final
from uuid import UUID

from app.core.ids import new_id
from app.errors import BodyTooLarge, DeliveryNotFound, DenialReason, OrderDenied
from app.exchanges.catalogue import PAPER
from app.trading.desk import Desk
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision

#: The webhook's own account if it is a paper one, else the default, else the oldest.
_FOUND: Final = """
SELECT d.raw, d.code, d.webhook_id, p.id AS broker_id
  FROM webhook_deliveries d
  LEFT JOIN webhooks h ON h.id = d.webhook_id AND h.user_id = $1
  LEFT JOIN LATERAL (
    SELECT b.id FROM brokers b WHERE b.user_id = $1 AND b.removed_at IS NULL AND b.exchange = $3
     ORDER BY b.id IS NOT DISTINCT FROM h.broker_id DESC, b.is_default DESC, b.created_at, b.id LIMIT 1) p ON true
 WHERE d.id = $2 AND d.user_id = $1
"""
_PUT: Final = """
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, content_type, raw, size, decision, replay_of, broker_id)
SELECT $3, d.webhook_id, d.user_id, $4, d.content_type, d.raw, d.size, 'pending', coalesce(d.replay_of, d.id), $5
  FROM webhook_deliveries d WHERE d.id = $2 AND d.user_id = $1 RETURNING id
"""


async def replay_on_paper(desk: Desk, user_id: UUID, delivery_id: UUID) -> UUID:
    """Repeat one of the user's deliveries on their paper account and return the new delivery's id; the inbox comes to it within a second.

    Neither the age of the original nor its name counts: it is traded again each time, by the webhook's rules of today.

    Raises:
        DeliveryNotFound: no such delivery of this user.
        OrderDenied: NO_PAPER_ACCOUNT, or NOTHING_TO_REPLAY when its message was not kept whole.
    """
    async with desk.database.connection() as connection:
        found = await connection.fetchrow(_FOUND, user_id, delivery_id, PAPER)
        _check(found)
        fresh = new_id()
        if await connection.fetchval(_PUT, user_id, delivery_id, fresh, desk.clock.now(), found["broker_id"]) is None:
            raise DeliveryNotFound
    desk.bus.publish(DeliveryChanged(user_id=user_id, delivery_id=fresh, decision=Decision.PENDING))
    return fresh


def _check(found: Any) -> None:
    if found is None:
        raise DeliveryNotFound
    if found["webhook_id"] is None or not found["raw"] or found["code"] == BodyTooLarge.default_code:
        raise OrderDenied(DenialReason.NOTHING_TO_REPLAY, "the message of this attempt was not kept whole, so it cannot be tried again")
    if found["broker_id"] is None:
        raise OrderDenied(DenialReason.NO_PAPER_ACCOUNT, "there is no paper account to try it on; add one, then try again")
