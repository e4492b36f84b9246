"""A strategy that goes on writing while the server reads, and decisions that are allowed and absurd."""

import asyncio
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.arrays import Candles, Decisions
from app.domain.simulation import SimulationCosts, simulate
from app.errors import StrategyKilled
from app.sandbox.jail import Jail, Worker
from app.sandbox.memory import BOUNDS
from app.sandbox.messages import Costs, Described, Load, Run
from app.sandbox.quotas import Purpose
from app.sandbox.wire import HEADER
from tests.sandbox.attacks.prelude import source
from tests.sandbox.conftest import candles, frame

pytestmark = pytest.mark.asyncio
ROWS = 200
_WRITE_ON = """
def at_indicators(strategy, candles):
    results = [it for it in gc.get_objects() if type(it).__name__ == "Sheet"]
    flags, sizes = [it.flags for it in results], [it.column("size") for it in results]
    while True:
        for flag, size in (({0}, 0.25), ({1}, 0.75)):
            for array in flags:
                array[:] = flag
            for array in sizes:
                array[:] = size
"""


async def _writing(jail: Jail, first: int, second: int, worker: Worker) -> "asyncio.Task[object]":
    """Have a worker write these flags in turn for as long as it lives."""
    described = await worker.ask(Load(source=source(_WRITE_ON.format(first, second), {}, header=HEADER.format)))
    assert isinstance(described, Described), described
    running = asyncio.get_running_loop().create_task(worker.ask(Run(start=0, costs=Costs()), wall_s=1.5))
    for _ in range(500):
        await asyncio.sleep(0.01)
        try:
            if worker.decisions().flags.any():
                return running
        except StrategyKilled:
            return running
    raise AssertionError("it never wrote anything")


async def test_what_was_read_does_not_change_while_the_strategy_writes_on(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=[(frame(ROWS), candles(ROWS))], result_rows=ROWS) as worker:
        running = await _writing(jail, 1, 4, worker)
        seen = set()
        for _ in range(30):
            decisions = worker.decisions()
            flags, sizes = decisions.flags.copy(), decisions.size.copy()
            await asyncio.sleep(0.01)
            assert np.array_equal(decisions.flags, flags)
            assert np.array_equal(decisions.size, sizes, equal_nan=True)
            assert set(np.unique(flags)) <= {0, 1, 4}
            seen |= set(np.unique(flags))
        assert seen >= {1, 4}, "it was not writing"
        with pytest.raises(StrategyKilled):
            await running


async def test_what_no_decision_can_be_is_found_however_short_it_stands_there(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=[(frame(ROWS), candles(ROWS))], result_rows=ROWS) as worker:
        running = await _writing(jail, 1, 1 << 6, worker)
        for _ in range(200):
            try:
                assert set(np.unique(worker.decisions().flags)) <= {0, 1}
            except StrategyKilled:
                break
        else:
            raise AssertionError("the forged flags were never there to be read")
        with pytest.raises(StrategyKilled):
            await running


def _column(random: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    """Return values within bounds: all at one of them, even, or of every size from the smallest float on; some left out."""
    values = {
        0: np.full(ROWS, low),
        1: np.full(ROWS, high),
        2: random.uniform(low, high, ROWS),
        3: np.clip(10 ** random.uniform(-308, np.log10(high), ROWS), low, high),
    }[int(random.integers(0, 4))]
    values[random.random(ROWS) < random.choice([0.0, 0.3, 0.9])] = np.nan
    return values


@pytest.mark.parametrize("seed", range(8))
async def test_absurd_decisions_cost_money_and_nothing_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(40):
        close = np.abs(100 + np.cumsum(random.normal(size=ROWS))) + 1
        market = Candles(np.arange(ROWS, dtype=np.int64) * 3_600_000, close, close * 1.01, close * 0.99, close, np.ones(ROWS))
        columns = {name: _column(random, low, high) for name, (low, high) in BOUNDS.items()}
        decisions = Decisions(flags=random.integers(0, 8, ROWS, dtype=np.uint8), **columns)
        costs = SimulationCosts(capital=10_000, step=float(random.choice([0.0, 1e-5])), tick=float(random.choice([0.0, 0.01])))
        assert np.isfinite(np.asarray(simulate(market, decisions, costs, 0).equity)).all()
