"""A lock between processes that the kernel drops when its last holder dies, however it died.

`flock` belongs to an open file, not to a process: a child that inherits the file holds the lock too. That is what makes it a proof of
life that no reused process id, zombie or process namespace can forge.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from app.errors import ConfigError

log = structlog.get_logger(__name__)

_POLL_S = 0.02
_SAY_AFTER_S = 5.0


class FileLock:
    """One lock file. An instance holds the lock at most once; the file itself is never removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free, and say whether it was.

        Raises:
            ConfigError: the file cannot be opened, or its file system knows no locks.
        """
        if self._fd is not None:
            raise RuntimeError(f"{self._path} is already held by this instance")
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise ConfigError(
                f"the lock file {self._path} cannot be opened: {e.strerror}. Does the data folder belong to this user?"
            ) from e
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as e:
            os.close(fd)
            raise ConfigError(
                f"the file system of {self._path} has no file locks ({e.strerror}): keep the data folder on a local disk"
            ) from e
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock up, also on behalf of children that inherited it. Does nothing when it is not held."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = None

    def leave_to_children(self) -> None:
        """Close our file without unlocking: the lock now lasts as long as a child that inherited `fileno()`."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def fileno(self) -> int:
        """Return the open file's descriptor, to be passed to a child."""
        if self._fd is None:
            raise RuntimeError(f"{self._path} is not held")
        return self._fd

    @property
    def is_free(self) -> bool:
        """Nobody holds the lock at this moment."""
        probe = FileLock(self._path)
        if not probe.try_acquire():
            return False
        probe.release()
        return True

    @asynccontextmanager
    async def held(self, *, timeout_s: float) -> AsyncIterator[None]:
        """Hold the lock exclusively inside the block, apart from what this instance itself holds.

        Raises:
            ConfigError: another process kept it for longer than `timeout_s`.
        """
        turn = FileLock(self._path)  # of its own, so that two tasks of one process wait for each other too
        begun = time.monotonic()
        said = False
        while not turn.try_acquire():
            waited_s = time.monotonic() - begun
            if waited_s > timeout_s:
                raise ConfigError(f"another process has held {self._path} for {timeout_s:.0f} seconds; is it stuck?")
            if waited_s > _SAY_AFTER_S and not said:
                said = True
                log.info("waiting for another process that starts or stops PostgreSQL", lock=str(self._path))
            await asyncio.sleep(_POLL_S)
        try:
            yield
        finally:
            turn.release()
