"""Series: what a per-candle method sees of an array. The last value is the current candle's; what comes after it is not there."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn, Protocol, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import numbers
from app.sandbox.guest.candles import MarketCandles
from app.sandbox.guest.columns import Column, Table

#: How far into lists of lists arrays are looked for.
DEEPEST: Final = 4


class Cursor:
    """How many candles have closed; all series of a run share one, so that moving on costs nothing a series."""

    __slots__ = ("end",)

    def __init__(self, end: int = 0) -> None:
        self.end = end


class Moving(Protocol):
    """Whatever says how many values of an array have happened."""

    @property
    def end(self) -> int:
        """How many."""


class OtherCursor:
    """How many candles of another timeframe or symbol have closed by the close of the current candle."""

    __slots__ = ("_closed", "_main")

    def __init__(self, main: Cursor, closed: NDArray[np.int64]) -> None:
        self._main = main
        self._closed = numbers(closed)

    @property
    def end(self) -> int:
        """How many."""
        row = self._main.end - 1
        return int(self._closed[row]) if row >= 0 else 0


class Cursors:
    """Which cursor an array goes by: it is known by its length whose candles it was computed of."""

    def __init__(self, main: Cursor, rows: int, others: Iterable[MarketCandles]) -> None:
        self.main = main
        self._by_length: dict[int, Moving | None] = {}
        for other in others:
            # Of two others of one length nobody knows whose it is.
            self._by_length[len(other)] = None if len(other) in self._by_length else self.of_candles(other)
        self._by_length[rows] = main

    def of_length(self, length: int) -> Moving | None:
        """Return the cursor of arrays of a length, None if they belong to no candles."""
        return self._by_length.get(length)

    def of_candles(self, candles: MarketCandles) -> Moving:
        """Return the cursor of candles."""
        return self.main if candles.closed is None else OtherCursor(self.main, candles.closed)


class Series:
    """The part of an array that has happened: `[-1]` is the current candle, `[-2]` the one before, `[-20:]` an array of the last 20.

    `_plain` is the same memory, read as plain numbers; of a table, as rows.
    """

    __slots__ = ("_array", "_plain", "cursor")

    def __init__(self, array: NDArray[Any], cursor: Moving) -> None:
        self._array = array
        self._plain = numbers(array) if array.ndim == 1 else array
        self.cursor = cursor

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> NDArray[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        end = self.cursor.end
        if index.__class__ is int and -end <= index < 0:
            return self._plain[end + index]
        if isinstance(index, slice):
            return self._array[:end][index].copy()
        return self._at(index)

    def _at(self, index: SupportsIndex) -> Any:
        place, end = index.__index__(), self.cursor.end
        if not -end <= place < end:
            raise IndexError(f"candle {place} of a series that has {end} so far: [-1] is the current candle, [-2] the one before")
        return self._plain[place if place >= 0 else end + place]

    def __len__(self) -> int:
        return self.cursor.end

    def __iter__(self) -> Iterator[Any]:
        return iter(self._array[: self.cursor.end].tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 -- numpy's
        past = self._array[: self.cursor.end]
        return past.astype(dtype) if dtype is not None and dtype != past.dtype else past.copy() if copy else past

    @property
    def iloc(self) -> "Series":
        """The series itself, for those who write `.iloc[-1]`."""
        return self

    @property
    def values(self) -> NDArray[Any]:
        """All that has happened, as an array."""
        return self._array[: self.cursor.end]

    def to_numpy(self) -> NDArray[Any]:
        """Return all that has happened, as an array."""
        return self.values

    def __float__(self) -> float:
        return float(self[-1])

    def __repr__(self) -> str:
        last = ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in self[-3:].tolist())
        return f"Series(… {last})"

    def _no_number(self, *_: object) -> NoReturn:
        raise TypeError("a series is not one number: take the current candle's value with [-1], for example self.fast[-1] > self.slow[-1]")

    __lt__ = __le__ = __gt__ = __ge__ = _no_number
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = __abs__ = _no_number
    __bool__ = _no_number


class CandleSeries:
    """The candles a per-candle method sees: `close[-1]` is the close of the candle that has just closed."""

    __slots__ = ("_candles", "_cursor", "_made")

    def __init__(self, candles: Any, cursor: Moving) -> None:
        self._candles = candles
        self._cursor = cursor
        self._made: dict[str, Series] = {}

    def __getattr__(self, name: str) -> Any:
        # Columns are made when they are first asked for: most strategies look at one or two of them.
        if name.startswith("_"):
            raise AttributeError(name)
        made = self._made.get(name)
        if made is None:
            column = getattr(self._candles, name)
            if not isinstance(column, np.ndarray):
                raise AttributeError(f"candles.{name} is there in indicators() only")
            made = self._made[name] = Series(column, self._cursor)
        return made

    def __getitem__(self, name: str) -> Series:
        series: Series = getattr(self, name)
        return series

    def __len__(self) -> int:
        return self._cursor.end

    def __repr__(self) -> str:
        return f"<{len(self)} candles>"


def as_series(value: Any, cursors: Cursors, depth: int = DEEPEST) -> Any:
    """Return `value` with every array in it that has a value a candle as a series; lists, dicts, dataclasses and tuples are looked into."""
    if isinstance(value, MarketCandles):
        return CandleSeries(value, cursors.of_candles(value))
    if isinstance(value, Column):
        value = value.values
    if isinstance(value, np.ndarray):
        cursor = cursors.of_length(len(value)) if value.ndim else None
        return value if cursor is None else Series(value, cursor)
    return value if depth == 0 else _rebuilt(value, lambda part: as_series(part, cursors, depth - 1))


def _rebuilt(value: Any, inside: Callable[[Any], Any]) -> Any:
    """Return a container with `inside` of each of its parts; whatever else it is as it was."""
    if type(value) is tuple or type(value) is list:
        return type(value)(inside(part) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(inside(part) for part in value)
    if type(value) is dict:
        return {key: inside(part) for key, part in value.items()}
    if isinstance(value, Table):
        return {name: inside(value[name]) for name in value.columns}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, inside(getattr(value, field.name)))
        return made
    return value
