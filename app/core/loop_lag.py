"""How late the event loop is: work that blocks it delays every order, and a request signed before the block is refused as too old."""

import asyncio
import time
from collections import deque
from typing import Final

import structlog

from app.core.supervisor import Beat

log = structlog.get_logger(__name__)

_TICK_S: Final = 0.1
_WARN_MS: Final = 250.0
_WINDOW_S: Final = 300.0
_ROUND_S: Final = 1.0


class LoopLag:
    """Measures it by a tick that should come on time. Milliseconds."""

    def __init__(self) -> None:
        self._worst: deque[tuple[float, float]] = deque()
        self.last_ms = 0.0

    @property
    def max_ms(self) -> float:
        """The worst of the last five minutes."""
        return max((lag_ms for at, lag_ms in self._worst if at > time.monotonic() - _WINDOW_S), default=0.0)

    async def run(self, beat: Beat) -> None:
        """Measure until cancelled. A supervised loop."""
        while True:
            await self._round()
            beat()

    async def _round(self) -> None:
        worst_ms = 0.0
        until = time.monotonic() + _ROUND_S
        while (before := time.monotonic()) < until:
            await asyncio.sleep(_TICK_S)
            self.last_ms = max(0.0, (time.monotonic() - before - _TICK_S) * 1000)
            worst_ms = max(worst_ms, self.last_ms)
            if self.last_ms > _WARN_MS:
                log.warning("event_loop_blocked", for_ms=round(self.last_ms))
        self._worst.append((time.monotonic(), worst_ms))
        while self._worst[0][0] < time.monotonic() - _WINDOW_S:
            self._worst.popleft()
