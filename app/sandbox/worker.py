"""The locked child of the zygote: maps what it may see, locks itself in, and answers requests until its socket closes."""

import contextlib
import io
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, cast

import msgspec

from app.sandbox import orders
from app.sandbox.frames import Candles, candle_bytes, candles_in, decision_bytes
from app.sandbox.guest.guest import Guest
from app.sandbox.lock import kernel
from app.sandbox.lock.sequence import lock
from app.sandbox.lock.tables import Machine
from app.sandbox.messages import (
    LONGEST_DOCSTRING,
    LONGEST_NAME,
    LONGEST_TEXT,
    Answered,
    Asked,
    Described,
    Failed,
    Frame,
    Load,
    Reply,
    Request,
)
from app.sandbox.orders import Order
from app.sandbox.sheet import Sheet
from app.sandbox.wire import HEADER, LONGEST_DOWN, LONGEST_UP, framed

_SOCKET: Final = 3
#: Exit codes: the lock did not close; the other side broke the protocol.
NOT_LOCKED: Final = 70
_ASKED = msgspec.msgpack.Decoder(Asked)
_encode = msgspec.msgpack.Encoder().encode
_Handle = Callable[[Request], Reply]

#: Events of Python's audit by their beginning, and what a strategy's author is told. Friendly words, not a wall: the kernel is the wall.
_NOT_FOR_STRATEGIES: Final = (
    ("open", "files"),
    ("os.", "the operating system"),
    ("shutil.", "files"),
    ("glob.", "files"),
    ("tempfile.", "files"),
    ("pathlib.", "files"),
    ("socket.", "the network"),
    ("urllib.", "the network"),
    ("http.", "the network"),
    ("ssl.", "the network"),
    ("subprocess.", "other processes"),
    ("signal.", "signals"),
    ("fcntl.", "files"),
    ("mmap.", "files"),
    ("resource.", "the operating system"),
    ("ctypes.", "native code"),
    ("sys.addaudithook", "the interpreter"),
    ("sys.settrace", "the interpreter"),
    ("sys.setprofile", "the interpreter"),
)


def live(order: Order, descriptors: Sequence[int], here: Machine | None, *, has_own_uids: bool, parent: int) -> NoReturn:
    """Become the worker of an order. Called in a fresh fork of the zygote and never returns.

    Args:
        order: What it shall be.
        descriptors: Its socket, the memory of each frame, and that of the results if it has any.
        here: The architecture.
        has_own_uids: Whether it may take a user of its own.
        parent: The zygote's process id.
    """
    speaks_on = descriptors[0]
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        frames, results = _memory(order, descriptors[1:])
        _move_to_socket(speaks_on)
        speaks_on = _SOCKET
        if order.layers.close_fds:
            kernel.close_range(here, _SOCKET + 1)
        lock(order, here, has_own_uids=has_own_uids, parent=parent)
        sys.stdout = sys.stderr = io.StringIO()  # what the guest does not collect goes nowhere: there is nothing to write to
        if order.is_batch:
            kernel.keep_freed_memory()
        handle = cast("_Handle", _Probe().handle if order.is_probe else Guest(frames, results).handle)
        if order.layers.audit_hook and not order.is_probe:
            sys.addaudithook(_forbid)
    except BaseException as error:  # noqa: BLE001  # whatever it was, this process must not go on
        with contextlib.suppress(OSError):
            os.write(speaks_on, framed(f"not locked: {error!r}".encode()))
        os._exit(NOT_LOCKED)
    _send(orders.READY)
    _serve(handle)


def _memory(order: Order, descriptors: Sequence[int]) -> tuple[list[tuple[Frame, Candles]], Sheet | None]:
    """Map before the descriptors are closed: mmap keeps a duplicate of each, which must go with the others."""
    frames = [
        (frame, candles_in(_mapped(fd, candle_bytes(frame.rows), mmap.PROT_READ), frame.rows))
        for frame, fd in zip(order.frames, descriptors, strict=False)
    ]
    if len(frames) != len(order.frames):
        raise ValueError(f"{len(order.frames)} frames, but the memory of {len(frames)}")
    if not order.result_rows:
        return frames, None
    writable = _mapped(descriptors[len(frames)], decision_bytes(order.result_rows), mmap.PROT_READ | mmap.PROT_WRITE)
    return frames, Sheet(order.result_rows, writable)


def _mapped(fd: int, length: int, protection: int) -> memoryview:
    if not length:
        return memoryview(b"")
    if os.fstat(fd).st_size < length:
        raise ValueError(f"memory of {os.fstat(fd).st_size} bytes for {length}")
    return memoryview(mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=protection))


def _move_to_socket(socket_fd: int) -> None:
    """Make the socket descriptor 3, with nothing on 0 to 2."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.dup2(socket_fd, _SOCKET)


def _forbid(event: str, _arguments: tuple[Any, ...]) -> None:
    for beginning, what in _NOT_FOR_STRATEGIES:
        if event.startswith(beginning):
            raise PermissionError(f"a strategy has no access to {what} ({event})")


def _serve(handle: _Handle) -> NoReturn:
    while True:
        asked = _ASKED.decode(_receive())
        try:
            reply = handle(asked.request)
            body = _encode(Answered(request_id=asked.request_id, reply=reply))
        except BaseException as error:  # noqa: BLE001  # the guest reports what strategies raise; this is what it could not
            body = _encode(Answered(request_id=asked.request_id, reply=_failed(error)))
        if len(body) > LONGEST_UP:
            failed = Failed(kind="ReplyTooLong", message=f"the answer has {len(body)} bytes, at most {LONGEST_UP} are taken")
            body = _encode(Answered(request_id=asked.request_id, reply=failed))
        _send(body)


def _failed(error: BaseException) -> Failed:
    try:
        return Failed(kind=type(error).__name__[:LONGEST_NAME], message=str(error)[:LONGEST_TEXT])
    except BaseException:  # noqa: BLE001  # its words are a strategy's as well
        return Failed(kind="Exception", message="")


class _Probe:
    """In the place of the guest: runs a source as it is, with all of Python, against the lock alone."""

    def handle(self, request: Request) -> Reply:
        """Run the source of `Load`; its variable `result` comes back as the docstring, an exception as `Failed`."""
        if not isinstance(request, Load):
            return Failed(kind="Probe", message="only Load is known")
        space: dict[str, Any] = {"__name__": "probe", "__builtins__": __builtins__}
        try:
            exec(compile(request.source, "probe.py", "exec"), space)  # noqa: S102  # the whole purpose of this process
        except BaseException as error:  # noqa: BLE001  # whatever the attack ran into is what is asked for
            trace = "".join(traceback.format_tb(error.__traceback__))[-LONGEST_TEXT:]
            return Failed(kind=type(error).__name__[:LONGEST_NAME], message=str(error)[:LONGEST_TEXT], traceback=trace)
        return Described(
            class_name="Probe",
            docstring=str(space.get("result", ""))[:LONGEST_DOCSTRING],
            timeframe="",
            warm_up=0,
            style="signals",
            can_short=False,
            parameters=[],
            informative=[],
        )


def _receive() -> bytes:
    (length,) = HEADER.unpack(_exactly(HEADER.size))
    if length > LONGEST_DOWN:
        os._exit(0)
    return _exactly(length)


def _exactly(count: int) -> bytes:
    taken = bytearray()
    while len(taken) < count:
        part = os.read(_SOCKET, count - len(taken))
        if not part:
            os._exit(0)  # sandboxd has let go of this worker
        taken += part
    return bytes(taken)


def _send(body: bytes) -> None:
    rest = memoryview(framed(body))
    while rest:
        rest = rest[os.write(_SOCKET, rest) :]
