"""The class that a user's strategy extends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from app.domain.simulation import Account
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.series import Cursor


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, as `on_fill` is told of it: `side` is buy or sell, `reason` entry, add, reduce, exit, stop, trailing or target."""

    side: str
    quantity: float
    price: float
    fee: float
    reason: str
    time: int


class Position:
    """What the strategy holds; false while it is flat."""

    __slots__ = ("_account", "_view")

    def __init__(self, account: Account, view: "StrategyView") -> None:
        self._account = account
        self._view = view

    def __bool__(self) -> bool:
        return self._account.quantity != 0

    @property
    def quantity(self) -> float:
        """Base units; negative when short, 0 when flat."""
        return self._account.quantity

    @property
    def is_long(self) -> bool:
        """Whether it is above 0."""
        return self._account.quantity > 0

    @property
    def is_short(self) -> bool:
        """Whether it is below 0."""
        return self._account.quantity < 0

    @property
    def entry_price(self) -> float:
        """Mean price of what was entered; 0 when flat."""
        return self._account.entry_price

    @property
    def best_price(self) -> float:
        """Best price since the entry: the highest of a long, the lowest of a short."""
        return self._account.best_price

    @property
    def stop(self) -> float | None:
        """Price of the stop, without a trailing one."""
        return self._account.stop

    @property
    def target(self) -> float | None:
        """Price of the target."""
        return self._account.target

    @property
    def candles_held(self) -> int:
        """Candles that have closed since the entry, the one of the entry included; 0 when flat."""
        return self._view.row() - self._account.entry_candle + 1 if self else 0

    @property
    def profit(self) -> float:
        """Unrealised profit at the last close as a fraction of the entry price, before fees: 0.02 is 2 %."""
        if not self:
            return 0.0
        change = self._view.price() / self._account.entry_price - 1
        return change if self.is_long else -change


class StrategyView:
    """Where the run stands: row and close of the current candle."""

    __slots__ = ("closes", "cursor")

    def __init__(self, closes: Sequence[float], cursor: Cursor) -> None:
        self.closes = closes
        self.cursor = cursor

    def row(self) -> int:
        """Return the row of the current candle."""
        return self.cursor.end - 1

    def price(self) -> float:
        """Return the close of the current candle."""
        return self.closes[self.cursor.end - 1]


class Strategy:
    """Extend this class; every method has a default that does nothing, so write the ones you need.

    Set what must be remembered from candle to candle in `__init__(self)`: `indicators` runs again at each live candle. What the position
    tells of itself need not be remembered, and survives a restart.
    """

    #: Length of the candles it decides on.
    timeframe: ClassVar[str] = "1h"
    #: Candles it needs before its first decision.
    warm_up: Any = 0
    #: Distance of the stop from the entry as a fraction of it; None: no stop.
    stop_loss: Any = None
    #: Distance of the target from the entry as a fraction of it; None: no target. Several: up to three pairs of a distance and the part of
    #: the position that leaves there, as in [(0.02, 0.5), (0.04, None)]; None is all that is left.
    take_profit: Any = None
    #: Distance of a trailing stop as a fraction of the best price since the entry; None: none.
    trailing_stop: Any = None
    #: Other candles that it looks at: timeframes, or (symbol, timeframe); may be a method that returns them.
    informative: Any = ()

    #: Set before the first per-candle method is called.
    candles: Any
    position: Any
    _account: Any
    _view: Any
    _entering: int = 0

    def __init__(self, candles: Any = None, balance: float = 0.0, position: Any = None, params: Any = None) -> None:
        # Strategies of the older template call it with what they were given; today's are made without anything.
        if candles is not None:
            self.candles, self.position = candles, position
            self.balance = balance
            self.params = params or {}

    def indicators(self, candles: Any) -> None:
        """Compute series once, on whole arrays; what is assigned to `self` is a series in per-candle methods."""

    def signals(self, candles: Any) -> Any:
        """Return boolean arrays instead of per-candle methods: `{"long": …, "exit": …}`."""
        raise NotImplementedError

    def should_long(self) -> bool:
        """Return whether to buy; asked at each closed candle while flat."""
        return False

    def should_short(self) -> bool:
        """Return whether to sell short; asked at each closed candle while flat, after `should_long` said no."""
        return False

    def should_exit(self) -> bool:
        """Return whether to leave the position; asked at each closed candle while there is one."""
        return False

    def position_size(self) -> float | None:
        """Return the fraction of equity to enter with, above 0 to 1; None is all of it."""
        return None

    def stop_price(self) -> float | None:
        """Return the stop's price; asked at an entry and at each close while in a position. A looser stop than the present is ignored."""
        return None

    def entry_price(self) -> float | None:
        """Return the price of a limit order to enter with, which rests until the next close; asked at an entry. None: a market order."""
        return None

    def target_price(self) -> Any:
        """Return the target's price; asked at an entry and at each close while in a position. None leaves it as it is.

        Several: up to three pairs of a price and the part of the position that leaves there, [(110.0, 0.5), (120.0, None)].
        """
        return None

    def trailing(self) -> float | None:
        """Return the trailing stop's distance as a fraction of the price; asked like `stop_price`. None leaves it as it is."""
        return None

    def adjust(self) -> float | None:
        """Return the signed fraction of the position to add or take off at the next open: −0.5 sells half, 1 doubles. None: nothing."""
        return None

    def on_fill(self, fill: Fill) -> None:
        """Be told of an execution."""

    @property
    def equity(self) -> float:
        """Cash and position at the last close, in quote units."""
        return float(self._account.equity(self._view.price()))

    @property
    def cash(self) -> float:
        """Quote units that are not in the position."""
        return float(self._account.cash)

    @property
    def side(self) -> int:
        """+1 while long or about to enter long, −1 for short, 0 while flat."""
        quantity = self._account.quantity
        return (quantity > 0) - (quantity < 0) or self._entering

    @property
    def row(self) -> int:
        """Row of the current candle, counted from the first one given."""
        return int(self._view.row())

    def risk_to_stop(self, risk: float, stop: float | None = None) -> float:
        """Return the fraction of equity to enter with so that a stop costs `risk` of the equity.

        Args:
            risk: Fraction of the equity that may be lost: 0.01 is 1 %.
            stop: Price of the stop; by default what `stop_price` returns, or else `stop_loss`.
        """
        price = self._view.price()
        level = self.stop_price() if stop is None else stop
        if level is not None:
            distance = abs(price - level) / price
        elif self.stop_loss is not None:
            distance = float(self.stop_loss)
        else:
            raise StrategyMistake("NO_STOP_TO_RISK", "risk_to_stop() needs a stop: give one, write stop_price(), or set stop_loss")
        return 1.0 if distance <= 0 else min(1.0, risk / distance)


#: The highest price and the largest fraction of a position that can be added at once, as the protocol has them.
DEAREST = 1e15
MOST_ADDED = 10.0
#: Class attributes and methods that users write.
ATTRIBUTES = ("timeframe", "warm_up", "stop_loss", "take_profit", "trailing_stop", "informative")
METHODS = (
    "indicators", "signals", "should_long", "should_short", "should_exit", "position_size", "entry_price", "stop_price", "target_price",
    "trailing", "adjust", "on_fill", "informative",
)  # fmt: skip
SIGNAL_COLUMNS = (
    "long", "short", "exit", "size", "limit", "stop", "target", "trailing", "adjust", "target_2", "target_3", "part", "part_2", "part_3",
)  # fmt: skip

Signals = Mapping[str, NDArray[Any]]


def overrides(strategy: type, method: str) -> bool:
    """Return whether a class wrote a method of its own."""
    return getattr(strategy, method, None) is not getattr(Strategy, method)


def informative_of(strategy: Any) -> list[tuple[str, str]]:
    """Return (symbol, timeframe) of the other candles that an instance wants; the symbol is empty for its own.

    Raises:
        StrategyMistake: it is written in another way.
    """
    given = strategy.informative() if callable(strategy.informative) else strategy.informative
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    wanted: list[tuple[str, str]] = []
    for each in given:
        pair = ("", each) if isinstance(each, str) else tuple(each) if isinstance(each, tuple | list) else ()
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise StrategyMistake(
                "INFORMATIVE_INVALID",
                f'informative holds timeframes or (symbol, timeframe) pairs, for example ["4h", ("ETH/USDT", "1h")]; was {each!r}',
                attribute="informative",
            )
        wanted.append((str(pair[0]), str(pair[1])))
    return wanted


def is_plain_bool(value: Any) -> bool:
    """Return whether a method that answers yes or no returned one of them."""
    return isinstance(value, bool | np.bool_)
