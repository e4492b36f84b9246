"""One set of markets per venue address, shared by every account there.

Loading 3,000 symbols costs 0.8 s of CPU and 35 MB; sharing them costs an account 0.2 MB.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from app.domain.enums import Lane
from app.errors import AppError
from app.exchanges.budgets import MARKETS_WEIGHT, Kind
from app.exchanges.errors import read_error, scrub
from app.exchanges.gate import Hearsay, VenueGate
from app.exchanges.listings import Listing, spot_listings
from app.exchanges.venue_class import CURRENT_CALL, RunningCall

log = structlog.get_logger(__name__)

_LOAD_TIMEOUT_MS: Final = 30_000


class MarketsSource:
    """The markets of one venue address. `generation` grows with each load, so that accounts know when to share again."""

    def __init__(self, exchange: str, make: Callable[[], Any], gate: VenueGate) -> None:
        self.exchange = exchange
        self.generation = 0
        self.gate = gate
        self.shared: Any = None
        self._make = make
        self._lock = asyncio.Lock()
        self._loaded_at = 0.0
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

    async def forget(self) -> None:
        """Let go of the markets; the next use loads them again."""
        async with self._lock:
            self.shared = None
            self._listings = None

    def listings(self) -> tuple[Listing, ...]:
        """Return the spot symbols with their rules; `ensure` first."""
        if self._listings is None:
            self._listings = tuple(spot_listings(self.shared.markets, precision_mode=self.shared.precisionMode))
        return self._listings

    @property
    def time_difference_ms(self) -> int:
        """Our clock minus the venue's."""
        return self.gate.clock.offset_ms

    async def _load(self) -> None:
        call = RunningCall(timeout_ms=_LOAD_TIMEOUT_MS, lane=Lane.MARKET)
        deadline = self.gate.deadline(call, Kind.PUBLIC)
        await self.gate.admit(Lane.MARKET, kind=Kind.PUBLIC, deadline=deadline)
        heard = Hearsay()
        token = CURRENT_CALL.set(call)
        try:
            async with self.gate.limiter.slot(lane=Lane.MARKET, weight=MARKETS_WEIGHT, deadline=deadline, kind=Kind.PUBLIC):
                # In a thread with a loop of its own: parsing would block every request and bot for most of a second.
                shared = await asyncio.to_thread(lambda: asyncio.run(_load_alone(self._make, heard)))
        except AppError:
            raise
        except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; all of them are translated and raised
            raise read_error(error, exchange=self.exchange, call=call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
            heard.tell(self.gate)
        self.shared = shared
        self._listings = None
        self._loaded_at = time.monotonic()
        self.generation += 1
        log.info("markets_loaded", exchange=self.exchange, symbols=len(shared.markets))


async def _load_alone(make: Callable[[], Any], heard: Hearsay) -> Any:
    exchange = make()
    exchange.witness = heard
    try:
        await exchange.load_markets()
        return exchange
    finally:
        await exchange.close()
