"""Makes the report of a backtest out of its outcome; what is in it is in `report_parts`. Pure computation, for a pool process."""

from typing import Any

import msgspec
import numpy as np

from app.backtests.quality import Ran, make_checks
from app.backtests.report_parts import MOST_GAPS, MOST_POINTS, Check, Costs, Gap, Kpis, Points, Report, RunFacts
from app.backtests.report_safeguards import told_of
from app.domain.arrays import Candles, Floats, Times
from app.domain.metrics import EquityFigures, amount, deepest_drawdowns, drawdown_of, equity_figures, find_drawdowns, ratio
from app.domain.metrics_tables import distribution, telling_rows, year_returns
from app.domain.metrics_trades import TradeFigures, by_reason, closed_rows, trade_figures, trade_returns
from app.domain.outcome import Outcome
from app.domain.simulated import SimulationCosts

__all__ = [
    "Check", "Costs", "Gap", "Kpis", "Points", "Report", "RunFacts", "as_stored", "from_stored", "held_equity", "make_report",
]  # fmt: skip


def make_report(
    outcome: Outcome,
    candles: Candles,
    costs: SimulationCosts,
    start: int = 0,
    *,
    timeframe_ms: int,
    facts: RunFacts | None = None,
    at_double_slippage: Outcome | None = None,
) -> Report:
    """Return what a backtest came to.

    Args:
        outcome: Of the run, or of its part until it was canceled.
        candles: Those that it walked through; as many as there are rows of equity.
        costs: Of the account.
        start: Row of the first decision.
        timeframe_ms: Length of a candle.
        facts: What is known of the version and of the data.
        at_double_slippage: The same decisions at twice the slippage; without it that check is left out.

    Raises:
        ValueError: there is no candle from `start` on, the equity has another length, or the capital is not above 0.
    """
    if not 0 <= start < len(candles) or len(outcome.equity) != len(candles):
        raise ValueError(f"there must be candles from row {start} on, was {len(candles)} and {len(outcome.equity)} rows of equity")
    facts = facts or RunFacts()
    times, equity = candles.time[start:] + timeframe_ms, outcome.equity[start:]
    held, below = held_equity(candles, costs, start), drawdown_of(equity)
    drawdowns = find_drawdowns(below)
    gaps, missing = _gaps(candles.time[start:], timeframe_ms, facts)
    ran = Ran(
        outcome=outcome, candles=candles, times=times, equity=equity, figures=equity_figures(times, equity, drawdowns=drawdowns),
        held=equity_figures(times, held), trades=trade_figures(outcome.trades, candles.time), costs=_costs(outcome, equity),
        exposure=min(outcome.candles_held / len(equity), 1.0), start=start, missing=missing, facts=facts,
        at_double_slippage=at_double_slippage, safeguards=costs.safeguards)  # fmt: skip
    return Report(
        start_ms=int(times[0]),
        end_ms=int(times[-1]),
        timeframe_ms=timeframe_ms,
        candles=len(equity),
        capital=amount(costs.capital),
        final_equity=amount(float(equity[-1])),
        kpis=_kpis(ran.figures, ran.held, ran.trades, ran.exposure),
        strategy=ran.figures,
        held=ran.held,
        trades=ran.trades,
        exposure=ran.exposure,
        **{name: getattr(outcome, name) for name in ("denied", "capped", "missed")},
        points=_points(times, equity, held, below),
        years=year_returns(times, equity, held),
        distribution=distribution(trade_returns(outcome.trades)[closed_rows(outcome.trades)]),
        by_exit_reason=by_reason(outcome.trades, candles.time),
        drawdowns=deepest_drawdowns(times, below, drawdowns),
        costs=ran.costs,
        gaps=gaps,
        missing_candles=missing,
        checks=make_checks(ran),
        **told_of(outcome, candles, costs),
    )


def held_equity(candles: Candles, costs: SimulationCosts, start: int) -> Floats:
    """Return the equity, from row `start` on, of buying all at the open after it at the run's costs, and holding it to the end."""
    held = np.full(len(candles) - start, costs.capital)
    if len(held) < 2:
        return held
    price = float(candles.open[start + 1]) * (1 + costs.slippage)
    if not price > 0:
        return held
    quantity = costs.capital / (price * (1 + costs.fee))
    held[1:] = quantity * candles.close[start + 1 :]
    return held


def as_stored(report: Report) -> dict[str, Any]:
    """Return a report as JSON has it."""
    stored: dict[str, Any] = msgspec.to_builtins(report)
    return stored


def from_stored(stored: dict[str, Any]) -> Report:
    """Return the report that `as_stored` was given."""
    return msgspec.convert(stored, Report)


def _kpis(figures: EquityFigures, held: EquityFigures, trades: TradeFigures, exposure: float) -> Kpis:
    return Kpis(
        net=figures.net,
        net_return=figures.total_return,
        held_net=held.net,
        held_return=held.total_return,
        cagr=figures.cagr,
        held_cagr=held.cagr,
        max_drawdown=figures.max_drawdown,
        held_max_drawdown=held.max_drawdown,
        sharpe=figures.sharpe,
        held_sharpe=held.sharpe,
        sortino=figures.sortino,
        profit_factor=trades.profit_factor,
        payoff_ratio=trades.payoff_ratio,
        win_rate=trades.win_rate,
        won=trades.won,
        closed=trades.closed,
        open=trades.open,
        average_hold_ms=trades.average_hold_ms,
        exposure=exposure,
    )


def _points(times: Times, equity: Floats, held: Floats, below: Floats) -> Points:
    deepest = int(below.argmax())
    peak = int(equity[: deepest + 1].argmax())
    rows = telling_rows(equity, held, MOST_POINTS, (peak, deepest))
    return Points(
        time=tuple(times[rows].tolist()),
        # Eight places are what amounts have; the rest would only be longer JSON.
        equity=tuple(equity[rows].round(8).tolist()),
        held=tuple(held[rows].round(8).tolist()),
        drawdown=tuple(below[rows].round(8).tolist()),
    )


def _costs(outcome: Outcome, equity: Floats) -> Costs:
    net = float(equity[-1] - equity[0])
    spent = outcome.fees + outcome.slippage + outcome.funding
    gross = net + spent
    return Costs(
        gross=amount(gross),
        fees=amount(outcome.fees),
        slippage=amount(outcome.slippage),
        funding=amount(outcome.funding),
        net=amount(net),
        share_of_gross=ratio(spent, gross) if gross > 0 else None,
        turnover=amount(float(np.sum(outcome.fills.quantity * outcome.fills.price))),
    )


def _gaps(times: Times, timeframe_ms: int, facts: RunFacts) -> tuple[tuple[Gap, ...], int]:
    """Return the longest holes and how many candles are missing in all of them."""
    if int(times[-1] - times[0]) == (len(times) - 1) * timeframe_ms:
        return (), 0
    steps = np.diff(times)
    rows = np.flatnonzero(steps > timeframe_ms)
    missing = steps[rows] // timeframe_ms - 1
    longest = rows[np.argsort(-missing, kind="stable")[:MOST_GAPS]].tolist()
    gaps = []
    for row in longest:
        begin, end = int(times[row]) + timeframe_ms, int(times[row + 1])
        known = next((outcome for one, other, outcome in facts.known_gaps if one < end and other > begin), None)
        gaps.append(Gap(start_ms=begin, end_ms=end, candles=(end - begin) // timeframe_ms, outcome=known))
    return tuple(gaps), int(missing.sum())
