"""Backtests computed on a Dask cluster: the same numbers, the same errors; one process is cluster enough."""

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from app.backtests.dask_pool import DaskPool
from app.backtests.lending import Descriptor, GivenCandles, GivenDecisions, LentDecisions, lend
from app.backtests.pool import Pool
from app.backtests.report import RunFacts
from app.backtests.work import Task, finish, preview
from app.domain.arrays import EXIT, LONG, no_decisions
from app.domain.candles import Timeframe
from app.domain.simulation import SimulationCosts
from app.errors import StrategyFailed, WorkerLost
from app.sandbox.memory import blank_results
from app.strategies.candles import as_columns, generated

pytest.importorskip("distributed", reason="the optional dependency dask is not installed")
pytestmark = pytest.mark.asyncio(loop_scope="module")

_CLUSTER = """
import sys, time
from distributed import LocalCluster
cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=None, host="127.0.0.1")
print(cluster.scheduler_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", _CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dask(scheduler: str) -> AsyncIterator[DaskPool]:
    pool = DaskPool(scheduler)
    yield pool
    await pool.close()


def fails() -> None:
    raise StrategyFailed("line 3: no", field="source", line=3)


async def test_a_cluster_computes_what_this_machine_does(dask: DaskPool) -> None:
    candles = as_columns(generated(3_000, Timeframe.M1, end_ms=1_772_323_200_000, seed=2))
    decisions = no_decisions(3_000)
    decisions.flags[100::200], decisions.flags[200::200] = LONG, EXIT
    task = Task(candles=GivenCandles(candles), detail=None, costs=SimulationCosts(), start=50, rows=3_000, timeframe_ms=60_000)
    here, there = Pool(1), dask
    try:
        results = [await pool.run(finish, task, GivenDecisions(decisions), RunFacts()) for pool in (here, there)]
        looks = [await pool.run(preview, task, GivenDecisions(decisions), 100) for pool in (here, there)]
        # And what this machine's processes read out of memory that is lent is the same as what is sent.
        lent = lend(candles)
        lent_task = Task(candles=lent, detail=None, costs=SimulationCosts(), start=50, rows=3_000, timeframe_ms=60_000)
        empty = LentDecisions(Descriptor(blank_results(3_000)), 3_000, 3_000)
        nothing = await here.run(finish, lent_task, empty, RunFacts())
        lent.close()
    finally:
        await here.close()
    assert results[0] == results[1]
    assert looks[0] == looks[1]
    assert looks[0].trades == results[0].summary["trades"] > 5
    assert nothing.summary["trades"] == 0


async def test_what_a_task_raises_comes_back_as_it_was(dask: DaskPool) -> None:
    here = Pool(1)
    for pool in (here, dask):
        with pytest.raises(StrategyFailed, match="line 3: no") as caught:
            await pool.run(fails)
        assert (caught.value.code, caught.value.context["line"]) == ("STRATEGY_FAILED", 3)
        with pytest.raises(ValueError, match="math domain error"):
            await pool.run(math.sqrt, -1)
    await here.close()


async def test_a_task_that_nobody_waits_for_any_more_is_taken_back(dask: DaskPool) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await dask.run(time.sleep, 3)
    assert time.monotonic() - began < 2
    assert await dask.run(math.factorial, 5) == 120


async def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backtests.dask_pool._CONNECT_S", 0.5)
    pool = DaskPool("tcp://127.0.0.1:9")
    with pytest.raises(WorkerLost, match="cannot be reached"):
        await pool.run(math.factorial, 5)
    await pool.close()
