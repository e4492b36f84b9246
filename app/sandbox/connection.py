"""A running sandboxd as the server sees it: a child of its own, or a process in another container behind a Unix socket."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.errors import ConfigError
from app.sandbox.keeper import ENVIRONMENT, import_path
from app.sandbox.link import LONGEST_TO_SERVER, TO_SERVER, Answer, Ended, Link, Pulse, Report, Spawned, ToSandboxd, connected

_STOP_S: Final = 3.0
_EXAMINE_S: Final = 30.0


class Connection:
    """One sandboxd for as long as it lives. The report is the first that comes; before it nothing may be asked."""

    def __init__(
        self, sock: socket.socket, process: asyncio.subprocess.Process | None, on_message: Callable[[Spawned | Answer | Ended], None]
    ) -> None:
        self.report: Report | None = None
        self.workers = 0
        self.gone = asyncio.Event()
        self.reported = asyncio.Event()
        self.why_gone = ""
        self._process = process
        self._on_message = on_message
        self._heard_at = time.monotonic()
        self._link = Link(sock, longest=LONGEST_TO_SERVER, takes_descriptors=False, on_body=self._on_body, on_end=self._on_end)

    @classmethod
    async def opened(cls, socket_path: Path | None, on_message: Callable[[Spawned | Answer | Ended], None]) -> "Connection":
        """Start sandboxd as a child, or connect to the one at the path.

        Raises:
            OSError: it cannot be started, or nobody listens at the path.
        """
        if socket_path is not None:
            return cls(connected(str(socket_path)), None, on_message)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                folders = [argument for folder in import_path() for argument in ("--path", folder)]
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-I", "-S", "-B", str(Path(__file__).with_name("__main__.py")), "--fd", str(theirs.fileno()), *folders),
                    env=ENVIRONMENT,
                    cwd="/",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # a Ctrl-C is the server's to answer
                )
        except BaseException:
            ours.close()
            raise
        return cls(ours, process, on_message)

    @property
    def silent_s(self) -> float:
        """Seconds since anything was heard."""
        return time.monotonic() - self._heard_at

    @property
    def pid(self) -> int | None:
        """Process id of a child; None of one elsewhere."""
        return self._process.pid if self._process is not None else None

    def send(self, message: ToSandboxd, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message; lost when sandboxd is gone, as whoever waits for the answer is told."""
        self._link.send(message, descriptors)

    async def close(self) -> None:
        """End it, and a child's process with it."""
        self._link.close()
        self._on_end("closed")
        if self._process is None:
            return
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()  # it ends when its socket does
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _on_body(self, body: bytes) -> None:
        message = TO_SERVER.decode(body)
        self._heard_at = time.monotonic()
        match message:
            case Report():
                self.report = message
                self.reported.set()
            case Pulse():
                self.workers = message.workers
            case _:
                self._on_message(message)

    def _on_end(self, reason: str) -> None:
        if not self.gone.is_set():
            self.why_gone = reason
            self.gone.set()


async def examine(socket_path: Path | None) -> Report:
    """Return what the doctor of a sandboxd finds, and run nothing else in it.

    Args:
        socket_path: Where it listens; None starts one.

    Raises:
        ConfigError: there is none and none can be started.
    """
    try:
        connection = await Connection.opened(socket_path, lambda _: None)
    except OSError as error:
        raise ConfigError(f"sandboxd cannot be reached: {error}") from error
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXAMINE_S):
                await connection.reported.wait()
        if connection.report is None:
            raise ConfigError(f"sandboxd says nothing: {connection.why_gone or 'it is silent'}")
        return connection.report
    finally:
        await connection.close()
