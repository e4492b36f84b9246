"""What the pool computes. Everything here runs in a process of its own; its arguments and answers cross over pickled."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from app.backtests import engine
from app.backtests.compiled import compile_kernels, kernel
from app.backtests.lending import CandleSource, DecisionSource
from app.backtests.packed import packed_equity, packed_fills, packed_trades
from app.backtests.report import Report, RunFacts, as_stored, make_report
from app.domain.arrays import Decisions
from app.domain.metrics_tables import telling_rows
from app.domain.outcome import Outcome
from app.domain.simulation import SimulationCosts

#: How much worse the slippage is by which a result's sensitivity to it is judged.
_TWICE: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is simulated.

    Attributes:
        candles: Of the traded market.
        detail: Of one minute, where they are walked.
        costs: Of the account.
        start: Row of the first decision that counts.
        rows: How many candles are walked through: all, or those decided so far.
        timeframe_ms: Length of a candle.
    """

    candles: CandleSource
    detail: CandleSource | None
    costs: SimulationCosts
    start: int
    rows: int
    timeframe_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The part of a backtest that is done: a few points of its equity, and its round trips."""

    points: list[tuple[int, float]]
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A result as it is stored; see `models.Backtest` and `models.BacktestResult`."""

    engine_version: str
    report: dict[str, Any]
    summary: dict[str, Any]
    trades: bytes
    fills: bytes
    equity: bytes


def preview(task: Task, decisions: DecisionSource, most_points: int) -> Preview:
    """Return how the account stands at the last candle that was decided."""
    candles = task.candles.here().until(task.rows)
    outcome = _run(task, decisions.here())
    equity = outcome.equity[task.start :]
    rows = telling_rows(equity, equity, most_points, (len(equity) - 1,))
    times = candles.time[task.start :][rows] + task.timeframe_ms
    return Preview(points=list(zip(times.tolist(), equity[rows].round(8).tolist(), strict=True)), trades=len(outcome.trades))


def finish(task: Task, decisions: DecisionSource, facts: RunFacts) -> Finished:
    """Return the whole result of decisions.

    Raises:
        StrategyKilled: the memory holds what no decision can be.
    """
    candles, made = task.candles.here().until(task.rows), decisions.here()
    outcome = _run(task, made)
    twice = replace(task, costs=replace(task.costs, slippage=task.costs.slippage * _TWICE))
    report = make_report(
        outcome, candles, task.costs, task.start, timeframe_ms=task.timeframe_ms, facts=facts, at_double_slippage=_run(twice, made)
    )
    return Finished(
        engine_version=engine.ENGINE_VERSION,
        report=as_stored(report),
        summary=summary_of(report),
        trades=packed_trades(outcome.trades),
        fills=packed_fills(outcome.fills),
        equity=packed_equity(candles.time, outcome.equity),
    )


def summary_of(report: Report) -> dict[str, Any]:
    """Return what lists show of a report."""
    kpis = report.kpis
    return {
        "net": str(kpis.net),
        "net_return": kpis.net_return,
        "held_return": kpis.held_return,
        "max_drawdown": kpis.max_drawdown,
        "sharpe": kpis.sharpe,
        "profit_factor": kpis.profit_factor,
        "win_rate": kpis.win_rate,
        "trades": kpis.closed + kpis.open,
        "final_equity": str(report.final_equity),
        "warnings": sum(check.verdict != "pass" for check in report.checks),
    }


def _run(task: Task, decisions: Decisions) -> Outcome:
    candles = task.candles.here().until(task.rows)
    detail = None if task.detail is None else task.detail.here()
    return engine.run(candles, decisions, task.costs, task.start, detail=detail)


def prepare(data_dir: Path | None) -> None:
    """Load the engine, and compile it where that was not done before, which takes some ten seconds once a version.

    Args:
        data_dir: Where compiled code is kept; None: where the environment says.
    """
    if data_dir is None:
        kernel()
    else:
        compile_kernels(data_dir)
