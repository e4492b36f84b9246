"""Memory that a worker shares with the server: candles that nobody can change any more, and results that one worker may write."""

import asyncio
import fcntl
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.errors import StrategyKilled
from app.sandbox.frames import CANDLE_COLUMNS, DECISION_COLUMNS, EXIT, LONG, SHORT, Candles, Decisions, decision_bytes, decisions_in
from app.sandbox.messages import Frame

# Linux's numbers (fcntl.h): Python knows them on Linux alone, and this module is imported by servers elsewhere as well.
_F_ADD_SEALS: Final = 1033
_F_SEAL_FUTURE_WRITE: Final = 0x10
_NO_OTHER_LENGTH: Final = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW
_ALL_FLAGS: Final = LONG | SHORT | EXIT
#: What each column may hold besides NaN: from, to.
BOUNDS: Final = {
    "size": (0.0, 1.0),
    "stop": (0.0, 1e15),
    "target": (0.0, 1e15),
    "trailing": (0.0, 1.0),
    "adjust": (-1.0, 10.0),
    "stop_loss": (0.0, 1.0),
    "take_profit": (0.0, 1e6),
}


def sealed_candles(candles: Candles) -> int:
    """Return a descriptor of memory with these candles, which can be mapped for reading and never be changed or shortened.

    The caller closes it.
    """
    fd = os.memfd_create("candles", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for name in CANDLE_COLUMNS:
            column = np.ascontiguousarray(getattr(candles, name), dtype=np.int64 if name == "time" else np.float64)
            _write_all(fd, memoryview(column.data).cast("B"))
        # Not F_SEAL_WRITE: kernels before 6.7 then refuse a shared mapping even for reading.
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_FUTURE_WRITE | _NO_OTHER_LENGTH)
    except BaseException:
        os.close(fd)
        raise
    return fd


async def lent_candles(frames: Sequence[tuple[Frame, Candles]], stack: AsyncExitStack) -> list[int]:
    """Return the memory of each frame; the stack closes it.

    Raises:
        ValueError: a frame is not as long as its candles.
    """
    descriptors = []
    for frame, candles in frames:
        if frame.rows != len(candles):
            raise ValueError(f"a frame of {frame.rows} rows with {len(candles)} candles")
        descriptors.append(await asyncio.to_thread(sealed_candles, candles))
        stack.callback(os.close, descriptors[-1])
    return descriptors


def blank_results(rows: int) -> int:
    """Return a descriptor of memory for the decisions at so many candles, of a length that cannot change. The caller closes it."""
    fd = os.memfd_create("results", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, decision_bytes(rows))
    fcntl.fcntl(fd, _F_ADD_SEALS, _NO_OTHER_LENGTH)
    return fd


def copied_results(fd: int, rows: int) -> Decisions:
    """Copy the decisions out of shared memory, then look at the copy: the worker may write while we read.

    Raises:
        StrategyKilled: a value is none that a decision can have. The guest never writes such a one, so somebody else did.
    """
    length = decision_bytes(rows)
    copy = os.pread(fd, length, 0)
    if len(copy) != length:
        raise StrategyKilled("the results are shorter than the candles", reason="results")
    found = decisions_in(memoryview(copy), rows)
    if np.any((found.flags & ~_ALL_FLAGS) != 0):
        raise StrategyKilled(f"a decision at candle {_first((found.flags & ~_ALL_FLAGS) != 0)} has unknown flags", reason="results")
    for name in DECISION_COLUMNS[1:]:
        low, high = BOUNDS[name]
        column = getattr(found, name)
        wrong = ~(np.isnan(column) | ((column >= low) & (column <= high)))
        if np.any(wrong):
            place = _first(wrong)
            raise StrategyKilled(f"{name} at candle {place} must be between {low:g} and {high:g}, was {column[place]:g}", reason="results")
    return found


def pread_exactly(fd: int, length: int, at: int) -> bytes:
    """Copy so many bytes out of shared memory.

    Raises:
        StrategyKilled: they are not there.
    """
    copy = os.pread(fd, length, at)
    if len(copy) != length:
        raise StrategyKilled("the results are shorter than the worker says", reason="results")
    return copy


def _first(wrong: NDArray[np.bool_]) -> int:
    return int(np.argmax(wrong))


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
