"""Statistics beside independent libraries: pandas for groups, empyrical for ratios; on random trades and on those of real candles."""

import math
import statistics
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import empyrical
import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.metrics import DAYS_A_YEAR
from app.statistics import grouping
from app.statistics.columns import Kind, Trips
from app.statistics.equity import Curve, account_figures, grown
from app.statistics.queries import Held
from app.statistics.summary import clock_over
from app.statistics.trip_figures import exposure, trip_figures
from app.statistics.wish import StatisticsFilter
from tests.conftest import Size
from tests.domain.equity_curves import random_curve
from tests.domain.test_metrics_golden import daily
from tests.recorded import candle_rows

_DAY_MS: Final = 86_400_000
_NOBODY: Final = Held(0, None)
_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


def trips_of(opened: Any, closed: Any, profit: Any, kind: Any) -> Trips:
    order = np.lexsort((opened, closed))
    of_kind, ended, begun, units = (np.asarray(column, dtype=np.int64)[order] for column in (kind, closed, opened, profit))
    kinds = tuple(Kind(UUID(int=1), symbol, "USDT", "manual") for symbol in _SYMBOLS)
    return Trips(kinds, of_kind, ended, begun, units, np.abs(units) // 100)


def random_trips(seed: int) -> Trips:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 400))
    closed = 1_700_000_000_000 + draw.integers(0, int(draw.integers(1, 400)) * _DAY_MS, count)
    profit = np.rint(draw.normal(0.2, draw.choice([0.5, 40, 3000]), count) * 1e8) * (draw.random(count) > 0.05)
    return trips_of(closed - draw.integers(0, 3 * _DAY_MS, count), closed, profit, draw.integers(0, 3, count))


def trips_of_real_candles() -> Trips:
    """Those of a crossing of averages on recorded candles, one unit each."""
    rows = candle_rows("binance-BTCUSDT-15m-2023-06-01_2023-12-31.csv.gz")
    closes = pandas.Series([float(row[4]) for row in rows])
    is_long = (closes.ewm(span=12).mean() > closes.ewm(span=26).mean()).to_numpy()
    changes = np.diff(is_long.astype(np.int8))
    entries = np.flatnonzero(changes > 0) + 1
    exits = np.flatnonzero(changes < 0) + 1
    pairs = list(zip(entries.tolist(), exits[exits > entries[0]].tolist(), strict=False))
    times = np.array([int(row[0]) for row in rows])
    profit = [round((closes[out] - closes[into]) * 1e8) for into, out in pairs]
    return trips_of(times[[into for into, _ in pairs]], times[[out for _, out in pairs]], profit, [0] * len(pairs))


def agrees(found: float | None, expected: float) -> bool:
    return (found is None and not math.isfinite(expected)) or found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def check(trips: Trips) -> None:
    until = datetime.fromtimestamp((int(trips.closed[-1]) // _DAY_MS + 1) * _DAY_MS / 1000, UTC)
    since = datetime.fromtimestamp(int(trips.closed[0]) // _DAY_MS * _DAY_MS / 1000, UTC)
    figures = trip_figures(trips, _NOBODY, since=since, until=until)
    outcomes, profit = figures.outcomes, [float(one) / 1e8 for one in trips.profit.tolist()]
    won, lost = [one for one in profit if one > 0], [-one for one in profit if one < 0]
    assert figures.net == sum((Decimal(one) for one in trips.profit.tolist()), Decimal(0)).scaleb(-8)
    assert (outcomes.closed, outcomes.won, outcomes.lost) == (len(profit), len(won), len(lost))
    assert outcomes.win_rate == pytest.approx(len(won) / len(profit))
    assert float(outcomes.expectancy or 0) == pytest.approx(statistics.fmean(profit), abs=1e-8)
    assert agrees(outcomes.profit_factor, sum(won) / sum(lost) if lost else math.nan)
    assert agrees(outcomes.payoff_ratio, statistics.fmean(won) / statistics.fmean(lost) if won and lost else math.nan)
    assert outcomes.average_hold_ms == round(statistics.fmean((trips.closed - trips.opened).tolist()))
    days = pandas.Series(profit, index=pandas.to_datetime(trips.closed, unit="ms", utc=True)).resample("1D").sum()
    assert figures.days == len(days)
    assert agrees(figures.sharpe, empyrical.sharpe_ratio(days, annualization=DAYS_A_YEAR)), "Sharpe"
    # empyrical divides by nothing where no day lost; that is no ratio.
    assert agrees(
        figures.sortino, empyrical.sortino_ratio(days, annualization=DAYS_A_YEAR) if (days < 0).any() and len(days) > 1 else math.nan
    )
    sums = pandas.Series([0.0, *profit]).cumsum()
    assert float(figures.max_fall) == pytest.approx((sums.cummax() - sums).max(), abs=1e-6)
    if len(profit) > 1 and (deviation := statistics.stdev(profit)) > 1e-9:
        expected = math.sqrt(len(profit)) * statistics.fmean(profit) / deviation
        assert outcomes.sqn == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_figures_of_random_trades_agree_with_independent_ones(size: Size) -> None:
    for seed in range(size(60, full=1000)):
        check(random_trips(seed))


def test_figures_of_trades_on_real_candles_agree_with_independent_ones() -> None:
    trips = trips_of_real_candles()
    assert len(trips) > 300
    check(trips)


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_groups_by_time_agree_with_pandas_over_the_turns_of_clocks(zone: str, size: Size) -> None:
    for seed in range(size(10, full=200)):
        trips = random_trips(seed)
        clock = clock_over(trips, StatisticsFilter(zone=ZoneInfo(zone)))
        shown = pandas.to_datetime(pandas.Series(trips.closed), unit="ms", utc=True).dt.tz_convert(zone)
        keys = {
            "days": (grouping.by_day(trips, clock), (shown.dt.tz_localize(None).dt.normalize() - pandas.Timestamp(0)).dt.days),
            "months": (grouping.by_month(trips, clock), (shown.dt.year - 1970) * 12 + shown.dt.month - 1),
            "hours": (grouping.by_weekday_hour(trips, clock), shown.dt.day_of_week * 24 + shown.dt.hour),
        }
        for name, (lines, key) in keys.items():
            expected = pandas.Series(trips.profit).groupby(key.to_numpy()).sum()
            assert {line.key: int(line.profit.scaleb(8)) for line in lines} == expected.to_dict(), (seed, name)


def test_time_weighted_figures_agree_with_an_independent_library_whatever_is_paid_in(size: Size) -> None:
    """What the accounts earned is drawn first; then money comes and goes, which must change nothing of it."""
    for seed in range(size(40, full=500)):
        times, own = random_curve(seed)
        if not (own > 0).all():
            continue
        draw = np.random.default_rng(seed)
        growth = own / own[0]
        worth, flows = np.empty(len(own)), np.zeros(len(own))
        worth[0] = 1000
        for row in range(1, len(own)):
            earned = worth[row - 1] * growth[row] / growth[row - 1]
            flows[row] = draw.choice([0, 0, 0, 250, -0.3 * earned])
            worth[row] = earned + flows[row]
        found = account_figures(Curve(times, worth, flows, grown(worth, flows)))
        assert found is not None
        returns = daily(times, own)
        expected = {
            "total_return": growth[-1] - 1,
            "volatility": empyrical.annual_volatility(returns, annualization=DAYS_A_YEAR),
            "sharpe": empyrical.sharpe_ratio(returns, annualization=DAYS_A_YEAR),
            "max_drawdown": -empyrical.max_drawdown(pandas.Series(own).pct_change().iloc[1:]),
        }
        for name, value in expected.items():
            told = getattr(found.figures, name)
            assert (told is None and not math.isfinite(value)) or told == pytest.approx(value, rel=1e-7, abs=1e-9), (seed, name)
        assert float(found.figures.net) == pytest.approx(worth[-1] - worth[0] - flows.sum(), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=12),
    bounds=st.tuples(st.integers(0, 150), st.integers(1, 120)),
    held=st.none() | st.integers(0, 260),
)
def test_exposure_is_the_share_of_moments_at_which_something_was_open(
    spans: list[tuple[int, int]], bounds: tuple[int, int], held: int | None
) -> None:
    begin, end = bounds[0], bounds[0] + bounds[1]
    trips = trips_of([a for a, _ in spans], [a + length for a, length in spans], [1] * len(spans), [0] * len(spans))
    since = None if held is None or held >= end else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=held)
    still = end if since is None else held or 0
    is_open = [moment >= still or any(a <= moment < a + length for a, length in spans) for moment in range(begin, end)]
    assert exposure(trips, Held(0 if since is None else 1, since), begin, end) == pytest.approx(sum(is_open) / (end - begin))
