"""Work beside which something is kept: a lease that is renewed, a wish to stop that is looked for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.backtests.aside import StepsAside
from app.backtests.search.queue import Lost
from app.errors import AppError

T = TypeVar("T")
_Expected = AppError | Lost | StepsAside


async def while_kept(work: Coroutine[Any, Any, T], keep: Coroutine[Any, Any, T]) -> T:
    """Return what comes first, of the work or of what is kept beside it, and end the other.

    Raises:
        AppError, Lost, StepsAside: whichever of the two raised it first.
    """
    async with asyncio.TaskGroup() as group:
        working, keeping = group.create_task(_caught(work)), group.create_task(_caught(keep))
        done, _ = await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        keeping.cancel()
    found = (working if working in done else keeping).result()
    if isinstance(found, AppError | Lost | StepsAside):
        raise found
    return found


async def _caught(work: Coroutine[Any, Any, T]) -> T | _Expected:
    """Return an expected error instead of raising it: a group of tasks would wrap it up."""
    try:
        return await work
    except (AppError, Lost, StepsAside) as error:
        return error
    except ExceptionGroup as group:
        if (expected := only_expected(group)) is None:
            raise
        return expected


def only_expected(group: ExceptionGroup[Exception]) -> _Expected | None:
    """Return the first of several errors, as that is the one that is told; None where one of them is no expected one."""
    leaves = _leaves(group)
    expected = [error for error in leaves if isinstance(error, _Expected)]
    return expected[0] if len(expected) == len(leaves) else None


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return found
