"""Where a guest writes its decisions: of the columns only those that are used are touched, so that the others cost nothing."""

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import DECIDED, Decisions, Flags, Floats, repeated
from app.domain.simulated import Wish
from app.sandbox.frames import decision_bytes, decision_place, notes_in

_PLACES = {name: place for place, name in enumerate(DECIDED)}


class Sheet:
    """Room for decisions, one row a candle: plain memory, or such that is shared with the server.

    What this writes about itself (how far it has come, which columns hold something) is read by the server and not believed.
    """

    def __init__(self, rows: int, memory: memoryview | None = None) -> None:
        """Take memory of `decision_bytes(rows)`, or some of its own."""
        self._memory = memory if memory is not None else np.zeros(decision_bytes(rows), dtype=np.uint8).data
        self._notes = notes_in(self._memory)
        self._columns: dict[str, Floats] = {}
        self._values: dict[str, float] = {}
        self.flags: Flags = np.frombuffer(self._memory, dtype=np.uint8, count=rows, offset=decision_place(-1, rows))

    def __len__(self) -> int:
        return len(self.flags)

    def clear(self) -> None:
        """Decide nothing anywhere."""
        self._notes["decided"] = self._notes["written"] = self._notes["repeated"] = 0
        self._columns.clear()
        self._values.clear()
        self.flags.fill(0)

    def column(self, name: str) -> Floats:
        """Return a column to write into."""
        known = self._columns.get(name)
        if known is None:
            known = self.room(name)
            known.fill(np.nan)
            self._columns[name] = known
            # Noted once it is filled: who reads meanwhile must not take what was there for decisions.
            self._notes["written"] |= 1 << _PLACES[name]
        return known

    def room(self, name: str) -> Floats:
        """Return a column's memory as it is, for those who keep their own account of what is in it."""
        return np.frombuffer(self._memory, dtype=np.float64, count=len(self), offset=decision_place(_PLACES[name], len(self)))

    def whole_flags(self) -> NDArray[np.int64]:
        """Return the memory of the flags with eight bytes for each row, which is a byte's in all other uses."""
        return np.frombuffer(self._memory, dtype=np.int64, count=len(self), offset=decision_place(-1, len(self)))

    def repeat(self, name: str, value: float) -> None:
        """Say the same in each row of a column."""
        place = _PLACES[name]
        self._values[name] = value
        self._notes["values"][0, place] = value
        self._notes["repeated"] |= 1 << place

    def write(self, row: int, wish: Wish) -> None:
        """Write down what was decided at a candle."""
        self.flags[row] = wish.flags
        for name in DECIDED:
            value = getattr(wish, name)
            if value is not None:
                self.column(name)[row] = value

    def come_to(self, rows: int) -> None:
        """Note that so many rows are decided."""
        self._notes["decided"] = rows

    def decisions(self) -> Decisions:
        """Return what has been decided, as views."""
        return Decisions(self.flags, *(self._as_column(name) for name in DECIDED))

    def _as_column(self, name: str) -> NDArray[np.float64]:
        written = self._columns.get(name)
        return written if written is not None else repeated(self._values.get(name, np.nan), len(self))
