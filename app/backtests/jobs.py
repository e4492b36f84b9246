"""Runs the backtests of all users: takes them out of the queue in a fair order, keeps their leases, and stores how each ended."""

import asyncio
from typing import Any, Final
from uuid import UUID

import structlog

from app.backtests.aside import ASIDE_S, StepsAside
from app.backtests.events import BacktestAsked, BacktestChanged
from app.backtests.models import BacktestState
from app.backtests.queue import MOST_ATTEMPTS, Claimed, Ended, Later, Queue
from app.backtests.running import Canceled, NeedsMore, Running, Tools
from app.backtests.work import prepare
from app.core.events import Subscription
from app.core.leases import process_name
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.errors import AppError, JailBusy, JailClosed, WorkerLost

log = structlog.get_logger(__name__)

#: How often it is looked who was canceled; and, while nothing runs, whether another process made a backtest.
_LOOK_S: Final = 0.4
_IDLE_S: Final = 1.5
#: A lease is renewed when a fifth of it is over: two renewals may fail.
_RENEW_S: Final = 2.0
#: For processors that others have, and for a process that is started anew.
_BUSY_S: Final = 2.0
_AWAY_S: Final = 3.0
_ALL: Final = 1 << 62
#: The first pages have been answered by then.
_COMPILE_AFTER_S: Final = 20.0


class BacktestJobs:
    """The loop `backtests.jobs`. Several processes may run one at a time, each takes what no other has.

    Args:
        tools: What runs need.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._bounds, self._room = tools.bounds, tools.room
        self._runs: dict[UUID, Running] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    @property
    def running(self) -> int:
        """How many run in this process."""
        return len(self._runs)

    async def run(self, beat: Beat) -> None:
        """Run backtests until cancelled; those that are under way then go back into the queue. A supervised loop."""
        self._runs.clear()
        self._tasks.clear()
        queue = Queue(self._tools.database, process_name())
        with self._tools.bus.subscribe(BacktestAsked) as asked:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._compile_later(), name="backtests:compile")
                renew_at = 0.0
                while True:
                    beat()
                    now = asyncio.get_running_loop().time()
                    if now >= renew_at:
                        await queue.inherit()
                        await self._tools.pool.rest()
                        renew_at = now + _RENEW_S
                    await self._keep(queue)
                    await self._fill(queue, group)
                    await self._pause(asked)

    async def _compile_later(self) -> None:
        await asyncio.sleep(_COMPILE_AFTER_S)
        try:
            await self._tools.pool.run(prepare, self._tools.kernels)
        except AppError as error:
            log.warning("kernels_not_compiled", code=error.code)

    async def _keep(self, queue: Queue) -> None:
        """Prolong leases, and stop what was canceled, or is ours no longer."""
        for backtest_id, user_id, number in await queue.close_abandoned():
            changed = BacktestChanged(user_id=user_id, backtest_id=backtest_id, number=number, state=BacktestState.CANCELED.value)
            self._tools.bus.publish(changed)
        if not self._runs:
            return
        ours = await queue.renew(list(self._runs))
        for backtest_id, run in list(self._runs.items()):
            epoch, is_canceled = ours.get(backtest_id, (-1, False))
            if epoch != run.claimed.epoch:
                log.info("backtest_lost", number=run.claimed.number)  # deleted, or taken over after we were silent
                self._tasks[backtest_id].cancel()
            elif is_canceled:
                run.canceled.set()

    async def _fill(self, queue: Queue, group: asyncio.TaskGroup) -> None:
        while len(self._runs) < self._bounds.at_once:
            # What was begun and waits behind a search for its memory will have it first.
            promised = sum(run.claimed.memory_bytes for run in self._runs.values() if not run.has_memory)
            free = self._room.free - promised
            # Where nobody holds any there is room for everything: what needs more than there is would else stand before all for ever.
            claimed = await queue.claim(of_user=self._bounds.of_user, free_bytes=free if free < self._room.size else _ALL)
            if claimed is None:
                return
            run = self._runs[claimed.id] = Running(self._tools, queue, claimed)
            self._tasks[claimed.id] = group.create_task(self._done(queue, run), name=f"backtests:{claimed.number}")

    async def _pause(self, asked: Subscription[object]) -> None:
        """Wait for what is asked for, for the end of a run, or a moment."""
        async with asyncio.TaskGroup() as group:
            heard = group.create_task(asked.get())
            pause_s = _LOOK_S if self._runs else _IDLE_S
            await asyncio.wait({heard, *self._tasks.values()}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
        while asked.get_nowait() is not None:
            pass  # all of them are answered by the look that comes now

    async def _done(self, queue: Queue, run: Running) -> None:
        """Run one, and write down how it ended, or that it is to be tried again."""
        try:
            run.publish(BacktestState.FETCHING)
            await self._settled(queue, run)
        except asyncio.CancelledError:
            # Where it was deleted, or another took it over, this changes nothing.
            await asyncio.shield(self._hand_back(queue, run.claimed))
            raise
        finally:
            # It may have been taken up anew since it was handed back.
            if self._runs.get(run.claimed.id) is run:
                del self._runs[run.claimed.id], self._tasks[run.claimed.id]

    async def _hand_back(self, queue: Queue, claimed: Claimed) -> None:
        try:
            await queue.later(claimed, Later(is_free=True))
        except Exception:  # the database is away as well: the lease ends by itself
            log.exception("backtest_not_handed_back", number=claimed.number)

    async def _settled(self, queue: Queue, run: Running) -> None:
        try:
            outcome = await self._outcome(run)
        except Exception as error:  # an error of ours ends this run alone, and is told on its page
            if is_database_gone(error):
                raise
            log.exception("backtest_failed", number=run.claimed.number)
            outcome = failed(AppError())
        if isinstance(outcome, Later):
            await queue.later(run.claimed, outcome)
            run.publish(BacktestState.QUEUED)
        elif await queue.end(run.claimed, outcome):
            log.info("backtest_over", number=run.claimed.number, state=outcome.state.value)
            run.publish(outcome.state)

    async def _outcome(self, run: Running) -> Ended | Later:
        """Return how it ended, or that it is to be tried again."""
        claimed = run.claimed
        if claimed.attempts > MOST_ATTEMPTS:
            return failed(WorkerLost())  # each time the whole server ended before it was done
        try:
            return await run.work()
        except Canceled:
            return Ended(state=BacktestState.CANCELED)
        except NeedsMore as more:
            return Later(is_free=True, memory_bytes=more.memory_bytes)
        except StepsAside:
            return Later(wait_s=ASIDE_S, is_free=True)
        except JailBusy as error:
            # What a user has used up for today is not waited for in silence.
            return failed(error) if self._is_used_up(claimed.user_id) else Later(wait_s=_BUSY_S, is_free=True)
        except (WorkerLost, JailClosed) as error:
            return failed(error) if claimed.attempts >= MOST_ATTEMPTS else Later(wait_s=_AWAY_S)
        except AppError as error:
            return failed(error)

    def _is_used_up(self, user_id: UUID) -> bool:
        """Whether the user's processor time of a day is over."""
        quotas = self._tools.jail.quotas
        return quotas.used_today_s(user_id) >= quotas.limits.cpu_s_a_day


def failed(error: AppError) -> Ended:
    """Return the end of what failed for this reason."""
    told: dict[str, Any] = {"code": error.code, "message": error.message, "field": error.field}
    return Ended(state=BacktestState.FAILED, error=told | {name: error.context.get(name) for name in ("line", "column", "traceback")})
