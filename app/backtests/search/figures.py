"""What one trial of a search came to in each stretch of time, and how trials are ranked. Pure; the figures are those of `domain.metrics`.

One walk through all candles serves every stretch: decisions are made at closes of what was known then, so that what happens in a stretch
does not depend on where it begins, but for a position that is carried over its border, which counts at its price there.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from app.core.i18n import N_
from app.domain.arrays import Floats, Times
from app.domain.metrics import (
    annual_return,
    daily_rows,
    finite,
    ratio,
    returns_of,
    sharpe_ratio,
    sortino_ratio,
)
from app.domain.metrics_outcomes import system_quality
from app.domain.outcome import NO_REASON, Outcome


class Objective(StrEnum):
    """What the best trial has most of, in the stretch that is trained on."""

    SHARPE = "sharpe"
    SORTINO = "sortino"
    CALMAR = "calmar"
    NET = "net"
    PROFIT_FACTOR = "profit_factor"
    SQN = "sqn"


OBJECTIVE_WORDS: Final[dict[Objective, str]] = {
    Objective.SHARPE: N_("Sharpe ratio"),
    Objective.SORTINO: N_("Sortino ratio"),
    Objective.CALMAR: N_("Calmar ratio"),
    Objective.NET: N_("Net profit"),
    Objective.PROFIT_FACTOR: N_("Profit factor"),
    Objective.SQN: N_("System quality (SQN)"),
}


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Rows of candles: what the account was worth at the close of `first` and became until that of `last`."""

    first: int
    last: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one set of parameters in one stretch. Fractions of one; None where a figure does not exist (`domain.metrics`).

    Attributes:
        net: Quote units.
        net_return: The same as a fraction of what there was at its beginning.
        trades: That were opened and closed within it; one that crosses its border counts in the equity alone.
    """

    net: float
    net_return: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    profit_factor: float | None
    sqn: float | None
    trades: int
    win_rate: float | None


class Stretch:
    """One stretch of candles that many outcomes are looked at in.

    Args:
        closes: Close times of all candles in ms.
        span: Its rows.
    """

    def __init__(self, closes: Times, span: Span) -> None:
        self.span = span
        times = closes[span.first : span.last + 1]
        self._duration_ms = int(times[-1] - times[0])
        self._levels = span.first + daily_rows(times)
        self._room = np.empty(len(times))

    def figures(self, outcome: Outcome) -> Figures:
        """Return what came of one set of parameters here."""
        equity = outcome.equity[self.span.first : self.span.last + 1]
        first, last = float(equity[0]), float(equity[-1])
        returns = returns_of(outcome.equity[self._levels])
        max_drawdown = self._max_drawdown(equity)
        trades = outcome.trades
        inside = (trades.entry_candle > self.span.first) & (trades.exit_candle <= self.span.last) & (trades.reason != NO_REASON)
        profit = trades.profit[inside]
        won = profit > 0
        gained, given = float(profit[won].sum()), float(-profit[profit < 0].sum())
        return Figures(
            net=last - first,
            net_return=(finite(last / first) or 0.0) - 1 if first > 0 else 0.0,
            sharpe=sharpe_ratio(returns),
            sortino=sortino_ratio(returns),
            calmar=ratio(annual_return(first, last, self._duration_ms), max_drawdown) if first > 0 else None,
            max_drawdown=max_drawdown,
            profit_factor=ratio(gained, given) if given else None,
            sqn=system_quality(profit),
            trades=len(profit),
            win_rate=float(won.mean()) if len(profit) else None,
        )

    def _max_drawdown(self, equity: Floats) -> float:
        # As `drawdown_of`, in a third of its passes over memory: this is most of what a set costs.
        np.maximum.accumulate(equity, out=self._room)
        np.divide(equity, self._room, out=self._room)
        return min(max(1.0 - float(self._room.min()), 0.0), 1.0)


def split_spans(start: int, rows: int, test_share: float) -> list[Span]:
    """Return what is trained on and, where a share is kept back, what is tested on after it.

    Args:
        start: Row of the first decision.
        rows: Of all candles.
        test_share: Fraction at the end that is never used for choosing; 0 for none.
    """
    last = rows - 1
    border = start + round((last - start) * (1 - test_share))
    if test_share <= 0 or border >= last:
        return [Span(start, last)]
    return [Span(start, border), Span(border, last)]


def score(objective: Objective, figures: Figures, least_trades: int) -> float | None:
    """Return what a trial is ranked by, larger is better; None where it cannot be ranked: too few trades, or no such figure."""
    if figures.trades < least_trades:
        return None
    value: float | None = getattr(figures, objective.value)
    return None if value is None else finite(value)


def guiding(scores: Sequence[float | None]) -> list[float]:
    """Return scores for a sampler, in which trials that cannot be ranked are worse than the worst that can be."""
    ranked = [value for value in scores if value is not None]
    if not ranked:
        return [0.0 for _ in scores]
    worst, best = min(ranked), max(ranked)
    beyond = worst - max(abs(worst), best - worst, 1.0) * 0.1
    return [beyond if value is None else value for value in scores]


def best_of(scores: Sequence[float | None]) -> int | None:
    """Return the place of the best, the first of equals; None where none can be ranked."""
    ranked = [(value, -place) for place, value in enumerate(scores) if value is not None]
    return -max(ranked)[1] if ranked else None
