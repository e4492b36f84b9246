"""Throttled news of prices and open candles: the newest value of each symbol at a fixed beat, never every message."""

from decimal import Decimal
from typing import Final

from app.core.events import EventBus
from app.domain.candles import Candle, Timeframe
from app.marketdata.events import CandleChanged, TickerChanged
from app.marketdata.quotes import Quote

#: Seconds between two rounds; prices go out each round, open candles every second one.
ROUND_S: Final = 0.25


class Announcer:
    """Collects what changed and publishes it round by round."""

    def __init__(self, exchange: str, timeframe: Timeframe, *, bus: EventBus) -> None:
        self._exchange = exchange
        self._timeframe = timeframe
        self._bus = bus
        self._quotes: dict[str, Quote] = {}
        self._candles: dict[str, Candle] = {}
        self._rounds = 0

    def quote(self, quote: Quote) -> None:
        """Prices changed."""
        self._quotes[quote.symbol] = quote

    def candle(self, symbol: str, candle: Candle) -> None:
        """The open candle changed."""
        self._candles[symbol] = candle

    def round(self) -> None:
        """Publish what changed since it was last told."""
        quotes, self._quotes = self._quotes, {}
        for quote in quotes.values():
            self._bus.publish(
                TickerChanged(exchange=self._exchange, symbol=quote.symbol, bid=quote.bid, ask=quote.ask, last=quote.last, at=quote.at)
            )
        self._rounds += 1
        if self._rounds % 2:
            return
        candles, self._candles = self._candles, {}
        for symbol, candle in candles.items():
            self._bus.publish(CandleChanged(exchange=self._exchange, symbol=symbol, timeframe=self._timeframe, candle=candle))


def last_price(candle: Candle) -> Decimal:
    """Return the candle's close as the exact decimal the exchange wrote: the shortest text of a float64 is that text."""
    return Decimal(repr(candle.close))
