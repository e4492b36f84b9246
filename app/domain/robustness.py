"""How much of a result is luck: the same trades in another order, at other prices, and a Sharpe that was the best of many.

All is pure and seeded: the same seed gives the same numbers. What a trade did to the account is the fraction by which it changed the equity
(`account_returns`), so that orders and samples of trades compound as the account did. docs/metrics.md explains the formulas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.domain.arrays import Floats
from app.domain.metrics_trades import closed_rows
from app.domain.outcome import Outcome

#: Percentiles of every table, in percent.
PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
#: Points of a fan of curves.
MOST_STEPS: Final = 100
#: Multiples of the capital that differ by less are the same.
_SAME: Final = 1e-9
#: Numbers that one piece of the work holds: 8 MB of floats, of which there are about five at a time.
_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of one figure over all runs, `PERCENTILES` one by one, beside what really came."""

    actual: float
    percentiles: tuple[float, ...]
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarlo:
    """What came of many runs. Fractions are of one; equity is as a multiple of the capital.

    Attributes:
        runs: How many.
        trades: Closed trades in each.
        final: Equity at the end, of the runs' percentiles.
        max_drawdown: Largest drawdown from trade to trade, a positive fraction.
        chance_of_loss: Fraction of runs that ended below the capital.
        chance_of_ruin: Fraction of runs that fell below (1 − `ruin`) of the capital at any time.
        ruin: That fraction.
        steps: Trades done at the points of `fan`, from 0 to all.
        fan: One curve a percentile of `PERCENTILES`: equity after so many trades.
        actual: The curve that really came, at the same points.
    """

    runs: int
    trades: int
    final: Spread
    max_drawdown: Spread
    chance_of_loss: float
    chance_of_ruin: float
    ruin: float
    steps: tuple[int, ...]
    fan: tuple[tuple[float, ...], ...]
    actual: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTrades:
    """Closed trades as an account saw them, in the order of their ends.

    Attributes:
        returns: Profit as a fraction of the equity before the entry.
        weights: What was entered as a fraction of the same, about what a fill's price is worth.
    """

    returns: Floats
    weights: Floats


def account_trades(outcome: Outcome) -> AccountTrades:
    """Return the closed trades of an outcome as fractions of the account."""
    rows = closed_rows(outcome.trades)
    profit = outcome.trades.profit[rows]
    # One position at a time: what there was before a trade is what all before it left.
    before = outcome.equity[0] + np.concatenate(([0.0], np.cumsum(profit)[:-1])) if len(rows) else np.empty(0)
    entered = outcome.trades.quantity[rows] * outcome.trades.entry_price[rows]
    returns, weights = np.zeros(len(rows)), np.zeros(len(rows))
    np.divide(profit, before, out=returns, where=before > 0)
    np.divide(entered, before, out=weights, where=before > 0)
    return AccountTrades(returns=returns, weights=weights)


def shuffled_trades(trades: AccountTrades, *, runs: int, seed: int, ruin: float = 0.5) -> MonteCarlo:
    """Return what the same trades come to in other orders: the end is the same, the way there is not.

    Args:
        trades: At least one.
        runs: How many orders.
        seed: Of the orders.
        ruin: Fraction of the capital whose loss counts as ruin.

    Raises:
        ValueError: there is no trade, or no run.
    """
    random = np.random.default_rng(seed)
    growth = _growth(trades.returns)
    return _many(growth, runs, ruin, lambda count: random.permuted(np.broadcast_to(growth, (count, len(growth))), axis=1))


def resampled_trades(trades: AccountTrades, *, runs: int, seed: int, ruin: float = 0.5) -> MonteCarlo:
    """Return what as many trades drawn of these with replacement come to (the bootstrap). Args and errors as of `shuffled_trades`."""
    random = np.random.default_rng(seed)
    growth = _growth(trades.returns)
    return _many(growth, runs, ruin, lambda count: growth[random.integers(0, len(growth), (count, len(growth)))])


def moved_fills(trades: AccountTrades, *, spread: float, runs: int, seed: int, ruin: float = 0.5) -> MonteCarlo:
    """Return what the same trades come to when each entry and each exit fills a little beside its price.

    Each price is moved by a normally distributed fraction of it; half of all moves are for the trader, so what changes is how far results
    lie apart, and what is lost on the mean is what compounding takes. Raises as `shuffled_trades`.

    Args:
        trades: At least one.
        spread: Deviation of a price, a fraction (0.0005 is 5 bps).
        runs: How many.
        seed: Of the moves.
        ruin: As of `shuffled_trades`.
    """
    random = np.random.default_rng(seed)
    growth = _growth(trades.returns)
    # Entry and exit are two independent moves of nearly the same notional: together their deviation is √2 times one.
    deviation = trades.weights * spread * np.sqrt(2.0)
    return _many(growth, runs, ruin, lambda count: np.maximum(growth + random.standard_normal((count, len(growth))) * deviation, 0.0))


def _many(actual: Floats, runs: int, ruin: float, sample: Callable[[int], Floats]) -> MonteCarlo:
    """Run `sample`, which returns growth factors (runs × trades), piece by piece, and put together what came of it."""
    trades = len(actual)
    if not trades or runs < 1:
        raise ValueError(f"there must be a trade and a run, was {trades} and {runs}")
    steps = np.unique(np.linspace(0, trades, min(trades, MOST_STEPS) + 1).astype(np.int64))
    finals, drawdowns, lowest = np.empty(runs), np.empty(runs), np.empty(runs)
    curves = np.empty((runs, len(steps)))
    size = max(1, _AT_ONCE // (trades + 1))
    for start in range(0, runs, size):
        end = min(start + size, runs)
        equity = _compounded(sample(end - start))
        finals[start:end] = equity[:, -1]
        lowest[start:end] = equity.min(axis=1)
        curves[start:end] = equity[:, steps]
        drawdowns[start:end] = _deepest(equity)
    own = _compounded(actual[np.newaxis])
    return MonteCarlo(
        runs=runs,
        trades=trades,
        final=_spread(finals, float(own[0, -1])),
        max_drawdown=_spread(drawdowns, float(_deepest(own)[0])),
        # An order of the same trades ends where it ended but for the last bit.
        chance_of_loss=float(np.mean(finals < 1 - _SAME)),
        chance_of_ruin=float(np.mean(lowest <= 1 - ruin)),
        ruin=ruin,
        steps=tuple(steps.tolist()),
        fan=tuple(tuple(curve.tolist()) for curve in np.percentile(curves, PERCENTILES, axis=0)),
        actual=tuple(own[0, steps].tolist()),
    )


def _growth(returns: Floats) -> Floats:
    return np.maximum(1 + returns, 0.0)


def _compounded(growth: Floats) -> Floats:
    """Return the equity after each trade (runs × (trades + 1)), beginning with 1."""
    equity = np.empty((growth.shape[0], growth.shape[1] + 1))
    equity[:, 0] = 1.0
    np.cumprod(growth, axis=1, out=equity[:, 1:])
    return equity


def _deepest(equity: Floats) -> Floats:
    peaks = np.maximum.accumulate(equity, axis=1)
    deepest: Floats = np.max(1 - equity / peaks, axis=1)
    return deepest


def _spread(values: Floats, actual: float) -> Spread:
    return Spread(actual=actual, percentiles=tuple(np.percentile(values, PERCENTILES).tolist()), mean=float(values.mean()))
