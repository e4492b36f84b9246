"""The engine of backtests: candles and decisions in, trades and equity out. The rules are in `domain.simulation`."""

from typing import Final

from app.domain.arrays import Candles, Decisions
from app.domain.outcome import Outcome, outcome_of
from app.domain.simulation import SimulationCosts, simulate

#: Changes when the same input may give other trades.
ENGINE_VERSION: Final = "1"


def run(
    candles: Candles,
    decisions: Decisions,
    costs: SimulationCosts,
    start: int = 0,
    *,
    detail: Candles | None = None,
) -> Outcome:
    """Walk through candles with decisions that are already made.

    Args:
        candles: Of the market that is traded.
        decisions: As many rows as there are candles.
        costs: Of the account.
        start: Row of the first decision that counts.
        detail: Shorter candles of the same market, usually of one minute, from which is read what came first inside a candle.

    Raises:
        ValueError: decisions and candles differ in length.
    """
    return outcome_of(simulate(candles, decisions, costs, start, detail=detail))
