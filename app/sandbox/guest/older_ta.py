"""`import pandas_ta as ta` of strategies that follow the older template: its commonest functions, computed by TA-Lib.

They take columns or arrays and return a column, or a table whose columns are named as that library names them.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import talib
from talib._ta_lib import MA_Type

from app.sandbox.guest.columns import Column, Table

NAME = "pandas_ta"


def _floats(values: Any) -> Any:
    return np.ascontiguousarray(values, dtype=np.float64)


def _of_close(function: Callable[..., Any], usual: int) -> Callable[..., Column]:
    def indicator(close: Any, length: int | None = None, **_: Any) -> Column:
        return Column(function(_floats(close), int(length or usual)))

    return indicator


def _of_range(function: Callable[..., Any], usual: int) -> Callable[..., Column]:
    def indicator(high: Any, low: Any, close: Any, length: int | None = None, **_: Any) -> Column:
        return Column(function(_floats(high), _floats(low), _floats(close), int(length or usual)))

    return indicator


def macd(close: Any, fast: int = 12, slow: int = 26, signal: int = 9, **_: Any) -> Table:
    """Return MACD, its histogram and its signal line."""
    line, smoothed, histogram = talib.MACD(_floats(close), fast, slow, signal)
    ending = f"_{fast}_{slow}_{signal}"
    return Table({f"MACD{ending}": line, f"MACDh{ending}": histogram, f"MACDs{ending}": smoothed})


def bbands(close: Any, length: int = 5, std: float = 2.0, **_: Any) -> Table:
    """Return the lower, middle and upper band, the width in percent and the place between them."""
    values = _floats(close)
    upper, middle, lower = talib.BBANDS(values, length, float(std), float(std))
    ending = f"_{length}_{float(std)}"
    with np.errstate(divide="ignore", invalid="ignore"):
        width, place = 100 * (upper - lower) / middle, (values - lower) / (upper - lower)
    return Table({f"BBL{ending}": lower, f"BBM{ending}": middle, f"BBU{ending}": upper, f"BBB{ending}": width, f"BBP{ending}": place})


def adx(high: Any, low: Any, close: Any, length: int = 14, **_: Any) -> Table:
    """Return ADX with both directional indicators."""
    given = (_floats(high), _floats(low), _floats(close), length)
    return Table({f"ADX_{length}": talib.ADX(*given), f"DMP_{length}": talib.PLUS_DI(*given), f"DMN_{length}": talib.MINUS_DI(*given)})


def stoch(high: Any, low: Any, close: Any, k: int = 14, d: int = 3, smooth_k: int = 3, **_: Any) -> Table:
    """Return the slow stochastic."""
    slow, smoothed = talib.STOCH(_floats(high), _floats(low), _floats(close), k, smooth_k, MA_Type.SMA, d, MA_Type.SMA)
    return Table({f"STOCHk_{k}_{d}_{smooth_k}": slow, f"STOCHd_{k}_{d}_{smooth_k}": smoothed})


def obv(close: Any, volume: Any, **_: Any) -> Column:
    """Return the on-balance volume."""
    return Column(talib.OBV(_floats(close), _floats(volume)))


def mfi(high: Any, low: Any, close: Any, volume: Any, length: int = 14, **_: Any) -> Column:
    """Return the money flow index."""
    return Column(talib.MFI(_floats(high), _floats(low), _floats(close), _floats(volume), length))


def cross(first: Any, second: Any, above: bool = True, **_: Any) -> Column:  # noqa: FBT001 -- the signature that is stood in for
    """Return 1 where the first crosses the second, else 0."""
    ours, theirs = _floats(first), _floats(second)
    found = np.zeros(len(ours), dtype=np.int64)
    now, then = (ours[1:] > theirs[1:], ours[:-1] < theirs[:-1]) if above else (ours[1:] < theirs[1:], ours[:-1] > theirs[:-1])
    found[1:] = now & then
    return Column(found)


#: Functions of one column, then of high, low and close, with their usual length.
_CLOSE = {
    "cmo": 14, "dema": 10, "ema": 10, "hma": 10, "kama": 10, "linreg": 14, "mom": 10, "rma": 10, "roc": 10, "rsi": 14, "sma": 10, "t3": 10,
    "tema": 10, "trima": 10, "wma": 10, "zlma": 10,
}  # fmt: skip
_RANGE = {"atr": 14, "cci": 14, "natr": 14, "willr": 14}
_OTHER_NAMES = {"linreg": "LINEARREG", "zlma": "ZLEMA"}


def register() -> None:
    """Make `import pandas_ta` work."""
    module = ModuleType(NAME, __doc__)
    functions: dict[str, Any] = {each.__name__: each for each in (macd, bbands, adx, stoch, obv, mfi, cross)}
    functions |= {name: _of_close(getattr(talib, _OTHER_NAMES.get(name, name.upper())), usual) for name, usual in _CLOSE.items()}
    functions |= {name: _of_range(getattr(talib, name.upper()), usual) for name, usual in _RANGE.items()}
    vars(module).update(functions)
    sys.modules[NAME] = module
