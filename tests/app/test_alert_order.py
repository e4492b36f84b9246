"""Alerts for one symbol of one account are acted on as they arrived, whichever process took them."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.db import Database
from app.core.leases import LeaseHolder
from app.webhooks import inbox, receive
from app.webhooks.alert import Action, Alert
from app.webhooks.inbox import Inbox
from app.webhooks.receive import Delivery, Door
from tests.app.alert_post import AlertPost, alert, buy, meaning, read, working
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> AlertPost:
    made = await AlertPost.make(pieces)
    await pieces.rows("UPDATE webhooks SET per_minute = 6000")
    return made


@pytest_asyncio.fixture
async def other(post: AlertPost) -> AsyncIterator[AlertPost]:
    """The same webhook in another process, which has not the role: its own connections, door and inbox."""
    database = Database(post.pieces.database._url)
    await database.open()
    desk = replace(post.pieces.desk, database=database, lease=LeaseHolder(database, post.pieces.desk.lease.role))
    door = Door(database, post.pieces.bus, desk.clock, repeat_window=timedelta(seconds=30))
    yield replace(post, door=door, inbox=Inbox(desk, read=read))
    await database.close()


@pytest.fixture
def rare_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not found by a poll that somebody asked for is found by none."""
    monkeypatch.setattr(inbox, "_POLL_S", 3600.0)


async def taken(post: AlertPost, *alerts: Alert) -> Delivery:
    """A message that came in and was not offered yet."""
    found = (await post.door.receive(post.request(meaning(*alerts)))).delivery
    assert found is not None
    return found


async def in_order_of_decision(post: AlertPost, *deliveries: UUID) -> list[UUID]:
    """The deliveries as they were decided, once all are."""
    rows = [await post.decided(each) for each in deliveries]
    return [found["id"] for found in sorted(rows, key=lambda each: each["done_at"])]


@pytest.mark.usefixtures("rare_polls")
async def test_close_does_not_overtake_the_open_that_another_process_took(post: AlertPost, other: AlertPost) -> None:
    async with working(post, other):
        opened = await other.say(buy())
        closed = await post.say(alert(Action.CLOSE))
        rows = [await post.decided(opened), await post.decided(closed)]
    assert [(each["decision"], each["code"]) for each in rows] == [("executed", None)] * 2
    assert [order["side"] for order in post.pieces.placed()] == ["BUY", "SELL"]


@pytest.mark.usefixtures("rare_polls")
async def test_alert_whose_sender_hung_up_is_not_overtaken_by_the_next(post: AlertPost) -> None:
    async with working(post):
        opened = await post.say(buy(), offered=False)
        closed = await post.told(alert(Action.CLOSE))
        assert closed["decision"] == (await post.delivery(opened))["decision"] == "executed"


@pytest.mark.usefixtures("rare_polls")
async def test_tests_hold_up_nobody(post: AlertPost) -> None:
    async with working(post):
        left = await post.leave(buy(), is_test=True)
        assert (await post.told(alert(Action.PING)))["decision"] == "ping"
        assert (await post.delivery(left))["decision"] == "pending", "nothing asked for a poll"


@pytest.mark.usefixtures("rare_polls")
async def test_others_alerts_are_not_waited_for(post: AlertPost) -> None:
    async with working(post):
        left = await post.say(buy(), offered=False)
        await post.pieces.rows("UPDATE webhook_deliveries SET user_id = gen_random_uuid() WHERE id = $1", left)
        assert (await post.told(alert(Action.PING)))["decision"] == "ping"
        assert (await post.delivery(left))["decision"] == "pending"


@pytest.mark.usefixtures("rare_polls")
async def test_more_than_can_be_named_are_left_to_a_poll(post: AlertPost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "MOST_AHEAD", 3)
    async with working(post):
        left = [await post.say(alert(Action.CLOSE), offered=False) for _ in range(8)]
        last = await post.say(buy())
        assert await in_order_of_decision(post, *left, last) == [*left, last]


@asynccontextmanager
async def poll_that_has_read(monkeypatch: pytest.MonkeyPatch, post: AlertPost) -> AsyncIterator[None]:
    """Let a poll begin, have read what is pending, and hear the answer only at the end."""
    ask = inbox._pending
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(*values: Any) -> Any:
        rows = await ask(*values)
        has_read.set()
        await may_go_on.wait()
        return rows

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "_pending", slow)
        post.inbox.ask_for_poll()
        await has_read.wait()
    yield
    may_go_on.set()


@pytest.mark.usefixtures("rare_polls")
async def test_alert_that_comes_during_a_poll_does_not_overtake_what_the_poll_brings(
    post: AlertPost, other: AlertPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(post, other):
        opened = await other.say(buy())
        async with poll_that_has_read(monkeypatch, post):
            closed = await post.say(alert(Action.CLOSE))
            await asyncio.sleep(0.05)
        assert await in_order_of_decision(post, opened, closed) == [opened, closed]
    assert [order["side"] for order in post.pieces.placed()] == ["BUY", "SELL"]


@pytest.mark.usefixtures("rare_polls")
async def test_alert_that_was_not_taken_is_not_overtaken_by_the_next_of_its_batch(
    post: AlertPost, other: AlertPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(post, other):
        first = await other.say(buy())
        async with poll_that_has_read(monkeypatch, post):
            # The stranger's is written alone; meanwhile they come, and are written together.
            stranger = replace(post, secret="nobody has this one")
            _, second, third = await asyncio.gather(
                stranger.send("knock"), taken(post, alert(Action.CLOSE)), taken(post, buy("0.02")), return_exceptions=True
            )
            assert isinstance(second, Delivery)
            assert isinstance(third, Delivery)
            assert second.ahead == third.ahead == frozenset({first})
            post.inbox.offer(second)
        async with asyncio.timeout(20):
            while not post.inbox._is_known(first):  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0)
        post.inbox.offer(third)
        assert await in_order_of_decision(post, first, second.id, third.id) == [first, second.id, third.id]
    assert [order["side"] for order in post.pieces.placed()] == ["BUY", "SELL", "BUY"]


@pytest.mark.parametrize("seed", range(6))
async def test_alerts_that_several_processes_take_are_acted_on_in_their_order(post: AlertPost, other: AlertPost, seed: int) -> None:
    chance = random.Random(seed)
    symbols = ["AAAUSDT", "BBBUSDT", "BTCUSDT"]
    sent: dict[str, list[UUID]] = {symbol: [] for symbol in symbols}
    async with working(post, other):
        for _ in range(60):
            symbol = chance.choice(symbols)
            wish = alert(chance.choice([Action.CLOSE, Action.CANCEL]), symbol=symbol)
            taker = chance.choice([post, post, other])
            sent[symbol].append(await taker.say(wish, offered=chance.random() < 0.9))
            await asyncio.sleep(chance.choice([0, 0, 0, 0.002, 0.05]))
        for ids in sent.values():
            assert await in_order_of_decision(post, *ids) == ids
