"""Ticks, steps and the other small sums of a simulated candle, in floats."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Candles, Times

#: Quantities that differ by less than this fraction of a step are the same: 0.1 + 0.2 is three steps of 0.1.
GRID_TOLERANCE: Final = 1e-9
#: By how much a whole number of units differs from one where it is one but for the last bits.
SAME_UNIT: Final = 1e-12
_EIGHT_HOURS_MS: Final = 8 * 3_600_000


def on_tick(price: float, tick: float, *, up: bool) -> float:
    """Return a price as a multiple of the tick, the next one above or below; as it is where there is no tick."""
    if tick <= 0:
        return price
    return in_units(math.ceil(price / tick - GRID_TOLERANCE) if up else math.floor(price / tick + GRID_TOLERANCE), tick)


def floored(quantity: float, step: float) -> float:
    """Return a quantity as whole steps; as it is where there is no step."""
    return quantity if step <= 0 or quantity == math.inf else in_units(math.floor(quantity / step + GRID_TOLERANCE), step)


def in_units(count: float, unit: float) -> float:
    """Return so many units as the float that is written so.

    Three ticks of 0.1 are 0.3, while 3 × 0.1 is a little more: a candle that only touches a level would be seen beyond it.
    """
    a_whole = float(round(1 / unit))
    return float(count) / a_whole if abs(a_whole * unit - 1) <= SAME_UNIT else count * unit


def tighter(side: int, one: float | None, other: float | None) -> float | None:
    """Return the stop that is nearer to the price for a side; None is no stop."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other) if side > 0 else min(one, other)


def worse(side: int, one: float, other: float) -> float:
    """Return the price that is worse for a side."""
    return min(one, other) if side > 0 else max(one, other)


def dues(times: Times) -> NDArray[np.int64]:
    """Return how often funding (00, 08 and 16 UTC) fell due since the candle before each one, its own opening included; 0 for the first."""
    moments = times // _EIGHT_HOURS_MS
    return np.diff(moments, prepend=moments[:1])


def minutes_within(candles: Candles, detail: Candles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each candle the rows of `detail` that lie in it, first and end (exclusive); none where they do not reach its extremes.

    Shorter candles of which some are missing would hide what the candle itself tells.
    """
    rows = len(candles)
    first = np.searchsorted(detail.time, candles.time)
    length = int(np.diff(candles.time).min()) if rows > 1 else 0
    end = np.searchsorted(detail.time, candles.time + length)
    lowest, highest = np.full(rows, np.inf), np.full(rows, -np.inf)
    some = np.flatnonzero(end > first)
    if len(some):
        # Every second of these bounds begins the stretch between two candles, which is of no interest; the last stretch ends by itself.
        bounds = np.column_stack([first[some], end[some]]).ravel()
        bounds = bounds[:-1] if bounds[-1] == len(detail) else bounds
        lowest[some] = np.minimum.reduceat(detail.low, bounds)[::2]
        highest[some] = np.maximum.reduceat(detail.high, bounds)[::2]
    is_whole = (lowest <= candles.low) & (highest >= candles.high)
    return first, np.where(is_whole, end, first)
