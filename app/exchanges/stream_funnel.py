"""Between the readers of many connections and the one who takes what they read: bounded, so that a slow one slows the venue down."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class Funnel(Generic[T]):
    """First in, first out. Readers ask `is_full` after each push and then wait for `room`; what is pushed regardless is kept too.

    Unlike `asyncio.Queue`, it lets waiting readers go on only when it is half empty: not one task switch for each event.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._low = size // 2
        self._events: deque[T] = deque()
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._failure: BaseException | None = None

    @property
    def is_full(self) -> bool:
        """Whether readers should wait."""
        return len(self._events) >= self._size

    def push(self, event: T) -> None:
        """Add an event."""
        self._events.append(event)
        if not self._filled.is_set():
            self._filled.set()

    def fail(self, error: BaseException) -> None:
        """Let the consumer have this error after what is there."""
        self._failure = error
        self._filled.set()

    async def room(self) -> None:
        """Wait until it is half empty."""
        self._has_room.clear()
        await self._has_room.wait()

    async def drain(self) -> AsyncGenerator[T, None]:
        """Yield events for ever.

        Raises:
            BaseException: what `fail` was told.
        """
        events, low = self._events, self._low
        while True:
            while events:
                event = events.popleft()
                if len(events) <= low and not self._has_room.is_set():
                    self._has_room.set()
                yield event
            if self._failure is not None:
                raise self._failure
            self._filled.clear()
            await self._filled.wait()
