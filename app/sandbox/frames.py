"""How candles and decisions lie in memory that the server and a worker share."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import DECIDED, EXIT, LONG, SHORT, Candles, Decisions, Floats, Times

__all__ = [
    "CANDLE_COLUMNS",
    "DECIDED",
    "DECISION_COLUMNS",
    "EXIT",
    "LONG",
    "NOTES",
    "PAGE",
    "SHORT",
    "Candles",
    "Decisions",
    "Floats",
    "Notes",
    "Times",
    "candle_bytes",
    "candles_in",
    "decision_bytes",
    "decision_place",
    "notes_in",
]

#: Columns of a frame of candles, one after the other, `rows` times 8 bytes each: the open time in ms, then the prices and the volume.
CANDLE_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
DECISION_COLUMNS: Final = ("flags", *DECIDED)
#: What is never written of shared memory takes no room, a page at a time: so each column of the decisions begins at one.
PAGE: Final = 4096
#: The first page of the decisions' memory.
NOTES: Final = np.dtype([("decided", np.int64), ("written", np.int64), ("repeated", np.int64), ("values", np.float64, (len(DECIDED),))])
Notes = NDArray[np.void]


def candle_bytes(rows: int) -> int:
    """Return how long the memory of `rows` candles is."""
    return rows * 8 * len(CANDLE_COLUMNS)


def decision_place(column: int, rows: int) -> int:
    """Return where a column of the decisions at `rows` candles begins; −1 is the flags, the others count by `DECIDED`."""
    return PAGE + (column + 1) * _whole_pages(8 * rows)


def decision_bytes(rows: int) -> int:
    """Return how long the memory of the decisions at `rows` candles is: notes, flags, then columns of floats.

    The flags have as much room as the others, and use a byte each: what is not used is not there.
    """
    return decision_place(len(DECIDED), rows)


def _whole_pages(length: int) -> int:
    return -(-length // PAGE) * PAGE


def candles_in(memory: memoryview, rows: int) -> Candles:
    """Return a view of the candles that lie in memory."""
    times = np.frombuffer(memory, dtype=np.int64, count=rows)
    return Candles(times, *(_floats(memory, rows, place) for place in range(1, len(CANDLE_COLUMNS))))


def notes_in(memory: memoryview) -> Notes:
    """Return a view of the notes at the beginning of the decisions' memory, one record.

    Its fields: `decided` rows so far; `written` and `repeated`, bits by the place in `DECIDED` of the columns that hold something and of
    those that are one value everywhere, which stands in `values`.
    """
    return np.frombuffer(memory, dtype=NOTES, count=1)


def _floats(memory: memoryview, rows: int, place: int) -> Floats:
    return np.frombuffer(memory, dtype=np.float64, count=rows, offset=8 * rows * place)
