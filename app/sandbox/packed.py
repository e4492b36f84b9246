"""Decisions of many sets of parameters in the results' memory of one worker: only the rows that decide anything, set after set.

The columns lie where `sandbox.frames` has them, but a row is not a candle: its first column holds the candle's row times eight plus the
flags, eight bytes each. Of the other columns only those that a set says to use are written and read.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import DECIDED, EXIT, LONG, SHORT, Decisions, Flags, Floats, deciding_rows
from app.errors import StrategyKilled
from app.sandbox.frames import decision_place
from app.sandbox.memory import BOUNDS, pread_exactly
from app.sandbox.messages import Packed
from app.sandbox.sheet import Sheet

#: Bits of the first column that are flags.
FLAG_BITS: Final = 3
_ALL_FLAGS: Final = LONG | SHORT | EXIT


@dataclass(frozen=True, slots=True)
class PackedDecisions:
    """Decisions of one set of parameters at the rows that decide anything, ascending; only the columns that are used."""

    rows: NDArray[np.int64]
    flags: Flags
    columns: dict[str, Floats]

    def lay_into(self, decisions: Decisions) -> None:
        """Write them into decisions that decide nothing."""
        decisions.flags[self.rows] = self.flags
        for name, values in self.columns.items():
            getattr(decisions, name)[self.rows] = values

    def take_out_of(self, decisions: Decisions) -> None:
        """Let those decisions decide nothing again."""
        decisions.flags[self.rows] = 0
        for name in self.columns:
            getattr(decisions, name)[self.rows] = np.nan

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return self.rows.nbytes + self.flags.nbytes + sum(column.nbytes for column in self.columns.values())


def pack_into(results: Sheet, at: int, decisions: Decisions) -> Packed | None:
    """Write what decides anything into the results' memory from row `at` on; None when there is no room."""
    rows = deciding_rows(decisions)
    if at + len(rows) > len(results):
        return None
    room = slice(at, at + len(rows))
    results.whole_flags()[room] = (rows << FLAG_BITS) | decisions.flags[rows]
    columns = 0
    for place, name in enumerate(DECIDED):
        values = getattr(decisions, name)[rows]
        if not np.isnan(values).all():
            columns |= 1 << place
            results.room(name)[room] = values
    return Packed(rows=len(rows), columns=columns)


def used(columns: int) -> list[str]:
    """Return the names of the columns that a mask stands for."""
    return [name for place, name in enumerate(DECIDED) if columns >> place & 1]


def unpacked(fd: int, room: int, sets: list[Packed], candles: int) -> list[PackedDecisions | None]:
    """Copy packed decisions out of shared memory, then look at the copy: the worker may write while we read.

    Args:
        fd: Of the results' memory.
        room: Its rows.
        sets: What the worker says lies there.
        candles: How many there are: no row is beyond them.

    Returns:
        The decisions of each set; None for one that has a problem.

    Raises:
        StrategyKilled: the memory holds what no decision can be. The guest never writes such a one, so somebody else did.
    """
    total = sum(one.rows for one in sets)
    if total > room:
        raise StrategyKilled(f"{total} decisions in room for {room}", reason="results")
    first = np.frombuffer(pread_exactly(fd, 8 * total, decision_place(-1, room)), dtype=np.int64)
    rows, flags = first >> FLAG_BITS, (first & _ALL_FLAGS).astype(np.uint8)
    if total and (int(rows.min()) < 0 or int(rows.max()) >= candles):
        raise StrategyKilled("a decision is at a candle that is not there", reason="results")
    found: list[PackedDecisions | None] = []
    at = 0
    for one in sets:
        part = slice(at, at + one.rows)
        if one.rows > 1 and bool((np.diff(rows[part]) <= 0).any()):
            raise StrategyKilled("decisions are not in the order of the candles", reason="results")
        columns = {name: _column(fd, room, name, part) for name in used(one.columns)}
        found.append(None if one.problem else PackedDecisions(rows[part], flags[part], columns))
        at += one.rows
    return found


def _column(fd: int, room: int, name: str, part: slice) -> Floats:
    begins = decision_place(DECIDED.index(name), room)
    column = np.frombuffer(pread_exactly(fd, 8 * (part.stop - part.start), begins + 8 * part.start), dtype=np.float64)
    low, high = BOUNDS[name]
    if not bool((np.isnan(column) | ((column >= low) & (column <= high))).all()):
        raise StrategyKilled(f"a decision's {name} is not between {low:g} and {high:g}", reason="results")
    return column
