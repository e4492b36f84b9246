import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.core.leases import LeaseHolder
from app.trading.reconcile import Reconciler
from app.webhooks.inbox import Inbox
from app.webhooks.receive import Door, Request
from app.webhooks.service import create_webhook
from tests.app.conftest import Pieces
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

DEADLINE_S = 20.0


@dataclass
class Post:
    """A webhook, the door before it and the inbox behind it."""

    pieces: Pieces
    inbox: Inbox
    door: Door
    webhook_id: UUID
    secret: str

    async def send(self, body: str, *, offered: bool = True) -> UUID:
        """Post a body and return the delivery's id; not offered, only the poll can find it."""
        request = Request(secret=self.secret, body=body.encode(), ip_address=None, content_type=None, started_ns=time.perf_counter_ns())
        received = await self.door.receive(request)
        if offered and received.delivery is not None:
            self.inbox.offer(received.delivery)
        return received.delivery_id

    async def delivery(self, delivery_id: UUID) -> Any:
        return (await self.pieces.rows("SELECT * FROM webhook_deliveries WHERE id = $1", delivery_id))[0]

    async def decided(self, delivery_id: UUID) -> Any:
        """The delivery, once it was decided."""
        async with asyncio.timeout(DEADLINE_S):
            while (row := await self.delivery(delivery_id))["decision"] == "pending":  # noqa: ASYNC110  # another task's row, in PostgreSQL
                await asyncio.sleep(0.01)
        return row

    async def orders(self) -> list[Any]:
        return await self.pieces.rows("SELECT * FROM orders ORDER BY created_at, id")

    async def leave(self, body: str, *, received_at: datetime) -> UUID:
        """A delivery that was committed then, and that nobody has worked on."""
        delivery_id = new_id()
        await self.pieces.rows(
            "INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'pending')",
            delivery_id,
            self.webhook_id,
            self.pieces.user_id,
            received_at,
            body,
            len(body),
        )
        return delivery_id


@asynccontextmanager
async def working(post: Post) -> AsyncIterator[None]:
    """Run the inbox; it takes offers from its first round on."""
    began = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(post.inbox.run(began.set))
        await began.wait()
        try:
            yield
        finally:
            task.cancel()


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> Post:
    async with pieces.database.transaction() as session:
        created = await create_webhook(session, pieces.user_id, name="Alerts", broker_id=None, now=pieces.desk.clock.now())
    door = Door(pieces.database, pieces.bus, pieces.desk.clock, repeat_window=timedelta(seconds=30))
    return Post(pieces, Inbox(pieces.desk), door, created.webhook.id, created.secret)


def buy(**members: object) -> str:
    fields = {"ticker": "BTCUSDT", "action": "buy", "quantity": "0.01", **members}
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}"


async def test_alert_becomes_a_filled_order_a_position_and_a_decision(post: Post) -> None:
    async with working(post):
        row = await post.decided(await post.send(buy()))
    (order,) = await post.orders()
    (position,) = await post.pieces.rows("SELECT * FROM positions")
    assert (row["decision"], row["code"], row["parsed"]["members"]["ticker"]) == ("executed", None, "BTCUSDT")
    assert {"sent", "acknowledged", "decided"} <= row["latencies_ms"].keys()
    assert (order["state"], order["source"], order["delivery_id"]) == ("filled", "webhook", row["id"])
    assert (position["symbol"], position["quantity"], position["source"]) == ("BTC/USDT", Decimal("0.00999"), "webhook")
    assert len(post.pieces.placed()) == 1


async def test_position_is_opened_and_closed_by_alerts(post: Post) -> None:
    async with working(post):
        await post.send(buy())
        row = await post.decided(await post.send('{"ticker":"BTCUSDT","action":"close"}'))
    assert row["decision"] == "executed"
    (position,) = await post.pieces.rows("SELECT * FROM positions")
    assert (position["status"], position["quantity"]) == ("closed", Decimal(0))


@pytest.mark.parametrize(
    ("body", "decision", "code"),
    [
        (buy(ticker="NOPEUSDT"), "denied", "SYMBOL_UNKNOWN"),
        (buy(ticker="BTCUSDT.P"), "unreadable", "SYMBOL_DERIVATIVE"),
        (buy(quantity="0.000001"), "denied", "QUANTITY_BELOW_MINIMUM"),
        (buy(quantity="0"), "unreadable", "QUANTITY_INVALID"),
        (buy(quantity="0e999"), "unreadable", "QUANTITY_INVALID"),
        ('{"ticker":"BTCUSDT","action":"buy"}', "denied", "QUANTITY_MISSING"),
        ('{"ticker":"BTCUSDT","action":"close"}', "denied", "NO_POSITION"),
        (buy(quantity="50"), "denied", "INSUFFICIENT_BALANCE"),
        (buy(quantity="NaN"), "unreadable", "NUMBER_INVALID"),
        ("{", "unreadable", "NOT_JSON"),
        ("hello", "unreadable", "UNREADABLE_TEXT"),
        ('{"ticker":"\\u0000","action":"buy","quantity":1}', "unreadable", "NOT_TEXT"),
        ('{"action":"ping"}', "ping", None),
    ],
)
async def test_what_is_not_traded_says_why(post: Post, body: str, decision: str, code: str | None) -> None:
    async with working(post):
        row = await post.decided(await post.send(body))
    assert (row["decision"], row["code"]) == (decision, code)
    assert row["reason"]
    assert post.pieces.placed() == []


async def test_alert_without_any_account_is_denied(post: Post) -> None:
    await post.pieces.rows("UPDATE brokers SET removed_at = now(), is_default = false")
    async with working(post):
        row = await post.decided(await post.send(buy()))
    assert (row["decision"], row["code"]) == ("denied", "NO_BROKER")


async def test_deliveries_of_one_webhook_stay_in_order_even_when_the_first_is_slow(post: Post) -> None:
    await post.pieces.connections.client(post.pieces.broker_id)
    post.pieces.fault("delay", delay_ms=400)
    async with working(post):
        sent = [await post.send(buy(quantity=f"0.0{number}")) for number in range(1, 6)]
        rows = [await post.decided(delivery_id) for delivery_id in sent]
    assert [row["decision"] for row in rows] == ["executed"] * 5
    assert [row["done_at"] for row in rows] == sorted(row["done_at"] for row in rows)
    assert [order["origQty"] for order in post.pieces.placed()] == [f"0.0{number}000000" for number in range(1, 6)]


@row(21)
async def test_delivery_left_by_a_dead_process_is_traded_once(post: Post) -> None:
    left = await post.send(buy(), offered=False)
    async with working(post):
        row = await post.decided(left)
    assert row["decision"] == "executed"
    assert len(post.pieces.placed()) == 1


@row(21)
async def test_delivery_whose_order_was_made_before_the_crash_is_decided_by_that_order(post: Post) -> None:
    async with working(post):
        done = await post.decided(await post.send(buy()))
    await post.pieces.rows("UPDATE webhook_deliveries SET decision = 'pending', done_at = NULL WHERE id = $1", done["id"])

    async with working(Post(post.pieces, fresh := Inbox(post.pieces.desk), post.door, post.webhook_id, post.secret)):
        row = await post.decided(done["id"])
    assert fresh is not post.inbox
    assert row["decision"] == "executed"
    assert len(post.pieces.placed()) == 1
    assert len(await post.orders()) == 1


async def test_nothing_is_sent_twice_when_the_inbox_runs_again(post: Post) -> None:
    for _ in range(3):
        async with working(post):
            await post.decided(await post.send(buy(client_intent_id="only once")))
    assert len(post.pieces.placed()) == 1


async def test_name_that_somebody_typed_into_the_message_is_a_repeat_within_the_window_only(post: Post) -> None:
    body = buy(signal_id="7f1c1f4e-3b57-4b0c-9d2e-2f8a54b1a1c2")
    async with working(post):
        first, soon = [await post.decided(await post.send(body)) for _ in range(2)]
        await post.pieces.rows("UPDATE webhook_replays SET expires_at = expires_at - interval '31 seconds'")
        later = await post.decided(await post.send(body))
    assert [row["decision"] for row in (first, soon, later)] == ["executed", "duplicate", "executed"]
    keys = [order["key"] for order in await post.orders()]
    assert keys == [f"webhook:{post.webhook_id}:{row['id']}" for row in (first, later)]
    await post.pieces.rows("UPDATE webhook_deliveries SET decision = 'pending', done_at = NULL WHERE id = $1", later["id"])
    async with working(replace(post, inbox=Inbox(post.pieces.desk))):
        assert (await post.decided(later["id"]))["decision"] == "executed"
    assert [order["key"] for order in await post.orders()] == keys, "after a crash the order is found, not made again"
    assert len(post.pieces.placed()) == 2


async def test_named_intent_of_another_day_is_not_traded_again(post: Post) -> None:
    async with working(post):
        first = await post.decided(await post.send(buy(client_intent_id="one")))
        await post.pieces.rows("DELETE FROM webhook_replays")
        second = await post.decided(await post.send(buy(client_intent_id="one", quantity="0.02")))
    assert [first["decision"], second["decision"]] == ["executed", "duplicate"]
    assert len(post.pieces.placed()) == 1


async def test_alert_that_waited_too_long_is_stale(post: Post) -> None:
    left = await post.leave(buy(), received_at=post.pieces.desk.clock.now() - timedelta(seconds=61))
    async with working(post):
        row = await post.decided(left)
    assert (row["decision"], row["code"]) == ("stale", "DEADLINE_PASSED")
    assert "61 s after it arrived" in row["reason"]
    assert await post.orders() == []


@row(25)
async def test_without_the_role_deliveries_wait_for_its_owner(post: Post) -> None:
    stranger = replace(post.pieces.desk, lease=LeaseHolder(post.pieces.database, post.pieces.desk.lease.role))
    other = Post(post.pieces, Inbox(stranger), post.door, post.webhook_id, post.secret)
    async with working(other):
        left = await other.send(buy())
        await asyncio.sleep(0.1)
        assert (await other.delivery(left))["decision"] == "pending"
    async with working(post):
        assert (await post.decided(left))["decision"] == "executed"
    assert len(post.pieces.placed()) == 1


@pytest.mark.parametrize(("fault", "decision", "orders"), [("drop_after", "executed", 1), ("drop_before", "denied", 0)])
async def test_alert_stays_pending_while_its_order_is_in_doubt(post: Post, fault: str, decision: str, orders: int) -> None:
    await post.pieces.connections.client(post.pieces.broker_id)
    post.pieces.fault(fault)
    async with working(post):
        sent = await post.send(buy())
        async with asyncio.timeout(DEADLINE_S):
            while not (found := await post.orders()) or found[0]["state"] != "unknown":  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        assert (await post.delivery(sent))["decision"] == "pending"
        await post.pieces.backdate(found[0]["id"], seconds=30)
        await Reconciler(post.pieces.desk, interval_s=1).once()
        row = await post.decided(sent)
    assert row["decision"] == decision
    assert len(post.pieces.placed()) == orders


async def test_one_alert_that_breaks_something_does_not_stop_the_next(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = await post.leave(buy(), received_at=post.pieces.desk.clock.now())

    async def breaks(_exchange: str) -> Any:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(post.pieces.desk.instruments, "all", breaks)
        async with working(post):
            row = await post.decided(broken)
    assert (row["decision"], row["code"]) == ("denied", "INTERNAL")
    async with working(post):
        assert (await post.decided(await post.send(buy(quantity="0.02"))))["decision"] == "executed"


async def test_two_closes_at_the_same_moment_sell_the_position_once(post: Post) -> None:
    await post.pieces.filled(quantity="0.5")
    async with post.pieces.database.transaction() as session:
        other = await create_webhook(session, post.pieces.user_id, name="Targets", broker_id=None, now=post.pieces.desk.clock.now())
    second = replace(post, webhook_id=other.webhook.id, secret=other.secret)
    close = '{"ticker":"BTCUSDT","action":"close"}'
    async with working(post):
        sent = await asyncio.gather(post.send(close), second.send(close))
        rows = [await post.decided(delivery) for delivery in sent]
    assert sorted(row["decision"] for row in rows) == ["denied", "executed"]
    assert [row["code"] for row in rows if row["decision"] == "denied"] == ["NO_POSITION"]
    assert [order["side"] for order in post.pieces.placed()].count("SELL") == 1
    (position,) = await post.pieces.rows("SELECT quantity, status FROM positions")
    assert (position["quantity"], position["status"]) == (Decimal(0), "closed")


async def test_close_in_doubt_is_not_closed_again_and_the_next_waits_for_it(post: Post) -> None:
    await post.pieces.filled(quantity="0.5")
    post.pieces.fault("drop_after")
    async with post.pieces.database.transaction() as session:
        other = await create_webhook(session, post.pieces.user_id, name="Targets", broker_id=None, now=post.pieces.desk.clock.now())
    second = replace(post, webhook_id=other.webhook.id, secret=other.secret)
    close = '{"ticker":"BTCUSDT","action":"close"}'
    async with working(post):
        first = await post.send(close)
        async with asyncio.timeout(DEADLINE_S):
            while (await post.orders())[-1]["state"] != "unknown":  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        last = await second.send(close)
        await asyncio.sleep(0.1)
        assert (await post.delivery(last))["decision"] == "pending"
        await Reconciler(post.pieces.desk, interval_s=1).once()
        assert (await post.decided(first))["decision"] == "executed"
        assert (await post.decided(last))["code"] == "NO_POSITION"
    assert [order["side"] for order in post.pieces.placed()].count("SELL") == 1


async def test_close_waits_for_its_open_that_is_in_doubt(post: Post) -> None:
    await post.pieces.connections.client(post.pieces.broker_id)
    post.pieces.fault("drop_after")
    async with working(post):
        opened = await post.send(buy(quantity="0.5"))
        closed = await post.send('{"ticker":"BTCUSDT","action":"close"}')
        async with asyncio.timeout(DEADLINE_S):
            while not (found := await post.orders()) or found[0]["state"] != "unknown":  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        assert (await post.delivery(closed))["decision"] == "pending"
        await Reconciler(post.pieces.desk, interval_s=1).once()
        rows = [await post.decided(opened), await post.decided(closed)]
    assert [row["decision"] for row in rows] == ["executed", "executed"]
    (position,) = await post.pieces.rows("SELECT status FROM positions")
    assert position["status"] == "closed"


async def test_refused_alert_may_come_again_corrected_under_the_same_name(post: Post) -> None:
    async with working(post):
        assert (await post.decided(await post.send(buy(quantity="0.000001", client_intent_id="mine"))))["decision"] == "denied"
        assert (await post.decided(await post.send(buy(quantity="1,234", client_intent_id="mine"))))["decision"] == "unreadable"
        assert (await post.decided(await post.send(buy(client_intent_id="mine"))))["decision"] == "executed"
        assert (await post.delivery(await post.send(buy(client_intent_id="mine"))))["decision"] == "duplicate"
    assert len(post.pieces.placed()) == 1
