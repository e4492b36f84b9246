"""What the server and sandboxd say to each other, and the socket over which they do."""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from app.sandbox.cell import Cause
from app.sandbox.messages import MOST_FRAMES, Frame
from app.sandbox.wire import BROKEN, LONGEST_DOWN, LONGEST_UP, FrameReader, ProtocolBroken, framed

_PART: Final = 262_144
#: Descriptors that may come with one message: the memory of each frame, and of the results.
_MOST_DESCRIPTORS: Final = MOST_FRAMES + 1
_MOST_QUEUED_BYTES: Final = 64 << 20
#: A body inside a message, with what is around it.
LONGEST_TO_SANDBOXD: Final = LONGEST_DOWN + 8_192
LONGEST_TO_SERVER: Final = LONGEST_UP + 8_192

CellId = Annotated[int, Meta(ge=1, le=2**53)]
Sentence = Annotated[str, Meta(max_length=500)]


class Level(StrEnum):
    """How well strategies are locked in here; docs/sandbox.md defines the levels."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


#: What each level means to whoever runs the server.
LEVEL_WORDS: Final = {
    Level.A: "strategies of strangers may run: two walls of the kernel hold them in, and behind these is nothing to take.",
    Level.B: "strategies of strangers may run, with one protection less than there could be (what says no above).",
    Level.C: "strategies of strangers may not run.",
    Level.D: "strategies cannot be locked in here and do not run, unless TRUST_STRATEGIES is set.",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that the doctor looked at. `code` is stable, `detail` is for the administrator."""

    code: Annotated[str, Meta(max_length=64)]
    is_good: bool
    detail: Sentence = ""


class Spawn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="spawn"):
    """Make a worker; the memory of its frames and results comes along as descriptors."""

    cell: CellId
    frames: Annotated[list[Frame], Meta(max_length=MOST_FRAMES)]
    result_rows: int
    memory_bytes: int
    life_cpu_s: int
    nice: int
    is_batch: bool
    is_trusted: bool


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ask"):
    """Hand a request to a worker. `body` is an encoded `Asked` with this id."""

    cell: CellId
    request_id: int
    body: bytes
    wall_s: float
    cpu_s: float


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release"):
    """End a worker: it is not needed any more."""

    cell: CellId


class Spawned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="spawned"):
    """The worker is locked and waits for its first request."""

    cell: CellId


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="answer"):
    """What a worker replied, as it came."""

    cell: CellId
    body: Annotated[bytes, Meta(max_length=LONGEST_UP)]


class Ended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ended"):
    """A worker is gone."""

    cell: CellId
    cause: Cause
    signal: Annotated[int, Meta(ge=0, le=64)] = 0
    detail: Sentence = ""
    cpu_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="report"):
    """What the doctor found; sandboxd's first message."""

    level: Level
    findings: Annotated[list[Finding], Meta(max_length=64)]


class Pulse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="pulse"):
    """Sandboxd is alive."""

    workers: Annotated[int, Meta(ge=0)]


ToSandboxd = Spawn | Ask | Release
ToServer = Spawned | Answer | Ended | Report | Pulse
TO_SANDBOXD: Final = msgspec.msgpack.Decoder(ToSandboxd)
TO_SERVER: Final = msgspec.msgpack.Decoder(ToServer)
_encode = msgspec.msgpack.Encoder().encode


def check(message: ToSandboxd) -> None:
    """Pass for what sandboxd will take: one message that it refuses would end the link, and the workers of all users with it.

    Raises:
        ValueError: something in it is out of bounds, which is the caller's mistake.
    """
    TO_SANDBOXD.decode(_encode(message))  # the bounds of a message are looked at when it is decoded, not when it is made


class Link:
    """One end of the socket between server and sandboxd. Messages and descriptors keep their order."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        longest: int,
        takes_descriptors: bool,
        on_body: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        """Start to read.

        Args:
            sock: A connected stream socket; it is this object's from now on.
            longest: Of the bodies that come.
            takes_descriptors: Whether descriptors may come; where they may not, the kernel drops them.
            on_body: Called with each body; what it raises of `BROKEN` ends the link.
            on_end: Called once, with the reason, when the link has ended by itself or was broken.
        """
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(longest)
        self._takes_descriptors = takes_descriptors
        self._on_body, self._on_end = on_body, on_end
        self._descriptors: deque[int] = deque()
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._queued_bytes = 0
        self.is_open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def send(self, message: ToSandboxd | ToServer, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message; the descriptors that go with it stay the caller's. Nothing happens once the link has ended."""
        if not self.is_open:
            return
        text = memoryview(framed(_encode(message)))
        self._queue.append((text, [os.dup(fd) for fd in descriptors]))
        self._queued_bytes += len(text)
        if self._queued_bytes > _MOST_QUEUED_BYTES:
            self._end("the other side does not read")
            return
        self._flush()

    def take_descriptors(self, count: int) -> list[int]:
        """Return the next descriptors that came, which are the caller's to close.

        Raises:
            ProtocolBroken: fewer came.
        """
        if len(self._descriptors) < count:
            raise ProtocolBroken(f"{len(self._descriptors)} descriptors came, {count} were announced")
        return [self._descriptors.popleft() for _ in range(count)]

    def close(self) -> None:
        """End it without a word."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for fd in (*self._descriptors, *(fd for _, fds in self._queue for fd in fds)):
            os.close(fd)
        self._descriptors.clear()
        self._queue.clear()

    def _end(self, reason: str) -> None:
        if self.is_open:
            self.close()
            self._on_end(reason)

    def _flush(self) -> None:
        while self._queue:
            text, descriptors = self._queue[0]
            try:
                sent = socket.send_fds(self._socket, [text], descriptors) if descriptors else self._socket.send(text)
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError as error:
                self._end(f"cannot be written to: {error.strerror}")
                return
            for fd in descriptors:
                os.close(fd)
            self._queued_bytes -= sent
            if sent == len(text):
                self._queue.popleft()
            else:
                self._queue[0] = (text[sent:], [])
        self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            if self._takes_descriptors:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _PART, _MOST_DESCRIPTORS)
                self._descriptors.extend(descriptors)
            else:
                data = self._socket.recv(_PART)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"cannot be read: {error.strerror}")
            return
        if not data:
            self._end("the other side has closed it")
            return
        try:
            for body in self._reader.take(data):
                self._on_body(body)
        except BROKEN as broken:
            self._end(f"broke the protocol: {broken}"[:300])


def connected(path: str) -> socket.socket:
    """Return a socket connected to sandboxd's.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)  # a Unix socket's connect does not wait for the other side
    except OSError:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    return sock
