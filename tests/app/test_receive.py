import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio

from app.core.db import Database
from app.errors import BadToken, BodyTooLarge
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision
from app.webhooks.receive import LARGEST_BODY
from app.webhooks.service import change_webhook, create_webhook, remove_webhook, rotate_secret
from tests.app.entrance import BODY, NOW, TIMED, WINDOW, Entrance, make_entrance
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def entrance(database: Database) -> Entrance:
    return await make_entrance(database)


async def test_alert_is_kept_as_it_came_before_anybody_is_told(entrance: Entrance) -> None:
    with entrance.bus.subscribe(DeliveryChanged) as events:
        received = await entrance.receive()
    (row,) = await entrance.rows()
    assert (received.decision, received.delivery_id) == (Decision.PENDING, row["id"])
    assert (row["decision"], row["raw"], row["size"], row["received_at"]) == ("pending", BODY.decode(), len(BODY), NOW)
    assert (row["ip_address"], row["content_type"], row["user_id"]) == ("192.0.2.7", "text/plain", entrance.user_id)
    assert received.delivery is not None
    assert received.delivery.raw == BODY
    assert events.get_nowait() == DeliveryChanged(user_id=entrance.user_id, delivery_id=row["id"], decision=Decision.PENDING)


async def test_exact_repeat_within_the_window_is_a_duplicate_and_after_it_is_not(entrance: Entrance) -> None:
    decisions = [(await entrance.receive()).decision]
    entrance.clock.advance(WINDOW - timedelta(seconds=1))
    decisions.append((await entrance.receive()).decision)
    entrance.clock.advance(timedelta(seconds=1))
    decisions.append((await entrance.receive()).decision)
    assert decisions == [Decision.PENDING, Decision.DUPLICATE, Decision.PENDING]
    assert [row["reason"] is not None for row in await entrance.rows()] == [False, True, False]


async def test_duplicate_is_kept_in_the_log_and_not_handed_on(entrance: Entrance) -> None:
    await entrance.receive()
    repeat = await entrance.receive()
    assert repeat.delivery is None
    assert [row["decision"] for row in await entrance.rows()] == ["pending", "duplicate"]


async def test_body_with_its_moment_stays_a_duplicate_long_after_the_window(entrance: Entrance) -> None:
    await entrance.receive(TIMED)
    entrance.clock.advance(timedelta(days=2))
    assert (await entrance.receive(TIMED)).decision is Decision.DUPLICATE


async def test_named_intent_is_a_duplicate_whatever_else_the_body_says(entrance: Entrance) -> None:
    await entrance.receive(b'{"client_intent_id":"a","ticker":"BTCUSDT","action":"buy","quantity":1}')
    again = await entrance.receive(b'{"client_intent_id":"a","ticker":"BTCUSDT","action":"buy","quantity":2}')
    assert again.decision is Decision.DUPLICATE


async def test_other_body_and_other_webhook_are_no_duplicates(entrance: Entrance) -> None:
    await entrance.receive()
    assert (await entrance.receive(BODY + b" ")).decision is Decision.PENDING
    async with entrance.database.transaction() as session:
        other = await create_webhook(session, entrance.user_id, name="Other", broker_id=None, now=NOW)
    assert (await entrance.receive(secret=other.secret)).decision is Decision.PENDING


@row(26, 27)
async def test_identical_posts_at_the_same_moment_leave_one_to_trade(entrance: Entrance) -> None:
    for body in (BODY, TIMED, b"\xff not text"):
        received = await asyncio.gather(*(entrance.receive(body) for _ in range(8)))
        assert sorted(one.decision for one in received) == ["duplicate"] * 7 + ["pending"]


async def test_paused_webhook_keeps_the_alert_and_trades_nothing(entrance: Entrance) -> None:
    async with entrance.database.transaction() as session:
        await change_webhook(session, entrance.user_id, entrance.webhook_id, now=NOW, is_active=False)
    received = await entrance.receive()
    assert (received.decision, received.delivery) == (Decision.PAUSED, None)
    assert (await entrance.rows())[0]["reason"] == "this webhook is paused"


async def test_unknown_address_is_refused_and_seen_by_administrators_only(entrance: Entrance) -> None:
    with pytest.raises(BadToken):
        await entrance.receive(secret="nobody-has-this-one")
    (row,) = await entrance.rows()
    assert (row["user_id"], row["webhook_id"], row["decision"], row["code"]) == (None, None, "unreadable", "WEBHOOK_UNKNOWN")


async def test_strangers_cannot_fill_the_disk(entrance: Entrance) -> None:
    async def knock() -> None:
        with pytest.raises(BadToken):
            await entrance.receive(b"x" * 50_000, secret="guess")

    for _ in range(40):
        await knock()
    rows = await entrance.rows()
    assert len(rows) == 30
    assert max(len(row["raw"]) for row in rows) <= 2048
    assert rows[0]["size"] == 50_000
    entrance.clock.advance(timedelta(minutes=1))
    await knock()
    assert len(await entrance.rows()) == 31


async def test_old_address_is_dead_after_rotation_and_after_removal(entrance: Entrance) -> None:
    async with entrance.database.transaction() as session:
        rotated = await rotate_secret(session, entrance.user_id, entrance.webhook_id, now=NOW)
    with pytest.raises(BadToken):
        await entrance.receive()
    assert (await entrance.receive(secret=rotated.secret)).decision is Decision.PENDING
    async with entrance.database.transaction() as session:
        await remove_webhook(session, entrance.user_id, entrance.webhook_id, now=NOW)
    with pytest.raises(BadToken):
        await entrance.receive(secret=rotated.secret)


async def test_body_that_is_too_large_is_refused_and_its_beginning_kept(entrance: Entrance) -> None:
    with pytest.raises(BodyTooLarge, match=str(LARGEST_BODY)):
        await entrance.door.refuse_too_large(entrance.request(b"x" * 70_000), 70_000)
    (row,) = await entrance.rows()
    assert (row["user_id"], row["code"], row["size"], len(row["raw"])) == (entrance.user_id, "BODY_TOO_LARGE", 70_000, 2048)
    with pytest.raises(BadToken):
        await entrance.door.refuse_too_large(entrance.request(b"x" * 70_000, secret="guess"), 70_000)


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b'{"a":' + b"[" * 700 + b"]" * 700 + b"}", b";", b'{"client_intent_id":"\\ud800"}'])
async def test_body_that_nobody_can_read_is_kept_too(entrance: Entrance, body: bytes) -> None:
    assert (await entrance.receive(body)).decision is Decision.PENDING
    (row,) = await entrance.rows()
    assert row["size"] == len(body)
    assert "\x00" not in row["raw"]
