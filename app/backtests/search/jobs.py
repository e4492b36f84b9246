"""Runs the searches and the checks of robustness of all users, turn by turn, and stores how each ended."""

import asyncio
from typing import Any, Final

import structlog

from app.backtests.aside import ASIDE_S, StepsAside
from app.backtests.robustness.running import RobustnessTurn
from app.backtests.running import Tools
from app.backtests.search.events import RobustnessChanged, SearchAsked, SearchChanged
from app.backtests.search.models import RobustnessState, SearchState
from app.backtests.search.queue import MOST_ATTEMPTS, Kind, Lost, SearchQueue, Turn
from app.backtests.search.running import SearchTurn
from app.core.events import Subscription
from app.core.leases import process_name
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.errors import AppError, JailBusy, JailClosed, WorkerLost

log = structlog.get_logger(__name__)

_LOOK_S: Final = 0.5
_INHERIT_S: Final = 2.0
_BUSY_S: Final = 2.0
_AWAY_S: Final = 3.0
_KINDS: Final[tuple[Kind, ...]] = ("searches", "robustness_checks")


class SearchJobs:
    """The loop `backtests.searches`. Several processes may run one at a time, each takes what no other has.

    One search and one check have their turn at a time: all processors together are at one of them, as fast as they can.

    Args:
        tools: What runs need.
        lanes: Workers of the jail that decide side by side for one search.
    """

    def __init__(self, tools: Tools, *, lanes: int = 1) -> None:
        self._tools = tools
        self._lanes = lanes
        self._tasks: dict[Kind, asyncio.Task[None]] = {}

    async def run(self, beat: Beat) -> None:
        """Run them until cancelled; what is under way then waits for its next turn. A supervised loop."""
        self._tasks.clear()
        queue = SearchQueue(self._tools.database, process_name())
        inherit_at = 0.0
        with self._tools.bus.subscribe(SearchAsked) as asked:
            async with asyncio.TaskGroup() as group:
                while True:
                    beat()
                    now = asyncio.get_running_loop().time()
                    if now >= inherit_at:
                        await queue.inherit()
                        inherit_at = now + _INHERIT_S
                    for kind in _KINDS:
                        await self._fill(queue, kind, group)
                    await self._pause(asked)

    async def _fill(self, queue: SearchQueue, kind: Kind, group: asyncio.TaskGroup) -> None:
        task = self._tasks.get(kind)
        if task is None or task.done():
            turn = await queue.claim(kind)
            if turn is not None:
                self._tasks[kind] = group.create_task(self._done(queue, turn), name=f"backtests:{kind}")

    async def _pause(self, asked: Subscription[object]) -> None:
        async with asyncio.TaskGroup() as group:
            heard = group.create_task(asked.get())
            under_way = {task for task in self._tasks.values() if not task.done()}
            await asyncio.wait({heard, *under_way}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
        while asked.get_nowait() is not None:
            pass  # all of them are answered by the look that comes now

    async def _done(self, queue: SearchQueue, turn: Turn) -> None:
        """Give one its turn, and write down how it ended, or that it waits for the next one."""
        try:
            await self._taken(queue, turn)
        except asyncio.CancelledError:
            await asyncio.shield(_handed_back(queue, turn))
            raise
        except Lost:
            log.info("search_lost", kind=turn.kind, key=str(turn.key))  # deleted, or taken over after we were silent
        except Exception as error:  # an error of ours ends this search alone, and is told on its page
            if is_database_gone(error):
                raise
            log.exception("search_failed", kind=turn.kind, key=str(turn.key))
            await self._ended(queue, turn, "failed", error=_told(AppError()))

    async def _taken(self, queue: SearchQueue, turn: Turn) -> None:
        if turn.attempts > MOST_ATTEMPTS:
            await self._ended(queue, turn, "failed", error=_told(WorkerLost()))  # each time the server ended before it came any further
            return
        try:
            if turn.kind == "searches":
                state = await SearchTurn(self._tools, queue, turn, lanes=self._lanes).work()
                if state is None:
                    await queue.wait(turn, is_free=False)
                else:
                    await self._ended(queue, turn, state.value)
            else:
                report = await RobustnessTurn(self._tools, queue, turn, lanes=self._lanes).work()
                await self._ended(queue, turn, RobustnessState.COMPLETED.value, report=report)
        except StepsAside:
            await queue.wait(turn, wait_s=ASIDE_S)
        except JailBusy as error:
            # What a user has used up for today is not waited for in silence.
            if self._is_used_up(turn):
                await self._ended(queue, turn, "failed", error=_told(error))
            else:
                await queue.wait(turn, wait_s=_BUSY_S)
        except (WorkerLost, JailClosed) as error:
            if turn.attempts >= MOST_ATTEMPTS:
                await self._ended(queue, turn, "failed", error=_told(error))
            else:
                await queue.wait(turn, wait_s=_AWAY_S, is_free=False)
        except AppError as error:
            await self._ended(queue, turn, "failed", error=_told(error))

    async def _ended(
        self, queue: SearchQueue, turn: Turn, state: str, *, error: dict[str, Any] | None = None, report: dict[str, Any] | None = None
    ) -> None:
        if not await queue.end(turn, state, error=error, report=report):
            return
        log.info("search_over", kind=turn.kind, key=str(turn.key), state=state)
        if turn.kind == "searches":
            event: object = SearchChanged(
                user_id=turn.user_id, search_id=turn.key, number=0, state=SearchState(state).value, tried=0, wanted=0
            )
        else:
            event = RobustnessChanged(user_id=turn.user_id, backtest_id=turn.key, state=state)
        self._tools.bus.publish(event)

    def _is_used_up(self, turn: Turn) -> bool:
        quotas = self._tools.jail.quotas
        return quotas.used_today_s(turn.user_id) >= quotas.limits.cpu_s_a_day


async def _handed_back(queue: SearchQueue, turn: Turn) -> None:
    try:
        await queue.wait(turn)
    except Exception:  # the database is away as well: the lease ends by itself
        log.exception("search_not_handed_back", key=str(turn.key))


def _told(error: AppError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": error.message, "field": error.field}
    return told | {name: error.context.get(name) for name in ("line", "column", "traceback")}
