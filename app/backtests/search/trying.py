"""Tries many sets of parameters of one strategy over the same candles: workers of the jail decide, processes of the pool simulate.

While the pool is at one part, the worker decides the next one. Nothing of what is common to all sets crosses over twice: candles lie in
memory that is lent, and indicators that depend on nothing that varies are computed once a worker.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.backtests.data import Prepared
from app.backtests.deciding import Shared, jail_costs, load, shared
from app.backtests.memory import MemoryRoom
from app.backtests.pool import Computing
from app.backtests.search.figures import Figures, Span
from app.backtests.search.keeping import only_expected
from app.backtests.search.pool import Terms, figures_of, outcomes_of
from app.core.i18n import N_
from app.domain.outcome import Outcome
from app.domain.simulated import SimulationCosts
from app.errors import BeyondNumbers, StrategyFailed
from app.sandbox.asking import Worker
from app.sandbox.jail import Jail
from app.sandbox.messages import MOST_SETS, Sweep, Swept, Value
from app.sandbox.packed import PackedDecisions
from app.sandbox.quotas import Purpose
from app.sandbox.sweeps import packed_decisions
from app.strategies.quick import failure

#: Rows of decisions that a worker has room for before it hands them over; a set that decides at every candle must fit.
_ROOM: Final = 400_000
#: A worker hands over what it has after so long, so that the pool has something to do and a stop takes effect.
_PART_S: Final = 0.2
#: Bytes of decisions that the pool has not come to yet; a strategy that decides at each of a million candles has hundreds of megabytes.
_MOST_WAITING: Final = 64 << 20

Parameters = dict[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one set: figures, one for each stretch, or why there are none."""

    figures: list[Figures] | None
    problem: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tried: one strategy on one market.

    Attributes:
        user_id: Whose strategy it is.
        source: Its text.
        prepared: Candles.
        costs: Of the simulated account.
        spans: Stretches that figures are wanted of.
    """

    user_id: UUID
    source: str
    prepared: Prepared
    costs: SimulationCosts
    spans: tuple[Span, ...]

    @property
    def terms(self) -> Terms:
        """What the pool is told."""
        prepared = self.prepared
        return Terms(costs=self.costs, start=prepared.start, spans=self.spans, timeframe_ms=prepared.timeframe.milliseconds)


class Trier:
    """Workers that stand ready for one subject; made by `trying`."""

    def __init__(self, subject: Subject, jail: Jail, pool: Computing, workers: list[Worker], lent: Shared) -> None:
        self._subject = subject
        self._jail = jail
        self._pool = pool
        self._workers = workers
        self._lent = lent
        self._waiting = MemoryRoom(_MOST_WAITING)

    async def tried(self, sets: Sequence[Parameters]) -> list[Tried]:
        """Return what came of each set, in their order.

        Raises:
            StrategyKilled: a worker was stopped.
            JailClosed: strategies cannot be run any more.
            WorkerLost: a process of the pool ended.
        """
        shares = [sets[place :: len(self._workers)] for place in range(len(self._workers))]
        try:
            async with asyncio.TaskGroup() as tasks:
                lanes = [tasks.create_task(self._lane(worker, share)) for worker, share in zip(self._workers, shares, strict=True) if share]
        except ExceptionGroup as group:
            raise only_expected(group) or group from group
        found: list[Tried] = [Tried(figures=None)] * len(sets)
        for place, lane in enumerate(lanes):
            found[place :: len(self._workers)] = lane.result()
        return found

    async def outcome(self, parameters: Parameters) -> Outcome:
        """Return what came of one set in full.

        Raises:
            StrategyFailed: its code failed; the sentence says where.
        """
        _, packed = await self._decided(self._workers[0], [parameters])
        if packed[0] is None:
            raise StrategyFailed(N_("the strategy failed with these parameters"), field="parameters")
        return (await self._pool.run(outcomes_of, self._lent.candles, self._lent.detail, packed, self._subject.terms))[0]

    async def _lane(self, worker: Worker, sets: Sequence[Parameters]) -> list[Tried]:
        parts: list[asyncio.Task[list[Tried]]] = []
        done = 0
        async with asyncio.TaskGroup() as tasks:
            while done < len(sets):
                swept, packed = await self._decided(worker, sets[done : done + MOST_SETS])
                done += len(packed)
                held = AsyncExitStack()
                await held.enter_async_context(self._waiting.held(sum(one.nbytes for one in packed if one is not None)))
                parts.append(tasks.create_task(self._simulated(swept, packed, held)))
        return [one for part in parts for one in part.result()]

    async def _decided(self, worker: Worker, sets: Sequence[Parameters]) -> tuple[Swept, list[PackedDecisions | None]]:
        prepared = self._subject.prepared
        costs = jail_costs(self._subject.costs)
        sweep = Sweep(sets=list(sets), start=prepared.start, costs=costs, detail=prepared.detail_place, seconds=_PART_S)
        swept = await worker.ask(sweep)
        if not isinstance(swept, Swept):
            raise failure(swept)
        if not 0 < len(swept.sets) <= len(sets):
            raise StrategyFailed(N_("The jail answered with something else than it was asked for."))
        return swept, await packed_decisions(self._jail, worker, swept.sets, len(prepared.candles))

    async def _simulated(self, swept: Swept, packed: list[PackedDecisions | None], held: AsyncExitStack) -> list[Tried]:
        async with held:
            found = await self._pool.run(figures_of, self._lent.candles, self._lent.detail, packed, self._subject.terms)
        return [
            Tried(figures=figures, problem=said.problem or ("" if figures is not None else BeyondNumbers().message), line=said.line)
            for figures, said in zip(found, swept.sets, strict=True)
        ]


@asynccontextmanager
async def trying(subject: Subject, jail: Jail, pool: Computing, *, lanes: int = 1) -> AsyncIterator[Trier]:
    """Give out workers that stand ready for a subject; they end with the block.

    Raises:
        StrategyFailed: its code failed before anything was tried.
        JailClosed, JailBusy, StrategyPaused: as `Jail.worker`.
    """
    prepared = subject.prepared
    rows = max(_ROOM, len(prepared.candles) + 1)
    async with AsyncExitStack() as stack:
        lent = await stack.enter_async_context(shared(pool, prepared))
        workers = []
        for _ in range(lanes):
            worker = await stack.enter_async_context(
                jail.worker(user_id=subject.user_id, purpose=Purpose.BACKTEST, frames=prepared.lent_frames, result_rows=rows)
            )
            await load(worker, subject.source, {})
            workers.append(worker)
        yield Trier(subject, jail, pool, workers, lent)
