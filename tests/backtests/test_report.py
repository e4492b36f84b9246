import json
import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtests.engine import run
from app.backtests.report import as_stored, from_stored, held_equity, make_report
from app.backtests.report_parts import MOST_POINTS, RunFacts
from app.backtests.report_rows import REASON_WORDS, metric_groups, shown
from app.domain.arrays import LONG, Candles, no_decisions
from app.domain.outcome import outcome_of
from app.domain.simulated import Reason
from app.domain.simulation import SimulationCosts, simulate
from tests.backtests.runs import COSTS, HOUR_MS, candles_like, ran, report_of
from tests.backtests.test_kernel import crossing, recorded
from tests.conftest import Size
from tests.domain.equity_curves import NEW_YEAR_MS, curve, outcome_with, trades_of
from tests.shared_data import shared_data


def flat_candles(*closes: float, step_ms: int = HOUR_MS) -> Candles:
    prices = np.array(closes)
    return Candles(NEW_YEAR_MS + np.arange(len(closes), dtype=np.int64) * step_ms, prices, prices, prices, prices, np.ones(len(closes)))


def test_the_report_of_a_run_adds_up() -> None:
    outcome, candles = ran(1, 4_000, start=100)
    report = make_report(outcome, candles, COSTS, 100, timeframe_ms=HOUR_MS)

    assert (report.candles, report.start_ms, report.end_ms) == (3_900, NEW_YEAR_MS + 101 * HOUR_MS, NEW_YEAR_MS + 4_000 * HOUR_MS)
    assert (report.capital, report.final_equity) == (Decimal(10_000), Decimal(10_000) + report.kpis.net)
    costs = report.costs
    assert costs.gross - costs.fees - costs.slippage - costs.funding == pytest.approx(costs.net, abs=Decimal("0.0000001"))
    assert costs.net == report.kpis.net == report.strategy.net
    assert float(costs.fees) == pytest.approx(float(np.sum(outcome.fills.fee)))
    assert report.trades.closed + report.trades.open == len(outcome.trades) > 30
    assert sum(report.distribution.counts if report.distribution else ()) == report.trades.closed
    assert sum(one.trades for one in report.by_exit_reason) == report.trades.closed
    profit = sum(one.profit for one in report.by_exit_reason)
    assert float(profit) == pytest.approx(float(report.trades.gross_profit - report.trades.gross_loss), abs=1e-6)
    assert np.prod([1 + year.total for year in report.years]) == pytest.approx(1 + report.kpis.net_return)
    assert report.drawdowns[0].depth == report.kpis.max_drawdown == max(one.depth for one in report.drawdowns)


def test_points_are_few_and_hold_the_deepest_fall() -> None:
    report = report_of(2, 30_000)
    points = report.points
    assert len(points.time) == len(points.equity) == len(points.held) == len(points.drawdown) <= MOST_POINTS
    assert (points.time[0], points.time[-1]) == (report.start_ms, report.end_ms)
    assert max(points.drawdown) == pytest.approx(report.kpis.max_drawdown, abs=1e-8)
    deepest = report.drawdowns[0]
    assert {deepest.peak_ms, deepest.trough_ms} <= set(points.time)
    assert points.equity[0] == 10_000


def test_holding_pays_the_same_costs_and_begins_when_the_strategy_could() -> None:
    candles = flat_candles(50.0, 100.0, 110.0, 120.0, 130.0)
    costs = SimulationCosts(capital=1_000.0, fee=0.01, slippage=0.1)
    held = held_equity(candles, costs, 1)
    quantity = 1_000 / (110 * 1.1 * 1.01)
    assert held == pytest.approx([1_000, quantity * 110, quantity * 120, quantity * 130])


def test_holding_is_what_the_engine_makes_of_buying_once() -> None:
    candles = candles_like(3, 500)
    decisions = no_decisions(500)
    decisions.flags[0] = LONG
    outcome = outcome_of(simulate(candles, decisions, COSTS))
    held = held_equity(candles, COSTS, 0)
    assert held == pytest.approx(outcome.equity)
    report = make_report(outcome, candles, COSTS, timeframe_ms=HOUR_MS)
    assert report.kpis.held_return == pytest.approx(report.kpis.net_return)


@pytest.mark.parametrize(("rows", "start"), [(1, 0), (2, 0), (2, 1), (30, 29), (30, 0)])
def test_a_run_too_short_for_anything_has_a_report(rows: int, start: int) -> None:
    report = report_of(4, rows, start=start)
    stored = json.dumps(as_stored(report), allow_nan=False)
    assert from_stored(json.loads(stored)) == report
    assert report.candles == rows - start


def test_there_is_no_report_of_nothing() -> None:
    outcome, candles = ran(5, 10)
    for start in (10, -1):
        with pytest.raises(ValueError, match="there must be candles"):
            make_report(outcome, candles, COSTS, start, timeframe_ms=HOUR_MS)
    with pytest.raises(ValueError, match="there must be candles"):
        make_report(outcome, candles.until(9), COSTS, timeframe_ms=HOUR_MS)


def test_a_run_without_a_trade_says_so_and_has_no_averages() -> None:
    report = make_report(outcome_with(np.full(3_000, 10_000.0)), candles_like(6, 3_000), COSTS, timeframe_ms=HOUR_MS)
    assert (report.kpis.net, report.kpis.win_rate, report.kpis.sharpe, report.distribution) == (Decimal(0), None, None, None)
    assert report.checks[0].verdict == "fail"
    assert "SAMPLE" in {check.code for check in report.checks if check.verdict == "fail"}


def test_an_account_that_is_lost_has_a_report_without_infinities() -> None:
    _, equity = curve(10_000, 5_000, -200, -200, -100)
    report = make_report(outcome_with(equity, trades_of((1, 2, -10_200.0))), flat_candles(*[1.0] * 5), COSTS, timeframe_ms=HOUR_MS)
    json.dumps(as_stored(report), allow_nan=False)
    assert (report.kpis.max_drawdown, report.kpis.net) == (1.0, Decimal(-10_100))
    assert "RUIN" in {check.code for check in report.checks if check.verdict == "fail"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=40),
    st.lists(st.floats(-1e4, 1e4), max_size=10),
    st.sampled_from([60_000, HOUR_MS, 24 * HOUR_MS]),
    st.sampled_from([0.0, 1.0]),
)
def test_every_report_is_json_and_comes_back_the_same(levels: list[float], profits: list[float], step_ms: int, price: float) -> None:
    equity = np.array([10_000.0, *levels])
    rows = len(equity)
    trades = trades_of(*((place % rows, rows - 1, profit) for place, profit in enumerate(profits)))
    prices = [price * (place + 1) for place in range(rows)]
    outcome = outcome_with(equity, trades, fees=1.5, slippage=-0.5, funding=-2.0, denied=1, candles_held=rows)
    facts = RunFacts(has_look_ahead=True, warm_up=5, is_warm_up_short=False)
    report = make_report(
        outcome, flat_candles(*prices, step_ms=step_ms), COSTS, timeframe_ms=step_ms, facts=facts, at_double_slippage=outcome
    )
    stored = json.dumps(as_stored(report), allow_nan=False)
    assert from_stored(json.loads(stored)) == report
    for language in ("en", "fr"):
        for group in metric_groups(report):
            assert all(shown(row.own, row.kind, currency="USDT", language=language) for row in group.rows)


def test_amounts_of_money_are_strings_and_ratios_numbers() -> None:
    stored = as_stored(report_of(7, 2_000))
    assert all(isinstance(stored["costs"][name], str) for name in ("gross", "fees", "slippage", "funding", "net", "turnover"))
    assert isinstance(stored["kpis"]["net"], str)
    assert isinstance(stored["kpis"]["net_return"], float)
    assert isinstance(stored["trades"]["expectancy"], str)


def test_holes_in_the_candles_are_told_longest_first_with_what_is_known_of_them() -> None:
    outcome, candles = ran(8, 200)
    kept = np.ones(200, dtype=bool)
    kept[[50, 100, 101, 102]] = False
    holed = Candles(*(getattr(candles, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))
    first, second = NEW_YEAR_MS + 100 * HOUR_MS, NEW_YEAR_MS + 50 * HOUR_MS
    facts = RunFacts(known_gaps=((first, first + 3 * HOUR_MS, "exchange_has_none"),))
    report = make_report(outcome_with(outcome.equity[kept]), holed, COSTS, timeframe_ms=HOUR_MS, facts=facts)

    assert report.missing_candles == 4
    assert [(gap.start_ms, gap.end_ms, gap.candles, gap.outcome) for gap in report.gaps] == [
        (first, first + 3 * HOUR_MS, 3, "exchange_has_none"),
        (second, second + HOUR_MS, 1, None),
    ]


def test_every_reason_has_a_word() -> None:
    assert set(REASON_WORDS) == {reason.value for reason in Reason}


def test_a_report_of_a_million_candles_is_made_in_the_time_of_a_glance() -> None:
    """Not a timed test: thirty times what it takes on a quiet machine tells a loop over candles from columns."""
    rows, trades = 1_000_000, 10_000
    random = np.random.default_rng(9)
    equity = 10_000 * np.exp(random.normal(0, 1e-4, rows).cumsum())
    entries = np.sort(random.choice(rows - 20, trades, replace=False)).tolist()
    outcome = outcome_with(
        equity, trades_of(*zip(entries, [row + 9 for row in entries], random.normal(0, 5, trades).tolist(), strict=True))
    )
    candles = candles_like(9, rows, step_ms=60_000, deviation=1e-4)
    begun = time.perf_counter()
    report = make_report(outcome, candles, COSTS, timeframe_ms=60_000, at_double_slippage=outcome)
    assert time.perf_counter() - begun < 2.0
    assert report.trades.closed == trades


def test_on_recorded_markets_trades_make_the_net_and_costs_lie_between_gross_and_net(size: Size) -> None:
    files = sorted((shared_data() / "candles").glob("*.csv.gz"))[:: size(6, full=1)]
    costs = SimulationCosts(step=1e-4, tick=1e-6, least_notional=0.01, volume_share=0.5, funding_rate=1e-4)
    for seed, file in enumerate(files):
        for candles in recorded(file, most=size(2_000, full=50_000)):
            outcome = run(candles, crossing(candles, seed=seed), costs, 30)
            report = make_report(outcome, candles, costs, 30, timeframe_ms=int(np.diff(candles.time).min()), at_double_slippage=outcome)
            assert from_stored(json.loads(json.dumps(as_stored(report), allow_nan=False))) == report, file.name
            brought, net = float(outcome.trades.profit.sum()), float(report.kpis.net)
            assert brought == pytest.approx(net, rel=1e-6, abs=1e-5), file.name
            spent = report.costs
            assert float(spent.gross - spent.fees - spent.slippage - spent.funding) == pytest.approx(net, abs=1e-6), file.name
