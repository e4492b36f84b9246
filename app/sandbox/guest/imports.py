"""What a strategy may import. Not a boundary, that is the kernel's business: this gives honest authors a sentence instead of an errno."""

import builtins
import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Top-level modules; all of them are imported before the lock, so that nothing needs the file system afterwards.
ALLOWED: Final = (
    "__future__", "abc", "aristobot", "array", "bisect", "cmath", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "heapq", "itertools", "json", "logging", "math", "numbers", "numpy", "operator", "pandas_ta",
    "random", "re", "statistics", "string", "talib", "textwrap", "time", "typing", "warnings",
)  # fmt: skip
#: Submodules that are imported lazily or by name.
SUBMODULES: Final = (
    "collections.abc", "numpy.fft", "numpy.lib.stride_tricks", "numpy.linalg", "numpy.ma", "numpy.polynomial",
    "numpy.polynomial.polynomial", "numpy.random", "numpy.typing", "talib.abstract", "talib.stream",
)  # fmt: skip
_HINTS: Final = {
    "pandas": "columns are numpy arrays here, and ta has the indicators",
    "requests": "a strategy has no network: it decides on candles alone",
    "ccxt": "a strategy returns decisions; the platform sends the orders",
    "os": "a strategy has no file system and no processes",
    "sys": "a strategy has no need of it",
}


def names_allowed() -> str:
    """Return the list for a message."""
    return ", ".join(name for name in ALLOWED if not name.startswith("_"))


def is_allowed(name: str) -> bool:
    """Return whether a strategy may import a module."""
    return name.partition(".")[0] in ALLOWED


def refusal(name: str) -> str:
    """Return the sentence for a module that may not be imported."""
    top = name.partition(".")[0]
    near = difflib.get_close_matches(top, ALLOWED, n=1, cutoff=0.8)
    hint = _HINTS.get(top) or (f"did you mean {near[0]}?" if near else f"you may import {names_allowed()}")
    return f"a strategy cannot import {name}: {hint}"


def preload() -> None:
    """Import all that may be imported, and what those import lazily."""
    for name in (*ALLOWED, *SUBMODULES):
        if name not in ("aristobot", "pandas_ta"):  # ours, registered by name
            importlib.import_module(name)


def import_for_strategy(
    name: str,
    globals_: Mapping[str, object] | None = None,
    locals_: Mapping[str, object] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> Any:
    """Stand in for `__import__` in a strategy.

    Raises:
        ImportError: the module is not on the list.
    """
    if level:
        raise ImportError("a strategy is one file: there is nothing to import relatively")
    if not is_allowed(name):
        raise ImportError(refusal(name), name=name)
    return builtins.__import__(name, globals_, locals_, fromlist, level)


def builtins_for_strategy() -> dict[str, Any]:
    """Return the builtins of a strategy's module: Python's, but for importing."""
    return {**vars(builtins), "__import__": import_for_strategy}
