"""The kill switch: what each action leaves, that it survives a crash at any step, and whose it is."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import new_id
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, Role, Side, TradingState
from app.domain.protection import ProtectionPlan
from app.domain.risk import KillAction, Scope, ScopeKind
from app.errors import BrokerNotFound, DenialReason, DuplicateIntent, ExchangeUnavailable, InvalidInput, NotFound, OrderDenied
from app.trading import kill_switch, states
from app.trading.guardian import Guardian, guard
from app.trading.kill_loop import KillLoop
from app.trading.kill_switch import Command
from app.trading.reconcile import Reconciler
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account
from tests.app.scripted_client import scripted
from tests.app.stored import stored

pytestmark = pytest.mark.asyncio

STOP = ProtectionPlan(stop_price=Decimal(50000))


async def pull(pieces: Pieces, action: KillAction, scope: Scope | None = None, key: str | None = None) -> Command:
    scope = scope or Scope.user(pieces.user_id)
    return await kill_switch.pull(pieces.desk, pieces.user_id, scope, action=action, by="ada", idempotency_key=key)


async def done(pieces: Pieces, command: Command) -> Command:
    return await kill_switch.get_command(pieces.desk, pieces.user_id, command.id)


async def carried_out(pieces: Pieces, command: Command, *, steps: int = 10) -> Command:
    """Let fresh loops do step after step, as processes would that die after each one."""
    for _ in range(steps):
        await KillLoop(pieces.desk).once()
        await Reconciler(pieces.desk, interval_s=1).once()
        for row in await pieces.rows("SELECT id FROM protections WHERE status = 'active'"):
            await guard(pieces.desk, row["id"])
        command = await done(pieces, command)
        if not command.is_running:
            break
    return command


def resting(pieces: Pieces) -> list[Any]:
    return [order for order in pieces.placed() if order["status"] in ("NEW", "PARTIALLY_FILLED")]


async def positions(pieces: Pieces) -> list[Any]:
    return await pieces.rows("SELECT * FROM positions WHERE status <> 'closed'")


async def guarded(pieces: Pieces, quantity: str = "0.02") -> None:
    """A position with its stop at the venue or on watch here."""
    order = (await pieces.submit(pieces.intent(quantity=quantity, protection=STOP))).order
    assert order.state is OrderState.FILLED
    (row,) = await pieces.rows("SELECT id FROM protections WHERE status = 'active'")
    await guard(pieces.desk, row["id"])


async def test_stop_halts_and_leaves_orders_and_positions(pieces: Pieces) -> None:
    await guarded(pieces)
    await pieces.submit(pieces.limit("50000"))
    before = len(resting(pieces))
    command = await pull(pieces, KillAction.STOP)
    await KillLoop(pieces.desk).once()
    assert (command.state, len(resting(pieces)), len(await positions(pieces))) == ("done", before, 1)
    for intent in (pieces.intent(), pieces.intent(Side.SELL, "0.01"), pieces.intent(Side.SELL, None, close_position=True)):
        with pytest.raises(OrderDenied) as caught:
            await pieces.submit(intent)
        assert caught.value.reason is DenialReason.TRADING_HALTED
        assert caught.value.message == "trading is halted and nothing was sent: trading was stopped by hand"


async def test_cancel_takes_all_orders_back_but_what_guards_a_position(pieces: Pieces) -> None:
    await guarded(pieces)
    for price in ("50000", "51000"):
        await pieces.submit(pieces.limit(price))
    waiting = await stored(pieces)
    command = await carried_out(pieces, await pull(pieces, KillAction.CANCEL))
    assert command.state == "done"
    assert (await pieces.order(waiting.id)).state is OrderState.DENIED
    live = await pieces.rows("SELECT role FROM orders WHERE state IN ('intent', 'open', 'partial')")
    assert {row["role"] for row in live} == {"stop"}
    assert len(await positions(pieces)) == 1
    assert len(command.plan["orders"]) == 3


async def test_flatten_cancels_everything_and_sells_what_is_held(pieces: Pieces) -> None:
    await guarded(pieces)
    await pieces.submit(pieces.limit("50000"))
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN))
    assert (command.state, command.progress["positions_left"], command.progress["obstacles"]) == ("done", 0, [])
    assert await positions(pieces) == []
    assert resting(pieces) == []
    assert await pieces.rows("SELECT 1 FROM orders WHERE state IN ('intent', 'submitting', 'unknown', 'open', 'partial')") == []
    (sold,) = [order for order in pieces.placed() if order["side"] == "SELL" and order["status"] == "FILLED"]
    assert Decimal(sold["executedQty"]) == Decimal("0.01998")
    assert (await pieces.rows("SELECT role FROM orders WHERE side = 'sell' AND state = 'filled'"))[0]["role"] == Role.FLATTEN.value
    assert await states.effective(pieces.desk, pieces.user_id) is TradingState.HALTED, "it takes a person"


async def test_a_step_that_is_done_twice_or_by_two_processes_sells_once(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    command = await pull(pieces, KillAction.FLATTEN)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(KillLoop(pieces.desk).once())
    await carried_out(pieces, command)
    assert len([order for order in pieces.placed() if order["side"] == "SELL"]) == 1


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "truncate"])
async def test_an_exit_whose_answer_is_lost_is_asked_for_and_never_doubled(pieces: Pieces, fault: str) -> None:
    await pieces.filled(quantity="0.02")
    pieces.fault(fault)
    command = await pull(pieces, KillAction.FLATTEN)
    await KillLoop(pieces.desk).once()
    (exit_order,) = await pieces.rows("SELECT id FROM orders WHERE role = 'flatten'")
    await pieces.backdate(exit_order["id"], seconds=40)
    await Reconciler(pieces.desk, interval_s=1).once()
    await Reconciler(pieces.desk, interval_s=1).once()
    await pieces.rows("UPDATE orders SET updated_at = updated_at - interval '10 seconds' WHERE role = 'flatten'")
    assert (await carried_out(pieces, command)).state == "done"
    sold = [Decimal(order["executedQty"]) for order in pieces.placed() if order["side"] == "SELL"]
    assert sold == [Decimal("0.01998")]


async def test_an_entry_that_was_on_its_way_is_closed_too(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_after")
    doubtful = (await pieces.submit()).order
    assert doubtful.state is OrderState.UNKNOWN
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN))
    assert command.state == "done"
    assert [order["side"] for order in pieces.placed()] == ["BUY", "SELL"]
    assert await positions(pieces) == []


async def test_an_exit_that_the_exchange_refuses_is_tried_again_after_a_pause(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    refusal = {"code": -2010, "msg": "Account has insufficient balance for requested action."}
    pieces.fault("status_before", status=400, body=refusal)
    command = await pull(pieces, KillAction.FLATTEN)
    for _ in range(3):
        await KillLoop(pieces.desk).once()
    exits = await pieces.rows("SELECT state, attempt FROM orders WHERE role = 'flatten' ORDER BY attempt")
    assert [(row["state"], row["attempt"]) for row in exits] == [("rejected", 0)], "not hammered"
    await pieces.rows("UPDATE orders SET updated_at = updated_at - interval '5 seconds' WHERE role = 'flatten'")
    assert (await carried_out(pieces, command)).state == "done"
    exits = await pieces.rows("SELECT state, attempt FROM orders WHERE role = 'flatten' ORDER BY attempt")
    assert [(row["state"], row["attempt"]) for row in exits] == [("rejected", 0), ("filled", 1)]


async def test_what_is_too_small_to_be_sold_is_left_and_said(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    await pieces.rows("UPDATE positions SET quantity = 0.00002")
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN))
    assert command.state == "done"
    (obstacle,) = command.progress["obstacles"]
    assert (obstacle["symbol"], obstacle["final"]) == (SYMBOL, "yes")
    assert "below the exchange minimum" in obstacle["reason"]


async def test_an_account_that_cannot_be_reached_does_not_keep_the_others(pieces: Pieces) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise ExchangeUnavailable

    other = replace(
        pieces,
        broker_id=await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other"),
    )
    await other.submit(broker_id=other.broker_id)
    await pieces.filled()
    await pieces.rows("UPDATE brokers SET paused_reason = 'the key was refused' WHERE id = $1", other.broker_id)
    order = (await pieces.submit(pieces.limit("50000"))).order
    desk, _ = await scripted(pieces.desk, pieces.broker_id, cancel_order=away)
    command = await pull(pieces, KillAction.FLATTEN)
    loop = KillLoop(desk)
    for _ in range(3):
        await loop.once()
    command = await done(pieces, command)
    assert command.is_running
    assert command.progress["positions_left"] == 1
    (obstacle,) = command.progress["obstacles"]
    assert (obstacle["code"], obstacle["final"]) == ("BROKER_DISABLED", "no")
    assert (await pieces.order(order.id)).cancel_requested_at is not None, "reconcile goes on asking"
    await Reconciler(pieces.desk, interval_s=1).once()
    await pieces.rows("UPDATE brokers SET paused_reason = NULL")
    assert (await carried_out(pieces, command)).state == "done"


async def test_one_account_or_one_symbol_leaves_the_rest_alone(pieces: Pieces) -> None:
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await pieces.filled()
    await pieces.submit(broker_id=other)
    await pieces.submit(pieces.limit("50000"), broker_id=other)
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN, Scope.symbol("ETH/USDT", pieces.user_id)))
    assert (command.state, len(await positions(pieces))) == ("done", 2)
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN, Scope.broker(pieces.broker_id, pieces.user_id)))
    assert command.state == "done"
    (left,) = await positions(pieces)
    assert left["broker_id"] == other
    assert len(await pieces.rows("SELECT 1 FROM orders WHERE state = 'open'")) == 1
    await pieces.submit(broker_id=other)


async def test_the_platform_s_switch_concerns_every_user(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    api_key = open_account(pieces.emulator)
    hers = replace(pieces, user_id=eve, api_key=api_key, broker_id=await make_broker(pieces.database, pieces.vault, eve, api_key=api_key))
    await pieces.filled()
    await hers.submit()
    command = await pull(pieces, KillAction.FLATTEN, Scope.platform())
    assert (await carried_out(pieces, command)).state == "done"
    assert await positions(pieces) == []
    for each in (pieces, hers):
        with pytest.raises(OrderDenied):
            await each.submit()
    assert [restraint.scope.kind for restraint in await states.list_for(pieces.desk, eve)] == [ScopeKind.PLATFORM]


async def test_the_same_key_pulls_once_and_another_command_under_it_is_refused(pieces: Pieces) -> None:
    first = await pull(pieces, KillAction.CANCEL, key="a click")
    second = await pull(pieces, KillAction.CANCEL, key="a click")
    assert first.id == second.id
    with pytest.raises(DuplicateIntent):
        await pull(pieces, KillAction.FLATTEN, key="a click")
    assert len(await pieces.rows("SELECT 1 FROM kill_commands")) == 1


async def test_a_repeated_click_after_resuming_does_not_halt_again(pieces: Pieces) -> None:
    await pull(pieces, KillAction.STOP, key="a click")
    await kill_switch.rearm(pieces.desk, Scope.user(pieces.user_id), by="ada")
    await pull(pieces, KillAction.STOP, key="a click")
    await pieces.filled()


async def test_resuming_ends_what_the_switch_still_had_to_do(pieces: Pieces) -> None:
    await pieces.filled()
    command = await pull(pieces, KillAction.FLATTEN)
    assert await kill_switch.rearm(pieces.desk, Scope.user(pieces.user_id), by="grace") == [states.KILL_SWITCH]
    await KillLoop(pieces.desk).once()
    assert (await done(pieces, command)).state == "superseded"
    assert len(await positions(pieces)) == 1
    await pieces.filled()
    log = await states.history(pieces.desk, pieces.user_id)
    assert [(row["action"], row["by"]) for row in log] == [("rearmed", "grace"), ("tripped", "ada")]


async def test_nobody_names_what_is_not_theirs(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    command = await pull(pieces, KillAction.STOP)
    assert await kill_switch.own_scope(pieces.desk, pieces.user_id, ScopeKind.BROKER, str(pieces.broker_id)) == Scope.broker(
        pieces.broker_id, pieces.user_id
    )
    assert await kill_switch.own_scope(pieces.desk, eve, ScopeKind.SYMBOL, "btc/usdt") == Scope.symbol(SYMBOL, eve)
    for key in (str(pieces.broker_id), str(new_id()), "no id"):
        with pytest.raises(BrokerNotFound):
            await kill_switch.own_scope(pieces.desk, eve, ScopeKind.BROKER, key)
    for kind in (ScopeKind.PLATFORM, ScopeKind.STRATEGY):
        with pytest.raises(NotFound):
            await kill_switch.own_scope(pieces.desk, eve, kind, str(pieces.broker_id))
    for wrong in (None, "", "BTCUSDT", "a b/c"):
        with pytest.raises(InvalidInput):
            await kill_switch.own_scope(pieces.desk, eve, ScopeKind.SYMBOL, wrong)
    with pytest.raises(NotFound):
        await kill_switch.get_command(pieces.desk, eve, command.id)
    assert await kill_switch.list_commands(pieces.desk, eve) == []


async def test_the_loops_of_a_running_engine_flatten_within_seconds(pieces: Pieces) -> None:
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("kill", KillLoop(pieces.desk).run)
        supervisor.start("reconcile", Reconciler(pieces.desk, interval_s=0.2).run)
        supervisor.start("guardian", Guardian(pieces.desk).run)
        await pieces.submit(pieces.intent(quantity="0.02", protection=STOP))
        await pieces.submit(pieces.limit("50000"))
        command = await pull(pieces, KillAction.FLATTEN)
        async with asyncio.timeout(10):
            while (command := await done(pieces, command)).is_running:  # noqa: ASYNC110  # another task's rows, in PostgreSQL
                await asyncio.sleep(0.05)
        assert all(health.restarts == 0 for health in supervisor.health.values())
    assert (await positions(pieces), resting(pieces)) == ([], [])
