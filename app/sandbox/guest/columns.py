"""What the older template calls `candles`: a table whose columns are numpy arrays, with the part of pandas that such strategies use.

There is no pandas in the jail: it would cost each worker 40 MB. What is not here raises AttributeError with its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Column(np.lib.mixins.NDArrayOperatorsMixin):
    """One column: arithmetic and comparisons give columns, `.iloc[-1]` the last value. No index but the place."""

    def __init__(self, values: Any) -> None:
        self.values: NDArray[Any] = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 -- numpy's
        return np.array(self.values, dtype=dtype) if copy or (dtype is not None and dtype != self.values.dtype) else self.values

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        plain = [each.values if isinstance(each, Column) else each for each in inputs]
        if method != "__call__" or "out" in named:
            return NotImplemented
        with np.errstate(divide="ignore", invalid="ignore"):
            found = ufunc(*plain, **named)
        return Column(found) if isinstance(found, np.ndarray) else found

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())

    def __bool__(self) -> bool:
        raise TypeError("a column is not one yes or no: take the current candle's with .iloc[-1]")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Column):
            key = key.values
        found = self.values[key]
        return Column(found) if isinstance(found, np.ndarray) else found

    def __repr__(self) -> str:
        return f"Column({self.values!r})"

    @property
    def iloc(self) -> "Column":
        """The column by place: `[-1]` is the current candle."""
        return self

    iat = iloc

    def to_numpy(self) -> NDArray[Any]:
        """Return the array."""
        return self.values

    def tolist(self) -> list[Any]:
        """Return the values."""
        return list(self.values.tolist())

    def tail(self, length: int = 5) -> "Column":
        """Return the last `length` values."""
        return Column(self.values[-length:])

    def head(self, length: int = 5) -> "Column":
        """Return the first `length` values."""
        return Column(self.values[:length])

    def copy(self) -> "Column":
        """Return a copy."""
        return Column(self.values.copy())

    def astype(self, kind: Any) -> "Column":
        """Return the values in another type."""
        return Column(self.values.astype(kind))

    def shift(self, periods: int = 1) -> "Column":
        """Return the values `periods` candles ago; a negative number would be the future, which the table does not have."""
        found = np.full(len(self), np.nan)
        if periods >= 0:
            found[periods:] = self.values[: max(0, len(self) - periods)]
        else:
            found[:periods] = self.values[-periods:]
        return Column(found)

    def diff(self, periods: int = 1) -> "Column":
        """Return the values less those `periods` candles ago."""
        return Column(self.values - self.shift(periods).values)

    def pct_change(self, periods: int = 1) -> "Column":
        """Return the relative change over `periods` candles."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Column(self.values / self.shift(periods).values - 1)

    def abs(self) -> "Column":
        """Return the sizes."""
        return Column(np.abs(self.values))

    def cumsum(self) -> "Column":
        """Return the running sum."""
        return Column(np.cumsum(self.values))

    def clip(self, lower: float | None = None, upper: float | None = None) -> "Column":
        """Return the values within bounds."""
        return Column(np.clip(self.values, lower, upper))

    def where(self, condition: Any, other: Any = np.nan) -> "Column":
        """Return the values where the condition holds and `other` elsewhere."""
        return Column(np.where(np.asarray(condition, dtype=bool), self.values, np.asarray(other)))

    def isna(self) -> "Column":
        """Return where there is no number."""
        return Column(np.isnan(np.asarray(self.values, dtype=np.float64)))

    def notna(self) -> "Column":
        """Return where there is a number."""
        return Column(~np.isnan(np.asarray(self.values, dtype=np.float64)))

    def dropna(self) -> "Column":
        """Return the numbers."""
        return Column(self.values[self.notna().values])

    def fillna(self, value: float) -> "Column":
        """Return the values with `value` where there is none."""
        return Column(np.where(self.isna().values, value, self.values))

    def ffill(self) -> "Column":
        """Return the values with the last number before where there is none."""
        rows = np.where(self.notna().values, np.arange(len(self)), 0)
        return Column(self.values[np.maximum.accumulate(rows)])

    def mean(self) -> float:
        """Return the mean of the numbers."""
        return float(np.nanmean(self.values))

    def std(self, ddof: int = 1) -> float:
        """Return the sample standard deviation of the numbers."""
        return float(np.nanstd(self.values, ddof=ddof))

    def sum(self) -> float:
        """Return the sum of the numbers."""
        return float(np.nansum(self.values))

    def max(self) -> float:
        """Return the highest number."""
        return float(np.nanmax(self.values))

    def min(self) -> float:
        """Return the lowest number."""
        return float(np.nanmin(self.values))

    def median(self) -> float:
        """Return the median of the numbers."""
        return float(np.nanmedian(self.values))

    def rolling(self, window: int) -> "Rolling":
        """Return windows of `window` candles that end at each candle."""
        return Rolling(self, int(window))

    def ewm(self, span: float | None = None, com: float | None = None, alpha: float | None = None, *, adjust: bool = True) -> "Smoothed":
        """Return exponential weights, as pandas has them."""
        weight = alpha if alpha is not None else 2 / (span + 1) if span is not None else 1 / (1 + (com or 0.0))
        return Smoothed(self, weight, adjust=adjust)


class Rolling:
    """Windows that end at each candle; NaN before the first is full."""

    def __init__(self, column: Column, window: int) -> None:
        self._values = np.ascontiguousarray(column.values, dtype=np.float64)
        self._window = window

    def _each(self, function: Any) -> Column:
        found = np.full(len(self._values), np.nan)
        if 0 < self._window <= len(self._values):
            found[self._window - 1 :] = function(np.lib.stride_tricks.sliding_window_view(self._values, self._window), axis=1)
        return Column(found)

    def mean(self) -> Column:
        """Return the means."""
        return self._each(np.mean)

    def sum(self) -> Column:
        """Return the sums."""
        return self._each(np.sum)

    def std(self, ddof: int = 1) -> Column:
        """Return the sample standard deviations."""
        return self._each(lambda windows, axis: np.std(windows, axis=axis, ddof=ddof))

    def max(self) -> Column:
        """Return the highest values."""
        return self._each(np.max)

    def min(self) -> Column:
        """Return the lowest values."""
        return self._each(np.min)

    def median(self) -> Column:
        """Return the medians."""
        return self._each(np.median)


class Smoothed:
    """Exponentially weighted values of the past."""

    def __init__(self, column: Column, weight: float, *, adjust: bool) -> None:
        self._values = np.asarray(column.values, dtype=np.float64)
        self._weight = weight
        self._adjust = adjust

    def mean(self) -> Column:
        """Return the weighted means."""
        keep = 1 - self._weight
        found = np.full(len(self._values), np.nan)
        total = weights = 0.0
        for row, value in enumerate(self._values.tolist()):
            if value != value:
                found[row] = total / weights if weights else np.nan
                continue
            if self._adjust or not weights:
                total, weights = total * keep + value, weights * keep + 1
                if not self._adjust:
                    total, weights = value, 1.0
            else:
                total = total * keep + value * self._weight
            found[row] = total / weights
        return Column(found)


class Row(dict[str, Any]):
    """One candle: `row["close"]` or `row.close`."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


class Table:
    """Columns of one length: `table["close"]` or `table.close`; new columns are assigned by name."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_columns", {name: each if isinstance(each, Column) else Column(each) for name, each in columns.items()})

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("_columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"candles has no {name}; its columns are {', '.join(columns)}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __getitem__(self, key: Any) -> Any:
        columns: dict[str, Column] = self.__dict__["_columns"]
        if isinstance(key, str):
            return columns[key]
        if isinstance(key, list):
            return Table({name: columns[name] for name in key})
        rows = key.values if isinstance(key, Column) else key
        return Table({name: column.values[rows] for name, column in columns.items()})

    def __setitem__(self, name: str, value: Any) -> None:
        given = np.asarray(value)
        self.__dict__["_columns"][name] = Column(np.full(len(self), value) if given.ndim == 0 else given)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__["_columns"]

    def __len__(self) -> int:
        columns: dict[str, Column] = self.__dict__["_columns"]
        return len(next(iter(columns.values()))) if columns else 0

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.__dict__["_columns"])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self.columns)

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return len(self) == 0

    @property
    def iloc(self) -> "_Places":
        """Rows by place."""
        return _Places(self)

    def tail(self, length: int = 5) -> "Table":
        """Return the last rows."""
        return Table({name: self[name].tail(length) for name in self.columns})

    def copy(self) -> "Table":
        """Return a copy."""
        return Table({name: self[name].copy() for name in self.columns})


class _Places:
    def __init__(self, table: Table) -> None:
        self._table = table

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return Table({name: self._table[name].values[key] for name in self._table.columns})
        return Row({name: self._table[name].values[key] for name in self._table.columns})
