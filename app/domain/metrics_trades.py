"""Figures of trades: how many won, how much, for how long, how far they went against the trader on the way.

Only closed trades count, but for `open`: what an open one will come to is not known. A trade is won above 0 and lost below it, after fees,
slippage and funding. The return of a trade is its profit as a fraction of what was entered (quantity × mean entry price).
"""

from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.metrics import amount, finite, ratio
from app.domain.metrics_outcomes import outcome_figures
from app.domain.outcome import NO_REASON, REASONS, TradeColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeNote:
    """One trade that stands out: its number (from 1, in the order of the list), its profit in quote units and its return."""

    number: int
    profit: Decimal
    returned: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursions:
    """How far trades went on their way, as fractions of the entry price: MAE against the trader (0 or less), MFE for them (0 or more).

    Attributes:
        average_worst: Mean MAE.
        average_best: Mean MFE.
        average_worst_of_won: Mean MAE of trades that won. None when none did.
        average_best_of_lost: Mean MFE of trades that lost: what was there and was given back. None when none did.
        worst_of_most_won: 95 % of the winners never went further against the trader than this: a stop beyond it costs few of them.
        edge_ratio: Mean MFE / mean |MAE|; above 1 the market went rather for the trader. None without any MAE.
    """

    average_worst: float
    average_best: float
    average_worst_of_won: float | None
    average_best_of_lost: float | None
    worst_of_most_won: float | None
    edge_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """What trades say. Amounts are in quote units, returns fractions of what was entered. With no closed trade every average is None.

    Attributes:
        closed: Closed trades.
        open: Trades still open at the end.
        long: Closed trades that were long.
        short: Closed trades that were short.
        won: Closed above 0.
        lost: Closed below 0.
        win_rate: `won` / `closed`.
        expectancy: Mean profit of a trade: win rate × average win − loss rate × average loss.
        gross_profit: Sum of what was won.
        gross_loss: Sum of what was lost, a positive number.
        profit_factor: `gross_profit` / `gross_loss`. None when nothing was lost.
        payoff_ratio: Average win / average loss. None when nothing was won or nothing was lost.
        sqn: System quality number: √closed · mean(profit) / std(profit, n − 1). None below two trades or without any deviation.
        average_win: Mean of what was won.
        average_loss: Mean of what was lost, a positive number.
        average_return: Mean return of a trade.
        median_return: Median return of a trade.
        best: Largest profit.
        worst: Smallest profit.
        average_hold_ms: Mean time from the open of the entry's candle to that of the exit's.
        median_hold_ms: Median of the same.
        longest_hold_ms: Longest of the same.
        longest_wins: Most wins in a row; a trade at exactly 0 ends a row.
        longest_losses: Most losses in a row.
        excursions: MAE and MFE. None with no closed trade.
    """

    closed: int
    open: int
    long: int
    short: int
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
    average_return: float | None
    median_return: float | None
    best: TradeNote | None
    worst: TradeNote | None
    average_hold_ms: int | None
    median_hold_ms: int | None
    longest_hold_ms: int | None
    longest_wins: int
    longest_losses: int
    excursions: Excursions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonFigures:
    """Closed trades that ended for one reason (a value of `Reason`). `profit` is their sum and `average` its mean, in quote units."""

    reason: str
    trades: int
    won: int
    win_rate: float
    profit: Decimal
    average: Decimal
    average_return: float | None
    average_hold_ms: int


def trade_figures(trades: TradeColumns, times: Times) -> TradeFigures:
    """Return the figures of trades; `times` are the open times of the candles that their rows name, in ms."""
    rows = closed_rows(trades)
    profit, returned = trades.profit[rows], trade_returns(trades)[rows]
    outcomes = outcome_figures(profit, times[trades.exit_candle[rows]] - times[trades.entry_candle[rows]])
    closed = outcomes.closed
    return TradeFigures(
        **{each.name: getattr(outcomes, each.name) for each in fields(outcomes)},
        open=len(trades) - closed,
        long=int((trades.side[rows] > 0).sum()),
        short=int((trades.side[rows] < 0).sum()),
        average_return=finite(returned.mean()) if closed else None,
        median_return=finite(float(np.median(returned))) if closed else None,
        best=_note(rows, profit, returned, int(np.argmax(profit))) if closed else None,
        worst=_note(rows, profit, returned, int(np.argmin(profit))) if closed else None,
        excursions=_excursions(trades.worst[rows], trades.best[rows], profit > 0, profit < 0) if closed else None,
    )


def by_reason(trades: TradeColumns, times: Times) -> tuple[ReasonFigures, ...]:
    """Return the closed trades by why the last of them left, most trades first; `times` as of `trade_figures`."""
    rows = closed_rows(trades)
    returned, held = trade_returns(trades), times[trades.exit_candle] - times[trades.entry_candle]
    found = []
    for code in np.unique(trades.reason[rows]).tolist():
        chosen = rows[trades.reason[rows] == code]
        profit = trades.profit[chosen]
        won = int((profit > 0).sum())
        found.append(
            ReasonFigures(
                reason=REASONS[code].value,
                trades=len(chosen),
                won=won,
                win_rate=won / len(chosen),
                profit=amount(float(profit.sum())),
                average=amount(float(profit.mean())),
                average_return=finite(returned[chosen].mean()),
                average_hold_ms=round(float(held[chosen].mean())),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.trades))


def closed_rows(trades: TradeColumns) -> Times:
    """Return the rows of the trades that are closed."""
    return np.flatnonzero(trades.reason != NO_REASON)


def trade_returns(trades: TradeColumns) -> Floats:
    """Return each trade's profit as a fraction of what was entered; 0 where nothing was."""
    entered = trades.quantity * trades.entry_price
    returned = np.zeros(len(entered))
    np.divide(trades.profit, entered, out=returned, where=entered > 0)
    return returned


def _note(rows: Times, profit: Floats, returned: Floats, place: int) -> TradeNote:
    return TradeNote(number=int(rows[place]) + 1, profit=amount(float(profit[place])), returned=finite(returned[place]))


def _excursions(worst: Floats, best: Floats, is_won: np.typing.NDArray[np.bool_], is_lost: np.typing.NDArray[np.bool_]) -> Excursions:
    average_worst, average_best = float(worst.mean()), float(best.mean())
    return Excursions(
        average_worst=average_worst,
        average_best=average_best,
        average_worst_of_won=float(worst[is_won].mean()) if is_won.any() else None,
        average_best_of_lost=float(best[is_lost].mean()) if is_lost.any() else None,
        worst_of_most_won=float(np.percentile(worst[is_won], 5)) if is_won.any() else None,
        edge_ratio=ratio(average_best, -average_worst),
    )
