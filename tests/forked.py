"""Starts our own programs by forking a process that has imported them once: a tenth of what a fresh interpreter's start costs.

What runs is the `aristobot` command, in a process of its own; only the imports are not repeated.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TextIO

from app.core import crash_points
from tests import shared_time

#: The last one is found by a run that stands in the project's folder; elsewhere each process does what it does.
_PRELOADED: Final = ("app.cli", "ccxt.async_support", "tests.prepared")
#: Set by a run of tests: a hash of a password takes a quarter of a second of processor time, and no process of theirs is about that.
hashes_cost_nothing = False
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(_PRELOADED))


class Forked:
    """One process that runs `aristobot ARGUMENTS`; what it writes goes into files, its output into a pipe if asked for.

    Args:
        output: The file for what it writes. None: `stdout` is a pipe to read from.
        errors: The file for what it writes to stderr; the same as `output` if not given.
        environment: All variables that it has; None: those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        output: Path | None,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.stdout: TextIO | None = None
        writer: Connection | None = None
        if output is None:
            reader, writer = _context.Pipe(duplex=False)
            self.stdout = os.fdopen(os.dup(reader.fileno()), "r")
            reader.close()
        for path in (output, errors):
            if path is not None:
                path.touch()
        given = dict(os.environ if environment is None else environment)
        become = partial(_become, are_hashes_cheap=hashes_cost_nothing)
        self._process = _context.Process(target=become, args=(list(arguments), given, writer, output, errors or output), daemon=True)
        self._process.start()
        if writer is not None:
            writer.close()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            # Its end is told a moment after it.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def last_words(self) -> str:
        """Return what is left in the pipe after its end, and close it."""
        assert self.stdout is not None
        with self.stdout:
            return self.stdout.read()


def _become(
    arguments: list[str],
    environment: dict[str, str],
    writer: Connection | None,
    output: Path | None,
    errors: Path | None,
    *,
    are_hashes_cheap: bool,
) -> None:
    """Take over environment, output and arguments, and run the command."""
    os.environ.clear()
    os.environ.update(environment)
    _redirect(1, output, writer)
    _redirect(2, errors, None)
    # Read from the environment when it was imported, which was not this one.
    crash_points.arm(environment.get(crash_points.VARIABLE))
    if are_hashes_cheap:
        _make_hashes_cheap()
    if shared_time.VARIABLE in environment:
        shared_time.live_by(Path(environment[shared_time.VARIABLE]))
    importlib.import_module("tests.prepared").once()
    sys.argv = ["aristobot", *arguments]
    importlib.import_module("app.cli").main()


def _make_hashes_cheap() -> None:
    """As the tests of the application in their own process have it."""
    bootstrap = importlib.import_module("app.bootstrap.accounts")
    bootstrap.PasswordHasher = partial(bootstrap.PasswordHasher, cost=4)  # type: ignore[attr-defined]  # imported there


def _redirect(target: int, path: Path | None, writer: Connection | None) -> None:
    stream = sys.stdout if target == 1 else sys.stderr
    stream.flush()
    if writer is not None:
        os.dup2(writer.fileno(), target)
        writer.close()
    elif path is not None:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, target)
        os.close(opened)
