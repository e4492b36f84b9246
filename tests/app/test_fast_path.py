"""The fast path of an entry and of its answer: what it may rely on, and that whatever has changed meanwhile is found by the tables."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.domain.enums import OrderState, Side, TradingState
from app.domain.limits import RiskLimits
from app.domain.orders import Reported
from app.domain.protection import ProtectionPlan
from app.domain.risk import Scope
from app.errors import Fenced, OrderDenied
from app.exchanges.port import OrderRequest
from app.trading import fast_entry, states
from app.trading.apply import record
from app.trading.cancel import cancel
from app.trading.hints import OpenPosition
from app.trading.limits import put_limits
from app.trading.submit import Submission
from tests.app.conftest import API_SECRET, SYMBOL, Pieces, make_broker
from tests.app.fast_ways import (
    BEFORE_WRITING,
    another_engine,
    assert_books_agree,
    counted_statements,
    events,
    made_ready,
    meanwhile,
    outcome,
    position,
    refuse_fast_way,
    with_money,
)
from tests.app.scripted_client import scripted
from tests.app.stored import stored

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def ready(pieces: Pieces) -> Pieces:
    return await made_ready(pieces)


async def test_an_entry_from_submit_to_acknowledged_is_three_statements(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    await ready.filled()
    seen = counted_statements(monkeypatch)
    order = (await ready.submit()).order
    assert order.state is OrderState.FILLED
    assert len(seen) == 3, seen


async def test_the_fast_way_leaves_the_same_rows_as_the_ordinary_one(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = (await ready.submit()).order
    refuse_fast_way(monkeypatch)
    ordinary = (await ready.submit()).order
    changing = {
        "id",
        "client_order_id",
        "key",
        "venue_order_id",
        "deadline",
        "sent_at",
        "acknowledged_at",
        "reconciled_at",
        "created_at",
        "updated_at",
    }
    for name in set(type(fast).__slots__) - changing:
        assert getattr(fast, name) == getattr(ordinary, name), name
    told_of = [
        [(row["kind"], row["state"], row["epoch"], sorted(row["detail"])) for row in await events(ready, order)]
        for order in (fast, ordinary)
    ]
    assert told_of[0] == told_of[1]
    assert [kind for kind, *_ in told_of[0]] == ["Intent", "Claimed", "Reported"]
    activity = await ready.rows("SELECT minute_orders, day_orders FROM account_activity WHERE broker_id = $1", ready.broker_id)
    assert activity[0]["day_orders"] == 3
    await assert_books_agree(ready)


async def test_two_processes_that_read_at_the_same_moment_never_spend_the_same_money(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = await with_money(ready, "800")
    both_have_read = asyncio.Barrier(2)
    write = fast_entry._stored
    results: list[object] = []

    async def together(*values: Any) -> Any:
        await both_have_read.wait()
        results.append(await write(*values))
        return results[-1]

    monkeypatch.setattr(fast_entry, BEFORE_WRITING, together)
    async with another_engine(working) as other:
        found = await asyncio.gather(*(outcome(each, working.limit("50000"), broker_id=working.broker_id) for each in (working, other)))
    assert len(results) == 2, "both found enough money"
    assert sum(result is not None for result in results) == 1, "and one of them wrote it"
    assert sum(isinstance(each, OrderDenied) for each in found) == 1
    assert [order["status"] for order in working.placed()] == ["NEW", "NEW"], "the exchange refused none: none was sent in vain"


async def test_thirty_orders_of_two_processes_on_money_for_five_are_five_orders(ready: Pieces) -> None:
    working = await with_money(ready, "3099")
    async with another_engine(working) as other:
        found = await asyncio.gather(
            *(outcome((working, other)[n % 2], working.limit("59900"), broker_id=working.broker_id) for n in range(30))
        )
    assert sum(isinstance(each, Submission) for each in found) == 5
    assert [order["status"] for order in working.placed()] == ["NEW"] * 6


async def test_many_market_orders_of_two_processes_are_all_counted_into_one_position(ready: Pieces) -> None:
    async with another_engine(ready) as other:
        engines = [ready, other]
        sides = [Side.BUY, Side.BUY, Side.SELL]
        found = await asyncio.gather(*(engines[n % 2].submit(ready.intent(sides[n % 3], "0.003")) for n in range(24)))
    assert {each.order.state for each in found} == {OrderState.FILLED}
    await assert_books_agree(ready)


async def test_first_fills_of_two_processes_open_one_position(ready: Pieces) -> None:
    await ready.submit(ready.intent(Side.SELL, None, close_position=True))
    (closed,) = await ready.rows("SELECT status FROM positions")
    async with another_engine(ready) as other:
        await asyncio.gather(*(each.submit(ready.intent()) for each in (ready, other, ready, other)))
    rows = await ready.rows("SELECT status, quantity FROM positions WHERE status <> 'closed'")
    assert closed["status"] == "closed"
    assert [row["quantity"] for row in rows] == [Decimal("0.03996")], "0.01 four times, less the fee of a thousandth"


async def test_a_wrong_guess_of_the_position_changes_nothing(ready: Pieces) -> None:
    await ready.filled()
    key = (ready.broker_id, SYMBOL, None)
    right = ready.desk.hints.positions[key]
    for wrong in (
        replace(right, quantity=right.quantity + 1),
        replace(right, average_price=None),
        replace(right, realized_pnl=right.realized_pnl - 1),
        replace(right, id=ready.broker_id),
    ):
        ready.desk.hints.positions[key] = wrong
        await ready.filled(quantity="0.002")
        await assert_books_agree(ready)
    assert isinstance(right, OpenPosition)


@pytest.mark.parametrize("scope", ["platform", "user", "broker", "symbol"])
async def test_a_halt_between_reading_and_writing_keeps_the_entry_here(ready: Pieces, monkeypatch: pytest.MonkeyPatch, scope: str) -> None:
    scopes = {
        "platform": Scope.platform(),
        "user": Scope.user(ready.user_id),
        "broker": Scope.broker(ready.broker_id, ready.user_id),
        "symbol": Scope.symbol(SYMBOL, ready.user_id),
    }

    async def halt() -> None:
        await states.trip(ready.desk, scopes[scope], state=TradingState.HALTED, code="A_TEST", reason="a test asked for it", set_by="ada")

    before, wrote = len(ready.placed()), meanwhile(monkeypatch, halt)
    denial = await outcome(ready, ready.intent())
    assert isinstance(denial, OrderDenied)
    assert denial.code == "TRADING_HALTED"
    assert wrote == [False]
    assert len(ready.placed()) == before
    assert await ready.rows("SELECT 1 FROM orders WHERE state <> 'filled'") == []


async def test_an_account_switched_off_between_reading_and_writing_keeps_the_entry_here(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(ready.placed())
    wrote = meanwhile(monkeypatch, lambda: ready.rows("UPDATE brokers SET is_active = false"))
    denial = await outcome(ready, ready.intent())
    assert isinstance(denial, OrderDenied)
    assert (denial.code, wrote) == ("BROKER_INACTIVE", [False])
    assert len(ready.placed()) == before


async def test_a_role_lost_between_reading_and_writing_keeps_the_entry_here(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(ready.placed())
    wrote = meanwhile(monkeypatch, lambda: ready.rows("UPDATE leases SET owner = 'another', epoch = epoch + 1"))
    await ready.submit(ready.intent())
    assert wrote == [False]
    assert len(ready.placed()) == before
    assert [row["state"] for row in await ready.rows("SELECT state FROM orders WHERE state <> 'filled'")] == ["intent"]


async def test_a_role_lost_while_the_venue_answered_leaves_the_writing_to_its_new_holder(ready: Pieces) -> None:
    client = await ready.connections.client(ready.broker_id)

    async def place_order(request: OrderRequest, *, guard: Any) -> Reported:
        report = await client.place_order(request, guard=guard)
        await ready.rows("UPDATE leases SET owner = 'another', epoch = epoch + 1")
        return report

    desk, _ = await scripted(ready.desk, ready.broker_id, place_order=place_order)
    before = await position(ready)
    with pytest.raises(Fenced):
        await replace(ready, desk=desk).submit()
    assert [row["state"] for row in await ready.rows("SELECT state FROM orders WHERE state <> 'filled'")] == ["submitting"]
    assert (await position(ready))["quantity"] == before["quantity"]
    assert len(await ready.rows("SELECT 1 FROM fills")) == 1


async def test_an_entry_goes_to_the_account_that_is_the_default_now(ready: Pieces) -> None:
    api_key = "key-of-a-second-account"
    ready.emulator.open_account(api_key, API_SECRET, {"USDT": "1000"})
    other_id = await make_broker(ready.database, ready.vault, ready.user_id, api_key=api_key, name="Second")
    await ready.rows("UPDATE brokers SET is_default = false WHERE id = $1", ready.broker_id)
    await ready.rows("UPDATE brokers SET is_default = true WHERE id = $1", other_id)
    assert (await ready.submit()).order.broker_id == other_id
    await ready.rows("UPDATE brokers SET removed_at = now(), is_default = false WHERE id = $1", other_id)
    await ready.rows("UPDATE brokers SET is_default = true WHERE id = $1", ready.broker_id)
    assert (await ready.submit()).order.broker_id == ready.broker_id


async def test_a_repetition_finds_its_order_and_so_does_the_same_key_in_two_processes(ready: Pieces) -> None:
    intent = ready.intent(key="the-same")
    async with another_engine(ready) as other:
        found = await asyncio.gather(*(each.submit(intent) for each in (ready, other, ready)))
    again = await ready.submit(intent)
    assert len({each.order.id for each in (*found, again)}) == 1
    assert sum(each.is_new for each in found) == 1
    assert not again.is_new
    assert len(ready.placed()) == 2


async def test_the_limit_of_all_accounts_counts_the_entry_itself(ready: Pieces) -> None:
    await put_limits(ready.desk, ready.user_id, RiskLimits(max_daily_orders=3), broker_id=None)
    for _ in range(2):
        await ready.filled()
    denial = await outcome(ready, ready.intent())
    assert isinstance(denial, OrderDenied)
    assert denial.message == "3 orders were sent on all your accounts together today (UTC), the limit is 3"


async def test_an_answer_that_was_heard_before_is_counted_once(ready: Pieces) -> None:
    client = await ready.connections.client(ready.broker_id)

    async def place_order(request: OrderRequest, *, guard: Any) -> Reported:
        report = await client.place_order(request, guard=guard)
        (row,) = await ready.rows("SELECT id FROM orders WHERE client_order_id = $1", request.client_order_id)
        await record(ready.desk, row["id"], report)
        return report

    desk, _ = await scripted(ready.desk, ready.broker_id, place_order=place_order)
    order = (await replace(ready, desk=desk).submit()).order
    assert (order.state, order.fills_quantity) == (OrderState.FILLED, Decimal("0.01"))
    await assert_books_agree(ready)


async def test_a_wish_to_cancel_while_the_venue_answers_is_kept(ready: Pieces) -> None:
    client = await ready.connections.client(ready.broker_id)

    async def place_order(request: OrderRequest, *, guard: Any) -> Reported:
        report = await client.place_order(request, guard=guard)
        (row,) = await ready.rows("SELECT id FROM orders WHERE client_order_id = $1", request.client_order_id)
        await cancel(ready.desk, ready.user_id, row["id"])
        return report

    desk, _ = await scripted(ready.desk, ready.broker_id, place_order=place_order)
    order = (await replace(ready, desk=desk).submit(ready.limit("50000"))).order
    assert order.cancel_requested_at is not None


async def test_an_entry_that_opens_a_guarded_position_has_its_protection_with_its_fill(ready: Pieces) -> None:
    plan = ProtectionPlan(stop_price=Decimal(50000))
    await ready.submit(ready.intent(protection=plan))
    assert len(await ready.rows("SELECT 1 FROM protections WHERE status = 'active'")) == 1
    await ready.filled(quantity="0.002")
    await assert_books_agree(ready)


async def test_an_order_that_waits_to_be_sent_is_never_admitted_by_the_fast_way(ready: Pieces) -> None:
    order = await stored(ready)
    assert order.state is OrderState.INTENT
    await ready.filled()
    assert (await ready.order(order.id)).state is OrderState.INTENT


async def test_while_another_transaction_admits_an_order_the_fast_way_does_not_wait(ready: Pieces) -> None:
    async with asyncio.TaskGroup() as group, ready.database.raw_transaction() as connection:
        await connection.execute("UPDATE account_activity SET day_orders = day_orders WHERE broker_id = $1", ready.broker_id)
        submitting = group.create_task(ready.submit())
        await asyncio.sleep(0.2)
        assert len(await ready.rows("SELECT 1 FROM orders")) == 1, "it waits on the ordinary way, behind the lock"
    assert submitting.result().order.state is OrderState.FILLED
