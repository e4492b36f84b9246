"""Books that exchanges were asked for: one request for all who want the same one, and its answer for a moment after it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.domain.book import Depth
from app.errors import ExchangeError
from app.exchanges.port import ExchangeClient

log = structlog.get_logger(__name__)

#: Asked for each time: Binance counts 100 levels as it does 5, and one answer then serves every reader.
LEVELS: Final = 100
FRESH_S: Final = 1.0
#: An exchange that did not answer is left alone for so long.
_FAILED_S: Final = 3.0
#: Whoever waits for a book decides something by it; after that long they are better off without.
_PATIENCE_S: Final = 4.0
#: So many symbols are remembered before old answers are thrown away.
_REMEMBERED: Final = 256


@dataclass(slots=True)
class _Asked:
    depth: Depth | None = None
    good_until_s: float = 0.0
    is_failing: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Depths:
    """Asks with `public`, which returns the client of an exchange's public data."""

    def __init__(self, public: Callable[[str], Awaitable[ExchangeClient]]) -> None:
        self._public = public
        self._asked: dict[tuple[str, str], _Asked] = {}

    async def of(self, exchange: str, symbol: str) -> Depth | None:
        """Return the book of a unified symbol, up to `LEVELS` levels a side and `FRESH_S` old; None when the exchange gives none."""
        found = self._asked.get((exchange, symbol)) or self._remember((exchange, symbol))
        async with found.turn:
            if time.monotonic() >= found.good_until_s:
                found.depth = await self._ask(exchange, symbol, is_known_bad=found.is_failing)
                found.is_failing = found.depth is None
                found.good_until_s = time.monotonic() + (FRESH_S if found.depth is not None else _FAILED_S)
            return found.depth

    async def _ask(self, exchange: str, symbol: str, *, is_known_bad: bool) -> Depth | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await (await self._public(exchange)).fetch_depth(symbol, limit=LEVELS)
        except (ExchangeError, TimeoutError) as error:
            if not is_known_bad:
                log.warning("book_not_read", exchange=exchange, symbol=symbol, error=type(error).__name__)
            return None

    def _remember(self, key: tuple[str, str]) -> _Asked:
        if len(self._asked) >= _REMEMBERED:
            now = time.monotonic()
            self._asked = {known: asked for known, asked in self._asked.items() if asked.turn.locked() or now < asked.good_until_s}
        return self._asked.setdefault(key, _Asked())
