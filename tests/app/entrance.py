"""A door with one webhook behind it, under a clock that the test moves."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.clock import ManualClock
from app.core.db import Database
from app.core.events import EventBus
from app.webhooks.receive import Door, Received, Request
from app.webhooks.senders import Senders
from app.webhooks.service import create_webhook
from app.webhooks.settings import HookSettings
from tests.app.conftest import make_user

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BODY = b'{"ticker":"BTCUSDT","action":"buy","quantity":"0.01"}'
TIMED = b'{"ticker":"BTCUSDT","action":"buy","quantity":"0.01","timenow":"2026-05-01T11:59:59Z"}'
WINDOW = timedelta(seconds=30)


class Entrance:
    """A door with one webhook behind it, under a clock that the test moves."""

    def __init__(
        self,
        database: Database,
        *,
        user_id: UUID,
        webhook_id: UUID,
        secret: str,
        window: timedelta = WINDOW,
        senders: Senders | None = None,
    ) -> None:
        self.database = database
        self.clock = ManualClock(NOW)
        self.bus = EventBus()
        self.door = Door(database, self.bus, self.clock, repeat_window=window, senders=senders)
        self.user_id = user_id
        self.webhook_id = webhook_id
        self.secret = secret

    def beside(self, database: Database | None = None, *, window: timedelta = WINDOW, senders: Senders | None = None) -> "Entrance":
        """Another process's door to the same webhook."""
        return Entrance(
            database or self.database,
            user_id=self.user_id,
            webhook_id=self.webhook_id,
            secret=self.secret,
            window=window,
            senders=senders,
        )

    def request(
        self, body: bytes = BODY, *, secret: str | None = None, ip_address: str = "192.0.2.7", content_type: str = "text/plain"
    ) -> Request:
        return Request(
            secret=secret or self.secret,
            body=body,
            ip_address=ip_address,
            content_type=content_type,
            started_ns=time.perf_counter_ns(),
        )

    async def receive(self, body: bytes = BODY, **given: Any) -> Received:
        return await self.door.receive(self.request(body, **given))

    async def rows(self, sql: str = "SELECT * FROM webhook_deliveries ORDER BY received_at, id") -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql))


async def make_entrance(database: Database, **settings: Any) -> Entrance:
    """The door of a new user's webhook with these settings."""
    user_id = await make_user(database)
    given: HookSettings = {"broker_id": None, **settings}  # type: ignore[typeddict-item]  # whatever a test wants
    async with database.transaction() as session:
        created = await create_webhook(session, user_id, name="My alerts", now=NOW, **given)
    return Entrance(database, user_id=user_id, webhook_id=created.webhook.id, secret=created.secret)
