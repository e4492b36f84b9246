"""A guarded position keeps its stop, and the stop that was wished for last, whatever the exchange refuses, loses or shows late."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import Liquidity, OrderState, OrderType, Role, Side
from app.domain.guard import decide
from app.domain.guarded import Mode
from app.domain.orders import Fill, NotFoundAfterWindow, Reported
from app.domain.protection import ProtectionPlan
from app.errors import ExchangeUnavailable, OrderRejected
from app.trading import guardian
from app.trading.apply import record
from app.trading.cancel import cancel
from app.trading.close import break_even, protect_position
from app.trading.guardian import Guardian
from app.trading.legs import carry_out
from app.trading.protections import read
from app.trading.reconcile import Reconciler
from app.trading.watch import TriggerWatch
from tests.app.conftest import API_SECRET, SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.test_guardian import HALVES, STOP, bought, held, legs, live, protection, rest, say
from tests.app.test_guardian_races import _WHOLE, close, executed, guarding, supervise

pytestmark = pytest.mark.asyncio


def fill(order: Any, number: int, quantity: str, price: str = "60000") -> Fill:
    return Fill(
        trade_id=f"{order.id}:{number}",
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(0),
        fee_asset="USDT",
        liquidity=Liquidity.MAKER,
        executed_at=order.created_at,
    )


async def part(pieces: Pieces, order: Any, number: int, quantity: str, total: str) -> None:
    """The venue tells that `quantity` more of the order has filled."""
    report = Reported(
        state=OrderState.PARTIAL,
        venue_order_id=order.venue_order_id,
        filled_quantity=Decimal(total),
        average_price=Decimal(60000),
        fills=(fill(order, number, quantity),),
    )
    await record(pieces.desk, order.id, report)


async def fired(pieces: Pieces, price: str) -> None:
    """A price passes the triggers that are watched here."""
    say(pieces, price)
    await TriggerWatch(pieces.desk).once("binance", SYMBOL, Decimal(price))


async def test_a_plan_that_the_owner_gives_survives_the_next_fill_of_the_entry(moving: Pieces) -> None:
    say(moving, "60000")
    order = (await moving.submit(moving.limit("59900", quantity="0.02", protection=STOP))).order
    await part(moving, order, 1, "0.01", "0.01")
    await rest(moving)
    (row,) = await moving.rows("SELECT id FROM positions")
    await protect_position(moving.desk, moving.user_id, row["id"], ProtectionPlan(stop_price=Decimal(58000)))
    await part(moving, order, 2, "0.005", "0.015")
    assert Decimal((await protection(moving))["plan"]["stop_price"]) == 58000


async def test_the_newest_entrys_plan_is_not_replaced_by_a_late_fill_of_an_older_one(moving: Pieces) -> None:
    say(moving, "60000")
    older = (await moving.submit(moving.limit("59900", quantity="0.02", protection=STOP))).order
    await part(moving, older, 1, "0.01", "0.01")
    await bought(moving, replace(STOP, stop_price=Decimal(59000)), "0.01")
    await part(moving, older, 2, "0.005", "0.015")
    assert Decimal((await protection(moving))["plan"]["stop_price"]) == 59000


async def test_after_the_second_pair_is_refused_the_whole_position_has_a_stop(moving: Pieces) -> None:
    """As when an exchange allows five waiting orders a symbol and the plan has six targets."""
    say(moving, "60000")
    plan = replace(HALVES, targets=tuple(replace(target, price=target.at + 500) for target in HALVES.targets))
    await bought(moving, plan, "0.02")
    real = (await moving.desk.connections.client(moving.broker_id)).place_oco
    count = 0

    async def one_only(request: Any, *, guard: Any) -> Any:
        nonlocal count
        count += 1
        if count > 1:
            raise OrderRejected("Filter failure: MAX_NUM_ALGO_ORDERS", code="MAX_NUM_ALGO_ORDERS")
        return await real(request, guard=guard)

    moving.desk, _ = await scripted(moving.desk, moving.broker_id, place_oco=one_only)
    for _ in range(6):
        await rest(moving)
        await asyncio.sleep(0.4)
    covered = sum((leg.leaves_quantity for leg in await live(moving) if leg.role is Role.STOP), Decimal(0))
    shown = [(leg.role.value, leg.leg // 2, leg.type.value, leg.state.value, str(leg.quantity)) for leg in await live(moving)]
    assert covered == _WHOLE, ((await protection(moving))["mode"], shown)


async def test_one_refused_pair_is_one_refusal(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, HALVES, "0.02")

    async def no(*_: Any, **__: Any) -> Any:
        raise OrderRejected("no", code="NO")

    desk = moving.desk
    moving.desk, _ = await scripted(moving.desk, moving.broker_id, place_oco=no)
    look = await read(desk, (await protection(moving))["id"])
    client = await moving.desk.connections.client(moving.broker_id)
    instruments = await desk.instruments.all("binance")
    first = decide(look.guarded(instruments[SYMBOL], client.capabilities, last_price=Decimal(60000), now=desk.clock.now()))[0]
    await carry_out(moving.desk, look, first, instrument=instruments[SYMBOL], client=client)
    await rest(moving)
    assert (await protection(moving))["mode"] == Mode.PAIRS


async def test_a_lost_stop_that_appears_after_its_position_is_taken_back(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    moving.fault("drop_after")
    await rest(moving)
    (stop,) = await legs(moving)
    assert stop.state is OrderState.UNKNOWN
    fault = moving.emulator.fault("hide_orders", api_key=moving.api_key, client_order_id_prefix=stop.client_order_id)
    await moving.backdate(stop.id, seconds=60)
    await Reconciler(moving.desk).once()
    if (await moving.order(stop.id)).state is OrderState.UNKNOWN:
        await record(moving.desk, stop.id, NotFoundAfterWindow(detail="not found"))
    assert (await moving.order(stop.id)).state is OrderState.LOST
    await rest(moving)
    async with guarding(moving):
        assert (await close(moving)).state is OrderState.FILLED
    await rest(moving)
    assert (await protection(moving))["status"] == "done"
    moving.emulator.control("DELETE", f"/_fault?id={fault}")
    reconciler = Reconciler(moving.desk, interval_s=0.0)
    await moving.rows("UPDATE orders SET next_check_at = now() WHERE id = $1", stop.id)
    for _ in range(3):
        await reconciler.once()
        await Guardian(moving.desk).once()
    resting = [order["clientOrderId"] for order in moving.placed() if order["status"] == "NEW"]
    assert resting == [], "it sells what the trader has beside the position, or buys him a short"


async def test_the_owner_is_told_of_a_position_without_a_stop_also_when_the_exchange_cannot_be_reached(moving: Pieces) -> None:
    await bought(moving, STOP, "0.02")
    await moving.rows("UPDATE protections SET unprotected_since = now() - interval '1 minute'")

    async def gone(*_: Any, **__: Any) -> Any:
        raise ExchangeUnavailable("the exchange does not answer")

    moving.desk, _ = await scripted(moving.desk, moving.broker_id)
    moving.desk.connections.client = gone  # type: ignore[method-assign]
    await Guardian(moving.desk).once()
    assert (await protection(moving))["code"] == guardian.UNPROTECTED


async def test_a_stop_whose_id_an_adopted_order_has_gets_another_id(moving: Pieces) -> None:
    """A database that was brought back does not know a leg that is at the venue; it is adopted, and then it ends."""
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    (stop,) = await live(moving)
    await moving.rows("DELETE FROM orders WHERE id = $1", stop.id)  # as in the backup
    reconciler = Reconciler(moving.desk, interval_s=0.0)
    await reconciler.check_accounts()
    (adopted,) = await moving.rows("SELECT * FROM orders WHERE client_order_id = $1", stop.client_order_id)
    await cancel(moving.desk, moving.user_id, adopted["id"])
    await rest(moving)
    assert [(leg.role, leg.state) for leg in await live(moving)] == [(Role.STOP, OrderState.OPEN)]


async def test_a_trailing_stop_that_stepped_aside_comes_back_at_the_level_it_had_reached(moving: Pieces) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, ProtectionPlan(trailing_delta=Decimal("0.01")), "0.02")
    await rest(moving)
    watch = TriggerWatch(moving.desk)
    await watch.once("binance", SYMBOL, Decimal(60000))
    say(moving, "65000")
    await watch.once("binance", SYMBOL, Decimal(65000))
    await watch.keep()
    (stop,) = await live(moving)
    assert stop.watermark == 65000
    say(moving, "64500")
    async with guarding(moving):
        exit_ = (await moving.submit(moving.intent(Side.SELL, None, close_position=True, type=OrderType.LIMIT, price=Decimal(66000)))).order
        await asyncio.sleep(0.5)
        assert exit_.state is OrderState.OPEN
        await cancel(moving.desk, moving.user_id, exit_.id)
        await asyncio.sleep(0.5)
    watch = TriggerWatch(moving.desk)
    await watch.once("binance", SYMBOL, Decimal(64400))  # 64350 is one percent below the best price
    say(moving, "64300")
    await watch.once("binance", SYMBOL, Decimal(64300))
    await rest(moving)
    assert executed(moving) == _WHOLE


async def test_a_position_that_was_guarded_here_while_its_units_were_locked_gets_its_stop_at_the_venue_later(moving: Pieces) -> None:
    say(moving, "60000")
    moving.emulator.open_account(moving.api_key, API_SECRET, {"USDT": "1000000", "BTC": "0"})
    await bought(moving, STOP, "0.02")
    own = (await moving.submit(moving.limit("62000", Side.SELL, "0.01998"))).order
    for _ in range(8):
        await rest(moving)
        await asyncio.sleep(0.3)
    assert (await protection(moving))["mode"] == Mode.SUPERVISED
    await cancel(moving.desk, moving.user_id, own.id)
    await moving.rows("UPDATE protections SET mode_since = mode_since - interval '11 minutes'")
    for _ in range(4):
        await rest(moving)
        await asyncio.sleep(0.3)
    resting = [order for order in moving.placed() if order["status"] == "NEW"]
    assert len(resting) == 1, ((await protection(moving))["mode"], [(leg.state, leg.execution) for leg in await live(moving)])


async def test_a_position_shows_the_stop_that_guards_it_also_after_the_entrys_next_fill(moving: Pieces) -> None:
    say(moving, "60000")
    order = (await moving.submit(moving.limit("59900", quantity="0.02", protection=STOP))).order
    await part(moving, order, 1, "0.01", "0.01")
    (row,) = await moving.rows("SELECT id FROM positions")
    say(moving, "60500")
    await break_even(moving.desk, moving.user_id, row["id"])
    await part(moving, order, 2, "0.005", "0.015")
    plan = (await protection(moving))["plan"]
    (position,) = await moving.rows("SELECT stop_loss FROM positions")
    assert position["stop_loss"] == Decimal(plan["stop_price"])


async def test_a_buy_that_filled_before_the_stop_is_counted_before_it_after_an_outage(moving: Pieces) -> None:
    """Nobody heard of either. Were the stop's sale counted first, the position would close, and the buy's coins be guarded by nothing."""
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    for _ in range(4):
        await moving.submit(moving.limit("59800", quantity="0.005"))
    for price in ("59790", "59400"):
        moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": price, "quantity": "1"})
    guarded = await protection(moving)
    say(moving, "59400")
    await Reconciler(moving.desk).once()
    assert (await protection(moving))["id"] == guarded["id"]
    assert ((await protection(moving))["status"], await held(moving) > 0) == ("active", True)
    await rest(moving)
    await rest(moving)
    assert await held(moving) == 0, "the stop holds for all of it, and its price has passed"
