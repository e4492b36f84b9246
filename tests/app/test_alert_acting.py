"""Alerts at the emulator: each action and size, and what a webhook's rules let through."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.domain.enums import OrderType, Side
from app.trading.guardian import guard
from app.trading.portfolio import PortfolioLoop
from app.trading.reconcile import Reconciler
from app.webhooks.alert import Action, SizeKind, TargetLevel
from app.webhooks.rules import DefaultSize, HookRules
from tests.app.alert_post import AlertPost, alert, at_price, base, buy, off_entry, size, working
from tests.app.conftest import Pieces, make_broker, open_account

pytestmark = pytest.mark.asyncio

DEADLINE_S = 20.0


@pytest_asyncio.fixture
async def post(pieces: Pieces) -> AlertPost:
    return await AlertPost.make(pieces)


async def protection(pieces: Pieces) -> Any:
    (row,) = await pieces.rows("SELECT * FROM protections WHERE status = 'active'")
    return row


async def guarded(pieces: Pieces) -> dict[str, Any]:
    """The stop at the emulator, once the guardian has looked."""
    await guard(pieces.desk, (await protection(pieces))["id"])
    (stop,) = [order for order in pieces.placed() if "STOP" in order["type"] and order["status"] == "NEW"]
    return dict(stop)


async def test_buys_of_every_size_are_filled_and_decided(post: AlertPost) -> None:
    await PortfolioLoop(post.pieces.desk, interval_s=60).refresh([post.pieces.broker_id])
    stop = at_price("59000")
    async with working(post):
        rows = [
            await post.told(alert(Action.BUY, base("0.01"))),
            await post.told(alert(Action.BUY, size(SizeKind.QUOTE, "600"))),
            await post.told(alert(Action.BUY, size(SizeKind.FREE, "0.01"))),
            await post.told(alert(Action.BUY, size(SizeKind.EQUITY, "0.001"))),
            await post.told(alert(Action.BUY, size(SizeKind.RISK, "0.0001"), stop=stop)),
        ]
    assert [row["decision"] for row in rows] == ["executed"] * 5
    assert {row["broker_id"] for row in rows} == {post.pieces.broker_id}
    assert all({"read", "sent", "acknowledged", "filled", "decided"} <= row["latencies_ms"].keys() for row in rows)
    orders = await post.orders()
    assert [order["state"] for order in orders] == ["filled"] * 5
    spent = [order["filled_quantity"] * order["average_price"] for order in orders]
    assert spent[0] == spent[1] == 600
    assert 9980 < spent[2] <= Decimal("9988")  # a hundredth of what 1000000 − 1200 leaves
    assert 1055 < spent[3] <= 1060  # a thousandth of 1000000 USDT and a BTC
    assert orders[4]["quantity"] == Decimal("0.10600")  # 106 USDT over a distance of 1000, on the step


async def test_stop_and_targets_of_an_alert_guard_its_position(post: AlertPost) -> None:
    targets = (TargetLevel(level=off_entry("0.1"), fraction=Decimal(1)),)
    async with working(post):
        row = await post.told(buy(stop=off_entry("-0.05"), targets=targets))
    plan = (await protection(post.pieces))["plan"]
    assert row["decision"] == "executed"
    assert (Decimal(plan["stop_price"]), Decimal(plan["targets"][0]["price"])) == (Decimal(57000), Decimal(66000))


async def test_alert_moves_the_stop_at_the_exchange(post: AlertPost) -> None:
    async with working(post):
        await post.told(buy(stop=at_price("57000")))
        before = await guarded(post.pieces)
        row = await post.told(alert(Action.PROTECT, stop=at_price("58000")))
        after = await guarded(post.pieces)
        again = await post.told(alert(Action.PROTECT, stop=at_price("58000")))
    assert (Decimal(before["stopPrice"]), Decimal(after["stopPrice"])) == (Decimal(57000), Decimal(58000))
    assert (row["decision"], row["code"]) == ("executed", None)
    assert "protected" in row["latencies_ms"]
    assert (again["decision"], again["reason"]) == ("ping", "the position is guarded so already; nothing was changed")


async def test_moved_stop_leaves_the_targets_and_new_targets_leave_the_stop(post: AlertPost) -> None:
    first = (TargetLevel(level=at_price("66000"), fraction=Decimal(1)),)
    second = (TargetLevel(level=at_price("67000"), fraction=Decimal("0.5")),)
    async with working(post):
        await post.told(buy("0.02", stop=at_price("57000"), targets=first))
        await post.told(alert(Action.PROTECT, stop=at_price("58000")))
        moved = (await protection(post.pieces))["plan"]
        await post.told(alert(Action.PROTECT, targets=second))
        aimed = (await protection(post.pieces))["plan"]
    assert (Decimal(moved["stop_price"]), Decimal(moved["targets"][0]["price"])) == (Decimal(58000), Decimal(66000))
    assert (Decimal(aimed["stop_price"]), Decimal(aimed["targets"][0]["price"])) == (Decimal(58000), Decimal(67000))


async def test_change_of_a_stop_without_a_position_is_denied(post: AlertPost) -> None:
    async with working(post):
        row = await post.told(alert(Action.PROTECT, stop=at_price("58000")))
    assert (row["decision"], row["code"]) == ("denied", "NO_POSITION")


async def test_sell_never_goes_short_and_never_sells_what_was_not_bought_here(post: AlertPost) -> None:
    async with working(post):
        nothing = await post.told(alert(Action.SELL, base("0.01")))
        await post.told(buy("0.02"))
        part = await post.told(alert(Action.SELL, base("0.005")))
        rest = await post.told(alert(Action.SELL, base("1")))
        over = await post.told(alert(Action.SELL))
    assert (nothing["decision"], nothing["code"]) == ("denied", "NO_POSITION")
    assert "cannot go short" in nothing["reason"]
    assert [part["decision"], rest["decision"]] == ["executed", "executed"]
    assert rest["reason"] == "all that was held was sold: 0.01498 BTC"
    assert over["code"] == "NO_POSITION"
    assert [(order["side"], order["quantity"]) for order in await post.orders()] == [
        ("buy", Decimal("0.02")),
        ("sell", Decimal("0.005")),
        ("sell", Decimal("0.01498")),
    ]
    assert await post.position() is None


async def test_exit_of_a_guarded_position_lets_the_stop_step_aside(post: AlertPost) -> None:
    async with working(post):
        await post.told(buy("0.02", stop=at_price("57000")))
        await guarded(post.pieces)
        asked = await post.say(alert(Action.CLOSE, size(SizeKind.POSITION, "0.5")))
        async with asyncio.timeout(DEADLINE_S):
            while (await post.delivery(asked))["decision"] == "pending":
                await guard(post.pieces.desk, (await protection(post.pieces))["id"])
                await asyncio.sleep(0.02)
    assert (await post.delivery(asked))["decision"] == "executed"
    position = await post.position()
    assert position["quantity"] == Decimal("0.00999")
    assert Decimal((await guarded(post.pieces))["origQty"]) == Decimal("0.00999")


async def test_target_brings_the_position_to_the_strategys_size(post: AlertPost) -> None:
    async def towards(position: str) -> Any:
        return await post.told(alert(Action.TARGET, position=Decimal(position)))

    async with working(post):
        rows = [await towards(position) for position in ("0.02", "0.05", "0.05", "0.01", "-0.03", "0")]
    assert [row["decision"] for row in rows] == ["executed", "executed", "ping", "executed", "executed", "ping"]
    assert rows[4]["reason"] == "a spot account cannot go short: the position was closed, not turned"
    assert rows[5]["reason"] == "the strategy is flat, and so is the account; there was nothing to do"
    assert [(order["side"], order["quantity"]) for order in await post.orders()][:2] == [
        ("buy", Decimal("0.02")),
        ("buy", Decimal("0.03002")),
    ]
    assert await post.position() is None


async def test_reversal_of_a_long_closes_it_and_says_why_it_does_not_turn(post: AlertPost) -> None:
    async with working(post):
        await post.told(buy("0.02"))
        row = await post.told(alert(Action.REVERSE, base("0.02")))
    assert (row["decision"], row["reason"]) == ("executed", "a spot account cannot go short: the position was closed, not turned")
    assert await post.position() is None


async def test_reversal_of_a_strategys_short_closes_it_and_opens_the_other_side(post: AlertPost) -> None:
    await post.pieces.filled(Side.SELL, "0.05")  # coins that the account had before
    async with working(post):
        row = await post.told(alert(Action.REVERSE, base("0.02"), stop=at_price("57000"), moves_from=Decimal("-0.05")))
    assert (row["decision"], row["code"]) == ("executed", None)
    assert {"sent", "sent_2", "filled_2"} <= row["latencies_ms"].keys()
    assert [(order["side"], order["quantity"], order["role"]) for order in await post.orders()] == [
        ("sell", Decimal("0.05"), "entry"),
        ("buy", Decimal("0.05"), "exit"),
        ("buy", Decimal("0.02"), "entry"),
    ]
    assert (await post.position())["quantity"] > 0
    assert Decimal((await protection(post.pieces))["plan"]["stop_price"]) == 57000


async def test_cancel_takes_back_the_orders_of_a_symbol_or_of_the_account(post: AlertPost) -> None:
    async with working(post):
        await post.told(alert(Action.BUY, base("0.01"), type=OrderType.LIMIT, price=at_price("58000")))
        await post.told(alert(Action.BUY, base("0.01"), type=OrderType.LIMIT, price=off_entry("-0.05")))
        assert [order["price"] for order in await post.orders()] == [58000, 57000]
        row = await post.told(alert(Action.CANCEL))
        none = await post.told(alert(Action.CANCEL, symbol=None))
        await post.told(alert(Action.BUY, base("0.01"), type=OrderType.LIMIT, price=at_price("58000")))
        last = await post.told(alert(Action.CANCEL, symbol=None))
    assert (row["decision"], row["reason"]) == ("executed", "open orders canceled: 2")
    assert none["reason"] == "there was no open order to cancel"
    assert last["reason"] == "open orders canceled: 1"
    assert {order["state"] for order in await post.orders()} == {"canceled"}


async def test_what_needs_nothing_is_only_noted(post: AlertPost) -> None:
    async with working(post):
        rows = [await post.told(alert(Action.PING, symbol=None)), await post.told(alert(Action.NONE, note="the end of a short"))]
    assert [(row["decision"], row["reason"]) for row in rows] == [
        ("ping", "a test message; nothing to trade"),
        ("ping", "the end of a short"),
    ]
    assert post.pieces.placed() == []


async def test_alerts_of_one_message_are_worked_in_their_order(post: AlertPost) -> None:
    async with working(post):
        row = await post.told(alert(Action.CANCEL), alert(Action.CLOSE), buy("0.01"), buy("0.02"))
    assert (row["decision"], row["code"]) == ("executed", "NO_POSITION")
    assert "there is no position in BTC/USDT that could be closed" in row["reason"]
    assert [order["quantity"] for order in await post.orders()] == [Decimal("0.01"), Decimal("0.02")]
    assert {"canceled", "sent", "sent_2"} <= row["latencies_ms"].keys()


async def test_wish_that_fails_keeps_the_next_one_of_its_symbol_from_being_tried(post: AlertPost) -> None:
    async with working(post):
        row = await post.told(buy("0.000001"), buy("0.01"), buy(symbol="NOPEUSDT"))
    assert (row["decision"], row["code"]) == ("denied", "QUANTITY_BELOW_MINIMUM")
    assert "was not tried" in row["reason"]
    assert "NOPEUSDT is not listed" in row["reason"]
    assert post.pieces.placed() == []


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (HookRules(symbols=("ETHUSDT",)), "HOOK_SYMBOL"),
        (HookRules(sides=("sell",)), "HOOK_SIDE"),
        (HookRules(max_notional=Decimal(600)), "HOOK_NOTIONAL"),
        (HookRules.model_validate({"hours": {"days": [0, 1, 2, 3, 4, 5, 6], "start": "00:00:00", "end": "00:00:01"}}), "HOOK_HOURS"),
    ],
)
async def test_bounds_of_the_webhook_hold_with_a_reason(pieces: Pieces, rules: HookRules, code: str) -> None:
    post = await AlertPost.make(pieces, rules)
    async with working(post):
        row = await post.told(buy())
    assert (row["decision"], row["code"]) == ("denied", code)
    assert row["reason"]
    assert pieces.placed() == []


async def test_cancel_of_a_webhook_bound_to_symbols_is_bound_to_them(pieces: Pieces) -> None:
    resting = (await pieces.submit(pieces.limit("58000"))).order
    other = await AlertPost.make(pieces, HookRules(symbols=("BTCUSDT",)))
    bound = await AlertPost.make(pieces, HookRules(symbols=("ETHUSDT",)), name="Ether")
    async with working(other, bound):
        denied = await bound.told(alert(Action.CANCEL))
        none = await bound.told(alert(Action.CANCEL, symbol=None))
        row = await other.told(alert(Action.CANCEL, symbol=None))
    assert none["reason"] == "there was no open order to cancel"
    assert row["reason"] == "open orders canceled: 1"
    assert denied["code"] == "HOOK_SYMBOL"
    assert (await pieces.order(resting.id)).state.value == "canceled"


async def test_defaults_of_the_webhook_fill_in_symbol_size_and_stop(pieces: Pieces) -> None:
    rules = HookRules(symbol="BTCUSDT", size=DefaultSize(kind=SizeKind.QUOTE, value=Decimal(600)), stop_percent=Decimal("0.05"))
    post = await AlertPost.make(pieces, rules)
    async with working(post):
        row = await post.told(alert(Action.BUY, symbol=None))
    (order,) = await post.orders()
    assert (row["decision"], order["symbol"], order["filled_quantity"]) == ("executed", "BTC/USDT", Decimal("0.01"))
    assert Decimal((await protection(pieces))["plan"]["stop_price"]) == 57000


async def test_alert_without_any_symbol_is_denied(post: AlertPost) -> None:
    async with working(post):
        assert (await post.told(alert(Action.BUY, base("0.01"), symbol=None)))["code"] == "SYMBOL_MISSING"


async def second_account(pieces: Pieces) -> tuple[UUID, str]:
    api_key = open_account(pieces.emulator)
    return await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=api_key, name="Second"), api_key


async def test_alert_trades_on_the_account_it_names_only_if_its_webhook_lets_it(pieces: Pieces) -> None:
    broker_id, api_key = await second_account(pieces)
    closed, free = await AlertPost.make(pieces), await AlertPost.make(pieces, HookRules(other_accounts=True), name="Free")
    async with working(closed), working(free):
        rows = [
            await closed.told(buy(account="second")),
            await closed.told(buy(account="Main")),
            await free.told(buy(account="SECOND")),
            await free.told(buy(account=str(broker_id))),
            await free.told(buy(account="third")),
        ]
    assert [row["code"] for row in rows] == ["HOOK_ACCOUNT", None, None, None, "HOOK_ACCOUNT"]
    assert [row["broker_id"] for row in rows] == [None, pieces.broker_id, broker_id, broker_id, None]
    assert len(pieces.placed()) == 1
    assert len([order for order in pieces.emulator.orders() if order["api_key"] == api_key]) == 2


async def test_alerts_of_two_webhooks_for_one_symbol_go_one_after_the_other_and_other_accounts_at_once(pieces: Pieces) -> None:
    broker_id, _ = await second_account(pieces)
    await pieces.connections.client(pieces.broker_id)
    first, second = await AlertPost.make(pieces), await AlertPost.make(pieces, name="Targets")
    elsewhere = await AlertPost.make(pieces, name="Elsewhere")
    await pieces.rows("UPDATE webhooks SET broker_id = $2 WHERE id = $1", elsewhere.webhook_id, broker_id)
    pieces.fault("drop_after")
    second.inbox = elsewhere.inbox = first.inbox
    async with working(first):
        opened = await first.say(buy("0.5"))
        closed = await second.say(alert(Action.CLOSE))
        async with asyncio.timeout(DEADLINE_S):
            while not (found := await first.orders()) or found[0]["state"] != "unknown":  # noqa: ASYNC110  # another task's row
                await asyncio.sleep(0.01)
        other = await elsewhere.told(buy())
        assert (await second.delivery(closed))["decision"] == (await first.delivery(opened))["decision"] == "pending"
        await Reconciler(pieces.desk, interval_s=1).once()
        rows = [await first.decided(opened), await second.decided(closed)]
    assert other["decision"] == "executed"
    assert [row["decision"] for row in rows] == ["executed", "executed"]
    assert [order["side"] for order in pieces.placed()] == ["BUY", "SELL"]
