"""Comparisons that wait, in the database: which are due, which is next, and what came of each."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.ids import new_id
from app.shadow.pool import Compared

#: How often one is begun, before it counts as what brings its process down.
MOST_ATTEMPTS: Final = 3
_AGAIN_S: Final = 60.0
#: Bots that lived since the day before began, and were not looked at today; those that were stopped since they were last looked at.
_DUE: Final = """
SELECT b.id, b.user_id FROM bots b
  LEFT JOIN LATERAL (SELECT day, asked_at FROM bot_shadows WHERE bot_id = b.id ORDER BY day DESC LIMIT 1) s ON true
 WHERE b.started_at IS NOT NULL
   AND CASE WHEN b.state = 'stopped' THEN b.stopped_at > $1::timestamptz - interval '1 day' AND b.stopped_at + $3 <= $1
                 AND (s.asked_at IS NULL OR s.asked_at < b.stopped_at + $3)
            ELSE b.started_at < $2::date AND (s.day IS NULL OR s.day < $2::date) END
"""
_ASK: Final = """
INSERT INTO bot_shadows (id, bot_id, user_id, day, state, is_by_hand, asked_at)
SELECT $1, b.id, b.user_id, $4, 'queued', $6, $5 FROM bots b WHERE b.id = $2 AND b.user_id = $3
ON CONFLICT (bot_id, day) DO UPDATE
   SET state = 'queued', attempts = 0, is_by_hand = bot_shadows.is_by_hand OR excluded.is_by_hand,
       asked_at = CASE WHEN bot_shadows.state IN ('queued', 'running') THEN bot_shadows.asked_at ELSE excluded.asked_at END
RETURNING id
"""
_RECOVER: Final = "UPDATE bot_shadows SET state = 'queued' WHERE state = 'running'"
_NEXT: Final = """
UPDATE bot_shadows SET state = 'running', attempts = attempts + 1
 WHERE id = (SELECT id FROM bot_shadows WHERE state = 'queued' AND ($1 OR is_by_hand) AND (attempts = 0 OR asked_at < $2)
              ORDER BY is_by_hand DESC, asked_at, id LIMIT 1)
RETURNING id, bot_id, user_id, day, attempts
"""
_LATER: Final = "UPDATE bot_shadows SET state = 'queued', asked_at = $2 WHERE id = $1 AND state = 'running'"
_DONE: Final = """
UPDATE bot_shadows SET state = CASE WHEN state = 'running' THEN 'completed' ELSE state END, is_by_hand = state = 'queued' AND is_by_hand,
       finished_at = $2, first_at = $3, until_at = $4, engine_version = $5, live = $6, shadow = $7, rest = $8, live_trades = $9,
       shadow_trades = $10, header = $11, causes = $12, differences = $13, curve = $14, error = NULL
 WHERE id = $1 RETURNING id
"""
_FAILED: Final = "UPDATE bot_shadows SET state = 'failed', is_by_hand = false, error = $2 WHERE id = $1 AND state = 'running'"
#: The newest of each bot stays as it is.
_FORGET: Final = """
DELETE FROM bot_shadows s WHERE day < $1 AND EXISTS (SELECT 1 FROM bot_shadows n WHERE n.bot_id = s.bot_id AND n.day > s.day)
"""
_THIN: Final = """
UPDATE bot_shadows s SET differences = NULL, curve = NULL
 WHERE day < $1 AND differences IS NOT NULL AND EXISTS (SELECT 1 FROM bot_shadows n WHERE n.bot_id = s.bot_id AND n.day > s.day)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A comparison that is ours to make."""

    id: UUID
    bot_id: UUID
    user_id: UUID
    day: date
    attempts: int


class ShadowQueue:
    """The queue as whoever holds the role sees it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recover(self) -> None:
        """Put back what another process left behind that held the role before."""
        async with self._database.connection() as connection:
            await connection.execute(_RECOVER)

    async def ask_due(self, now: datetime, *, settled: timedelta) -> int:
        """Ask for every bot that is due; return how many. A stopped one is due so long after it was stopped."""
        async with self._database.raw_transaction() as connection:
            rows = await connection.fetch(_DUE, now, now.date(), settled)
            for row in rows:
                await connection.fetchval(_ASK, new_id(), row["id"], row["user_id"], now.date(), now, False)  # a column
        return len(rows)

    async def claim(self, now: datetime, *, may_wait: bool) -> Claimed | None:
        """Take the next one; `may_wait`: only what somebody waits for, since others need the processors."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_NEXT, not may_wait, now - timedelta(seconds=_AGAIN_S))
        return None if row is None else Claimed(**row)

    async def later(self, claimed: Claimed, now: datetime) -> None:
        """Put one back, to be tried again in a minute."""
        async with self._database.connection() as connection:
            await connection.execute(_LATER, claimed.id, now)

    async def fail(self, claimed: Claimed, *, code: str, message: str) -> None:
        """Write down why there is no result."""
        async with self._database.connection() as connection:
            await connection.execute(_FAILED, claimed.id, {"code": code, "message": message})

    async def thin(self, *, kept_from: date, whole_from: date) -> None:
        """Let go of days before the one, and of what is long of those before the other."""
        async with self._database.connection() as connection:
            await connection.execute(_FORGET, kept_from)
            await connection.execute(_THIN, whole_from)


async def ask(connection: Any, user_id: UUID, bot_id: UUID, now: datetime) -> UUID | None:
    """Ask by hand for a comparison of today; the same one while it waits. None where there is no such bot of this user."""
    found: UUID | None = await connection.fetchval(_ASK, new_id(), bot_id, user_id, now.date(), now, True)  # a column
    return found


async def keep(
    connection: Any, claimed: Claimed, found: Compared, *, first: datetime, until: datetime, header: dict[str, Any], now: datetime
) -> bool:
    """Store a result, in the caller's transaction; False where the bot was deleted meanwhile."""
    kept = await connection.fetchval(
        _DONE, claimed.id, now, first, until, found.engine_version, found.live, found.shadow, found.rest, found.live_trades,
        found.shadow_trades, header, found.causes, found.differences, found.curve,
    )  # fmt: skip
    return kept is not None
