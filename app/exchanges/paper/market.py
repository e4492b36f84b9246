"""What a paper order meets: the live prices of a real venue, turned into trades that must have happened and depth one can take.

The rules, all on the pessimistic side:

1. The price last traded follows the best bid and ask: whoever offers below it, or bids above it, has passed it. A quote that leaves it
   between bid and ask is no trade.
2. Such a trade fills whole what rests at a price it went *through* (a market cannot pass an order without filling it) and nothing that
   it only touched.
3. An order that arrives takes what is offered at the best price, as far as the venue says how much that is; the rest of it pays
   `BEYOND_BEST` worse. Where the venue does not say, all of it gets the best price: in the trader's favour for large orders.
4. Prices that nobody heard, while the server was down or the feed cut off, are not invented. The first price afterwards is a trade like
   any other: a limit it has passed fills at its own price, a trigger it has passed wakes its order, which takes what is offered *then*.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.domain.matching import Depth, Level

#: How much worse than the best price an order gets what the best level does not hold, as a fraction.
BEYOND_BEST: Final = Decimal("0.0005")
#: More base units than any order has.
ENDLESS: Final = Decimal(10) ** 30


class LiveQuote(Protocol):
    """The best prices of a symbol, in quote per base, and the base quantities offered there; None where the feed does not say."""

    @property
    def symbol(self) -> str:
        """The unified symbol."""

    @property
    def bid(self) -> Decimal | None:
        """Best bid."""

    @property
    def ask(self) -> Decimal | None:
        """Best ask."""

    @property
    def last(self) -> Decimal | None:
        """Price of the last trade that the feed told."""

    @property
    def bid_quantity(self) -> Decimal | None:
        """What is bid for at the best bid."""

    @property
    def ask_quantity(self) -> Decimal | None:
        """What is offered at the best ask."""

    @property
    def at(self) -> datetime:
        """When it was true."""

    @property
    def age_s(self) -> float:
        """Seconds since it was heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The two best levels of a symbol at one moment. A quantity of None has no end."""

    bid: Decimal
    ask: Decimal
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None
    #: Thousands of accounts meet the same moment: its depth is made once.
    _made: list[Depth] = field(default_factory=list, compare=False, repr=False)

    def depth(self, instrument: Instrument) -> Depth:
        """Return what an order finds: the best level, and behind it what rule 3 says."""
        if not self._made:
            below = instrument.round_price(Side.BUY, self.bid * (1 - BEYOND_BEST))
            above = instrument.round_price(Side.SELL, self.ask * (1 + BEYOND_BEST))
            self._made.append(Depth(bids=_levels(self.bid, self.bid_quantity, below), asks=_levels(self.ask, self.ask_quantity, above)))
        return self._made[0]


def _levels(best: Decimal, quantity: Decimal | None, beyond: Decimal) -> tuple[Level, ...]:
    if quantity is None:
        return (Level(price=best, quantity=ENDLESS),)
    return Level(price=best, quantity=quantity), Level(price=beyond, quantity=ENDLESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A trade at `price`, and what was offered at that moment."""

    price: Decimal
    offer: Offer


class Market:
    """One symbol: where it traded last, and what is offered now."""

    def __init__(self, symbol: str, *, price: Decimal | None = None) -> None:
        self.symbol = symbol
        self.price = price
        self.offer: Offer | None = None
        self.at: datetime | None = None
        self._told_last: Decimal | None = None

    def take(self, quote: LiveQuote) -> Tick | None:
        """Take in what the feed says; return the trade that it tells or implies, None when nothing traded or nothing was said.

        The first quote always is one: what was restored must meet the present.
        """
        price = self.price
        if quote.last is not None and quote.last != self._told_last:
            price = self._told_last = quote.last
        bid, ask = quote.bid or quote.last, quote.ask or quote.last
        if bid is None or ask is None:
            return None
        if price is None:
            price = bid
        price = min(max(price, bid), ask)
        is_first = self.offer is None
        self.offer = Offer(bid=bid, ask=ask, bid_quantity=quote.bid_quantity, ask_quantity=quote.ask_quantity)
        self.at = quote.at
        if price == self.price and not is_first:
            return None
        self.price = price
        return self.tick()

    def tick(self) -> Tick | None:
        """Return the present as a trade, None before the first quote."""
        return None if self.price is None or self.offer is None else Tick(price=self.price, offer=self.offer)
