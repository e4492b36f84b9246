from dataclasses import astuple

import pytest

from app.domain.arrays import Candles, Decisions
from app.domain.simulation import Simulation, simulate
from app.sandbox.guest.guest import simulation_costs
from tests.conftest import Size
from tests.domain.candle_reference import Reference
from tests.sandbox.guest.market import COSTS, decisions_of, described, found, guest_with, made_candles, real_candles
from tests.sandbox.guest.three_styles import PER_CANDLE, SIGNALS, TEMPLATE

START = 999


def _outcomes(candles: Candles) -> dict[str, tuple[Decisions, Simulation]]:
    outcomes = {}
    for name, source in (("per candle", PER_CANDLE), ("signals", SIGNALS), ("template", TEMPLATE)):
        decisions = decisions_of(source, candles, start=START)
        outcomes[name] = decisions, simulate(candles, decisions, simulation_costs(COSTS), START)
    return outcomes


def _are_the_same(candles: Candles, *, least_trades: int) -> None:
    outcomes = _outcomes(candles)
    decisions, simulation = outcomes["per candle"]
    assert len(simulation.trades) > least_trades
    assert {str(trade.reason) for trade in simulation.trades} >= {"exit", "stop", "target"}
    assert (outcomes["template"][0].flags == decisions.flags).all()
    for name, (others, theirs) in outcomes.items():
        # Arrays also say "long" while there is a position, where methods are not asked; what was asked must be the same.
        assert (others.flags & decisions.flags == decisions.flags).all(), name
        ours = [(trade.entry_candle, trade.exit_candle, trade.reason) for trade in simulation.trades]
        assert [(trade.entry_candle, trade.exit_candle, trade.reason) for trade in theirs.trades] == ours, name
        for one, other in zip(simulation.fills, theirs.fills, strict=True):
            assert astuple(one)[:2] == astuple(other)[:2]
            assert one.price == other.price
            assert one.quantity == pytest.approx(other.quantity, rel=1e-12)
        assert theirs.equity.tolist() == pytest.approx(simulation.equity.tolist(), rel=1e-12)


def test_the_three_spellings_decide_the_same_on_real_candles(size: Size) -> None:
    # The crash of August 2024 is among them: without one, no stop is reached.
    start, end = size(40_000, full=0), size(60_000, full=100_000)
    candles = real_candles("binance-BTCUSDT-5m-2024-03-01_2025-07-02.csv.gz").between(start, end)
    _are_the_same(candles, least_trades=len(candles) // 100)


def test_the_three_spellings_decide_the_same_on_made_up_candles() -> None:
    _are_the_same(made_candles(20_000, volatility=0.012), least_trades=100)


def test_the_example_comes_out_as_in_the_reference_on_real_candles() -> None:
    candles = real_candles("binance-BTCUSDT-1h-2017-08-17_2022-12-31.csv.gz").between(0, 15_000)
    decisions = decisions_of(PER_CANDLE, candles, start=START)

    simulation = simulate(candles, decisions, simulation_costs(COSTS), START)
    reference = Reference(candles, decisions, simulation_costs(COSTS)).run()

    ours = [(fill.candle, fill.side, str(fill.reason)) for fill in simulation.fills]
    assert ours == [(fill.candle, fill.side, fill.reason) for fill in reference.fills]
    assert simulation.equity.tolist() == pytest.approx([float(value) for value in reference.equity], rel=1e-9)


BOTH = (
    PER_CANDLE
    + """
    def signals(self, candles):
        import numpy as np
        long, leave = ta.crossed_above(self.fast_ema, self.slow_ema), ta.crossed_below(self.fast_ema, self.slow_ema)
        return {"long": long, "exit": leave, "size": np.full(len(candles), 0.1)}
"""
)


def test_a_strategy_with_both_spellings_is_asked_whether_they_agree() -> None:
    guest = guest_with(made_candles(4_000))
    assert described(guest, BOTH).style == "both"
    assert [finding.code for finding in found(guest, "contract")] == []

    described(guest, BOTH.replace('"exit": leave', '"exit": leave | ta.rising(candles.close, 4)'))
    assert [finding.code for finding in found(guest, "contract")] == ["STYLES_DIFFER"]


def test_the_signals_of_a_strategy_with_both_spellings_are_what_runs() -> None:
    candles = made_candles(3_000)

    assert (decisions_of(BOTH, candles).flags == decisions_of(SIGNALS, candles).flags).all()
