"""One set of markets per venue address, shared by every account there, and the difference between its clock and ours.

Loading 3,000 symbols costs 0.8 s of CPU and 35 MB; sharing them costs an account 0.2 MB.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from app.exchanges.errors import read_error, scrub
from app.exchanges.listings import Listing, spot_listings
from app.exchanges.venue_class import CURRENT_CALL, RunningCall

log = structlog.get_logger(__name__)

_LOAD_TIMEOUT_MS: Final = 30_000
_CLOCK_SAMPLES: Final = 3
_CLOCK_REST_S: Final = 1.0


class MarketsSource:
    """The markets of one venue address. `generation` grows with each load, so that accounts know when to share again."""

    def __init__(self, exchange: str, make: Callable[[], Any]) -> None:
        self.exchange = exchange
        self.generation = 0
        self.time_difference_ms = 0
        self.shared: Any = None
        self._make = make
        self._lock = asyncio.Lock()
        self._loaded_at = 0.0
        self._clock_read_at = 0.0
        self._listings: tuple[Listing, ...] | None = None

    async def ensure(self) -> None:
        """Load the markets unless they are there.

        Raises:
            RetryableError: the venue cannot be reached.
        """
        if self.shared is None:
            async with self._lock:
                if self.shared is None:
                    await self._load()

    async def refresh(self, max_age_s: float) -> None:
        """Load the markets again when they are older than `max_age_s` seconds. Raises as `ensure`."""
        async with self._lock:
            if self.shared is None or time.monotonic() - self._loaded_at > max_age_s:
                await self._load()

    def listings(self) -> tuple[Listing, ...]:
        """Return the spot symbols with their rules; `ensure` first."""
        if self._listings is None:
            self._listings = tuple(spot_listings(self.shared.markets, precision_mode=self.shared.precisionMode))
        return self._listings

    async def resync_clock(self, fetch_time: Callable[[], Awaitable[Any]]) -> None:
        """Measure the clock difference again; at most once a second, and silent when the venue does not answer."""
        async with self._lock:
            if time.monotonic() - self._clock_read_at < _CLOCK_REST_S:
                return
            self._clock_read_at = time.monotonic()
            try:
                self.time_difference_ms = await _time_difference(fetch_time)
            except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; the next request tells whether it matters
                log.warning("clock_not_read", exchange=self.exchange, error=type(error).__name__)
            else:
                log.info("clock_read", exchange=self.exchange, difference_ms=self.time_difference_ms)

    async def _load(self) -> None:
        call = RunningCall(timeout_ms=_LOAD_TIMEOUT_MS)
        token = CURRENT_CALL.set(call)
        try:
            # In a thread with a loop of its own: parsing would block every request and bot for most of a second.
            shared, difference_ms = await asyncio.to_thread(lambda: asyncio.run(_load_alone(self._make)))
        except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; all of them are translated and raised
            raise read_error(error, exchange=self.exchange, call=call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
        self.shared, self.time_difference_ms = shared, difference_ms
        self._listings = None
        self._loaded_at = self._clock_read_at = time.monotonic()
        self.generation += 1
        log.info("markets_loaded", exchange=self.exchange, symbols=len(shared.markets), clock_difference_ms=difference_ms)


async def _load_alone(make: Callable[[], Any]) -> tuple[Any, int]:
    exchange = make()
    try:
        await exchange.load_markets()
        return exchange, await _time_difference(exchange.fetch_time) if exchange.has.get("fetchTime") is True else 0
    finally:
        await exchange.close()


async def _time_difference(fetch_time: Callable[[], Awaitable[Any]]) -> int:
    """Return our clock minus the venue's in milliseconds, the travel time halved."""
    samples = []
    for _ in range(_CLOCK_SAMPLES):
        before = time.time() * 1000
        server = float(await fetch_time())
        samples.append((before + time.time() * 1000) / 2 - server)
    return round(statistics.median(samples))
