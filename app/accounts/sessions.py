"""A user's logins: where and when, and ending them."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.accounts.audit_log import Action, note
from app.core.db import Database
from app.errors import NotFound

_LIST: Final = """
SELECT id, created_at, last_seen_at, expires_at, ip_address, user_agent FROM user_sessions
 WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_seen_at > $3 ORDER BY last_seen_at DESC, id LIMIT 100
"""
_END_ONE: Final = "UPDATE user_sessions SET ended_at = $3 WHERE user_id = $1 AND id = $2 AND ended_at IS NULL RETURNING id"
_END_OTHERS: Final = "UPDATE user_sessions SET ended_at = $3 WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > $3"


async def list_sessions(database: Database, user_id: UUID, *, now: datetime, used_since: datetime) -> list[Any]:
    """Return the logins that still work, the one used last first; at most 100."""
    async with database.connection() as connection:
        rows: list[Any] = await connection.fetch(_LIST, user_id, now, used_since)
    return rows


async def end_session(database: Database, user_id: UUID, session_id: UUID, *, now: datetime) -> None:
    """End one login, its bearer tokens too.

    Raises:
        NotFound: the user has no such login.
    """
    async with database.connection() as connection:
        if await connection.fetchval(_END_ONE, user_id, session_id, now) is None:
            raise NotFound("there is no such login any more")
        await note(connection, Action.SESSIONS_ENDED, user_id=user_id, detail={"sessions": 1})


async def end_other_sessions(database: Database, user_id: UUID, session_id: UUID, *, now: datetime) -> int:
    """End all logins but one, and return how many there were."""
    async with database.raw_transaction() as connection:
        return await end_others(connection, user_id, session_id, now=now)


async def end_others(connection: Any, user_id: UUID, session_id: UUID, *, now: datetime) -> int:
    """Do it within the transaction of what makes it necessary: a changed password with the old logins alive would be half a change."""
    done: str = await connection.execute(_END_OTHERS, user_id, session_id, now)
    ended = int(done.rpartition(" ")[2])
    if ended:
        await note(connection, Action.SESSIONS_ENDED, user_id=user_id, detail={"sessions": ended})
    return ended
