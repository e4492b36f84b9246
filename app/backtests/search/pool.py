"""What the processes of the pool do for a search: simulate many sets of decisions over the same candles, and look at what came of each.

Pure computation. What crosses over for a set are the rows that decide anything, and a dozen figures on the way back.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.backtests.engine import run
from app.backtests.lending import CandleSource
from app.backtests.search.figures import Figures, Span, Stretch
from app.backtests.search.space import Point, Space
from app.domain.arrays import DECIDED, Candles, Decisions, Floats, repeated
from app.domain.outcome import Outcome
from app.domain.simulated import SimulationCosts
from app.errors import BeyondNumbers
from app.sandbox.packed import PackedDecisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How sets are simulated and looked at.

    Attributes:
        costs: Of the account.
        start: Row of the first decision.
        spans: Stretches that figures are wanted of.
        timeframe_ms: Length of a candle.
    """

    costs: SimulationCosts
    start: int
    spans: tuple[Span, ...]
    timeframe_ms: int


@dataclass(slots=True)
class Desk:
    """Columns of so many candles that sets of decisions are laid into, one after the other."""

    rows: int
    _flags: np.typing.NDArray[np.uint8] = field(init=False)
    _columns: dict[str, Floats] = field(init=False, default_factory=dict)
    _nothing: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._flags = np.zeros(self.rows, dtype=np.uint8)
        self._nothing = repeated(np.nan, self.rows)

    def laid(self, packed: PackedDecisions) -> Decisions:
        """Return a set's decisions, one row a candle; they are good until `cleared`."""
        self._flags[packed.rows] = packed.flags
        columns = {}
        for name, values in packed.columns.items():
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = np.full(self.rows, np.nan)
            column[packed.rows] = values
            columns[name] = column
        return Decisions(self._flags, *(columns.get(name, self._nothing) for name in DECIDED))

    def cleared(self, packed: PackedDecisions) -> None:
        """Decide nothing again where that set did."""
        self._flags[packed.rows] = 0
        for name in packed.columns:
            self._columns[name][packed.rows] = np.nan


def figures_of(
    candles: CandleSource, detail: CandleSource | None, sets: Sequence[PackedDecisions | None], terms: Terms
) -> list[list[Figures] | None]:
    """Return the figures of each set, one for each stretch; None for a set that has no decisions, or whose account has no figures."""
    here, walked = candles.here(), None if detail is None else detail.here()
    closes = here.time + terms.timeframe_ms
    stretches = [Stretch(closes, span) for span in terms.spans]
    desk = Desk(len(here))
    found: list[list[Figures] | None] = []
    for one in sets:
        try:
            outcome = None if one is None else _outcome(here, desk, one, terms, walked)
        except BeyondNumbers:
            outcome = None
        found.append(None if outcome is None else [stretch.figures(outcome) for stretch in stretches])
    return found


def outcomes_of(candles: CandleSource, detail: CandleSource | None, sets: Sequence[PackedDecisions], terms: Terms) -> list[Outcome]:
    """Return what came of each set in full; for few of them."""
    here, walked = candles.here(), None if detail is None else detail.here()
    desk = Desk(len(here))
    return [_outcome(here, desk, one, terms, walked) for one in sets]


def _outcome(candles: Candles, desk: Desk, packed: PackedDecisions, terms: Terms, detail: Candles | None) -> Outcome:
    try:
        return run(candles, desk.laid(packed), terms.costs, terms.start, detail=detail)
    finally:
        desk.cleared(packed)


def suggested(space: Space, seed: int, known: list[tuple[Point, float | None]], count: int) -> list[Point]:
    """As `search.study.suggest`. Optuna is imported here alone: by name, so that the server, which names this task, never does."""
    found: list[Point] = importlib.import_module("app.backtests.search.study").suggest(space, seed, known, count)
    return found


def importance_of(space: Space, known: list[tuple[Point, float | None]]) -> dict[str, float]:
    """As `search.study.importance`."""
    found: dict[str, float] = importlib.import_module("app.backtests.search.study").importance(space, known)
    return found
