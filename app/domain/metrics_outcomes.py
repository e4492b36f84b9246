"""Figures of closed trades that need nothing but what each came to and how long it was held: of backtests and of real trades alike.

A trade is won above 0 and lost below it; at exactly 0 it is neither.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.metrics import amount, ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFigures:
    """What outcomes say. Amounts are in the unit of the profits. Without a trade every average is None.

    Attributes:
        closed: Trades.
        won: Above 0.
        lost: Below 0.
        win_rate: `won` / `closed`.
        expectancy: Mean profit of a trade: win rate × average win − loss rate × average loss.
        gross_profit: Sum of what was won.
        gross_loss: Sum of what was lost, a positive number.
        profit_factor: `gross_profit` / `gross_loss`. None when nothing was lost.
        payoff_ratio: Average win / average loss. None when nothing was won or nothing was lost.
        sqn: System quality number: √closed · mean(profit) / std(profit, n − 1). None below two trades or without any deviation.
        average_win: Mean of what was won.
        average_loss: Mean of what was lost, a positive number.
        average_hold_ms: Mean time held.
        median_hold_ms: Median of the same.
        longest_hold_ms: Longest of the same.
        longest_wins: Most wins in a row; a trade at exactly 0 ends a row.
        longest_losses: Most losses in a row.
    """

    closed: int
    won: int
    lost: int
    win_rate: float | None
    expectancy: Decimal | None
    gross_profit: Decimal
    gross_loss: Decimal
    profit_factor: float | None
    payoff_ratio: float | None
    sqn: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    average_hold_ms: int | None
    median_hold_ms: int | None
    longest_hold_ms: int | None
    longest_wins: int
    longest_losses: int


def outcome_figures(profit: Floats, held: Times) -> OutcomeFigures:
    """Return the figures of closed trades, in the order in which they count as following each other.

    Args:
        profit: What each came to.
        held: How long each was held, in milliseconds.
    """
    is_won, is_lost = profit > 0, profit < 0
    won, lost, closed = int(is_won.sum()), int(is_lost.sum()), len(profit)
    gained, given = float(profit[is_won].sum()), float(-profit[is_lost].sum())
    return OutcomeFigures(
        closed=closed,
        won=won,
        lost=lost,
        win_rate=won / closed if closed else None,
        expectancy=amount(float(profit.mean())) if closed else None,
        gross_profit=amount(gained),
        gross_loss=amount(given),
        profit_factor=ratio(gained, given) if lost else None,
        payoff_ratio=ratio(gained / won, given / lost) if won and lost else None,
        sqn=system_quality(profit),
        average_win=amount(gained / won) if won else None,
        average_loss=amount(given / lost) if lost else None,
        average_hold_ms=round(float(held.mean())) if closed else None,
        median_hold_ms=round(float(np.median(held))) if closed else None,
        longest_hold_ms=int(held.max()) if closed else None,
        longest_wins=longest_streak(is_won),
        longest_losses=longest_streak(is_lost),
    )


def system_quality(profit: Floats) -> float | None:
    """Return √n · mean / deviation of trades' profits; None below two or without any deviation."""
    if len(profit) < 2:
        return None
    return ratio(math.sqrt(len(profit)) * float(profit.mean()), float(np.std(profit, ddof=1)))


def longest_streak(is_one: np.typing.NDArray[np.bool_]) -> int:
    """Return the most True in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_one.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
