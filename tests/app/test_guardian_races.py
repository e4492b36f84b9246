"""What must not happen while a guarded position is being sold: each test lets something happen between a look and the act it leads to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import client_order_id
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.orders import Reported
from app.domain.protection import Target
from app.trading import amend, aside, guardian, pairs, send, sweep
from app.trading.apply import record
from app.trading.guardian import Guardian
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import Pieces
from tests.app.scripted_client import scripted
from tests.app.test_guardian import HALVES, STOP, bought, held, legs, live, protection, rest, say

pytestmark = pytest.mark.asyncio

Step = Callable[[], Awaitable[None]]
_WHOLE = Decimal("0.01998")


def executed(pieces: Pieces) -> Decimal:
    """What the venue has sold of the position."""
    return sum((Decimal(order["executedQty"]) for order in pieces.placed() if order["side"] == "SELL"), Decimal(0))


def before(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, step: Step) -> None:
    """Let `step` happen once, just before the module's function is called the next time."""
    real = getattr(module, name)

    async def first(*args: Any, **known: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        await step()
        return await real(*args, **known)

    monkeypatch.setattr(module, name, first)


async def close(pieces: Pieces) -> OrderRecord:
    return (await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))).order


async def supervise(pieces: Pieces) -> None:
    """From now on the venue takes market and limit orders only, so that all stops are watched here and lock nothing."""
    able = (await pieces.desk.connections.client(pieces.broker_id)).capabilities
    able = replace(able, has_oco=False, has_replace=False, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}))
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, capabilities=able)


@asynccontextmanager
async def guarding(pieces: Pieces) -> AsyncIterator[None]:
    """The guardian's loop at work."""
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("guardian", Guardian(pieces.desk).run)
        yield


async def test_while_a_close_is_in_doubt_nothing_sells_the_same_units_again(moving: Pieces) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, STOP, "0.02")
    await rest(moving)
    moving.fault("drop_after")
    doubtful = await close(moving)
    assert doubtful.state is OrderState.UNKNOWN
    say(moving, "59000")  # beyond the stop: a guardian that knew nothing of the close would sell at the market now
    await rest(moving)
    assert executed(moving) == _WHOLE
    assert await live(moving) == []
    assert (await protection(moving))["status"] == "active", "the close may still prove not to have arrived"
    await Reconciler(moving.desk).once()
    await rest(moving)
    assert (await held(moving), executed(moving)) == (Decimal(0), _WHOLE)
    assert (await protection(moving))["status"] == "done"


async def test_a_close_that_never_arrived_gives_the_position_its_stop_back(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    moving.fault("status_before", body={"code": -2010, "msg": "Account has insufficient balance for requested action."}, status=400)
    async with guarding(moving):
        refused = await close(moving)
    assert refused.state is OrderState.REJECTED
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.role, stop.state, stop.quantity) == (Role.STOP, OrderState.OPEN, _WHOLE)


async def test_a_stop_that_has_filled_is_not_put_again_before_its_fills_are_counted(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    (stop,) = await live(moving)
    assert stop.venue_order_id is not None
    filled = Reported(
        state=OrderState.FILLED, venue_order_id=stop.venue_order_id, filled_quantity=stop.quantity, average_price=Decimal(59500)
    )
    await record(moving.desk, stop.id, filled)
    assert await held(moving) == _WHOLE, "its trades are not here yet"
    await rest(moving)
    assert len(await legs(moving)) == 1
    assert (await protection(moving))["status"] == "active"


async def test_a_new_entry_during_the_last_look_keeps_its_protection_and_gets_its_stop(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await moving.submit(moving.intent(Side.SELL, "0.01998"))  # an order of the trader's own closes it
    assert await held(moving) == 0

    async def buy_again() -> None:
        await bought(moving, replace(STOP, stop_price=Decimal(59000)), "0.03")

    before(monkeypatch, guardian, "_note_coverage", buy_again)
    await rest(moving)
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.trigger_price, stop.quantity) == (Decimal(59000), Decimal("0.02997"))
    assert (await protection(moving))["status"] == "active"


async def test_a_plan_of_a_new_entry_is_not_written_over_by_an_older_ones_break_even(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(moving, "60000")
    await bought(moving, replace(HALVES, break_even_after=1), "0.02")
    await rest(moving)
    target = next(leg for leg in await live(moving) if leg.role is Role.TARGET)
    assert target.venue_order_id is not None
    await moving.rows("UPDATE orders SET state = 'canceled', filled_quantity = 0.001, fills_quantity = 0.001 WHERE id = $1", target.id)

    async def buy_more() -> None:
        await bought(moving, replace(STOP, stop_price=Decimal(58000)), "0.01")

    before(monkeypatch, guardian, "_note_coverage", buy_more)
    await rest(moving)
    assert Decimal((await protection(moving))["plan"]["stop_price"]) == 58000


async def test_a_position_without_a_plan_is_not_guarded_by_the_plan_of_the_one_before(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await moving.submit(moving.intent(Side.SELL, "0.01998"))
    await moving.submit(moving.intent(Side.BUY, "0.01"))
    await rest(moving)
    assert await live(moving) == []
    assert (await protection(moving))["status"] == "done"


async def test_a_close_is_sent_for_what_its_stop_has_left(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, HALVES, "0.02")
    await rest(moving)

    async def half_is_sold() -> None:
        half = OrderRecord.of((await moving.rows("SELECT * FROM orders WHERE role = 'target' ORDER BY leg LIMIT 1"))[0])
        await moving.rows("UPDATE orders SET triggered_at = now() WHERE id = $1", half.id)
        sent = await send.send(moving.desk, await moving.order(half.id), await moving.desk.connections.client(moving.broker_id))
        assert sent.state is OrderState.FILLED

    before(monkeypatch, send, "make_room", half_is_sold)
    closing = await close(moving)
    assert (closing.state, closing.quantity) == (OrderState.FILLED, Decimal("0.00999"))
    assert (await held(moving), executed(moving)) == (Decimal(0), _WHOLE)


async def test_a_close_of_what_its_stop_has_sold_is_denied(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")

    async def all_is_sold() -> None:
        await moving.submit(moving.intent(Side.SELL, "0.01998"))

    before(monkeypatch, send, "make_room", all_is_sold)
    closing = await close(moving)
    assert (closing.state, closing.code) == (OrderState.DENIED, "NO_POSITION")
    assert executed(moving) == _WHOLE


async def test_a_close_that_is_stored_during_a_look_leaves_no_stop_behind(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")

    async def store_a_close() -> None:
        monkeypatch.setattr(moving.desk.lease, "_epoch", None)  # stored, and not sent by this process
        await close(moving)
        assert await moving.desk.lease.renew()

    before(monkeypatch, guardian, "_note_coverage", store_a_close)
    await rest(moving)
    assert await legs(moving) == [], "the stop that the look asked for would lock what the close is to sell"


async def test_a_close_waits_while_a_stop_is_on_its_way_and_sells_once(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    say(moving, "60000")
    monkeypatch.setattr(aside, "_PATIENCE", aside._PATIENCE / 50)
    await bought(moving, STOP, "0.02")
    moving.fault("drop_after")
    await rest(moving)
    assert [leg.state for leg in await legs(moving)] == [OrderState.UNKNOWN]
    waiting = await close(moving)
    assert waiting.state is OrderState.INTENT
    assert executed(moving) == 0
    await moving.backdate(waiting.id, seconds=2)
    await Reconciler(moving.desk).once()  # the stop has arrived
    await rest(moving)  # it makes room
    await Reconciler(moving.desk).once()
    assert (await moving.order(waiting.id)).state is OrderState.FILLED
    assert (await held(moving), executed(moving)) == (Decimal(0), _WHOLE)
    assert await live(moving) == []


async def test_a_leg_that_the_exchange_has_forgotten_is_replaced_and_taken_back_when_it_is_there_again(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_FORGOTTEN_S", 0.0)
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    (forgotten,) = await live(moving)
    fault = moving.emulator.fault("hide_orders", api_key=moving.api_key, client_order_id_prefix=forgotten.client_order_id)
    reconciler = Reconciler(moving.desk, interval_s=0.0)
    for _ in range(4):
        assert (await moving.order(forgotten.id)).state is OrderState.OPEN, "one answer may be wrong"
        await reconciler.once()
    assert ((await moving.order(forgotten.id)).state, (await moving.order(forgotten.id)).code) == (OrderState.EXPIRED, sweep.FORGOTTEN)
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.state, stop.quantity) == (OrderState.OPEN, _WHOLE)
    moving.emulator.control("DELETE", f"/_fault?id={fault}")
    await reconciler.once()
    resting = [order["clientOrderId"] for order in moving.placed() if order["status"] == "NEW"]
    assert resting == [stop.client_order_id]


async def test_a_pair_of_which_one_half_was_canceled_goes_nowhere_and_costs_nobody_his_role(
    moving: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(moving, "60000")
    await bought(moving, replace(STOP, targets=(Target(price=Decimal(61000), fraction=Decimal(1)),)), "0.02")

    async def cancel_one_half() -> None:
        await moving.rows("UPDATE orders SET cancel_requested_at = now() WHERE role = 'target'")

    before(monkeypatch, pairs, "claim_pair", cancel_one_half)
    await rest(moving)
    assert moving.desk.lease.is_held
    first = {leg.role: leg.code for leg in (await legs(moving))[:2]}
    assert first == {Role.TARGET: "CANCELED_BEFORE_SENDING", Role.STOP: "OTHER_HALF_GONE"}
    await asyncio.sleep(0.3)  # the pause after something that could not be sent
    await rest(moving)
    assert {leg.state for leg in await live(moving)} == {OrderState.OPEN}, "the next look put another pair"


async def test_a_replacement_that_a_crash_interrupted_is_not_made_smaller_twice(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    able = (await moving.desk.connections.client(moving.broker_id)).capabilities
    moving.desk, _ = await scripted(moving.desk, moving.broker_id, capabilities=replace(able, has_replace=False))
    order = (await moving.submit(moving.limit("59000", quantity="0.02"))).order
    monkeypatch.setattr(amend, "send", _crash)

    async def part_is_filled() -> None:
        part = Reported(
            state=OrderState.PARTIAL, venue_order_id=order.venue_order_id or "", filled_quantity=Decimal("0.005"), average_price=None
        )
        await record(moving.desk, order.id, part)

    before(monkeypatch, amend, "continue_replacement", part_is_filled)
    with pytest.raises(InterruptedError):
        await amend.amend(moving.desk, moving.user_id, order.id, amend.Amendment(price=Decimal(58000)))
    monkeypatch.undo()
    (row,) = await moving.rows("SELECT * FROM orders WHERE replaces_id = $1", order.id)
    assert row["quantity"] == Decimal("0.015")
    await moving.backdate(row["id"], seconds=2)
    await Reconciler(moving.desk).once()
    again = await moving.order(row["id"])
    assert (again.state, again.quantity) == (OrderState.OPEN, Decimal("0.015"))


async def test_a_leg_whose_id_a_forgotten_one_has_gets_the_next(moving: Pieces) -> None:
    say(moving, "60000")
    await bought(moving, STOP, "0.02")
    await rest(moving)
    (stop,) = await live(moving)
    taken = client_order_id(stop.broker_id, stop.key, leg=stop.leg, attempt=1)
    columns = (
        "user_id, broker_id, symbol, side, type, quantity, time_in_force, post_only, source, role, leg, attempt, created_at, updated_at"
    )
    await moving.rows(
        f"INSERT INTO orders (id, client_order_id, key, state, {columns})"  # constants
        f" SELECT gen_random_uuid(), $2, 'recovered:' || $2, 'canceled', {columns} FROM orders WHERE id = $1",
        stop.id,
        taken,
    )
    await moving.rows("UPDATE orders SET state = 'canceled' WHERE id = $1", stop.id)
    await rest(moving)
    (again,) = await live(moving)
    assert (again.role, again.state, again.attempt) == (Role.STOP, OrderState.OPEN, 2)


async def test_what_targets_sold_under_an_earlier_plan_leaves_the_new_plans_targets_whole(moving: Pieces) -> None:
    say(moving, "60000")
    await supervise(moving)
    await bought(moving, HALVES, "0.02")
    await rest(moving)
    await moving.rows("UPDATE orders SET triggered_at = now() WHERE role = 'target' AND leg = 1")
    await rest(moving)
    assert await held(moving) == Decimal("0.00999")
    await bought(moving, replace(HALVES, stop_price=Decimal(59000)), "0.02")
    await rest(moving)
    targets = [leg.quantity for leg in await live(moving) if leg.role is Role.TARGET]
    assert targets == [Decimal("0.01498"), Decimal("0.01499")], "halves of 0.02997, in whole steps"


async def _crash(*_: Any, **__: Any) -> OrderRecord:
    raise InterruptedError
