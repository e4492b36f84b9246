"""Walk-forward: whether what was chosen on one part of the past held in the part right after it, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from app.domain.metrics import finite, ratio

FEWEST_WINDOWS: Final = 3
#: Rules of thumb (R. Pardo, "The Evaluation and Optimization of Trading Strategies", 2008): half of what was promised, in most windows.
GOOD_EFFICIENCY: Final = 0.5
GOOD_SHARE: Final = 0.7
_FAIR_SHARE: Final = 0.5


class Stability(StrEnum):
    """How well the windows held."""

    #: At least half of what was promised, and most windows won.
    STABLE = "stable"
    #: It earns something in later parts, but much less than promised or in too few of them.
    FRAGILE = "fragile"
    #: It loses in later parts.
    UNSTABLE = "unstable"
    #: Too few windows to tell, or nothing was promised in the first place.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One step. Returns are fractions a year, not compounded: a window of days would otherwise promise thousands of percent.

    Attributes:
        train_start_ms: Begin of the part that parameters were chosen on.
        test_start_ms: Begin of the part right after it.
        test_end_ms: Its end.
        train: Return of the chosen parameters in the first.
        test: Return of the same in the second.
        train_sharpe: Likewise.
        test_sharpe: Likewise.
        trades: Closed trades in the second.
    """

    train_start_ms: int
    test_start_ms: int
    test_end_ms: int
    train: float
    test: float
    train_sharpe: float | None
    test_sharpe: float | None
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """What the windows say together.

    Attributes:
        stability: The verdict.
        windows: How many there were.
        efficiency: Mean test return / mean train return; 1 is as good as promised. None when nothing was promised.
        winning: Fraction of windows whose test part won.
        worst: Smallest test return.
        deviation: Deviation of the test returns; None below two windows.
        trades: Closed trades in all test parts.
    """

    stability: Stability
    windows: int
    efficiency: float | None
    winning: float
    worst: float
    deviation: float | None
    trades: int


def walk_forward(windows: Sequence[Window]) -> WalkForward:
    """Return the verdict over windows.

    Raises:
        ValueError: there is none.
    """
    if not windows:
        raise ValueError("there must be a window")
    train = np.array([window.train for window in windows])
    test = np.array([window.test for window in windows])
    promised, came = float(train.mean()), float(test.mean())
    efficiency = ratio(came, promised) if promised > 0 else None
    winning = float(np.mean(test > 0))
    trades = sum(window.trades for window in windows)
    return WalkForward(
        stability=_verdict(len(windows), efficiency, winning, came, trades),
        windows=len(windows),
        efficiency=efficiency,
        winning=winning,
        worst=float(test.min()),
        deviation=finite(np.std(test, ddof=1)) if len(windows) > 1 else None,
        trades=trades,
    )


def _verdict(windows: int, efficiency: float | None, winning: float, came: float, trades: int) -> Stability:
    if windows < FEWEST_WINDOWS or not trades or efficiency is None:
        return Stability.UNKNOWN
    if came <= 0:
        return Stability.UNSTABLE
    if efficiency >= GOOD_EFFICIENCY and winning >= GOOD_SHARE:
        return Stability.STABLE
    return Stability.FRAGILE if winning >= _FAIR_SHARE or efficiency >= GOOD_EFFICIENCY else Stability.UNSTABLE
