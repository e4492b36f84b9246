"""Keeps a zygote and its workers: starts it in a clean process, orders workers, watches them, and notes how each ended."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import replace

import app
from app.sandbox import orders
from app.sandbox.cell import Cause, Cell
from app.sandbox.orders import Facts, Order

log = structlog.get_logger(__name__)

#: All that a zygote and its workers see of the environment. One thread for whatever would start several.
ENVIRONMENT: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}
_START_S: Final = 30.0
_SPAWN_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.25
#: Users for workers: so many for each sandboxd, of so many on one machine.
_SLOTS: Final = 1_024
_BLOCKS: Final = 97
#: All workers of a zygote share its memory layout and the seed of its hashes, so after a day the next worker gets a new one.
_ZYGOTE_AGE_S: Final = 86_400.0
#: Libraries that the jail's code imports; their folders are all of the path that it gets beside the standard library.
_LIBRARIES: Final = ("numpy", "talib", "msgspec", "structlog")


class ZygoteGone(Exception):
    """There is no zygote, or it ended while a worker was ordered; the next order starts a new one."""


def import_path() -> list[str]:
    """Return the folders in which an isolated interpreter finds this package and its libraries."""
    folders = [Path(app.__file__).resolve().parents[1]]
    for name in _LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            folders.append(Path(found.origin).resolve().parents[1])
    return list(dict.fromkeys(str(folder) for folder in folders))


class Zygote:
    """One zygote and the cells that were forked from it."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket, facts: Facts) -> None:
        self.facts = facts
        self.cells: dict[int, Cell] = {}
        self.is_gone = False
        self.born_at = time.monotonic()
        self._process = process
        self._control = control
        self._hatching: asyncio.Future[tuple[int, int]] | None = None
        self._number = 0
        #: The worker that was told of last, and its end: it may be dead before who ordered it has been woken.
        self._newest = 0
        self._newest_died: orders.Died | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control.fileno(), self._on_news)

    @classmethod
    async def started(cls, *, environment: Mapping[str, str], inherits: Sequence[int] = ()) -> "Zygote":
        """Start one and wait until it can fork.

        Args:
            environment: All that it sees. The product gives `ENVIRONMENT`.
            inherits: Further descriptors that stay open in it. The product gives none.

        Raises:
            ZygoteGone: it did not start, or not in time.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            script = str(Path(__file__).with_name("zygote.py"))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", "-B", script, str(theirs.fileno()), *import_path()),
                env=dict(environment),
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *inherits),
            )
        ours.setblocking(False)
        try:
            async with asyncio.timeout(_START_S):
                first = await asyncio.get_running_loop().sock_recv(ours, 65_536)
            facts = orders.FACTS.decode(first) if first else None
        except (OSError, TimeoutError, ValueError) as error:
            process.kill()
            ours.close()
            raise ZygoteGone(f"the zygote did not start: {error!r}") from error
        if facts is None:
            ours.close()
            raise ZygoteGone(f"the zygote ended with {await process.wait()} before it could fork")
        return cls(process, ours, facts)

    async def hatch(self, order: Order, descriptors: Sequence[int], *, on_end: Callable[[], None]) -> Cell:
        """Fork a worker; it is not locked yet. One at a time.

        Args:
            order: What it shall be.
            descriptors: What it shall map.
            on_end: Called once it has ended; never when this raises.

        Raises:
            ZygoteGone: the zygote ended.
        """
        if self.is_gone:
            raise ZygoteGone("the zygote has ended")
        ours, theirs = socket.socketpair()
        try:
            self._number += 1
            self._hatching = self._loop.create_future()
            try:
                socket.send_fds(self._control, [orders.encode(replace(order, number=self._number))], [theirs.fileno(), *descriptors])
            except OSError as error:
                raise ZygoteGone(f"the zygote takes no orders: {error}") from error
            async with asyncio.timeout(_SPAWN_S):
                pid, pidfd = await self._hatching
        except TimeoutError as error:
            ours.close()
            self.stop()
            raise ZygoteGone(f"the zygote made no worker within {_SPAWN_S:g} s") from error
        except BaseException:
            ours.close()
            if (
                self._hatching is not None
                and self._hatching.done()
                and not self._hatching.cancelled()
                and self._hatching.exception() is None
            ):
                _put_down(self._hatching.result()[1])
            raise
        finally:
            theirs.close()
            self._hatching = None

        def forget(_: Cell) -> None:
            self.cells.pop(pid, None)
            on_end()

        cell = Cell(order, ours, pid, pidfd, on_end=forget)
        self.cells[pid] = cell
        if self._newest == pid and self._newest_died is not None:
            cell.bury(self._newest_died.status, self._newest_died.cpu_s)
        return cell

    def stop(self) -> None:
        """End it, and with it every worker of its."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def until_gone(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()

    def _on_news(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, 65_536, 4)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            self._on_end()
            return
        news = orders.NEWS.decode(message)
        if isinstance(news, orders.Died):
            self._on_death(news)
        elif self._hatching is None or self._hatching.done() or news.number != self._number:
            for fd in descriptors:  # who ordered it has gone
                _put_down(fd)
        elif isinstance(news, orders.Refused):
            self._hatching.set_exception(ZygoteGone(news.detail))
        else:
            self._newest, self._newest_died = news.pid, None
            if descriptors:
                self._hatching.set_result((news.pid, descriptors[0]))
            else:  # the worker ends by itself when its socket is closed, which comes of this
                self._hatching.set_exception(ZygoteGone("no descriptor is free for another worker"))

    def _on_death(self, news: orders.Died) -> None:
        if (cell := self.cells.get(news.pid)) is not None:
            cell.bury(news.status, news.cpu_s)
        elif news.pid == self._newest:
            self._newest_died = news

    def _on_end(self) -> None:
        self.is_gone = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        if self._hatching is not None and not self._hatching.done():
            self._hatching.set_exception(ZygoteGone("the zygote ended"))
        for cell in list(self.cells.values()):
            cell.kill(Cause.ZYGOTE, "the zygote ended, and its workers with it")
            cell.bury(-signal.SIGKILL, cell.cpu_s())


def _put_down(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


class Keeper:
    """Makes workers, from a zygote that it starts when the first is wanted and replaces when it is gone."""

    def __init__(self, *, environment: Mapping[str, str] = ENVIRONMENT, inherits: Sequence[int] = ()) -> None:
        self._environment, self._inherits = environment, inherits
        self._zygote: Zygote | None = None
        self._retired: list[Zygote] = []
        self._ordering = asyncio.Lock()
        # Another server on this machine has a sandboxd of its own, whose workers should be other users than ours.
        first = os.getpid() % _BLOCKS * _SLOTS
        self._my_slots = range(first, first + _SLOTS)
        self._slots: set[int] = set()

    @property
    def cells(self) -> list[Cell]:
        """The workers that live."""
        return [cell for zygote in self._zygotes for cell in zygote.cells.values()]

    @property
    def _zygotes(self) -> list[Zygote]:
        return [*self._retired, *([self._zygote] if self._zygote is not None else [])]

    async def facts(self) -> Facts:
        """Return what the kernel offers.

        Raises:
            ZygoteGone: no zygote can be started.
        """
        async with self._ordering:
            return (await self._living()).facts

    async def spawn(self, order: Order, descriptors: Sequence[int] = ()) -> Cell:
        """Return a locked worker.

        Args:
            order: What it shall be; its slot is chosen here.
            descriptors: The memory of each frame, then that of the results. They stay the caller's, to be closed.

        Raises:
            ZygoteGone: no zygote can be started, or it ended.
            CellEnded: the lock did not close.
        """
        slot = next(free for free in self._my_slots if free not in self._slots)
        self._slots.add(slot)
        release = partial(self._slots.discard, slot)
        try:
            async with self._ordering:
                zygote = await self._living()
                cell = await zygote.hatch(_possible(order, slot, zygote.facts), descriptors, on_end=release)
        except BaseException:
            release()
            raise
        await cell.until_locked(wall_s=_SPAWN_S)
        return cell

    async def look(self) -> None:
        """Watch the workers that nobody asks anything, for as long as this runs."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for cell in self.cells:
                cell.look()
            for zygote in [old for old in self._retired if not old.cells]:
                self._retired.remove(zygote)
                zygote.stop()
                await zygote.until_gone()

    async def close(self) -> None:
        """End everything."""
        for zygote in self._zygotes:
            zygote.stop()
            await zygote.until_gone()
        self._retired.clear()
        self._zygote = None

    async def _living(self) -> Zygote:
        old = self._zygote
        if old is not None and not old.is_gone and time.monotonic() - old.born_at <= _ZYGOTE_AGE_S:
            return old
        self._zygote = zygote = await Zygote.started(environment=self._environment, inherits=self._inherits)
        if old is not None and not old.is_gone:
            self._retired.append(old)  # its workers live on
        log.info("zygote_started", pid=zygote.facts.pid)
        return zygote


def _possible(order: Order, slot: int, facts: Facts) -> Order:
    """Leave out the layers that this kernel does not have; the level says so to whoever decides what may run."""
    wanted = order.layers
    layers = replace(wanted, landlock=wanted.landlock and facts.landlock_abi > 0, seccomp=wanted.seccomp and facts.has_seccomp)
    return replace(order, slot=slot, layers=layers)
