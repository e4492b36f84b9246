"""Repeating an attempt on paper: the same message, through the same inbox, on an account with play money."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.errors import WebhookError
from app.trading.account import Account
from app.webhooks.events import DeliveryChanged
from app.webhooks.log import facts_of
from app.webhooks.models import Decision
from app.webhooks.receive import Delivery

#: The default account if it is one of paper, else the oldest.
_PAPER: Final = """
SELECT id, name, exchange, is_active, paused_reason FROM brokers
 WHERE user_id = $1 AND removed_at IS NULL AND exchange = 'paper' AND is_active ORDER BY is_default DESC, created_at, id LIMIT 1
"""
_KEEP: Final = """
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, content_type, raw, size, decision, replay_of, broker_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9)
"""


async def paper_account(database: Database, user_id: UUID) -> Any:
    """Return the row of the account on which attempts are repeated: id, name, exchange, is_active, paused_reason; None without one."""
    async with database.connection() as connection:
        return await connection.fetchrow(_PAPER, user_id)


async def replay_on_paper(database: Database, bus: EventBus, user_id: UUID, delivery_id: UUID, *, now: datetime) -> Delivery:
    """Put the attempt's message into the inbox once more, for a paper account, and return it for the inbox to take.

    The copy names what it repeats and its account; the inbox trades it on that one alone, however old the alert is, and takes it for no
    repeat of what was traded.

    Raises:
        DeliveryNotFound: no such attempt of this user.
        WebhookError: NO_PAPER_ACCOUNT, or NOTHING_TO_REPLAY: it has no message, or only the beginning of one.
    """
    original = (await facts_of(database, user_id, delivery_id)).delivery
    if original["decision"] == Decision.MISSED or not original["raw"]:
        raise WebhookError("there is no message to repeat: none came", code="NOTHING_TO_REPLAY")
    raw: bytes = original["raw"].encode()
    if original["size"] > 2 * len(raw):
        raise WebhookError("only the beginning of this message was kept, because it was too large", code="NOTHING_TO_REPLAY")
    account = await paper_account(database, user_id)
    if account is None:
        raise WebhookError(
            "you have no paper account that is switched on; add one under Brokers, then repeat the alert", code="NO_PAPER_ACCOUNT"
        )
    made = new_id()
    values = (original["webhook_id"], user_id, now, original["content_type"], original["raw"], len(raw), delivery_id, account["id"])
    async with database.connection() as connection:
        await connection.execute(_KEEP, made, *values)
    bus.publish(DeliveryChanged(user_id=user_id, delivery_id=made, decision=Decision.PENDING))
    traded_on = Account(
        id=account["id"], exchange=account["exchange"], is_active=account["is_active"], paused_reason=account["paused_reason"]
    )
    return Delivery(
        id=made, webhook_id=original["webhook_id"], user_id=user_id, account=traded_on, raw=raw, received_at=now, replay_of=delivery_id
    )
