"""The audit log of accounts: who did what, when, from where, to what, and what came of it.

Rows are added and never changed: the application's role has no right to, a trigger refuses it, and a hash chain shows it. Whoever does
something to an account calls `note` inside the same transaction, as its last statement: writers take turns until they commit.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.origin import present_origin
from app.core.spreadsheets import cell


class Action(StrEnum):
    """What was done."""

    LOGIN = "login"
    LOGOUT = "logout"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a word, not a secret
    SECOND_FACTOR_ON = "second_factor_on"
    SECOND_FACTOR_OFF = "second_factor_off"
    SESSIONS_ENDED = "sessions_ended"
    AI_CHANGED = "ai_changed"
    USER_MADE = "user_made"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    ADMIN_GIVEN = "admin_given"
    ADMIN_TAKEN = "admin_taken"
    INVITATION_MADE = "invitation_made"
    INVITATION_REVOKED = "invitation_revoked"
    TOKEN_MADE = "token_made"  # noqa: S105  # a word, not a secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105  # as above
    BROKER_MADE = "broker_made"
    BROKER_CHANGED = "broker_changed"
    BROKER_DELETED = "broker_deleted"
    WEBHOOK_MADE = "webhook_made"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_ROTATED = "webhook_rotated"
    WEBHOOK_REMOVED = "webhook_removed"
    STRATEGY_MADE = "strategy_made"
    STRATEGY_CHANGED = "strategy_changed"
    STRATEGY_ARCHIVED = "strategy_archived"
    STRATEGY_UNARCHIVED = "strategy_unarchived"
    STRATEGY_DELETED = "strategy_deleted"
    STRATEGY_SAVED = "strategy_saved"
    STRATEGY_VALIDATED = "strategy_validated"
    STRATEGY_SHARED = "strategy_shared"
    STRATEGY_RECEIVED = "strategy_received"
    KILL_SWITCH = "kill_switch"
    TRADING_RESUMED = "trading_resumed"
    LIMITS_CHANGED = "limits_changed"
    NOTIFICATIONS_CHANGED = "notifications_changed"
    STRATEGY_KILLED = "strategy_killed"
    BOT_MADE = "bot_made"
    BOT_CHANGED = "bot_changed"
    BOT_DELETED = "bot_deleted"
    BOT_STARTED = "bot_started"
    BOT_SUSPENDED = "bot_suspended"
    BOT_STOPPED = "bot_stopped"
    BOT_SOLD = "bot_sold"
    BOT_SIGNAL_ANSWERED = "bot_signal_answered"
    BOT_REARMED = "bot_rearmed"
    SAFEGUARDS_CHANGED = "safeguards_changed"
    DEVELOPMENT_MODE = "development_mode"
    AUDIT_EXPORTED = "audit_exported"


class Result(StrEnum):
    """What came of it."""

    DONE = "done"
    REFUSED = "refused"


_COLUMNS: Final = ("user_id", "action", "object", "result", "detail", "ip_address", "user_agent")
# No RETURNING: who may not read a row may still add it.
_NOTE: Final = f"INSERT INTO audit_log ({', '.join(_COLUMNS)}) VALUES ({{}})"  # noqa: S608  # constants
_NOTE_PLAIN: Final = _NOTE.format(", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 1)))
_NOTE_SESSION: Final = text(_NOTE.format(", ".join(f":{name}" for name in _COLUMNS))).bindparams(bindparam("detail", type_=JSONB))
_PAGE: Final = """
SELECT number, at, user_id, name, action, object, result, detail, ip_address, user_agent FROM audit_log
 WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::bigint IS NULL OR number < $2) AND ($3::text IS NULL OR action = $3)
 ORDER BY number DESC LIMIT $4
"""
_BROKEN: Final = """
SELECT number FROM (
  SELECT number, hash, previous_hash, audit_log_digest(audit_log) AS digest, lag(hash, 1, sha256('')) OVER chain AS before,
         lag(number, 1, 0::bigint) OVER chain AS last
    FROM audit_log WINDOW chain AS (ORDER BY number)) AS linked
 WHERE hash <> digest OR previous_hash <> before OR number <> last + 1
 ORDER BY number LIMIT 1
"""


async def note(
    via: AsyncSession | Any,
    action: Action,
    *,
    user_id: UUID | None,
    object: str = "",  # the log's own word
    result: Result = Result.DONE,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add a row to the log, from where the present request comes; it is there when the caller's transaction is.

    Args:
        via: A session of the ORM or a plain connection; on a tenant's only that tenant's rows can be added.
        action: What was done.
        user_id: Who did it; whose name was given, when a login failed; None for a name that nobody has.
        object: To what: a kind and an id, `broker:0190…`.
        result: What came of it.
        detail: Further facts, plain values. No secret, and nothing that somebody typed into a field by mistake.
    """
    origin = present_origin()
    values = (user_id, action.value, object, result.value, dict(detail or {}), origin.ip_address, origin.user_agent)
    if isinstance(via, AsyncSession):
        await via.execute(_NOTE_SESSION, dict(zip(_COLUMNS, values, strict=True)))
    else:
        await via.execute(_NOTE_PLAIN, *values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. `name` is what the user was called then."""

    number: int
    at: datetime
    user_id: UUID | None
    name: str | None
    action: str
    object: str
    result: str
    detail: dict[str, Any]
    ip_address: str | None
    user_agent: str | None


async def entries(
    database: Database, *, user_id: UUID | None = None, before: int | None = None, action: str | None = None, limit: int = 50
) -> list[Entry]:
    """Return rows, the newest first.

    Args:
        database: One for tenants shows the rows of whoever asks only.
        user_id: Whose; None for everybody's.
        before: Only rows with smaller numbers: the last one of the page before.
        action: Only what was done so.
        limit: How many at most.
    """
    async with database.connection() as connection:
        return [Entry(**row) for row in await connection.fetch(_PAGE, user_id, before, action, limit)]


async def first_broken(database: Database) -> int | None:
    """Return the number of the first row that does not follow from the one before it, None when the chain holds.

    Args:
        database: The platform's, which sees all rows.
    """
    async with database.connection() as connection:
        number: int | None = await connection.fetchval(_BROKEN)
    return number


def as_csv(rows: Iterable[Entry]) -> str:
    """Return rows as CSV (RFC 4180), in which no cell is a formula."""
    target = io.StringIO()
    writer = csv.writer(target)
    names = ("number", "at", "user_id", "name", "action", "object", "result", "detail", "ip_address", "user_agent")
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell(getattr(row, name)) for name in names])
    return target.getvalue()
