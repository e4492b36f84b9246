"""What the pool computes of a backtest's own trades: other orders, other trades, other prices, and how much of its Sharpe ratio is luck."""

from typing import Final

from app.backtests.robustness.report import FEWEST_TRADES, Luck
from app.domain.arrays import Times
from app.domain.metrics import daily_returns
from app.domain.outcome import Outcome
from app.domain.robustness import account_trades, moved_fills, resampled_trades, shuffled_trades
from app.domain.robustness_sharpe import deflated_sharpe

RUNS: Final = 1_000
#: Of very many trades fewer runs say as much, and the work stays bounded.
_MOST_NUMBERS: Final = 20_000_000


def luck_of(outcome: Outcome, closes: Times, start: int, seed: int, spread: float, trials: int, deviation_of_trials: float | None) -> Luck:
    """Return how much of a result is luck.

    Args:
        outcome: Of the backtest.
        closes: Close times of its candles in ms.
        start: Row of the first decision.
        seed: Of what is random.
        spread: Deviation of a fill's price, a fraction.
        trials: That the backtest was chosen from, itself among them.
        deviation_of_trials: Of their Sharpe ratios, a year's; None where that is not known.
    """
    trades = account_trades(outcome)
    count = len(trades.returns)
    returns = daily_returns(closes[start:], outcome.equity[start:])
    sharpe = deflated_sharpe(returns, trials=trials, deviation_of_trials=deviation_of_trials)
    if count < FEWEST_TRADES:
        return Luck(trades=count, shuffled=None, resampled=None, moved=None, sharpe=sharpe)
    runs = max(200, min(RUNS, _MOST_NUMBERS // count))
    return Luck(
        trades=count,
        shuffled=shuffled_trades(trades, runs=runs, seed=seed),
        resampled=resampled_trades(trades, runs=runs, seed=seed),
        moved=moved_fills(trades, spread=spread, runs=runs, seed=seed),
        sharpe=sharpe,
    )
