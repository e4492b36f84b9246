"""Long fetches step aside for whoever waits: what an exchange gives slowly must not keep others from processors and memory meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from app.errors import AppError

T = TypeVar("T")

#: So long it may fetch at a time when others wait. What has come by then is stored, so that the next turn goes on from there.
FETCH_S: Final = 20.0
#: Before it takes its next turn: whoever waits has begun by then.
ASIDE_S: Final = 3.0
_LOOK_S: Final = 1.0


class StepsAside(Exception):
    """It goes on at its next turn; others wait."""


class Fetching:
    """Notes since when candles have been fetched."""

    def __init__(self) -> None:
        self._since: float | None = None

    def goes_on(self) -> None:
        """Note that the exchange has given something, or is waited for."""
        if self._since is None:
            self._since = time.monotonic()

    @property
    def is_long(self) -> bool:
        """Whether that was so long ago that others may go first."""
        return self._since is not None and time.monotonic() - self._since > FETCH_S

    async def unless_waited_for(self, work: Coroutine[Any, Any, T], others_wait: Callable[[], Awaitable[bool]]) -> T:
        """Return what comes of the work, which is ended when it has fetched for long and others wait.

        Raises:
            StepsAside: it was.
        """
        async with asyncio.TaskGroup() as group:
            working = group.create_task(_caught(work))
            while not working.done():
                await asyncio.wait({working}, timeout=_LOOK_S)
                if not working.done() and self.is_long and await others_wait():
                    working.cancel()
                    break
        if working.cancelled():
            raise StepsAside
        found = working.result()
        if isinstance(found, AppError):
            raise found
        return found


async def _caught(work: Coroutine[Any, Any, T]) -> T | AppError:
    """Return an expected error instead of raising it: a group of tasks would wrap it up."""
    try:
        return await work
    except AppError as error:
        return error
