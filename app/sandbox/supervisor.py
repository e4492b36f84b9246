"""sandboxd: a process of its own that makes and watches workers for the server, and holds nothing worth stealing."""

import asyncio
import os
import socket
import struct
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from app.sandbox.cell import Cause, Cell, CellEnded
from app.sandbox.doctor import Doctor
from app.sandbox.keeper import Keeper, ZygoteGone
from app.sandbox.link import LONGEST_TO_SANDBOXD, TO_SANDBOXD, Answer, Ask, Ended, Level, Link, Pulse, Release, Report, Spawn, Spawned
from app.sandbox.lock.sequence import FIRST_UID
from app.sandbox.orders import Order
from app.sandbox.wire import ProtocolBroken

log = structlog.get_logger(__name__)

_PULSE_S: Final = 1.0
_PEER: Final = struct.Struct("3i")


class Session:
    """One server's connection and the workers that it ordered; they end with it."""

    def __init__(self, sock: socket.socket, keeper: Keeper, tasks: asyncio.TaskGroup) -> None:
        self._keeper, self._tasks = keeper, tasks
        self._cells: dict[int, Cell] = {}
        self._pending: dict[int, asyncio.Task[None]] = {}
        self._report: Report | None = None
        self.ended = asyncio.Event()
        self._link = Link(sock, longest=LONGEST_TO_SANDBOXD, takes_descriptors=True, on_body=self._on_body, on_end=self._on_end)

    def tell(self, report: Report) -> None:
        """Send the doctor's report; workers are made from now on."""
        self._report = report
        self._link.send(report)

    def pulse(self) -> None:
        """Tell the server that sandboxd is alive."""
        self._link.send(Pulse(workers=len(self._cells)))

    def close(self) -> None:
        """End the connection and its workers."""
        self._link.close()
        self._on_end("sandboxd stops")

    def _on_end(self, reason: str) -> None:
        log.info("session_ended", reason=reason, workers=len(self._cells))
        for task in self._pending.values():
            task.cancel()
        for cell in list(self._cells.values()):
            cell.kill(Cause.RELEASED)
        self.ended.set()

    def _on_body(self, body: bytes) -> None:
        message = TO_SANDBOXD.decode(body)
        match message:
            case Spawn():
                descriptors = self._link.take_descriptors(len(message.frames) + bool(message.result_rows))
                self._start(message.cell, self._spawn(message, descriptors), descriptors)
            case Ask():
                cell = self._cells.get(message.cell)
                if cell is not None:
                    self._start(message.cell, self._ask(cell, message))
            case Release():
                self._release(message.cell)

    def _start(self, number: int, work: Coroutine[Any, Any, None], descriptors: Sequence[int] = ()) -> None:
        if number in self._pending:
            work.close()
            for fd in descriptors:
                os.close(fd)
            raise ProtocolBroken(f"worker {number} is busy")
        task = self._tasks.create_task(self._guarded(number, work))
        self._pending[number] = task

        def clean_up(_: "asyncio.Task[None]") -> None:
            work.close()  # it may have been cancelled before its first step
            for fd in descriptors:
                os.close(fd)
            if self._pending.get(number) is task:
                del self._pending[number]
            if task.cancelled() and number not in self._cells:
                self._link.send(Ended(cell=number, cause=Cause.RELEASED))

        task.add_done_callback(clean_up)

    async def _guarded(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong with one worker ends that worker and no other."""
        try:
            await work
        except Exception:  # the workers of all users are this process's children
            log.exception("worker_failed", worker=number)
            if (cell := self._cells.get(number)) is not None:
                cell.kill(Cause.RELEASED)
            else:
                self._link.send(Ended(cell=number, cause=Cause.NOT_LOCKED, detail="sandboxd could not make the worker"))

    async def _spawn(self, message: Spawn, descriptors: list[int]) -> None:
        number = message.cell
        try:
            if self._report is None or (self._report.level > Level.B and not message.is_trusted):
                self._link.send(Ended(cell=number, cause=Cause.NOT_LOCKED, detail="this machine cannot lock strategies in"))
                return
            order = Order(
                frames=message.frames,
                result_rows=message.result_rows,
                memory_bytes=message.memory_bytes,
                life_cpu_s=message.life_cpu_s,
                nice=message.nice,
                is_batch=message.is_batch,
            )
            cell = await self._keeper.spawn(order, descriptors)
        except CellEnded as ended:
            self._tell_end(number, ended)
            return
        except ZygoteGone as gone:
            log.warning("worker_not_made", reason=str(gone))
            self._link.send(Ended(cell=number, cause=Cause.ZYGOTE, detail=str(gone)[:500]))
            return
        if not self._link.is_open:
            cell.kill(Cause.RELEASED)
            return
        self._cells[number] = cell
        self._tasks.create_task(self._watch(number, cell))
        self._link.send(Spawned(cell=number))

    async def _watch(self, number: int, cell: Cell) -> None:
        end = await cell.until_ended()
        self._cells.pop(number, None)
        self._tell_end(number, CellEnded(end))

    async def _ask(self, cell: Cell, message: Ask) -> None:
        try:
            body = await cell.ask(message.body, message.request_id, wall_s=message.wall_s, cpu_s=message.cpu_s)
        except CellEnded:
            return  # whoever watches it tells
        # Before the answer: whoever has it may ask again at once.
        self._pending.pop(message.cell, None)
        self._link.send(Answer(cell=message.cell, body=body))

    def _release(self, number: int) -> None:
        if (task := self._pending.get(number)) is not None:
            task.cancel()
        if (cell := self._cells.get(number)) is not None:
            cell.kill(Cause.RELEASED)

    def _tell_end(self, number: int, ended: CellEnded) -> None:
        end = ended.end
        self._link.send(Ended(cell=number, cause=end.cause, signal=end.signal, detail=end.detail[:500], cpu_s=end.cpu_s))


async def serve_one(sock: socket.socket) -> None:
    """Serve the server whose child this is, until it closes the socket."""
    keeper = Keeper()
    async with asyncio.TaskGroup() as tasks:
        session = Session(sock, keeper, tasks)
        helpers = [tasks.create_task(keeper.look()), tasks.create_task(_introduce(session, Doctor(keeper)))]
        await session.ended.wait()
        for helper in helpers:
            helper.cancel()
    await keeper.close()


async def serve_path(path: Path) -> None:
    """Serve whoever connects to the Unix socket at this path, until cancelled."""
    keeper = Keeper()
    doctor = Doctor(keeper)
    listener = _listening(path)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keeper.look())
            while True:
                sock, _ = await loop.sock_accept(listener)
                if _is_worker(sock):
                    log.critical("worker_reached_sandboxd")
                    sock.close()
                    continue
                tasks.create_task(_introduce(Session(sock, keeper, tasks), doctor))
    finally:
        listener.close()
        await keeper.close()


async def _introduce(session: Session, doctor: Doctor) -> None:
    session.tell(await doctor.report())
    while not session.ended.is_set():
        session.pulse()
        await asyncio.sleep(_PULSE_S)


def _listening(path: Path) -> socket.socket:
    # Under another name until it listens: whoever finds the path is answered.
    unready = path.with_name(f".{path.name}")
    unready.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)  # the group may connect: the server's user, in a container of its own
    try:
        listener.bind(str(unready))
    finally:
        os.umask(before)
    listener.listen(16)
    unready.replace(path)
    listener.setblocking(False)
    return listener


def _is_worker(sock: socket.socket) -> bool:
    """Whether the peer is a worker that got out: it could order workers for others."""
    _, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(uid >= FIRST_UID and os.geteuid() < FIRST_UID)
