"""Alerts are traded once: crashes, replays, two processes, tests."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.brokers.connections import Connections
from app.brokers.schemas import BrokerIn
from app.brokers.service import create_broker
from app.core.leases import LeaseHolder
from app.domain.enums import Role, Side, Source
from app.domain.intents import OrderIntent
from app.errors import DeliveryNotFound, OrderDenied
from app.marketdata.instruments import InstrumentBook
from app.trading.account import Account
from app.trading.desk import Desk
from app.trading.reconcile import Reconciler
from app.trading.submit import submit
from app.webhooks.alert import Action, Alert, SizeKind, TargetLevel
from app.webhooks.models import Decision
from app.webhooks.receive import Delivery
from app.webhooks.replay import replay_on_paper
from app.webhooks.rules import HookRules
from tests.app.alert_post import AlertPost, alert, at_price, base, buy, off_entry, size, working
from tests.app.conftest import Pieces, make_user
from tests.exchanges.paper_parts import PaperParts

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> AlertPost:
    return await AlertPost.make(pieces)


def key(post: AlertPost, delivery_id: UUID, behind: str = "") -> str:
    return f"webhook:{post.webhook_id}:{delivery_id}{behind}"


async def died_after(post: AlertPost, delivery_id: UUID, **fields: Any) -> None:
    """What a process left that died after this order of a delivery, before the next step."""
    intent = OrderIntent(symbol="BTC/USDT", source=Source.WEBHOOK, **fields)
    await submit(post.pieces.desk, post.pieces.user_id, intent, broker_id=post.pieces.broker_id, delivery_id=delivery_id)


async def test_reversal_goes_on_after_a_crash_between_its_steps(post: AlertPost) -> None:
    await post.pieces.filled(Side.SELL, "0.05")
    left = await post.leave(alert(Action.REVERSE, base("0.02"), moves_from=Decimal("-0.05")))
    await died_after(post, left, side=Side.BUY, key=key(post, left), close_position=True, role=Role.EXIT)
    async with working(post):
        row = await post.decided(left)
    assert (row["decision"], row["code"]) == ("executed", None)
    assert [(order["side"], order["quantity"]) for order in await post.orders()] == [
        ("sell", Decimal("0.05")),
        ("buy", Decimal("0.05")),
        ("buy", Decimal("0.02")),
    ]


async def test_reversal_without_a_size_opens_as_much_as_it_closed_after_a_crash_too(post: AlertPost) -> None:
    await post.pieces.filled(Side.SELL, "0.05")
    left = await post.leave(alert(Action.REVERSE, moves_from=Decimal("-0.05")))
    await died_after(post, left, side=Side.BUY, key=key(post, left), close_position=True, role=Role.EXIT)
    async with working(post):
        await post.decided(left)
    assert [order["quantity"] for order in await post.orders()] == [Decimal("0.05")] * 3


@pytest.mark.parametrize(
    ("wishes", "orders"),
    [
        ((alert(Action.REVERSE, base("0.02"), moves_from=Decimal("-0.05")),), 2),
        ((buy("0.01"), buy("0.02"), alert(Action.CANCEL)), 2),
        ((alert(Action.CANCEL), buy("0.01")), 1),
        ((alert(Action.TARGET, position=Decimal("0.02")),), 1),
    ],
)
async def test_nothing_is_done_twice_after_a_crash_before_the_decision(post: AlertPost, wishes: tuple[Alert, ...], orders: int) -> None:
    await post.pieces.filled(Side.SELL, "0.05")
    at = post.pieces.desk.clock.now()
    async with working(post):
        first = await post.told(*(replace(wish, at=at) for wish in wishes))
    for _ in range(2):
        await post.forget_decision(first["id"])
        async with working(post.behind()):
            row = await post.decided(first["id"])
        assert (row["decision"], row["code"]) == ("executed", None)
    assert len(post.pieces.placed()) == 1 + orders


async def test_close_that_found_nothing_does_not_close_after_a_crash_what_came_behind_it(post: AlertPost) -> None:
    async with working(post):
        first = await post.told(alert(Action.CLOSE), buy("0.01"))
        await post.forget_decision(first["id"])
    async with working(post.behind()):
        row = await post.decided(first["id"])
    assert (row["decision"], row["code"]) == ("executed", "STEP_FAILED")
    assert [order["side"] for order in post.pieces.placed()] == ["BUY"]
    assert (await post.position())["quantity"] > 0


async def test_message_of_two_alerts_goes_on_after_a_crash_between_them(post: AlertPost) -> None:
    left = await post.leave(buy("0.01"), buy("0.02"))
    await died_after(post, left, side=Side.BUY, key=key(post, left), quantity=Decimal("0.01"))
    async with working(post):
        row = await post.decided(left)
    assert row["decision"] == "executed"
    assert [order["key"] for order in await post.orders()] == [key(post, left), key(post, left, "|2")]
    assert len(post.pieces.placed()) == 2


async def test_second_alert_that_comes_too_late_after_a_crash_is_not_traded(post: AlertPost) -> None:
    left = await post.leave(buy("0.01"), buy("0.02"), received_at=post.pieces.desk.clock.now() - timedelta(seconds=70))
    await died_after(post, left, side=Side.BUY, key=key(post, left), quantity=Decimal("0.01"))
    async with working(post):
        row = await post.decided(left)
    assert (row["decision"], row["code"]) == ("executed", "DEADLINE_PASSED")
    assert len(post.pieces.placed()) == 1


@pytest.mark.parametrize("after_ms", [0, 5, 15, 25, 40, 60, 90])
async def test_message_whose_worker_stops_at_any_moment_is_finished_by_the_next_and_nothing_is_doubled(
    post: AlertPost, after_ms: int
) -> None:
    pieces = post.pieces
    await pieces.connections.client(pieces.broker_id)
    async with working(post):
        sent = await post.say(buy("0.01"), buy("0.02"), alert(Action.CLOSE), buy("0.03"))
        await asyncio.sleep(after_ms / 1000)
    async with working(post.behind()), asyncio.timeout(30):
        while (row := await post.delivery(sent))["decision"] == "pending":
            for order in await pieces.rows("SELECT id FROM orders WHERE state IN ('submitting', 'unknown')"):
                await pieces.backdate(order["id"], seconds=30)  # so that what never left is soon known to be lost
            await Reconciler(pieces.desk, interval_s=1).once()
            await asyncio.sleep(0.05)
    assert row["decision"] in ("executed", "denied")
    placed = [(order["side"], order["origQty"]) for order in pieces.placed()]
    wished = [("BUY", "0.01000000"), ("BUY", "0.02000000"), ("SELL", "0.02997000"), ("BUY", "0.03000000")]
    if row["code"] is None:
        assert placed == wished
    else:  # an order was lost on its way: what was wished for behind it was not tried
        assert placed == wished[: len(placed)]
    assert await pieces.rows("SELECT 1 FROM orders GROUP BY key HAVING count(*) > 1") == []


async def test_named_signals_of_one_message_and_of_another_are_each_traded_once(post: AlertPost) -> None:
    async with working(post):
        rows = [
            await post.told(buy("0.01", key="a"), buy("0.02", key="b")),
            await post.told(buy("0.01", key="b")),
            await post.told(alert(Action.CLOSE, key="out")),
            await post.told(alert(Action.CLOSE, key="out")),
        ]
    assert [row["decision"] for row in rows] == ["executed", "duplicate", "executed", "duplicate"]
    assert len(post.pieces.placed()) == 3


async def test_nothing_that_comes_in_overtakes_what_a_dead_process_left(post: AlertPost) -> None:
    now = post.pieces.desk.clock.now()
    left = [await post.leave(alert(Action.CLOSE), received_at=now - timedelta(seconds=20)) for _ in range(230)]
    async with working(post):
        last = await post.decided(await post.say(buy()))
    rows = await post.pieces.rows("SELECT max(done_at) AS done_at FROM webhook_deliveries WHERE id = ANY($1)", left)
    assert last["decision"] == "executed"
    assert last["done_at"] >= rows[0]["done_at"]
    assert len(post.pieces.placed()) == 1


async def test_terms_that_the_door_did_not_hand_over_are_read(pieces: Pieces) -> None:
    post = await AlertPost.make(pieces, HookRules(max_notional=Decimal(100)))
    async with working(post):
        sent = await post.say(buy(), offered=False)
        row = await post.delivery(sent)
        account = Account(id=pieces.broker_id, exchange="binance", is_active=True, paused_reason=None)
        post.inbox.offer(
            Delivery(
                id=sent,
                webhook_id=post.webhook_id,
                user_id=pieces.user_id,
                account=account,
                raw=row["raw"].encode(),
                received_at=row["received_at"],
            )
        )
        assert (await post.decided(sent))["code"] == "HOOK_NOTIONAL"


async def test_two_inboxes_with_one_alert_at_once_make_one_order(post: AlertPost) -> None:
    left = await post.leave(buy("0.01"), buy("0.02"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(inbox.run(lambda: None)) for inbox in (post.inbox, post.behind().inbox, post.behind().inbox)]
        row = await post.decided(left)
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
    assert row["decision"] in ("executed", "duplicate")
    assert len(post.pieces.placed()) == 2


async def test_without_the_role_a_process_neither_cancels_nor_trades(post: AlertPost) -> None:
    stranger = replace(post.pieces.desk, lease=LeaseHolder(post.pieces.database, post.pieces.desk.lease.role))
    other = post.behind(stranger)
    async with working(other):
        left = await other.say(alert(Action.CANCEL), buy())
        await asyncio.sleep(0.1)
        assert (await other.delivery(left))["decision"] == "pending"
    async with working(post):
        assert (await post.decided(left))["decision"] == "executed"
    assert len(post.pieces.placed()) == 1


async def test_test_is_planned_completely_and_nothing_is_sent(pieces: Pieces) -> None:
    post = await AlertPost.make(pieces, HookRules(max_notional=Decimal(1000)))
    targets = (TargetLevel(level=off_entry("0.1"), fraction=Decimal(1)),)
    async with working(post):
        rows = [
            await post.decided(await post.leave(buy(stop=at_price("57000"), targets=targets), is_test=True)),
            await post.decided(await post.leave(alert(Action.BUY, size(SizeKind.QUOTE, "600.001")), is_test=True)),
            await post.decided(await post.leave(buy("1"), is_test=True)),
            await post.decided(await post.leave(alert(Action.CLOSE), is_test=True)),
            await post.decided(await post.leave(alert(Action.CANCEL), is_test=True)),
            await post.decided(await post.leave(buy(at=pieces.desk.clock.now() - timedelta(days=1)), is_test=True)),
        ]
    assert [(row["decision"], row["code"]) for row in rows] == [
        ("ping", None),
        ("ping", None),
        ("ping", "HOOK_NOTIONAL"),
        ("ping", "NO_POSITION"),
        ("ping", None),
        ("ping", None),
    ]
    assert rows[0]["reason"] == (
        "it would have sent a market order in BTC/USDT: buy 0.01 BTC; with a stop at 57000 USDT; with a target at 66000 USDT for 100 %"
    )
    assert rows[1]["reason"] == "it would have sent a market order in BTC/USDT: buy for 600.001 USDT"
    assert rows[2]["reason"].startswith("it would have been denied: the order may cost 60060 USDT")
    assert rows[4]["reason"] == "it would have canceled the open orders in BTC/USDT"
    assert await post.orders() == pieces.placed() == []
    assert await pieces.rows("SELECT * FROM webhook_marks") == []


async def on_paper(pieces: Pieces) -> tuple[Desk, UUID]:
    """A desk that reaches the paper exchange, and a paper account of the user."""
    parts = PaperParts(pieces.database)
    parts.say(60000, offered="100")
    given = BrokerIn.model_validate({"exchange": "paper", "name": "Practice"})
    async with pieces.database.transaction() as session:
        broker = await create_broker(session, pieces.vault, pieces.user_id, given)
    connections = Connections(pieces.database, pieces.vault, pieces.registry, paper=parts.exchange)
    book = InstrumentBook(pieces.database, pieces.registry, clock=pieces.desk.clock, same_as={"paper": "binance"})
    return replace(pieces.desk, connections=connections, instruments=book), broker.id


async def test_replay_is_traded_on_the_paper_account_alone_and_again_each_time(post: AlertPost) -> None:
    pieces = post.pieces
    desk, paper_id = await on_paper(pieces)
    paper = post.behind(desk)
    async with working(paper):
        first = await paper.told(buy("0.01", key="once", at=pieces.desk.clock.now()))
        await pieces.rows("UPDATE webhook_deliveries SET received_at = received_at - interval '1 day'")
        repeated = [await replay_on_paper(desk, pieces.user_id, first["id"]) for _ in range(2)]
        rows = [await paper.decided(delivery_id) for delivery_id in repeated]
        again = await paper.decided(await replay_on_paper(desk, pieces.user_id, repeated[0]))
    assert [row["decision"] for row in (first, *rows, again)] == ["executed"] * 4
    assert {row["replay_of"] for row in (*rows, again)} == {first["id"]}
    assert {row["broker_id"] for row in (*rows, again)} == {paper_id}
    assert {row["raw"] for row in (*rows, again)} == {first["raw"]}
    assert [order["broker_id"] for order in await post.orders()] == [pieces.broker_id, *[paper_id] * 3]
    assert len(pieces.placed()) == 1
    await desk.connections.close()


async def test_replay_names_what_it_lacks_and_is_nobody_elses(post: AlertPost) -> None:
    pieces = post.pieces
    async with working(post):
        row = await post.told(buy())
    with pytest.raises(OrderDenied) as caught:
        await replay_on_paper(pieces.desk, pieces.user_id, row["id"])
    assert caught.value.code == "NO_PAPER_ACCOUNT"
    with pytest.raises(DeliveryNotFound):
        await replay_on_paper(pieces.desk, await make_user(pieces.database, "eve"), row["id"])
    await pieces.rows("UPDATE webhook_deliveries SET raw = ''")
    with pytest.raises(OrderDenied) as caught:
        await replay_on_paper(pieces.desk, pieces.user_id, row["id"])
    assert caught.value.code == "NOTHING_TO_REPLAY"


async def test_replay_whose_paper_account_is_gone_trades_nowhere(post: AlertPost) -> None:
    pieces = post.pieces
    desk, paper_id = await on_paper(pieces)
    async with working(post):
        row = await post.told(buy())
    repeated = await replay_on_paper(desk, pieces.user_id, row["id"])
    await pieces.rows("UPDATE webhook_deliveries SET broker_id = $2 WHERE id = $1", repeated, pieces.broker_id)
    async with working(post.behind(desk)):
        decided = await post.decided(repeated)
    assert (decided["decision"], decided["code"]) == (Decision.DENIED, "NO_PAPER_ACCOUNT")
    assert len(pieces.placed()) == 1
    assert paper_id != pieces.broker_id
    await desk.connections.close()
