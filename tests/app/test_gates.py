"""The gate of an account: closed from the moment this process takes the role, or an outage is noticed, until the account is compared."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.core.clock import ManualClock
from app.core.leases import LeaseHolder
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, Role, Side
from app.errors import ExchangeUnavailable, OrderDenied
from app.trading import gates, states
from app.trading.account_check import OUTAGE, check_soon
from app.trading.cancel import cancel
from app.trading.desk import Desk
from app.trading.reconcile import Pace, Reconciler
from app.trading.submit import submit
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted
from tests.app.stored import stored
from tests.app.strangers import placed_elsewhere
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


async def silence(*_: Any, **__: Any) -> Any:
    raise ExchangeUnavailable("no answer within 10 seconds")


async def restraints(pieces: Pieces) -> list[tuple[str, str]]:
    return [(each.code, each.reason) for each in await states.list_for(pieces.desk, pieces.user_id)]


async def is_gated(pieces: Pieces) -> bool:
    return gates.RECONCILING in [code for code, _ in await restraints(pieces)]


async def refusal(desk: Desk, pieces: Pieces) -> tuple[str | None, str | None]:
    """Why a small entry is not sent now; None when it is."""
    try:
        order = (await submit(desk, pieces.user_id, pieces.intent())).order
    except OrderDenied as error:
        return error.code, error.message
    return order.code, order.detail


async def test_every_gate_is_closed_before_this_process_counts_as_the_roles_holder(pieces: Pieces) -> None:
    lease = LeaseHolder(pieces.database, "a role")
    seen: list[bool] = []

    async def look() -> None:
        seen.append(lease.is_held)

    lease.on_taken = look
    assert await lease.renew()
    assert await lease.renew()
    assert (seen, lease.is_held) == ([False], True)


async def test_role_that_cannot_close_the_gates_is_not_held(pieces: Pieces) -> None:
    lease = LeaseHolder(pieces.database, "a role")

    async def fail() -> None:
        raise ConnectionResetError

    lease.on_taken = fail
    with pytest.raises(ConnectionResetError):
        await lease.renew()
    assert not lease.is_held


async def test_entries_are_denied_until_the_account_is_compared_while_cancels_and_stops_pass(pieces: Pieces) -> None:
    resting = (await pieces.submit(pieces.limit("50000.00"))).order
    await pieces.filled()
    await gates.close_all(pieces.desk)
    pieces.desk.awaited.clear()
    code, detail = await refusal(pieces.desk, pieces)
    assert code == "TRADING_RECONCILING"
    assert "compares the account with the exchange first" in (detail or "")
    assert (await cancel(pieces.desk, pieces.user_id, resting.id)).state is OrderState.CANCELED
    stop = pieces.limit("61000.00", Side.SELL, "0.005", role=Role.STOP)
    assert (await pieces.submit(stop)).order.state is OrderState.OPEN

    await Reconciler(pieces.desk, pace=Pace(settle_s=0)).check_accounts()
    assert await restraints(pieces) == []
    assert await refusal(pieces.desk, pieces) == (None, None)


async def test_gate_opens_at_once_where_nothing_is_open_and_after_settling_where_something_is(pieces: Pieces) -> None:
    busy = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Busy")
    await pieces.submit(pieces.limit("50000.00"), broker_id=busy)
    clock = ManualClock(pieces.desk.clock.now())
    desk = pieces.with_clock(clock)
    await gates.close_all(desk)
    reconciler = Reconciler(desk, pace=Pace(settle_s=10))
    await reconciler.check_accounts()
    assert [each.scope.key for each in await states.list_for(desk, pieces.user_id)] == [str(busy)]
    clock.advance(timedelta(seconds=9))
    await reconciler.check_accounts()
    assert await is_gated(pieces), "not before its time"
    clock.advance(timedelta(seconds=1))
    await reconciler.check_accounts()
    assert not await is_gated(pieces)


async def test_traders_own_open_orders_do_not_keep_the_gate_closed(pieces: Pieces) -> None:
    placed_elsewhere(pieces)
    await gates.close_all(pieces.desk)
    await Reconciler(pieces.desk, pace=Pace(settle_s=3600)).check_accounts()
    assert not await is_gated(pieces)


@row(9)
async def test_account_that_cannot_be_compared_stays_gated_and_says_why(pieces: Pieces) -> None:
    clock = ManualClock(pieces.desk.clock.now())
    desk, client = await scripted(pieces.with_clock(clock), pieces.broker_id, fetch_open_orders=silence)
    await gates.close_all(desk)
    reconciler = Reconciler(desk)
    await reconciler.check_accounts()
    ((code, reason),) = await restraints(pieces)
    assert (code, "no answer within 10 seconds" in reason) == (gates.RECONCILING, True)
    denial, detail = await refusal(desk, pieces)
    assert (denial, "no answer within 10 seconds" in (detail or "")) == ("TRADING_RECONCILING", True)

    asked = client.asked.count("fetch_open_orders")
    await reconciler.check_accounts()
    assert client.asked.count("fetch_open_orders") == asked, "not asked again at once"
    del client._answers["fetch_open_orders"]
    clock.advance(timedelta(seconds=3))
    await reconciler.check_accounts()
    assert await restraints(pieces) == []


@row(10)
async def test_outage_closes_the_gate_and_its_end_opens_it_after_a_full_comparison(pieces: Pieces) -> None:
    await pieces.submit(pieces.limit("50000.00"))
    clock = ManualClock(pieces.desk.clock.now())
    desk, client = await scripted(pieces.with_clock(clock), pieces.broker_id, fetch_open_orders=silence)
    reconciler = Reconciler(desk, pace=Pace(settle_s=0))
    await reconciler.once()
    clock.advance(OUTAGE - timedelta(seconds=1))
    await reconciler.once()
    assert not await is_gated(pieces), "a few seconds are no outage"
    clock.advance(timedelta(seconds=1))
    await reconciler.once()
    ((code, reason),) = await restraints(pieces)
    assert (code, "could not be compared with the exchange since" in reason) == (gates.RECONCILING, True)

    del client._answers["fetch_open_orders"]
    placed_elsewhere(pieces)
    clock.advance(timedelta(minutes=1))
    await reconciler.check_accounts()
    assert await restraints(pieces) == []
    assert len(await pieces.rows("SELECT 1 FROM external_orders")) == 1, "what happened meanwhile is known"


async def test_one_venues_silence_keeps_no_other_accounts_gate_closed(pieces: Pieces) -> None:
    for number in range(6):
        name = f"Silent {number}"
        broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name=name)
        await pieces.rows("UPDATE brokers SET exchange = 'kraken' WHERE id = $1", broker_id)
    await gates.close_all(pieces.desk)

    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    desk = pieces.desk
    for silent in await pieces.rows("SELECT id FROM brokers WHERE exchange = 'kraken'"):
        await pieces.rows("UPDATE brokers SET exchange = 'binance' WHERE id = $1", silent["id"])
        desk, _ = await scripted(desk, silent["id"], fetch_open_orders=hang)
        await pieces.rows("UPDATE brokers SET exchange = 'kraken' WHERE id = $1", silent["id"])
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("reconcile", Reconciler(desk, pace=Pace(interval_s=0.1, settle_s=0)).run)
        async with asyncio.timeout(10):
            while pieces.broker_id in desk.awaited:  # noqa: ASYNC110  # opened by another task
                await asyncio.sleep(0.02)


async def test_entry_of_the_first_moment_waits_for_the_comparison_and_is_sent(pieces: Pieces) -> None:
    await gates.close_all(pieces.desk)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("reconcile", Reconciler(pieces.desk, pace=Pace(interval_s=60)).run)
        assert (await pieces.submit()).order.state is OrderState.FILLED


async def test_intent_that_a_dead_process_left_is_sent_after_the_comparison_and_not_denied(pieces: Pieces) -> None:
    order = await stored(pieces)
    await pieces.rows("UPDATE orders SET created_at = created_at - interval '2 seconds'")
    await gates.close_all(pieces.desk)
    reconciler = Reconciler(pieces.desk)
    assert await reconciler.once() == 0
    assert (await pieces.order(order.id)).state is OrderState.INTENT
    await reconciler.check_accounts()
    await reconciler.once()
    assert (await pieces.order(order.id)).state is OrderState.FILLED
    assert len(pieces.placed()) == 1


async def test_accounts_are_compared_again_when_their_time_has_come_or_somebody_asks(pieces: Pieces) -> None:
    clock = ManualClock(pieces.desk.clock.now())
    desk, client = await scripted(pieces.with_clock(clock), pieces.broker_id)
    reconciler = Reconciler(desk, pace=Pace(full_interval_s=900))

    async def comparisons(after: timedelta) -> int:
        clock.advance(after)
        before = client.asked.count("fetch_open_orders")
        await reconciler.check_accounts()
        return client.asked.count("fetch_open_orders") - before

    assert [await comparisons(timedelta(seconds=seconds)) for seconds in (0, 0, 800, 200)] == [1, 0, 0, 1]
    await check_soon(desk, pieces.broker_id)
    assert await comparisons(timedelta(0)) == 1
