"""Two times: the wall's, for signatures and order stamps, and the market's, for candles and public trades. All in ms since the epoch."""

import time
from collections.abc import Callable

from app.errors import Conflict


def wall_ms() -> int:
    """Return the wall's time."""
    return time.time_ns() // 1_000_000


class MarketClock:
    """Market time as a straight line through (wall_origin, market_origin) with slope `speed`.

    It can be paused; `paused_at` is the market time it then stands at.
    """

    def __init__(
        self, wall: Callable[[], int], *, wall_origin: int, market_origin: int, speed: float, paused_at: int | None = None
    ) -> None:
        self._wall = wall
        self.paused_at = paused_at
        self.wall_origin = wall_origin
        self.market_origin = market_origin
        self.speed = speed

    def wall_now(self) -> int:
        """Return the wall's time."""
        return self._wall()

    def now(self) -> int:
        """Return the market's time."""
        return self.paused_at if self.paused_at is not None else self._at(self._wall())

    def wall_at(self, market_ms: int) -> int:
        """Return when the wall showed or will show what the market calls `market_ms`, never later than now."""
        return min(self.wall_origin + int((market_ms - self.market_origin) / self.speed), self._wall())

    def seconds_until(self, market_ms: int) -> float:
        """Return how many wall seconds remain until a market time."""
        return (market_ms - self.now()) / self.speed / 1000

    def pause(self) -> None:
        """Stop market time."""
        if self.paused_at is None:
            self.paused_at = self.now()

    def skip(self, duration_ms: int) -> None:
        """Move a paused market forward.

        Raises:
            Conflict: market time is running.
        """
        if self.paused_at is None:
            raise Conflict("the market must be paused to be moved by hand")
        self.paused_at += duration_ms

    def resume(self) -> None:
        """Let market time go on from where it stopped."""
        if self.paused_at is not None:
            self.wall_origin, self.market_origin = self._wall(), self.paused_at
            self.paused_at = None

    def change_speed(self, speed: float) -> None:
        """Go on at another speed from the present moment."""
        self.wall_origin, self.market_origin = self._wall(), self.now()
        self.speed = speed

    def _at(self, wall: int) -> int:
        return self.market_origin + int((wall - self.wall_origin) * self.speed)
