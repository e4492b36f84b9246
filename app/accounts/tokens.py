"""API tokens: a program's own key, `arb_<id>_<32 random bytes>`, shown once and stored as a hash.

The prefix lets secret scanners and our own logs recognise one; the id finds its row without searching for a secret.
"""

import hmac
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.accounts.models import ApiToken, Language, Theme, TokenScope
from app.accounts.principal import Principal
from app.core.db import Database
from app.core.ids import new_id
from app.core.security import fingerprint, new_secret
from app.core.tenancy import owned
from app.domain.currencies import Currency
from app.errors import Conflict, Forbidden, InvalidInput, ScopeMissing, SessionNeeded, TokenNotFound

PREFIX: Final = "arb_"
MOST: Final = 50
LONGEST_DAYS: Final = 3650
_LONGEST_NAME: Final = 60
_SEEN_EVERY: Final = timedelta(minutes=1)
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What is about the account itself: a token that leaks must not be able to make another, or to lock its owner out.
_OF_SESSIONS: Final = ("/api/auth", "/api/account", "/api/admin", "/api/keys")
_FIND: Final = """
SELECT t.id, t.token_hash, t.scopes, t.last_used_at, u.id AS user_id, u.username, u.is_admin, u.is_dev, u.theme, u.language,
       u.display_timezone, u.currency
  FROM api_tokens t JOIN users u ON u.id = t.user_id
 WHERE t.id = $1 AND t.revoked_at IS NULL AND t.expires_at > $2 AND u.is_active
"""
_IS_VALID: Final = """
SELECT EXISTS (SELECT 1 FROM api_tokens t JOIN users u ON u.id = t.user_id
                WHERE t.id = $1 AND t.revoked_at IS NULL AND t.expires_at > $2 AND u.is_active)
"""


async def make_token(
    session: AsyncSession, user_id: UUID, *, name: str, scopes: Collection[TokenScope], expires_in_days: int, is_admin: bool, now: datetime
) -> tuple[ApiToken, str]:
    """Return a new token's row and the token itself, which nobody sees again.

    Raises:
        InvalidInput: no name, no scope, or a time to live outside 1 day to ten years.
        Forbidden: the scope `admin` for somebody who is no administrator.
        Conflict: the user has as many as they may.
    """
    if not 1 <= len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"a token needs a name of 1 to {_LONGEST_NAME} characters", field="name")
    if not scopes:
        raise InvalidInput("choose at least one scope: read, trade or admin", field="scopes")
    if not 1 <= expires_in_days <= LONGEST_DAYS:
        raise InvalidInput(f"a token expires after 1 to {LONGEST_DAYS} days, was {expires_in_days}", field="expires_in_days")
    if TokenScope.ADMIN in scopes and not is_admin:
        raise Forbidden("only an administrator may give a token the scope admin", field="scopes")
    if len(await list_tokens(session, user_id)) >= MOST:
        raise Conflict(f"you have {MOST} API tokens, as many as one may have; revoke one first")
    secret = new_secret()
    made = ApiToken(
        id=new_id(),
        user_id=user_id,
        name=name.strip(),
        token_hash=fingerprint(secret),
        scopes=[scope.value for scope in TokenScope if scope in scopes],
        created_at=now,
        expires_at=now + timedelta(days=expires_in_days),
    )
    session.add(made)
    await session.flush()
    await note(session, Action.TOKEN_MADE, user_id=user_id, object=f"token:{made.id}", detail={"scopes": made.scopes})
    return made, f"{PREFIX}{made.id.hex}_{secret}"


async def list_tokens(session: AsyncSession, user_id: UUID) -> list[ApiToken]:
    """Return the user's tokens that were not revoked, the newest first; expired ones too, so that they can be seen to be."""
    return list(await session.scalars(owned(ApiToken, user_id).where(ApiToken.revoked_at.is_(None)).order_by(ApiToken.id.desc())))


async def revoke_token(session: AsyncSession, user_id: UUID, token_id: UUID, *, now: datetime) -> None:
    """End a token at once.

    Raises:
        TokenNotFound: no such token of this user.
    """
    token = await session.scalar(owned(ApiToken, user_id).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None)))
    if token is None:
        raise TokenNotFound
    token.revoked_at = now
    await session.flush()
    await note(session, Action.TOKEN_REVOKED, user_id=user_id, object=f"token:{token_id}")


async def by_token(database: Database, token: str, *, now: datetime) -> Principal | None:
    """Return who an API token belongs to, None when it is none, was revoked or has expired.

    Args:
        database: The platform's: whose token it is is what is to be found out.
        token: As it was sent, with its prefix.
        now: The present moment.
    """
    identifier, _, secret = token.removeprefix(PREFIX).partition("_")
    try:
        token_id = UUID(hex=identifier)
    except ValueError:
        return None
    async with database.connection() as connection:
        row = await connection.fetchrow(_FIND, token_id, now)
        if row is None or not hmac.compare_digest(row["token_hash"], fingerprint(secret)):
            return None
        if row["last_used_at"] is None or now - row["last_used_at"] > _SEEN_EVERY:
            await connection.execute("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1", token_id, now)
    scopes = frozenset(TokenScope(scope) for scope in row["scopes"])
    return Principal(
        user_id=row["user_id"],
        session_id=token_id,
        username=row["username"],
        is_admin=row["is_admin"] and TokenScope.ADMIN in scopes,
        is_dev=row["is_dev"],
        theme=Theme(row["theme"]),
        language=Language(row["language"]),
        display_timezone=row["display_timezone"],
        currency=Currency(row["currency"]),
        scopes=scopes,
    )


async def is_token_over(database: Database, token_id: UUID, *, now: datetime) -> bool:
    """Tell whether a token that was valid has been revoked, has expired, or its user may log in no more. `database` as in `by_token`."""
    async with database.connection() as connection:
        return not await connection.fetchval(_IS_VALID, token_id, now)


def needed_scope(method: str, path: str) -> TokenScope | None:
    """Return what a token must be allowed for a request; None where no token will do: accounts, administration, and all pages."""
    if path == "/openapi.json" and method in _READS:
        return TokenScope.READ
    if path == "/metrics" and method in _READS:
        return TokenScope.ADMIN
    if not path.startswith("/api/") or any(path == prefix or path.startswith(f"{prefix}/") for prefix in _OF_SESSIONS):
        return None
    return TokenScope.READ if method in _READS else TokenScope.TRADE


def check_scope(scopes: Collection[TokenScope], method: str, path: str) -> None:
    """Pass when a token with these scopes may make that request.

    Raises:
        SessionNeeded: no token may.
        ScopeMissing: this one may not.
    """
    needed = needed_scope(method, path)
    if needed is None:
        raise SessionNeeded("no API token may do that: accounts, tokens, administration and pages need a login")
    if needed not in scopes:
        raise ScopeMissing(f"this API token lacks the scope {needed.value}")
