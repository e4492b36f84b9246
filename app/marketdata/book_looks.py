"""One symbol's book and tape while somebody looks: what came, what of it was told, and whom to tell. Pure, but for their queues.

A book message is `{"s", "b", "a", "t"}`: the best `SHOWN` levels a side, each as price and quantity in exact text, and when it came, in
milliseconds; `{"s", "stale": true}` says that the last one is too old to go by. A tape message is `{"s", "trades"}`, each trade a moment
in milliseconds, a price, a quantity and the taker's side, newest last; with `"whole": true` it takes the place of all before it.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import orjson

from app.core.events import Subscription
from app.domain.book import Depth, Level
from app.domain.candles import to_milliseconds
from app.domain.instruments import plain
from app.exchanges.binance_messages import AggTrade, PartialDepth
from app.exchanges.port import MarketTrade
from app.marketdata.feed_news import FeedNews

SHOWN: Final = 15
TRADES: Final = 50
STALE_S: Final = 5.0
#: The book of a quiet market is told again, so that a page needs no other sign that it is still good.
REPEAT_S: Final = 10.0
#: Between two rounds: of a market that prints more than so many in a quarter of a second, nobody reads the first.
_INCOMING: Final = 4 * TRADES

Row = tuple[str, str]


def trimmed(number: str) -> str:
    """Return a number's text without the zeros at its end that say nothing."""
    return number.rstrip("0").rstrip(".") if "." in number else number


@dataclass(frozen=True, slots=True)
class Book:
    """A book as it came: levels as text, best first, and when, in monotonic seconds and in milliseconds of our clock."""

    bids: Sequence[Sequence[str]]
    asks: Sequence[Sequence[str]]
    heard_s: float
    heard_ms: int

    @classmethod
    def streamed(cls, event: PartialDepth, *, now_s: float, now_ms: int) -> "Book":
        """Return what the stream said, untouched: most of these are overtaken before anybody reads them."""
        return cls(event.bids, event.asks, now_s, now_ms)

    @classmethod
    def asked(cls, depth: Depth, *, now_s: float, now_ms: int) -> "Book":
        """Return what an exchange answered."""
        return cls(_rows(depth.bids), _rows(depth.asks), now_s, now_ms)

    def depth(self) -> Depth:
        """Return it as numbers.

        Raises:
            ArithmeticError: it holds something else.
        """
        return Depth(bids=_levels(self.bids), asks=_levels(self.asks))

    def shown(self, symbol: str) -> FeedNews:
        """Return the message that tells it."""
        sides = ([(trimmed(row[0]), trimmed(row[1])) for row in side[:SHOWN]] for side in (self.bids, self.asks))
        bids, asks = sides
        return _news("book", {"s": symbol, "b": bids, "a": asks, "t": self.heard_ms})


class Tape:
    """The newest trades of a market. What comes twice, over the stream and as an answer, is there once."""

    def __init__(self) -> None:
        self._known: list[tuple[Hashable, list[object]]] = []
        self._incoming: deque[tuple[Hashable, list[object]]] = deque(maxlen=_INCOMING)

    def hear(self, trade: AggTrade) -> None:
        """Take a trade from the stream."""
        side = "sell" if trade.is_buyer_maker else "buy"
        self._incoming.append((trade.trade_id, [to_milliseconds(trade.traded_at), plain(trade.price), plain(trade.quantity), side]))

    def answered(self, trades: Iterable[MarketTrade]) -> None:
        """Take what the exchange answered."""
        for trade in trades:
            row: list[object] = [to_milliseconds(trade.traded_at), plain(trade.price), plain(trade.quantity), trade.side.value]
            name = trade.trade_id
            self._incoming.append((tuple(row) if name is None else int(name) if name.isdecimal() else name, row))

    def news(self, symbol: str) -> FeedNews | None:
        """Return what nobody was told of yet, as a message; None when that is nothing."""
        if not self._incoming:
            return None
        known = {name for name, _ in self._known}
        new = {name: row for name, row in self._incoming if name not in known}
        self._incoming.clear()
        # Stable: of one moment's trades, the order in which they came.
        self._known = sorted([*self._known, *new.items()], key=lambda each: _moment(each[1]))[-TRADES:]
        fresh = [row for name, row in self._known if name in new]
        if not fresh:
            return None
        follows = len(fresh) < len(self._known) and all(name in new for name, _ in self._known[-len(fresh) :])
        return _news("tape", {"s": symbol, "trades": fresh}) if follows else self.whole(symbol)

    def whole(self, symbol: str) -> FeedNews | None:
        """Return all that has been told, for one who comes later; None when that is nothing."""
        return _news("tape", {"s": symbol, "trades": [row for _, row in self._known], "whole": True}) if self._known else None


@dataclass(slots=True)
class Look:
    """A symbol of an exchange that somebody looks at, or did a moment ago. Times are monotonic seconds.

    `read_at` is when the exchange is to be asked next, None for not at all; `is_failing` says that it did not answer the last time.
    `is_sure` is False after a loss of the stream, until the book is told anew.
    """

    exchange: str
    symbol: str
    begun_at: float
    followers: set[Subscription[object]] = field(default_factory=set)
    tape: Tape = field(default_factory=Tape)
    book: Book | None = None
    is_sure: bool = True
    is_being_read: bool = False
    is_failing: bool = False
    read_at: float | None = None
    left_at: float | None = None
    _is_new: bool = False
    _is_told_stale: bool = False
    _told_at: float = 0.0

    def hear(self, book: Book) -> None:
        """Take the present book."""
        self.book, self.is_sure, self._is_new = book, True, True

    def age_s(self, now: float) -> float:
        """Return how long ago a book came; without any, how long one has been awaited."""
        return now - (self.begun_at if self.book is None else self.book.heard_s)

    def beginning(self) -> Iterator[FeedNews]:
        """Yield what one who comes now is told: the book and the trades as everybody else knows them."""
        if self.book is not None:
            yield self.book.shown(self.symbol)
        if self._is_told_stale:
            yield self._stale()
        tape = self.tape.whole(self.symbol)
        if tape is not None:
            yield tape

    def tell(self, *, is_stale: bool, now: float) -> None:
        """Tell everybody who looks what has changed since the last time."""
        if is_stale and not self._is_new:
            if not self._is_told_stale:
                self._is_told_stale = True
                self._send(self._stale())
        elif self.book is not None and (self._is_new or self._is_told_stale or now - self._told_at >= REPEAT_S):
            # One that was told as old and is not was in doubt only: its stream proved to live.
            self._is_new = self._is_told_stale = False
            self._told_at = now
            self._send(self.book.shown(self.symbol))
        news = self.tape.news(self.symbol)
        if news is not None:
            self._send(news)

    def _stale(self) -> FeedNews:
        return _news("book", {"s": self.symbol, "stale": True})

    def _send(self, news: FeedNews) -> None:
        for subscription in self.followers:
            subscription.put(news)


def _news(name: str, value: object) -> FeedNews:
    # Without a number: nobody asks for what was missed, the next book is whole.
    return FeedNews(name, b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value)))


def _rows(levels: Sequence[Level]) -> list[Row]:
    return [(plain(level.price), plain(level.quantity)) for level in levels]


def _levels(rows: Sequence[Sequence[str]]) -> tuple[Level, ...]:
    return tuple(Level(price=Decimal(row[0]), quantity=Decimal(row[1])) for row in rows)


def _moment(row: list[object]) -> int:
    return row[0] if isinstance(row[0], int) else 0
