"""Invitations: the right to make one account, as a link that works once and not for long. Of the secret only a hash is stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.core.db import Database
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.security import fingerprint, new_secret
from app.errors import InvalidInput, InvitationInvalid, InvitationNotFound

LONGEST_DAYS: Final = 30
_LONGEST_NOTE: Final = 100
#: The same for all that cannot be used, so that nobody learns which secrets there once were.
_INVALID: Final = N_("This invitation cannot be used: it was used already, has expired, or there never was one. Ask for another.")
_USABLE: Final = "secret_hash = {hash} AND used_at IS NULL AND revoked_at IS NULL AND expires_at > {now}"
_CHECK: Final = f"SELECT EXISTS (SELECT FROM invitations WHERE {_USABLE.format(hash='$1', now='$2')})"  # noqa: S608  # constants
_USE: Final = text(
    f"UPDATE invitations SET used_at = :now, used_by = :user_id WHERE {_USABLE.format(hash=':hash', now=':now')} RETURNING id"  # noqa: S608
)
_INSERT: Final = """
INSERT INTO invitations (id, secret_hash, note, made_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
"""
_LIST: Final = """
SELECT i.id, i.note, i.created_at, i.expires_at, i.used_at, m.username AS made_by, u.username AS used_by
  FROM invitations i LEFT JOIN users m ON m.id = i.made_by LEFT JOIN users u ON u.id = i.used_by
 WHERE i.revoked_at IS NULL ORDER BY i.id DESC LIMIT 100
"""
_REVOKE: Final = "UPDATE invitations SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND used_at IS NULL RETURNING id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """An invitation as administrators see it; `made_by` and `used_by` are names."""

    id: UUID
    note: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    made_by: str | None
    used_by: str | None


async def make(database: Database, admin_id: UUID, *, text_note: str, expires_in_days: int, now: datetime) -> tuple[UUID, str]:
    """Return the id and the secret of a new invitation; the secret is not to be had again.

    Raises:
        InvalidInput: a note too long, or a time to live outside 1 to 30 days.
    """
    if not 1 <= expires_in_days <= LONGEST_DAYS:
        raise InvalidInput(f"an invitation expires after 1 to {LONGEST_DAYS} days, was {expires_in_days}", field="expires_in_days")
    if len(text_note) > _LONGEST_NOTE or not text_note.isprintable():
        raise InvalidInput(f"a note may have at most {_LONGEST_NOTE} characters", field="note")
    invitation_id, secret = new_id(), new_secret()
    values: tuple[Any, ...] = (fingerprint(secret), text_note.strip(), admin_id, now, now + timedelta(days=expires_in_days))
    async with database.connection() as connection, connection.transaction():
        await connection.execute(_INSERT, invitation_id, *values)
        await note(connection, Action.INVITATION_MADE, user_id=admin_id, object=f"invitation:{invitation_id}")
    return invitation_id, secret


async def list_all(database: Database) -> list[Invited]:
    """Return the latest invitations that were not taken back, the newest first."""
    async with database.connection() as connection:
        return [Invited(**row) for row in await connection.fetch(_LIST)]


async def revoke(database: Database, admin_id: UUID, invitation_id: UUID, *, now: datetime) -> None:
    """Take an invitation back that nobody has used.

    Raises:
        InvitationNotFound: there is none, or it was used.
    """
    async with database.connection() as connection, connection.transaction():
        if await connection.fetchval(_REVOKE, invitation_id, now) is None:
            raise InvitationNotFound
        await note(connection, Action.INVITATION_REVOKED, user_id=admin_id, object=f"invitation:{invitation_id}")


async def check(database: Database, secret: str, *, now: datetime) -> None:
    """Pass when an account can be made with that secret.

    Raises:
        InvitationInvalid: used, expired, taken back or made up; the answer does not say which.
    """
    async with database.connection() as connection:
        if not await connection.fetchval(_CHECK, _hash(secret), now):
            raise InvitationInvalid(_INVALID)


async def use(session: AsyncSession, secret: str, *, user_id: UUID, now: datetime) -> None:
    """Use an invitation up, in the transaction that makes the account.

    Raises:
        InvitationInvalid: as `check`; of two who use it at once the second is refused.
    """
    if await session.scalar(_USE, {"hash": _hash(secret), "user_id": user_id, "now": now}) is None:
        raise InvitationInvalid(_INVALID)


def _hash(secret: str) -> bytes:
    # A link that was cut or made up may hold anything, half a surrogate pair too.
    return fingerprint(secret.encode(errors="replace").decode())
