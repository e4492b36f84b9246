"""A strategy with its candles: series made, account attached, questions asked."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from app.domain.arrays import EXIT, LONG, SHORT, Candles, numbers
from app.domain.simulation import Minutes, Reason, SimulatedFill, SimulationCosts, Wish, made_account
from app.sandbox.guest.candles import TradedCandles
from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.series import Cursor, Cursors, as_series
from app.sandbox.guest.strategy import DEAREST, MOST_ADDED, Fill, Position, Strategy, StrategyView, overrides
from app.sandbox.guest.targets import TARGET_COLUMNS, several
from app.sandbox.guest.template import TemplateAdapter
from app.sandbox.messages import Frame

Frames = Sequence[tuple[Frame, Candles]]
_TOLD = {Reason.LIQUIDATION: "stop", Reason.SAFEGUARD: "stop"}


class Session:
    """One instance over one stretch of candles.

    Attributes:
        instance: The user's object.
        arrays: What `indicators` assigned, before it became series, by attribute.
        signals: What `signals` returned, where there is one.
        account: That per-candle methods see.
        minutes: The shorter candles from which is read what happens to that account inside a candle, if there are any.
        is_long_only: Whether it is never asked to sell short, as on a spot account.
    """

    def __init__(
        self, loaded: Loaded, frames: Frames, costs: SimulationCosts, *, instance: Strategy | None = None, detail: Candles | None = None
    ) -> None:
        self.loaded = loaded
        self.minutes = None if detail is None else Minutes(frames[0][1], detail)
        self.instance = loaded.make() if instance is None else instance
        self.candles = frames[0][1]
        self.account = made_account(costs, self.candles)
        self.cursor = Cursor()
        self.closes: Sequence[float] = numbers(self.candles.close)
        self.traded = TradedCandles(frames)
        self.signals: Any = None
        self.is_long_only = False
        self._told = 0
        before = vars(self.instance).copy()
        self._attach()
        own = set(loaded.values) | {"candles", "position", "_account", "_view", "_entering"}
        self.arrays = {
            name: value
            for name, value in vars(self.instance).items()
            if name not in own and (name not in before or before[name] is not value)
        }
        self._make_series()
        self._follows = [(name, column, getattr(self.instance, name)) for name, column in _FOLLOWED if overrides(loaded.strategy, name)]
        self.on_fill = self._tell if overrides(loaded.strategy, "on_fill") else None

    def _attach(self) -> None:
        # Through vars: a user's __setattr__ or property of one of these names is not asked.
        state = vars(self.instance)
        view = StrategyView(self.closes, self.cursor)
        state.update(candles=self.traded, _account=self.account, _view=view, _entering=0, position=Position(self.account, view))
        self.cursor.end = len(self.candles)
        self.instance.indicators(self.traded)
        if self.loaded.style in ("signals", "both"):
            self.signals = self.instance.signals(self.traded)

    def _make_series(self) -> None:
        state = vars(self.instance)
        cursors = Cursors(self.cursor, len(self.candles), self.traded.others())
        for name, value in self.arrays.items():
            state[name] = as_series(value, cursors)
        state["candles"] = as_series(self.traded, cursors)

    def question(self, name: str) -> Callable[[], Any] | None:
        """Return a method of the user's, or None if it is the default that says nothing, or is not asked."""
        if self.is_long_only and name == "should_short":
            return None
        return getattr(self.instance, name) if overrides(self.loaded.strategy, name) else None

    @property
    def follows(self) -> bool:
        """Whether it has anything to say of an open position but to leave it."""
        return bool(self._follows)

    def entry(self, flag: int) -> Wish | None:
        """Return the wish to enter, or None where the size is 0."""
        instance = self.instance
        side = 1 if flag == LONG else -1
        vars(instance)["_entering"] = side
        try:
            size = self._checked("position_size", instance.position_size(), low=0.0, high=1.0)
            if size == 0:
                return None
            wish = Wish(flags=flag, size=size)
            if isinstance(instance, TemplateAdapter):
                for name, level in instance.entry_levels(side).items():
                    setattr(wish, name, level)
                return wish
            wish.stop_loss = self.fraction("stop_loss")
            for columns, (distance, part) in zip(TARGET_COLUMNS, self.profits(), strict=False):
                setattr(wish, columns.distance, distance)
                if part < 1:
                    setattr(wish, columns.part, part)
            wish.trailing = self.fraction("trailing_stop")
            if (ask_price := self.question("entry_price")) is not None:
                wish.limit = self._level("entry_price", ask_price())
            for name, column, ask in self._follows:
                if name != "adjust":
                    # What a method says goes before the class attribute, and None leaves that as it is.
                    self._put(wish, name, column, ask())
        finally:
            vars(instance)["_entering"] = 0
        return wish

    def follow(self) -> Wish | None:
        """Return what it says of the open position at this close, or None if nothing."""
        wish: Wish | None = None
        for name, column, ask in self._follows:
            value = ask()
            # Adding nothing is doing nothing.
            if value is not None and (name != "adjust" or value != 0):
                wish = wish or Wish()
                self._put(wish, name, column, value)
        return wish

    def _put(self, wish: Wish, name: str, column: str, value: Any) -> None:
        """Write what a method said into a wish; None leaves it as it is."""
        if value.__class__ is list or value.__class__ is tuple:
            for columns, (level, part) in zip(TARGET_COLUMNS, several(name, value), strict=False):
                setattr(wish, columns.price, level)
                setattr(wish, columns.part, part)
        elif (one := self._level(name, value)) is not None:
            setattr(wish, column, one)

    def decide(self) -> Wish | None:
        """Return the decision at the current candle, for the position that the account has."""
        if self.account.quantity:
            if (ask := self.question("should_exit")) is not None and ask():
                return Wish(flags=EXIT)
            return self.follow() if self.follows else None
        if (ask := self.question("should_long")) is not None and ask():
            return self.entry(LONG)
        if (ask := self.question("should_short")) is not None and ask():
            return self.entry(SHORT)
        return None

    def _level(self, name: str, value: Any) -> float | None:
        if name == "adjust":
            return self._checked(name, value, low=-1.0, high=MOST_ADDED)
        return self._checked(name, value, low=0.0, high=1.0 if name == "trailing" else DEAREST, is_open=True)

    def fraction(self, name: str) -> float | None:
        """Return one of the class attributes that are fractions.

        Raises:
            StrategyMistake: it is none.
        """
        value = getattr(self.instance, name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if is_number else value
        if not is_number or not 0 < value < (10 if name == "take_profit" else 1):
            raise StrategyMistake(
                "ATTRIBUTE_INVALID",
                f"{name} must be a fraction of the price, above 0 and below 1 (0.02 is 2 %), or None; was {value!r}",
                attribute=name,
            )
        return float(value)

    def profits(self) -> list[tuple[float, float]]:
        """Return distances and parts of the targets that the class attribute names.

        Raises:
            StrategyMistake: it is written in another way.
        """
        given = self.instance.take_profit
        if isinstance(given, list | tuple):
            return several("take_profit", given)
        one = self.fraction("take_profit")
        return [] if one is None else [(one, 1.0)]

    def _checked(self, method: str, value: Any, *, low: float, high: float, is_open: bool = False) -> float | None:
        if value is None or (value.__class__ is float and low < value < high):
            return value  # nearly every answer; NaN is not between any two numbers
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        # A plain number first: what is compared and sent must not be able to answer for itself.
        value = float(value) if is_number else value
        if is_number and math.isfinite(value) and low <= value <= high and not (is_open and value in (low, high)):
            return float(value)
        bounds = "a price above 0" if high == DEAREST else f"a fraction from {low:g} to {high:g}"
        hint = "; before enough candles have closed a series is NaN, so raise warm_up" if is_number and math.isnan(value) else ""
        raise StrategyMistake(
            "RETURN_TYPE", f"{method}() must return {bounds} or None, was {value!r}{hint}", attribute=method, candle=self.cursor.end - 1
        )

    def _tell(self) -> None:
        """Tell `on_fill` of what has been filled since."""
        fills = self.account.fills
        while self._told < len(fills):
            fill = fills[self._told]
            self._told += 1
            self.instance.on_fill(told(fill, int(self.candles.time[fill.candle])))


#: Methods that are asked again while there is a position, with the column that they decide.
_FOLLOWED = (("stop_price", "stop"), ("target_price", "target"), ("trailing", "trailing"), ("adjust", "adjust"))


def told(fill: SimulatedFill, time: int) -> Fill:
    """Return a fill as `on_fill` is told of it."""
    side = "buy" if fill.side > 0 else "sell"
    return Fill(side, fill.quantity, fill.price, fill.fee, _TOLD.get(fill.reason, str(fill.reason)), time)
