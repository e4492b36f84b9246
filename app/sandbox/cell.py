"""One worker as sandboxd sees it: its socket, its one outstanding request, its deadline, and how it ended."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from app.sandbox.messages import Answered
from app.sandbox.orders import READY, Order
from app.sandbox.wire import BROKEN, LONGEST_UP, FrameReader, ProtocolBroken, framed

#: Processor seconds that a worker may use while nobody asks it anything; it needs none, but the scheduler's books are coarse.
_IDLE_CPU_S: Final = 0.05
_PART: Final = 65_536
_ANSWERED: Final = msgspec.msgpack.Decoder(Answered)


class Cause(StrEnum):
    """Why a worker ended."""

    RELEASED = "released"
    SIGNAL = "signal"
    EXIT = "exit"
    WALL = "wall"
    CPU = "cpu"
    IDLE_CPU = "idle_cpu"
    PROTOCOL = "protocol"
    NOT_LOCKED = "not_locked"
    ZYGOTE = "zygote"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a worker ended.

    Attributes:
        signal: The number of the signal that ended it; 0 when it exited by itself.
        detail: A sentence for the administrator.
        cpu_s: Processor seconds that it used in its life.
    """

    cause: Cause
    signal: int = 0
    detail: str = ""
    cpu_s: float = 0.0


class CellEnded(Exception):
    """The worker is gone; `end` says why."""

    def __init__(self, end: End) -> None:
        self.end = end
        super().__init__(f"{end.cause}: {end.detail}")


def signal_name(number: int) -> str:
    """Return a signal's name. Most real-time signals have none, and a worker may end itself by any."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Cell:
    """A locked worker. At most one request is outstanding; everything that comes unasked is a violation and its end."""

    def __init__(self, order: Order, sock: socket.socket, pid: int, pidfd: int, *, on_end: Callable[["Cell"], None]) -> None:
        self.order, self.pid = order, pid
        self._socket, self._pidfd = sock, pidfd
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(LONGEST_UP)
        self._waiting: asyncio.Future[bytes] | None = self._loop.create_future()
        self._request_id = 0
        self._outgoing = memoryview(b"")
        self._cause: Cause | None = None
        self._detail = ""
        self._rested_at_cpu_s: float | None = None
        self.end: End | None = None
        self.ended = asyncio.Event()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._on_readable)

    async def until_locked(self, *, wall_s: float) -> None:
        """Wait for its first word.

        Raises:
            CellEnded: the lock did not close, or not in time.
        """
        first = await self._answer(wall_s, Cause.NOT_LOCKED)  # nobody's code runs yet: that it takes long is the machine's fault
        if first != READY:
            self.kill(Cause.NOT_LOCKED, first[:300].decode(errors="replace"))
            raise CellEnded(await self.until_ended())

    async def ask(self, body: bytes, request_id: int, *, wall_s: float, cpu_s: float) -> bytes:
        """Send a request and return the body of its reply, which carries the same id and is a valid message.

        Args:
            body: An encoded `Asked`.
            request_id: The one in it.
            wall_s: Seconds after which the worker is killed, whatever it does.
            cpu_s: Processor seconds after which the kernel kills it, should this process be too busy to.

        Raises:
            CellEnded: there is no answer and never will be.
        """
        if self._waiting is not None:
            raise RuntimeError("one request at a time")
        if self.end is not None:
            raise CellEnded(self.end)
        self._request_id = request_id
        self._waiting = self._loop.create_future()
        self._limit_cpu(cpu_s)
        self._rested_at_cpu_s = None
        self._outgoing = memoryview(framed(body))
        self._on_writable()
        return await self._answer(wall_s)

    async def until_ended(self) -> End:
        """Wait until the zygote has buried it, and return how it ended."""
        await self.ended.wait()
        if self.end is None:
            raise RuntimeError("ended without an end")
        return self.end

    def kill(self, cause: Cause, detail: str = "") -> None:
        """End it now. The first cause that is given stays."""
        if self._cause is None:
            self._cause, self._detail = cause, detail
        self._signal()

    def _signal(self) -> None:
        if self.end is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def look(self) -> None:
        """Kill it when it computes though nobody asked it anything."""
        if self._rested_at_cpu_s is None or self.end is not None:
            return
        used = self.cpu_s() - self._rested_at_cpu_s
        if used > _IDLE_CPU_S:
            self.kill(Cause.IDLE_CPU, f"used {used:.2f} s of the processor while nobody asked it anything")

    def cpu_s(self) -> float:
        """Return the processor seconds that it has used; 0 when it is gone."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)  # CPUCLOCK_SCHED of a process: clock_getcpuclockid(3)
        except OSError:
            return 0.0

    def bury(self, status: int, cpu_s: float) -> None:
        """Note that it has ended.

        Args:
            status: Exit code, or minus the number of the signal.
            cpu_s: Processor seconds that it used in its life.
        """
        if self.end is not None:
            return
        self._hear_first_words()
        number = -status if status < 0 else 0
        cause = self._cause or self._cause_of(number, cpu_s)
        detail = self._detail or (f"killed by {signal_name(number)}" if number else f"exited with {status}")
        self.end = End(cause=cause, signal=number, detail=detail, cpu_s=cpu_s)
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        os.close(self._pidfd)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(CellEnded(self.end))
        self.ended.set()
        self._on_end(self)

    def _hear_first_words(self) -> None:
        """Take what it said of its lock before it ended: the zygote may have told of the end first. A dead one's answers are of no use."""
        if self._request_id or self._cause is not None:
            return
        waiting, said = self._waiting, list[bytes]()
        # Also what was read a moment ago, and whoever waits for it has not been told of yet.
        if waiting is not None and waiting.done() and not waiting.cancelled():
            said.append(waiting.result())
        with contextlib.suppress(OSError, ProtocolBroken):
            said += self._reader.take(self._socket.recv(_PART))
        for body in said:
            if body != READY:
                self._cause, self._detail = Cause.NOT_LOCKED, body[:300].decode(errors="replace")

    def _cause_of(self, number: int, cpu_s: float) -> Cause:
        # Past the hard limit the kernel sends what it sends for everything; the two books of its time differ by some ticks.
        is_used_up = number == signal.SIGKILL and 0 < self.order.life_cpu_s <= cpu_s + 0.5
        if number == signal.SIGXCPU or is_used_up:
            return Cause.CPU
        return Cause.SIGNAL if number else Cause.EXIT

    async def _answer(self, wall_s: float, too_slow: Cause = Cause.WALL) -> bytes:
        waiting = self._waiting
        if waiting is None:
            raise RuntimeError("nothing is asked")
        deadline = self._loop.call_later(wall_s, self.kill, too_slow, f"no answer within {wall_s:g} s")
        try:
            return await waiting
        except asyncio.CancelledError:
            self.kill(Cause.RELEASED)  # who asked has gone; an answer that comes now would be taken for the next one's
            raise
        finally:
            deadline.cancel()
            self._waiting = None

    def _limit_cpu(self, cpu_s: float) -> None:
        soft = int(self.cpu_s() + cpu_s) + 1
        # It may be gone already; or another user's, and root without CAP_SYS_RESOURCE (Docker's) may not limit it. The clock on the wall
        # stays then, and the limit of its life.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))

    def _on_writable(self) -> None:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
            return
        except OSError:
            self._outgoing = memoryview(b"")  # it has ended; the zygote is about to say how
        self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_PART)  # not recvmsg: descriptors that a worker might send are dropped by the kernel
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._cause is not None:
            return  # it is being killed: nothing that it still says is an answer
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            self._signal()  # without a cause: when it is dead already, the zygote is about to say of what
            return
        try:
            self._take(data)
        except BROKEN as broken:
            self.kill(Cause.PROTOCOL, str(broken)[:300])

    def _take(self, data: bytes) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            raise ProtocolBroken("sent what nobody asked for")
        bodies = self._reader.take(data)
        if not bodies:
            return
        if len(bodies) > 1 or not self._reader.is_empty:
            raise ProtocolBroken("sent more than one answer")
        if self._request_id and _ANSWERED.decode(bodies[0]).request_id != self._request_id:
            raise ProtocolBroken("answered with a wrong request id")
        self._rested_at_cpu_s = self.cpu_s()
        waiting.set_result(bodies[0])
