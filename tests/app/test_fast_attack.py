"""Attacks on the fast path of an entry and of its answer: many at once, what is committed in between, and connections that break."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.core.outage import is_database_gone
from app.domain.enums import OrderState, Side, TradingState
from app.domain.limits import RiskLimits
from app.domain.orders import Fill, Reported
from app.domain.protection import ProtectionPlan
from app.domain.risk import KillAction, Scope
from app.errors import OrderDenied
from app.exchanges.port import OrderRequest
from app.trading import fast_answer, gates, kill_switch, states
from app.trading.apply import record
from app.trading.events import FillRecorded
from app.trading.hints import Hints
from app.trading.limits import put_limits
from app.trading.reconcile import Reconciler
from app.trading.submit import Submission
from tests.app.conftest import Outage, Pieces
from tests.app.fast_ways import another_engine, assert_books_agree, made_ready, meanwhile, outcome, position, with_money
from tests.app.scripted_client import scripted
from tests.app.stored import PRICE

pytestmark = pytest.mark.asyncio

_MANY = 30
_MOST = 5


@pytest_asyncio.fixture
async def ready(pieces: Pieces) -> Pieces:
    return await made_ready(pieces)


class _Forgotten(dict[Any, Any]):
    """Accounts that are never remembered."""

    def get(self, *_: object) -> None:
        """Return nothing."""


@asynccontextmanager
async def all_ways(pieces: Pieces) -> AsyncIterator[list[Pieces]]:
    """Three engines of one account: two of two processes that go the fast way, and one that always goes the ordinary one."""
    async with another_engine(pieces) as other:
        yield [pieces, other, replace(pieces, desk=replace(pieces.desk, hints=Hints(accounts=_Forgotten())))]


async def at_once(pieces: Pieces, intents: Callable[[], Any], **fields: Any) -> list[Submission | OrderDenied]:
    """Thirty submissions at one instant, by all ways."""
    async with all_ways(pieces) as engines:
        return await asyncio.gather(*(outcome(engines[n % len(engines)], intents(), **fields) for n in range(_MANY)))


def kinds(found: list[Submission | OrderDenied]) -> tuple[int, set[str]]:
    """How many were stored, and why the others were not."""
    return sum(isinstance(each, Submission) for each in found), {each.code for each in found if isinstance(each, OrderDenied)}


# Many at once


@pytest.mark.parametrize(
    ("limits", "code", "is_resting"),
    [
        (RiskLimits(orders_per_minute=_MOST), "ORDER_RATE", False),
        (RiskLimits(max_daily_orders=_MOST), "MAX_DAILY_ORDERS", False),
        (RiskLimits(max_open_orders=_MOST), "MAX_OPEN_ORDERS", True),
        (RiskLimits(max_position_notional=_MOST * PRICE / 100), "MAX_POSITION_NOTIONAL", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_thirty_at_once_by_all_ways_do_not_pass_a_limit_of_their_account(
    ready: Pieces, limits: RiskLimits, code: str, *, is_resting: bool
) -> None:
    await ready.rows("UPDATE account_activity SET minute_orders = 0, day_orders = 0")
    await put_limits(ready.desk, ready.user_id, limits, broker_id=ready.broker_id)
    # The turn of a minute in the middle would begin the counting anew.
    still = replace(ready, desk=ready.with_clock(ManualClock(ready.desk.clock.now())))
    found = await at_once(still, lambda: ready.limit("50000") if is_resting else ready.intent())
    at_most = _MOST if code != "MAX_POSITION_NOTIONAL" else _MOST - 1  # one is held already
    assert kinds(found) == (at_most, {code})
    assert len(ready.placed()) == 1 + at_most


async def test_thirty_at_once_by_all_ways_spend_no_money_twice(ready: Pieces) -> None:
    working = await with_money(ready, "3099")
    found = await at_once(working, lambda: working.limit("59900"), broker_id=working.broker_id)
    assert kinds(found) == (_MOST, {"INSUFFICIENT_BALANCE"})
    assert [order["status"] for order in working.placed()] == ["NEW"] * (1 + _MOST)


async def test_thirty_times_one_key_at_one_instant_by_all_ways_is_one_order_that_is_counted_once(ready: Pieces) -> None:
    intent = ready.intent(key="the-same")
    found = await at_once(ready, lambda: intent)
    assert all(isinstance(each, Submission) for each in found)
    assert len({each.order.id for each in found if isinstance(each, Submission)}) == 1
    assert sum(each.is_new for each in found if isinstance(each, Submission)) == 1
    assert len(ready.placed()) == 2
    await assert_books_agree(ready)


async def test_what_many_buy_and_sell_by_all_ways_is_in_the_books_once(ready: Pieces) -> None:
    sides = iter([Side.BUY, Side.BUY, Side.SELL] * _MANY)
    found = await at_once(ready, lambda: ready.intent(next(sides), "0.003"))
    assert kinds(found) == (_MANY, set())
    assert len(ready.placed()) == 1 + _MANY
    await assert_books_agree(ready)
    assert ready.desk.in_flight == set()


# What is committed between reading and writing, and while an entry waits


async def _pause(pieces: Pieces) -> None:
    await pieces.rows("UPDATE brokers SET paused_reason = 'a test'")


async def _remove(pieces: Pieces) -> None:
    await pieces.rows("UPDATE brokers SET removed_at = now()")


async def _pull(pieces: Pieces) -> None:
    user = Scope.user(pieces.user_id)
    await kill_switch.pull(pieces.desk, pieces.user_id, user, action=KillAction.STOP, by="ada")


async def _begin_to_compare(pieces: Pieces) -> None:
    # In another process: this one does not hear of it, `desk.awaited` is empty.
    await gates.close_all(replace(pieces.desk, awaited=set()))


@pytest.mark.parametrize(
    ("happens", "code"),
    [(_pause, "BROKER_DISABLED"), (_remove, "NO_BROKER"), (_pull, "TRADING_HALTED"), (_begin_to_compare, "TRADING_RECONCILING")],
)
async def test_what_forbids_an_entry_between_reading_and_writing_keeps_it_here(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Pieces], Awaitable[None]], code: str
) -> None:
    before, wrote = len(ready.placed()), meanwhile(monkeypatch, lambda: happens(ready))
    denial = await outcome(ready, ready.intent())
    assert isinstance(denial, OrderDenied)
    assert denial.code == code
    assert (wrote, len(ready.placed())) == ([False], before)
    assert await ready.rows("SELECT 1 FROM orders WHERE state <> 'filled'") == []
    assert ready.desk.in_flight == set()


_LOCKS = {"lease": "UPDATE leases SET until = until", "protection": "SELECT 1 FROM protections FOR UPDATE"}


@pytest.mark.parametrize("locked", _LOCKS)
async def test_a_halt_that_is_committed_while_an_entry_waits_for_a_lock_keeps_it_here(ready: Pieces, outage: Outage, locked: str) -> None:
    await ready.submit(ready.intent(protection=ProtectionPlan(stop_price=Decimal(50000))))
    before = len(ready.placed())
    async with asyncio.TaskGroup() as group, ready.database.raw_transaction() as connection:
        await connection.execute(_LOCKS[locked])
        task = group.create_task(outcome(ready, ready.intent(Side.SELL, "0.002")))
        await outage.until_one_waits()
        await states.trip(ready.desk, Scope.platform(), state=TradingState.HALTED, code="A_TEST", reason="a test", set_by="ada")
    found = task.result()
    assert isinstance(found, OrderDenied) or found.order.state is OrderState.DENIED
    assert len(ready.placed()) == before


async def test_a_role_that_is_lost_in_memory_between_reading_and_writing_leaves_the_order_to_its_new_holder(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose() -> None:
        ready.desk.lease.lose()

    before = len(ready.placed())
    meanwhile(monkeypatch, lose)
    order = (await ready.submit(ready.intent(key="not-lost"))).order
    assert (order.state, len(ready.placed())) == (OrderState.INTENT, before)
    assert [row["key"] for row in await ready.rows("SELECT key FROM orders WHERE state = 'intent'")] == ["not-lost"]
    assert ready.desk.in_flight == set()


# Connections that break, and transactions that are undone


async def cut_off(pieces: Pieces, intent: Any) -> None:
    """Submit, and see the connection end."""
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
        await pieces.submit(intent)
    assert is_database_gone(caught.value)


async def assert_sent_once(pieces: Pieces, order_id: UUID, *, placed: int = 2) -> None:
    order = await pieces.order(order_id)
    assert order.state is OrderState.FILLED
    assert [each["clientOrderId"] for each in pieces.placed()].count(order.client_order_id) == 1
    assert len(pieces.placed()) == placed
    assert pieces.desk.in_flight == set()
    await assert_books_agree(pieces)


async def test_a_connection_that_breaks_while_it_reads_costs_no_order(ready: Pieces, outage: Outage) -> None:
    async with asyncio.TaskGroup() as group, outage.locked("account_activity", "ACCESS EXCLUSIVE"):
        submitting = group.create_task(ready.submit())
        await outage.end_the_one_that_waits("Lock")
        await outage.until_one_waits()
    await assert_sent_once(ready, submitting.result().order.id)


async def test_a_kept_connection_that_is_found_dead_only_when_it_is_used_costs_no_order(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready.filled()
    await ready.rows("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%mine%'")
    await asyncio.sleep(0.05)
    monkeypatch.setattr("app.core.db._is_gone", lambda _: False)
    await assert_sent_once(ready, (await ready.submit()).order.id, placed=3)


async def test_a_connection_that_breaks_before_the_commit_leaves_nothing_and_sends_nothing(ready: Pieces, outage: Outage) -> None:
    intent = ready.intent()
    async with outage.locked("order_events"), asyncio.TaskGroup() as group:
        group.create_task(cut_off(ready, intent))
        await outage.end_the_one_that_waits("Lock")
    assert (len(ready.placed()), len(await ready.rows("SELECT 1 FROM orders")), ready.desk.in_flight) == (1, 1, set())
    await assert_sent_once(ready, (await ready.submit(intent)).order.id)


async def test_an_entry_whose_commit_counted_and_broke_off_is_asked_about_and_never_sent_by_any_way(
    ready: Pieces, waiting_commits: None, outage: Outage
) -> None:
    intent = ready.intent()
    async with asyncio.TaskGroup() as group:
        group.create_task(cut_off(ready, intent))
        await outage.end_the_one_that_waits("SyncRep")
    assert ready.desk.in_flight == set(), "nobody is sending it, and reconcile must know"
    async with all_ways(ready) as engines:
        again = [(await each.submit(intent)).order.state for each in engines]
    assert (again, len(ready.placed())) == ([OrderState.SUBMITTING] * 3, 1)
    await Reconciler(ready.desk, interval_s=60).once()
    assert [row["state"] for row in await ready.rows("SELECT state FROM orders WHERE state <> 'filled'")] == ["unknown"]
    assert len(ready.placed()) == 1


async def test_a_connection_that_breaks_while_the_answer_is_written_is_written_by_another(ready: Pieces, outage: Outage) -> None:
    async with asyncio.TaskGroup() as group, outage.locked("positions"):
        submitting = group.create_task(ready.submit())
        await outage.end_the_one_that_waits("Lock")
        await outage.until_one_waits()
    await assert_sent_once(ready, submitting.result().order.id)


async def test_an_answer_whose_commit_counted_and_broke_off_is_told_of_and_counted_once(
    ready: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = fast_answer._Answer.written

    async def unheard(self: Any) -> Any:
        assert await write(self) is not None
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr(fast_answer._Answer, "written", unheard)
    with ready.bus.subscribe(FillRecorded) as told_of:
        order = (await ready.submit()).order
        assert told_of.get_nowait() is not None
        assert told_of.get_nowait() is None
    await assert_sent_once(ready, order.id)


async def test_an_entry_that_loses_to_a_deadlock_is_admitted_by_the_ordinary_way(ready: Pieces, outage: Outage) -> None:
    async with asyncio.TaskGroup() as group, outage.patient() as connection:
        await connection.execute("SELECT 1 FROM brokers FOR UPDATE")
        submitting = group.create_task(ready.submit())
        await outage.until_one_waits()
        await connection.execute("SELECT 1 FROM account_activity FOR UPDATE")
    await assert_sent_once(ready, submitting.result().order.id)


async def test_an_answer_that_loses_to_a_deadlock_is_written_by_the_ordinary_way(ready: Pieces, outage: Outage) -> None:
    async with asyncio.TaskGroup() as group, outage.patient() as connection:
        await connection.execute("SELECT 1 FROM positions FOR UPDATE")
        submitting = group.create_task(ready.submit())
        await outage.until_one_waits()
        await connection.execute("SELECT 1 FROM orders FOR UPDATE")
    await assert_sent_once(ready, submitting.result().order.id)


# Answers that are not the whole story


def parts(report: Reported) -> tuple[Reported, Reported]:
    """The venue's answer to a market order in two: four tenths of its fill, and all of it."""
    (fill,) = report.fills
    first, rest = _part(fill, "1", Decimal("0.4")), _part(fill, "2", Decimal("0.6"))
    partial = replace(report, state=OrderState.PARTIAL, filled_quantity=first.quantity, fills=(first,))
    return partial, replace(report, fills=(first, rest))


def _part(fill: Fill, name: str, share: Decimal) -> Fill:
    return replace(fill, trade_id=f"{fill.trade_id}-{name}", quantity=fill.quantity * share, fee=fill.fee * share)


async def answering(pieces: Pieces, answer: Callable[[UUID, Reported], Awaitable[Reported]]) -> Pieces:
    """The pieces on which the venue's answer to an order comes as `answer` makes it."""
    client = await pieces.connections.client(pieces.broker_id)

    async def place_order(request: OrderRequest, *, guard: Any) -> Reported:
        report = await client.place_order(request, guard=guard)
        (row,) = await pieces.rows("SELECT id FROM orders WHERE client_order_id = $1", request.client_order_id)
        return await answer(row["id"], report)

    desk, _ = await scripted(pieces.desk, pieces.broker_id, place_order=place_order)
    return replace(pieces, desk=desk)


async def assert_all_is_counted(pieces: Pieces, order_id: UUID, *, fills: int) -> None:
    order = await pieces.order(order_id)
    assert (order.state, order.filled_quantity, order.fills_quantity) == (OrderState.FILLED, Decimal("0.01"), Decimal("0.01"))
    assert len(await pieces.rows("SELECT 1 FROM fills WHERE order_id = $1", order_id)) == fills
    assert (await position(pieces))["quantity"] == Decimal("0.01998"), "twice 0.01, less the fee of a thousandth"


async def test_a_partial_answer_and_what_the_stream_tells_afterwards_are_counted_once(ready: Pieces) -> None:
    later: list[Reported] = []

    async def answer(_: UUID, report: Reported) -> Reported:
        partial, whole = parts(report)
        later.append(whole)
        return partial

    order = (await (await answering(ready, answer)).submit()).order
    assert (order.state, order.fills_quantity) == (OrderState.PARTIAL, Decimal("0.004"))
    for _ in range(2):
        await record(ready.desk, order.id, later[0])
    await assert_all_is_counted(ready, order.id, fills=2)
    await ready.filled(quantity="0.002")
    assert (await position(ready))["quantity"] == Decimal("0.021978"), "the guess of the position was not believed"


@pytest.mark.parametrize("heard", ["part", "all", "both"])
@pytest.mark.parametrize("answered", ["nothing", "part"])
async def test_an_older_answer_that_comes_after_the_streams_report_undoes_nothing(ready: Pieces, heard: str, answered: str) -> None:
    async def answer(order_id: UUID, report: Reported) -> Reported:
        partial, whole = parts(report)
        for each in {"part": [partial], "all": [whole], "both": [partial, whole]}[heard]:
            await record(ready.desk, order_id, each)
        nothing = replace(report, state=OrderState.OPEN, filled_quantity=Decimal(0), average_price=None, fills=())
        return {"nothing": nothing, "part": partial}[answered]

    order = (await (await answering(ready, answer)).submit()).order
    if heard == "part":
        assert (order.state, order.fills_quantity) == (OrderState.PARTIAL, Decimal("0.004"))
    else:
        await assert_all_is_counted(ready, order.id, fills=2)


async def test_the_answer_and_the_streams_report_at_one_instant_are_counted_once(ready: Pieces) -> None:
    async with asyncio.TaskGroup() as group:

        async def answer(order_id: UUID, report: Reported) -> Reported:
            partial, whole = parts(report)
            for each in (whole, partial):
                group.create_task(record(ready.desk, order_id, each))
            return partial

        working = await answering(ready, answer)
        found = await asyncio.gather(*(working.submit() for _ in range(8)))
    (books,) = await ready.rows("SELECT count(*) AS fills, sum(quantity) AS quantity FROM fills")
    assert (books["fills"], books["quantity"]) == (17, Decimal("0.09"))
    assert {(await ready.order(each.order.id)).state for each in found} == {OrderState.FILLED}
    assert (await position(ready))["quantity"] == Decimal("0.08991")


async def test_a_position_that_was_closed_and_opened_anew_elsewhere_is_not_the_one_that_was_remembered(ready: Pieces) -> None:
    await ready.filled()
    async with another_engine(ready) as other:
        await other.submit(other.intent(Side.SELL, None, close_position=True))
        await other.filled(quantity="0.004")
        await ready.filled(quantity="0.002")
    rows = await ready.rows("SELECT quantity FROM positions WHERE status <> 'closed'")
    assert [row["quantity"] for row in rows] == [Decimal("0.005994")]
