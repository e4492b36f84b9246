"""What administrators do to other people's accounts. Everything here works on the platform's database: it is about everybody."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.accounts.audit_log import Action, note
from app.core.db import Database
from app.core.i18n import N_
from app.errors import Forbidden, LastAdministrator, UserNotFound

_COLUMNS: Final = """
SELECT u.id, u.username, u.email, u.is_admin, u.is_dev, u.is_active, u.created_at,
       (SELECT max(s.last_seen_at) FROM user_sessions s WHERE s.user_id = u.id) AS last_seen_at
  FROM users u
"""
_LIST: Final = f"{_COLUMNS} WHERE $1::uuid IS NULL OR u.id > $1 ORDER BY u.id LIMIT $2"
_ONE: Final = f"{_COLUMNS} WHERE u.id = $1"
_OWN_RIGHTS: Final = N_("Nobody takes their own rights as an administrator away, so that there is always one. Ask another administrator.")
_ONLY_ONE: Final = N_("This is the only administrator with a password. Make another first.")
#: In one order, so that two administrators who change each other do not wait for each other.
_LOCK: Final = "SELECT id, is_admin, is_active, is_dev FROM users WHERE is_admin OR id = $1 ORDER BY id FOR UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user as administrators see them."""

    id: UUID
    username: str
    email: str | None
    is_admin: bool
    is_dev: bool
    is_active: bool
    created_at: datetime
    last_seen_at: datetime | None


async def list_users(database: Database, *, after: UUID | None = None, limit: int = 50) -> list[Account]:
    """Return users, the oldest account first.

    Args:
        database: The platform's.
        after: Only those made after this one: the last of the page before.
        limit: How many at most.
    """
    async with database.connection() as connection:
        return [Account(**row) for row in await connection.fetch(_LIST, after, limit)]


async def get_account(database: Database, user_id: UUID) -> Account:
    """Return one user.

    Raises:
        UserNotFound: there is none of that id.
    """
    async with database.connection() as connection:
        row = await connection.fetchrow(_ONE, user_id)
    if row is None:
        raise UserNotFound
    return Account(**row)


async def change_user(
    database: Database, admin_id: UUID, user_id: UUID, *, is_active: bool | None, is_admin: bool | None, now: datetime
) -> None:
    """Disable or enable a user, or give or take an administrator's rights; None leaves a thing as it is.

    Disabling ends the user's sessions and API tokens for good. Their orders are the caller's to stop (trading lies above this package).

    Raises:
        UserNotFound: there is no such user.
        LastAdministrator: an administrator's own account, or the last beside development mode's own; so one is always left.
        Forbidden: whoever asks is no administrator any more.
    """
    async with database.connection() as connection, connection.transaction():
        done: list[Action] = []
        rows = {row["id"]: row for row in await connection.fetch(_LOCK, user_id)}
        asking, target = rows.get(admin_id), rows.get(user_id)
        if asking is None or not (asking["is_admin"] and asking["is_active"]):
            raise Forbidden("only an administrator may do that")
        if target is None:
            raise UserNotFound
        if user_id == admin_id and (is_active is False or is_admin is False):
            raise LastAdministrator(_OWN_RIGHTS)
        if (is_active is False or is_admin is False) and _is_last(list(rows.values()), target):
            raise LastAdministrator(_ONLY_ONE)
        if is_admin is not None and is_admin != target["is_admin"]:
            await connection.execute("UPDATE users SET is_admin = $2 WHERE id = $1", user_id, is_admin)
            done.append(Action.ADMIN_GIVEN if is_admin else Action.ADMIN_TAKEN)
        if is_active is not None and is_active != target["is_active"]:
            await _set_active(connection, user_id, is_active=is_active, now=now)
            done.append(Action.USER_ENABLED if is_active else Action.USER_DISABLED)
        # Last, when every row is locked: somebody who is logging out has theirs already, and waits for this turn.
        for action in done:
            await note(connection, action, user_id=admin_id, object=f"user:{user_id}")


def _is_last(rows: list[Any], target: Any) -> bool:
    """Whether nobody else could administrate: `dev` is gone when its mode is."""
    left = [row["id"] for row in rows if row["is_admin"] and row["is_active"] and not row["is_dev"]]
    return left == [target["id"]]


async def _set_active(connection: Any, user_id: UUID, *, is_active: bool, now: datetime) -> None:
    await connection.execute("UPDATE users SET is_active = $2 WHERE id = $1", user_id, is_active)
    if not is_active:
        await connection.execute("UPDATE user_sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL", user_id, now)
        await connection.execute("UPDATE api_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL", user_id, now)
