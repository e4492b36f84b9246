"""The dead-man's switch: an address outside is called every few minutes while all is well, and what is there raises the alarm.

Only what happens here can tell that we are well, so nothing is sent on a timer alone: each call asks first whether the loops are alive, the
database answers, prices are fresh and no account of the user is stuck. Otherwise it stays silent, or calls …/fail where that is wanted.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import structlog

from app.core.clock import Clock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_
from app.core.leases import LeaseHolder
from app.core.outgoing import TOTAL_S, Failure, Outgoing, failed
from app.core.outgoing_transport import GuardedTransport
from app.core.supervisor import Beat
from app.core.tenancy import working_for
from app.errors import AppError, KeyMissing, KeyUnreadable
from app.notifications.answers import of_response, without
from app.notifications.settings import place_of

log = structlog.get_logger(__name__)

_POLL_S: Final = 5.0
_AT_ONCE: Final = 4
_LARGEST: Final = 20_000
_SILENT: Final = N_("Not called: %(reason)s")
_DUE: Final = """
SELECT s.user_id, s.deadman_url, s.deadman_minutes, s.deadman_tells_failure FROM notification_settings s JOIN users u ON u.id = s.user_id
 WHERE s.deadman_url IS NOT NULL AND u.is_active AND (s.deadman_next_at IS NULL OR s.deadman_next_at <= $1)
   AND s.user_id <> ALL ($2::uuid[])
 ORDER BY s.deadman_next_at NULLS FIRST LIMIT 100
"""
#: Written before the call, so that a process that dies in the middle of one does not call twice.
_NEXT: Final = "UPDATE notification_settings SET deadman_next_at = $2 WHERE user_id = $1"
_CALLED: Final = """
UPDATE notification_settings SET deadman_at = $2, deadman_ok = $3, deadman_answer = $4 WHERE user_id = $1 AND deadman_url = $5
"""

#: Returns why all is not well, as a sentence of the catalogue; None when it is. For a user, or for the server as a whole.
Ailing = Callable[[UUID | None], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """An address that is called. `is_ours`: the administrator wrote it, so it may be inside our network."""

    url: str = field(repr=False)
    minutes: int
    tells_failure: bool
    user_id: UUID | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is the server's own."""
        return self.user_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What came of it. `is_ok`: all is well, and it was answered."""

    is_ok: bool
    words: str


class Deadman:
    """Calls the server's switch and those of users, while this process has the role.

    Args:
        database: The platform's.
        outgoing: Says what may be called.
        vault: Opens users' addresses.
        lease: The role.
        clock: What time it is.
        ailing: Says why all is not well.
        server: The server's own switch, if it has one.
    """

    def __init__(
        self,
        database: Database,
        outgoing: Outgoing,
        vault: Vault,
        *,
        lease: LeaseHolder,
        clock: Clock,
        ailing: Ailing,
        server: Switch | None = None,
    ) -> None:
        self._database = database
        self._outgoing = outgoing
        self._vault = vault
        self._lease = lease
        self._clock = clock
        self._ailing = ailing
        self._server = server
        self._server_next: datetime | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._calling: set[UUID] = set()

    async def run(self, beat: Beat) -> None:
        """Call until cancelled. Nobody's call is waited for: addresses that never answer delay neither the others nor the beat."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._lease.is_held:
                    await self.begin(group)
                beat()
                await asyncio.sleep(_POLL_S)

    async def once(self) -> None:
        """Call what is due, and wait for what comes of it."""
        async with asyncio.TaskGroup() as group:
            await self.begin(group)

    async def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin to call what is due."""
        now = self._clock.now()
        if self._server is not None and (self._server_next is None or self._server_next <= now):
            self._server_next = now + timedelta(minutes=self._server.minutes)
            group.create_task(self._call(self._server), name="deadman")
        async with self._database.connection() as connection:
            for row in await connection.fetch(_DUE, now, list(self._calling)):
                await connection.execute(_NEXT, row["user_id"], now + timedelta(minutes=row["deadman_minutes"]))
                self._calling.add(row["user_id"])
                group.create_task(self._of_user(row), name=f"deadman:{row['user_id']}")

    async def _of_user(self, row: Any) -> None:
        try:
            await self._call_user(row)
        finally:
            self._calling.discard(row["user_id"])

    async def _call_user(self, row: Any) -> None:
        user_id = row["user_id"]
        try:
            url = self._vault.open(row["deadman_url"].encode(), context=place_of(user_id))
        except (KeyMissing, KeyUnreadable) as error:
            called = Called(is_ok=False, words=error.message)
        else:
            switch = Switch(url=url, minutes=row["deadman_minutes"], tells_failure=row["deadman_tells_failure"], user_id=user_id)
            called = await self._call(switch)
        async with self._database.connection() as connection:
            await connection.execute(_CALLED, user_id, self._clock.now(), called.is_ok, called.words, row["deadman_url"])

    async def _call(self, switch: Switch) -> Called:
        reason = await self._ailing(switch.user_id)
        if reason is not None and not switch.tells_failure:
            log.warning("deadman_silent", user_id=str(switch.user_id), reason=reason)
            return Called(is_ok=False, words=_SILENT % {"reason": reason})
        # The server's own waits for no user's.
        async with contextlib.nullcontext() if switch.is_ours else self._places:
            called = await self.call(switch, reason=reason)
        log.info("deadman", user_id=str(switch.user_id), is_ok=called.is_ok)
        return called

    async def call(self, switch: Switch, *, reason: str | None = None) -> Called:
        """Call an address, or its …/fail with the reason, and say what came of it."""
        method, url = ("GET", switch.url) if reason is None else ("POST", f"{switch.url.rstrip('/')}/fail")
        transport = GuardedTransport(self._outgoing, is_ours=switch.is_ours, largest_bytes=_LARGEST)
        try:
            with working_for(switch.user_id):
                async with asyncio.timeout(2 * TOTAL_S), httpx.AsyncClient(transport=transport, trust_env=False, timeout=TOTAL_S) as client:
                    exchange = of_response(await client.request(method, url, content=reason))
        except AppError as error:
            return Called(is_ok=False, words=error.message)
        except (TimeoutError, httpx.TimeoutException):
            return Called(is_ok=False, words=failed(Failure.TOO_SLOW).message)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Called(is_ok=False, words=failed(Failure.UNREADABLE).message)
        words = without(exchange.words, [switch.url])
        return Called(is_ok=exchange.is_good and reason is None, words=words if reason is None else f"{reason} ({words})")
