"""Runs of the simulation on made-up candles, with their reports: what tests of reports and files are made on."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtests.export_run import ExportedRun, RunHeader
from app.backtests.report import Report, RunFacts, make_report
from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, no_decisions
from app.domain.outcome import Outcome, outcome_of
from app.domain.simulation import SimulationCosts, simulate
from tests.domain.equity_curves import NEW_YEAR_MS

HOUR_MS = 3_600_000
COSTS = SimulationCosts(capital=10_000.0, fee=0.001, maker_fee=0.0005, slippage=0.0005)


def candles_like(seed: int, rows: int, *, step_ms: int = HOUR_MS, deviation: float = 0.01) -> Candles:
    """Return a random walk."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(random.normal(0, deviation, rows).cumsum())
    open_ = np.append(100.0, close[:-1])
    reach = np.abs(random.normal(0, deviation / 2, rows))
    high, low = np.maximum(open_, close) * (1 + reach), np.minimum(open_, close) * (1 - reach)
    return Candles(NEW_YEAR_MS + np.arange(rows, dtype=np.int64) * step_ms, open_, high, low, close, np.full(rows, 1_000.0))


def decisions_like(seed: int, rows: int, *, often: float = 0.05) -> Decisions:
    """Return entries and exits at random, with stops and targets."""
    random = np.random.default_rng(seed)
    decisions = no_decisions(rows)
    decisions.flags[:] = random.choice([0, LONG, SHORT, EXIT], rows, p=[1 - often, often / 4, often / 4, often / 2])
    decisions.stop_loss[:], decisions.take_profit[:] = 0.03, 0.05
    return decisions


def ran(seed: int, rows: int, *, start: int = 0, costs: SimulationCosts = COSTS, often: float = 0.05) -> tuple[Outcome, Candles]:
    """Return what came of random decisions on random candles."""
    candles = candles_like(seed, rows)
    return outcome_of(simulate(candles, decisions_like(seed, rows, often=often), costs, start)), candles


def report_of(seed: int, rows: int, *, start: int = 0, facts: RunFacts | None = None, **given: Any) -> Report:
    """Return the report of `ran`."""
    outcome, candles = ran(seed, rows, start=start)
    return make_report(outcome, candles, COSTS, start, timeframe_ms=HOUR_MS, facts=facts, **given)


def header(**given: Any) -> RunHeader:
    """Return what repeats a run that never was."""
    known: dict[str, Any] = {
        "number": 142, "state": "completed", "strategy": "EMA Cross", "version": 7, "version_id": "0190f0c0-0000-7000-8000-000000000001",
        "parameters": {"fast": 12, "slow": 26}, "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h",
        "start_at": datetime(2024, 1, 1, tzinfo=UTC), "end_at": datetime(2024, 12, 1, tzinfo=UTC), "capital": Decimal(10_000),
        "fee": Decimal("0.001"), "maker_fee": Decimal("0.0005"), "slippage": Decimal("0.0005"), "volume_share": 0.0, "funding_rate": 0.0,
        "detail": False, "tick": "0.01", "step": "0.00001", "least_notional": "5", "engine_version": "1", "seed": 7,
        "candles_sha256": "ab" * 32, "finished_at": datetime(2024, 12, 2, tzinfo=UTC), "note": "",
    }  # fmt: skip
    return RunHeader(**(known | given))


def exported_like(seed: int = 3, rows: int = 3_000, *, start: int = 0, **given: Any) -> ExportedRun:
    """Return a run as files are made of it."""
    outcome, candles = ran(seed, rows, start=start)
    report = make_report(outcome, candles, COSTS, start, timeframe_ms=HOUR_MS)
    return ExportedRun(
        header=header(**given), report=report, trades=outcome.trades, fills=outcome.fills, times=candles.time, equity=outcome.equity
    )
