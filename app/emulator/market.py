"""The market of one symbol as it unfolds: finished candles, the open one, the last trades, the depth around them.

Everything is in market time; the source's own time is that minus `shift`. The market does not notice orders (see domain.matching).
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain.candles import Timeframe
from app.domain.matching import Depth, Level
from app.emulator.bars import MINUTE_MS, PRINTS_PER_MINUTE, Bar, Trade, join, merge, walk
from app.emulator.filters import SymbolRules
from app.emulator.ideal import ideal_depth, ideal_walk, on_the_way
from app.emulator.sources import CandleSource

MATCHED_LEVELS = 40
DAY_MINUTES = 1440

_EIGHT = Decimal("0.00000001")
_RECENT_TRADES = 1000
_VOLUME_SAMPLE_MINUTES = 30


@dataclass(frozen=True, slots=True)
class MinuteEnd:
    """A minute is over. `bar` is its candle, None in a hole of the recording."""

    open_time: int
    bar: Bar | None


class SymbolMarket:
    """One symbol. `advance` is the only thing that moves it. With a `slippage` it is the market of emulator.ideal."""

    def __init__(self, rules: SymbolRules, source: CandleSource, *, shift_ms: int, start_ms: int, slippage: Decimal | None = None) -> None:
        self.rules = rules
        self.shift_ms = shift_ms
        self.slippage = slippage
        self.awaited: Callable[[], Iterable[Decimal]] = tuple
        """Returns the prices that orders wait for: an ideal market passes none of them by."""
        self._source = source
        self._minute = start_ms // MINUTE_MS * MINUTE_MS
        self._path: tuple[Trade, ...] = ()
        self._path_next = 0
        self.forced_depth: Depth | None = None
        """Shown instead of the offers around the last price, until it is taken away."""
        self._depth: tuple[tuple[Decimal, bool, int], Depth] | None = None
        self._sums: dict[Timeframe, dict[int, Bar]] = {timeframe: {} for timeframe in Timeframe}
        self._so_far: dict[Timeframe, tuple[int, int, Bar | None]] = {}
        self._day: tuple[int, tuple[Bar, ...]] | None = None
        self.open_bar: Bar | None = None
        self.recent: deque[Trade] = deque(maxlen=_RECENT_TRADES)
        before = source.before(self._minute - shift_ms)
        self.last_price = before.close if before is not None else next(iter(source.bars(source.first_ms, source.first_ms))).open
        self.is_buyer_maker = before is not None and before.close < before.open
        self._typical = self._typical_volume()
        self._load_path()

    @property
    def minute(self) -> int:
        """Open time of the current minute."""
        return self._minute

    @property
    def is_over(self) -> bool:
        """Whether the recording has ended."""
        return self._source.last_ms is not None and self._minute > self._source.last_ms + self.shift_ms

    def advance(self, to_ms: int, *, with_trades: bool) -> Iterator[Trade | MinuteEnd]:
        """Move to `to_ms`, yielding what happens on the way in order.

        Args:
            to_ms: Market time.
            with_trades: False skips the walk inside minutes that are wholly in the past; nobody looks at their trades.
        """
        while not self.is_over:
            end = self._minute + MINUTE_MS
            if to_ms < end or with_trades:
                yield from self._play(min(to_ms, end - 1))
            if to_ms < end:
                return
            yield self._finish_minute()

    def _play(self, to_ms: int) -> Iterator[Trade]:
        while self._path_next < len(self._path) and self._path[self._path_next].time <= to_ms:
            trade = self._path[self._path_next]
            if self.slippage is not None and self._path_next > 0:
                for passed in on_the_way(self.last_price, trade, self.awaited()):
                    self._see(passed)
                    yield passed
            self._path_next += 1
            self._see(trade)
            yield trade

    def print(self, price: Decimal, quantity: Decimal, *, time: int) -> Trade:
        """Let a trade happen that the source does not know, and return it; the book moves with it.

        It shows in the open candle; the closed one remains the source's, and so do the trades that follow.
        """
        is_buyer_maker = price < self.last_price if price != self.last_price else self.is_buyer_maker
        trade = Trade(self._minute // MINUTE_MS * PRINTS_PER_MINUTE + self._path_next, time, price, quantity, is_buyer_maker)
        self._see(trade)
        return trade

    def _see(self, trade: Trade) -> None:
        self.last_price, self.is_buyer_maker = trade.price, trade.is_buyer_maker
        self.recent.append(trade)
        cost = (trade.price * trade.quantity).quantize(_EIGHT)
        step = Bar(self._minute, trade.price, trade.price, trade.price, trade.price, trade.quantity, cost, 1)
        self.open_bar = join(self.open_bar, step, open_time=self._minute)

    def _finish_minute(self) -> MinuteEnd:
        finished = self._minute
        bar = next(self.bars(finished, finished), None)
        if bar is not None:
            self.last_price, self.is_buyer_maker = bar.close, bar.close < bar.open
        self._minute += MINUTE_MS
        if finished % (5 * MINUTE_MS) == 0:
            self._typical = self._typical_volume()
        self.open_bar = None
        self._load_path()
        return MinuteEnd(finished, bar)

    def _load_path(self) -> None:
        bar = next(self.bars(self._minute, self._minute), None)
        self._path = self._walk(bar) if bar is not None else ()
        self._path_next = 0

    def _walk(self, bar: Bar) -> tuple[Trade, ...]:
        rules = self.rules
        if self.slippage is not None:
            return ideal_walk(bar)
        return walk(bar, symbol=rules.symbol, tick_size=rules.tick_size, step_size=rules.step_size)

    def bars(self, first_ms: int, last_ms: int) -> Iterator[Bar]:
        """Yield the source's minutes that open in [first_ms, last_ms], whether or not they have happened yet."""
        shift = self.shift_ms
        for bar in self._source.bars(first_ms - shift, last_ms - shift):
            yield shifted(bar, shift)

    # -- what clients may see ---------------------------------------------------------------------------------------------------------

    def candle(self, timeframe: Timeframe, open_time: int) -> Bar | None:
        """Return the candle that opens at `open_time`: whole if its time is over, as far as it has come if it is the open one."""
        length = timeframe.milliseconds
        if open_time > self._minute:
            return None
        if open_time + length <= self._minute:
            kept = self._sums[timeframe]
            if open_time not in kept:
                whole = merge(open_time, self.bars(open_time, open_time + length - MINUTE_MS))
                if whole is None:
                    return None
                if timeframe is Timeframe.M1 and len(kept) > 2 * _RECENT_TRADES:
                    kept.clear()
                kept[open_time] = whole
            return kept[open_time]
        total = self._finished_part(timeframe, open_time)
        return join(total, self.open_bar, open_time=open_time) if self.open_bar is not None else total

    def _finished_part(self, timeframe: Timeframe, open_time: int) -> Bar | None:
        """Return the sum of the open candle's finished minutes, adding only those that are new since the last call."""
        known_open, known_to, total = self._so_far.get(timeframe, (open_time, open_time, None))
        if known_open != open_time:
            known_to, total = open_time, None
        for bar in self.bars(known_to, self._minute - MINUTE_MS):
            total = join(total, bar, open_time=open_time)
        self._so_far[timeframe] = open_time, self._minute, total
        return total

    def open_times(self, timeframe: Timeframe, *, start_ms: int | None, end_ms: int | None) -> range:
        """Return where candles of a range open, in the order in which they are looked for."""
        length = timeframe.milliseconds
        oldest = (self._source.first_ms + self.shift_ms) // length * length
        newest = self._minute // length * length
        if end_ms is not None:
            newest = min(newest, end_ms // length * length)
        first = max(oldest, -(-start_ms // length) * length) if start_ms is not None else oldest
        return range(first, newest + 1, length) if start_ms is not None else range(newest, first - 1, -length)

    def candles(self, timeframe: Timeframe, *, start_ms: int | None, end_ms: int | None, limit: int) -> list[Bar]:
        """Return up to `limit` candles, ascending: the first ones from `start_ms`, or without it the last ones up to `end_ms`."""
        found: list[Bar] = []
        for open_time in self.open_times(timeframe, start_ms=start_ms, end_ms=end_ms):
            candle = self.candle(timeframe, open_time)
            if candle is not None:
                found.append(candle)
                if len(found) == limit:
                    break
        return found if start_ms is not None else found[::-1]

    def day(self) -> Bar:
        """Return the sum of the last 24 hours, the open minute included; flat at the last price when nothing traded."""
        if self._day is None or self._day[0] != self._minute:
            whole = merge(self._minute, self.bars(self._minute - (DAY_MINUTES - 1) * MINUTE_MS, self._minute - MINUTE_MS))
            self._day = self._minute, () if whole is None else (whole,)
        total = merge(self._minute, (*self._day[1], *(() if self.open_bar is None else (self.open_bar,))))
        price = self.last_price
        return total or Bar(self._minute, price, price, price, price, Decimal(0), Decimal(0), 0)

    def trades(self, first_ms: int, last_ms: int) -> Iterator[Trade]:
        """Yield the trades in [first_ms, last_ms] that have happened, ascending."""
        for bar in self.bars(first_ms // MINUTE_MS * MINUTE_MS, min(last_ms, self._minute - 1)):
            for trade in self._walk(bar):
                if first_ms <= trade.time <= last_ms:
                    yield trade
        yield from (trade for trade in self._path[: self._path_next] if first_ms <= trade.time <= last_ms)

    def time_of_trade(self, trade_id: int) -> int:
        """Return the start of the minute that trade belongs to."""
        return trade_id // PRINTS_PER_MINUTE * MINUTE_MS

    def latest_trades(self, count: int) -> list[Trade]:
        """Return the last `count` trades, ascending, looking back at most six hours."""
        found: list[Trade] = []
        first = self._minute
        while len(found) < count and first > self._minute - 360 * MINUTE_MS:
            found = [*self.trades(first, first + MINUTE_MS - 1), *found]
            first -= MINUTE_MS
        return found[-count:]

    def depth(self, levels: int = MATCHED_LEVELS) -> Depth:
        """Return the offers around the last price; the same moment always shows the same depth."""
        if self.forced_depth is not None:
            return Depth(bids=self.forced_depth.bids[:levels], asks=self.forced_depth.asks[:levels])
        if self.slippage is not None:
            return ideal_depth(self.last_price, self.slippage, self.rules.tick_size)
        key = (self.last_price, self.is_buyer_maker, self._minute)
        if levels > MATCHED_LEVELS:
            return self._make_depth(levels)
        if self._depth is None or self._depth[0] != key:
            self._depth = key, self._make_depth(MATCHED_LEVELS)
        whole = self._depth[1]
        return whole if levels == MATCHED_LEVELS else Depth(bids=whole.bids[:levels], asks=whole.asks[:levels])

    def _make_depth(self, levels: int) -> Depth:
        tick, step = self.rules.tick_size, self.rules.step_size
        best_bid = self.last_price if self.is_buyer_maker else self.last_price - tick
        best_ask = best_bid + tick
        gap = max(tick, (self.last_price * Decimal("0.00002")).quantize(tick))
        seed = zlib.crc32(f"{self.rules.symbol}:{self.last_price}:{self._minute}".encode())
        bids: list[Level] = []
        asks: list[Level] = []
        for index in range(levels):
            seed = (seed * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
            bid_steps, ask_steps = 1 + self._typical * (20 + seed % 180) // 2000, 1 + self._typical * (20 + (seed >> 8) % 180) // 2000
            if best_bid - gap * index > 0:
                bids.append(Level(price=best_bid - gap * index, quantity=bid_steps * step))
            asks.append(Level(price=best_ask + gap * index, quantity=ask_steps * step))
        return Depth(bids=tuple(bids), asks=tuple(asks))

    def _typical_volume(self) -> int:
        """Mean volume of a minute lately, in steps."""
        sample = [bar.volume for bar in self.bars(self._minute - _VOLUME_SAMPLE_MINUTES * MINUTE_MS, self._minute)]
        return int(sum(sample, Decimal(0)) / len(sample) / self.rules.step_size) if sample else 100


def shifted(bar: Bar, shift_ms: int) -> Bar:
    """Return `bar` at another time."""
    if shift_ms == 0:
        return bar
    return Bar(bar.open_time + shift_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trades)
