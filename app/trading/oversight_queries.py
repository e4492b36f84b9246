"""Reading how positions are guarded and which orders are open, always of one user, for people to look at. Plain rows out."""

from typing import Any, Final
from uuid import UUID

from app.core.db import Database

_UNSETTLED: Final = "('intent', 'submitting', 'unknown', 'open', 'partial')"
#: What a protection's live orders say of who watches, and the prices of the targets that were reached.
_GUARDS: Final = f"""
SELECT p.*, legs.* FROM protections p
  LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE o.is_live AND o.role = 'stop' AND o.execution = 'supervised') AS stops_here,
           count(*) FILTER (WHERE o.is_live AND o.role = 'target' AND o.execution = 'supervised') AS targets_here,
           count(*) FILTER (WHERE o.is_live AND o.execution = 'native') AS orders_there,
           array_agg(DISTINCT coalesce(o.trigger_price, o.price))
             FILTER (WHERE o.role = 'target' AND o.filled_quantity > 0 AND NOT o.is_live AND o.created_at >= p.plan_since) AS reached
      FROM (SELECT *, state IN {_UNSETTLED} AS is_live FROM orders WHERE group_id = p.id) o) legs ON true
 WHERE p.user_id = $1 AND p.status = 'active' AND p.position_id IS NOT NULL
"""  # noqa: S608  # constants
_ALARMS: Final = """
SELECT p.id, p.broker_id, p.symbol, p.unprotected_since, p.detail, s.id AS position_id FROM protections p
  LEFT JOIN positions s ON s.id = p.position_id AND s.status <> 'closed'
 WHERE p.user_id = $1 AND p.status = 'active' AND p.code = $2 ORDER BY p.unprotected_since
"""
_OPEN: Final = f"SELECT * FROM orders WHERE user_id = $1 AND state IN {_UNSETTLED} ORDER BY id DESC LIMIT $2"  # noqa: S608  # constants


async def list_guards(database: Database, user_id: UUID) -> dict[UUID, Any]:
    """Return what guards each position now, by the position's id.

    Besides the protection's columns: how many live stops (`stops_here`) and targets (`targets_here`) this server watches, how many orders
    of it the exchange has (`orders_there`), and the prices of the plan's targets that have sold something (`reached`, None for none).
    """
    async with database.connection() as connection:
        return {row["position_id"]: row for row in await connection.fetch(_GUARDS, user_id)}


async def list_alarms(database: Database, user_id: UUID, code: str) -> list[Any]:
    """Return the positions that are alarming for the reason `code`, the oldest alarm first."""
    async with database.connection() as connection:
        return list(await connection.fetch(_ALARMS, user_id, code))


async def list_open_orders(database: Database, user_id: UUID, *, limit: int) -> list[Any]:
    """Return orders that may still fill, newest first."""
    async with database.connection() as connection:
        return list(await connection.fetch(_OPEN, user_id, limit))
