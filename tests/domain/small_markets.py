"""Markets of a few candles, and what a simulation makes of decisions there."""

import numpy as np

from app.domain.arrays import Candles, Decisions, no_decisions
from app.domain.simulation import Simulation, SimulationCosts, simulate

FREE = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0)


def candles_of(*rows: tuple[float, float, float, float]) -> Candles:
    """Return candles of (open, high, low, close)."""
    columns = np.array(rows, dtype=np.float64).T
    return Candles(np.arange(len(rows)) * 60_000, columns[0], columns[1], columns[2], columns[3], np.ones(len(rows)))


def decided(rows: int, **columns: dict[int, float]) -> Decisions:
    decisions = no_decisions(rows)
    for name, values in columns.items():
        for row, value in values.items():
            getattr(decisions, name)[row] = value
    return decisions


def outcome(candles: Candles, costs: SimulationCosts = FREE, **columns: dict[int, float]) -> Simulation:
    return simulate(candles, decided(len(candles), **columns), costs)


FLAT = (100.0, 101.0, 99.0, 100.0)
