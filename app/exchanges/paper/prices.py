"""Where the paper exchange has its prices from: the live feed of the venue it imitates, or else that venue's public ticker."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

import structlog

from app.domain.instruments import Instrument
from app.errors import ExchangeError, ExchangeUnavailable, NotSent, SymbolNotFound
from app.exchanges.paper.market import LiveQuote, Market, Tick
from app.exchanges.port import ExchangeClient, Ticker

log = structlog.get_logger(__name__)

#: A quote that is older than this is no price to trade at: the feed is cut off, or does not watch the symbol.
FRESH_S: Final = 10.0
#: A ticker that was asked for serves the orders of the next moment too.
_TICKER_S: Final = 1.0
#: So many trades of a symbol wait to be matched, one by one.
_MOST_TICKS: Final = 200


class Feed(Protocol):
    """The latest prices of one venue's watched symbols, as something above this package hears them."""

    @property
    def exchange(self) -> str:
        """The venue."""

    def latest(self, symbol: str, *, max_age_s: float | None = None) -> LiveQuote | None:
        """Return the latest prices, or None when there are none or they are older than `max_age_s` seconds."""

    def listen(self, listener: Callable[[LiveQuote], None]) -> None:
        """Call `listener` with every quote from now on. It must not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """The real venue that the paper exchange imitates: its feed, its public data and its rules."""

    feed: Feed
    public: Callable[[], Awaitable[ExchangeClient]]
    instruments: Callable[[], Awaitable[Mapping[str, Instrument]]]


@dataclass(frozen=True, slots=True)
class _TickerQuote:
    """A ticker as a quote; it does not say how much is offered."""

    ticker: Ticker
    heard_at_s: float
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None

    @property
    def symbol(self) -> str:
        return self.ticker.symbol

    @property
    def bid(self) -> Decimal | None:
        return self.ticker.bid

    @property
    def ask(self) -> Decimal | None:
        return self.ticker.ask

    @property
    def last(self) -> Decimal | None:
        return self.ticker.last

    @property
    def at(self) -> datetime:
        return self.ticker.at

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.heard_at_s


class Prices:
    """The markets that paper orders meet. What they trade waits in `take_ticks` until somebody matches it."""

    def __init__(self, venue: Venue) -> None:
        self.exchange = venue.feed.exchange
        self.changed = asyncio.Event()
        self._venue = venue
        self._markets: dict[str, Market] = {}
        self._ticks: dict[str, list[Tick]] = {}
        self._followed: frozenset[str] = frozenset()
        self._asked_at_s: dict[str, float] = {}
        self._rules: Mapping[str, Instrument] = {}
        venue.feed.listen(self._hear)

    async def instrument(self, symbol: str) -> Instrument:
        """Return the venue's rules of a symbol.

        Raises:
            SymbolNotFound: it does not list that symbol.
            ExchangeUnavailable: its rules are not known yet and it does not answer.
        """
        self._rules = await self._venue.instruments()
        if symbol not in self._rules:
            raise SymbolNotFound(f"{self.exchange} does not list {symbol}")
        return self._rules[symbol]

    async def instruments(self) -> dict[str, Instrument]:
        """Return the venue's rules by symbol. Raises as `instrument`."""
        self._rules = await self._venue.instruments()
        return dict(self._rules)

    def known_instrument(self, symbol: str) -> Instrument | None:
        """Return the rules as last read, without waiting."""
        return self._rules.get(symbol)

    async def now(self, symbol: str) -> Tick:
        """Return the present market of a symbol.

        Raises:
            NotSent: nobody tells a price now.
        """
        market = self._market(symbol)
        if not self._is_fed(symbol) and time.monotonic() - self._asked_at_s.get(symbol, -_TICKER_S) >= _TICKER_S:
            try:
                await self._ask(symbol)
            except ExchangeError as error:
                raise NotSent(f"there is no price of {symbol} now: {error.message}; the order was not placed") from error
        tick = market.tick()
        if tick is None:
            raise NotSent(f"{self.exchange} tells no price of {symbol}; the order was not placed")
        return tick

    async def ticker(self, symbol: str) -> Ticker:
        """Return the present best prices. Raises ExchangeUnavailable when nobody tells them."""
        try:
            tick = await self.now(symbol)
        except NotSent as error:
            raise ExchangeUnavailable(f"there is no price of {symbol} now") from error
        at = self._markets[symbol].at
        assert at is not None  # noqa: S101  # a market with a tick was told when
        return Ticker(symbol=symbol, last=tick.price, bid=tick.offer.bid, ask=tick.offer.ask, at=at)

    def restore(self, matched: Mapping[str, Decimal]) -> None:
        """Go on from the prices up to which symbols were matched before."""
        for symbol, price in matched.items():
            if symbol not in self._markets:
                self._markets[symbol] = Market(symbol, price=price)

    def follow(self, symbols: Iterable[str]) -> None:
        """Collect the trades of these symbols, and of no others, from now on."""
        self._followed = frozenset(symbols)
        for symbol in self._followed:
            if symbol not in self._markets or self._markets[symbol].offer is None:
                self._is_fed(symbol)
        self._ticks = {symbol: ticks for symbol, ticks in self._ticks.items() if symbol in self._followed}

    def present(self, symbol: str) -> Tick | None:
        """Return the present market if its price is a fresh one, without asking anybody."""
        return self._market(symbol).tick() if self._is_fed(symbol) or self._was_asked(symbol) else None

    def take_ticks(self) -> dict[str, list[Tick]]:
        """Return what the followed symbols traded since the last call, in order.

        When nobody came for long, the last runs in one direction are told by their ends.
        """
        ticks, self._ticks = self._ticks, {}
        self.changed.clear()
        return ticks

    def matched(self) -> dict[str, tuple[Decimal, datetime]]:
        """Return up to which price each followed symbol has come, and when."""
        markets = [self._markets[symbol] for symbol in self._followed if symbol in self._markets]
        return {market.symbol: (market.price, market.at) for market in markets if market.price is not None and market.at is not None}

    async def ask_for_unfed(self) -> None:
        """Ask the venue for the prices of the followed symbols that its feed does not tell; what it does not answer is asked next time."""
        for symbol in sorted(self._followed):
            if not self._is_fed(symbol):
                try:
                    await self._ask(symbol)
                except ExchangeError as error:
                    log.warning("paper_price_unknown", exchange=self.exchange, symbol=symbol, code=error.code)

    def _hear(self, quote: LiveQuote) -> None:
        market = self._markets.get(quote.symbol)
        if market is not None:
            self._take(market, quote)

    async def _ask(self, symbol: str) -> None:
        client = await self._venue.public()
        ticker = await client.fetch_ticker(symbol)
        self._asked_at_s[symbol] = time.monotonic()
        self._take(self._market(symbol), _TickerQuote(ticker, time.monotonic()))

    def _is_fed(self, symbol: str) -> bool:
        """Whether the feed tells a fresh price; it is taken in at once, for it may have been told before anybody needed it."""
        quote = self._venue.feed.latest(symbol, max_age_s=FRESH_S)
        if quote is None:
            return False
        market = self._market(symbol)
        self._take(market, quote)
        return market.offer is not None

    def _was_asked(self, symbol: str) -> bool:
        return time.monotonic() - self._asked_at_s.get(symbol, -FRESH_S) < FRESH_S

    def _take(self, market: Market, quote: LiveQuote) -> None:
        tick = market.take(quote)
        if tick is None or market.symbol not in self._followed:
            return
        ticks = self._ticks.setdefault(market.symbol, [])
        if len(ticks) >= _MOST_TICKS and (ticks[-1].price > ticks[-2].price) == (tick.price > ticks[-1].price):
            ticks[-1] = tick
        else:
            ticks.append(tick)
        self.changed.set()

    def _market(self, symbol: str) -> Market:
        if symbol not in self._markets:
            self._markets[symbol] = Market(symbol)
        return self._markets[symbol]
