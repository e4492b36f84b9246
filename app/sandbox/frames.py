"""How candles and decisions lie in memory that the server and a worker share."""

from typing import Final

import numpy as np

from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, Floats, Times

__all__ = [
    "CANDLE_COLUMNS",
    "DECISION_COLUMNS",
    "EXIT",
    "LONG",
    "SHORT",
    "Candles",
    "Decisions",
    "Floats",
    "Times",
    "candle_bytes",
    "candles_in",
    "decision_bytes",
    "decisions_in",
]

#: Columns of a frame of candles, one after the other, `rows` times 8 bytes each: the open time in ms, then the prices and the volume.
CANDLE_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
#: Columns of the decisions, in the same layout. `flags` holds whole numbers; the others hold NaN where nothing was decided.
DECISION_COLUMNS: Final = ("flags", "size", "stop", "target", "trailing", "adjust", "stop_loss", "take_profit")


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
