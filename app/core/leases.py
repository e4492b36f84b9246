"""Roles as leases with an epoch: whoever holds one may act, and every money write checks that it still does.

A lease moves when its holder is silent; an advisory lock would stay with a paused process for ever.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog

from app.core.db import Database
from app.core.supervisor import Beat, Loop
from app.core.waiting import happens_within
from app.errors import Fenced

log = structlog.get_logger(__name__)

LEASE_S: Final = 10.0
RENEW_S: Final = 3.0
#: A holder stops sending this long before its lease could move.
MARGIN_S: Final = 4.0
_ANSWER_S: Final = 2.0


_TAKE = """
INSERT INTO leases (role, owner, epoch, until) VALUES ($1, $2, 1, now() + make_interval(secs => $3))
ON CONFLICT (role) DO UPDATE
   SET owner = excluded.owner,
       epoch = CASE WHEN leases.owner = excluded.owner AND leases.until > now() THEN leases.epoch ELSE leases.epoch + 1 END,
       until = excluded.until
 WHERE leases.owner = excluded.owner OR leases.until < now()
RETURNING epoch
"""
_INHERIT = """
UPDATE leases SET owner = $2, epoch = epoch + 1, until = now() + make_interval(secs => $3) WHERE role = $1 AND owner = $4 RETURNING epoch
"""
_RELEASE = "UPDATE leases SET until = now() - interval '1 second' WHERE role = $1 AND owner = $2"
#: The first part of every money write: no row means that the role has moved, and the rest of the statement does nothing. The lock keeps
#: the lease from moving until the write is committed.
HOLD: Final = "SELECT 1 FROM leases WHERE role = {role} AND owner = {owner} AND epoch = {epoch} AND until > now() FOR SHARE"


class LeaseHolder:
    """Tries to hold one role for this process."""

    def __init__(self, database: Database, role: str) -> None:
        self._database = database
        self.role = role
        self.owner = process_name()
        self._epoch: int | None = None
        self._good_until = 0.0
        self._changed = asyncio.Event()
        #: Done each time the role becomes ours, before anything here may act under it.
        self.on_taken: Callable[[], Awaitable[None]] | None = None

    @property
    def epoch(self) -> int:
        """The epoch under which we hold the role.

        Raises:
            Fenced: we do not hold it, or not for long enough to finish a request.
        """
        if self._epoch is None or time.monotonic() > self._good_until:
            raise Fenced(f"this process does not hold the role {self.role}")
        return self._epoch

    @property
    def is_held(self) -> bool:
        """Whether we may act now."""
        return self._epoch is not None and time.monotonic() <= self._good_until

    def lose(self) -> None:
        """Stop acting at once: the database says that the role has moved. The next renewal may bring it back."""
        self._epoch = None

    async def ask_whether_held(self, connection: Any) -> bool:
        """Ask the database whether the role is still ours; if it is not, stop acting at once."""
        epoch = self._epoch
        query = HOLD.format(role="$1", owner="$2", epoch="$3")
        is_held = epoch is not None and await connection.fetchval(query, self.role, self.owner, epoch) is not None
        if not is_held and self._epoch == epoch:
            self.lose()
        return is_held

    async def wait_until_held(self) -> None:
        """Wait until the role is ours."""
        while not self.is_held:
            self._changed.clear()
            await happens_within(self._changed, 0.5)

    async def renew(self) -> bool:
        """Take or prolong the lease; False while another process holds it."""
        asked_at = time.monotonic()
        async with self._database.connection() as connection:
            epoch = await connection.fetchval(_TAKE, self.role, self.owner, LEASE_S, timeout=_ANSWER_S)
            if epoch is None:
                epoch = await self._inherit(connection)
        if epoch != self._epoch:
            log.info("lease_changed", role=self.role, epoch=epoch, held=epoch is not None)
            self._epoch = None
            if epoch is not None and self.on_taken is not None:
                await self.on_taken()
        self._epoch = epoch
        if epoch is not None:
            # Counted from before the question, so that a slow answer never makes us believe longer than the database does.
            self._good_until = asked_at + LEASE_S - MARGIN_S
            self._changed.set()
        return epoch is not None

    async def _inherit(self, connection: Any) -> int | None:
        """Take over at once from a process of this machine that is proved dead: it cannot wake up, so nobody need wait for its time."""
        owner = await connection.fetchval("SELECT owner FROM leases WHERE role = $1", self.role)
        if owner is None or not is_dead(owner):
            return None
        epoch: int | None = await connection.fetchval(_INHERIT, self.role, self.owner, LEASE_S, owner)
        return epoch

    def guarding(self, loop: Loop) -> Loop:
        """Return a loop that runs `loop` while the role is ours, and cancels it when the role is lost."""

        async def guarded(beat: Beat) -> None:
            while True:
                while not self.is_held:
                    beat()
                    await asyncio.sleep(0.1)
                async with asyncio.TaskGroup() as group:
                    working = group.create_task(_until_cancelled(loop, beat), name=f"{self.role}:work")
                    while self.is_held and not working.done():
                        await asyncio.wait([working], timeout=0.5)
                    if working.done():
                        return  # the supervisor says so, and starts it again after a while
                    working.cancel()

        return guarded

    async def run(self, beat: Beat) -> None:
        """Keep the lease until cancelled, then hand it back."""
        try:
            while True:
                try:
                    await self.renew()
                except TimeoutError:
                    # Somebody froze while writing under the lease; the database ends their transaction, then we get our answer.
                    log.warning("lease_not_answered", role=self.role)
                beat()
                await asyncio.sleep(RENEW_S if self.is_held else 1.0)
        finally:
            self._epoch = None
            await asyncio.shield(self._release())

    async def _release(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_RELEASE, self.role, self.owner)


def process_name() -> str:
    """Return a name for whoever asks in this process: no other has it, and `is_dead` can tell when the process has ended."""
    return f"{process_place()}:{os.getpid()}:{process_start(os.getpid())}:{secrets.token_hex(4)}"


def process_place() -> str:
    """Return what names this machine's boot and process namespace: only within it does a process id mean anything. Empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """Return when a process of this machine started, in clock ticks since boot; empty when there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def is_dead(owner: str) -> bool:
    """Tell whether the process that calls itself `owner` ran on this machine, since this boot, and has ended."""
    place, pid, start, *_ = [*owner.split(":"), "", ""]
    return bool(place) and place == process_place() and pid.isdigit() and process_start(int(pid)) != start


async def _until_cancelled(loop: Loop, beat: Beat) -> None:
    await loop(beat)
