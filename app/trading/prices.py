"""What the market would pay now, from the live feed. A price that is too old is no price."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from app.marketdata.quotes import Quotes

_MAX_AGE_S: Final = 15.0
#: The candle after it has closed, and the next, by the latest; an older one says nothing of the market now.
_MAX_CLOSE_AGE_S: Final = 150.0


class FeedPrices:
    """The heartbeat's quotes as trading asks for them, for its venue and for those of `also` that have the same prices."""

    def __init__(self, quotes: Quotes, *, also: Iterable[str] = ()) -> None:
        self._quotes = quotes
        self._exchanges = frozenset({quotes.exchange, *also})

    def reference_price(self, exchange: str, symbol: str, *, is_buy: bool) -> Decimal | None:
        """Return the ask for a buy and the bid for a sell, else the last price; None when the feed is silent or does not watch it."""
        if exchange not in self._exchanges:
            return None
        quote = self._quotes.latest(symbol, max_age_s=_MAX_AGE_S)
        if quote is None:
            return None
        return (quote.ask if is_buy else quote.bid) or quote.last

    def last_price(self, exchange: str, symbol: str) -> Decimal | None:
        """Return the price of the last trade, in quote per base; None as in `reference_price`."""
        if exchange not in self._exchanges:
            return None
        quote = self._quotes.latest(symbol, max_age_s=_MAX_AGE_S)
        return None if quote is None else quote.last

    def last_close(self, exchange: str, symbol: str) -> Decimal | None:
        """Return the close of the last closed one-minute candle; None when the feed is silent or does not watch the symbol."""
        return self._quotes.last_close(symbol, max_age_s=_MAX_CLOSE_AGE_S) if exchange in self._exchanges else None
