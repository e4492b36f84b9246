"""People who are told: targets and notices of a running application, and a sender whose clock a test sets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.clock import SystemClock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.ids import new_id
from app.core.leases import LeaseHolder
from app.core.outgoing import Outgoing
from app.notifications import Notice, NoticeKind, Severity, put
from app.notifications.messenger import Messenger
from app.notifications.sender import ROLE, Sender
from app.notifications.targets import Targets, Wish
from tests.app.conftest import FERNET_KEY
from tests.app.receivers import HttpReceiver, http_receiver
from tests.app.whole_site import Site

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


async def notified(site: Site, user_id: str) -> dict[str, str]:
    """A target of Ada's and a notice in her bell."""
    given = {"name": "Hers", "service": "webhook", "fields": {"url": "https://hooks.example.org/hers"}}
    made = await site.ada.call("POST", "/api/notifications/targets", json=given)
    assert made.status_code == 201, made.text
    async with site.app.state.platform_database.connection() as connection:
        await put(connection, notice(), user_id=UUID(user_id))
        notice_id = await connection.fetchval("SELECT id FROM notices WHERE user_id = $1 ORDER BY id DESC LIMIT 1", UUID(user_id))
    return {"target_id": made.json()["id"], "notice_id": str(notice_id)}


def notice(kind: NoticeKind = NoticeKind.ORDER_LOST, severity: Severity = Severity.ERROR, **fields: Any) -> Notice:
    """A notice about Bitcoin."""
    given = {"title": "An order was lost track of", "text": "%(symbol)s is lost.", "values": {"symbol": "BTC/USDT"}, "at": AT}
    return Notice(kind=kind, severity=severity, **{**given, **fields})


@dataclass(slots=True)
class SetClock:
    """A clock that stands still, a minute ahead of the database's: what was just put is due."""

    time: datetime = field(default_factory=lambda: SystemClock().now() + timedelta(minutes=1))

    def now(self) -> datetime:
        """Return what it shows."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Turn it."""
        self.time += timedelta(seconds=seconds)


@dataclass(kw_only=True)
class Post:
    """A user, where they are reached, and what sends there."""

    database: Database
    user_id: UUID
    receiver: HttpReceiver
    clock: SetClock
    targets: Targets
    sender: Sender
    messenger: Messenger

    async def target(self, name: str = "Hook", **fields: Any) -> UUID:
        """A target at the receiver."""
        wish = Wish(name=name, url=f"json://127.0.0.1:{self.receiver.port}/{name}", **fields)
        async with self.database.transaction() as session:
            return (await self.targets.create(session, self.user_id, wish)).id

    async def tell(self, count: int = 1, **fields: Any) -> None:
        """Put notices."""
        async with self.database.raw_transaction() as connection:
            for _ in range(count):
                await put(connection, notice(**fields), user_id=self.user_id)

    async def send(self) -> int:
        """Send what is due, and wait until that is written down; return to how many targets."""
        async with asyncio.TaskGroup() as group:
            return await self.sender.once(group)

    async def send_all(self) -> None:
        """Send until nothing is due any more."""
        while await self.send():
            continue

    async def rows(self, sql: str, *values: object) -> list[Any]:
        """Rows of the database."""
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def states(self) -> list[str]:
        """What became of each delivery, by its notice."""
        return [row["state"] for row in await self.rows("SELECT state FROM notice_deliveries ORDER BY notice_id, id")]

    async def log(self) -> list[tuple[str, int, str]]:
        """The log, oldest first: state, how many notices, answer."""
        rows = await self.rows("SELECT state, covers, answer FROM notification_attempts ORDER BY id")
        return [(row["state"], row["covers"], row["answer"]) for row in rows]

    def titles(self) -> list[str]:
        """What arrived."""
        return [heard.json["title"] for heard in self.receiver.heard]


@asynccontextmanager
async def posting(database: Database, user_id: UUID, *, per_minute: int = 10) -> AsyncIterator[Post]:
    """Everything that sends, with the role held by this process."""
    async with http_receiver() as receiver:
        clock, vault = SetClock(), Vault((FERNET_KEY,))
        messenger = Messenger(Outgoing(allowed=frozenset({("127.0.0.1", receiver.port)})), total_s=2.0)
        lease = LeaseHolder(database, ROLE)
        assert await lease.renew()
        sender = Sender(
            database, messenger, vault, lease=lease, clock=clock, per_minute=per_minute, keep=timedelta(days=30), root="https://bot.example"
        )
        targets = Targets(database, messenger, vault, clock=clock)
        yield Post(database=database, user_id=user_id, receiver=receiver, clock=clock, targets=targets, sender=sender, messenger=messenger)
        messenger.close()
        sender.lease.lose()


def target_row(user_id: UUID, **fields: Any) -> dict[str, Any]:
    """The columns of a target at a place that is never called."""
    target_id = new_id()
    url = Vault((FERNET_KEY,)).seal("json://example.org", context=f"user:{user_id}:notification_target:{target_id}:url").decode()
    return {"id": target_id, "user_id": user_id, "name": str(target_id), "service": "json", "url": url, "hint": ".org", **fields}
