"""Our figures beside those of an independent library, on random curves with holes; what is a day is made by pandas."""

import math

import empyrical
import numpy as np
import pandas
import pytest

from app.domain.metrics import DAYS_A_YEAR, equity_figures
from app.domain.metrics_tables import year_returns
from tests.conftest import Size
from tests.domain.equity_curves import random_curve


def daily(times: np.typing.NDArray[np.int64], equity: np.typing.NDArray[np.float64]) -> "pandas.Series[float]":
    """Return the changes from day to day: a moment at midnight ends its day, and the first row stands before the first day."""
    # A millisecond earlier a midnight is in the day that it ends.
    rest = pandas.Series(equity[1:], index=pandas.to_datetime(times[1:] - 1, unit="ms", utc=True))
    first = pandas.Timestamp(int(times[0]), unit="ms", tz="UTC").floor("D")
    days = pandas.date_range(first, rest.index[-1].floor("D"), freq="1D")
    ends = rest.resample("1D").last().reindex(days).ffill().fillna(equity[0])
    levels = pandas.concat([pandas.Series([equity[0]], index=[first - pandas.Timedelta(days=1)]), ends])
    return levels.pct_change().iloc[1:]


def test_ratios_agree_with_an_independent_library_on_random_curves(size: Size) -> None:
    for seed in range(size(300, full=1_000)):
        times, equity = random_curve(seed)
        figures, returns = equity_figures(times, equity), daily(times, equity)
        whole = pandas.Series(equity).pct_change().iloc[1:]
        assert figures.days == len(returns), seed
        expected = {
            "total_return": empyrical.cum_returns_final(whole),
            "cagr": empyrical.annual_return(returns, annualization=DAYS_A_YEAR),
            "volatility": empyrical.annual_volatility(returns, annualization=DAYS_A_YEAR),
            "sharpe": empyrical.sharpe_ratio(returns, annualization=DAYS_A_YEAR),
            "sortino": empyrical.sortino_ratio(returns, annualization=DAYS_A_YEAR),
            "max_drawdown": -empyrical.max_drawdown(whole),
        }
        for name, value in expected.items():
            found = getattr(figures, name)
            assert (found is None and not math.isfinite(value)) or found == pytest.approx(value, rel=1e-9, abs=1e-12), (seed, name)
        if figures.max_drawdown:
            assert figures.calmar == pytest.approx(expected["cagr"] / expected["max_drawdown"], rel=1e-9), seed


def test_months_and_years_agree_with_an_independent_library_on_random_curves(size: Size) -> None:
    for seed in range(size(80, full=1_000)):
        times, equity = random_curve(seed)
        returns = daily(times, equity)
        returns.index = returns.index.tz_localize(None)
        years = year_returns(times, equity, equity)
        months = {(row.year, month + 1): value for row in years for month, value in enumerate(row.months) if value is not None}
        assert months == pytest.approx(dict(empyrical.aggregate_returns(returns, "monthly")), rel=1e-9, abs=1e-12), seed
        assert {row.year: row.total for row in years} == pytest.approx(
            dict(empyrical.aggregate_returns(returns, "yearly")), rel=1e-9, abs=1e-12
        )
        assert all(row.total == row.held for row in years)
