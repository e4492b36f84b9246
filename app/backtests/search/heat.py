"""The heat map of two parameters: in each cell the best of the trials that have these two values, whatever the others were. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from app.backtests.search.space import Axis, Space
from app.sandbox.messages import Value

#: Rows and columns of a map; longer axes are put together.
MOST_CELLS: Final = 12
#: Shades of its one hue.
SHADES: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pair of values, or of ranges of them.

    Attributes:
        score: The best of its trials; None where none can be ranked.
        trials: How many there are.
        shade: 0 to `SHADES` − 1 by its place among the scores of all cells, so that one that is far off does not leave the others alike;
            None without a score.
        best: Number of the trial that `score` is of.
    """

    score: float | None
    trials: int
    shade: int | None
    best: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Rows are of `y`, columns of `x`; labels are the first and the last value of each."""

    x: str
    y: str
    columns: tuple[tuple[Value, Value], ...]
    rows: tuple[tuple[Value, Value], ...]
    cells: tuple[tuple[Cell, ...], ...]
    lowest: float | None
    highest: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A trial as the map needs it."""

    number: int
    point: Sequence[int]
    score: float | None


def heat_map(space: Space, trials: Sequence[Scored], x: str, y: str) -> HeatMap:
    """Return the map.

    Raises:
        KeyError: one of the two does not vary.
    """
    places = {axis.name: place for place, axis in enumerate(space.axes)}
    column, row = places[x], places[y]
    columns, rows = _bins(space.axes[column]), _bins(space.axes[row])
    found: dict[tuple[int, int], list[Scored]] = {}
    row_of, column_of = _bin_of_places(rows), _bin_of_places(columns)
    for trial in trials:
        found.setdefault((row_of[trial.point[row]], column_of[trial.point[column]]), []).append(trial)
    best = {place: max(scores) for place, those in found.items() if (scores := [one.score for one in those if one.score is not None])}
    ladder = sorted(set(best.values()))
    cells = tuple(tuple(_cell(found.get((at, beside), []), ladder) for beside in range(len(columns))) for at in range(len(rows)))
    return HeatMap(
        x=x,
        y=y,
        columns=_labels(space.axes[column], columns),
        rows=_labels(space.axes[row], rows),
        cells=cells,
        lowest=ladder[0] if ladder else None,
        highest=ladder[-1] if ladder else None,
    )


def two_of(space: Space, importance: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the two parameters that matter most, x first; None where fewer than two vary."""
    varied = [axis.name for axis in space.axes if len(axis.values) > 1]
    if len(varied) < 2:
        return None
    first, second = sorted(varied, key=lambda name: -float(importance.get(name, 0.0)))[:2]
    return first, second


def _bins(axis: Axis) -> list[tuple[int, int]]:
    """Return first and last place of each row or column."""
    many = len(axis.values)
    count = min(many, MOST_CELLS)
    edges = [round(place * many / count) for place in range(count + 1)]
    return [(begin, end - 1) for begin, end in pairwise(edges)]


def _bin_of_places(bins: list[tuple[int, int]]) -> list[int]:
    return [number for number, (first, last) in enumerate(bins) for _ in range(first, last + 1)]


def _labels(axis: Axis, bins: list[tuple[int, int]]) -> tuple[tuple[Value, Value], ...]:
    return tuple((axis.values[first], axis.values[last]) for first, last in bins)


def _cell(trials: list[Scored], ladder: list[float]) -> Cell:
    ranked = [(trial.score, -trial.number) for trial in trials if trial.score is not None]
    if not ranked:
        return Cell(score=None, trials=len(trials), shade=None, best=None)
    score, number = max(ranked)
    place = ladder.index(score)
    return Cell(score=score, trials=len(trials), shade=place * (SHADES - 1) // max(len(ladder) - 1, 1), best=-number)
