"""Reading the log of deliveries."""

from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.errors import DeliveryNotFound, InvalidInput

_DELIVERIES: Final = """
SELECT d.*, h.name AS webhook_name, coalesce(o.order_ids, '{}') AS order_ids
  FROM webhook_deliveries d
  LEFT JOIN webhooks h ON h.id = d.webhook_id
  LEFT JOIN LATERAL (SELECT array_agg(id ORDER BY id) AS order_ids FROM orders WHERE delivery_id = d.id) o ON true
"""


async def list_deliveries(
    database: Database,
    user_id: UUID,
    *,
    limit: int = 50,
    cursor: str | None = None,
    webhook_id: UUID | None = None,
    decision: str | None = None,
    with_strangers: bool = False,
) -> tuple[list[Any], str | None]:
    """Return deliveries, newest first, and the cursor of the next page (None at the end).

    Args:
        database: Where they are.
        user_id: Whose.
        limit: Rows of a page.
        cursor: Where the page before ended.
        webhook_id: Only this webhook's.
        decision: Only those decided so.
        with_strangers: Also attempts on addresses that nobody has; for administrators.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    try:
        before = None if cursor is None else UUID(cursor)
    except ValueError as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error
    sql = f"""{_DELIVERIES}
 WHERE (d.user_id = $1 OR ($5 AND d.user_id IS NULL)) AND ($2::uuid IS NULL OR d.id < $2) AND ($3::uuid IS NULL OR d.webhook_id = $3)
   AND ($4::text IS NULL OR d.decision = $4)
 ORDER BY d.id DESC LIMIT $6"""
    async with database.connection() as connection:
        rows = await connection.fetch(sql, user_id, before, webhook_id, decision, with_strangers, limit + 1)
    return rows[:limit], str(rows[limit - 1]["id"]) if len(rows) > limit else None


async def get_delivery(database: Database, user_id: UUID, delivery_id: UUID) -> Any:
    """Return one delivery's row.

    Raises:
        DeliveryNotFound: no such delivery of this user.
    """
    async with database.connection() as connection:
        row = await connection.fetchrow(f"{_DELIVERIES} WHERE d.user_id = $1 AND d.id = $2", user_id, delivery_id)
    if row is None:
        raise DeliveryNotFound
    return row


async def last_deliveries(database: Database, user_id: UUID) -> dict[UUID, Any]:
    """Return each webhook's newest delivery, by webhook."""
    sql = """
SELECT DISTINCT ON (webhook_id) webhook_id, received_at, decision FROM webhook_deliveries WHERE user_id = $1 ORDER BY webhook_id, id DESC"""
    async with database.connection() as connection:
        return {row["webhook_id"]: row for row in await connection.fetch(sql, user_id)}
