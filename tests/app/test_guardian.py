"""Protections on the emulator, whose market the tests move."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.core.supervisor import Supervisor
from app.domain.enums import Execution, OrderState, OrderType, Role, Side
from app.domain.protection import ProtectionPlan, Target
from app.errors import DenialReason, OrderDenied
from app.marketdata.events import TickerChanged
from app.trading.guardian import Guardian, guard
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from app.trading.watch import TriggerWatch
from tests.app.conftest import SYMBOL, Pieces
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio

STOP = ProtectionPlan(stop_price=Decimal(59500))
HALVES = replace(
    STOP, targets=(Target(price=Decimal(60500), fraction=Decimal("0.5")), Target(price=Decimal(60800), fraction=Decimal("0.5")))
)


async def protection(pieces: Pieces) -> Any:
    rows = await pieces.rows("SELECT * FROM protections ORDER BY created_at DESC LIMIT 1")
    return rows[0] if rows else None


async def legs(pieces: Pieces) -> list[OrderRecord]:
    return [OrderRecord.of(row) for row in await pieces.rows("SELECT * FROM orders WHERE group_id IS NOT NULL ORDER BY created_at, id")]


async def live(pieces: Pieces) -> list[OrderRecord]:
    return [leg for leg in await legs(pieces) if leg.state in (OrderState.INTENT, OrderState.OPEN, OrderState.PARTIAL)]


async def held(pieces: Pieces) -> Decimal:
    rows = await pieces.rows("SELECT quantity FROM positions WHERE status <> 'closed'")
    return rows[0]["quantity"] if rows else Decimal(0)


async def bought(pieces: Pieces, plan: ProtectionPlan, quantity: str = "0.01") -> OrderRecord:
    order = (await pieces.submit(pieces.intent(Side.BUY, quantity, protection=plan))).order
    assert order.state is OrderState.FILLED, order
    return order


def say(pieces: Pieces, price: str) -> None:
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), last=Decimal(price), bid=Decimal(price), ask=Decimal(price))


async def rest(pieces: Pieces) -> None:
    await guard(pieces.desk, (await protection(pieces))["id"])


async def test_the_wish_to_guard_is_committed_with_the_fill_and_the_stop_follows(moving: Pieces) -> None:
    await bought(moving, STOP)
    row = await protection(moving)
    assert (row["status"], row["base_quantity"], row["unprotected_since"] is not None) == ("active", await held(moving), True)
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.role, stop.type, stop.side, stop.trigger_price) == (Role.STOP, OrderType.STOP_MARKET, Side.SELL, Decimal(59500))
    assert stop.quantity == Decimal("0.00999"), "whole steps of what is left after the fee"
    assert (await protection(moving))["unprotected_since"] is None
    (position,) = await moving.rows("SELECT stop_loss FROM positions")
    assert position["stop_loss"] == Decimal(59500)


@pytest_asyncio.fixture(params=["pairs", "stop_at_venue", "supervised"])
async def running(moving: Pieces, request: pytest.FixtureRequest) -> AsyncIterator[Pieces]:
    """The pieces with the engine's loops at work, on a venue that keeps pairs, stops only, or neither."""
    say(moving, "60000")
    whole = (await moving.desk.connections.client(moving.broker_id)).capabilities
    able = {
        "pairs": whole,
        "stop_at_venue": replace(whole, has_oco=False, has_replace=False),
        "supervised": replace(whole, has_oco=False, has_replace=False, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT})),
    }[request.param]
    moving.desk, _ = await scripted(moving.desk, moving.broker_id, capabilities=able)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("guardian", Guardian(moving.desk).run)
        supervisor.start("watch", TriggerWatch(moving.desk).run)
        supervisor.start("reconcile", Reconciler(moving.desk, interval_s=0.2).run)
        yield moving


async def until(pieces: Pieces, what: Callable[[list[OrderRecord], Decimal], bool], *, within_s: float = 8.0) -> list[OrderRecord]:
    """Wait until the legs and the held quantity are so."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        # The position first: what it says is then in the legs too.
        quantity = await held(pieces)
        found = await legs(pieces)
        if what(found, quantity):
            return found
        assert asyncio.get_running_loop().time() < deadline, [(leg.role, leg.type, leg.state, leg.quantity) for leg in found]
        await asyncio.sleep(0.02)


def is_at_rest(count: int) -> Callable[[list[OrderRecord], Decimal], bool]:
    def check(found: list[OrderRecord], _: Decimal) -> bool:
        ready = [leg for leg in found if leg.is_held or leg.state is OrderState.OPEN]
        return len(ready) == count

    return check


async def sunk(pieces: Pieces, minutes: float) -> None:
    """Let the venue's market move, and tell the feed's price."""
    pieces.emulator.advance(minutes)
    price = pieces.emulator.state()["symbols"]["BTCUSDT"]["last_price"]
    say(pieces, price)
    pieces.bus.publish(_ticker(pieces, price))


def _ticker(pieces: Pieces, price: str) -> Any:
    return TickerChanged(exchange="binance", symbol=SYMBOL, bid=None, ask=None, last=Decimal(price), at=pieces.desk.clock.now())


async def test_a_price_at_the_stop_sells_the_position_and_ends_the_protection(running: Pieces) -> None:
    await bought(running, STOP)
    await until(running, is_at_rest(1))
    await sunk(running, 16)  # 59400
    found = await until(running, lambda _, quantity: quantity == 0)
    sold = [leg for leg in found if leg.state is OrderState.FILLED]
    assert sum(leg.filled_quantity for leg in sold) == Decimal("0.00999")
    assert len([order for order in running.placed() if order["side"] == "SELL" and Decimal(order["executedQty"])]) == 1
    await until(running, lambda found, _: not [leg for leg in found if leg.is_held])


async def test_each_target_sells_its_part_and_the_stop_guards_what_is_left(running: Pieces) -> None:
    await bought(running, replace(HALVES, stop_price=Decimal(58500)), "0.02")
    await until(running, lambda found, _: len([leg for leg in found if leg.is_held or leg.state is OrderState.OPEN]) >= 3)
    await sunk(running, 34.5)  # through 59000, then up to about 60600
    await until(running, lambda _, quantity: Decimal("0.009") < quantity < Decimal("0.0101"))
    found = await until(running, lambda found, _: any(leg.role is Role.STOP and leg.quantity < Decimal("0.0101") for leg in found))
    assert len([leg for leg in found if leg.role is Role.TARGET and leg.state is OrderState.FILLED]) == 1
    await sunk(running, 12)  # 61000
    await until(running, lambda _, quantity: quantity == 0)
    placed = running.placed()
    assert sum(Decimal(order["executedQty"]) for order in placed if order["side"] == "SELL") == Decimal("0.01998")


async def test_closing_a_guarded_position_moves_the_legs_aside_sells_once_and_leaves_none(running: Pieces) -> None:
    await bought(running, HALVES, "0.02")
    await until(running, lambda found, _: len([leg for leg in found if leg.is_held or leg.state is OrderState.OPEN]) >= 2)
    close = (await running.submit(running.intent(Side.SELL, None, close_position=True))).order
    assert (close.state, close.role, close.quantity) == (OrderState.FILLED, Role.EXIT, Decimal("0.01998"))
    await until(running, lambda found, quantity: quantity == 0 and not [leg for leg in found if leg.state not in _ENDED])
    deadline = asyncio.get_running_loop().time() + 8
    while (await protection(running))["status"] != "done":
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


_ENDED = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.DENIED, OrderState.EXPIRED, OrderState.REJECTED})


async def test_what_was_watched_before_a_restart_is_watched_after_it(moving: Pieces) -> None:
    await bought(moving, replace(STOP, stop_price=None, trailing_delta=Decimal("0.25")))
    say(moving, "60000")
    await rest(moving)
    (leg,) = await live(moving)
    assert leg.type is OrderType.TRAILING_STOP
    watch = TriggerWatch(moving.desk)
    say(moving, "60400")
    await watch.once("binance", SYMBOL, Decimal(60400))
    await watch.keep()
    again = TriggerWatch(moving.desk)
    say(moving, "46000")
    await again.once("binance", SYMBOL, Decimal(46000))  # 23.8 % below the best price seen
    assert (await live(moving))[0].triggered_at is None
    await again.once("binance", SYMBOL, Decimal(45000))  # 25.5 %
    assert (await live(moving))[0].triggered_at is not None
    moving.emulator.advance(1)
    await rest(moving)
    assert await held(moving) == 0


async def test_a_supervised_stop_is_kept_here_until_its_price_then_sent_once(running: Pieces) -> None:
    intent = running.intent(Side.SELL, "0.5", type=OrderType.STOP_MARKET, trigger_price=Decimal(59500))
    order = (await running.submit(intent)).order
    if order.execution is Execution.NATIVE:
        pytest.skip("this venue watches market stops itself")
    assert order.is_held
    assert running.placed() == []
    await sunk(running, 16)
    await until_state(running, order, OrderState.FILLED)
    assert [(placed["type"], placed["side"], placed["status"]) for placed in running.placed()] == [("MARKET", "SELL", "FILLED")]


async def until_state(pieces: Pieces, order: OrderRecord, state: OrderState, *, within_s: float = 8.0) -> OrderRecord:
    deadline = asyncio.get_running_loop().time() + within_s
    while (now := await pieces.order(order.id)).state is not state:
        assert asyncio.get_running_loop().time() < deadline, now
        await asyncio.sleep(0.02)
    return now


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (ProtectionPlan(stop_price=Decimal(60500)), "the stop must be below the entry"),
        (replace(STOP, stop_limit_price=Decimal(59600)), "must not be above its trigger, was 59600"),
        (replace(STOP, targets=(Target(price=Decimal(59000), fraction=Decimal(1)),)), "a target must be above the entry"),
        (replace(HALVES, targets=(*HALVES.targets, HALVES.targets[0])), "sell at most 100 percent, was 150"),
        (replace(STOP, trailing_delta=Decimal("0.01")), "not both"),
        (replace(HALVES, break_even_after=3), "after target 1 to 2, was 3"),
    ],
)
async def test_a_plan_that_cannot_be_is_denied_with_the_numbers(moving: Pieces, plan: ProtectionPlan, words: str) -> None:
    say(moving, "60000")
    with pytest.raises(OrderDenied) as caught:
        await bought(moving, plan)
    assert caught.value.reason is DenialReason.PLAN_INVALID
    assert words in caught.value.message
    assert await moving.rows("SELECT 1 FROM orders") == []


async def test_a_position_without_its_stop_for_long_is_said_and_no_longer_when_it_has_one(moving: Pieces) -> None:
    await bought(moving, STOP)
    await moving.rows("UPDATE protections SET unprotected_since = now() - $1::interval", timedelta(seconds=20))
    await moving.rows("UPDATE brokers SET paused_reason = 'the key is refused'")
    guardian = Guardian(moving.desk)
    await guardian.once()
    row = await protection(moving)
    if row["code"] is not None:  # the venue keeps stops, and the paused account can place none
        assert row["code"] == "UNPROTECTED"
        assert "has no stop at the exchange" in row["detail"]
        await moving.rows("UPDATE brokers SET paused_reason = NULL")
        await asyncio.sleep(0.3)
        await guardian.once()
        row = await protection(moving)
    assert (row["code"], row["unprotected_since"]) == (None, None)
