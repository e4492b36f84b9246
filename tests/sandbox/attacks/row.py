"""What a row of the attack table is."""

from dataclasses import dataclass
from typing import Final

#: The columns of the table: what happens to an attack when only this layer stands in its way (limits come with a user of their own,
#: for root may raise them).
COLUMNS: Final = ("none", "uid", "limits", "landlock", "seccomp")
WORKS: Final = "✗"
STOPPED: Final = "✓"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack: the code of a strategy, and what must come of it.

    Attributes:
        number: Place in the table; stable.
        code: Lines between the prelude and the class. They raise `Leak` when they got what they wanted. What they define under the names
            `at_indicators(strategy, candles)` and `at_candle(strategy)` is called from the methods of the strategy.
        outcome: Regular expression that what is observed matches when every layer is on.
        only: One sign a column of `COLUMNS`, ✗ where the attack works.
        note: Why a column is as it is, where that surprises.
        asks: The requests that the worker gets, one after another; `idle` waits for a while instead.
        worked: Regular expression that what is observed matches where the attack works.
        by: What stops it where no layer is needed: a mechanism that is always there.
        machine: The only processor that it is written for.
        wall_s: What each request may take. Far more than any attack needs, but where the clock is what stops it.
        is_whole: Whether the code is the whole source, without prelude and class.
    """

    number: int
    title: str
    code: str
    outcome: str
    only: str = STOPPED * len(COLUMNS)
    note: str = ""
    asks: tuple[str, ...] = ("load",)
    worked: str = r"^leaked"
    by: str = ""
    machine: str = ""
    is_whole: bool = False
    wall_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a row that cannot be read."""
        if len(self.only) != len(COLUMNS) or set(self.only) - {WORKS, STOPPED}:
            raise ValueError(f"attack {self.number} has no readable columns: {self.only}")
        if WORKS not in self.only and not self.by:
            raise ValueError(f"attack {self.number} does not say what stops it")

    @property
    def needs_layers(self) -> bool:
        """Whether it works when no layer is on, so that a test of a layer says something."""
        return WORKS in self.only

    def works_with(self, column: str) -> bool:
        """Return whether it works when only this layer is on."""
        return self.only[COLUMNS.index(column)] == WORKS

    def works_without(self, layer: str) -> bool:
        """Return whether it works when every layer but this one is on."""
        return all(self.works_with(column) for column in COLUMNS if column != layer)
