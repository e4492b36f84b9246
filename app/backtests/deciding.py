"""Pieces of a run that backtests and searches share: what a strategy is asked, and candles on their way to the pool."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from app.backtests.data import Prepared, Wanted
from app.backtests.lending import CandleSource, DecisionSource, Descriptor, GivenCandles, GivenDecisions, LentDecisions, lend
from app.backtests.models import Backtest
from app.backtests.pool import Computing
from app.backtests.report import RunFacts
from app.backtests.wish import options_of
from app.backtests.work import Task
from app.domain.arrays import Candles
from app.domain.candles import Timeframe
from app.domain.simulation import SimulationCosts
from app.errors import StrategyKilled
from app.sandbox.cell import Cause
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import Costs, Described, Load, Ran, Run, Value
from app.sandbox.quotas import Purpose
from app.strategies.models import StrategyVersion
from app.strategies.quick import failure
from app.strategies.report import Outcome, Step, from_stored

_FAILED: Final = (Outcome.WARNED, Outcome.FAILED)


def wanted_of(backtest: Backtest) -> Wanted:
    """Return the candles that a backtest is about."""
    return Wanted(
        exchange=backtest.exchange,
        symbol=backtest.symbol,
        timeframe=Timeframe(backtest.timeframe),
        start=backtest.start_at,
        end=backtest.end_at,
        is_detailed=options_of(backtest.options).is_detailed,
    )


def jail_costs(costs: SimulationCosts) -> Costs:
    """Return costs as the jail is told of them."""
    return Costs(**{name: getattr(costs, name) for name in Costs.__struct_fields__})


def facts_of(version: StrategyVersion, prepared: Prepared) -> RunFacts:
    """Return what a report must be told of the version and of the candles."""
    is_validated = version.validated_at is not None
    steps = from_stored(version.report).steps if version.report is not None else ()
    short = [step.outcome in _FAILED for step in steps if step.step is Step.WARM_UP and step.outcome is not Outcome.SKIPPED]
    return RunFacts(
        has_look_ahead=version.has_look_ahead if is_validated else None,
        is_warm_up_short=short[0] if short else None,
        warm_up=prepared.facts.warm_up,
        known_gaps=tuple((first, last, outcome) for first, last, outcome in prepared.facts.gaps if outcome is not None),
    )


async def describe(jail: Jail, user_id: UUID, source: str, parameters: dict[str, Value]) -> Described:
    """Return what a strategy says of itself with these parameters.

    Raises:
        StrategyFailed: its code fails, or it has no such parameters.
        JailClosed, JailBusy, StrategyPaused, StrategyKilled: as `Jail.worker`.
    """
    async with jail.worker(user_id=user_id, purpose=Purpose.BACKTEST) as worker:
        return await load(worker, source, parameters)


async def load(worker: Worker, source: str, parameters: dict[str, Value]) -> Described:
    """Let a worker load a strategy. Raises as `describe`."""
    described = await worker.ask(Load(source=source, parameters=parameters))
    if not isinstance(described, Described):
        raise failure(described)
    return described


async def decide(worker: Worker, prepared: Prepared, costs: SimulationCosts, *, is_long_only: bool = False) -> Ran:
    """Let a worker that has loaded a strategy, and was lent `prepared.lent_frames`, decide at all of its candles.

    `is_long_only`: it is never asked to sell short, as on a spot account.

    Raises:
        StrategyFailed: its code failed; the sentence says where.
        StrategyKilled: it was stopped.
        JailClosed: the jail went away; nothing is wrong with the strategy.
    """
    asked = Run(start=prepared.start, costs=jail_costs(costs), detail=prepared.detail_place, is_long_only=is_long_only)
    ran = await worker.ask(asked)
    if not isinstance(ran, Ran):
        raise failure(ran)
    return ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Prepared candles as the pool can see them."""

    prepared: Prepared
    candles: CandleSource
    detail: CandleSource | None

    def task(self, costs: SimulationCosts, rows: int | None = None) -> Task:
        """Return what is to be simulated; `rows`: of the first candles only."""
        return Task(
            candles=self.candles,
            detail=self.detail,
            costs=costs,
            start=self.prepared.start,
            rows=len(self.prepared.candles) if rows is None else rows,
            timeframe_ms=self.prepared.timeframe.milliseconds,
        )


@asynccontextmanager
async def shared(pool: Computing, prepared: Prepared) -> AsyncIterator[Shared]:
    """Let the pool see prepared candles inside the block."""
    async with _shared(pool, prepared.candles) as candles:
        if prepared.detail is None:
            yield Shared(prepared=prepared, candles=candles, detail=None)
            return
        async with _shared(pool, prepared.detail) as detail:
            yield Shared(prepared=prepared, candles=candles, detail=detail)


async def decisions_of(pool: Computing, worker: Worker, rows: int) -> DecisionSource:
    """Return what a worker decided at the first `rows` candles, for the pool to read while the worker is held.

    Raises:
        StrategyKilled: the memory holds what no decision can be. Where the pool shares memory it is the pool that finds out.
    """
    if pool.is_here and worker.results is not None:
        return LentDecisions(Descriptor(worker.results[0]), worker.results[1], rows)
    return GivenDecisions(await worker.decided(rows))


async def judged(jail: Jail, worker: Worker, computed: Awaitable[Any]) -> Any:
    """Return what the pool computed of a worker's memory; what it found wrong there ends the worker, and is written down."""
    try:
        return await computed
    except StrategyKilled as error:
        raise jail.condemn(worker, Cause.PROTOCOL, error.message) from error


@asynccontextmanager
async def _shared(pool: Computing, candles: Candles) -> AsyncIterator[CandleSource]:
    source: CandleSource = await asyncio.to_thread(lend, candles) if pool.is_here else GivenCandles(candles)
    try:
        yield source
    finally:
        source.close()
