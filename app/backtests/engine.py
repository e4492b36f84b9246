"""The engine of backtests: candles and decisions in, trades and equity out. The rules are in `domain.simulation`.

This module prepares columns for the compiled loop and is cheap to import; the loop comes with the first run. A run belongs in a process of
the pool.
"""

import ctypes
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.backtests.compiled import kernel
from app.backtests.kernel_records import COSTS, FILL, MOST_TRIPS, TRADE, TRIP, fresh_account, fresh_guards
from app.domain.arrays import DECIDED, MOVING, Candles, Decisions, Floats, is_repeated
from app.domain.grid import dues, minutes_within
from app.domain.outcome import FillColumns, Outcome, TradeColumns
from app.domain.simulation import SimulatedTrip, SimulationCosts
from app.errors import BeyondNumbers

#: Changes when the same input may give other trades.
ENGINE_VERSION: Final = "1"
_FEW_FILLS: Final = 4_096
#: Quote units beyond which figures of an account would be infinite, or none.
_MOST: Final = 1e100
_NO_FLOATS: Final[Floats] = np.empty(0)
_NO_NUMBERS: Final[NDArray[np.int64]] = np.empty(0, dtype=np.int64)


def run(candles: Candles, decisions: Decisions, costs: SimulationCosts, start: int = 0, *, detail: Candles | None = None) -> Outcome:
    """Walk through candles with decisions that are already made.

    Args:
        candles: Of the market that is traded.
        decisions: As many rows as there are candles.
        costs: Of the account.
        start: Row of the first decision that counts.
        detail: Shorter candles of the same market, usually of one minute, from which is read what came first inside a candle.

    Raises:
        ValueError: decisions and candles differ in length.
        BeyondNumbers: the account grew so large that there are no figures of it.
    """
    rows = len(candles)
    if len(decisions) != rows:
        raise ValueError(f"there must be one decision a candle, was {len(decisions)} for {rows}")
    walk = kernel()
    equity, wish = np.empty(rows), np.empty(len(DECIDED))
    equity[:start] = costs.capital
    account, slots = fresh_account(costs.capital)
    guards, rules = fresh_guards(costs)
    paid = np.array([tuple(getattr(costs, name) for name in COSTS.names or ())], dtype=COSTS)
    market, minutes, inside = _market(candles, costs, detail)
    columns, strides = _columns(decisions)
    acts, times = _acts(decisions), np.ascontiguousarray(candles.time, dtype=np.int64)
    given = [_addresses(each) for each in ([*market[:5], equity, wish], minutes, columns, [market[5], *inside, strides, times])]
    fills, trades, trips = np.empty(0, dtype=FILL), np.empty(0, dtype=TRADE), np.empty(0, dtype=TRIP)
    row = start
    while row < rows:
        fills = _longer(fills, max(_FEW_FILLS, 4 * len(fills)))
        trades = _longer(trades, len(fills) // 2 + 1)
        trips = _longer(trips, 2 * len(trips) + MOST_TRIPS)
        lengths = np.array([rows, len(minutes[0]), len(inside[0]), len(fills), len(trades), row, len(trips)], dtype=np.int64)
        row = walk(*given, *(_address(each) for each in (acts, paid, account, slots, fills, trades, guards, rules, trips, lengths)))
    # A NaN is the largest of all and fails as well.
    if rows and not (equity.max() < _MOST and equity[-1] > -_MOST):
        raise BeyondNumbers
    return _outcome(account[0], guards[0], fills, trades, trips, equity)


def _address(array: NDArray[Any]) -> int:
    """Return where an array begins; whoever uses it keeps the array."""
    # Not `__array_interface__`, which describes the fields of records each time.
    return int(array.ctypes.data)


def _addresses(arrays: Iterable[NDArray[Any]]) -> Any:
    addresses = [_address(array) for array in arrays]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _market(
    candles: Candles, costs: SimulationCosts, detail: Candles | None
) -> tuple[list[NDArray[Any]], list[Floats], list[NDArray[np.int64]]]:
    """Return the columns of the candles with the fundings due, those of the shorter candles, and which of these are in each candle."""
    prices = [_floats(column) for column in (candles.open, candles.high, candles.low, candles.close, candles.volume)]
    moments = dues(candles.time) if costs.funding_rate and len(candles) else np.zeros(len(candles), dtype=np.int64)
    if detail is None:
        return [*prices, moments], [_NO_FLOATS] * 4, [_NO_NUMBERS] * 2
    minutes = [_floats(column) for column in (detail.open, detail.high, detail.low, detail.close)]
    return [*prices, moments], minutes, [np.ascontiguousarray(each, dtype=np.int64) for each in minutes_within(candles, detail)]


def _acts(decisions: Decisions) -> NDArray[np.uint8]:
    """Return the flags, with one more bit where something moves without them."""
    acts = np.ascontiguousarray(decisions.flags, dtype=np.uint8)
    for name in MOVING:
        column = getattr(decisions, name)
        if not is_repeated(column) or not np.isnan(column[:1]).all():
            acts = acts | np.left_shift(~np.isnan(column), 3, dtype=np.uint8)
    return acts


def _columns(decisions: Decisions) -> tuple[list[Floats], NDArray[np.int64]]:
    """Return the columns, those that are one value for all rows as this value, and the step from row to row of each."""
    columns = [getattr(decisions, name) for name in DECIDED]
    strides = np.array([0 if is_repeated(column) else 1 for column in columns], dtype=np.int64)
    return [_floats(column[:1] if is_repeated(column) else column) for column in columns], strides


def _floats(column: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(column, dtype=np.float64)


def _longer(table: NDArray[np.void], length: int) -> NDArray[np.void]:
    """Return a copy with more room."""
    longer = np.empty(length, dtype=table.dtype)
    longer[: len(table)] = table
    return longer


def _outcome(
    account: Any, guards: Any, fills: NDArray[np.void], trades: NDArray[np.void], trips: NDArray[np.void], equity: Floats
) -> Outcome:
    fills, trades = fills[: account["fills"]], trades[: account["trades"]]
    return Outcome(
        trades=TradeColumns(**{name: _column(trades, name) for name in TradeColumns.__slots__}),
        fills=FillColumns(**{name: _column(fills, name) for name in FillColumns.__slots__}),
        equity=equity,
        denied=int(account["denied"]),
        capped=int(account["capped"]),
        fees=float(account["fees"]),
        slippage=float(account["slippage"]),
        funding=float(account["funding"]),
        candles_held=int(account["held"]),
        missed=int(account["missed"]),
        refused=int(guards["refused"]),
        limited=int(guards["limited"]),
        trips=tuple(_trip(line) for line in trips[: guards["trips"]]),
    )


def _trip(line: Any) -> SimulatedTrip:
    return SimulatedTrip(
        candle=int(line["candle"]),
        rule=int(line["rule"]),
        flattens=bool(line["flattens"]),
        measured=float(line["measured"]),
        equity=float(line["equity"]),
        base=float(line["base"]),
    )


def _column(table: NDArray[np.void], name: str) -> NDArray[Any]:
    return table[name].astype(np.int8) if name in ("side", "reason") else table[name].copy()
