import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.core.clock import ManualClock
from app.exchanges.circuit import UNREACHED_AT_MOST, Circuit, CircuitState, Reason

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Time:
    """Wall and monotonic time that move together."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds

    def go(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def circuit(time: Time) -> Circuit:
    return Circuit("binance", clock=time.clock, monotonic=time)


def test_a_ban_opens_it_until_the_venue_said_and_a_question_then_decides(circuit: Circuit, time: Time) -> None:
    circuit.trip(Reason.BANNED, 600)

    assert (circuit.state, circuit.reason, circuit.opened_at) == (CircuitState.OPEN, Reason.BANNED, NOON)
    assert circuit.until == NOON + timedelta(minutes=10)
    time.go(599)
    due = [circuit.is_due]
    time.go(1)
    due.append(circuit.is_due)
    assert due == [False, True]
    circuit.ask()
    asking = circuit.state
    circuit.close()
    assert asking is CircuitState.HALF_OPEN
    assert circuit.is_closed
    assert [circuit.reason, circuit.opened_at, circuit.until] == [None, None, None]


def test_a_few_requests_that_do_not_get_there_are_no_outage(circuit: Circuit) -> None:
    for _ in range(UNREACHED_AT_MOST - 1):
        circuit.unreached()
    circuit.reached()
    for _ in range(UNREACHED_AT_MOST - 1):
        circuit.unreached()
    assert circuit.is_closed

    circuit.unreached()
    assert circuit.reason is Reason.UNREACHABLE


def test_each_question_that_fails_makes_the_next_wait_longer_and_it_is_still_open_since_the_first(circuit: Circuit, time: Time) -> None:
    for _ in range(UNREACHED_AT_MOST):
        circuit.unreached()
    waits = []
    for _ in range(8):
        waits.append(circuit.until_s - time.seconds)
        time.go(waits[-1])
        circuit.ask()
        circuit.unreached()

    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert circuit.opened_at == NOON


def test_an_answer_ends_an_outage_but_no_ban(circuit: Circuit) -> None:
    circuit.trip(Reason.UNREACHABLE)
    circuit.reached()
    assert circuit.is_closed

    circuit.trip(Reason.BANNED, 100)
    circuit.reached()
    assert not circuit.is_closed


def test_open_already_it_can_only_be_prolonged(circuit: Circuit, time: Time) -> None:
    circuit.trip(Reason.BANNED, 100)
    circuit.trip(Reason.RATE_LIMITED, 5)
    assert (circuit.reason, circuit.until_s - time.seconds) == (Reason.BANNED, 100)

    circuit.trip(Reason.BANNED, 300)
    assert circuit.until_s - time.seconds == 300


def test_one_line_is_logged_when_it_opens_and_one_when_it_closes(circuit: Circuit, time: Time) -> None:
    with capture_logs() as lines:
        for _ in range(50):
            circuit.trip(Reason.RATE_LIMITED, 10)
        time.go(10)
        circuit.ask()
        circuit.trip(Reason.RATE_LIMITED, 20)
        time.go(20)
        circuit.ask()
        circuit.close()
        circuit.close()

    assert [(line["event"], line["exchange"]) for line in lines] == [
        ("exchange_circuit_opened", "binance"),
        ("exchange_circuit_closed", "binance"),
    ]
    assert lines[1]["after_s"] == 30


@pytest.mark.asyncio
async def test_those_who_wait_go_by_right_when_it_closes() -> None:
    circuit = Circuit("binance", clock=ManualClock(NOON))
    circuit.trip(Reason.RATE_LIMITED, 60)
    order: list[int] = []

    async def one(rank: int) -> None:
        await circuit.hold(rank)
        order.append(rank)

    async with asyncio.TaskGroup() as group:
        for rank in (5, 3, 0, 4, 1, 2):
            group.create_task(one(rank))
        await asyncio.sleep(0)
        circuit.close()

    assert order == [0, 1, 2, 3, 4, 5]


@pytest.mark.asyncio
async def test_when_it_is_due_the_first_by_right_asks_alone_and_hands_on_if_it_gives_up() -> None:
    circuit = Circuit("binance", clock=ManualClock(NOON))
    circuit.trip(Reason.RATE_LIMITED, 0.01)
    woken: list[int] = []
    first_asks = asyncio.Event()

    async def one(rank: int) -> None:
        await circuit.hold(rank)
        woken.append(rank)
        first_asks.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(rank)) for rank in (2, 0, 1)]
        await asyncio.wait_for(first_asks.wait(), 5)
        await asyncio.sleep(0.02)
        assert woken == [0]
        circuit.close()
    assert woken == [0, 1, 2]
    assert all(task.done() for task in tasks)
