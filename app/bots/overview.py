"""Sums over all bots of a user, for bars, headers and cards: counts, last trades, and the last day of their equity. Plain reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_COUNTS: Final = text("""
SELECT count(*) AS bots, count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'faulted') AS faulted,
       (SELECT count(*) FROM bot_signals WHERE user_id = :user_id AND state = 'waiting') AS waiting
  FROM bots WHERE user_id = :user_id AND state <> 'stopped'
""")
_NAMES: Final = text("SELECT id, name FROM bots WHERE user_id = :user_id")
_LAST_TRADES: Final = text("""
SELECT b.id, t.realized_pnl, t.closed_at FROM unnest(CAST(:ids AS uuid[])) AS b (id)
 CROSS JOIN LATERAL (SELECT realized_pnl, closed_at FROM positions
                      WHERE user_id = :user_id AND bot_id = b.id AND status = 'closed' ORDER BY closed_at DESC LIMIT :most) t
 ORDER BY b.id, t.closed_at
""")
#: The last point of each stretch, so that a day of minutes is as short as a day of hours.
_SPARKS: Final = text("""
SELECT bot_id, array_agg(equity ORDER BY at) AS points FROM (
  SELECT DISTINCT ON (bot_id, stretch) bot_id, at, equity
    FROM (SELECT bot_id, at, equity, date_bin('30 minutes', at, CAST(:since AS timestamptz)) AS stretch
            FROM bot_equity WHERE user_id = :user_id AND bot_id = ANY(CAST(:ids AS uuid[])) AND at >= :since) each
   ORDER BY bot_id, stretch, at DESC) last
 GROUP BY bot_id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotCounts:
    """How many bots a user has that are not stopped, how many of them run or are faulted, and how many decisions wait for their owner."""

    bots: int
    running: int
    faulted: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTrade:
    """A round trip of a bot that is over: what it brought after fees, in quote units."""

    profit: Decimal
    closed_at: datetime


async def count_bots(session: AsyncSession, user_id: UUID) -> BotCounts:
    """Count a user's bots."""
    row = (await session.execute(_COUNTS, {"user_id": user_id})).one()
    return BotCounts(bots=row.bots, running=row.running, faulted=row.faulted, waiting=row.waiting)


async def bot_names(session: AsyncSession, user_id: UUID) -> dict[UUID, str]:
    """Return what a user calls each bot."""
    return {row.id: row.name for row in await session.execute(_NAMES, {"user_id": user_id})}


async def last_trades(session: AsyncSession, user_id: UUID, bot_ids: Sequence[UUID], *, most: int = 10) -> dict[UUID, list[ClosedTrade]]:
    """Return the last trades of each bot that has any, oldest first."""
    found: dict[UUID, list[ClosedTrade]] = {}
    for row in await session.execute(_LAST_TRADES, {"user_id": user_id, "ids": list(bot_ids), "most": most}):
        found.setdefault(row.id, []).append(ClosedTrade(profit=row.realized_pnl, closed_at=row.closed_at))
    return found


async def sparks(session: AsyncSession, user_id: UUID, bot_ids: Sequence[UUID], *, since: datetime) -> dict[UUID, tuple[Decimal, ...]]:
    """Return the equity of each bot that has any at closes since then, oldest first, one for each half an hour."""
    rows = await session.execute(_SPARKS, {"user_id": user_id, "ids": list(bot_ids), "since": since})
    return {row.bot_id: tuple(row.points) for row in rows}
