"""Whatever else sells a guarded position, no unit of it is sold twice, and no order to close it waits for ever."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.risk import KillAction
from app.trading import aside, guardian, sweep
from app.trading.amend import Amendment, amend
from app.trading.oco import OcoIntent, submit_oco
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from app.trading.watch import TriggerWatch
from tests.app.conftest import API_SECRET, SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.test_guardian import STOP, bought, held, live, protection, rest, say
from tests.app.test_guardian_races import _WHOLE, before, close, executed, guarding, supervise
from tests.app.test_kill_switch import carried_out, pull

pytestmark = pytest.mark.asyncio


def oco(quantity: str, **fields: Any) -> OcoIntent:
    known: dict[str, Any] = {"price": Decimal(61000), "trigger_price": Decimal(59500), "key": f"pair:{new_id()}"}
    return OcoIntent(symbol=SYMBOL, side=Side.SELL, source=Source.MANUAL, quantity=Decimal(quantity), **(known | fields))


async def fired(pieces: Pieces, price: str) -> None:
    """A price passes the triggers that are watched here."""
    say(pieces, price)
    await TriggerWatch(pieces.desk).once("binance", SYMBOL, Decimal(price))


async def test_a_plain_sell_in_doubt_is_not_sold_again_by_the_guardian(moving: Pieces) -> None:
    """A ticket's sell has the role ENTRY: neither `leaving` nor the revision knows of it."""
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await rest(moving)
    moving.fault("drop_after")
    doubtful = (await moving.submit(moving.intent(Side.SELL, "0.01998"))).order
    assert (doubtful.state, doubtful.role) == (OrderState.UNKNOWN, Role.ENTRY)
    await fired(moving, "59000")
    await rest(moving)
    assert executed(moving) == _WHOLE


async def test_a_half_of_the_traders_own_pair_in_doubt_is_not_sold_again_by_the_guardian(moving: Pieces) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await rest(moving)
    await submit_oco(moving.desk, moving.user_id, oco("0.01998"))
    moving.fault("drop_after")  # of the pair's half, which is sent by the watch
    await fired(moving, "59000")
    await rest(moving)
    await rest(moving)
    await Reconciler(moving.desk).once()
    await rest(moving)
    assert executed(moving) == _WHOLE


async def test_a_pair_and_the_stop_that_fire_at_one_price_sell_once(moving: Pieces) -> None:
    """No fault at all: both are watched here, one price reaches both, the loops run as in production."""
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await rest(moving)
    await submit_oco(moving.desk, moving.user_id, oco("0.01998"))
    async with guarding(moving):
        await fired(moving, "59000")
        await asyncio.sleep(1.0)
    assert executed(moving) == _WHOLE


async def test_what_the_trader_ordered_goes_before_the_stop_that_the_same_price_reaches(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its being written down takes: else both would sell the same units."""
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await rest(moving)
    await submit_oco(moving.desk, moving.user_id, oco("0.01998"))
    real = TriggerWatch._write

    async def slowly(self: TriggerWatch, order: OrderRecord, price: Decimal) -> Any:
        if order.role is Role.EXIT:
            await asyncio.sleep(0.4)
        return await real(self, order, price)

    monkeypatch.setattr(TriggerWatch, "_write", slowly)
    async with guarding(moving):
        await fired(moving, "59000")
        await asyncio.sleep(0.3)
    (sold,) = [order for order in moving.placed() if order["side"] == "SELL"]
    assert (executed(moving), sold["clientOrderId"]) == (_WHOLE, (await half(moving)).client_order_id)


async def half(pieces: Pieces) -> OrderRecord:
    """The half of the trader's own pair that was triggered."""
    async with pieces.database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM orders WHERE broker_id = $1 AND role = 'exit' AND triggered_at IS NOT NULL", pieces.broker_id
        )
    return OrderRecord.of(row)


async def test_a_close_is_not_refused_because_of_the_traders_own_watched_pair_of_half(moving: Pieces) -> None:
    """Both halves of a pair are counted, though only one can trade: half of the position looks like all of it."""
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await submit_oco(moving.desk, moving.user_id, oco("0.00999"))
    closing = await close(moving)
    assert closing.state is OrderState.FILLED


async def test_an_exit_that_is_triggered_during_a_look_is_not_doubled_by_what_the_look_asks_for(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    exit_ = moving.intent(Side.SELL, None, close_position=True, type=OrderType.STOP_MARKET, trigger_price=Decimal(59400))
    waiting = (await moving.submit(exit_)).order
    assert waiting.is_held
    say(moving, "59000")

    async def fire() -> None:
        moving.fault("drop_after")
        await TriggerWatch(moving.desk).once("binance", SYMBOL, Decimal(59000))
        assert (await moving.order(waiting.id)).state is OrderState.UNKNOWN

    before(monkeypatch, guardian, "_note_coverage", fire)
    await rest(moving)
    assert executed(moving) == _WHOLE


async def test_an_exit_that_is_triggered_is_sent_though_another_order_waits_for_its_own_trigger(moving: Pieces) -> None:
    """`_GONE` counts what only waits here for its trigger, which `leaving` does not."""
    say(moving, "60000")
    await supervise(moving)
    await moving.submit(moving.intent(Side.BUY, "0.02"))
    stop = moving.intent(Side.SELL, None, close_position=True, type=OrderType.STOP_MARKET, trigger_price=Decimal(59400))
    waiting = (await moving.submit(stop)).order
    profit = moving.intent(Side.SELL, "0.01998", type=OrderType.TAKE_PROFIT, trigger_price=Decimal(61000))
    assert (await moving.submit(profit)).order.is_held
    await fired(moving, "59000")
    sent = await moving.order(waiting.id)
    assert (sent.state, sent.code) == (OrderState.FILLED, None)


async def test_an_amendment_a_close_and_a_fill_do_not_wait_for_each_other_in_a_ring(moving: Pieces) -> None:
    say(moving, "60000")
    await moving.submit(moving.intent(Side.BUY, "0.02"))
    resting = (await moving.submit(moving.limit("62000", Side.SELL, "0.01"))).order
    lock = "SELECT 1 FROM positions WHERE broker_id = $1 AND status <> 'closed' FOR UPDATE"
    async with asyncio.TaskGroup() as group, moving.database.raw_transaction() as fills:
        # As `record` of the resting order's fill: the order, then the position.
        await fills.execute("SELECT 1 FROM orders WHERE id = $1 FOR UPDATE", resting.id)
        group.create_task(amend(moving.desk, moving.user_id, resting.id, Amendment(price=Decimal(63000))))
        await asyncio.sleep(0.3)
        group.create_task(close(moving))
        await asyncio.sleep(0.3)
        await fills.execute(lock, moving.broker_id)


async def test_what_an_exit_sells_while_it_is_being_replaced_is_not_sold_again(moving: Pieces) -> None:
    """A part fills just before the old order is taken back."""
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    real = (await moving.desk.connections.client(moving.broker_id)).cancel_order

    async def fills_first(symbol: str, **known: Any) -> Any:
        # The stop that makes room for the exit is taken back as well, sometimes before the exit rests.
        if any(order["type"] == "LIMIT" and order["status"] == "NEW" for order in moving.placed()):
            moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "62001", "quantity": "0.005"})
        return await real(symbol, **known)

    moving.desk, _ = await scripted(moving.desk, moving.broker_id, cancel_order=fills_first)
    async with guarding(moving):
        exit_ = (await moving.submit(moving.intent(Side.SELL, None, close_position=True, type=OrderType.LIMIT, price=Decimal(62000)))).order
        await amend(moving.desk, moving.user_id, exit_.id, Amendment(price=Decimal(63000)))
        await Reconciler(moving.desk).once()
        await asyncio.sleep(0.5)
    open_ = sum(Decimal(o["origQty"]) - Decimal(o["executedQty"]) for o in moving.placed() if o["status"] in ("NEW", "PARTIALLY_FILLED"))
    assert executed(moving) > 0
    assert executed(moving) + open_ <= _WHOLE, (executed(moving), open_)


async def test_an_exit_that_is_made_larger_is_not_lost_to_the_stop_that_stands_in_its_way(moving: Pieces) -> None:
    say(moving, "60000")
    moving.emulator.open_account(moving.api_key, API_SECRET, {"USDT": "1000000", "BTC": "0"})
    await bought(moving, STOP, "0.01")
    async with guarding(moving):
        exit_ = (await moving.submit(moving.intent(Side.SELL, None, close_position=True, type=OrderType.LIMIT, price=Decimal(62000)))).order
        assert exit_.state is OrderState.OPEN
        await bought(moving, STOP, "0.01")
        await asyncio.sleep(1.0)
        assert [leg.role for leg in await live(moving)] == [Role.STOP]
        larger = await amend(moving.desk, moving.user_id, exit_.id, Amendment(quantity=Decimal("0.01998")))
        await asyncio.sleep(0.5)
    shown = [(o["status"], o["type"], o["origQty"]) for o in moving.placed() if o["side"] == "SELL"]
    assert larger.state is OrderState.OPEN, (larger.state, larger.code, larger.detail, shown)


async def test_an_exit_that_the_venue_has_forgotten_does_not_hold_the_position_for_ever(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_FORGOTTEN_S", 0.0)
    monkeypatch.setattr(sweep, "_MISSING_S", 0.0)
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    async with guarding(moving):
        exit_ = (await moving.submit(moving.intent(Side.SELL, None, close_position=True, type=OrderType.LIMIT, price=Decimal(62000)))).order
    assert exit_.state is OrderState.OPEN
    moving.emulator.fault("hide_orders", api_key=moving.api_key, client_order_id_prefix=exit_.client_order_id)

    async def unknown(*_: Any, **__: Any) -> Any:
        return None

    real = await moving.desk.connections.client(moving.broker_id)

    async def cancel_order(*args: Any, client_order_id: str, **known: Any) -> Any:
        return (
            None if client_order_id == exit_.client_order_id else await real.cancel_order(*args, client_order_id=client_order_id, **known)
        )

    moving.desk, _ = await scripted(moving.desk, moving.broker_id, cancel_order=cancel_order)
    reconciler = Reconciler(moving.desk, interval_s=0.0)
    for _ in range(8):
        await reconciler.once()
    await rest(moving)
    stops = [leg for leg in await live(moving) if leg.role is Role.STOP]
    command = await carried_out(moving, await pull(moving, KillAction.FLATTEN), steps=6)
    assert (await held(moving), command.state) == (Decimal(0), "done"), (len(stops), (await moving.order(exit_.id)).state)


async def test_a_close_does_not_go_out_beside_a_watched_stop_that_is_selling_at_the_market(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at exchanges whose answer to a market order is only its id: it stands as open until it is asked for."""
    monkeypatch.setattr(aside, "_PATIENCE", timedelta(seconds=0.2))
    say(moving, "60000")
    client = await moving.desk.connections.client(moving.broker_id)
    able = replace(client.capabilities, has_oco=False, has_replace=False, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}))
    await bought(moving, STOP, "0.02")

    async def id_only(request: Any, *, guard: Any) -> Any:
        report = await client.place_order(request, guard=guard)
        return replace(report, state=OrderState.OPEN, filled_quantity=Decimal(0), average_price=None, fills=())

    moving.desk, _ = await scripted(moving.desk, moving.broker_id, capabilities=able, place_order=id_only)
    await rest(moving)
    await fired(moving, "59000")
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.state, stop.type, executed(moving)) == (OrderState.OPEN, OrderType.STOP_MARKET, _WHOLE)
    await close(moving)
    assert executed(moving) == _WHOLE


@pytest.mark.parametrize("kind", ["market", "limit"])
async def test_any_sell_makes_looks_at_the_protection_stale(moving: Pieces, kind: str) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await moving.submit(moving.limit("50000"))  # from now on this account's orders go the short way
    before_it = (await protection(moving))["revision"]
    sell = moving.intent(Side.SELL, "0.001") if kind == "market" else moving.limit("62000", Side.SELL, "0.001")
    await moving.submit(sell)
    assert (await protection(moving))["revision"] == before_it + 1
