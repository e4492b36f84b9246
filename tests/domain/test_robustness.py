import math
from itertools import permutations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.metrics import sharpe_ratio
from app.domain.robustness import (
    PERCENTILES,
    AccountTrades,
    account_trades,
    moved_fills,
    resampled_trades,
    shuffled_trades,
)
from app.domain.robustness_sharpe import deflated_sharpe, expected_maximum, probability_above
from app.domain.robustness_walk import Stability, Window, walk_forward
from app.domain.simulated import Reason
from tests.domain.equity_curves import joined, outcome_with, trades_of

MEDIAN = PERCENTILES.index(50)


def trades_with(*returns: float, weight: float = 1.0) -> AccountTrades:
    return AccountTrades(returns=np.array(returns), weights=np.full(len(returns), weight))


def test_trades_are_seen_as_fractions_of_what_the_account_had_before_each() -> None:
    trades = joined(
        trades_of((1, 2, 100.0), (3, 4, -220.0), quantity=5.0),
        trades_of((5, 9, 7.0), reason=None),
        trades_of((5, 6, 88.0), reason=Reason.STOP),
    )
    found = account_trades(outcome_with(np.full(10, 1_000.0), trades))
    assert found.returns == pytest.approx([0.1, -0.2, 0.1])
    assert found.weights == pytest.approx([0.5, 500 / 1_100, 100 / 880])
    assert np.prod(1 + found.returns) == pytest.approx(0.968)


def test_every_order_of_the_same_trades_ends_the_same_but_falls_differently() -> None:
    trades = trades_with(0.5, -0.2, -0.2, 0.1)
    found = shuffled_trades(trades, runs=3_000, seed=7)
    possible = []
    for order in permutations(trades.returns.tolist()):
        equity = np.cumprod([1.0, *(1 + one for one in order)])
        possible.append(float(np.max(1 - equity / np.maximum.accumulate(equity))))

    assert found.final.actual == pytest.approx(1.5 * 0.8 * 0.8 * 1.1)
    assert found.final.percentiles == pytest.approx([found.final.actual] * len(PERCENTILES))
    assert found.max_drawdown.actual == pytest.approx(0.36)
    assert found.max_drawdown.mean == pytest.approx(np.mean(possible), abs=0.005)
    assert found.max_drawdown.percentiles[0] == pytest.approx(min(possible))
    assert found.max_drawdown.percentiles[-1] == pytest.approx(max(possible))
    assert (found.chance_of_loss, found.runs, found.trades) == (0.0, 3_000, 4)


def test_drawing_with_replacement_ends_around_what_the_mean_trade_makes() -> None:
    random = np.random.default_rng(1)
    trades = trades_with(*random.normal(0.002, 0.02, 200))
    found = resampled_trades(trades, runs=4_000, seed=2)
    assert found.final.mean == pytest.approx((1 + trades.returns.mean()) ** 200, rel=0.03)
    assert list(found.final.percentiles) == sorted(found.final.percentiles)
    spread = NormalDist().inv_cdf(0.95) * np.log1p(trades.returns).std() * math.sqrt(200)
    assert math.log(found.final.percentiles[5] / found.final.percentiles[MEDIAN]) == pytest.approx(spread, rel=0.1)
    assert 0 < found.chance_of_loss < 0.5


def test_moved_fills_spread_by_what_a_fill_is_worth() -> None:
    trades = trades_with(*[0.001] * 100, weight=0.5)
    found = moved_fills(trades, spread=0.01, runs=4_000, seed=3)
    # Two moves of 1 % of half the account in each of 100 trades.
    deviation = 0.5 * 0.01 * math.sqrt(2) * math.sqrt(100)
    assert math.log(found.final.percentiles[5] / found.final.percentiles[MEDIAN]) == pytest.approx(1.645 * deviation, rel=0.1)
    assert found.final.mean == pytest.approx(found.final.actual, rel=0.01)
    still = moved_fills(trades, spread=0.0, runs=3, seed=3)
    assert still.final.percentiles == pytest.approx([still.final.actual] * len(PERCENTILES))


def test_ruin_is_counted_anywhere_on_the_way_and_nothing_comes_after_it() -> None:
    found = shuffled_trades(trades_with(-0.6, 4.0), runs=1_000, seed=4, ruin=0.5)
    assert found.chance_of_ruin == pytest.approx(0.5, abs=0.06)
    lost = shuffled_trades(trades_with(-1.5, 4.0), runs=10, seed=4)
    assert (lost.final.actual, lost.chance_of_ruin, lost.chance_of_loss, lost.max_drawdown.actual) == (0, 1, 1, 1)


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    trades = trades_with(*np.random.default_rng(5).normal(0, 0.02, 50))
    assert resampled_trades(trades, runs=200, seed=1) == resampled_trades(trades, runs=200, seed=1)
    assert resampled_trades(trades, runs=200, seed=1) != resampled_trades(trades, runs=200, seed=2)


def test_a_fan_has_one_curve_a_percentile_from_the_capital_to_the_end() -> None:
    trades = trades_with(*np.random.default_rng(6).normal(0, 0.02, 1_000))
    found = resampled_trades(trades, runs=300, seed=1)
    assert (found.steps[0], found.steps[-1], len(found.steps)) == (0, 1_000, 101)
    assert [len(curve) for curve in found.fan] == [101] * len(PERCENTILES)
    assert all(curve[0] == 1 for curve in found.fan)
    assert tuple(curve[-1] for curve in found.fan) == pytest.approx(found.final.percentiles)
    assert found.actual[-1] == pytest.approx(found.final.actual)
    assert shuffled_trades(trades_with(0.1), runs=5, seed=1).steps == (0, 1)


@pytest.mark.parametrize(("returns", "runs"), [((), 10), ((0.1,), 0)])
def test_no_trade_and_no_run_are_refused(returns: tuple[float, ...], runs: int) -> None:
    with pytest.raises(ValueError, match="a trade and a run"):
        shuffled_trades(trades_with(*returns), runs=runs, seed=1)


def test_the_deflated_sharpe_is_the_one_of_the_paper() -> None:
    """Bailey and López de Prado (2014), their example: 100 trials, SR 2.5 a year of 250 days, 1,250 days, skew −3, kurtosis 10."""
    best = math.sqrt(0.5 / 250) * expected_maximum(100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    assert probability_above(2.5 / math.sqrt(250), best, days=1_250, skew=-3, kurtosis=10) == pytest.approx(0.9004, abs=5e-5)


def returns_with(mean: float, days: int = 1_250, seed: int = 1) -> np.typing.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_t(5, days) * 0.01 + mean


def test_a_deflated_sharpe_of_returns_follows_the_formula() -> None:
    returns = returns_with(0.0008)
    found = deflated_sharpe(returns, trials=100, deviation_of_trials=0.7)
    assert found is not None
    ratio = returns.mean() / returns.std(ddof=1)
    assert found.sharpe == pytest.approx(sharpe_ratio(returns)) == pytest.approx(ratio * math.sqrt(365))
    error = math.sqrt((1 - found.skew * ratio + (found.kurtosis - 1) / 4 * ratio**2) / 1_249)
    best = 0.7 / math.sqrt(365) * expected_maximum(100)
    assert found.expected_best == pytest.approx(best * math.sqrt(365))
    assert found.probabilistic == pytest.approx(NormalDist().cdf(ratio / error))
    assert found.deflated == pytest.approx(NormalDist().cdf((ratio - best) / error))
    assert found.fewest_days is not None
    assert NormalDist().cdf(ratio / error * math.sqrt((found.fewest_days - 1) / 1_249)) == pytest.approx(0.95, abs=0.002)


def test_moments_are_those_of_the_population() -> None:
    found = deflated_sharpe(np.array([0.01] * 9 + [-0.09] + [0.03] * 10))
    assert found is not None
    centred = np.array([0.01] * 9 + [-0.09] + [0.03] * 10) - 0.015
    assert found.skew == pytest.approx((centred**3).mean() / (centred**2).mean() ** 1.5)
    assert found.kurtosis == pytest.approx((centred**4).mean() / (centred**2).mean() ** 2)


def test_the_best_of_many_worthless_trials_is_not_believed() -> None:
    trials = [returns_with(0.0, seed=seed) for seed in range(200)]
    best = max(trials, key=lambda one: float(one.mean() / one.std()))
    alone, deflated = deflated_sharpe(best), deflated_sharpe(best, trials=200)
    assert alone is not None
    assert deflated is not None
    assert alone.probabilistic > 0.99
    assert alone.deflated == alone.probabilistic
    assert deflated.deflated < 0.9


def test_the_expected_best_of_many_is_what_drawing_them_shows() -> None:
    random = np.random.default_rng(1)
    for trials in (2, 10, 100, 1_000):
        assert expected_maximum(trials) == pytest.approx(random.standard_normal((4_000, trials)).max(axis=1).mean(), abs=0.06)
    assert expected_maximum(1) == 0
    assert math.isfinite(expected_maximum(10**15))


@pytest.mark.parametrize("returns", [np.full(50, 0.01), np.zeros(50), np.array([0.01, -0.01] * 4)])
def test_returns_without_deviation_or_length_have_no_deflated_sharpe(returns: np.typing.NDArray[np.float64]) -> None:
    assert deflated_sharpe(returns) is None


def test_a_losing_strategy_is_never_known_to_win() -> None:
    found = deflated_sharpe(returns_with(-0.001))
    assert found is not None
    assert (found.fewest_days, found.probabilistic < 0.5) == (None, True)
    for trials, deviation in ((0, None), (5, -1.0), (5, math.nan)):
        with pytest.raises(ValueError, match="a trial and no negative deviation"):
            deflated_sharpe(returns_with(0.0), trials=trials, deviation_of_trials=deviation)


@given(st.lists(st.floats(-0.9, 0.9), min_size=10, max_size=50), st.integers(1, 10_000))
def test_probabilities_stay_between_none_and_all(returns: list[float], trials: int) -> None:
    found = deflated_sharpe(np.array(returns), trials=trials)
    if found is not None:
        assert 0 <= found.deflated <= found.probabilistic <= 1


def windows(*pairs: tuple[float, float], trades: int = 10) -> list[Window]:
    return [
        Window(
            train_start_ms=0, test_start_ms=1, test_end_ms=2, train=train, test=test, train_sharpe=None, test_sharpe=None, trades=trades
        )
        for train, test in pairs
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "stability"),
    [
        (((0.2, 0.15), (0.3, 0.2), (0.1, 0.1), (0.2, 0.01)), Stability.STABLE),
        (((0.2, 0.05), (0.3, 0.05), (0.1, 0.05)), Stability.FRAGILE),
        (((0.2, 0.9), (0.3, -0.1), (0.1, -0.1)), Stability.FRAGILE),
        (((0.2, -0.05), (0.3, 0.02), (0.1, -0.05)), Stability.UNSTABLE),
        (((0.5, 0.1), (0.5, -0.01), (0.5, -0.01)), Stability.UNSTABLE),
        (((0.2, 0.2), (0.2, 0.2)), Stability.UNKNOWN),
        (((-0.2, 0.2), (-0.2, 0.2), (-0.1, 0.1)), Stability.UNKNOWN),
    ],
)
def test_windows_are_judged_by_what_was_kept_and_how_many_won(pairs: tuple[tuple[float, float], ...], stability: Stability) -> None:
    assert walk_forward(windows(*pairs)).stability is stability


def test_the_sum_of_windows_is_told() -> None:
    found = walk_forward(windows((0.2, 0.1), (0.4, -0.1), (0.3, 0.3)))
    assert [found.efficiency, found.winning, found.deviation] == pytest.approx([1 / 3, 2 / 3, 0.2])
    assert (found.worst, found.windows, found.trades) == (-0.1, 3, 30)
    assert walk_forward(windows((0.2, 0.1), (0.4, 0.1), (0.3, 0.3), trades=0)).stability is Stability.UNKNOWN
    assert walk_forward(windows((0.2, 0.1))).deviation is None
    with pytest.raises(ValueError, match="a window"):
        walk_forward([])
