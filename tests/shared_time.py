"""A time that several processes live by: one sets it, the others show it. For servers beside a replayed exchange, which are killed."""

import mmap
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.core import clock
from app.exchanges import clock_offset

#: Names the file in the environment of a program of ours that `tests.forked` starts.
VARIABLE: Final = "REPLAYED_TIME"
_FORMAT: Final = struct.Struct("<qd")


class SharedTime:
    """Milliseconds since the epoch in a file, and since when (monotonic, the same for all processes) it has been that time."""

    def __init__(self, path: Path) -> None:
        if not path.exists() or not path.stat().st_size:
            path.write_bytes(_FORMAT.pack(0, time.monotonic()))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORMAT.size)

    def set(self, moment_ms: int) -> None:
        """Let it be that time for everybody."""
        _FORMAT.pack_into(self._memory, 0, moment_ms, time.monotonic())

    def get(self) -> int:
        """Return the time."""
        moment_ms: int = _FORMAT.unpack_from(self._memory)[0]
        return moment_ms

    def now(self) -> datetime:
        """Return the time, aware UTC; within one millisecond of it later calls come later, of whichever process."""
        moment_ms, since = _FORMAT.unpack_from(self._memory)
        micros = min(max(int((time.monotonic() - since) * 10), 0), 900)
        return datetime.fromtimestamp(moment_ms // 1000, UTC).replace(microsecond=moment_ms % 1000 * 1000 + micros)


def live_by(path: Path) -> None:
    """Let this process have that time: its clock, and what it compares its clock with."""
    shared = SharedTime(path)
    clock.SystemClock.now = lambda _self: shared.now()  # type: ignore[method-assign, assignment]  # of the whole process
    defaults = clock_offset.ClockOffset.__init__.__kwdefaults__
    assert defaults is not None
    defaults["monotonic"] = lambda: shared.get() / 1000
