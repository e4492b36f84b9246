"""What one user's strategies may use at a time, in a day, and how often they may be killed before they must rest."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.errors import JailBusy, StrategyPaused

#: Live strategies are paused when they were killed this often within so many seconds.
MOST_KILLS: Final = 3
#: The same for what somebody is still writing: an endless loop in the editor is a mistake, not an attack.
MOST_KILLS_IN_THE_EDITOR: Final = 30
KILLS_WITHIN_S: Final = 600.0
_DAY_S: Final = 86_400.0

Monotonic = Callable[[], float]


class Purpose(StrEnum):
    """What a worker is for; it decides its limits and who waits for whom."""

    LIVE = "live"
    BACKTEST = "backtest"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one user, and of all together.

    Attributes:
        workers: Live strategies of one user at a time; they take no place from what somebody is writing, nor the other way round.
        backtests: Backtests of one user at a time.
        validations: Validations of one user at a time.
        cpu_s_a_day: Processor seconds of one user within 24 hours, backtests and validations; live strategies are bounded by each call.
        all_workers: Workers of all users at a time.
    """

    workers: int = 20
    backtests: int = 2
    validations: int = 2
    cpu_s_a_day: float = 14_400.0
    all_workers: int = 200


class Quotas:
    """Counts what users have running, and what they used. It forgets everything when the server ends."""

    def __init__(self, limits: Limits, *, now: Monotonic = time.monotonic) -> None:
        self.limits = limits
        self._now = now
        self._running: dict[UUID, list[Purpose]] = defaultdict(list)
        self._used: dict[UUID, deque[tuple[float, float]]] = defaultdict(deque)
        self._kills: dict[tuple[UUID, bool, str], deque[float]] = defaultdict(deque)

    @contextmanager
    def running(self, user_id: UUID, purpose: Purpose, strategy: str = "") -> Iterator[None]:
        """Count a worker for as long as the block runs.

        Raises:
            JailBusy: the user, or all users together, have as many as they may, or used the processor for as long as they may in a day.
            StrategyPaused: it was killed too often just now.
        """
        self.check(user_id, purpose, strategy)
        mine = self._running[user_id]
        mine.append(purpose)
        try:
            yield
        finally:
            mine.remove(purpose)
            if not mine:
                self._running.pop(user_id, None)

    def check(self, user_id: UUID, purpose: Purpose, strategy: str = "") -> None:
        """Raise what `running` would."""
        wait_s = self.paused_for_s(user_id, purpose, strategy)
        if wait_s > 0:
            raise StrategyPaused(retry_after_s=wait_s)
        if sum(map(len, self._running.values())) >= self.limits.all_workers:
            raise JailBusy("All places for strategies of this server are taken. Wait until one becomes free.")
        mine = self._running.get(user_id, [])
        limits = self.limits
        allowed = {Purpose.LIVE: limits.workers, Purpose.BACKTEST: limits.backtests, Purpose.VALIDATION: limits.validations}
        if mine.count(purpose) >= allowed[purpose]:
            raise JailBusy
        if purpose is not Purpose.LIVE and self.used_today_s(user_id) >= self.limits.cpu_s_a_day:
            raise JailBusy("Your backtests and checks have used up the processor time of one user for today.")

    def use(self, user_id: UUID, purpose: Purpose, cpu_s: float) -> None:
        """Note processor seconds that a worker used."""
        if purpose is not Purpose.LIVE and cpu_s > 0:
            self._used[user_id].append((self._now(), cpu_s))

    def used_today_s(self, user_id: UUID) -> float:
        """Return the processor seconds of the last 24 hours."""
        used = self._used.get(user_id)
        if used is None:
            return 0.0
        while used and used[0][0] <= self._now() - _DAY_S:
            used.popleft()
        if not used:
            del self._used[user_id]
            return 0.0
        return sum(cpu_s for _, cpu_s in used)

    def kill(self, user_id: UUID, purpose: Purpose, strategy: str = "") -> bool:
        """Note that a strategy was killed; whether that was the one too many, after which it is paused."""
        is_live = purpose is Purpose.LIVE
        kills = self._kills[user_id, is_live, strategy if is_live else ""]
        kills.append(self._now())
        self._forget_old(kills)
        return len(kills) == _most(purpose)

    def paused_for_s(self, user_id: UUID, purpose: Purpose, strategy: str = "") -> float:
        """Return for how many seconds more the strategy must rest; 0 when it may run."""
        is_live = purpose is Purpose.LIVE
        key = (user_id, is_live, strategy if is_live else "")
        kills = self._kills.get(key)
        if kills is None:
            return 0.0
        self._forget_old(kills)
        if not kills:
            del self._kills[key]
            return 0.0
        if len(kills) < _most(purpose):
            return 0.0
        return kills[-_most(purpose)] + KILLS_WITHIN_S - self._now()

    def _forget_old(self, kills: deque[float]) -> None:
        while kills and kills[0] <= self._now() - KILLS_WITHIN_S:
            kills.popleft()


class Turns:
    """Processors for backtests of all users, who wait for one in the order in which they came.

    Args:
        processors: How many are given out at a time.
        patience_s: Seconds that one waits before it is told that all are taken.
    """

    def __init__(self, processors: int, *, patience_s: float) -> None:
        self._free = asyncio.Semaphore(processors)
        self._patience_s = patience_s
        #: How many wait for one.
        self.waiting = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Have a processor for as long as the block runs.

        Raises:
            JailBusy: none became free.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise JailBusy("All processors are busy with backtests. Try again in a minute.") from error
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()


def _most(purpose: Purpose) -> int:
    return MOST_KILLS if purpose is Purpose.LIVE else MOST_KILLS_IN_THE_EDITOR
