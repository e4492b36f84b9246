"""Tables and curves of a result: months and years, the distribution of returns, and few points of a long curve."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.metrics import daily_rows, returns_of

#: Sought number of bars; steps of 1, 2 or 5 make it a few more or fewer.
_BARS: Final = 24
#: With fewer values than this each may be an outlier, and none is.
_FEW: Final = 50
_MONTHS: Final = 12
#: Of a bucket the lowest and highest of two curves.
_KEPT_A_BUCKET: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class YearReturns:
    """One calendar year (UTC), in fractions of the equity at the month's or year's begin.

    `months` has twelve returns, None where there was nothing; `total` is that of the year, `held` that of having held.
    """

    year: int
    months: tuple[float | None, ...]
    total: float
    held: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many values lie where: bar `i` has `counts[i]` of them from `edges[i]` (inclusive) to `edges[i + 1]`; 0 is an edge if inside.

    The first bar also has the `below` values left of it, and the last one the `above` right of it: outliers, which would squeeze the rest.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int


def year_returns(times: Times, equity: Floats, held: Floats) -> tuple[YearReturns, ...]:
    """Return what each month and year brought; the first row is what there was before. A moment at midnight belongs to what it ends."""
    if len(times) < 2:
        return ()
    # Months end where days end, and there are few days.
    rows = np.unique(daily_rows(times)[1:])
    rows = rows[rows > 0]
    months = (times[rows] - 1).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    lasts = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    ends = np.concatenate(([0], rows[lasts]))
    returned = dict(zip(months[lasts].tolist(), returns_of(equity[ends]).tolist(), strict=True))
    years = months[lasts] // _MONTHS
    of_year = np.flatnonzero(np.append(years[1:] != years[:-1], True))
    year_ends = np.concatenate(([0], rows[lasts[of_year]]))
    found = zip(years[of_year].tolist(), returns_of(equity[year_ends]).tolist(), returns_of(held[year_ends]).tolist(), strict=True)
    return tuple(
        YearReturns(
            year=1970 + year, months=tuple(returned.get(year * _MONTHS + month) for month in range(_MONTHS)), total=total, held=of_held
        )
        for year, total, of_held in found
    )


def distribution(values: Floats) -> Distribution | None:
    """Return the histogram of values in steps of 1, 2 or 5 times a power of ten; None without any."""
    if not len(values):
        return None
    low, high = (float(values.min()), float(values.max())) if len(values) < _FEW else map(float, np.percentile(values, [1, 99]))
    step = _round_step((high - low) / _BARS) or _round_step(max(abs(low), abs(high)) / _BARS) or 1.0
    first, last = math.floor(low / step), math.floor(high / step) + 1
    bars = np.floor(values / step)
    counts = np.bincount((np.clip(bars, first, last - 1) - first).astype(np.int64), minlength=last - first)
    return Distribution(
        # Not a sum of steps: 3 × 0.1 in floats is no bound that anybody wants to read.
        edges=tuple(float(f"{edge * step:.10g}") for edge in range(first, last + 1)),
        counts=tuple(counts.tolist()),
        below=int((bars < first).sum()),
        above=int((bars > last - 1).sum()),
    )


def telling_rows(equity: Floats, held: Floats, most: int, always: tuple[int, ...] = ()) -> Times:
    """Return at most so many rows that draw two curves as all rows would: the first, the last, and the extremes of equal parts.

    Args:
        equity: One curve.
        held: The other, of the same length.
        most: Rows wanted at most.
        always: Rows that must be among them.
    """
    rows = len(equity)
    if rows <= most:
        return np.arange(rows)
    fixed = np.array([0, rows - 1, *always], dtype=np.int64)
    parts = (most - len(fixed)) // _KEPT_A_BUCKET
    size = -(-rows // parts)
    whole = rows // size * size
    found = [fixed]
    for curve in (equity, held):
        equal, starts = curve[:whole].reshape(-1, size), np.arange(0, whole, size)
        found += [starts + equal.argmin(axis=1), starts + equal.argmax(axis=1)]
        if whole < rows:
            found.append(whole + np.array([curve[whole:].argmin(), curve[whole:].argmax()]))
    return np.unique(np.concatenate(found))


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten; 0 where there is none."""
    if not (math.isfinite(step) and step > 1e-300):
        return 0.0
    power = 10.0 ** math.floor(math.log10(step))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= step * (1 - 1e-9)), 10 * power)
