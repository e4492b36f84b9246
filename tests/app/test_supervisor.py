import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from app.core import supervisor as module
from app.core.events import EventBus
from app.core.outage import is_database_gone
from app.core.supervisor import Beat, Health, Supervisor
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # told by another task in many steps
            await asyncio.sleep(0.005)


async def for_ever(beat: Beat) -> None:
    while True:
        beat()
        await asyncio.sleep(0.01)


async def test_loop_that_fails_is_started_again_and_says_why() -> None:
    starts = 0

    async def fails_once(beat: Beat) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("broken once")
        await for_ever(beat)

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("loop", fails_once)
        await until(lambda: starts == 2)
        health = supervisor.health["loop"]
        assert (health.restarts, health.last_error) == (1, "ValueError: broken once")
        assert health.is_alive


async def test_loop_that_returns_is_started_again() -> None:
    starts = 0

    async def returns(_beat: Beat) -> None:
        nonlocal starts
        starts += 1

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("loop", returns)
        await until(lambda: starts == 2)
        assert supervisor.health["loop"].last_error == "it returned; it should run until cancelled"


async def test_one_broken_loop_does_not_disturb_another() -> None:
    async def fails(_beat: Beat) -> None:
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("broken", fails)
        supervisor.start("well", for_ever)
        await until(lambda: supervisor.health["broken"].restarts >= 1)
        assert (supervisor.health["well"].restarts, supervisor.health["well"].is_alive) == (0, True)


async def test_process_is_asked_to_stop_when_a_loop_fails_for_good() -> None:
    fatal = asyncio.Event()
    starts = 0

    async def fails(_beat: Beat) -> None:
        nonlocal starts
        starts += 1
        raise ValueError("broken for good")

    async with Supervisor(max_restarts=1, on_fatal=fatal.set) as supervisor:
        supervisor.start("loop", fails)
        assert not supervisor.has_failed
        async with asyncio.timeout(5):
            await fatal.wait()
    assert starts == 2
    assert supervisor.has_failed


@row(34)
async def test_outage_of_the_database_is_waited_out_however_long_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pause_s", lambda _: 0.001)
    fatal = asyncio.Event()
    starts = 0

    async def works_after_a_while(beat: Beat) -> None:
        nonlocal starts
        starts += 1
        if starts <= 30:
            raise ExceptionGroup("tasks", [ConnectionRefusedError("no server")])
        await for_ever(beat)

    async with Supervisor(max_restarts=1, on_fatal=fatal.set, is_outage=is_database_gone) as supervisor:
        supervisor.start("loop", works_after_a_while)
        await until(lambda: starts == 31)
        assert (supervisor.health["loop"].restarts, supervisor.has_failed, fatal.is_set()) == (0, False, False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.exceptions.AdminShutdownError("bye"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (ConnectionResetError(), True),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.NumericValueOutOfRangeError("too much"), False),
        (TypeError("odd"), False),
    ],
)
async def test_only_a_database_that_is_away_is_an_outage(error: Exception, *, expected: bool) -> None:
    wrapped = asyncpg_error(error)
    assert (is_database_gone(error), is_database_gone(ExceptionGroup("tasks", [KeyError(), error]))) == (expected, expected)
    assert is_database_gone(wrapped) is expected


def asyncpg_error(error: Exception) -> DBAPIError:
    """As SQLAlchemy wraps what its driver raised."""
    driver_error = Exception(str(error))
    driver_error.__cause__ = error
    return DBAPIError("SELECT 1", None, driver_error)


async def test_loop_that_was_well_for_long_starts_counting_anew() -> None:
    fatal = asyncio.Event()

    async def works_a_while(_beat: Beat) -> None:
        await asyncio.sleep(0.02)
        raise ValueError("now and then")

    async with Supervisor(max_restarts=1, steady_after_s=0.01, on_fatal=fatal.set) as supervisor:
        supervisor.start("loop", works_a_while)
        await asyncio.sleep(0.7)
        assert not fatal.is_set()


async def test_silent_loop_is_not_alive() -> None:
    async def hangs(_beat: Beat) -> None:
        await asyncio.Event().wait()

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("hung", hangs, limit_s=0.05)
        assert supervisor.health["hung"].is_alive
        await until(lambda: not supervisor.health["hung"].is_alive)
        assert supervisor.health["hung"].restarts == 0
    assert Health(beat_at=0.0, limit_s=1.0).age_s > 0


async def test_end_cancels_every_loop_and_lets_it_clean_up() -> None:
    cleaned: list[str] = []

    def loop(name: str) -> module.Loop:
        async def run(beat: Beat) -> None:
            try:
                await for_ever(beat)
            finally:
                await asyncio.sleep(0)
                cleaned.append(name)

        return run

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        for name in ("first", "second"):
            supervisor.start(name, loop(name))
        await asyncio.sleep(0.02)
    assert sorted(cleaned) == ["first", "second"]


async def test_end_does_not_wait_for_ever_for_a_stubborn_loop() -> None:
    free = asyncio.Event()

    async def stubborn(_beat: Beat) -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(5):
        async with Supervisor(stop_timeout_s=0.05, on_fatal=lambda: None) as supervisor:
            supervisor.start("stubborn", stubborn)
            await asyncio.sleep(0.01)
    before = asyncio.all_tasks()
    free.set()
    await asyncio.sleep(0.05)
    assert "stubborn" not in {task.get_name() for task in before & asyncio.all_tasks()}, "what ends late is not begun again"


@dataclass(frozen=True)
class Happened:
    number: int


@dataclass(frozen=True)
class Else:
    number: int


async def test_event_reaches_those_who_asked_for_its_kind_while_they_listen() -> None:
    bus = EventBus()
    with bus.subscribe(Happened) as one, bus.subscribe(Happened, Else) as both:
        bus.publish(Happened(1))
        bus.publish(Else(2))
        assert (await one.get(), one.get_nowait()) == (Happened(1), None)
        assert (both.get_nowait(), both.get_nowait(), both.get_nowait()) == (Happened(1), Else(2), None)
    bus.publish(Happened(3))
    assert one.get_nowait() is None


async def test_slow_reader_loses_the_oldest_and_holds_nobody_up() -> None:
    bus = EventBus()
    with bus.subscribe(Happened, size=2) as slow:
        for number in range(5):
            bus.publish(Happened(number))
        assert (slow.dropped, slow.get_nowait(), slow.get_nowait()) == (3, Happened(3), Happened(4))
