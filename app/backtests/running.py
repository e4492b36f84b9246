"""One backtest from its candles to its result. It can be canceled, or its server ended, at any moment."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from app.backtests.aside import Fetching, StepsAside
from app.backtests.bounds import MIB, Bounds
from app.backtests.data import CandleData
from app.backtests.deciding import Shared, decide, decisions_of, describe, facts_of, judged, load, shared, wanted_of
from app.backtests.events import MOST_POINTS, BacktestChanged, Progress
from app.backtests.memory import MemoryRoom
from app.backtests.models import Backtest, BacktestState
from app.backtests.pool import Computing
from app.backtests.queue import Claimed, Ended, Queue
from app.backtests.wish import costs_of
from app.backtests.work import Finished, Preview, finish, prepare, preview
from app.core.db import Database
from app.core.events import EventBus
from app.core.tenancy import owned
from app.domain.simulation import SimulationCosts
from app.errors import AppError, BacktestNotFound
from app.marketdata.candle_sources import Series
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import Described, Ran
from app.sandbox.quotas import Purpose
from app.strategies.models import StrategyVersion
from app.strategies.versions import version_by_id

log = structlog.get_logger(__name__)

T = TypeVar("T")

TELL_S: Final = 0.5
#: A look at the part that is done may take so much of the time between two of them.
_SHARE_OF_LOOKS: Final = 0.25
_RAREST_S: Final = 3.0
_SLACK_BYTES: Final = 32 * MIB
#: So long after it was canceled what was decided may still be computed.
_KEEP_S: Final = 1.5


class Stopped(Exception):
    """It does not go on, and that is nobody's mistake."""


class Canceled(Stopped):
    """The user has canceled it, and there is nothing to keep."""


class NeedsMore(Stopped):
    """It takes more memory than it was taken up with; it must wait until there is so much."""

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes)
        self.memory_bytes = memory_bytes


_Expected = AppError | Stopped | StepsAside


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a run needs.

    Attributes:
        database: The platform's.
        jail: Where strategies decide.
        data: Finds candles.
        pool: Computes what came of the decisions.
        bus: Where progress is told.
        bounds: What is allowed.
        room: Memory that backtests and searches share.
        kernels: The data folder, in which compiled code is kept; None: where the environment of the pool says.
    """

    database: Database
    jail: Jail
    data: CandleData
    pool: Computing
    bus: EventBus
    bounds: Bounds
    room: MemoryRoom
    kernels: Path | None


class Running:
    """One backtest that is under way.

    Args:
        tools: What it needs.
        queue: Where it is written down how far it is.
        claimed: Which one.
    """

    def __init__(self, tools: Tools, queue: Queue, claimed: Claimed) -> None:
        self.claimed = claimed
        #: Set when its user has canceled it.
        self.canceled = asyncio.Event()
        self._tools = tools
        self._queue = queue
        self._progress = self._told = Progress(phase="candles")
        self._state = BacktestState.FETCHING
        self._fetch_began: dict[Series, float] = {}
        self._fetching = Fetching()
        self._is_warm = False
        #: Whether there may be something to keep when it is canceled.
        self._has_decided = False
        #: Whether the memory that it was taken up with is set aside for it.
        self.has_memory = False

    async def work(self) -> Ended:
        """Return what came of it.

        Raises:
            Canceled: it was canceled before there was anything to keep.
            NeedsMore: its candles take more memory than it was taken up with.
            StepsAside: its candles take long to fetch, and others wait.
            WorkerLost: the process that computed it ended.
            AppError: why it fails.
        """
        backtest, version = await self._read()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._keep_telling()), group.create_task(self._warm_up())]
            beside.append(group.create_task(self._until_canceled()))
            working = group.create_task(_caught(self._in_its_memory(backtest, version)))
            await asyncio.wait({working, beside[-1]}, return_when=asyncio.FIRST_COMPLETED)
            if self._has_decided and not working.done():
                await asyncio.wait({working}, timeout=_KEEP_S)
            for task in (working, *beside):
                task.cancel()
        if working.cancelled():
            raise Canceled
        return _returned(working.result())

    async def _until_canceled(self) -> None:
        await self.canceled.wait()

    async def _warm_up(self) -> None:
        """Have a process that has loaded the engine by the time that the strategy decides."""
        await _caught(self._tools.pool.run(prepare, self._tools.kernels))
        self._is_warm = True

    def publish(self, state: BacktestState, progress: Progress | None = None) -> None:
        """Tell whoever looks at it."""
        ours = self.claimed
        self._tools.bus.publish(
            BacktestChanged(user_id=ours.user_id, backtest_id=ours.id, number=ours.number, state=state.value, progress=progress)
        )

    async def _read(self) -> tuple[Backtest, StrategyVersion]:
        ours = self.claimed
        async with self._tools.database.transaction() as session:
            backtest = await session.scalar(owned(Backtest, ours.user_id).where(Backtest.id == ours.id))
            if backtest is None:
                raise BacktestNotFound
            return backtest, await version_by_id(session, ours.user_id, backtest.version_id)

    async def _in_its_memory(self, backtest: Backtest, version: StrategyVersion) -> Ended:
        async with self._tools.room.held(self.claimed.memory_bytes):
            self.has_memory = True
            return await self._worked(backtest, version)

    async def _worked(self, backtest: Backtest, version: StrategyVersion) -> Ended:
        tools, user_id, costs = self._tools, self.claimed.user_id, costs_of(backtest)
        described = await describe(tools.jail, user_id, version.source, backtest.parameters)
        wanted = wanted_of(backtest)
        expected = await tools.data.expected(wanted, described)
        # Not so closely: whoever made it did not always know the warm-up.
        if expected > self.claimed.memory_bytes + _SLACK_BYTES:
            raise NeedsMore(expected)
        preparing = tools.data.prepare(wanted, described, told=self._on_fetch)
        prepared = await self._fetching.unless_waited_for(preparing, self._queue.others_wait)
        data = msgspec.to_builtins(prepared.facts) | {"parameters": _values(described, backtest)}
        if not await self._queue.running(self.claimed, data=data, sha256=prepared.sha256):
            raise Canceled
        self._state = BacktestState.RUNNING
        self._progress = Progress(phase="deciding", total=len(prepared.candles) - prepared.start)
        async with (
            shared(tools.pool, prepared) as lent,
            tools.jail.worker(
                user_id=user_id, purpose=Purpose.BACKTEST, frames=prepared.lent_frames, result_rows=len(prepared.candles)
            ) as worker,
        ):
            await load(worker, version.source, backtest.parameters)
            self._has_decided = True
            return await self._simulated(worker, lent, version, costs)

    async def _simulated(self, worker: Worker, lent: Shared, version: StrategyVersion, costs: SimulationCosts) -> Ended:
        """Let the strategy decide, and return what came of it: of all of it, or of the part up to which it came."""
        ran = await self._decided(worker, lent, costs)
        rows = len(lent.prepared.candles) if ran is not None else min(worker.progress(), len(lent.prepared.candles))
        if rows <= lent.prepared.start:
            raise Canceled
        total = rows - lent.prepared.start
        self._progress = msgspec.structs.replace(self._progress, phase="simulating", pct=0.0, done=total, total=total, eta_s=None)
        decisions = await decisions_of(self._tools.pool, worker, rows)
        facts = facts_of(version, lent.prepared)
        computed = self._tools.pool.run(finish, lent.task(costs, rows), decisions, facts)
        finished: Finished = await judged(self._tools.jail, worker, computed)
        is_canceled = ran is None or self.canceled.is_set()
        state = BacktestState.CANCELED if is_canceled else BacktestState.COMPLETED
        return Ended(state=state, output="" if ran is None else ran.output, finished=finished)

    async def _decided(self, worker: Worker, lent: Shared, costs: SimulationCosts) -> Ran | None:
        """Let the strategy decide, and look how far it is meanwhile; None when it was canceled."""
        begun, pause_s = time.monotonic(), TELL_S
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(_caught(decide(worker, lent.prepared, costs)))
            canceled = group.create_task(self._until_canceled())
            while True:
                await asyncio.wait({asking, canceled}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if asking.done() or canceled.done():
                    break
                looked = time.monotonic()
                # One that fails may do so: the next may fare better, and where the strategy is at fault its answer says so.
                looking = group.create_task(_caught(self._look(worker, lent, costs, begun)))
                await asyncio.wait({asking, canceled, looking}, return_when=asyncio.FIRST_COMPLETED)
                if not looking.done():
                    looking.cancel()  # the whole is there, or no more is wanted
                pause_s = min(max(TELL_S, (time.monotonic() - looked) / _SHARE_OF_LOOKS), _RAREST_S)
            canceled.cancel()
            asking.cancel()
        return None if asking.cancelled() else _returned(asking.result())

    async def _look(self, worker: Worker, lent: Shared, costs: SimulationCosts, begun: float) -> None:
        """Say how far it is, and how the account stands there."""
        start, rows = lent.prepared.start, min(worker.progress(), len(lent.prepared.candles))
        done, total, seconds = max(rows - start, 0), len(lent.prepared.candles) - start, time.monotonic() - begun
        pace = done / seconds if done else None
        points, trades = self._progress.points, self._progress.trades
        if done > 1 and self._is_warm:
            decisions = await decisions_of(self._tools.pool, worker, rows)
            computed = self._tools.pool.run(preview, lent.task(costs, rows), decisions, MOST_POINTS)
            seen: Preview = await judged(self._tools.jail, worker, computed)
            points, trades = seen.points, seen.trades
        self._progress = Progress(
            phase="deciding",
            pct=100 * done / total,
            done=done,
            total=total,
            bars_per_s=pace,
            eta_s=None if pace is None else (total - done) / pace,
            points=points,
            trades=trades,
        )
        await self._tell()

    def _on_fetch(self, series: Series, done: int, total: int, waits_s: float) -> None:
        self._fetching.goes_on()
        began = self._fetch_began.setdefault(series, time.monotonic())
        seconds = time.monotonic() - began
        pace = done / seconds if done and seconds > 0 else None
        self._progress = Progress(
            phase="fetching",
            pct=100 * done / total if total else 0.0,
            done=done,
            total=total,
            bars_per_s=pace,
            eta_s=None if pace is None else (total - done) / pace,
            symbol=f"{series.symbol} {series.timeframe.value}",
            waits_s=waits_s,
        )

    async def _keep_telling(self) -> None:
        while True:
            await self._tell()
            await asyncio.sleep(TELL_S)

    async def _tell(self) -> None:
        if self._progress is not self._told:
            progress = self._told = self._progress
            await self._queue.tell(self.claimed, progress)
            self.publish(self._state, progress)


async def _caught(work: Coroutine[Any, Any, T]) -> T | _Expected:
    """Return an expected error instead of raising it: a group of tasks would wrap it up."""
    try:
        return await work
    except (AppError, Stopped, StepsAside) as error:
        return error


def _returned(result: T | _Expected) -> T:
    if isinstance(result, AppError | Stopped | StepsAside):
        raise result
    return result


def _values(described: Described, backtest: Backtest) -> dict[str, Any]:
    """Return the value of every parameter, as it was run."""
    return {one.name: one.default for one in described.parameters} | dict(backtest.parameters)
