"""Development mode: whoever sits at this machine is logged in as `dev`, an administrator, without a password.

It is offered only where DEBUG_ARISTOBOT is set, which is refused on an address that others can reach, and only to requests from this
machine: not to those that a proxy or a tunnel here hands on from elsewhere, which come from this machine too. Whether it is on stands in
the database; a start without the variable switches it off and ends every login of `dev`.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.accounts.audit_log import Action, note
from app.accounts.models import PlatformSetting, User
from app.accounts.service import Accounts, Login
from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import new_id
from app.errors import ConfigError, Forbidden

log = structlog.get_logger(__name__)

NAME: Final = "dev"
_KEY: Final = "development_mode"
#: By which a proxy says for whom it asks. With DEBUG_ARISTOBOT no proxy is trusted, but that one is there says enough.
_HANDED_ON: Final = frozenset(
    {
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-real-ip", "x-client-ip",
        "true-client-ip", "cf-connecting-ip", "cf-ray", "fly-client-ip", "tailscale-user-login",
    }
)  # fmt: skip
_END: Final = """
UPDATE user_sessions SET ended_at = $1 WHERE ended_at IS NULL AND user_id IN (SELECT id FROM users WHERE is_dev)
"""


def sitting_here(address: str | None, headers: Iterable[str]) -> str | None:
    """Return the address that a request comes from, None where a proxy hands it on, whoever asked that.

    Args:
        address: Whose connection it is.
        headers: Names of the request's headers.
    """
    return None if any(name.lower() in _HANDED_ON for name in headers) else address


class DevelopmentMode:
    """The switch and what it does. `is_offered` is DEBUG_ARISTOBOT."""

    def __init__(self, database: Database, clock: Clock, accounts: Accounts, *, is_offered: bool) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._is_offered = is_offered

    async def start(self) -> None:
        """Begin: without the variable the mode is off, whatever it was, and nobody is `dev` any more."""
        if self._is_offered:
            await self.ensure_user()
        else:
            await self._put(is_on=False)

    def is_offered_to(self, address: str | None) -> bool:
        """Whether the switch is shown to a request from that address: from this machine only (`sitting_here`)."""
        if not self._is_offered or address is None:
            return False
        try:
            return ipaddress.ip_address(address).is_loopback
        except ValueError:
            return False

    async def is_on(self) -> bool:
        """Whether it is switched on."""
        if not self._is_offered:
            return False
        async with self._database.transaction() as session:
            return bool(await session.scalar(select(PlatformSetting.value).where(PlatformSetting.key == _KEY)))

    async def switch(self, *, is_on: bool, address: str | None) -> None:
        """Switch it. Off ends every login of `dev`.

        Raises:
            Forbidden: it is not offered there.
        """
        if not self.is_offered_to(address):
            raise Forbidden("development mode is for this machine only, and only while DEBUG_ARISTOBOT is set")
        await self._put(is_on=is_on)

    async def log_in(self, *, address: str | None, user_agent: str | None) -> Login:
        """Open a session for `dev`.

        Raises:
            Forbidden: it is not on, or not offered there.
        """
        if not self.is_offered_to(address) or not await self.is_on():
            raise Forbidden("development mode is off")
        return await self._accounts.open_session(await self.ensure_user(), ip_address=address, user_agent=user_agent)

    async def ensure_user(self) -> User:
        """Return `dev`, made when there is none. It has no password, so that nobody ever logs in as it with one.

        Raises:
            ConfigError: somebody has that name.
        """
        made = insert(User).values(id=new_id(), username=NAME, is_admin=True, is_dev=True).on_conflict_do_nothing()
        async with self._database.transaction() as session:
            await session.execute(made)
            user = await session.scalar(select(User).where(User.is_dev))
        if user is None:
            raise ConfigError(f"a user has the name {NAME}, which development mode needs; give them another name")
        return user

    async def _put(self, *, is_on: bool) -> None:
        now = self._clock.now()
        values = {"value": is_on, "updated_at": now}
        put = insert(PlatformSetting).values(key=_KEY, **values).on_conflict_do_update(index_elements=["key"], set_=values)
        async with self._database.raw_transaction() as connection:
            ended = 0 if is_on else int((await connection.execute(_END, now)).rpartition(" ")[2])
            if is_on or ended:
                await note(connection, Action.DEVELOPMENT_MODE, user_id=None, detail={"on": is_on, "ended_sessions": ended})
        async with self._database.transaction() as session:
            await session.execute(put)
        if is_on:
            log.warning("development_mode_on")
