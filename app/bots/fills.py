"""What the orders of many bots have filled since each was last told, in one statement."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.domain.enums import Role, Side
from app.trading.bot_ledger import BotFill

#: A position that was closed before has no later fill.
_FILLS: Final = """
SELECT w.bot_id, f.trade_id, f.order_id, o.key, o.role, f.side, f.price, f.quantity, f.fee, f.fee_asset, f.fee_value, f.executed_at,
       f.position_id
  FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS w (bot_id, user_id, after)
 CROSS JOIN LATERAL (
   SELECT id FROM positions p WHERE p.user_id = w.user_id AND p.bot_id = w.bot_id AND (p.status <> 'closed' OR p.closed_at >= w.after)) p
  JOIN fills f ON f.position_id = p.id AND f.executed_at > w.after
  JOIN orders o ON o.id = f.order_id
 ORDER BY f.executed_at, f.trade_id
"""
_NAMES: Final = tuple(BotFill.__dataclass_fields__)


async def fills_of_many(connection: Any, wanted: Mapping[UUID, tuple[UUID, datetime]]) -> dict[UUID, list[BotFill]]:
    """Return fills by bot, oldest first.

    Args:
        connection: A plain one, of the platform.
        wanted: User and moment (aware UTC, by the venue's clock) by bot; fills after it are wanted.
    """
    found: dict[UUID, list[BotFill]] = {bot_id: [] for bot_id in wanted}
    if wanted:
        users, moments = [list(column) for column in zip(*wanted.values(), strict=True)]
        for row in await connection.fetch(_FILLS, list(wanted), users, moments):
            values = {name: row[name] for name in _NAMES} | {"role": Role(row["role"]), "side": Side(row["side"])}
            found[row["bot_id"]].append(BotFill(**values))
    return found
