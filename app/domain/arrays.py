"""Candles and decisions as columns: one numpy array a column, one row a candle, oldest first. Floats by design, unlike money."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Flags = NDArray[np.uint8]

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

    A column of which nothing is said, or the same in each row, may be one value that is repeated without room (a stride of 0).

    Attributes:
        flags: Bits LONG (enter long), SHORT (enter short), EXIT (leave the position); EXIT with LONG or SHORT turns the position round.
        size: Fraction of equity that an entry at this candle takes (0 to 1); NaN: all of it.
        stop: Absolute stop price from this candle's decision on. It only ever tightens: a looser one changes nothing.
        target: Absolute target price from this candle's decision on.
        trailing: Distance of a trailing stop as a fraction of the best price since the entry (0 to 1), from this candle's decision on.
        adjust: Signed fraction of the position to add (positive) or to take off (negative) at the next open.
        stop_loss: Distance of the stop from the entry's fill as a fraction of it (0 to 1); read at an entry only.
        take_profit: Distance of the target, likewise.
        limit: Price of an entry that rests for the next candle; NaN: the entry is a market order. Read at an entry only.
        target_2: A second target, as `target`; `target_3` a third.
        take_profit_2: Distance of the second target, as `take_profit`; `take_profit_3` of the third.
        part: Fraction of what was entered that leaves at the target (0 to 1); NaN: all that is left. Read where a target is set;
            `part_2` and `part_3` are those of the other targets.
    """

    flags: Flags
    size: Floats
    stop: Floats
    target: Floats
    trailing: Floats
    adjust: Floats
    stop_loss: Floats
    take_profit: Floats
    limit: Floats
    target_2: Floats
    target_3: Floats
    take_profit_2: Floats
    take_profit_3: Floats
    part: Floats
    part_2: Floats
    part_3: Floats

    def __len__(self) -> int:
        return len(self.flags)

    def until(self, rows: int) -> "Decisions":
        """Return the first `rows` decisions, as views."""
        return Decisions(self.flags[:rows], *(getattr(self, name)[:rows] for name in DECIDED))


#: The columns of decisions besides the flags.
DECIDED: Final = (
    "size", "stop", "target", "trailing", "adjust", "stop_loss", "take_profit", "limit",
    "target_2", "target_3", "take_profit_2", "take_profit_3", "part", "part_2", "part_3",
)  # fmt: skip
#: Those that move something while there is a position; a part is read along with its target, and the others at an entry only.
MOVING: Final = ("stop", "target", "trailing", "adjust", "target_2", "target_3")
PARTS: Final = ("part", "part_2", "part_3")


def deciding_rows(decisions: Decisions) -> NDArray[np.int64]:
    """Return the rows that decide anything, whether there is a position or not."""
    says = decisions.flags != 0
    for column in (getattr(decisions, name) for name in MOVING):
        if not is_repeated(column) or not np.isnan(column[:1]).all():
            says = says | ~np.isnan(column)
    return np.flatnonzero(says)


def numbers(array: NDArray[Any]) -> Any:
    """Return the values of an array as something whose `[row]` is a Python number.

    A number out of an array costs three times one out of plain memory, and a list would be a copy four times as large as the array.
    """
    if array.ndim == 1 and array.dtype.isnative and array.dtype.kind in "fiub" and array.dtype.itemsize in (1, 4, 8):
        return memoryview(array)  # type: ignore[arg-type]  # it has a buffer; its stubs say so from Python 3.12 on
    return array.tolist()


def repeated(value: float, rows: int) -> Floats:
    """Return a read-only column of one value, NaN for one that says nothing; it takes no room."""
    return np.broadcast_to(np.float64(value), rows)


def is_repeated(column: Floats) -> bool:
    """Return whether a column is one value for all rows."""
    return column.strides == (0,) or len(column) == 1


def no_decisions(rows: int) -> Decisions:
    """Return room for `rows` decisions that decide nothing."""
    return Decisions(np.zeros(rows, dtype=np.uint8), *(np.full(rows, np.nan) for _ in DECIDED))
