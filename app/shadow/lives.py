"""What a bot did and what its shadow did, in the same words: trades of orders with prices, and what else happened. Pure values.

Moments are open times of candles in ms UTC. An order that a strategy decided at the close of one candle is filled in the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.grid import on_tick
from app.shadow.causes import Cause

ZERO: Final = Decimal(0)


class Kind(StrEnum):
    """What an order was for."""

    ENTRY = "entry"
    ADD = "add"
    REDUCE = "reduce"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"
    #: Sold by whatever is not the strategy: its owner, a safeguard, the end of the bot.
    HAND = "hand"

    @property
    def is_buy(self) -> bool:
        """Whether it enlarges the position."""
        return self in (Kind.ENTRY, Kind.ADD)

    @property
    def is_level(self) -> bool:
        """Whether a price fires it, and no decision."""
        return self in (Kind.STOP, Kind.TARGET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """The executions of one order, or of the legs of one level.

    Attributes:
        candle: In which it was filled.
        decided: At whose close it was decided; None for levels and sales by hand.
        parts: Quantity in base and price of each execution. Of a buy whose fee was taken in coins, what was left.
        fee: In quote.
        coins: Base units that were taken as the fee, not in `parts`.
        level: The price of a limit, a stop or a target; None for an order at the market.
        order_ids: Of the bot's orders.
        is_short: Of a shadow that sold short: buys and sales change places.
    """

    kind: Kind
    candle: int
    parts: tuple[tuple[Decimal, Decimal], ...]
    fee: Decimal = ZERO
    decided: int | None = None
    coins: Decimal = ZERO
    level: Decimal | None = None
    order_ids: tuple[str, ...] = ()
    is_short: bool = False

    @property
    def quantity(self) -> Decimal:
        """All of it, in base."""
        return sum((quantity for quantity, _ in self.parts), ZERO)

    @property
    def value(self) -> Decimal:
        """What it came to, in quote."""
        return sum((quantity * price for quantity, price in self.parts), ZERO)

    @property
    def price(self) -> Decimal:
        """The mean price; the only one where there is one."""
        return self.parts[0][1] if len({price for _, price in self.parts}) == 1 else self.value / self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """From flat to flat, or to the end; its acts in order, the entry first."""

    acts: tuple[Act, ...]
    is_open: bool = False

    @property
    def entry(self) -> Act:
        """What opened it."""
        return self.acts[0]

    @property
    def last(self) -> int:
        """The candle in which it ended; of an open one far beyond any."""
        return 2**62 if self.is_open else self.acts[-1].candle


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What a bot decided at a candle, and what became of it; words as `bot_signals` has them.

    Attributes:
        id: Of the row.
        action: `none`, `long`, `short`, `exit`, `adjust` or `levels`.
        state: What became of it.
        code: Of what refused it.
        message: Why, an English sentence with names for its `values`.
        price: That the size was reckoned with.
        decided_at: In ms UTC.
        is_asked: Whether the strategy was asked.
    """

    id: str
    action: str
    state: str
    code: str | None = None
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    price: Decimal | None = None
    decided_at: int = 0
    is_asked: bool = True
    order_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in which a bot entered nothing, from a moment (inclusive, ms) to another (exclusive), and why."""

    start: int
    end: int
    cause: Cause
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The candles that both looked at, and what the shadow's account pays.

    Attributes:
        time: Open times of all candles of the life, ascending.
        opens: First prices.
        closes: Last prices.
        timeframe: Length of a candle in ms.
        fee: Taker's, a fraction; `maker_fee` likewise.
        slippage: A fraction.
        tick: Quote units that prices are multiples of; 0 is no rounding. `step`, in base, likewise of quantities.
    """

    time: Times
    opens: Floats
    closes: Floats
    timeframe: int
    fee: Decimal
    maker_fee: Decimal
    slippage: float = 0.0
    tick: float = 0.0
    step: Decimal = ZERO

    def open_at(self, candle: int) -> float | None:
        """Return the first price of a candle; None where there is none."""
        row = int(np.searchsorted(self.time, candle))
        return float(self.opens[row]) if row < len(self.time) and int(self.time[row]) == candle else None

    def next_of(self, candle: int) -> int:
        """Return the candle in which what was decided at the close of that one is filled."""
        row = int(np.searchsorted(self.time, candle, side="right"))
        return int(self.time[row]) if row < len(self.time) else candle + self.timeframe

    def within(self, moment: int) -> int:
        """Return the candle in which a moment lies: the last one that had opened."""
        row = int(np.searchsorted(self.time, moment, side="right"))
        return int(self.time[row - 1]) if row else moment - moment % self.timeframe

    @property
    def mark(self) -> Decimal:
        """The last price, at which what is held is worth something."""
        return exact(float(self.closes[-1]))

    def market_price(self, price: float, *, is_buy: bool) -> Decimal:
        """Return what an order at the market pays at a price of the candle."""
        sign = 1 if is_buy else -1
        return exact(on_tick(price * (1 + sign * self.slippage), self.tick, up=is_buy))


def exact(value: float) -> Decimal:
    """Return a number of a simulation as money is written."""
    return Decimal(repr(float(value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLife:
    """What a bot did until the end of the last candle.

    Attributes:
        capital: Quote units.
        trades: In order.
        signals: By candle.
        spans: In which it entered nothing.
        trips: Moments at which a safeguard sold, and why.
        revised: Candles that got other numbers, and when that was found; ms.
        changed_at: When its settings were changed, ms; None: never.
        first: The first candle that it could decide at.
        known_since: Since when signals of candles at which nothing was wanted are kept; ms.
        is_asking: Whether its owner has to approve.
    """

    capital: Decimal
    trades: tuple[Trade, ...]
    signals: Mapping[int, Signal] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    trips: tuple[Span, ...] = ()
    revised: Mapping[int, int] = field(default_factory=dict)
    changed_at: int | None = None
    first: int = 0
    known_since: int = 0
    is_asking: bool = False

    def span_at(self, moment: int) -> Span | None:
        """Return why it entered nothing at a moment; None where it did."""
        return next((one for one in self.spans if one.start <= moment < one.end), None)

    def was_revised(self, candle: int) -> bool:
        """Return whether one of the candles up to that one got other numbers after the bot had decided there."""
        signal = self.signals.get(candle)
        return any(one <= candle and (signal is None or found >= signal.decided_at) for one, found in self.revised.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLife:
    """What the shadow did: its trades, and what its strategy wanted at each candle (bits LONG, SHORT, EXIT); candles with none left out.

    `by_account` says whether what the strategy wants may depend on what it holds.
    """

    trades: tuple[Trade, ...]
    wanted: Mapping[int, int] = field(default_factory=dict)
    by_account: bool = True
