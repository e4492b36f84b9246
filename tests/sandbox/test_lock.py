"""What a locked worker looks like from outside and from inside."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from app.sandbox.cell import Cause, Cell, CellEnded, End
from app.sandbox.keeper import ENVIRONMENT, Keeper
from app.sandbox.lock.sequence import FIRST_UID
from app.sandbox.memory import sealed_candles
from app.sandbox.messages import Described, Failed
from app.sandbox.orders import Layers, Order
from tests.sandbox.conftest import candles, frame, probed, reply_of, until

pytestmark = pytest.mark.asyncio
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into what is locked, and has users to give away")
ROWS = 200


@pytest_asyncio.fixture
async def cell(keeper: Keeper) -> AsyncIterator[Cell]:
    made = await keeper.spawn(Order(is_probe=True))
    yield made
    made.kill(Cause.RELEASED)
    await made.until_ended()


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """Return the soft and the hard limits of a process."""
    found = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        name, soft, hard = line[:26].strip().lower(), *line[26:].split()[:2]
        found[name.removeprefix("max ")] = (soft, hard)
    return found


def descriptors_of(pid: int) -> dict[int, str]:
    return {int(path.name): os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}


def oom_score_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def test_it_has_the_filter_and_no_rights(cell: Cell) -> None:
    seen = status(cell.pid)
    assert (seen["NoNewPrivs"], seen["Seccomp"], seen["Threads"]) == ("1", "2", "1")
    assert {int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@as_root
async def test_it_is_another_user_than_the_server_and_than_other_workers(keeper: Keeper, cell: Cell) -> None:
    other = await keeper.spawn(Order())
    users = []
    for pid in (cell.pid, other.pid):
        seen = status(pid)
        assert len(set(seen["Uid"].split())) == len(set(seen["Gid"].split())) == 1
        assert (seen["Groups"], int(seen["CapBnd"], 16)) == ("", 0)
        users.append(int(seen["Uid"].split()[0]))
    other.kill(Cause.RELEASED)
    assert len(set(users)) == 2
    assert min(users) >= FIRST_UID


@as_root
async def test_a_user_is_given_to_the_next_worker_only_after_the_last_one_died(keeper: Keeper) -> None:
    first = await keeper.spawn(Order())
    user = status(first.pid)["Uid"]
    first.kill(Cause.RELEASED)
    await first.until_ended()
    second = await keeper.spawn(Order())
    assert status(second.pid)["Uid"] == user
    second.kill(Cause.RELEASED)


async def test_two_sandboxd_on_one_machine_give_out_other_users(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = []
    for pid in (4_000, 4_001):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        slots.append(set(Keeper()._my_slots))
    monkeypatch.undo()
    assert not slots[0] & slots[1]


@as_root
async def test_it_has_its_socket_open_and_nothing_else(cell: Cell) -> None:
    opened = descriptors_of(cell.pid)
    assert {fd: opened[fd] for fd in (0, 1, 2)} == dict.fromkeys((0, 1, 2), "/dev/null")
    assert opened.keys() == {0, 1, 2, 3}
    assert opened[3].startswith("socket:")


async def test_it_has_limits_that_it_cannot_raise(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(is_probe=True, life_cpu_s=77))
    limits = limits_of(cell.pid)
    for name in ("core file size", "file size", "processes", "locked memory", "msgqueue size"):
        assert limits[name] == ("0", "0"), name
    assert limits["open files"] == ("16", "16")
    assert limits["pending signals"] == ("8", "8")
    assert limits["cpu time"] == ("77", "77")
    soft, hard = map(int, limits["address space"])
    used = psutil.Process(cell.pid).memory_info().vms
    assert used < soft == hard <= used + (257 << 20)
    told = await reply_of(cell, "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (17, 17))")
    assert isinstance(told, Failed)
    cell.kill(Cause.RELEASED)


async def test_it_dies_before_anybody_else_when_memory_runs_out_and_waits_for_the_server(cell: Cell) -> None:
    assert oom_score_of(cell.pid) == 1_000
    assert psutil.Process(cell.pid).nice() == psutil.Process().nice() + 5


async def test_a_backtest_runs_when_nobody_else_wants_the_processor(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(nice=15, is_batch=True))
    assert os.sched_getscheduler(cell.pid) == os.SCHED_BATCH
    cell.kill(Cause.RELEASED)


async def test_it_sees_the_fixed_variables_and_nothing_of_the_server(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERNET_KEY", "a-secret-of-the-server")
    fresh = Keeper()
    try:
        seen = await probed(fresh, "import os\nresult = sorted(os.environ)")
    finally:
        await fresh.close()
    assert seen == str(sorted(ENVIRONMENT))


async def test_random_numbers_differ_between_workers(keeper: Keeper) -> None:
    drawn = {str(await probed(keeper, "import random, numpy as np\nresult = (random.random(), np.random.random())")) for _ in range(3)}
    assert len(drawn) == 3


async def test_it_dies_with_its_zygote() -> None:
    keeper = Keeper()
    zygote = (await keeper.facts()).pid
    cell = await keeper.spawn(Order())
    process = psutil.Process(cell.pid)
    os.kill(zygote, signal.SIGKILL)
    assert (await cell.until_ended()).cause is Cause.ZYGOTE
    psutil.wait_procs([process], timeout=5)
    assert not process.is_running()
    another = await keeper.spawn(Order())
    assert (await keeper.facts()).pid != zygote
    another.kill(Cause.RELEASED)
    await keeper.close()


@pytest.mark.parametrize(
    ("source", "signal_number"),
    [
        ("import socket; socket.socket()", signal.SIGSYS),
        ("import os; os.fork()", signal.SIGSYS),
        ("import os; os.kill(os.getppid() if False else 1, 0)", signal.SIGSYS),
        ("import os; os.abort()", signal.SIGABRT),
        ("import ctypes; ctypes.string_at(1)", signal.SIGSEGV),
    ],
)
async def test_the_signal_that_killed_it_is_known(keeper: Keeper, source: str, signal_number: int) -> None:
    seen = await probed(keeper, source)
    assert isinstance(seen, End)
    assert (seen.cause, seen.signal) == (Cause.SIGNAL, signal_number)


async def test_what_a_strategy_may_not_do_it_is_told_in_words(keeper: Keeper) -> None:
    told = await probed(keeper, "import sys\nfrom app.sandbox.worker import _forbid\nsys.addaudithook(_forbid)\nopen('/etc/passwd')")
    assert told == "PermissionError: a strategy has no access to files (open)"


@pytest.mark.parametrize("layer", ["seccomp", "landlock"])
async def test_one_wall_alone_keeps_files_closed(keeper: Keeper, layer: str) -> None:
    only = Layers(seccomp=layer == "seccomp", landlock=layer == "landlock")
    assert str(await probed(keeper, "result = open('/etc/passwd').read()", layers=only)).startswith("PermissionError")


async def test_without_walls_the_same_file_is_open(keeper: Keeper) -> None:
    """Otherwise the tests above would prove nothing."""
    assert str(await probed(keeper, "result = open('/etc/passwd').read()", layers=Layers(seccomp=False, landlock=False))).startswith(
        "root:"
    )


async def test_a_lock_that_does_not_close_runs_nothing(keeper: Keeper) -> None:
    with pytest.raises(CellEnded) as caught:
        await keeper.spawn(Order(frames=[frame(ROWS)]))  # without the memory that belongs to it
    assert caught.value.end.cause is Cause.NOT_LOCKED
    assert "the memory of 0" in caught.value.end.detail


async def test_why_a_lock_did_not_close_is_told_though_its_end_is_heard_at_once(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Cell._on_readable

    def read_and_buried(cell: Cell) -> None:
        read(cell)
        cell.bury(70, 0.0)

    monkeypatch.setattr(Cell, "_on_readable", read_and_buried)
    with pytest.raises(CellEnded) as caught:
        await keeper.spawn(Order(frames=[frame(ROWS)]))
    assert caught.value.end.cause is Cause.NOT_LOCKED


async def test_memory_that_is_too_short_for_its_candles_is_not_mapped(keeper: Keeper) -> None:
    fd = sealed_candles(candles(10))
    with pytest.raises(CellEnded) as caught:
        await keeper.spawn(Order(frames=[frame(11)]), [fd])
    os.close(fd)
    assert caught.value.end.cause is Cause.NOT_LOCKED


HOSTILE_TO_CANDLES = """
import ctypes, gc, numpy as np
libc = ctypes.CDLL(None, use_errno=True)
mapped = [it for it in gc.get_objects() if type(it).__name__ == 'mmap']
(one,) = mapped or [None]
array = np.frombuffer(one, dtype=np.int64)
"""


@pytest.mark.parametrize(
    ("attack", "outcome"),
    [
        ("array[0] = 7", "ValueError"),
        ("array.flags.writeable = True", "ValueError"),
        (
            "libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]\n"
            "if libc.mprotect(array.ctypes.data & ~4095, 4096, 3): raise OSError(ctypes.get_errno(), 'no')\narray[0] = 7",
            "PermissionError",
        ),
        ("ctypes.memset(array.ctypes.data, 7, 64)", "SIGSEGV"),
    ],
)
async def test_candles_cannot_be_changed_by_a_worker(keeper: Keeper, attack: str, outcome: str) -> None:
    known = candles(ROWS)
    fd = sealed_candles(known)
    before = os.pread(fd, 1 << 20, 0)
    try:
        cell = await keeper.spawn(Order(is_probe=True, frames=[frame(ROWS)]), [fd])
        reply = await reply_of(cell, HOSTILE_TO_CANDLES + attack)
        assert isinstance(reply, Failed)
        seen = reply.kind
        cell.kill(Cause.RELEASED)
    except CellEnded as ended:
        seen = signal.Signals(ended.end.signal).name
    assert os.pread(fd, 1 << 20, 0) == before
    os.close(fd)
    assert seen == outcome


async def test_a_worker_reads_the_candles_that_were_given_to_it(keeper: Keeper) -> None:
    known = candles(ROWS)
    fd = sealed_candles(known)
    cell = await keeper.spawn(Order(is_probe=True, frames=[frame(ROWS)]), [fd])
    os.close(fd)
    reply = await reply_of(cell, HOSTILE_TO_CANDLES + "result = array[1], array.view(np.float64)[-1]")
    assert getattr(reply, "docstring", "").startswith("(np.int64(3600000), np.float64(1.0))")
    cell.kill(Cause.RELEASED)


async def test_after_a_day_new_workers_get_a_new_zygote_and_the_old_ones_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper()
    watching = asyncio.get_running_loop().create_task(keeper.look())
    old = await keeper.spawn(Order(is_probe=True))
    first = psutil.Process((await keeper.facts()).pid)
    monkeypatch.setattr("app.sandbox.keeper._ZYGOTE_AGE_S", 0.0)
    new = await keeper.spawn(Order(is_probe=True))
    monkeypatch.undo()
    assert psutil.Process(new.pid).ppid() != first.pid
    assert isinstance(await reply_of(old, "result = 1"), Described)
    assert {cell.pid for cell in keeper.cells} == {old.pid, new.pid}
    old.kill(Cause.RELEASED)
    await until(lambda: not first.is_running())
    assert isinstance(await reply_of(new, "result = 1"), Described)
    watching.cancel()
    await keeper.close()
    await until(lambda: not psutil.pid_exists(new.pid))


async def test_a_worker_whose_orderer_went_away_is_not_taken_for_the_next_one(keeper: Keeper) -> None:
    zygote = psutil.Process((await keeper.facts()).pid)
    before = {process.pid for process in zygote.children()}
    for wait_s in (0.0, 0.001, 0.002, 0.004, 0.006, 0.008):
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                (await keeper.spawn(Order(is_probe=True))).kill(Cause.RELEASED)
        cell = await keeper.spawn(Order(is_probe=True))
        seen = await reply_of(cell, "import os\nresult = os.getpid()")
        assert getattr(seen, "docstring", "") == str(cell.pid)
        cell.kill(Cause.RELEASED)
        await cell.until_ended()
    await until(lambda: {process.pid for process in zygote.children()} <= before)
