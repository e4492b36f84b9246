"""How far this machine's clock is from a venue's, and whether that is still sure: orders carry a time, and the venue refuses a wrong one.

Between readings the monotonic clock is trusted: when the wall clock moves otherwise (NTP, a hand, a machine that slept), the difference
is unknown until it is read again, and no order is sent with it.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.errors import DenialReason, NotSent

log = structlog.get_logger(__name__)

#: A jump of the wall clock beyond this makes the difference unsure: half of the window in which Binance takes a request.
LONGEST_JUMP_MS: Final = 2_500.0
#: A smaller one is worth a new reading.
STEP_MS: Final = 500.0
REST_S: Final = 1.0
_SAMPLES: Final = 5
#: A sample that travelled for longer tells too little; at least so many must be left.
_SLOWEST_S: Final = 2.0
_FEWEST: Final = 3

ReadTime = Callable[[], Awaitable[Any]]


class ClockOffset:
    """The difference to one venue's clock. `offset_ms` is ours minus the venue's, milliseconds."""

    def __init__(self, exchange: str, *, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._clock = clock
        self._monotonic = monotonic
        self.offset_ms = 0
        #: Wall clock minus monotonic at the last reading, milliseconds.
        self._anchor_ms: float | None = None
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether it was ever read."""
        return self._anchor_ms is not None

    @property
    def is_sure(self) -> bool:
        """Whether it was read and the wall clock has not jumped since."""
        return self._anchor_ms is not None and abs(self.jump_ms) <= LONGEST_JUMP_MS

    @property
    def jump_ms(self) -> float:
        """How far the wall clock has moved against the monotonic clock since the last reading; positive is forward."""
        return 0.0 if self._anchor_ms is None else self._wall_ms() - self._monotonic() * 1000 - self._anchor_ms

    @property
    def age_s(self) -> float:
        """Seconds since the last reading; infinite before the first."""
        return self._monotonic() - self._read_at

    def require(self) -> None:
        """Refuse to send an order with a time that may be wrong.

        Raises:
            NotSent: CLOCK_UNSURE.
        """
        if self.is_sure:
            return
        why = f"jumped by {self.jump_ms / 1000:+.1f} s" if self.is_known else "has not been compared with the exchange's yet"
        raise NotSent(f"this server's clock {why}; the order was not sent", code=DenialReason.CLOCK_UNSURE.value)

    async def sync(self, read_time: ReadTime, *, rest_s: float = REST_S) -> None:
        """Read the difference again, unless that was tried less than `rest_s` seconds ago; silent when the venue does not answer."""
        async with self._lock:
            if self._monotonic() - self._tried_at < rest_s:
                return
            self._tried_at = self._monotonic()
            try:
                ahead_ms = await self._measure(read_time)
            except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; `is_sure` tells whether it matters
                log.warning("clock_not_read", exchange=self._exchange, error=type(error).__name__)
                return
            finally:
                self._tried_at = self._monotonic()
            self._believe(ahead_ms)

    def _believe(self, ahead_ms: float) -> None:
        jump_ms = self.jump_ms
        self._read_at = self._monotonic()
        anchor_ms = self._wall_ms() - self._read_at * 1000
        offset_ms = round(anchor_ms - ahead_ms)
        if abs(jump_ms) > STEP_MS:
            log.warning("clock_stepped", exchange=self._exchange, by_ms=round(jump_ms), difference_ms=offset_ms, was_ms=self.offset_ms)
        elif self._anchor_ms is not None and abs(offset_ms - self.offset_ms) > STEP_MS:
            log.warning("venue_clock_stepped", exchange=self._exchange, difference_ms=offset_ms, was_ms=self.offset_ms)
        elif self._anchor_ms is None:
            log.info("clock_read", exchange=self._exchange, difference_ms=offset_ms)
        self.offset_ms, self._anchor_ms = offset_ms, anchor_ms

    async def _measure(self, read_time: ReadTime) -> float:
        """How far the venue's clock is before the monotonic one: the median of some samples, the travel time halved."""
        samples = []
        for _ in range(_SAMPLES):
            before = self._monotonic()
            venue_ms = float(await read_time())
            after = self._monotonic()
            if after - before <= _SLOWEST_S:
                samples.append(venue_ms - (before + after) * 500)
        if len(samples) < _FEWEST:
            raise TimeoutError(f"only {len(samples)} of {_SAMPLES} answers came within {_SLOWEST_S} s")
        return statistics.median(samples)

    def _wall_ms(self) -> float:
        return self._clock.now().timestamp() * 1000
