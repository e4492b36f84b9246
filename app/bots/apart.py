"""Work for bots that neither ends nor holds up anybody else's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from typing import Final, TypeVar

import structlog

from app.core.outage import DATABASE_GONE
from app.errors import Fenced

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: More than one slow exchange can hold up.
_AT_ONCE: Final = 32
#: So long the first answers wait for the others, seconds: they are written down in one statement, and nobody waits for who hangs.
_TOGETHER_S: Final = 0.1


async def alone(name: str, work: Awaitable[None]) -> None:
    """Wait for work that will be done again if it fails: its failure is written down, and ends nothing else."""
    try:
        await work
    except Fenced:
        log.warning("bots_fenced", work=name)
    except DATABASE_GONE:
        log.warning("bots_postponed", work=name)
    except Exception:  # something about one bot is not as it should be: the others go on
        log.exception("bots_work_failed", work=name)


async def all_of(*works: Awaitable[None]) -> None:
    """Wait for all of them, also when one fails; raise what the first of those that failed raised."""
    for found in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found


async def as_they_come(answers: set[asyncio.Task[T]]) -> AsyncIterator[list[T]]:
    """Give out answers together that come together, and later those that take longer."""
    while answers:
        done, answers = await asyncio.wait(answers, timeout=_TOGETHER_S)
        if not done:
            done, answers = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        yield [answer.result() for answer in done]


class Apart:
    """Does work for many bots side by side, for each once at a time. Whoever asks for more meanwhile is not kept waiting by the slowest."""

    def __init__(self) -> None:
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[tuple[str, Hashable]] = set()

    async def each(self, name: str, works: Mapping[Hashable, Callable[[], Awaitable[None]]]) -> None:
        """Do what is not under way already, and wait for that."""
        await asyncio.gather(*(self._one(name, key, work) for key, work in works.items()))

    async def _one(self, name: str, key: Hashable, work: Callable[[], Awaitable[None]]) -> None:
        if (name, key) in self._under_way:
            return
        self._under_way.add((name, key))
        try:
            async with self._gate:
                await alone(name, work())
        finally:
            self._under_way.discard((name, key))
