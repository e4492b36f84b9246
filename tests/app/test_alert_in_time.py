"""Alerts are traded in the order of their moments, and in time."""

from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from app.webhooks.alert import Action, Alert
from app.webhooks.rules import HookRules
from tests.app.alert_post import AlertPost, alert, buy, working
from tests.app.conftest import Pieces, make_broker, open_account

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> AlertPost:
    return await AlertPost.make(pieces)


async def test_older_alert_than_the_last_is_stale_and_one_of_the_same_moment_is_not(post: AlertPost) -> None:
    now = post.pieces.desk.clock.now()
    async with working(post):
        rows = [
            await post.told(buy("0.01", at=now)),
            await post.told(buy("0.02", at=now - timedelta(seconds=1))),
            await post.told(alert(Action.CLOSE, at=now)),
            await post.told(buy("0.03", at=now)),
        ]
    assert [(row["decision"], row["code"]) for row in rows] == [
        ("executed", None),
        ("stale", "OUT_OF_ORDER"),
        ("executed", None),
        ("executed", None),
    ]
    assert {row["alert_at"] for row in rows} == {now, now - timedelta(seconds=1)}
    assert {row["dialect"] for row in rows} == {"test"}
    (mark,) = await post.pieces.rows("SELECT * FROM webhook_marks")
    assert (mark["alert_at"], mark["symbol"], mark["webhook_id"]) == (now, "BTC/USDT", post.webhook_id)


async def test_order_in_time_outlives_a_restart_and_holds_for_each_webhook_alone(post: AlertPost) -> None:
    now = post.pieces.desk.clock.now()
    async with working(post):
        await post.told(buy(at=now))
    other = await AlertPost.make(post.pieces, name="Other")
    again = post.behind()
    async with working(again), working(other):
        assert (await again.told(buy(at=now - timedelta(seconds=5))))["code"] == "OUT_OF_ORDER"
        assert (await other.told(buy(at=now - timedelta(seconds=5))))["decision"] == "executed"


async def test_order_in_time_holds_for_each_account_alone(pieces: Pieces) -> None:
    post = await AlertPost.make(pieces, HookRules(other_accounts=True))
    await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Second")
    now = pieces.desk.clock.now()

    def wish(seconds_ago: int, account: str | None) -> Alert:
        return buy(at=now - timedelta(seconds=seconds_ago), account=account)

    async with working(post):
        rows = [await post.told(*wishes) for wishes in ([wish(0, None)], [wish(5, "Second")], [wish(6, "Second")], [wish(5, None)])]
    again = post.behind()
    async with working(again):
        rows += [await again.told(wish(6, "Second")), await again.told(wish(4, "Second"), wish(1, "Main"))]
    assert [(row["decision"], row["code"]) for row in rows] == [
        ("executed", None),
        ("executed", None),
        ("stale", "OUT_OF_ORDER"),
        ("stale", "OUT_OF_ORDER"),
        ("stale", "OUT_OF_ORDER"),
        ("executed", "OUT_OF_ORDER"),
    ]


async def test_order_that_was_made_before_an_error_of_ours_keeps_older_alerts_out(post: AlertPost, monkeypatch: pytest.MonkeyPatch) -> None:
    now = post.pieces.desk.clock.now()
    listed = post.pieces.desk.instruments.all

    async def breaks_after_an_order(exchange: str) -> Any:
        if await post.orders():
            raise RuntimeError("a bug of ours")
        return await listed(exchange)

    with monkeypatch.context() as patched:
        patched.setattr(post.pieces.desk.instruments, "all", breaks_after_an_order)
        async with working(post):
            first = await post.told(buy("0.01", at=now), buy("0.02", at=now + timedelta(seconds=1), symbol="ETHUSDT"))
    assert first["decision"] == "executed"
    assert [(mark["symbol"], mark["alert_at"]) for mark in await post.pieces.rows("SELECT * FROM webhook_marks")] == [("BTC/USDT", now)]
    for again in (post, post.behind()):
        async with working(again):
            older = await again.told(alert(Action.CLOSE, at=now - timedelta(seconds=1)))
        assert (older["decision"], older["code"]) == ("stale", "OUT_OF_ORDER")
    assert len(post.pieces.placed()) == 1


async def test_close_that_overtook_its_open_leaves_nothing_open(post: AlertPost) -> None:
    now = post.pieces.desk.clock.now()
    async with working(post):
        closed = await post.told(alert(Action.CLOSE, at=now))
        opened = await post.told(buy(at=now - timedelta(seconds=2)))
    assert [closed["code"], opened["code"]] == ["NO_POSITION", "OUT_OF_ORDER"]
    assert post.pieces.placed() == []


@pytest.mark.parametrize(
    ("age_s", "decision", "code"),
    [(86400, "stale", "ALERT_TOO_OLD"), (300, "stale", "ALERT_TOO_OLD"), (30, "executed", None), (-60, "denied", "ALERT_IN_FUTURE")],
)
async def test_moment_of_the_alert_decides_whether_it_is_traded(post: AlertPost, age_s: int, decision: str, code: str | None) -> None:
    async with working(post):
        row = await post.told(buy(at=post.pieces.desk.clock.now() - timedelta(seconds=age_s)))
    assert (row["decision"], row["code"]) == (decision, code)
    assert len(post.pieces.placed()) == (1 if code is None else 0)


async def test_webhook_and_message_set_how_old_an_alert_may_be(pieces: Pieces) -> None:
    patient = await AlertPost.make(pieces, max_age_s=300)
    now = pieces.desk.clock.now()
    async with working(patient):
        old = await patient.decided(await patient.leave(buy(), received_at=now - timedelta(seconds=100)))
        hasty = await patient.decided(await patient.leave(buy(max_age_s=90), received_at=now - timedelta(seconds=100)))
    assert [(row["decision"], row["code"]) for row in (old, hasty)] == [("executed", None), ("stale", "DEADLINE_PASSED")]
    (order,) = await patient.orders()
    assert order["created_at"] < order["deadline"] <= order["created_at"] + timedelta(seconds=60)
