"""Strategies that follow the older template run unchanged: one object a candle, made with candles, balance and position.

What its methods return is read as its examples meant it: a size of up to 1 is a fraction of the balance and above it an amount in quote
units; a stop or target below 1 is a fraction of the entry and from 1 on a price; 0 is none. While there is a position, `should_short`
leaves a long (and `should_long` a short); a short is opened where the class says `allow_short = True`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from app.sandbox.guest.columns import Table
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.params import Param
from app.sandbox.guest.strategy import Strategy, overrides

#: Candles that an object is made with: enough for an EMA of 50 to have forgotten its start, few enough to be made at every candle.
WINDOW = 1_000
_NAMES = ("calculate_position_size", "calculate_stop_loss", "calculate_take_profit")


def is_template(written: type) -> bool:
    """Return whether a class follows the older template and can be made."""
    if inspect.isabstract(written) or not callable(getattr(written, "should_long", None)):
        return False
    if issubclass(written, Strategy) and any(overrides(written, name) for name in ("indicators", "signals")):
        return False
    try:
        inspect.signature(written).bind(None, 0.0, None)
    except (TypeError, ValueError):
        return False
    return any(callable(getattr(written, name, None)) for name in _NAMES)


def params_of_template(written: type) -> dict[str, Param]:
    """Return the parameters that `STRATEGY_PARAMS` of a later template declares.

    Raises:
        StrategyMistake: it is written in another way.
    """
    given = getattr(written, "STRATEGY_PARAMS", None)
    if not given:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) and "default" in each for each in given.values()):
        raise StrategyMistake(
            "PARAMETER_DECLARATION", 'STRATEGY_PARAMS maps names to {"default": …, "min": …, "max": …}', attribute="STRATEGY_PARAMS"
        )
    found = {}
    for name, each in given.items():
        default = float(each["default"]) if each.get("type") == "float" else each["default"]
        found[str(name)] = Param(
            default,
            low=each.get("min"),
            high=each.get("max"),
            step=each.get("step"),
            choices=each.get("choices"),
            help_=str(each.get("label", "")),
            is_optional=False,
        )
        found[str(name)].name = str(name)
    return found


def adapted(written: type) -> type[Strategy]:
    """Return a strategy of today's kind that asks one of the older template."""
    warm_up = getattr(written, "warm_up", 0)
    timeframe = getattr(written, "timeframe", Strategy.timeframe)
    return type(
        written.__name__, (TemplateAdapter,), {"written": written, "warm_up": warm_up, "timeframe": timeframe, "__doc__": written.__doc__}
    )


class TemplateAdapter(Strategy):
    """Asks an object of the older template at each candle."""

    written: type
    _columns: dict[str, Any]
    _made: Any = None
    _made_at: int = -1

    def indicators(self, candles: Any) -> None:
        """Keep the columns to cut windows from."""
        self._columns = {name: candles[name] for name in ("time", "open", "high", "low", "close", "volume")}
        self._made_at = -1

    def should_long(self) -> bool:
        """Ask it."""
        return bool(self._asked().should_long())

    def should_short(self) -> bool:
        """Ask it, where it may open shorts."""
        return bool(getattr(self.written, "allow_short", False)) and self._asks_short()

    def should_exit(self) -> bool:
        """Ask it by its own method if it has one; otherwise the opposite signal leaves the position."""
        asked = self._asked()
        if callable(getattr(type(asked), "should_exit", None)) and getattr(type(asked), "should_exit", None) is not Strategy.should_exit:
            return bool(asked.should_exit())
        return self._asks_short() if self.position.is_long else bool(asked.should_long())

    def position_size(self) -> float | None:
        """Ask it; an amount becomes a fraction."""
        size = self._number("calculate_position_size")
        if size is None:
            return None
        return size if size <= 1 else min(1.0, size / self.equity) if self.equity > 0 else 0.0

    def entry_levels(self, side: int) -> dict[str, float]:
        """Return what it says of stop and target: fractions of the entry, or prices."""
        levels: dict[str, float] = {}
        for method, fraction, price in (("calculate_stop_loss", "stop_loss", "stop"), ("calculate_take_profit", "take_profit", "target")):
            value = self._number(method)
            if value:
                levels[fraction if value < 1 else price] = value
        return levels

    def _asks_short(self) -> bool:
        method = getattr(self._asked(), "should_short", None)
        return callable(method) and bool(method())

    def _number(self, name: str) -> float | None:
        method = getattr(self._asked(), name, None)
        if not callable(method):
            return None
        value = method()
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if is_number else value
        if not is_number or not 0 <= value < float("inf"):
            raise StrategyMistake(
                "RETURN_TYPE", f"{name}() must return a number of 0 or more, was {value!r}", attribute=name, candle=self.row
            )
        return float(value)

    def _asked(self) -> Any:
        """Return the object of this candle."""
        row = self.row
        if self._made_at != row:
            window = int(getattr(self.written, "window", WINDOW))
            part = slice(max(0, row + 1 - window), row + 1)
            table = Table({name: column[part] for name, column in self._columns.items()})
            self._made = self._new(table)
            self._made_at = row
        return self._made

    def _new(self, table: Table) -> Any:
        position = None
        if self.position:
            quantity = self.position.quantity
            position = {
                "side": "long" if quantity > 0 else "short",
                "type": "long" if quantity > 0 else "short",
                "quantity": abs(quantity),
                "size": abs(quantity),
                "amount": abs(quantity),
                "entry_price": self.position.entry_price,
                "stop_loss": self.position.stop,
                "take_profit": self.position.target,
            }
        values = vars(self).get("_values", {})
        if values and "params" in inspect.signature(self.written.__init__).parameters:  # type: ignore[misc]
            return self.written(table, self.equity, position, values)
        return self.written(table, self.equity, position)
