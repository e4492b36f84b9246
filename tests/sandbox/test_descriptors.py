"""Descriptors are what a server and sandboxd have few of: whoever has many workers takes them from nobody else."""

import asyncio
import os
import resource
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from app.errors import JailClosed, StrategyKilled
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import MOST_FRAMES, Described, Load
from app.sandbox.quotas import Purpose
from app.sandbox.terms import JailConfig
from app.sandbox.wire import HEADER
from tests.sandbox.attacks.prelude import source
from tests.sandbox.conftest import candles, frame, running_jail, strategy, until

pytestmark = pytest.mark.asyncio


async def test_candles_of_many_markets_cost_the_server_no_descriptor_for_as_long_as_a_worker_lives(jail: Jail) -> None:
    frames = [(frame(), candles())] * MOST_FRAMES
    async with AsyncExitStack() as stack:
        before = psutil.Process().num_fds()
        for _ in range(3):
            worker = await stack.enter_async_context(jail.worker(user_id=uuid4(), purpose=Purpose.LIVE, frames=frames))
            assert isinstance(await worker.ask(Load(source=strategy())), Described)
        assert psutil.Process().num_fds() == before


async def test_a_worker_for_which_no_descriptor_is_left_is_refused_and_the_others_live_on(tmp_path: Path) -> None:
    path = tmp_path / "sandboxd"
    sandboxd = subprocess.Popen(  # noqa: ASYNC220  # it lives beside this loop
        [sys.executable, "-m", "app.sandbox", "--socket", str(path)],
        env={"PATH": os.environ["PATH"]},
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    try:
        await until(path.exists)
        async with running_jail(JailConfig(socket_path=path)) as jail, AsyncExitStack() as stack:
            workers: list[Worker] = []
            with suppress(JailClosed):
                while len(workers) < 40:
                    workers.append(await stack.enter_async_context(jail.worker(user_id=uuid4(), purpose=Purpose.LIVE)))
            assert 10 < len(workers) < 40
            for worker in workers:
                assert isinstance(await worker.ask(Load(source=strategy())), Described)
        await asyncio.sleep(0)
        assert sandboxd.poll() is None
    finally:
        sandboxd.terminate()
        sandboxd.wait(10)


async def test_many_workers_that_are_killed_leave_nothing_open(jail: Jail) -> None:
    assert jail.pid is not None
    sandboxd = psutil.Process(jail.pid)
    (zygote,) = sandboxd.children()
    await _kill_some(jail, 1)
    before = [process.num_fds() for process in (psutil.Process(), sandboxd, zygote)]
    await _kill_some(jail, 25)
    assert [process.num_fds() for process in (psutil.Process(), sandboxd, zygote)] == before
    assert zygote.children() == []


async def _kill_some(jail: Jail, count: int) -> None:
    for _ in range(count):
        async with jail.worker(user_id=uuid4(), purpose=Purpose.VALIDATION, frames=[(frame(), candles())], result_rows=200) as worker:
            with pytest.raises(StrategyKilled):
                await worker.ask(Load(source=source("os._exit(0)\n", {}, header=HEADER.format)))
    await asyncio.sleep(0.3)
