"""Sends what waits, to many targets at a time and to each in order, while this process has the role."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.crash_points import MESSAGE_POINT, reach
from app.core.crypto import Vault
from app.core.db import Database
from app.core.leases import LeaseHolder
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.errors import Fenced, KeyMissing, KeyUnreadable
from app.notifications.deliveries import Batch, due, purge, settle, take
from app.notifications.messenger import AT_ONCE, Message, Messenger, Outcome
from app.notifications.words import gravest, many, one

log = structlog.get_logger(__name__)

ROLE: Final = "notifications"
_POLL_S: Final = 1.0
_PURGE_EVERY_S: Final = 3600.0
_AGAIN_S: Final = 1.0


class Sender:
    """Works off the queue.

    Args:
        database: The platform's.
        messenger: Sends.
        vault: Opens addresses.
        lease: The role; whoever has it sends.
        clock: What time it is.
        per_minute: Messages that one target gets in a minute; the last of them tells of all that wait.
        keep: How long the log and the notices are kept.
        root: This server's public address, for links; empty when it has none.
    """

    def __init__(
        self,
        database: Database,
        messenger: Messenger,
        vault: Vault,
        *,
        lease: LeaseHolder,
        clock: Clock,
        per_minute: int,
        keep: timedelta,
        root: str = "",
    ) -> None:
        self._database = database
        self._messenger = messenger
        self._vault = vault
        self.lease = lease
        self._clock = clock
        self._per_minute = per_minute
        self._keep = keep
        self._root = root
        self._busy: set[UUID] = set()
        self._free = asyncio.Event()

    async def run(self, beat: Beat) -> None:
        """Send until cancelled."""
        purge_at = 0.0
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                if self.lease.is_held:
                    await self.once(group)
                    if loop.time() >= purge_at:
                        purge_at = loop.time() + _PURGE_EVERY_S
                        async with self._database.connection() as connection:
                            await purge(connection, self._clock.now(), keep=self._keep)
                beat()
                await self._rest()

    async def once(self, group: asyncio.TaskGroup) -> int:
        """Begin with each target that something waits for, as far as there is room; return with how many."""
        self._free.clear()
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            return 0
        async with self._database.connection() as connection:
            found = await due(connection, self._clock.now(), busy=list(self._busy), most=50)
        begun = 0
        for target_id, user_id in found:
            if begun < room and self._messenger.is_free_for(user_id):
                self._busy.add(target_id)
                begun += 1
                group.create_task(self._serve(target_id), name=f"notify:{target_id}")
        # So that each is counted before the next look.
        await asyncio.sleep(0)
        return begun

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await self._free.wait()
        except TimeoutError:
            return

    async def _serve(self, target_id: UUID) -> None:
        try:
            await self._one(target_id)
        except Fenced:
            self.lease.lose()
        except Exception as error:  # one target's trouble must not stop the others'; what it had taken is free again after its time
            if is_database_gone(error):
                log.warning("notification_interrupted", target_id=str(target_id))
            else:
                log.exception("notification_broken", target_id=str(target_id))
        finally:
            self._busy.discard(target_id)
            self._free.set()

    async def _one(self, target_id: UUID) -> None:
        async with self._database.raw_transaction() as connection:
            batch = await take(connection, self.lease, target_id, self._clock.now(), per_minute=self._per_minute, root=self._root)
        if batch is None:
            return
        outcome = await self._send(batch)
        reach(MESSAGE_POINT)
        await self._settle(batch, outcome)
        log.info("notification", target_id=str(target_id), service=batch.service, notices=len(batch.notices), is_sent=outcome.is_sent)

    async def _send(self, batch: Batch) -> Outcome:
        place = f"user:{batch.user_id}:notification_target:{batch.target_id}:url"
        try:
            url = self._vault.open(batch.sealed_url, context=place)
        except (KeyMissing, KeyUnreadable) as error:
            return Outcome(is_sent=False, words=error.message, is_final=isinstance(error, KeyUnreadable))
        title, body = one(batch.notices[0], batch.reader) if len(batch.notices) == 1 else many(batch.notices, batch.reader)
        message = Message(title=title, body=body, severity=gravest(batch.notices), key=batch.key)
        return await self._messenger.send(url, message, user_id=batch.user_id)

    async def _settle(self, batch: Batch, outcome: Outcome) -> None:
        """Write it down, however long the database is away: what the other end has answered is not to be sent again."""
        while True:
            try:
                async with self._database.raw_transaction() as connection:
                    await settle(connection, batch, outcome, self._clock.now())
            except Exception as error:
                if not is_database_gone(error):
                    raise
                log.warning("notification_unwritten", attempt_id=str(batch.attempt_id))
                await asyncio.sleep(_AGAIN_S)
            else:
                return
