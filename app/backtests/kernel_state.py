"""What the compiled loop keeps and is given: records in memory, and how functions are compiled.

Importing this module imports numba, which no process may that serves requests: it takes half a second and a hundred megabytes.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from app.domain.account import TARGETS
from app.domain.arrays import DECIDED
from app.domain.grid import GRID_TOLERANCE, SAME_UNIT
from app.domain.outcome import REASONS
from app.domain.simulated import Reason

F = TypeVar("F", bound=Callable[..., Any])

#: Codes of reasons.
ENTRY: Final = REASONS.index(Reason.ENTRY)
ADD: Final = REASONS.index(Reason.ADD)
REDUCE: Final = REASONS.index(Reason.REDUCE)
EXITED: Final = REASONS.index(Reason.EXIT)
STOP: Final = REASONS.index(Reason.STOP)
TRAILING: Final = REASONS.index(Reason.TRAILING)
TARGET: Final = REASONS.index(Reason.TARGET)
LIQUIDATION: Final = REASONS.index(Reason.LIQUIDATION)
NOBODY: Final = -1

#: Places of the columns of a decision.
SIZE: Final = DECIDED.index("size")
STOP_AT: Final = DECIDED.index("stop")
TRAIL_BY: Final = DECIDED.index("trailing")
ADJUST: Final = DECIDED.index("adjust")
STOP_LOSS: Final = DECIDED.index("stop_loss")
LIMIT: Final = DECIDED.index("limit")
#: Of each of the targets: its price, its distance, its part.
TARGET_AT: Final = tuple(DECIDED.index(name) for name in ("target", "target_2", "target_3"))
PROFIT: Final = tuple(DECIDED.index(name) for name in ("take_profit", "take_profit_2", "take_profit_3"))
PART: Final = tuple(DECIDED.index(name) for name in ("part", "part_2", "part_3"))

#: A NaN in place of a price or a fraction means that there is none; `pending` are the flags of a decision that waits for the next open.
_FLOATS: Final = (
    "cash", "quantity", "best", "worst", "stop", "target", "trailing", "entered", "resting", "fees", "slippage", "funding",
    "trade_entered", "trade_left", "trade_fees", "trade_slippage", "trade_funding",
)  # fmt: skip
_NUMBERS: Final = (
    "side", "pending", "resting_side", "leaving", "entry_candle", "denied", "capped", "missed", "held", "fills", "trades",
)  # fmt: skip
ACCOUNT: Final = np.dtype([(name, np.float64) for name in _FLOATS] + [(name, np.int64) for name in _NUMBERS])
SLOT: Final = np.dtype([("price", np.float64), ("part", np.float64), ("owed", np.float64), ("cut_at", np.int64), ("is_done", np.int64)])
COSTS: Final = np.dtype(
    [(name, np.float64) for name in ("fee", "maker_fee", "slippage", "step", "tick", "least_notional", "volume_share", "funding_rate")]
)
FILL: Final = np.dtype(
    [(name, np.float64) for name in ("quantity", "price", "fee", "slippage")] + [(name, np.int64) for name in ("candle", "side", "reason")]
)
TRADE: Final = np.dtype(
    [(name, np.float64) for name in ("quantity", "entry_price", "exit_price", "fees", "slippage", "funding", "profit", "worst", "best")]
    + [(name, np.int64) for name in ("side", "entry_candle", "exit_candle", "reason")]
)
#: More fills than one candle can bring: an exit, an entry, targets at the open and later, and a stop.
MOST_IN_A_CANDLE: Final = 16


class Desk(NamedTuple):
    """The account with all that is written down of it; `wish` is the row of decisions that was read last."""

    costs: Any
    account: Any
    slots: Any
    fills: Any
    trades: Any
    wish: Any


def compiled(function: F) -> F:
    """Compile a function that compiled functions call.

    It allocates nothing, so that nobody need count who holds which array: counting would take five times as long as all else.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    return cast("F", numba.njit(**options)(function))


def fresh_account(capital: float) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return an account that holds nothing, and its slots for targets."""
    account = np.zeros(1, dtype=ACCOUNT)
    account["cash"] = capital
    for name in ("stop", "target", "trailing", "resting"):
        account[name] = np.nan
    for name in ("pending", "leaving", "entry_candle"):
        account[name] = NOBODY
    slots = np.zeros(TARGETS, dtype=SLOT)
    slots["price"] = slots["part"] = np.nan
    slots["cut_at"] = NOBODY
    return account, slots


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
