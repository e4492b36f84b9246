"""What webhooks did lately and what they hold open, for people to look at. Always of one user; plain rows out."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.ids import oldest_id
from app.domain.candles import Timeframe, to_milliseconds
from app.exchanges.catalogue import PAPER

_DAY: Final = timedelta(hours=24)
#: An id is made a moment before or after its row's time is read, perhaps by another machine.
_ID_MARGIN: Final = timedelta(minutes=5)
#: How long after a candle's close its alert may come and not be late.
GRACE: Final = timedelta(minutes=1)
#: A clock of the sender's that goes a little fast sends before the close.
_EARLY: Final = timedelta(seconds=10)
_HOOKS: Final = """
SELECT h.*, b.name AS broker_name, b.exchange, b.is_testnet, last.received_at AS last_at, last.decision AS last_decision,
       coalesce(day.counts, '{}') AS counts
  FROM webhooks h
  LEFT JOIN brokers b ON b.user_id = h.user_id AND b.removed_at IS NULL
   AND CASE WHEN h.broker_id IS NULL THEN b.is_default ELSE b.id = h.broker_id END
  LEFT JOIN LATERAL (
    SELECT received_at, decision FROM webhook_deliveries
     WHERE webhook_id = h.id AND decision <> 'missed' AND replay_of IS NULL AND NOT is_test ORDER BY id DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(decision, n) AS counts FROM (
      SELECT decision, count(*) AS n FROM webhook_deliveries
       WHERE webhook_id = h.id AND id > $3 AND received_at >= $2 GROUP BY decision) c) day ON true
 WHERE h.user_id = $1 AND h.removed_at IS NULL ORDER BY lower(h.name)
"""
#: The attempt whose order filled first of the position's own fills is the one that opened it.
_OPENERS: Final = """
SELECT DISTINCT ON (p.id) p.id AS position_id, d.id AS delivery_id, d.webhook_id, h.name AS webhook_name
  FROM positions p
  JOIN fills f ON f.position_id = p.id
  JOIN orders o ON o.id = f.order_id AND o.delivery_id IS NOT NULL
  JOIN webhook_deliveries d ON d.id = o.delivery_id AND d.user_id = p.user_id
  LEFT JOIN webhooks h ON h.id = d.webhook_id
 WHERE p.user_id = $1 AND p.status IN ('open', 'closing') AND p.source = 'webhook' ORDER BY p.id, f.executed_at, f.trade_id
"""
_USED: Final = """
SELECT count(*) FILTER (WHERE o.state IN ('intent', 'submitting', 'unknown', 'open', 'partial')) AS orders,
       (SELECT count(*) FROM webhook_deliveries WHERE user_id = $1 AND webhook_id = $2) AS attempts
  FROM orders o JOIN webhook_deliveries d ON d.id = o.delivery_id
 WHERE o.user_id = $1 AND d.webhook_id = $2
"""
#: The webhook's own account if it is a paper one, else the default, else the oldest: as a replay chooses.
_PAPER: Final = """
SELECT b.id, b.name FROM brokers b LEFT JOIN webhooks h ON h.id = $2 AND h.user_id = $1
 WHERE b.user_id = $1 AND b.removed_at IS NULL AND b.exchange = $3
 ORDER BY b.id IS NOT DISTINCT FROM h.broker_id DESC, b.is_default DESC, b.created_at, b.id LIMIT 1
"""


async def list_hooks(database: Database, user_id: UUID, *, now: datetime) -> list[Any]:
    """Return the user's webhooks by name, each with its account, its last alert, and how many attempts of a day were decided how."""
    # Ids carry the machine's time, by which the index finds the day.
    oldest = oldest_id(milliseconds=to_milliseconds(now - _DAY - _ID_MARGIN))
    async with database.connection() as connection:
        return list(await connection.fetch(_HOOKS, user_id, now - _DAY, oldest))


async def openers(database: Database, user_id: UUID) -> dict[UUID, Any]:
    """Return which attempt opened each open position that an alert opened, by the position's id."""
    async with database.connection() as connection:
        return {row["position_id"]: row for row in await connection.fetch(_OPENERS, user_id)}


async def what_is_left(database: Database, user_id: UUID, webhook_id: UUID) -> tuple[int, int]:
    """Return how many orders of the webhook's alerts may still fill, and how many attempts its log has."""
    async with database.connection() as connection:
        row = await connection.fetchrow(_USED, user_id, webhook_id)
    return row["orders"], row["attempts"]


def late_since(interval: str | None, *, expected_from: datetime | None, last_at: datetime | None, now: datetime) -> datetime | None:
    """Return the candle's close with which an alert should have come and has not, a minute ago or more; None when none is late.

    Args:
        interval: The candles' length, as a webhook states it; None when it expects nothing.
        expected_from: Since when it is expected.
        last_at: When the last alert came.
        now: The moment to judge at.
    """
    if interval is None or expected_from is None:
        return None
    due = Timeframe(interval).floor(now - GRACE)
    if due < expected_from or (last_at is not None and last_at >= due - _EARLY):
        return None
    return due


async def paper_account(database: Database, user_id: UUID, webhook_id: UUID | None) -> Any:
    """Return id and name of the account on which the webhook's attempts are repeated; None when the user has none of paper."""
    async with database.connection() as connection:
        return await connection.fetchrow(_PAPER, user_id, webhook_id, PAPER)
