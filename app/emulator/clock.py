"""Two times: the wall's, for signatures and order stamps, and the market's, for candles and public trades. All in ms since the epoch.

The wall is the machine's own, or displaced by a fixed offset, or virtual: then it stands until it is moved, and the market with it.
"""

import time
from dataclasses import dataclass

from app.emulator.durations import read_duration
from app.errors import ConfigError, Conflict, InvalidInput

LARGEST_SKEW_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMode:
    """Which wall an emulator lives by: a virtual one, or the machine's plus `offset_ms`."""

    is_virtual: bool = False
    offset_ms: int = 0


REAL_CLOCK = ClockMode()


def read_clock_mode(text: str) -> ClockMode:
    """Return the mode of `real`, `virtual` or `real+skew:7000ms`.

    Raises:
        ConfigError: it is none of these, or displaced by more than a week.
    """
    if text in ("real", "virtual"):
        return ClockMode(is_virtual=text == "virtual")
    kind, _, offset = text.partition(":")
    try:
        offset_ms = read_duration(offset)
    except InvalidInput as error:
        raise ConfigError(f"clock must be real, virtual or like real+skew:7000ms, was {text!r}") from error
    if kind != "real+skew" or abs(offset_ms) > LARGEST_SKEW_MS:
        raise ConfigError(f"clock must be real, virtual or like real+skew:7000ms with at most seven days, was {text!r}")
    return ClockMode(offset_ms=offset_ms)


class WallTime:
    """The wall as the emulator sees it. `stands_at` makes it virtual."""

    def __init__(self, *, offset_ms: int = 0, stands_at: int | None = None) -> None:
        self._offset_ns = offset_ms * 1_000_000
        self.stands_at = stands_at

    @property
    def is_virtual(self) -> bool:
        """Whether it stands until it is moved."""
        return self.stands_at is not None

    def now_ns(self) -> int:
        """Return the time in nanoseconds."""
        return time.time_ns() + self._offset_ns if self.stands_at is None else self.stands_at * 1_000_000

    def now(self) -> int:
        """Return the time."""
        return self.now_ns() // 1_000_000

    def move_to(self, moment_ms: int) -> None:
        """Move a virtual wall forward.

        Raises:
            Conflict: it is a real one.
        """
        if self.stands_at is None:
            raise Conflict("only a virtual clock can be moved by hand")
        self.stands_at = max(self.stands_at, moment_ms)


class MarketClock:
    """Market time as a straight line through (wall_origin, market_origin) with slope `speed`.

    It can be paused; `paused_at` is the market time it then stands at. `skew_ms` is by how much the venue tells a wrong time: its stamps,
    its answers and its judgement of signatures are off by it, its candles are not.
    """

    def __init__(self, wall: WallTime, *, wall_origin: int, market_origin: int, speed: float, paused_at: int | None = None) -> None:
        self.wall = wall
        self.paused_at = paused_at
        self.wall_origin = wall_origin
        self.market_origin = market_origin
        self.speed = speed
        self.skew_ms = 0

    def wall_now(self) -> int:
        """Return what the venue says the time is."""
        return self.wall.now() + self.skew_ms

    def now(self) -> int:
        """Return the market's time."""
        return self.paused_at if self.paused_at is not None else self._at(self.wall.now())

    def wall_at(self, market_ms: int) -> int:
        """Return when the wall showed or will show what the market calls `market_ms`, never later than now."""
        return min(self.wall_origin + int((market_ms - self.market_origin) / self.speed), self.wall.now()) + self.skew_ms

    def seconds_until(self, market_ms: int) -> float:
        """Return how many wall seconds remain until a market time."""
        return (market_ms - self.now()) / self.speed / 1000

    def pause(self) -> None:
        """Stop market time.

        Raises:
            Conflict: the clock is virtual.
        """
        self._refuse_virtual()
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
        """Let market time go on from where it stopped.

        Raises:
            Conflict: the clock is virtual.
        """
        self._refuse_virtual()
        if self.paused_at is not None:
            self.wall_origin, self.market_origin = self.wall.now(), self.paused_at
            self.paused_at = None

    def change_speed(self, speed: float) -> None:
        """Go on at another speed from the present moment."""
        self.wall_origin, self.market_origin = self.wall.now(), self.now()
        self.speed = speed

    def _refuse_virtual(self) -> None:
        if self.wall.is_virtual:
            raise Conflict("a virtual clock stands by itself and moves only by hand")

    def _at(self, wall: int) -> int:
        return self.market_origin + int((wall - self.wall_origin) * self.speed)
