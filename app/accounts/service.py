"""Logging in and out, and making accounts. Knows no HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import invitations
from app.accounts.audit_log import Action, Result, note
from app.accounts.judge import PasswordJudge
from app.accounts.models import User, UserSession
from app.accounts.passwords import check_new_password
from app.accounts.principal import FIND_PRINCIPAL, Principal, principal_of
from app.accounts.second_factor import SecondFactors
from app.accounts.sessions import end_others
from app.accounts.throttle import Throttle
from app.core.clock import Clock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.security import (
    TOOK_TOO_LONG,
    Challenge,
    PasswordHasher,
    decode_challenge,
    encode_challenge,
    encode_token,
    fingerprint,
    new_secret,
    password_stamp,
    same,
)
from app.core.supervisor import Beat
from app.errors import InvalidInput, NameTaken, NotAuthenticated, SecondFactorNeeded

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: The same answer whether the name or the password is wrong.
WRONG_LOGIN: Final = N_("The name or the password is wrong.")
WRONG_PASSWORD: Final = N_("That is not your present password.")
#: How long the second factor may take after the password.
_CHALLENGE_LASTS: Final = timedelta(minutes=5)
_FORGET_EVERY_S: Final = 3600
_CHANGE_PASSWORD: Final = "UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3 RETURNING id"  # noqa: S105  # a statement
_SHORTEST_NAME: Final = 2
_LONGEST_NAME: Final = 60
_SEEN_EVERY: Final = timedelta(minutes=1)
#: How long a code of the second factor stays fresh for what needs one.
_CODE_IS_FRESH: Final = timedelta(minutes=10)
_VERIFIED: Final = "UPDATE user_sessions SET verified_at = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """How long logins last."""

    token_lifetime: timedelta
    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A fresh session and the secret that goes into its cookie."""

    user: User
    session_id: UUID
    cookie: str


class Accounts:
    """Users and their sessions."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        hasher: PasswordHasher,
        policy: SessionPolicy,
        jwt_secret: str,
        vault: Vault,
        registrations_per_hour: int = 20,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self.policy = policy
        self._jwt_secret = jwt_secret
        self._throttle = Throttle(database, clock, registrations_per_hour=registrations_per_hour)
        self._judge = PasswordJudge(self._throttle, hasher)
        self.factors = SecondFactors(database, vault, clock)

    async def log_in(
        self, username: str, password: str, *, otp: str | None = None, ip_address: str | None = None, user_agent: str | None = None
    ) -> Login:
        """Check name and password, and the second factor where there is one, and open a session.

        Raises:
            TooManyAttempts: too many went wrong; nothing was checked.
            NotAuthenticated: wrong name or wrong password, after the same time and with the same words; or a wrong code.
            SecondFactorNeeded: they are right, and `otp` was not given.
        """
        attempt = await self._throttle.begin(username, ip_address)
        user = await self._find(username)
        # The slow check runs outside any transaction, and also when there is no such user.
        matches = await self._judge.is_right(attempt, password, user.password_hash if user is not None else None)
        if user is None or not matches:
            log.info("login_refused", ip_address=ip_address)
            # Of a name that nobody has, nothing is kept: people type their password there.
            await self._note(Action.LOGIN, None if user is None else user.id, result=Result.REFUSED)
            raise NotAuthenticated(WRONG_LOGIN, code="WRONG_LOGIN")
        if (await self.factors.state(user.id)).is_on:
            if not otp:
                now = self._clock.now()
                challenge = Challenge(user_id=user.id, password=password_stamp(user.password_hash))
                raise SecondFactorNeeded(encode_challenge(self._jwt_secret, challenge, now=now, lifetime=_CHALLENGE_LASTS))
            await self.check_code(user.id, otp)
        return await self.open_session(user, ip_address=ip_address, user_agent=user_agent, is_verified=bool(otp))

    async def finish_login(self, challenge: str, code: str, *, ip_address: str | None = None, user_agent: str | None = None) -> Login:
        """Open the session of somebody whose password was right and who gives the second factor now.

        Raises:
            TooManyAttempts: too many codes were wrong.
            NotAuthenticated: the code is wrong, or it took too long.
        """
        given = decode_challenge(self._jwt_secret, challenge, now=self._clock.now())
        async with self._database.transaction() as session:
            user = await session.get(User, given.user_id)
        # Whoever knew the password of yesterday begins again when it was changed meanwhile.
        if user is None or not user.is_active or not same(given.password, password_stamp(user.password_hash)):
            raise NotAuthenticated(TOOK_TOO_LONG)
        await self.check_code(given.user_id, code)
        return await self.open_session(user, ip_address=ip_address, user_agent=user_agent, is_verified=True)

    async def check_code(self, user_id: UUID, code: str) -> None:
        """Use up a code of the second factor. Raises as `finish_login`."""
        await self._try_code(user_id, lambda: self.factors.check(user_id, code))

    async def verify(self, user_id: UUID, session_id: UUID, code: str) -> None:
        """Take a fresh code for what needs one. Raises as `finish_login`."""
        await self.check_code(user_id, code)
        async with self._database.connection() as connection:
            await connection.execute(_VERIFIED, session_id, self._clock.now())

    async def switch_on(self, user_id: UUID, session_id: UUID, code: str) -> list[str]:
        """Switch the second factor on by its first code, end all other logins, and return the recovery codes.

        Raises:
            TooManyAttempts, NotAuthenticated: as `finish_login`.
            Conflict: nothing was begun.
        """
        return await self._try_code(user_id, lambda: self.factors.confirm(user_id, session_id, code))

    async def renew_codes(self, user_id: UUID, code: str) -> list[str]:
        """Replace the recovery codes. Raises as `finish_login`."""
        return await self._try_code(user_id, lambda: self.factors.renew_codes(user_id, code))

    async def switch_off(self, user_id: UUID, session_id: UUID, code: str) -> int:
        """Forget the second factor, end all other logins and return how many those were. Raises as `finish_login`."""
        return await self._try_code(user_id, lambda: self.factors.switch_off(user_id, session_id, code))

    async def _try_code(self, user_id: UUID, use: Callable[[], Awaitable[_T]]) -> _T:
        attempt = await self._throttle.begin_code(str(user_id))
        try:
            done = await use()
        except NotAuthenticated:
            await self._note(Action.LOGIN, user_id, result=Result.REFUSED)
            raise
        await self._throttle.succeeded(attempt)
        return done

    async def check_password(self, user_id: UUID, password: str, *, ip_address: str | None) -> User:
        """Make sure that who is logged in knows the password, before something that a stranger at an open page must not do.

        Raises:
            TooManyAttempts: too many were wrong.
            InvalidInput: it is wrong.
        """
        async with self._database.transaction() as session:
            user = await get_user(session, user_id)
        attempt = await self._throttle.begin(user.username, ip_address)
        if not await self._judge.is_right(attempt, password, user.password_hash):
            raise InvalidInput(WRONG_PASSWORD, field="current_password")
        return user

    async def change_password(self, user_id: UUID, session_id: UUID, *, current: str, new: str, ip_address: str | None = None) -> int:
        """Set a new password and end all other sessions; return how many those were.

        Raises:
            TooManyAttempts: too many tries of the present password were wrong.
            InvalidInput: the present password is wrong, or the new one is too short, too long or a common one.
        """
        user = await self.check_password(user_id, current, ip_address=ip_address)
        check_new_password(new, username=user.username)
        hashed = await self._hasher.hash(new)
        async with self._database.raw_transaction() as connection:
            # Only if it is still the one that was checked: of two changes at once the second has to know the first one's password.
            changed = await connection.fetchval(_CHANGE_PASSWORD, user_id, hashed, user.password_hash)
            if changed is None:
                raise InvalidInput(WRONG_PASSWORD, field="current_password")
            await note(connection, Action.PASSWORD_CHANGED, user_id=user_id)
            return await end_others(connection, user_id, session_id, now=self._clock.now())

    async def _note(self, action: Action, user_id: UUID | None, *, result: Result = Result.DONE) -> None:
        async with self._database.connection() as connection:
            await note(connection, action, user_id=user_id, result=result)

    async def _find(self, username: str) -> User | None:
        if not username.isprintable():
            return None  # the database has no words for some of the rest, and nobody's name is among it
        async with self._database.transaction() as session:
            user: User | None = await session.scalar(select(User).where(func.lower(User.username) == username.strip().lower()))
        return user if user is not None and user.is_active else None

    async def run(self, beat: Beat) -> None:
        """Forget old attempts once in a while."""
        while True:
            await self._throttle.forget_old()
            for _ in range(_FORGET_EVERY_S):
                beat()
                await asyncio.sleep(1)

    async def open_session(self, user: User, *, ip_address: str | None, user_agent: str | None, is_verified: bool = False) -> Login:
        """Open a session for somebody who is known to be who they say; `is_verified` by a code of the second factor."""
        now = self._clock.now()
        cookie = new_secret()
        opened = UserSession(
            id=new_id(),
            user_id=user.id,
            token_hash=fingerprint(cookie),
            created_at=now,
            last_seen_at=now,
            expires_at=now + self.policy.absolute,
            verified_at=now if is_verified else None,
            ip_address=ip_address,
            user_agent=(user_agent or "")[:300] or None,
        )
        async with self._database.transaction() as session:
            session.add(opened)
            await note(session, Action.LOGIN, user_id=user.id, object=f"session:{opened.id}")
        log.info("login", user_id=str(user.id))
        return Login(user=user, session_id=opened.id, cookie=cookie)

    def issue_token(self, *, user_id: UUID, session_id: UUID) -> str:
        """Return a bearer token for this session; it ends with the session at the latest."""
        return encode_token(
            self._jwt_secret, user_id=user_id, session_id=session_id, now=self._clock.now(), lifetime=self.policy.token_lifetime
        )

    async def log_out(self, session_id: UUID) -> None:
        """End a session at once, with every bearer token that was made from it."""
        async with self._database.connection() as connection, connection.transaction():
            ended = await connection.fetchval(
                "UPDATE user_sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING user_id", session_id, self._clock.now()
            )
            if ended is not None:
                await note(connection, Action.LOGOUT, user_id=ended, object=f"session:{session_id}")

    async def by_cookie(self, cookie: str) -> Principal | None:
        """Return who a session cookie belongs to, or None when the session is over."""
        return await self._principal("s.token_hash = $1", fingerprint(cookie), idle=self.policy.idle)

    async def is_over(self, session_id: UUID, *, is_admin: bool) -> bool:
        """Tell whether a session has ended, or its user's rights are others by now.

        The question does not count as use: an open page alone does not keep a login alive.
        """
        now = self._clock.now()
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_PRINCIPAL.format(condition="s.id = $1"), session_id, now, now - self.policy.idle, now)
        return row is None or row["is_admin"] is not is_admin

    async def by_session(self, session_id: UUID) -> Principal | None:
        """Return who a bearer token's session belongs to, or None when the session is over."""
        return await self._principal("s.id = $1", session_id, idle=self.policy.absolute)

    async def _principal(self, condition: str, value: object, *, idle: timedelta) -> Principal | None:
        now = self._clock.now()
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_PRINCIPAL.format(condition=condition), value, now, now - idle, now - _CODE_IS_FRESH)
            if row is None:
                return None
            if now - row["last_seen_at"] > _SEEN_EVERY:
                await connection.execute("UPDATE user_sessions SET last_seen_at = $2 WHERE id = $1", row["session_id"], now)
        return principal_of(row)

    async def create_user(
        self,
        username: str,
        password: str,
        *,
        email: str | None = None,
        is_admin: bool = False,
        invitation: str | None = None,
        origin: str | None = None,
    ) -> User:
        """Make an account, with an invitation that is then used up where one is given. `origin` is the address of the stranger who asks.

        Raises:
            TooManyAttempts: many accounts were made from that address lately, or too many people log in now.
            InvalidInput: the name or the password is too short or too long.
            InvitationInvalid: the invitation cannot be used, or not any more.
            NameTaken: the name or the e-mail address is in use.
        """
        if invitation is not None:
            # Before the slow hash, and before anything is told about names.
            await invitations.check(self._database, invitation, now=self._clock.now())
        name = username.strip()
        if not _SHORTEST_NAME <= len(name) <= _LONGEST_NAME or not (name + (email or "")).isprintable():
            raise InvalidInput(f"a name needs {_SHORTEST_NAME} to {_LONGEST_NAME} letters, digits or signs", field="username")
        check_new_password(password, username=name)
        hashed = await (self._hasher.hash(password) if origin is None else self._judge.hash_new(password, origin=origin))
        user = User(id=new_id(), username=name, email=email, password_hash=hashed, is_admin=is_admin)
        try:
            async with self._database.transaction() as session:
                session.add(user)
                await session.flush()
                await session.refresh(user)
                if invitation is not None:
                    await invitations.use(session, invitation, user_id=user.id, now=self._clock.now())
                await note(
                    session, Action.USER_MADE, user_id=user.id, object=f"user:{user.id}", detail={"by_invitation": invitation is not None}
                )
        except IntegrityError as error:
            raise NameTaken(f"the name {name} or its e-mail address is already in use", field="username") from error
        return user

    async def ensure_admin(self, username: str, password: str | None) -> str | None:
        """Make the first administrator when there is no user at all; return the password if it was made here."""
        async with self._database.transaction() as session:
            if await session.scalar(select(func.count()).select_from(User).where(~User.is_dev)):
                return None
        made = None if password else new_secret()[:20]
        try:
            await self.create_user(username, password or made or "", is_admin=True)
        except NameTaken:
            # Another process of the same first start was faster, and it shows its password.
            return None
        return made


async def get_user(session: AsyncSession, user_id: UUID) -> User:
    """Return the user's own row."""
    return (await session.scalars(select(User).where(User.id == user_id))).one()
