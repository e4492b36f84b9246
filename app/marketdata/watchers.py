"""Symbols that are watched because somebody looks at them: once for all who do, and a little longer than the last of them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, Protocol

GRACE_S: Final = 60.0
_SWEEP_S: Final = 5.0


class Watching(Protocol):
    """What watches the market."""

    async def watch(self, symbol: str) -> None:
        """Watch one more symbol from now on. One that is watched already is left alone."""

    async def unwatch(self, symbol: str) -> None:
        """Watch it no more, unless somebody else needs it."""


class Watchers:
    """Counts who looks at which symbol. `run` is a supervised loop: it leaves those that nobody has looked at for `grace_s` seconds.

    A page that is loaded again, or a browser that comes back after a restart of its network, thus finds its symbol still watched.
    """

    def __init__(self, heartbeat: Watching, *, grace_s: float = GRACE_S) -> None:
        self._heartbeat = heartbeat
        self._grace_s = grace_s
        self._counts: Counter[str] = Counter()
        self._left_at: dict[str, float] = {}
        #: A symbol is taken up and left one after the other: who comes while it is being left must find it left, and watch it again.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def watching(self, symbols: Collection[str]) -> AsyncIterator[None]:
        """Have these symbols watched inside the block."""
        wanted = sorted(set(symbols))
        for symbol in wanted:
            # Counted first: a sweep that comes while the first of them subscribes must not take the symbol away.
            self._counts[symbol] += 1
            self._left_at.pop(symbol, None)
        try:
            async with self._turn:
                for symbol in wanted:
                    await self._heartbeat.watch(symbol)
            yield
        finally:
            for symbol in wanted:
                self._counts[symbol] -= 1
                if not self._counts[symbol]:
                    del self._counts[symbol]
                    self._left_at[symbol] = time.monotonic()

    @property
    def watched(self) -> dict[str, int]:
        """How many look at each symbol now."""
        return dict(self._counts)

    async def sweep(self) -> None:
        """Leave what nobody has looked at for so long."""
        async with self._turn:
            for symbol, left_at in list(self._left_at.items()):
                if time.monotonic() - left_at >= self._grace_s and self._left_at.pop(symbol, None) is not None:
                    await self._heartbeat.unwatch(symbol)

    async def run(self, beat: Callable[[], None]) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            beat()
            await asyncio.sleep(min(_SWEEP_S, self._grace_s))
