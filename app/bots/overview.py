"""What pages say of bots as a whole: counts, last trades, the last day of their equity, and what happened to them. Plain reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.log import Said, said

_COUNTS: Final = text("""
SELECT count(*) AS bots, count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'faulted') AS faulted,
       (SELECT count(*) FROM bot_signals WHERE user_id = :user_id AND state = 'waiting') AS waiting
  FROM bots WHERE user_id = :user_id AND state <> 'stopped'
""")
_NAMES: Final = text("SELECT id, name FROM bots WHERE user_id = :user_id")
_TITLES: Final = text("""
SELECT b.id, b.number, b.name, b.symbol, b.strategy_id, v.number AS version, b.fault
  FROM bots b JOIN strategy_versions v ON v.id = b.version_id WHERE b.user_id = :user_id
""")
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
    FROM (SELECT bot_id, at, equity, date_bin('15 minutes', at, CAST(:since AS timestamptz)) AS stretch
            FROM bot_equity WHERE user_id = :user_id AND bot_id = ANY(CAST(:ids AS uuid[])) AND at >= :since) each
   ORDER BY bot_id, stretch, at DESC) last
 GROUP BY bot_id
""")
#: What a bot decided without anything coming of it stands among its signals alone; of each bot the newest are looked at.
_LOG: Final = text("""
SELECT * FROM (
  (SELECT id::text AS id, bot_id, at, level, kind, message, values FROM bot_events
    WHERE user_id = :user_id AND (CAST(:bot_id AS uuid) IS NULL OR bot_id = :bot_id)
      AND (CAST(:before AS timestamptz) IS NULL OR at < :before) AND (:is_all OR level <> 'info')
    ORDER BY bot_events.id DESC LIMIT :limit)
  UNION ALL
  (SELECT g.id::text, g.bot_id, g.decided_at, 'info', 'decision', g.reason ->> 'message', coalesce(g.reason -> 'values', '{}')
     FROM bots b CROSS JOIN LATERAL (
       SELECT * FROM bot_signals WHERE bot_id = b.id AND user_id = b.user_id AND action = 'none' AND code IS NULL AND reason IS NOT NULL
          AND (CAST(:before AS timestamptz) IS NULL OR decided_at < :before) ORDER BY open_time DESC LIMIT :limit) g
    WHERE b.user_id = :user_id AND (CAST(:bot_id AS uuid) IS NULL OR b.id = :bot_id) AND :with_quiet
    ORDER BY g.decided_at DESC LIMIT :limit)) line
 ORDER BY at DESC, id DESC LIMIT :limit
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Something that happened to a bot, or that it decided: an English sentence with names in place of its values."""

    id: str
    bot_id: UUID
    at: datetime
    level: str
    kind: str
    told: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTitleRow:
    """What a line of a log says of its bot; `fault` as `models.Bot` has it."""

    id: UUID
    number: int
    name: str
    symbol: str
    strategy_id: UUID
    version: int
    fault: dict[str, Any] | None


async def bot_titles(session: AsyncSession, user_id: UUID) -> dict[UUID, BotTitleRow]:
    """Return what lines of a log say of each bot of a user."""
    rows = await session.execute(_TITLES, {"user_id": user_id})
    return {row.id: BotTitleRow(**row._mapping) for row in rows}


async def log_entries(
    session: AsyncSession,
    user_id: UUID,
    *,
    bot_id: UUID | None = None,
    before: datetime | None = None,
    limit: int = 50,
    with_quiet: bool = True,
    only_problems: bool = False,
) -> list[LogEntry]:
    """Return what happened to a bot, or to all of a user's, the newest first.

    Args:
        session: Of the tenant.
        user_id: Whose bots.
        bot_id: Only of that one.
        before: Only what is older.
        limit: How many at most.
        with_quiet: Decisions to do nothing as well.
        only_problems: Only warnings and errors.
    """
    values = {"user_id": user_id, "bot_id": bot_id, "before": before, "limit": limit}
    switches = {"is_all": not only_problems, "with_quiet": with_quiet and not only_problems}
    return [
        LogEntry(id=row.id, bot_id=row.bot_id, at=row.at, level=row.level, kind=row.kind, told=said(row.message, **row.values))
        for row in await session.execute(_LOG, values | switches)
    ]


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
    """Return the equity of each bot that has any at closes since then, oldest first, one for each quarter of an hour."""
    rows = await session.execute(_SPARKS, {"user_id": user_id, "ids": list(bot_ids), "since": since})
    return {row.bot_id: tuple(row.points) for row in rows}
