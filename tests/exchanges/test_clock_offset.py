from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.errors import NotSent
from app.exchanges.clock_offset import ClockOffset

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Machine:
    """This machine's two clocks and the venue's. `travel_s` are the travel times of the next questions; the venue answers half-way."""

    def __init__(self, *, ahead_ms: float) -> None:
        self.seconds = 5.0
        self.set_back_s = 0.0
        self.ahead_ms = ahead_ms
        self.travel_s: list[float] = []
        self.asked = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds - self.set_back_s)

    def monotonic(self) -> float:
        return self.seconds

    async def read_time(self) -> int:
        self.asked += 1
        travel_s = self.travel_s.pop(0) if self.travel_s else 0.05
        self.seconds += travel_s
        venue = START.timestamp() * 1000 + (self.seconds - travel_s / 2) * 1000 - self.ahead_ms
        return round(venue)


def offset(machine: Machine) -> ClockOffset:
    return ClockOffset("binance", clock=machine, monotonic=machine.monotonic)


@pytest.mark.asyncio
@pytest.mark.parametrize("ahead_ms", [-7_000, -120, 0, 900, 7_200_000])
async def test_the_difference_is_read_whatever_it_is(ahead_ms: float) -> None:
    machine = Machine(ahead_ms=ahead_ms)
    clock = offset(machine)

    await clock.sync(machine.read_time)

    assert clock.offset_ms == pytest.approx(ahead_ms, abs=1)
    assert clock.is_sure
    assert machine.asked == 5


@pytest.mark.asyncio
async def test_one_slow_answer_does_not_spoil_it() -> None:
    machine = Machine(ahead_ms=300)
    machine.travel_s = [0.05, 1.9, 0.05, 8.0, 0.05]
    clock = offset(machine)

    await clock.sync(machine.read_time)

    assert clock.offset_ms == pytest.approx(300, abs=1)


@pytest.mark.asyncio
async def test_too_few_quick_answers_tell_nothing() -> None:
    machine = Machine(ahead_ms=300)
    machine.travel_s = [9.0, 9.0, 9.0]
    clock = offset(machine)

    await clock.sync(machine.read_time)

    assert not clock.is_known


def test_no_order_goes_before_it_was_ever_read() -> None:
    with pytest.raises(NotSent, match="has not been compared with the exchange's yet") as caught:
        offset(Machine(ahead_ms=0)).require()

    assert caught.value.code == "CLOCK_UNSURE"


@pytest.mark.asyncio
@pytest.mark.parametrize(("set_back_s", "words"), [(-7.0, r"jumped by \+7.0 s"), (7_200.0, r"jumped by -7200.0 s")])
async def test_no_order_goes_after_a_jump_of_the_clock_until_it_is_read_again(set_back_s: float, words: str) -> None:
    machine = Machine(ahead_ms=0)
    clock = offset(machine)
    await clock.sync(machine.read_time)
    machine.seconds += 100
    clock.require()

    machine.set_back_s = set_back_s
    with pytest.raises(NotSent, match=words) as caught:
        clock.require()
    with capture_logs() as lines:
        await clock.sync(machine.read_time)

    assert caught.value.code == "CLOCK_UNSURE"
    clock.require()
    assert clock.offset_ms == pytest.approx(-set_back_s * 1000, abs=1)
    assert [line["event"] for line in lines] == ["clock_stepped"]


@pytest.mark.asyncio
async def test_a_jump_while_it_is_read_does_not_spoil_it() -> None:
    machine = Machine(ahead_ms=0)
    clock = offset(machine)

    async def read_time() -> int:
        if machine.asked == 2:
            machine.set_back_s = -7.0
        return await machine.read_time()

    await clock.sync(read_time)

    assert clock.offset_ms == pytest.approx(7_000, abs=1)


@pytest.mark.asyncio
async def test_it_is_read_at_most_once_a_second_however_many_ask() -> None:
    machine = Machine(ahead_ms=0)
    clock = offset(machine)

    for _ in range(10):
        await clock.sync(machine.read_time)
    assert machine.asked == 5
    machine.seconds += 1.1
    await clock.sync(machine.read_time)

    assert machine.asked == 10
    assert clock.age_s < 0.01


@pytest.mark.asyncio
async def test_a_venue_that_does_not_answer_leaves_what_was_known() -> None:
    machine = Machine(ahead_ms=250)
    clock = offset(machine)
    await clock.sync(machine.read_time)
    machine.seconds += 60

    async def fail() -> int:
        raise ConnectionError

    await clock.sync(fail)

    assert clock.offset_ms == pytest.approx(250, abs=1)
    assert clock.is_sure
    assert clock.age_s == pytest.approx(60)


@pytest.mark.asyncio
async def test_a_venue_whose_clock_steps_is_told_and_followed() -> None:
    machine = Machine(ahead_ms=100)
    clock = offset(machine)
    await clock.sync(machine.read_time)
    machine.ahead_ms = 900
    machine.seconds += 60

    with capture_logs() as lines:
        await clock.sync(machine.read_time)

    assert [(line["event"], line["was_ms"]) for line in lines] == [("venue_clock_stepped", 100)]
    assert clock.offset_ms == pytest.approx(900, abs=1)
    assert clock.is_sure
