"""What will happen later: the end of a fault, a candle that comes late, the cut of an old connection. Moments are wall ms without skew."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from app.emulator.bars import MINUTE_MS
from app.emulator.clock import WallTime

_PRUNE_AT = 1000


@dataclass(order=True, slots=True)
class Entry:
    """One thing to do at `due_ms`. Entries of one moment happen in the order they were made."""

    due_ms: int
    number: int
    action: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Do not do it."""
        self.action = None


class Timeline:
    """A list of things to do, on the emulator's wall: by itself when that is real, as `advance` passes them when it is virtual."""

    def __init__(self, wall: WallTime) -> None:
        self._wall = wall
        self._entries: list[Entry] = []
        self._last_number = 0
        self._prune_at = _PRUNE_AT
        self._changed = asyncio.Event()
        self._moving = asyncio.Lock()

    def call_at(self, due_ms: int, action: Callable[[], None]) -> Entry:
        """Do `action` at a moment, or as soon as possible when it is past."""
        if len(self._entries) >= self._prune_at:
            self._prune()
        self._last_number += 1
        entry = Entry(due_ms, self._last_number, action)
        heapq.heappush(self._entries, entry)
        self._changed.set()
        return entry

    def call_after(self, delay_ms: int, action: Callable[[], None]) -> Entry:
        """Do `action` in `delay_ms`."""
        return self.call_at(self._wall.now() + delay_ms, action)

    def _prune(self) -> None:
        """Forget what was cancelled: a day's worth of closed connections need not wait for the hour they would have been cut."""
        self._entries = [entry for entry in self._entries if entry.action is not None]
        heapq.heapify(self._entries)
        self._prune_at = max(_PRUNE_AT, 2 * len(self._entries))

    async def run(self) -> None:
        """Do what is due, until cancelled. A virtual wall never makes anything due here."""
        while True:
            self.run_due()
            self._changed.clear()
            wait_s = None if self._wall.is_virtual or not self._entries else (self._entries[0].due_ms - self._wall.now()) / 1000
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def run_due(self) -> None:
        """Do what is due by now."""
        now = self._wall.now()
        while self._entries and self._entries[0].due_ms <= now:
            action = heapq.heappop(self._entries).action
            if action is not None:
                action()

    async def advance(self, duration_ms: int, step: Callable[[], None]) -> None:
        """Move a virtual wall on, stopping at every minute and at everything there is to do on the way.

        Args:
            duration_ms: How far.
            step: Brings the market to the present; called at every stop, after what is due there.
        """
        async with self._moving:
            target = self._wall.now() + duration_ms
            while (now := self._wall.now()) < target:
                due = self._entries[0].due_ms if self._entries else target
                self._wall.move_to(min(target, now - now % MINUTE_MS + MINUTE_MS, max(due, now + 1)))
                self.run_due()
                step()
                await asyncio.sleep(0)
