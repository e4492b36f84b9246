"""Waiting for what another process is about to do, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_EVERY_S = 0.05


def eventually(ask: Callable[[], T | None], what: str, *, within_s: float = 10.0) -> T:
    """Return the first answer that is truthy; fail with `what` when none comes in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {found!r}")
        time.sleep(_EVERY_S)


async def eventually_async(ask: Callable[[], Awaitable[T | None]], what: str, *, within_s: float = 10.0) -> T:
    """As `eventually`, for what has to be awaited."""
    deadline = time.monotonic() + within_s
    while True:
        found = await ask()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {found!r}")
        await asyncio.sleep(_EVERY_S)
