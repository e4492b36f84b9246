"""Order books and tapes of whatever symbol somebody looks at or decides about."""

from collections.abc import Awaitable, Callable

from app.domain.book import Depth
from app.exchanges.catalogue import PAPER
from app.exchanges.port import ExchangeClient
from app.marketdata.depths import Depths


class Books:
    """The books of all exchanges.

    Args:
        exchange: Whose live feed this process can have; paper accounts trade at its prices.
        public: Returns the client of an exchange's public data.
    """

    def __init__(self, exchange: str, *, public: Callable[[str], Awaitable[ExchangeClient]]) -> None:
        self.exchange = exchange
        self._depths = Depths(public)

    def source(self, exchange: str) -> str:
        """Return the exchange whose book the traders of `exchange` meet."""
        return self.exchange if exchange == PAPER else exchange

    async def depth(self, exchange: str, symbol: str) -> Depth | None:
        """Return the book of a unified symbol, best level first, not older than about a second; None when nobody knows it."""
        return await self._depths.of(self.source(exchange), symbol)
