"""Pairs, amendments, closing and guarding through their use cases, on the emulator."""

from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import new_id
from app.domain.enums import Execution, OrderState, OrderType, Side, Source
from app.domain.protection import ProtectionPlan
from app.errors import DenialReason, NotFound, OrderDenied, OrderNotCancellable, OrderNotFound
from app.trading.amend import Amendment, amend
from app.trading.cancel import cancel, cancel_all
from app.trading.close import break_even, close_position, protect_position
from app.trading.guardian import guard
from app.trading.oco import OcoIntent, submit_oco
from app.trading.watch import TriggerWatch
from tests.app.conftest import SYMBOL, Pieces, make_user

pytestmark = pytest.mark.asyncio


def say(pieces: Pieces, price: str) -> None:
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), last=Decimal(price), bid=Decimal(price), ask=Decimal(price))


def pair(side: Side = Side.SELL, **fields: Any) -> OcoIntent:
    known: dict[str, Any] = {"price": Decimal(61000), "trigger_price": Decimal(59000)}
    if side is Side.BUY:
        known = {"price": Decimal(59000), "trigger_price": Decimal(61000)}
    return OcoIntent(symbol=SYMBOL, side=side, source=Source.MANUAL, key="pair:1", quantity=Decimal("0.1"), **(known | fields))


async def position_id(pieces: Pieces) -> Any:
    return (await pieces.rows("SELECT id FROM positions WHERE status <> 'closed'"))[0]["id"]


async def test_a_pair_is_two_orders_of_one_wish_and_the_same_key_makes_it_once(pieces: Pieces) -> None:
    say(pieces, "60000")
    limit, stop = await submit_oco(pieces.desk, pieces.user_id, pair())
    assert limit.group_id == stop.group_id is not None
    assert {limit.state, stop.state} <= {OrderState.OPEN, OrderState.INTENT}
    again = await submit_oco(pieces.desk, pieces.user_id, pair())
    assert {order.id for order in again} == {limit.id, stop.id}
    assert len(await pieces.rows("SELECT 1 FROM orders")) == 2
    assert limit.reserved + stop.reserved == Decimal("0.1"), "one of the two trades"


async def test_of_a_watched_pair_one_half_is_sent_and_the_other_is_told_so(moving: Pieces) -> None:
    say(moving, "60000")
    limit, stop = await submit_oco(moving.desk, moving.user_id, pair(trigger_price=Decimal(59500)))
    if limit.execution is Execution.NATIVE:
        pytest.skip("this venue keeps pairs itself")
    moving.emulator.advance(16)
    watch = TriggerWatch(moving.desk)
    say(moving, "59400")
    await watch.once("binance", SYMBOL, Decimal(59400))
    assert (await moving.order(stop.id)).state is OrderState.FILLED
    other = await moving.order(limit.id)
    assert (other.state, other.code) == (OrderState.DENIED, "OTHER_HALF_TRIGGERED")
    await watch.once("binance", SYMBOL, Decimal(61500))
    assert len(moving.placed()) == 1


async def test_a_pair_whose_limit_would_trade_at_once_is_denied(pieces: Pieces) -> None:
    say(pieces, "60000")
    with pytest.raises(OrderDenied) as caught:
        await submit_oco(pieces.desk, pieces.user_id, pair(price=Decimal(59900)))
    assert caught.value.reason is DenialReason.PLAN_INVALID
    assert "must be above the market, which is 60000 USDT; was 59900" in caught.value.message
    with pytest.raises(OrderDenied):
        await submit_oco(pieces.desk, pieces.user_id, pair(Side.BUY, price=Decimal(60100)))
    assert await pieces.rows("SELECT 1 FROM orders") == []


async def test_with_one_half_of_a_pair_the_other_is_canceled_too(pieces: Pieces) -> None:
    say(pieces, "60000")
    limit, stop = await submit_oco(pieces.desk, pieces.user_id, pair())
    await cancel(pieces.desk, pieces.user_id, limit.id)
    states = {(await pieces.order(order.id)).state for order in (limit, stop)}
    assert states <= {OrderState.CANCELED, OrderState.DENIED, OrderState.EXPIRED}
    assert [order for order in pieces.placed() if order["status"] == "NEW"] == []


async def test_a_resting_order_is_replaced_by_the_changed_one_and_only_that_rests(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    changed = await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal("51000.001"), quantity=Decimal("0.02")))
    assert (changed.state, changed.price, changed.quantity) == (OrderState.OPEN, Decimal(51000), Decimal("0.02"))
    assert changed.replaces_id == order.id
    assert (await pieces.order(order.id)).state is OrderState.CANCELED
    assert [placed["price"] for placed in pieces.placed() if placed["status"] == "NEW"] == ["51000.00000000"]


async def test_an_order_that_waits_here_is_changed_where_it_is(pieces: Pieces) -> None:
    say(pieces, "60000")
    wish = pieces.intent(Side.SELL, "0.1", type=OrderType.TRAILING_STOP, trailing_delta=Decimal("0.4"))
    order = (await pieces.submit(wish)).order
    assert order.is_held, "no venue follows at 40 percent"
    changed = await amend(pieces.desk, pieces.user_id, order.id, Amendment(trailing_delta=Decimal("0.3")))
    assert (changed.id, changed.trailing_delta) == (order.id, Decimal("0.3"))
    assert pieces.placed() == []


async def test_what_is_finished_or_another_users_cannot_be_changed(pieces: Pieces) -> None:
    filled = await pieces.filled()
    with pytest.raises(OrderNotCancellable):
        await amend(pieces.desk, pieces.user_id, filled.id, Amendment(price=Decimal(1)))
    resting = (await pieces.submit(pieces.limit("50000"))).order
    eve = await make_user(pieces.database, "eve")
    with pytest.raises(OrderNotFound):
        await amend(pieces.desk, eve, resting.id, Amendment(price=Decimal(1)))
    with pytest.raises(OrderDenied):
        await amend(pieces.desk, pieces.user_id, resting.id, Amendment(quantity=Decimal("0.00001")))
    assert (await pieces.order(resting.id)).state is OrderState.OPEN


async def test_cancel_all_takes_back_what_is_open_and_leaves_what_guards(pieces: Pieces) -> None:
    say(pieces, "60000")
    await pieces.submit(pieces.intent(protection=ProtectionPlan(stop_price=Decimal(50000))))
    (row,) = await pieces.rows("SELECT id FROM protections")
    await guard(pieces.desk, row["id"])
    for price in ("50000", "51000"):
        await pieces.submit(pieces.limit(price))
    canceled = await cancel_all(pieces.desk, pieces.user_id)
    assert {order.state for order in canceled} == {OrderState.CANCELED}
    assert len(canceled) == 2
    guards = await pieces.rows("SELECT state FROM orders WHERE group_id IS NOT NULL")
    assert [row["state"] in ("open", "intent") for row in guards] == [True]


async def test_closing_sells_what_is_held_once_however_often_it_is_asked(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    position = await position_id(pieces)
    first = await close_position(pieces.desk, pieces.user_id, position, key="close:1")
    assert (first.order.state, first.order.quantity) == (OrderState.FILLED, Decimal("0.01998"))
    with pytest.raises(NotFound):
        await close_position(pieces.desk, pieces.user_id, position, key="close:2")
    assert [placed["side"] for placed in pieces.placed()] == ["BUY", "SELL"]


async def test_a_spot_position_cannot_be_reversed_and_stays(pieces: Pieces) -> None:
    await pieces.filled()
    with pytest.raises(OrderDenied) as caught:
        await close_position(pieces.desk, pieces.user_id, await position_id(pieces), key="r", is_reversal=True)
    assert caught.value.reason is DenialReason.SHORT_UNSUPPORTED
    assert len(pieces.placed()) == 1


async def test_a_guard_is_given_moved_to_break_even_and_taken_away(moving: Pieces) -> None:
    await moving.filled()
    position = await position_id(moving)
    say(moving, "60000")
    with pytest.raises(OrderDenied):
        await protect_position(moving.desk, moving.user_id, position, ProtectionPlan(stop_price=Decimal(60001)))
    row = await protect_position(moving.desk, moving.user_id, position, ProtectionPlan(stop_price=Decimal(59000)))
    await guard(moving.desk, row["id"])
    with pytest.raises(OrderDenied):
        await break_even(moving.desk, moving.user_id, position)  # the market stands at the entry
    moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "62000"})
    say(moving, "62000")
    await break_even(moving.desk, moving.user_id, position)
    await guard(moving.desk, row["id"])
    live = "SELECT trigger_price FROM orders WHERE group_id IS NOT NULL AND state IN ('open', 'intent')"
    (stop,) = await moving.rows(live)
    (held,) = await moving.rows("SELECT average_price FROM positions")
    assert held["average_price"] <= stop["trigger_price"] < held["average_price"] + 1
    await protect_position(moving.desk, moving.user_id, position, ProtectionPlan())
    await guard(moving.desk, row["id"])
    assert await moving.rows(live) == []


async def test_another_users_position_is_not_found(pieces: Pieces) -> None:
    await pieces.filled()
    position, eve = await position_id(pieces), new_id()
    for attempt in (
        close_position(pieces.desk, eve, position, key="k"),
        protect_position(pieces.desk, eve, position, ProtectionPlan(stop_price=Decimal(1))),
        break_even(pieces.desk, eve, position),
    ):
        with pytest.raises(NotFound):
            await attempt
