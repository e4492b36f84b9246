"""The jail as the rest of the application uses it, with a sandboxd of its own."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import pytest

from app.errors import JailBusy, JailClosed, StrategyKilled, StrategyPaused
from app.sandbox.cell import Cause
from app.sandbox.frames import decision_place
from app.sandbox.jail import Jail
from app.sandbox.link import Level
from app.sandbox.messages import Costs, Decide, Decision, Described, Failed, Holding, Load, Ran, Run
from app.sandbox.quotas import Limits, Purpose, Quotas, Turns
from app.sandbox.terms import JailConfig
from tests.sandbox.conftest import Notes, candles, frame, running_jail, strategy, until

pytestmark = pytest.mark.asyncio
BACKTEST, LIVE, VALIDATION = Purpose.BACKTEST, Purpose.LIVE, Purpose.VALIDATION
ROWS = 200
FLAT = Holding(quantity=0, entry_price=0, equity=10_000)
FOREVER = "while True: pass"


async def kill(jail: Jail, purpose: Purpose = LIVE, *, user: object = None, strategy_id: str = "") -> StrategyKilled:
    """Run a strategy that never ends and return the error."""
    with pytest.raises(StrategyKilled) as caught:
        async with jail.worker(user_id=user or uuid4(), purpose=purpose, strategy=strategy_id) as worker:  # type: ignore[arg-type]
            await worker.ask(Load(source=FOREVER), wall_s=0.2)
    return caught.value


async def test_a_strategy_is_loaded_run_and_its_decisions_read(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=BACKTEST, frames=[(frame(ROWS), candles(ROWS))], result_rows=ROWS) as worker:
        described = await worker.ask(Load(source=strategy()))
        assert isinstance(described, Described)
        assert described.class_name == "Sample"
        assert await worker.ask(Run(start=0, costs=Costs())) == Ran(rows=ROWS)
        decisions = worker.decisions()
    assert set(np.unique(decisions.flags)) >= {1, 4}
    assert len(decisions) == ROWS


async def test_a_live_strategy_decides_at_each_candle_that_closes(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=LIVE, frames=[(frame(ROWS), candles(ROWS))]) as worker:
        await worker.ask(Load(source=strategy()))
        up = await worker.ask(Decide(candle=(ROWS * 3_600_000, 101, 102, 100, 101.5, 1), holding=FLAT))
        down = await worker.ask(Decide(candle=((ROWS + 1) * 3_600_000, 99, 99, 98, 98.5, 1), holding=FLAT))
    assert isinstance(up, Decision)
    assert isinstance(down, Decision)
    assert (up.action, down.action) == ("long", "none")


async def test_how_far_a_run_has_come_and_what_it_decided_so_far_can_be_seen_meanwhile(jail: Jail) -> None:
    rows = 50_000
    slow = strategy("for _ in range(200): pass")
    async with jail.worker(user_id=uuid4(), purpose=BACKTEST, frames=[(frame(rows), candles(rows))], result_rows=rows) as worker:
        await worker.ask(Load(source=slow))
        assert worker.progress() == 0
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(worker.ask(Run(start=0, costs=Costs())))
            await until(lambda: worker.progress() > 0)
            seen = worker.progress()
            so_far = worker.decisions(seen)
            assert not asked.done()
        assert worker.progress() == rows
        whole = await worker.decided()
    assert 0 < seen < rows
    assert np.array_equal(so_far.flags, whole.flags[:seen])
    assert so_far.flags.any()


async def test_what_the_users_code_raises_is_an_answer(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=VALIDATION) as worker:
        failed = await worker.ask(Load(source="1 / 0"))
        assert isinstance(failed, Failed)
        assert failed.kind == "ZeroDivisionError"
        assert isinstance(await worker.ask(Load(source=strategy())), Described), "the worker is still good"


async def test_who_is_killed_is_told_why_and_it_is_written_down(jail: Jail, notes: Notes) -> None:
    user = uuid4()
    error = await kill(jail, VALIDATION, user=user)
    assert (error.code, error.context["reason"]) == ("STRATEGY_KILLED", "wall")
    await asyncio.sleep(0.05)
    (noted,) = [it for it in notes if it.user_id == user]
    assert (noted.purpose, noted.cause, noted.is_paused) == (VALIDATION, Cause.WALL, False)


async def test_a_worker_that_was_killed_answers_nothing_more(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=VALIDATION) as worker:
        for _ in range(2):
            with pytest.raises(StrategyKilled):
                await worker.ask(Load(source=FOREVER), wall_s=0.2)


async def test_a_worker_ends_with_its_block(jail: Jail) -> None:
    assert jail.pid is not None
    sandboxd = psutil.Process(jail.pid)
    before = {process.pid for process in sandboxd.children(recursive=True)}
    async with jail.worker(user_id=uuid4(), purpose=LIVE):
        (pid,) = {process.pid for process in sandboxd.children(recursive=True)} - before
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not psutil.pid_exists(pid)


async def test_a_live_strategy_that_is_killed_three_times_is_paused(jail: Jail, notes: Notes) -> None:
    user = uuid4()
    for _ in range(3):
        await kill(jail, user=user, strategy_id="a")
    with pytest.raises(StrategyPaused):
        async with jail.worker(user_id=user, purpose=LIVE, strategy="a"):
            pass
    async with jail.worker(user_id=user, purpose=LIVE, strategy="b"):
        pass
    await asyncio.sleep(0.05)
    assert [it.is_paused for it in notes if it.user_id == user] == [False, False, True]


async def test_two_users_at_once_and_one_is_hostile(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=LIVE, frames=[(frame(ROWS), candles(ROWS))]) as honest:
        await honest.ask(Load(source=strategy()))
        decide = Decide(candle=None, holding=FLAT)
        expected = await honest.ask(decide)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(kill(jail, BACKTEST))
            for _ in range(20):
                assert await honest.ask(decide, wall_s=2) == expected
                await asyncio.sleep(0.02)


async def test_results_that_no_strategy_can_write_are_a_violation(jail: Jail, notes: Notes) -> None:
    """The guest checks what strategies decide; who gets around the guest is found out here."""
    user = uuid4()
    async with jail.worker(user_id=user, purpose=BACKTEST, frames=[(frame(ROWS), candles(ROWS))], result_rows=ROWS) as worker:
        assert worker.results is not None
        os.pwrite(worker.results[0], b"\x40", decision_place(-1, ROWS) + 5)
        with pytest.raises(StrategyKilled):
            worker.decisions()
        with pytest.raises(StrategyKilled):
            await worker.ask(Load(source=strategy()))
    await asyncio.sleep(0.05)
    assert [it.cause for it in notes if it.user_id == user] == [Cause.PROTOCOL]


async def test_candles_that_do_not_fit_their_frame_are_refused(jail: Jail) -> None:
    with pytest.raises(ValueError, match="199"):
        async with jail.worker(user_id=uuid4(), purpose=LIVE, frames=[(frame(ROWS), candles(199))]):
            pass


async def test_nothing_is_left_open_in_the_server(jail: Jail) -> None:
    async def once() -> None:
        async with jail.worker(user_id=uuid4(), purpose=VALIDATION, frames=[(frame(ROWS), candles(ROWS))], result_rows=ROWS) as worker:
            await worker.ask(Load(source=strategy()))

    await once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await once()
        await kill(jail)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_processor_time_is_counted_for_backtests(jail: Jail) -> None:
    user = uuid4()
    await kill(jail, BACKTEST, user=user)
    await until(lambda: jail.quotas.used_today_s(user) > 0)
    assert 0.005 < jail.quotas.used_today_s(user) < 2


async def test_a_sandboxd_that_is_killed_is_replaced_and_says_whose_fault_it_was(notes: Notes) -> None:
    mine: Notes = []
    async with running_jail(notes=mine) as jail:
        await jail.ready()
        first = jail.pid
        assert first is not None
        children = psutil.Process(first).children(recursive=True)
        async with jail.worker(user_id=uuid4(), purpose=LIVE) as worker:
            asking = asyncio.get_running_loop().create_task(worker.ask(Load(source=FOREVER), wall_s=20))
            await asyncio.sleep(0.2)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(JailClosed):
                await asking
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert (len(gone) > 0, alive) == (True, []), "zygote and workers go with it"
        async with jail.worker(user_id=uuid4(), purpose=VALIDATION) as worker:
            assert isinstance(await worker.ask(Load(source=strategy())), Described)
        assert jail.pid not in (None, first)
        assert jail.restarts == 1
    assert mine == []


async def test_a_zygote_that_is_killed_takes_its_workers_and_nothing_else(notes: Notes) -> None:
    async with running_jail() as jail:
        await jail.ready()
        sandboxd = psutil.Process(jail.pid)
        async with jail.worker(user_id=uuid4(), purpose=LIVE) as worker:
            (zygote,) = sandboxd.children()
            zygote.kill()
            with pytest.raises(JailClosed):
                await worker.ask(Load(source=FOREVER), wall_s=5)
        async with jail.worker(user_id=uuid4(), purpose=LIVE) as worker:
            assert isinstance(await worker.ask(Load(source=strategy())), Described)
        assert sandboxd.is_running()


async def test_a_sandboxd_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sandbox.jail._SILENT_S", 2.5)
    async with running_jail() as jail:
        await jail.ready()
        first = jail.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        await until(lambda: jail.pid != first)
        await jail.ready()
        assert jail.pid not in (None, first)
        assert not psutil.pid_exists(first)


async def test_nothing_is_started_until_somebody_wants_it() -> None:
    async with running_jail() as jail:
        await asyncio.sleep(0.3)
        assert (jail.pid, jail.level, jail.is_open) == (None, None, False)
        assert jail.summary() == {"level": None, "is_open": False, "workers": 0, "restarts": 0}
        await jail.ready()
        assert jail.is_open


async def test_many_who_want_it_at_once_start_one() -> None:
    async with running_jail() as jail:
        await asyncio.gather(*(jail.ready() for _ in range(5)))
        assert jail.level in (Level.A, Level.B)
        assert jail.pid is not None


async def test_without_a_sandboxd_at_its_socket_strategies_are_not_run(tmp_path: Path) -> None:
    async with running_jail(JailConfig(socket_path=tmp_path / "nobody")) as jail:
        with pytest.raises(JailClosed):
            async with jail.worker(user_id=uuid4(), purpose=LIVE):
                pass
        assert "cannot be reached" in jail.problem


async def test_a_user_has_no_more_workers_than_the_limits_say() -> None:
    user = uuid4()
    async with running_jail(quotas=Quotas(Limits(workers=1))) as jail, jail.worker(user_id=user, purpose=LIVE):
        with pytest.raises(JailBusy):
            async with jail.worker(user_id=user, purpose=LIVE):
                pass
        async with jail.worker(user_id=uuid4(), purpose=LIVE):
            pass


async def test_backtests_leave_a_processor_free_and_live_strategies_never_wait(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "_turns", Turns(1, patience_s=0.2))
    async with jail.worker(user_id=uuid4(), purpose=BACKTEST):
        with pytest.raises(JailBusy, match="processors"):
            async with jail.worker(user_id=uuid4(), purpose=BACKTEST):
                pass
        async with jail.worker(user_id=uuid4(), purpose=LIVE) as worker:
            assert isinstance(await worker.ask(Load(source=strategy())), Described)
    async with jail.worker(user_id=uuid4(), purpose=BACKTEST):
        pass


async def test_who_gives_up_waiting_leaves_nothing_behind(jail: Jail) -> None:
    user = uuid4()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), jail.worker(user_id=user, purpose=BACKTEST) as worker:
            await worker.ask(Load(source=FOREVER), wall_s=30)
    await until(lambda: jail.workers == 0)
    async with jail.worker(user_id=user, purpose=BACKTEST):
        pass


async def test_where_there_is_no_linux_nothing_is_run_and_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sandbox.jail._IS_LINUX", False)
    async with running_jail() as jail:
        with pytest.raises(JailClosed):
            async with jail.worker(user_id=uuid4(), purpose=LIVE):
                pass
        assert jail.problem == "strategies need Linux"
        assert jail.pid is None


async def test_a_mistake_of_the_jail_itself_is_no_end_of_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that fails often enough stops the whole server."""
    async with running_jail() as jail:
        with monkeypatch.context() as patched:
            patched.setattr(Jail, "_keep", lambda *_: 1 / 0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await jail.ready()
            assert jail.restarts > 0
        await jail.ready()
        assert jail.is_open


async def test_who_gives_up_before_there_is_a_worker_leaves_nothing_behind_either(jail: Jail) -> None:
    assert jail.pid is not None
    sandboxd = psutil.Process(jail.pid)
    async with jail.worker(user_id=uuid4(), purpose=LIVE):
        pass
    await until(lambda: jail.workers == 0 and len(sandboxd.children(recursive=True)) == 1)
    before = sandboxd.num_fds() if os.geteuid() == 0 else 0  # sandboxd lets only root look into it
    for wait_s in (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.012):
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s), jail.worker(user_id=uuid4(), purpose=LIVE, frames=[(frame(ROWS), candles(ROWS))]):
                pass
    await until(lambda: jail.workers == 0 and len(sandboxd.children(recursive=True)) == 1)
    assert before == 0 or sandboxd.num_fds() == before
