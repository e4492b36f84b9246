"""How functions of the loop are compiled, and what they pass to each other.

Importing this module imports numba, which only the process does that compiles: it takes a second and a hundred megabytes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from app.domain.grid import GRID_TOLERANCE, SAME_UNIT

F = TypeVar("F", bound=Callable[..., Any])


class Desk(NamedTuple):
    """The account with all that is written down of it; `wish` is the row of decisions that was read last, `times` those of candles."""

    costs: Any
    account: Any
    slots: Any
    fills: Any
    trades: Any
    wish: Any
    guards: Any
    rules: Any
    trips: Any
    times: Any


def compiled(function: F) -> F:
    """Compile a function that compiled functions call.

    It allocates nothing, so that nobody need count who holds which array: counting would take five times as long as all else.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    return cast("F", numba.njit(**options)(function))


@compiled
def in_units(count: float, unit: float) -> float:
    """As `domain.grid.in_units`."""
    a_whole = np.rint(1 / unit)
    return float(count / a_whole if abs(a_whole * unit - 1) <= SAME_UNIT else count * unit)


@compiled
def on_tick(price: float, tick: float, up: bool) -> float:  # noqa: FBT001  # numba knows no keywords worth having
    """As `domain.grid.on_tick`."""
    if tick <= 0:
        return price
    return in_units(np.ceil(price / tick - GRID_TOLERANCE) if up else np.floor(price / tick + GRID_TOLERANCE), tick)


@compiled
def floored(quantity: float, step: float) -> float:
    """As `domain.grid.floored`."""
    if step <= 0 or quantity == np.inf:
        return quantity
    return in_units(np.floor(quantity / step + GRID_TOLERANCE), step)
