"""The latest prices of one exchange, in memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Prices in quote per base, quantities in base units. `received_at_s` is monotonic; `at` is for people."""

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    at: datetime
    received_at_s: float
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the feed last spoke of this symbol."""
        return time.monotonic() - self.received_at_s


class Quotes:
    """Best bid, best ask and last price of each watched symbol."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self._quotes: dict[str, Quote] = {}
        self._closes: dict[str, tuple[Decimal, float]] = {}
        self._listeners: list[Callable[[Quote], None]] = []

    def listen(self, listener: Callable[[Quote], None]) -> None:
        """Call `listener` with every quote from now on, in the reader of the feed: it must not wait."""
        self._listeners.append(listener)

    def latest(self, symbol: str, *, max_age_s: float | None = None) -> Quote | None:
        """Return the latest prices, or None when there are none or they are older than `max_age_s` seconds."""
        quote = self._quotes.get(symbol)
        if quote is None or (max_age_s is not None and quote.age_s > max_age_s):
            return None
        return quote

    def put(
        self,
        symbol: str,
        *,
        at: datetime,
        bid: Decimal | None = None,
        ask: Decimal | None = None,
        last: Decimal | None = None,
        bid_quantity: Decimal | None = None,
        ask_quantity: Decimal | None = None,
    ) -> Quote:
        """Keep what is given; what is not given stays as it was."""
        known = self._quotes.get(symbol)
        quote = Quote(
            symbol=symbol,
            bid=bid if bid is not None or known is None else known.bid,
            ask=ask if ask is not None or known is None else known.ask,
            last=last if last is not None or known is None else known.last,
            at=at,
            received_at_s=time.monotonic(),
            bid_quantity=bid_quantity if bid is not None or known is None else known.bid_quantity,
            ask_quantity=ask_quantity if ask is not None or known is None else known.ask_quantity,
        )
        self._quotes[symbol] = quote
        for listener in self._listeners:
            listener(quote)
        return quote

    def last_close(self, symbol: str, *, max_age_s: float) -> Decimal | None:
        """Return the close of the last closed one-minute candle; None when there is none or it came more than `max_age_s` seconds ago."""
        price, at_s = self._closes.get(symbol, (None, 0.0))
        return price if time.monotonic() - at_s <= max_age_s else None

    def put_close(self, symbol: str, price: Decimal) -> None:
        """Keep the close of the candle that has just closed."""
        self._closes[symbol] = (price, time.monotonic())
