"""The clocks: on the wall, of the processor, and of a worker that nobody asks anything."""

import asyncio
import os
import signal
import time

import pytest

from app.sandbox.cell import Cause, End
from app.sandbox.keeper import Keeper
from app.sandbox.messages import Described
from app.sandbox.orders import Order
from tests.sandbox.conftest import asked, probed, reply_of

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
        "sum(range(10**12))",
        "x = 3 ** (10**9)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass",
        "import numpy as np\na = np.ones((3000, 3000))\nwhile True: a @ a",
    ],
)
async def test_the_wall_clock_ends_whatever_runs(keeper: Keeper, source: str) -> None:
    began = time.monotonic()
    end = await probed(keeper, source, wall_s=0.4)
    assert isinstance(end, End)
    assert end.cause is Cause.WALL
    assert time.monotonic() - began < 3


LINGERS = """
import os
real = os.write
def answer_then_compute(fd, data):
    done = real(fd, data)
    while True: pass
os.write = answer_then_compute
"""


async def test_who_computes_after_its_answer_is_found_out(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(is_probe=True))
    assert isinstance(await reply_of(cell, LINGERS), Described)
    end = await asyncio.wait_for(cell.until_ended(), 5)
    assert end.cause is Cause.IDLE_CPU
    assert "while nobody asked" in end.detail


async def test_who_waits_for_the_next_request_lives_on(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(is_probe=True))
    for _ in range(3):
        await reply_of(cell, "x = sum(range(2_000_000))")
        await asyncio.sleep(0.4)
    assert cell.end is None
    cell.kill(Cause.RELEASED)


async def test_the_kernel_ends_a_worker_whose_life_is_used_up(keeper: Keeper) -> None:
    """Even were sandboxd stopped: here it would wait for half a minute."""
    cell = await keeper.spawn(Order(is_probe=True, life_cpu_s=1))
    asking = asyncio.get_running_loop().create_task(cell.ask(asked("while True: pass"), 1, wall_s=30, cpu_s=30))
    end = await asyncio.wait_for(cell.until_ended(), 15)
    assert end.cause is Cause.CPU
    assert end.signal in {signal.SIGXCPU, signal.SIGKILL}
    assert 0.5 < end.cpu_s < 2.5
    await asyncio.wait([asking])
    assert asking.exception() is not None


async def test_what_a_worker_used_is_told_when_it_ends(keeper: Keeper) -> None:
    end = await probed(keeper, "while True: pass", wall_s=0.5)
    assert isinstance(end, End)
    assert 0.01 < end.cpu_s < 1


async def test_the_processor_time_of_a_living_worker_can_be_read(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(is_probe=True))
    before = cell.cpu_s()
    await reply_of(cell, "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass")
    assert 0.15 < cell.cpu_s() - before < 1
    cell.kill(Cause.RELEASED)
    await cell.until_ended()
    assert cell.cpu_s() == 0


async def test_one_hostile_worker_does_not_hold_up_another(keeper: Keeper) -> None:
    victim = await keeper.spawn(Order(is_probe=True))
    hostile = [asyncio.get_running_loop().create_task(probed(keeper, "while True: pass", wall_s=6)) for _ in range(3)]
    await asyncio.sleep(0.3)
    for _ in range(20):
        assert isinstance(await reply_of(victim, "result = 1"), Described)
    assert not any(task.done() for task in hostile), "it was answered while they ran, and not after them"
    for end in await asyncio.gather(*hostile):
        assert isinstance(end, End)
        assert end.cause is Cause.WALL
    assert victim.end is None
    victim.kill(Cause.RELEASED)


async def test_a_stopped_worker_is_killed_as_well(keeper: Keeper) -> None:
    """SIGSTOP from outside: what does not run uses no processor, and still has to answer."""
    cell = await keeper.spawn(Order(is_probe=True))
    os.kill(cell.pid, signal.SIGSTOP)
    with pytest.raises(Exception, match="no answer within"):
        await reply_of(cell, "pass", wall_s=0.3)
