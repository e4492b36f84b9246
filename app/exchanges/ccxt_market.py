"""What ccxt tells of a market to anybody: prices, the book, trades and candles. `CcxtClient` adds the account to it."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from app.core.clock import Clock
from app.domain.book import Depth
from app.domain.candles import Candle, Timeframe, from_milliseconds, to_milliseconds
from app.domain.enums import Lane
from app.errors import ExchangeUnavailable
from app.exchanges import reports
from app.exchanges.candle_pages import MOST_CANDLES, CandleOffer, check_timeframe, offer_of, question, within
from app.exchanges.port import MarketTrade, Ticker

#: What reading an answer of another shape than expected raises.
UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, OverflowError, TypeError, ValueError)
#: Venues that take any number of levels up to at least 100. Binance 5,000, Kraken 500, OKX 400, Bybit 200, Bitget 150.
_ANY_LIMIT: Final = frozenset({"binance", "binanceus", "kraken", "okx", "bybit", "bitget", "gate", "mexc", "coinbase"})
#: KuCoin gives without a signature 20 levels or 100. docs: "Get Part OrderBook".
_FEW_OR_MANY: Final = frozenset({"kucoin"})


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Make ExchangeUnavailable of whatever reading an unexpected answer raises inside the block."""
    try:
        yield
    except UNREADABLE as error:
        raise ExchangeUnavailable(f"the exchange's answer cannot be read ({what})") from error


class CcxtMarketData(ABC):
    """The public part of an `ExchangeClient` over ccxt."""

    exchange: str
    _ccxt: Any
    _clock: Clock

    @abstractmethod
    async def _read(
        self, method: Callable[..., Awaitable[Any]], *arguments: Any, none_if_unknown: bool = False, lane: Lane | None = None
    ) -> Any:
        """Make one request that changes nothing; its errors become ours."""

    @property
    def candle_offer(self) -> CandleOffer:
        """Which candles the venue has, and how many it gives at once."""
        return offer_of(self._ccxt)

    async def fetch_ticker(self, symbol: str, *, lane: Lane = Lane.MARKET) -> Ticker:
        """Return the best prices of one symbol; `lane` is the right of way of whatever waits for them."""
        reply = await self._read(self._ccxt.fetch_ticker, symbol, lane=lane)
        with reading("price"):
            ticker = reports.ticker(symbol, reply, fallback_ms=to_milliseconds(self._clock.now()))
        if ticker is None:
            raise ExchangeUnavailable(f"the exchange has no price for {symbol}")
        return ticker

    async def fetch_depth(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> Depth:
        """Return the visible book of one symbol, best level first, at most `limit` levels (1 to 100) on each side."""
        reply = await self._read(self._ccxt.fetch_order_book, symbol, self._asked_levels(limit), lane=lane)
        with reading("order book"):
            return reports.depth(reply, limit=limit)

    async def fetch_market_trades(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> list[MarketTrade]:
        """Return the newest trades of the market in one symbol, oldest first, at most `limit` (1 to 50)."""
        reply = await self._read(self._ccxt.fetch_trades, symbol, None, limit, lane=lane)
        with reading("market trades"):
            return reports.market_trades(reply, limit=limit)

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = MOST_CANDLES
    ) -> list[Candle]:
        """Return at most 1000 candles oldest first, open times in [start, end]; the last may still be open. Raises TimeframeMissing."""
        check_timeframe(self._ccxt, self.exchange, timeframe)
        since, limit, parameters = question(self.exchange, timeframe, start=start, end=end, limit=limit)
        rows = await self._read(self._ccxt.fetch_ohlcv, symbol, timeframe.value, since, limit, parameters, lane=Lane.MARKET)
        with reading("candles"):
            return within([reports.candle(row) for row in rows], start=start, end=end)

    async def server_time(self) -> datetime:
        """Return the venue's clock."""
        reply = await self._read(self._ccxt.fetch_time)
        with reading("clock"):
            return from_milliseconds(int(reply))

    def _asked_levels(self, limit: int) -> int | None:
        if self.exchange in _ANY_LIMIT:
            return limit
        if self.exchange in _FEW_OR_MANY:
            return 20 if limit <= 20 else 100
        return None  # a number that a venue we do not know does not like is refused; its own default never is
