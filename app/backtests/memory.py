"""How much memory backtests and searches of this process hold together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryRoom:
    """Bytes that are given out and come back. Who waits gets them in the order in which they came.

    Args:
        size: All of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._held = 0
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @property
    def free(self) -> int:
        """Bytes that nobody holds."""
        return self.size - self._held

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes inside the block; wait for them if need be. More than there are is all of them."""
        size = min(size, self.size)
        async with self._turn:
            while self.free < size:
                self._given_back.clear()
                await self._given_back.wait()
            self._held += size
        try:
            yield
        finally:
            self._held -= size
            self._given_back.set()
