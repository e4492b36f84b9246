"""Candles and decisions as columns: one numpy array a column, one row a candle, oldest first. Floats by design, unlike money."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

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

    def until(self, rows: int) -> "Candles":
        """Return the first `rows` candles."""
        return self.between(0, rows)

    def between(self, start: int, end: int) -> "Candles":
        """Return the candles of the rows `start` (inclusive) to `end` (exclusive), as views."""
        return Candles(
            self.time[start:end],
            self.open[start:end],
            self.high[start:end],
            self.low[start:end],
            self.close[start:end],
            self.volume[start:end],
        )


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a strategy decided at the close of each candle: one row a candle. A NaN says nothing.

    Attributes:
        flags: Bits LONG (enter long), SHORT (enter short), EXIT (leave the position); EXIT with LONG or SHORT turns the position round.
        size: Fraction of equity that an entry at this candle takes (0 to 1); NaN: all of it.
        stop: Absolute stop price from this candle's decision on. It only ever tightens: a looser one changes nothing.
        target: Absolute target price from this candle's decision on.
        trailing: Distance of a trailing stop as a fraction of the best price since the entry (0 to 1), from this candle's decision on.
        adjust: Signed fraction of the position to add (positive) or to take off (negative) at the next open.
        stop_loss: Distance of the stop from the entry's fill as a fraction of it (0 to 1); read at an entry only.
        take_profit: Distance of the target, likewise.
    """

    flags: NDArray[np.int64]
    size: Floats
    stop: Floats
    target: Floats
    trailing: Floats
    adjust: Floats
    stop_loss: Floats
    take_profit: Floats

    def __len__(self) -> int:
        return len(self.flags)

    def clear(self) -> None:
        """Decide nothing anywhere."""
        self.flags.fill(0)
        for column in (self.size, self.stop, self.target, self.trailing, self.adjust, self.stop_loss, self.take_profit):
            column.fill(np.nan)


def numbers(array: NDArray[Any]) -> Any:
    """Return the values of an array as something whose `[row]` is a Python number.

    A number out of an array costs three times one out of plain memory, and a list would be a copy four times as large as the array.
    """
    if array.ndim == 1 and array.dtype.isnative and array.dtype.kind in "fiub" and array.dtype.itemsize in (1, 4, 8):
        return memoryview(array)  # type: ignore[arg-type]  # it has a buffer; its stubs say so from Python 3.12 on
    return array.tolist()


def no_decisions(rows: int) -> Decisions:
    """Return room for `rows` decisions that decide nothing."""
    decisions = Decisions(np.zeros(rows, dtype=np.int64), *(np.empty(rows) for _ in range(7)))
    decisions.clear()
    return decisions
