"""A webhook whose messages mean what the test says: for tests that begin behind the reading of messages."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.core.ids import new_id
from app.errors import BadPayload
from app.trading.desk import Desk
from app.webhooks.alert import Action, Alert, Level, Reading, Size, SizeKind
from app.webhooks.inbox import Inbox
from app.webhooks.receive import Door, Request
from app.webhooks.rules import HookRules
from app.webhooks.service import create_webhook
from tests.app.conftest import Pieces

DEADLINE_S = 20.0
_numbers = itertools.count(1)
_readings: dict[bytes, Reading] = {}


def read(raw: bytes) -> Reading:
    """What the test said that this message means."""
    if raw not in _readings:
        raise BadPayload("no test said what this means", code="UNREADABLE_TEXT")
    return _readings[raw]


def meaning(*alerts: Alert) -> str:
    """A message that means these alerts."""
    text = f"message {next(_numbers)}"
    _readings[text.encode()] = Reading(alerts=alerts, parsed={"said": text})
    return text


def alert(action: Action, size: Size | None = None, **fields: Any) -> Alert:
    """An alert for BTC/USDT at the market, unless the fields say otherwise."""
    fields.setdefault("symbol", "BTCUSDT")
    return Alert(action=action, dialect="test", size=size, **fields)


def base(value: str) -> Size:
    return Size(kind=SizeKind.BASE, value=Decimal(value))


def size(kind: SizeKind, value: str) -> Size:
    return Size(kind=kind, value=Decimal(value))


def at_price(value: str) -> Level:
    return Level(price=Decimal(value))


def off_entry(value: str) -> Level:
    return Level(offset=Decimal(value))


def buy(quantity: str = "0.01", **fields: Any) -> Alert:
    return alert(Action.BUY, base(quantity), **fields)


@dataclass
class AlertPost:
    """A webhook, the door before it and the inbox behind it."""

    pieces: Pieces
    webhook_id: UUID
    secret: str
    inbox: Inbox
    door: Door = field(repr=False)

    @classmethod
    async def make(cls, pieces: Pieces, rules: HookRules | None = None, *, name: str = "Alerts", max_age_s: int = 60) -> "AlertPost":
        """Make a webhook of the user's default account."""
        async with pieces.database.transaction() as session:
            created = await create_webhook(session, pieces.user_id, name=name, broker_id=None, now=pieces.desk.clock.now())
        document = {} if rules is None else rules.model_dump(mode="json", exclude_none=True)
        await pieces.rows("UPDATE webhooks SET rules = $2, max_age_s = $3 WHERE id = $1", created.webhook.id, document, max_age_s)
        door = Door(pieces.database, pieces.bus, pieces.desk.clock, repeat_window=timedelta(seconds=30))
        return cls(pieces, created.webhook.id, created.secret, Inbox(pieces.desk, read=read), door)

    def behind(self, desk: Desk | None = None) -> "AlertPost":
        """The same webhook before another inbox, as after a restart or in another process."""
        return replace(self, inbox=Inbox(desk or self.pieces.desk, read=read))

    async def say(self, *alerts: Alert, offered: bool = True) -> UUID:
        """Post a message that means these alerts; not offered, only the poll can find it."""
        return await self.send(meaning(*alerts), offered=offered)

    async def send(self, body: str, *, offered: bool = True) -> UUID:
        """Post a message."""
        received = await self.door.receive(self.request(body))
        if offered and received.delivery is not None:
            self.inbox.offer(received.delivery)
        return received.delivery_id

    def request(self, body: str) -> Request:
        """A message on its way in."""
        return Request(secret=self.secret, body=body.encode(), ip_address=None, content_type=None, started_ns=time.perf_counter_ns())

    async def leave(self, *alerts: Alert, received_at: datetime | None = None, is_test: bool = False) -> UUID:
        """A delivery that was committed, and that nobody has worked on."""
        delivery_id, body = new_id(), meaning(*alerts)
        await self.pieces.rows(
            "INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision, is_test)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7)",
            delivery_id,
            self.webhook_id,
            self.pieces.user_id,
            received_at or self.pieces.desk.clock.now(),
            body,
            len(body),
            is_test,
        )
        return delivery_id

    async def delivery(self, delivery_id: UUID) -> Any:
        return (await self.pieces.rows("SELECT * FROM webhook_deliveries WHERE id = $1", delivery_id))[0]

    async def decided(self, delivery_id: UUID) -> Any:
        """The delivery, once it was decided."""
        async with asyncio.timeout(DEADLINE_S):
            while (row := await self.delivery(delivery_id))["decision"] == "pending":  # noqa: ASYNC110  # another task's row, in PostgreSQL
                await asyncio.sleep(0.01)
        return row

    async def told(self, *alerts: Alert) -> Any:
        """What became of a message that means these alerts; the inbox must be running."""
        return await self.decided(await self.say(*alerts))

    async def orders(self) -> list[Any]:
        return await self.pieces.rows("SELECT * FROM orders WHERE role NOT IN ('stop', 'target') ORDER BY created_at, id")

    async def position(self) -> Any:
        """The open position, or None."""
        rows = await self.pieces.rows("SELECT * FROM positions WHERE status <> 'closed'")
        return rows[0] if rows else None

    async def forget_decision(self, delivery_id: UUID) -> None:
        """Let the process have died just before it wrote down what became of the delivery."""
        await self.pieces.rows(
            "UPDATE webhook_deliveries SET decision = 'pending', code = NULL, reason = NULL, done_at = NULL WHERE id = $1", delivery_id
        )
        await self.pieces.rows("DELETE FROM webhook_marks WHERE delivery_id = $1", delivery_id)


@asynccontextmanager
async def working(*posts: AlertPost) -> AsyncIterator[None]:
    """Run the inboxes; they take offers from their first round on."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for post in posts:
            began = asyncio.Event()
            tasks.append(group.create_task(post.inbox.run(began.set)))
            await began.wait()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
