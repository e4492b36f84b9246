"""Walk-forward over one sweep: which set was best on each train window, and what it came to in the window right after. Pure.

Every set is walked through all candles once; a window is a stretch of that. A position that is carried over a border counts at its price
there. Returns are of a year, not compounded: a window of days would otherwise promise thousands of percent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.backtests.robustness.report import WalkedWindow
from app.backtests.search.figures import Figures, Span
from app.domain.arrays import Times
from app.domain.metrics import DAY_MS, DAYS_A_YEAR
from app.domain.robustness_walk import Window

#: Windows, each trained on so many parts of the same length as the one that it is tested on.
WINDOWS: Final = 6
TRAIN_PARTS: Final = 3
#: With fewer trades where it is trained a set is chosen only when no other has more.
_FEWEST_TRADES: Final = 3
#: Candles of a part below which a window says nothing.
_SHORTEST: Final = 20


@dataclass(frozen=True, slots=True)
class WalkedSet:
    """A set of parameters, and its figures in each window's two parts: trained and tested in turn."""

    parameters: dict[str, Any]
    figures: Sequence[Figures]


def walk_spans(start: int, rows: int) -> list[Span]:
    """Return train and test stretch of each window in turn; nothing where there are too few candles."""
    parts = WINDOWS + TRAIN_PARTS
    length = (rows - 1 - start) / parts
    if length < _SHORTEST:
        return []
    edges = [start + round(part * length) for part in range(parts)] + [rows - 1]
    spans = []
    for window in range(WINDOWS):
        middle = window + TRAIN_PARTS
        spans += [Span(edges[window], edges[middle]), Span(edges[middle], edges[middle + 1])]
    return spans


def walked(sets: Sequence[WalkedSet], spans: Sequence[Span], closes: Times) -> list[WalkedWindow]:
    """Return what came of each window.

    Args:
        sets: At least one; of equals the first is chosen.
        spans: As `walk_spans` gave them.
        closes: Close times of all candles in ms.
    """
    found = []
    for place in range(0, len(spans), 2):
        best = max(range(len(sets)), key=lambda number: (*_rank(sets[number].figures[place]), -number))
        chosen = sets[best]
        train, test = chosen.figures[place], chosen.figures[place + 1]
        found.append(
            WalkedWindow(
                window=Window(
                    train_start_ms=int(closes[spans[place].first]),
                    test_start_ms=int(closes[spans[place + 1].first]),
                    test_end_ms=int(closes[spans[place + 1].last]),
                    train=_a_year(train, spans[place], closes),
                    test=_a_year(test, spans[place + 1], closes),
                    train_sharpe=train.sharpe,
                    test_sharpe=test.sharpe,
                    trades=test.trades,
                ),
                parameters=chosen.parameters,
            )
        )
    return found


def _rank(figures: Figures) -> tuple[bool, float, float]:
    return figures.trades >= _FEWEST_TRADES, -math.inf if figures.sharpe is None else figures.sharpe, figures.net_return


def _a_year(figures: Figures, span: Span, closes: Times) -> float:
    duration_ms = int(closes[span.last] - closes[span.first])
    return figures.net_return * DAYS_A_YEAR * DAY_MS / duration_ms
