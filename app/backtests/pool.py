"""Processes that compute for the server. One that dies takes its own task with it and nothing else."""

import asyncio
import contextlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import structlog

from app.backtests.pool_process import HEADER, NICE, written
from app.errors import WorkerLost

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: All that a process sees of the environment. One thread for whatever would start several: there are as many processes as processors.
ENVIRONMENT: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}
#: Where this process keeps byte-code, or that it keeps none.
_PASSED_ON: Final = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
#: After so long without work a process ends: an idle one holds a hundred megabytes.
_IDLE_S: Final = 300.0
_STOP_S: Final = 2.0
#: Bytes of an answer from which on a thread reads it.
_LARGE: Final = 1 << 20
#: How such a process is known among others.
PROCESS: Final = "aristobot-backtests"
#: It stands back before it imports anything: that alone is a second of work.
_BEGIN: Final = f"import os; os.nice({NICE}); from app.backtests.pool_process import main; main()"


class Computing(Protocol):
    """Something that computes in other processes."""

    #: Whether those processes can map memory of this one.
    is_here: bool

    async def run(self, task: Callable[..., T], *arguments: object) -> T:
        """Compute `task(*arguments)` elsewhere; both must be importable there, and small.

        Raises:
            WorkerLost: the process ended before it was done. It may be asked again.
            Exception: what the task raised.
        """

    async def rest(self) -> None:
        """Let go of what has had nothing to do for some minutes."""

    async def close(self) -> None:
        """Let go of everything. Nothing may be asked any more."""


class _Process:
    """One process and the line to it."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        self.process = process
        self.idle_since = time.monotonic()
        self._socket = sock

    async def ask(self, body: bytes, descriptors: list[int]) -> tuple[bool, Any]:
        loop = asyncio.get_running_loop()
        # The header is the first thing in an empty buffer, so it goes at once and whole.
        socket.send_fds(self._socket, [HEADER.pack(len(body), len(descriptors))], descriptors)
        await loop.sock_sendall(self._socket, body)
        length, _ = HEADER.unpack(await self._exactly(HEADER.size))
        answer = await self._exactly(length)
        # Our own process wrote it. Millions of rows would keep the loop from its work.
        loaded = await asyncio.to_thread(pickle.loads, answer) if length > _LARGE else pickle.loads(answer)  # noqa: S301
        found: tuple[bool, Any] = loaded
        return found

    async def _exactly(self, length: int) -> bytearray:
        loop, received = asyncio.get_running_loop(), bytearray(length)
        view = memoryview(received)
        while view:
            count = await loop.sock_recv_into(self._socket, view)
            if not count:
                raise ConnectionResetError
            view = view[count:]
        return received

    async def end(self) -> None:
        """End it at once."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        async with asyncio.timeout(_STOP_S):
            await self.process.wait()


class Pool:
    """As many processes as there are places, started when they are needed. Close it last.

    Args:
        size: Tasks at a time; others wait for their turn.
        environment: Further variables for the processes.
    """

    is_here = True

    def __init__(self, size: int, *, environment: Mapping[str, str] | None = None) -> None:
        self._places = asyncio.Semaphore(size)
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._environment = ENVIRONMENT | passed_on | dict(environment or {})
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()

    @property
    def pids(self) -> list[int]:
        """Process ids, those at work first."""
        return [one.process.pid for one in (*self._busy, *self._idle)]

    async def run(self, task: Callable[..., T], *arguments: object) -> T:
        """As `Computing.run`. When the caller is cancelled the process ends with its task, and another takes its place."""
        async with self._places:
            body, descriptors = await asyncio.to_thread(written, (task, arguments))  # it may be millions of rows
            process = await self._taken()
            self._busy.add(process)
            is_whole = False
            try:
                is_done, answer = await process.ask(body, descriptors)
                is_whole = True
            except (ConnectionError, BrokenPipeError) as error:
                log.warning("backtest_process_lost", pid=process.process.pid)
                raise WorkerLost from error
            finally:
                self._busy.discard(process)
                if is_whole:
                    process.idle_since = time.monotonic()
                    self._idle.append(process)
                else:
                    await asyncio.shield(process.end())
        if not is_done:
            raise answer
        result: T = answer
        return result

    async def rest(self) -> None:
        """End processes that have had nothing to do for some minutes."""
        for process in [one for one in self._idle if time.monotonic() - one.idle_since > _IDLE_S]:
            self._idle.remove(process)
            await process.end()

    async def close(self) -> None:
        """End all of them. Nothing may be asked any more."""
        for process in (*self._busy, *self._idle):
            await process.end()
        self._busy.clear()
        self._idle.clear()

    async def _taken(self) -> _Process:
        while self._idle:
            process = self._idle.pop()
            if process.process.returncode is None:
                return process
            await process.end()
        return await self._started()

    async def _started(self) -> _Process:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                number = theirs.fileno()
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-s", "-c", _BEGIN, PROCESS, "--fd", str(number), "--parent", str(os.getpid())),
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(number,),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        return _Process(process, ours)
