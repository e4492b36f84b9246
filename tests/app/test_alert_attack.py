"""Messages and moments that were made to break the inbox."""

import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio

from app.trading.account import Account
from app.webhooks.alert import Action
from app.webhooks.inbox import Inbox
from app.webhooks.receive import Delivery
from tests.app.alert_post import AlertPost, alert, buy, working
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> AlertPost:
    return await AlertPost.make(pieces)


def reading(post: AlertPost) -> AlertPost:
    """The webhook before an inbox that reads messages as they are."""
    return replace(post, inbox=Inbox(post.pieces.desk))


@pytest.mark.parametrize("name", [r"\ud800", r"\u0000"])
async def test_name_that_is_no_text_does_not_stop_the_inbox(post: AlertPost, name: str) -> None:
    post = reading(post)
    async with working(post):
        bad = await post.send(f'{{"{name}": 1, "{name}": 2}}')
        good = await post.send('{"action": "ping"}')
        assert (await post.decided(bad))["decision"] == "unreadable"
        assert (await post.decided(good))["decision"] == "ping"


async def test_decision_that_cannot_be_stored_is_told_as_a_failure_and_stops_nobody(post: AlertPost) -> None:
    async with working(post):
        bad = await post.say(alert(Action.NONE, note="\x00"))
        assert (await post.decided(bad))["code"] == "INTERNAL"
        assert (await post.told(alert(Action.PING)))["decision"] == "ping"


async def test_delivery_offered_late_is_not_worked_a_second_time(post: AlertPost) -> None:
    left = await post.leave(alert(Action.CLOSE), buy("0.01"))
    async with working(post):
        await post.decided(left)
        row = await post.delivery(left)
        account = (
            await post.pieces.rows("SELECT id, exchange, is_active, paused_reason FROM brokers WHERE id = $1", post.pieces.broker_id)
        )[0]
        late = Delivery(
            id=left,
            webhook_id=post.webhook_id,
            user_id=post.pieces.user_id,
            account=Account(**account),
            raw=row["raw"].encode(),
            received_at=row["received_at"],
            started_ns=1,
            rules={},
            max_age_s=60,
        )
        post.inbox.offer(late)
        await post.told(alert(Action.PING))
        await post.told(alert(Action.CANCEL))
    assert [order["side"] for order in await post.orders()] == ["buy"]


@pytest.mark.parametrize("change", ["is_active = false", "is_active = false, removed_at = now()"])
async def test_alert_that_waited_is_not_traded_once_its_webhook_was_stopped(post: AlertPost, change: str) -> None:
    left = await post.leave(buy("0.01"))
    await post.pieces.rows(f"UPDATE webhooks SET {change} WHERE id = $1", post.webhook_id)
    async with working(post):
        row = await post.decided(left)
    assert row["decision"] == "paused"
    assert await post.orders() == []


async def test_bodies_whose_time_is_over_are_forgotten_a_few_at_a_time(post: AlertPost) -> None:
    await post.pieces.rows(
        "INSERT INTO webhook_replays SELECT $1, decode(md5(n::text), 'hex'), now() - interval '2 hours', gen_random_uuid()"
        " FROM generate_series(1, 12000) n",
        post.webhook_id,
    )
    async with working(post), asyncio.timeout(15):
        while (await post.pieces.rows("SELECT count(*) AS n FROM webhook_replays"))[0]["n"]:  # noqa: ASYNC110  # rows of another task
            await asyncio.sleep(0.2)
