"""The loop that compares bots with their shadows: each once a day, when it has ended, and when somebody asks."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from app.backtests.queue import Queue
from app.core.events import Subscription
from app.core.leases import process_name
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.errors import AppError, BotNotFound, JailBusy, JailClosed, WorkerLost
from app.shadow.events import ShadowAsked, ShadowChanged
from app.shadow.models import ShadowState
from app.shadow.queue import MOST_ATTEMPTS, Claimed, ShadowQueue
from app.shadow.running import ShadowRun, ShadowTools

log = structlog.get_logger(__name__)

#: The role whose holder compares.
SHADOW_ROLE: Final = "shadow"
_LOOK_S: Final = 2.0
_DUE_S: Final = 30.0
_THIN_S: Final = 3600.0
_BEAT_S: Final = 1.0
#: Orders that a bot left behind are over by then, and its candle has closed.
SETTLED: Final = timedelta(minutes=2)
#: Differences and curves are kept so long, totals for `kept_days`.
_WHOLE: Final = timedelta(days=30)
_OUR_FAULT: Final = "INTERNAL"


class ShadowJobs:
    """The loop `shadow`; it runs under a role of its own, one comparison at a time.

    Daily ones stand back while backtests wait for their turn; what somebody asked for by hand does not.

    Args:
        tools: What comparisons need.
        kept_days: Days for which totals are kept.
    """

    def __init__(self, tools: ShadowTools, *, kept_days: int) -> None:
        self._tools = tools
        self._kept = timedelta(days=kept_days)
        self._queue = ShadowQueue(tools.backtests.database)
        self._backtests = Queue(tools.backtests.database, process_name())

    async def run(self, beat: Beat) -> None:
        """Compare until cancelled. A supervised loop."""
        await self._queue.recover()
        loop = asyncio.get_running_loop()
        due_at = thin_at = 0.0
        with self._tools.backtests.bus.subscribe(ShadowAsked) as asked:
            while True:
                beat()
                if loop.time() >= due_at:
                    await self._queue.ask_due(self._tools.clock.now(), settled=SETTLED)
                    due_at = loop.time() + _DUE_S
                if loop.time() >= thin_at:
                    today = self._tools.clock.now().date()
                    await self._queue.thin(kept_from=today - self._kept, whole_from=today - _WHOLE)
                    thin_at = loop.time() + _THIN_S
                claimed = await self._queue.claim(self._tools.clock.now(), may_wait=await self._backtests.others_wait())
                if claimed is None:
                    await _heard(asked)
                else:
                    await _beating(lambda: self.compare(claimed), beat)  # noqa: B023  # awaited here

    async def compare(self, claimed: Claimed) -> None:
        """Make one comparison, and write down what came of it, or that it is to be tried again."""
        state = ShadowState.RUNNING
        self._publish(claimed, state)
        try:
            await ShadowRun(self._tools, claimed).work()
            state = ShadowState.COMPLETED
        except BotNotFound:
            return
        except (JailBusy, JailClosed, WorkerLost) as error:
            state = await self._again(claimed, error)
        except AppError as error:
            state = await self._failed(claimed, error.code, error.message)
        except Exception as error:
            if is_database_gone(error):
                raise
            log.exception("shadow_failed", bot_id=str(claimed.bot_id))
            state = await self._failed(claimed, _OUR_FAULT, AppError().message)
        self._publish(claimed, state)

    async def _again(self, claimed: Claimed, error: AppError) -> ShadowState:
        """What is busy or away is tried again a minute later; what died each time is not."""
        if claimed.attempts >= MOST_ATTEMPTS and isinstance(error, WorkerLost):
            return await self._failed(claimed, error.code, error.message)
        await self._queue.later(claimed, self._tools.clock.now())
        return ShadowState.QUEUED

    async def _failed(self, claimed: Claimed, code: str, message: str) -> ShadowState:
        log.warning("shadow_not_compared", bot_id=str(claimed.bot_id), code=code)
        await self._queue.fail(claimed, code=code, message=message)
        return ShadowState.FAILED

    def _publish(self, claimed: Claimed, state: ShadowState) -> None:
        self._tools.backtests.bus.publish(ShadowChanged(user_id=claimed.user_id, bot_id=claimed.bot_id, state=state.value))


async def _heard(asked: Subscription[object]) -> None:
    """Wait for somebody to ask, or a moment: another process may have written it."""
    async with asyncio.TaskGroup() as group:
        heard = group.create_task(asked.get())
        await asyncio.wait({heard}, timeout=_LOOK_S)
        heard.cancel()
    while asked.get_nowait() is not None:
        pass  # all of them are answered by the look that comes now


async def _beating(work: Callable[[], Awaitable[None]], beat: Beat) -> None:
    """Do some work and say meanwhile that the loop is well."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_of(work))
        while not working.done():
            beat()
            await asyncio.wait({working}, timeout=_BEAT_S)


async def _of(work: Callable[[], Awaitable[None]]) -> None:
    await work()
