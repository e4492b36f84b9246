"""Whether a Sharpe ratio is more than luck: how sure it is, and what is left of it when it was the best of many trials.

Source: D. Bailey and M. López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated Sharpe Ratio: Correcting for
Selection Bias, Backtest Overfitting, and Non-Normality" (2014). Ratios in the formulas are a day's and not a year's.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from app.domain.arrays import Floats
from app.domain.metrics import DAYS_A_YEAR, finite

#: With fewer days third and fourth moments are noise.
FEWEST_DAYS: Final = 10
_EULER: Final = 0.5772156649015329
_NO_DEVIATION: Final = 1e-12
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflatedSharpe:
    """A Sharpe ratio and how much of it is believed. Ratios are a year's (365 days), probabilities 0 to 1.

    Attributes:
        sharpe: What was measured.
        probabilistic: Probability that the true ratio is above 0.
        trials: How many were tried, this one among them.
        expected_best: The ratio that the best of so many trials has by luck alone, though none is worth anything.
        deflated: Probability that the true ratio is above that. From 0.95 on it is usually believed.
        days: Daily returns that it is made of.
        skew: Of daily returns; below 0 losses are larger than gains.
        kurtosis: Of daily returns; 3 for a normal distribution, more with rare large days.
        fewest_days: Days after which the ratio would be known, at 95 %, to be above 0. None when it is not above 0.
    """

    sharpe: float
    probabilistic: float
    trials: int
    expected_best: float
    deflated: float
    days: int
    skew: float
    kurtosis: float
    fewest_days: int | None


def deflated_sharpe(returns: Floats, *, trials: int = 1, deviation_of_trials: float | None = None) -> DeflatedSharpe | None:
    """Return what is left of the Sharpe ratio of daily returns.

    Args:
        returns: `metrics.daily_returns` of the chosen trial.
        trials: Independent trials that it was chosen from; 1 when nothing was searched.
        deviation_of_trials: Standard deviation of the trials' Sharpe ratios, a year's. Without it √(365 / days) is taken, by which ratios
            of so many days differ when all are worth nothing.

    Returns:
        None below `FEWEST_DAYS` days or without any deviation.

    Raises:
        ValueError: there are no trials, or their deviation is below 0.
    """
    if trials < 1 or (deviation_of_trials is not None and not deviation_of_trials >= 0):
        raise ValueError(f"there must be a trial and no negative deviation, was {trials} and {deviation_of_trials}")
    days = len(returns)
    deviation = float(np.std(returns, ddof=1)) if days >= FEWEST_DAYS else 0.0
    if deviation <= _NO_DEVIATION:
        return None
    ratio = float(np.mean(returns)) / deviation
    skew, kurtosis = _moments(returns)
    year = math.sqrt(DAYS_A_YEAR)
    spread = 1 / math.sqrt(days) if deviation_of_trials is None else deviation_of_trials / year
    best = spread * expected_maximum(trials)
    variance = _variance(ratio, skew, kurtosis)
    fewest = None if ratio <= 0 else finite(1 + variance * (_NORMAL.inv_cdf(0.95) / ratio) ** 2)
    return DeflatedSharpe(
        sharpe=ratio * year,
        probabilistic=probability_above(ratio, 0.0, days=days, skew=skew, kurtosis=kurtosis),
        trials=trials,
        expected_best=best * year,
        deflated=probability_above(ratio, best, days=days, skew=skew, kurtosis=kurtosis),
        days=days,
        skew=skew,
        kurtosis=kurtosis,
        fewest_days=None if fewest is None else math.ceil(fewest),
    )


def expected_maximum(trials: int) -> float:
    """Return the expected largest of so many standard normal numbers, nearly: (1 − γ) Φ⁻¹(1 − 1/n) + γ Φ⁻¹(1 − 1/(n e)); 0 for one."""
    if trials <= 1:
        return 0.0
    # From the other side: 1 − 1/n is 1 in floats long before the answer is infinite.
    return -(1 - _EULER) * _NORMAL.inv_cdf(1 / trials) - _EULER * _NORMAL.inv_cdf(1 / (trials * math.e))


def probability_above(ratio: float, bound: float, *, days: int, skew: float, kurtosis: float) -> float:
    """Return the probability that the true ratio is above `bound`, a day's both.

    Source: Φ((SR − bound) √(days − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²)), with skewness γ₃ and kurtosis γ₄.
    """
    return _NORMAL.cdf((ratio - bound) * math.sqrt((days - 1) / _variance(ratio, skew, kurtosis)))


def _moments(returns: Floats) -> tuple[float, float]:
    """Return skewness and kurtosis, both of the population."""
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _variance(ratio: float, skew: float, kurtosis: float) -> float:
    """Return the variance of the estimated ratio times (days − 1): 1 − γ₃ SR + (γ₄ − 1)/4 SR²."""
    # Of samples it is at least 0, as kurtosis is at least skew² + 1; floats may leave less.
    return max(1 - skew * ratio + (kurtosis - 1) / 4 * ratio * ratio, 1e-12)
