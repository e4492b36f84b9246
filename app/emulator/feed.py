"""The loop that moves the market: it lets time pass, matches what rests, and tells the streams.

A closed candle goes out exactly once and with the source's numbers; the open one about once a second, at higher speed at most ten times.
"""

import asyncio
import time
from collections import defaultdict
from decimal import Decimal

import structlog

from app.domain.candles import Timeframe
from app.emulator import rendering_market
from app.emulator.bars import MINUTE_MS, Bar, Trade
from app.emulator.clock import MarketClock
from app.emulator.depth_streams import FAST_S, DepthStreams
from app.emulator.exchange import Exchange
from app.emulator.filters import eight
from app.emulator.market import MinuteEnd, SymbolMarket
from app.emulator.streams import StreamHub

log = structlog.get_logger(__name__)

#: As on the real one, there are none of ten minutes.
_TIMEFRAMES = {timeframe.value: timeframe for timeframe in Timeframe if timeframe is not Timeframe.M10}
_LONGEST_SLEEP_S = 0.25
_SHORTEST_SLEEP_S = 0.005
#: Best offers of a real market change all the time, if only in quantity. Here they are repeated, even where time stands still: clients take
#: silence for a dead connection, and their patience is real time.
_BOOK_EVERY_S = 1.0


class Feed:
    """Drives all symbols of an exchange along one market clock."""

    def __init__(self, exchange: Exchange, clock: MarketClock, hub: StreamHub) -> None:
        self._exchange = exchange
        self._clock = clock
        self._hub = hub
        self._pushed: dict[str, int] = {}
        self._book: dict[str, tuple[str, str, str, str]] = {}
        self._book_sent_at: dict[str, float] = {}
        self._depths = DepthStreams(exchange, clock, hub)
        self._updates = 0
        self._over: set[str] = set()
        self._changed = asyncio.Event()
        self.matched_to_ms = clock.now()
        """Market time up to which resting orders have seen every trade."""

    @property
    def push_interval_s(self) -> float:
        """Wall seconds between two pushes of an open candle."""
        return min(1.0, max(0.1, 1.0 / self._clock.speed))

    async def run(self) -> None:
        """Run until cancelled. On a virtual clock whoever moves it steps."""
        while True:
            if not self._clock.wall.is_virtual:
                self.step()
            self._repeat_books()
            self._depths.push()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._sleep_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def nudge(self) -> None:
        """Look at the clock again at once: it was paused, resumed or changed."""
        self._changed.set()

    def step(self) -> None:
        """Bring every symbol to the present."""
        now = self._clock.now()
        wanted: dict[str, list[str]] = defaultdict(list)
        for stream in self._hub.subscribed():
            wanted[stream.partition("@")[0]].append(stream)
        for symbol, market in self._exchange.markets.items():
            self._advance(symbol, market, now)
            self._push_open(market, wanted.get(symbol.lower(), []))
            if market.is_over and symbol not in self._over:
                self._over.add(symbol)
                log.info("the recording has ended; the price stands still", symbol=symbol)
        self._depths.push()
        self.matched_to_ms = now

    def print(self, symbol: str, price: Decimal, quantity: Decimal) -> Trade:
        """Let a trade happen now that the source does not know: orders react, streams tell of it, and it is returned."""
        market = self._exchange.markets[symbol]
        trade = market.print(price, quantity, time=self._clock.now())
        self._exchange.match(symbol, trade, time=self._clock.wall_now())
        lower = symbol.lower()
        if self._wants_trades(lower):
            self._publish_trade(lower, market, trade)
        self._push_open(market, [stream for stream in self._hub.subscribed() if stream.startswith(f"{lower}@")])
        return trade

    def catch_up(self, from_ms: int) -> None:
        """Match resting orders against what happened between `from_ms` and the present; for the start after a stop.

        The market must already stand at the present, so that no trade is seen twice.
        """
        for symbol, market in self._exchange.markets.items():
            present = market.last_price, market.is_buyer_maker
            engine = self._exchange.engines[symbol]
            for bar in market.bars(from_ms // MINUTE_MS * MINUTE_MS, self.matched_to_ms):
                if len(engine) == 0:
                    break
                if engine.reacts_to(low=bar.low, high=bar.high):
                    self._replay(market, max(from_ms + 1, bar.open_time), min(self.matched_to_ms, bar.open_time + MINUTE_MS - 1))
            market.last_price, market.is_buyer_maker = present

    def _replay(self, market: SymbolMarket, first_ms: int, last_ms: int) -> None:
        for trade in market.trades(first_ms, last_ms):
            market.last_price, market.is_buyer_maker = trade.price, trade.is_buyer_maker
            self._exchange.match(market.rules.symbol, trade, time=self._clock.wall_at(trade.time))

    def _sleep_s(self) -> float:
        if self._clock.paused_at is not None:
            return _LONGEST_SLEEP_S
        boundary = min((market.minute + MINUTE_MS for market in self._exchange.markets.values() if not market.is_over), default=None)
        until = self._clock.seconds_until(boundary) if boundary is not None else _LONGEST_SLEEP_S
        longest_s = FAST_S if self._depths.has_fast else _LONGEST_SLEEP_S
        return max(_SHORTEST_SLEEP_S, min(until, self.push_interval_s, longest_s))

    def _advance(self, symbol: str, market: SymbolMarket, now: int) -> None:
        lower = symbol.lower()
        wants_trades, is_ideal = self._wants_trades(lower), market.slippage is not None
        for event in market.advance(now, with_trades=wants_trades or is_ideal or len(self._exchange.engines[symbol]) > 0):
            if isinstance(event, MinuteEnd):
                self._publish_closed(lower, market, event)
                continue
            self._exchange.match(symbol, event, time=self._clock.wall_at(event.time))
            if wants_trades:
                self._publish_trade(lower, market, event)
            if is_ideal:
                self._tell_at_once(lower, market)

    def _tell_at_once(self, lower: str, market: SymbolMarket) -> None:
        """Let listeners hear of every trade, offers first: what simulates orders from the streams then meets the same market as ours."""
        if self._hub.has_listeners(book := f"{lower}@bookTicker"):
            self._publish_book(book, market)
        if self._hub.has_listeners(candle := f"{lower}@kline_1m") and market.open_bar is not None:
            self._publish_kline(candle, market, market.open_bar, Timeframe.M1, is_closed=False)

    def _wants_trades(self, lower: str) -> bool:
        return any(map(self._hub.has_listeners, (f"{lower}@aggTrade", f"{lower}@trade")))

    def _publish_trade(self, lower: str, market: SymbolMarket, trade: Trade) -> None:
        symbol, event_ms = market.rules.symbol, self._clock.wall_now()
        self._hub.publish(f"{lower}@aggTrade", {"e": "aggTrade", "E": event_ms, "s": symbol, **rendering_market.aggregate_trade(trade)})
        payload = {"e": "trade", "E": event_ms, "s": symbol, "t": trade.id, "p": eight(trade.price), "q": eight(trade.quantity)}
        self._hub.publish(f"{lower}@trade", {**payload, "T": trade.time, "m": trade.is_buyer_maker, "M": True})

    def _publish_closed(self, lower: str, market: SymbolMarket, event: MinuteEnd) -> None:
        end = event.open_time + MINUTE_MS
        for name, timeframe in _TIMEFRAMES.items():
            stream = f"{lower}@kline_{name}"
            if end % timeframe.milliseconds == 0 and self._hub.has_listeners(stream):
                bar = market.candle(timeframe, end - timeframe.milliseconds)
                if bar is not None:
                    self._publish_kline(stream, market, bar, timeframe, is_closed=True)

    def _push_open(self, market: SymbolMarket, streams: list[str]) -> None:
        for stream in streams:
            self._push(stream, stream.partition("@")[2], market)

    def _push(self, stream: str, kind: str, market: SymbolMarket) -> None:
        if kind == "bookTicker":
            self._publish_book(stream, market)
            return
        now = self._clock.wall.now()
        if now - self._pushed.get(stream, 0) < self.push_interval_s * 1000:
            return
        if kind.startswith("kline_"):
            timeframe = _TIMEFRAMES.get(kind.removeprefix("kline_"))
            bar = market.candle(timeframe, market.minute // timeframe.milliseconds * timeframe.milliseconds) if timeframe else None
            if timeframe is not None and bar is not None and not market.is_over:
                self._publish_kline(stream, market, bar, timeframe, is_closed=False)
        elif kind in ("ticker", "miniTicker"):
            self._hub.publish(stream, rendering_market.ticker_event(market, event_ms=self._clock.wall_now(), is_mini=kind == "miniTicker"))
        else:
            return
        self._pushed[stream] = now

    def _publish_book(self, stream: str, market: SymbolMarket) -> None:
        best = rendering_market.best_prices(market)
        if self._book.get(stream) != best:
            self._book[stream] = best
            self._updates += 1
            self._send_book(stream, market.rules.symbol, best)

    def _repeat_books(self) -> None:
        """Say again what has not changed for a while, and to a new listener at once. It is no update, so that runs stay repeatable."""
        books = [stream for stream in self._hub.subscribed() if stream.endswith("@bookTicker")]
        self._book_sent_at = {stream: self._book_sent_at[stream] for stream in books if stream in self._book_sent_at}
        due = time.monotonic() - _BOOK_EVERY_S
        for stream in books:
            symbol = stream.partition("@")[0].upper()
            if symbol in self._exchange.markets and self._book_sent_at.get(stream, due) <= due:
                self._send_book(stream, symbol, rendering_market.best_prices(self._exchange.markets[symbol]))

    def _send_book(self, stream: str, symbol: str, best: tuple[str, str, str, str]) -> None:
        bid, bid_quantity, ask, ask_quantity = best
        self._book_sent_at[stream] = time.monotonic()
        self._hub.publish(stream, {"u": self._updates, "s": symbol, "b": bid, "B": bid_quantity, "a": ask, "A": ask_quantity})

    def _publish_kline(self, stream: str, market: SymbolMarket, bar: Bar, timeframe: Timeframe, *, is_closed: bool) -> None:
        event_ms = self._clock.wall_now()
        event = rendering_market.kline_event(bar, timeframe, symbol=market.rules.symbol, event_ms=event_ms, is_closed=is_closed)
        self._hub.publish(stream, event)
