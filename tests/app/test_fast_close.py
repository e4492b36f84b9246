"""The fast way of an order that closes a position: it sells what is there, once, whatever happens between its two statements."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from app.domain.enums import OrderState, Side, TradingState
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan
from app.domain.risk import Scope
from app.errors import OrderDenied
from app.trading import fast_entry, states
from app.trading.hints import OpenPosition
from app.trading.protections import guard_position
from app.trading.submit import Submission
from tests.app.conftest import SYMBOL, Outage, Pieces
from tests.app.fast_ways import (
    BEFORE_WRITING,
    another_engine,
    bought_and_sold,
    counted_statements,
    events,
    made_ready,
    meanwhile,
    outcome,
    position,
    refuse_fast_way,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def ready(pieces: Pieces) -> Pieces:
    await made_ready(pieces)
    await pieces.filled()
    return pieces


def closing(pieces: Pieces) -> OrderIntent:
    return pieces.intent(Side.SELL, None, close_position=True)


async def assert_all_is_sold_once(pieces: Pieces, *, but: str = "0") -> None:
    """Every sale was filled, and together they sold what was bought to the last step."""
    bought, sold = await bought_and_sold(pieces)
    assert 0 <= bought - sold - Decimal(but) < Decimal("0.00001")
    assert {row["state"] for row in await pieces.rows("SELECT state FROM orders WHERE side = 'sell' AND role = 'exit'")} == {"filled"}


async def test_a_close_from_submit_to_acknowledged_is_three_statements(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = counted_statements(monkeypatch)
    order = (await ready.submit(closing(ready))).order
    assert (order.state, order.quantity) == (OrderState.FILLED, Decimal("0.01998"))
    assert len(seen) == 3, seen
    await assert_all_is_sold_once(ready)


async def test_the_fast_way_of_a_close_leaves_the_same_rows_as_the_ordinary_one(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = (await ready.submit(closing(ready))).order
    await ready.filled()
    await ready.filled()
    refuse_fast_way(monkeypatch)
    ordinary = (await ready.submit(closing(ready))).order
    times = {"id", "client_order_id", "key", "venue_order_id", "deadline", "sent_at", "acknowledged_at", "reconciled_at", "created_at"}
    for name in set(type(fast).__slots__) - times - {"updated_at"}:
        assert getattr(fast, name) == getattr(ordinary, name), name
    told_of = [[(row["kind"], row["state"], row["epoch"]) for row in await events(ready, order)] for order in (fast, ordinary)]
    assert told_of[0] == told_of[1]
    assert [kind for kind, *_ in told_of[0]] == ["Intent", "Claimed", "Reported"]
    closed = await ready.rows("SELECT status, exit_role, quantity FROM positions ORDER BY opened_at")
    assert [tuple(row) for row in closed] == [("closed", "exit", closed[0]["quantity"])] * 2
    await assert_all_is_sold_once(ready)


async def test_a_sale_between_reading_and_writing_is_not_sold_a_second_time(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    async with another_engine(ready) as other:
        wrote = meanwhile(monkeypatch, lambda: other.submit(ready.intent(Side.SELL, "0.005")))
        order = (await ready.submit(closing(ready))).order
    assert (order.state, order.quantity) == (OrderState.FILLED, Decimal("0.01498"))
    assert wrote == [False]
    await assert_all_is_sold_once(ready)


async def test_what_is_bought_between_reading_and_writing_is_sold_as_well(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    async with another_engine(ready) as other:
        wrote = meanwhile(monkeypatch, lambda: other.submit(ready.intent(Side.BUY, "0.01")))
        order = (await ready.submit(closing(ready))).order
    assert (order.state, wrote) == (OrderState.FILLED, [False])
    await assert_all_is_sold_once(ready)


async def test_a_protection_made_between_reading_and_writing_makes_room_first(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    held = await position(ready)

    async def guard() -> None:
        async with ready.database.raw_transaction() as connection:
            await guard_position(connection, held["id"], ProtectionPlan(stop_price=Decimal(50000)), now=ready.desk.clock.now())

    wrote = meanwhile(monkeypatch, guard)
    order = (await ready.submit(closing(ready))).order
    assert (order.state, wrote) == (OrderState.FILLED, [False])
    await assert_all_is_sold_once(ready)


async def test_a_protection_made_while_the_writing_is_under_way_makes_room_first(
    ready: Pieces, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, found = await position(ready), list[Submission | OrderDenied]()
    # The statement waits after its snapshot was taken, and before it locks the position.
    wait = "FROM positions p, seen, LATERAL (SELECT pg_advisory_xact_lock(8)) w"
    monkeypatch.setattr(fast_entry, "_CLOSE_AND_CLAIM", fast_entry._CLOSE_AND_CLAIM.replace("FROM positions p, seen", wait))
    assert fast_entry._CLOSE_AND_CLAIM.count(wait) == 1

    async def close() -> None:
        found.append(await outcome(ready, closing(ready)))

    async with ready.database.connection() as other, asyncio.TaskGroup() as group:
        await other.execute("SELECT pg_advisory_lock(8)")
        group.create_task(close())
        await outage.until_one_waits("advisory")
        async with ready.database.raw_transaction() as connection:
            await guard_position(connection, held["id"], ProtectionPlan(stop_price=Decimal(50000)), now=ready.desk.clock.now())
        await other.execute("SELECT pg_advisory_unlock(8)")
    (protection,) = await ready.rows("SELECT revision FROM protections WHERE status = 'active'")
    assert [each.order.state for each in found if isinstance(each, Submission)] == [OrderState.FILLED]
    assert protection["revision"] == 1, "a look at it from before is stale"
    await assert_all_is_sold_once(ready)


async def test_a_sale_that_rests_keeps_its_units(ready: Pieces) -> None:
    resting = (await ready.submit(ready.limit("90000", side=Side.SELL, quantity="0.005"))).order
    assert resting.state is OrderState.OPEN
    order = (await ready.submit(closing(ready))).order
    assert (order.state, order.quantity) == (OrderState.FILLED, Decimal("0.01498"))


async def test_two_processes_that_close_at_the_same_moment_sell_once(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    both_have_read = asyncio.Barrier(2)
    write = fast_entry._stored
    results: list[object] = []

    async def together(*values: object) -> object:
        await both_have_read.wait()
        results.append(await write(*values))  # type: ignore[arg-type]  # as they came
        return results[-1]

    monkeypatch.setattr(fast_entry, BEFORE_WRITING, together)
    async with another_engine(ready) as other:
        other.desk.hints.positions.update(ready.desk.hints.positions)
        found = await asyncio.gather(*(outcome(each, closing(ready)) for each in (ready, other)))
    assert len(results) == 2, "both found the position"
    assert sum(result is not None for result in results) == 1, "and one of them wrote it"
    assert sum(isinstance(each, Submission) and each.order.state is OrderState.FILLED for each in found) == 1
    await assert_all_is_sold_once(ready)


async def test_a_position_that_another_process_closed_is_not_closed_again(ready: Pieces) -> None:
    async with another_engine(ready) as other:
        assert (await other.submit(closing(ready))).order.state is OrderState.FILLED
    denial = await outcome(ready, closing(ready))
    assert isinstance(denial, OrderDenied)
    assert denial.code == "NO_POSITION"
    await assert_all_is_sold_once(ready)


@pytest.mark.parametrize("wrong", ["0.00001", "0.02", "-1", "0"])
async def test_a_wrong_guess_of_what_is_held_sells_what_is_held(ready: Pieces, wrong: str) -> None:
    key = (ready.broker_id, SYMBOL, None)
    right = ready.desk.hints.positions[key]
    ready.desk.hints.positions[key] = replace(right, quantity=Decimal(wrong))
    order = (await ready.submit(closing(ready))).order
    assert (order.state, order.quantity) == (OrderState.FILLED, Decimal("0.01998"))
    assert isinstance(right, OpenPosition)
    await assert_all_is_sold_once(ready)


async def test_a_halt_between_reading_and_writing_keeps_the_close_here(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    before, wrote = len(ready.placed()), meanwhile(monkeypatch, lambda: tripped(ready, TradingState.HALTED))
    denial = await outcome(ready, closing(ready))
    assert isinstance(denial, OrderDenied)
    assert (denial.code, wrote) == ("TRADING_HALTED", [False])
    assert len(ready.placed()) == before
    assert (await position(ready))["quantity"] == Decimal("0.01998")


async def test_where_only_leaving_is_allowed_a_close_goes_the_fast_way(ready: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    await tripped(ready, TradingState.REDUCING)
    seen = counted_statements(monkeypatch)
    assert (await ready.submit(closing(ready))).order.state is OrderState.FILLED
    assert len(seen) == 3
    await assert_all_is_sold_once(ready)


async def tripped(pieces: Pieces, state: TradingState) -> None:
    await states.trip(pieces.desk, Scope.user(pieces.user_id), state=state, code="A_TEST", reason="a test asked for it", set_by="ada")


async def test_many_entries_and_closes_of_two_processes_agree_with_the_exchange(ready: Pieces) -> None:
    async with another_engine(ready) as other:
        engines = [ready, other]
        wishes = [closing(ready) if n % 4 == 3 else ready.intent(Side.BUY, "0.003") for n in range(24)]
        found = await asyncio.gather(*(outcome(engines[n % 2], wish) for n, wish in enumerate(wishes)))
    assert {each.code if isinstance(each, OrderDenied) else each.order.state.value for each in found} <= {
        "filled",
        "NO_POSITION",
        "QUANTITY_BELOW_MINIMUM",
    }
    await ready.filled()
    bought, sold = await bought_and_sold(ready)
    held = await position(ready)
    assert abs(held["quantity"] - (bought - sold)) < Decimal("0.0001"), "but for the dust that closed positions left"
