"""Indicators that were computed before: many sets of parameters ask the same of the same candles."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: A worker for backtests may have 1 GiB, of which candles, decisions and the strategy's own arrays want theirs.
LARGEST_BYTES: Final = 192 << 20
#: The longest arrays that are kept; of longer ones there would be a dozen.
_LONGEST_BYTES: Final = LARGEST_BYTES // 16


class Memo:
    """Results by function, arguments and the candles that they are of, the ones that were asked for last.

    Only what is computed of the candles themselves is kept: they lie in memory that nobody can write, so that they are known by their
    place. A strategy is given copies, which it may change.

    Args:
        columns: Of the candles.
    """

    def __init__(self, columns: Iterable[NDArray[Any]]) -> None:
        self._known = {(_place(column), len(column)) for column in columns}
        self._kept: OrderedDict[Any, tuple[NDArray[Any], ...]] = OrderedDict()
        self._bytes = 0
        #: How many were found, for tests.
        self.found = 0

    def call(self, function: Callable[..., Any], given: list[Any], named: Mapping[str, Any]) -> Any:
        """Return what a function of TA-Lib returns."""
        key = self._key(function, given, named)
        if key is None:
            return function(*given, **named)
        kept = self._kept.get(key)
        if kept is None:
            found = function(*given, **named)
            self._keep(key, found if isinstance(found, tuple) else (found,))
            return found
        self._kept.move_to_end(key)
        self.found += 1
        copies = tuple(array.copy() for array in kept)
        return copies if len(copies) > 1 else copies[0]

    def _key(self, function: Callable[..., Any], given: list[Any], named: Mapping[str, Any]) -> Any:
        parts: list[Any] = []
        for value in (*given, *named.values()):
            if value.__class__ is np.ndarray:
                place = (_place(value), len(value))
                if place not in self._known or value.ndim != 1 or not value.flags.c_contiguous:
                    return None
                parts.append(place)
            elif value.__class__ in (int, float, str, bool):
                parts.append(value)
            else:
                return None
        return function, len(given), tuple(named), tuple(parts)

    def _keep(self, key: Any, found: tuple[Any, ...]) -> None:
        size = sum(array.nbytes for array in found if isinstance(array, np.ndarray))
        if size > _LONGEST_BYTES or not all(array.__class__ is np.ndarray for array in found):
            return
        self._kept[key] = tuple(array.copy() for array in found)
        self._bytes += size
        while self._bytes > LARGEST_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= sum(array.nbytes for array in oldest)


def _place(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
