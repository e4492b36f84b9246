import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.metrics import (
    DAY_MS,
    amount,
    annual_return,
    daily_returns,
    deepest_drawdowns,
    drawdown_of,
    equity_figures,
    find_drawdowns,
    returns_of,
)
from tests.domain.equity_curves import NEW_YEAR_MS, curve

HOUR_MS = 3_600_000


def test_return_and_drawdown_of_a_small_curve_are_those_one_computes_by_hand() -> None:
    figures = equity_figures(*curve(100, 110, 99, 121, 120))

    assert str(figures.net) == "20"
    assert figures.total_return == pytest.approx(0.2)
    assert figures.max_drawdown == pytest.approx(0.1)
    assert (figures.max_drawdown_ms, figures.longest_drawdown_ms, figures.is_recovered) == (2 * DAY_MS, 2 * DAY_MS, True)
    assert figures.recovery_factor == pytest.approx(20 / 11)
    assert (figures.days, figures.winning_days) == (4, 0.5)
    assert [figures.best_day, figures.worst_day] == pytest.approx([121 / 99 - 1, -0.1])


def test_ratios_of_a_small_curve_are_those_of_their_formulas() -> None:
    figures = equity_figures(*curve(100, 110, 99, 121, 120))
    returns = [0.1, -0.1, 121 / 99 - 1, 120 / 121 - 1]
    mean = sum(returns) / 4
    deviation = math.sqrt(sum((one - mean) ** 2 for one in returns) / 3)
    downside = math.sqrt(sum(min(one, 0) ** 2 for one in returns) / 4)

    assert figures.volatility == pytest.approx(deviation * math.sqrt(365))
    assert figures.sharpe == pytest.approx(mean / deviation * math.sqrt(365))
    assert figures.sortino == pytest.approx(mean / downside * math.sqrt(365))
    assert figures.cagr == pytest.approx(1.2 ** (365 / 4) - 1)
    assert figures.calmar == pytest.approx((1.2 ** (365 / 4) - 1) / 0.1)


def test_a_midnight_belongs_to_the_day_that_it_ends() -> None:
    times = NEW_YEAR_MS + np.array([0, 12, 24, 36, 48]) * HOUR_MS
    assert daily_returns(times, np.array([100.0, 101, 102, 50, 204])) == pytest.approx([0.02, 1.0])


def test_days_without_a_row_changed_nothing() -> None:
    times = NEW_YEAR_MS + np.array([0, 1, 4]) * DAY_MS
    assert daily_returns(times, np.array([100.0, 110, 121])) == pytest.approx([0.1, 0.0, 0.0, 0.1])


def test_a_part_of_a_day_at_either_end_is_a_day() -> None:
    times = NEW_YEAR_MS + np.array([18, 30, 42]) * HOUR_MS
    assert daily_returns(times, np.array([100.0, 100, 105])) == pytest.approx([0.0, 0.05])


def test_an_account_below_zero_has_lost_everything_and_returns_nothing_more() -> None:
    times, equity = curve(100, 50, -20, 30, 60)
    figures = equity_figures(times, equity)

    assert returns_of(equity).tolist() == [-0.5, -1, 0, 0]
    assert figures.max_drawdown == 1
    assert figures.total_return == pytest.approx(-0.4)
    assert equity_figures(*curve(100, 50, -20)).total_return == pytest.approx(-1.2)
    assert equity_figures(*curve(100, 50, -20)).cagr == -1


@pytest.mark.parametrize(
    ("levels", "missing"),
    [
        ((100.0,), {"cagr", "volatility", "sharpe", "sortino", "calmar", "recovery_factor", "winning_days", "best_day", "worst_day"}),
        ((100.0, 101.0), {"volatility", "sharpe", "sortino", "calmar", "recovery_factor"}),
        ((100.0, 100.0, 100.0, 100.0), {"sharpe", "sortino", "calmar", "recovery_factor"}),
        ((100.0, 101.0, 102.5), {"sortino", "calmar", "recovery_factor"}),
        ((100.0, 99.0, 105.0), set()),
    ],
)
def test_what_does_not_exist_is_none_and_nothing_else_is(levels: tuple[float, ...], missing: set[str]) -> None:
    figures = equity_figures(*curve(*levels))
    assert {name for name, value in asdict(figures).items() if value is None} == missing


def test_figures_a_year_need_a_day() -> None:
    assert equity_figures(*curve(100, 101, step_ms=DAY_MS - 1)).cagr is None
    assert equity_figures(*curve(100, 101, step_ms=DAY_MS)).cagr is not None
    assert annual_return(1.0, 1e9, DAY_MS) is None  # 10⁹ to the 365th has no float


def test_a_flat_account_has_no_risk_and_no_ratio() -> None:
    figures = equity_figures(*curve(*[10_000.0] * 50))
    assert (figures.volatility, figures.max_drawdown, figures.cagr, figures.sharpe) == (0, 0, 0, None)
    assert figures.is_recovered


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-5.0, 1.0), (float("nan"), 1.0)])
def test_a_curve_that_begins_with_nothing_is_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        equity_figures(*curve(*levels))


def test_a_curve_without_rows_or_with_too_few_times_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        equity_figures(*curve())
    with pytest.raises(ValueError, match="one equity a moment"):
        equity_figures(np.arange(3), np.ones(2))


def test_drawdowns_are_told_with_peak_trough_and_recovery_deepest_first() -> None:
    times, equity = curve(100, 90, 100, 110, 80, 70, 75, 112, 111)
    below = drawdown_of(equity)
    found = deepest_drawdowns(times, below, find_drawdowns(below))

    day = [(one.peak_ms - NEW_YEAR_MS) // DAY_MS for one in found]
    assert day == [3, 0, 7]
    deepest, first, last = found
    assert (deepest.trough_ms - NEW_YEAR_MS, deepest.recovered_ms) == (5 * DAY_MS, NEW_YEAR_MS + 7 * DAY_MS)
    assert [deepest.depth, first.depth] == pytest.approx([1 - 70 / 110, 0.1])
    assert deepest.lasted_ms == 4 * DAY_MS
    assert first.recovered_ms == NEW_YEAR_MS + 2 * DAY_MS
    assert (last.recovered_ms, last.lasted_ms) == (None, DAY_MS)
    assert len(deepest_drawdowns(times, below, find_drawdowns(below), most=2)) == 2


def test_a_deepest_drawdown_that_lasts_to_the_end_is_not_recovered() -> None:
    assert not equity_figures(*curve(100, 99, 101, 50)).is_recovered
    assert equity_figures(*curve(100, 50, 101, 99)).is_recovered


levels_of_an_account = st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=60)


@given(levels_of_an_account, st.floats(1e-3, 1e6), st.sampled_from([1, 60_000, HOUR_MS, 7 * HOUR_MS, DAY_MS, 40 * DAY_MS]))
def test_every_figure_of_any_curve_is_a_number_that_json_has(levels: list[float], first: float, step_ms: int) -> None:
    figures: dict[str, Any] = asdict(equity_figures(*curve(first, *levels, step_ms=step_ms)))
    figures["net"] = str(figures["net"])
    json.dumps(figures, allow_nan=False)
    assert 0 <= figures["max_drawdown"] <= 1
    assert 0 <= figures["max_drawdown_ms"] <= figures["longest_drawdown_ms"] <= len(levels) * step_ms


@given(levels_of_an_account, st.floats(1e-3, 1e6))
def test_drawdowns_are_those_of_walking_through_the_rows(levels: list[float], first: float) -> None:
    _, equity = curve(first, *levels)
    peak, walked = -math.inf, []
    for level in equity.tolist():
        peak = max(peak, level)
        walked.append(min(max(1 - level / peak, 0.0), 1.0))
    below = drawdown_of(equity)
    assert below == pytest.approx(walked)

    found = find_drawdowns(below)
    told = deepest_drawdowns(np.arange(len(equity)), below, found, most=len(found))
    assert sorted((one.peak_ms, below[one.trough_ms]) for one in told) == list(
        zip(found.peaks.tolist(), found.depths.tolist(), strict=True)
    )
    under = np.zeros(len(equity), dtype=bool)
    for number in range(len(found)):
        is_open = found.is_last_open and number == len(found) - 1
        rows = slice(found.peaks[number] + 1, len(equity) if is_open else found.ends[number])
        under[rows] = True
        assert below[found.peaks[number]] == 0
        assert below[rows].max() == found.depths[number]
    assert np.array_equal(under, below > 0)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=200), st.sampled_from([HOUR_MS, 5 * HOUR_MS, DAY_MS, 3 * DAY_MS]))
def test_daily_returns_compound_to_the_whole(changes: list[float], step_ms: int) -> None:
    times, equity = curve(*(1000 * np.cumprod([1.0, *(1 + change for change in changes)])), step_ms=step_ms)
    assert np.prod(1 + daily_returns(times, equity)) == pytest.approx(equity[-1] / equity[0])


def test_amounts_keep_eight_places_and_lose_what_floats_leave() -> None:
    assert [str(amount(value)) for value in (0.1 + 0.2, -0.0, 1e6, 1.5, -2.123456789)] == ["0.3", "0", "1000000", "1.5", "-2.12345679"]
    with pytest.raises(ValueError, match="finite"):
        amount(math.inf)
