"""Background work that cannot die silently: each loop has a name, a heartbeat, restarts with backoff, and an end."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger(__name__)

Beat = Callable[[], None]
#: A loop runs until it is cancelled and calls `beat` at least every few seconds while it is well.
Loop = Callable[[Beat], Awaitable[None]]
#: Tells whether an error is an outage of something below, which ends by itself: it never counts against a loop.
IsOutage = Callable[[BaseException], bool]


@dataclass(slots=True, kw_only=True)
class Health:
    """How one loop is doing. `beat_at` is monotonic seconds."""

    beat_at: float
    limit_s: float
    restarts: int = 0
    last_error: str | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self.beat_at

    @property
    def is_alive(self) -> bool:
        """Whether the loop beat within its limit. A hung task raises nothing; only this shows it."""
        return self.age_s <= self.limit_s


def stop_process() -> None:
    """Ask our own process to stop in order: whatever restarts it gives the loops a clean start."""
    os.kill(os.getpid(), signal.SIGTERM)


def _pause_s(restarts: int) -> float:
    return min(0.1 * 2.0 ** min(restarts, 8), 10.0)


class Supervisor:
    """Owns all background loops; entered in the lifespan. No other place starts a task."""

    def __init__(
        self,
        *,
        max_restarts: int = 20,
        steady_after_s: float = 300.0,
        stop_timeout_s: float = 5.0,
        on_fatal: Callable[[], None] = stop_process,
        is_outage: IsOutage = lambda _: False,
    ) -> None:
        self.health: dict[str, Health] = {}
        #: Whether a loop was given up: the process should then end with an error, so that whatever restarts it does.
        self.has_failed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False
        self._max_restarts = max_restarts
        self._steady_after_s = steady_after_s
        self._stop_timeout_s = stop_timeout_s
        self._on_fatal = on_fatal
        self._is_outage = is_outage

    def start(self, name: str, loop: Loop, *, limit_s: float = 30.0) -> None:
        """Keep `loop` running under `name`; `/readyz` turns red when it has not beaten for `limit_s` seconds."""
        self.health[name] = Health(beat_at=time.monotonic(), limit_s=limit_s)
        task = asyncio.create_task(self._keep_alive(name, loop), name=name)  # noqa: TID251  # the one place that may
        self._tasks.append(task)

    async def _keep_alive(self, name: str, loop: Loop) -> None:
        health = self.health[name]

        def beat() -> None:
            health.beat_at = time.monotonic()

        outages = 0
        while True:
            started = time.monotonic()
            is_outage = False
            try:
                await loop(beat)
                health.last_error = "it returned; it should run until cancelled"
                log.error("loop_returned", loop=name)
            except Exception as error:  # whatever broke one loop must not break the others; cancellation passes
                health.last_error = f"{type(error).__name__}: {error}"
                is_outage = self._is_outage(error)
                if is_outage:
                    log.warning("loop_interrupted", loop=name, reason=health.last_error)
                else:
                    log.exception("loop_failed", loop=name)
            if self._is_ending:
                return  # it ended late, or with an error: there is nothing to go on with
            is_steady = time.monotonic() - started > self._steady_after_s
            if is_outage:
                outages = 1 if is_steady else outages + 1
                await asyncio.sleep(_pause_s(outages))
                continue
            outages = 0
            health.restarts = 1 if is_steady else health.restarts + 1
            if health.restarts > self._max_restarts:
                self.has_failed = True
                log.critical("loop_gave_up", loop=name, restarts=health.restarts)
                self._on_fatal()
                return
            await asyncio.sleep(_pause_s(health.restarts))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_ending = True
        for task in reversed(self._tasks):
            task.cancel()
        if self._tasks:
            _done, pending = await asyncio.wait(self._tasks, timeout=self._stop_timeout_s)
            for task in pending:
                log.error("loop_ignored_cancellation", loop=task.get_name())
