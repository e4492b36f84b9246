"""Memory that a worker shares with the server: candles that nobody can change any more, and results that one worker may write."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import repeated
from app.errors import StrategyKilled
from app.sandbox.frames import (
    CANDLE_COLUMNS,
    DECIDED,
    EXIT,
    LONG,
    NOTES,
    SHORT,
    Candles,
    Decisions,
    Floats,
    decision_bytes,
    decision_place,
)
from app.sandbox.messages import Frame

# Linux's numbers (fcntl.h): Python knows them on Linux alone, and this module is imported by servers elsewhere as well.
_F_ADD_SEALS: Final = 1033
_F_SEAL_FUTURE_WRITE: Final = 0x10
_NO_OTHER_LENGTH: Final = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW
_ALL_FLAGS: Final = LONG | SHORT | EXIT
_PRICE: Final = (0.0, 1e15)
_FRACTION: Final = (0.0, 1.0)
_GAIN: Final = (0.0, 1e6)
#: What each column may hold besides NaN: from, to.
BOUNDS: Final = {
    "size": _FRACTION,
    "stop": _PRICE,
    "target": _PRICE,
    "trailing": _FRACTION,
    "adjust": (-1.0, 10.0),
    "stop_loss": _FRACTION,
    "take_profit": _GAIN,
    "limit": _PRICE,
    "target_2": _PRICE,
    "target_3": _PRICE,
    "take_profit_2": _GAIN,
    "take_profit_3": _GAIN,
    "part": _FRACTION,
    "part_2": _FRACTION,
    "part_3": _FRACTION,
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


def rows_decided(fd: int, rows: int) -> int:
    """Return how many of its rows a worker says it has decided; nothing depends on it but what is shown."""
    said = int.from_bytes(os.pread(fd, 8, 0), sys.byteorder, signed=True)
    return min(max(said, 0), rows)


def copied_results(fd: int, rows: int, until: int | None = None) -> Decisions:
    """Copy the decisions out of shared memory, then look at the copy: the worker may write while we read.

    Columns that it says it has not used are not looked at.

    Args:
        fd: The memory.
        rows: For how many decisions it has room.
        until: How many of them are wanted; all when left out.

    Raises:
        StrategyKilled: a value is none that a decision can have. The guest never writes such a one, so somebody else did.
    """
    until = rows if until is None else until
    notes: NDArray[np.void] = np.empty(1, dtype=NOTES)
    _read_all(fd, notes.view(np.uint8), 0)
    flags = np.empty(until, dtype=np.uint8)
    _read_all(fd, flags, decision_place(-1, rows))
    if until and flags.max() > _ALL_FLAGS:
        raise StrategyKilled(f"a decision at candle {_first(flags > _ALL_FLAGS)} has unknown flags", reason="results")
    return Decisions(flags, *(_column(fd, rows, until, notes, place) for place in range(len(DECIDED))))


def _column(fd: int, rows: int, until: int, notes: NDArray[np.void], place: int) -> Floats:
    name = DECIDED[place]
    if not int(notes["written"][0]) >> place & 1:
        is_said = int(notes["repeated"][0]) >> place & 1
        return _within_bounds(name, repeated(float(notes["values"][0, place]) if is_said else np.nan, until))
    column = np.empty(until)
    _read_all(fd, column.view(np.uint8), decision_place(place, rows))
    return _within_bounds(name, column)


def _within_bounds(name: str, column: Floats) -> Floats:
    low, high = BOUNDS[name]
    some = column[:1] if column.strides == (0,) else column
    # Comparisons with a NaN are false; these two pass over it, and are NaN where there is nothing else.
    if len(some) and (np.fmin.reduce(some) < low or np.fmax.reduce(some) > high):
        place = _first((some < low) | (some > high))
        raise StrategyKilled(f"{name} at candle {place} must be between {low:g} and {high:g}, was {some[place]:g}", reason="results")
    return column


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


def _read_all(fd: int, into: NDArray[np.uint8], place: int) -> None:
    if len(into) and os.preadv(fd, [into.data], place) != len(into):
        raise StrategyKilled("the results are shorter than the candles", reason="results")


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
