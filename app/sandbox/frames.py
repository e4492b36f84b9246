"""How candles and decisions lie in memory that the server and a worker share."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

#: Columns of a frame of candles, one after the other, `rows` times 8 bytes each: the open time in ms, then the prices and the volume.
CANDLE_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
#: Columns of the decisions, in the same layout. `flags` holds whole numbers; the others hold NaN where nothing was decided.
DECISION_COLUMNS: Final = ("flags", "size", "stop", "target", "trailing", "adjust")
LONG: Final = 1
SHORT: Final = 2
EXIT: Final = 4


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one market, oldest first: one array a column, all of one length. Times are open times in ms since 1970 UTC."""

    time: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a strategy decided at the close of each candle: one row a candle.

    Attributes:
        flags: Bits LONG (enter long), SHORT (enter short), EXIT (leave the position).
        size: Fraction of equity that an entry at this candle takes (0 to 1); NaN: all of it.
        stop: Absolute stop price from this candle's decision on; NaN: unchanged, or none at an entry.
        target: Absolute target price, likewise.
        trailing: Distance of a trailing stop as a fraction of the price (0 to 1), likewise.
        adjust: Signed fraction of the position to add (positive) or to take off (negative) at the next open; NaN: none.
    """

    flags: NDArray[np.int64]
    size: Floats
    stop: Floats
    target: Floats
    trailing: Floats
    adjust: Floats

    def __len__(self) -> int:
        return len(self.flags)


def candle_bytes(rows: int) -> int:
    """Return how long the memory of `rows` candles is."""
    return rows * 8 * len(CANDLE_COLUMNS)


def decision_bytes(rows: int) -> int:
    """Return how long the memory of the decisions at `rows` candles is."""
    return rows * 8 * len(DECISION_COLUMNS)


def candles_in(memory: memoryview, rows: int) -> Candles:
    """Return a view of the candles that lie in memory."""
    times = np.frombuffer(memory, dtype=np.int64, count=rows)
    return Candles(times, *(_floats(memory, rows, place) for place in range(1, len(CANDLE_COLUMNS))))


def decisions_in(memory: memoryview, rows: int) -> Decisions:
    """Return a view of the decisions that lie in memory; writable where the memory is."""
    flags = np.frombuffer(memory, dtype=np.int64, count=rows)
    return Decisions(flags, *(_floats(memory, rows, place) for place in range(1, len(DECISION_COLUMNS))))


def _floats(memory: memoryview, rows: int, place: int) -> Floats:
    return np.frombuffer(memory, dtype=np.float64, count=rows, offset=8 * rows * place)
