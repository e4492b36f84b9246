"""sandboxd as it stands in a container of its own: behind a Unix socket, for whoever connects."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from app.errors import JailClosed
from app.sandbox import supervisor
from app.sandbox.link import Spawn
from app.sandbox.messages import Described, Load
from app.sandbox.quotas import Purpose
from app.sandbox.terms import JailConfig
from tests.sandbox.conftest import candles, frame, running_jail, strategy, until

pytestmark = pytest.mark.asyncio


class Container:
    """A sandboxd that this test may stop and start again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        # As compose.yaml starts it, with an environment that has nothing in it.
        self.process = subprocess.Popen(  # noqa: ASYNC220  # it lives beside this loop, for as long as the test wants
            [sys.executable, "-m", "app.sandbox", "--socket", str(self.path)], env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL
        )
        await until(self.path.exists)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path / "sandboxd")
    yield made
    made.stop()


async def test_strategies_run_in_it_with_candles_of_the_server(container: Container) -> None:
    await container.start()
    async with running_jail(JailConfig(socket_path=container.path)) as jail:
        async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=[(frame(), candles())], result_rows=200) as worker:
            assert isinstance(await worker.ask(Load(source=strategy())), Described)
        assert jail.pid is None, "it is nobody's child"


async def test_the_socket_is_open_to_its_owner_and_group_alone(container: Container) -> None:
    await container.start()
    assert stat.S_IMODE(container.path.stat().st_mode) == 0o660


async def test_a_server_that_comes_back_finds_it_and_its_workers_ended_with_it(container: Container) -> None:
    await container.start()
    assert container.process is not None
    for _ in range(2):
        async with running_jail(JailConfig(socket_path=container.path)) as jail, jail.worker(user_id=uuid4(), purpose=Purpose.LIVE):
            before = psutil.Process(container.process.pid).children(recursive=True)
            assert len(before) == 2, "the zygote and one worker"
        sandboxd = psutil.Process(container.process.pid)
        await until(lambda: len(sandboxd.children(recursive=True)) == 1)  # noqa: B023  # awaited at once


async def test_two_servers_share_one_and_one_that_breaks_the_protocol_is_let_go_alone(container: Container) -> None:
    await container.start()
    config = JailConfig(socket_path=container.path)
    async with running_jail(config) as one, running_jail(config) as other, one.worker(user_id=uuid4(), purpose=Purpose.LIVE) as mine:
        async with other.worker(user_id=uuid4(), purpose=Purpose.LIVE) as theirs:
            lie = Spawn(cell=999, frames=[frame()], result_rows=0, memory_bytes=1, life_cpu_s=0, nice=5, is_batch=False, is_trusted=False)
            other._tell_sandboxd(lie)  # without the memory that it speaks of
            with pytest.raises(JailClosed):
                await theirs.ask(Load(source="while True: pass"), wall_s=5)
        assert isinstance(await mine.ask(Load(source=strategy())), Described)


async def test_it_may_be_started_again_under_a_running_server(container: Container) -> None:
    await container.start()
    async with running_jail(JailConfig(socket_path=container.path)) as jail:
        await jail.ready()
        container.stop()
        await container.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    async with jail.worker(user_id=uuid4(), purpose=Purpose.LIVE) as worker:
                        assert isinstance(await worker.ask(Load(source=strategy())), Described)
                        break
                except JailClosed:
                    await asyncio.sleep(0.1)


async def test_a_worker_that_got_out_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_is_worker", lambda _: True)
    path = tmp_path / "sandboxd"
    serving = asyncio.get_running_loop().create_task(supervisor.serve_path(path))
    await until(path.exists)
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert await reader.read() == b""
    writer.close()
    serving.cancel()
    await asyncio.wait([serving])
