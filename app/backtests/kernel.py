"""The compiled loop of backtests: what `domain.simulation` says, at a hundred million candles a second.

Stretches in which nothing can happen, as there is no position or its levels are not reached, are passed over in loops of a few
instructions; all else goes through `kernel_account`, one candle at a time.
"""

from typing import Any, cast

import numba
import numpy as np

from app.backtests.kernel_account import act, leave, most, move_levels, nearest_stop, open_position, settle, take
from app.backtests.kernel_state import (
    ACCOUNT,
    ADJUST,
    COSTS,
    FILL,
    MOST_IN_A_CANDLE,
    NOBODY,
    SLOT,
    TRADE,
    Desk,
    F,
    compiled,
    fresh_account,
    on_tick,
)
from app.domain.arrays import DECIDED, EXIT, LONG, SHORT

__all__ = ["COSTS", "FILL", "TRADE", "fresh_account", "walk"]

_floats = numba.types.Array(numba.float64, 1, "C", readonly=True)
_numbers = numba.types.Array(numba.int64, 1, "C", readonly=True)
_bits = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_columns = numba.types.UniTuple(_floats, len(DECIDED))  # type: ignore[no-untyped-call]
_SIGNATURE = numba.int64(
    *[_floats] * 5, _numbers, *[_floats] * 4, _numbers, _numbers,
    _bits, _columns, _numbers,
    *[numba.from_dtype(dtype)[::1] for dtype in (COSTS, ACCOUNT, SLOT, FILL, TRADE)],
    numba.float64[::1], numba.float64[::1], numba.int64,
)  # fmt: skip


def _compiled_at_once(function: F) -> F:
    """Compile for the types that `engine` gives, or take what is kept of an earlier time."""
    return cast("F", numba.njit(_SIGNATURE, nogil=True, cache=True, error_model="numpy")(function))


@compiled
def see(desk: Desk, high: float, low: float) -> None:
    """Note what a position that is held through a candle has seen."""
    account = desk.account
    if account.quantity > 0:
        account.best = max(account.best, high)
        account.worst = min(account.worst, low)
    else:
        account.best = min(account.best, low)
        account.worst = max(account.worst, high)


@compiled
def at_open(desk: Desk, candle: int, available: float, open_: float, due: int) -> None:
    """Pay funding, then let the orders fill that wait for the open."""
    account = desk.account
    if due and account.quantity != 0:
        payment = account.quantity * open_ * (desk.costs.funding_rate * due)
        account.cash -= payment
        account.funding += payment
        account.trade_funding += payment
    pending = account.pending
    account.pending = NOBODY
    if account.leaving != NOBODY:
        leave(desk, candle, available, open_, account.leaving)
    elif pending != NOBODY:
        act(desk, candle, available, open_, pending)


@compiled
def inside_long(desk: Desk, candle: int, available: float, open_: float, high: float, low: float) -> None:
    """Let a range reach the levels of a long."""
    account = desk.account
    stop, reason = nearest_stop(desk)
    if open_ <= stop:
        leave(desk, candle, available, open_, reason)
        return
    if open_ > account.target:
        take(desk, candle, available, open_, open_)
    if account.quantity != 0 and low <= stop:
        leave(desk, candle, available, stop, reason)
        return
    if high > account.target:
        take(desk, candle, available, high, np.nan)
    if account.quantity != 0:
        see(desk, high, low)


@compiled
def inside_short(desk: Desk, candle: int, available: float, open_: float, high: float, low: float) -> None:
    """Let a range reach the levels of a short."""
    account = desk.account
    stop, reason = nearest_stop(desk)
    if open_ >= stop:
        leave(desk, candle, available, open_, reason)
        return
    if open_ < account.target:
        take(desk, candle, available, open_, open_)
    if account.quantity != 0 and high >= stop:
        leave(desk, candle, available, stop, reason)
        return
    if low < account.target:
        take(desk, candle, available, low, np.nan)
    if account.quantity != 0:
        see(desk, high, low)


@compiled
def reach_resting(desk: Desk, candle: int, available: float, high: float, low: float, close: float) -> None:
    """Fill an entry that rests where the price trades through it, and let happen what must have come later in the same range."""
    account, limit, side = desk.account, desk.account.resting, desk.account.resting_side
    worse = low if side > 0 else high
    if side * (limit - worse) <= 0:
        return
    account.resting = np.nan
    open_position(desk, candle, available, side, limit, limit, desk.costs.maker_fee)
    if account.quantity == 0:
        return
    stop, reason = nearest_stop(desk)
    if side * (stop - worse) >= 0:
        leave(desk, candle, available, min(stop, limit) if side > 0 else max(stop, limit), reason)
        return
    take(desk, candle, available, close, np.nan)
    if account.quantity > 0:
        see(desk, close, low)
    elif account.quantity < 0:
        see(desk, high, close)


@compiled
def in_range(desk: Desk, candle: int, available: float, open_: float, high: float, low: float, close: float) -> None:
    """Let prices go through a range."""
    account = desk.account
    if account.quantity != 0:
        if account.leaving != NOBODY:
            see(desk, high, low)
        elif account.quantity > 0:
            inside_long(desk, candle, available, open_, high, low)
        else:
            inside_short(desk, candle, available, open_, high, low)
    elif account.resting == account.resting:
        reach_resting(desk, candle, available, high, low, close)


@compiled
def at_close(desk: Desk) -> None:
    """Forget an entry that rested and was not reached."""
    account = desk.account
    if account.resting == account.resting:
        account.resting = np.nan
        account.missed += 1


@compiled
def decide(desk: Desk, columns: Any, strides: Any, row: int, flags: int) -> None:
    """Take in what was decided at the close of a candle: its flags, and a bit more where something moves without them."""
    account = desk.account
    if account.leaving != NOBODY or (account.quantity == 0 and not flags & (LONG | SHORT)):
        return
    for place in range(len(desk.wish)):
        desk.wish[place] = columns[place][row * strides[place]]
    if account.quantity == 0:
        account.pending = flags
        return
    move_levels(desk)
    adjust = desk.wish[ADJUST]
    if flags & EXIT or (adjust == adjust and adjust != 0):
        account.pending = flags


@compiled
def pass_while_flat(desk: Desk, acts: Any, equity: Any, row: int) -> int:
    """Go to the next candle at which an entry is decided."""
    cash, rows = desk.account.cash, len(acts)
    while row < rows and not acts[row] & (LONG | SHORT):
        equity[row] = cash
        row += 1
    return row


@compiled
def pass_while_long(desk: Desk, acts: Any, equity: Any, open_: Any, high: Any, low: Any, close: Any, dues: Any, row: int) -> int:
    """Go to the next candle in which anything may happen to a long."""
    account, tick = desk.account, desk.costs.tick
    stop, _ = nearest_stop(desk)
    floor = stop if stop == stop else -np.inf
    target = account.target if account.target == account.target else np.inf
    cash, quantity, best, worst, trailing = account.cash, account.quantity, account.best, account.worst, account.trailing
    begin, rows = row, len(acts)
    while row < rows and acts[row] == 0 and dues[row] == 0:
        if low[row] <= floor or high[row] > target or open_[row] <= floor or open_[row] > target:
            break
        worst = min(worst, low[row])
        if high[row] > best:
            best = high[row]
            if trailing == trailing:
                floor = max(floor, on_tick(best * (1 - trailing), tick, False))  # as in on_tick
        equity[row] = cash + quantity * close[row]
        row += 1
    account.best, account.worst = best, worst
    account.held += row - begin
    return row


@compiled
def pass_while_short(desk: Desk, acts: Any, equity: Any, open_: Any, high: Any, low: Any, close: Any, dues: Any, row: int) -> int:
    """Go to the next candle in which anything may happen to a short."""
    account, tick = desk.account, desk.costs.tick
    ceiling, _ = nearest_stop(desk)
    target = account.target if account.target == account.target else -np.inf
    cash, quantity, best, worst, trailing = account.cash, account.quantity, account.best, account.worst, account.trailing
    begin, rows = row, len(acts)
    while row < rows and acts[row] == 0 and dues[row] == 0:
        if high[row] >= ceiling or low[row] < target or open_[row] >= ceiling or open_[row] < target:
            break
        worst = max(worst, high[row])
        if low[row] < best:
            best = low[row]
            if trailing == trailing:
                ceiling = min(ceiling, on_tick(best * (1 + trailing), tick, True))  # as in on_tick
        equity[row] = cash + quantity * close[row]
        row += 1
    account.best, account.worst = best, worst
    account.held += row - begin
    return row


@compiled
def pass_quietly(
    desk: Desk,
    acts: Any,
    equity: Any,
    open_: Any,
    high: Any,
    low: Any,
    close: Any,
    dues: Any,
    row: int,
    is_detailed: bool,  # noqa: FBT001
) -> int:
    """Go to the next candle in which anything may happen; `row` itself where that is now."""
    account = desk.account
    if account.pending != NOBODY or account.leaving != NOBODY:
        return row
    if account.quantity == 0:
        return pass_while_flat(desk, acts, equity, row)
    if is_detailed:
        return row
    if account.quantity > 0:
        return pass_while_long(desk, acts, equity, open_, high, low, close, dues, row)
    return pass_while_short(desk, acts, equity, open_, high, low, close, dues, row)


@_compiled_at_once
def walk(
    open_: Any, high: Any, low: Any, close: Any, volume: Any, dues: Any,
    minute_open: Any, minute_high: Any, minute_low: Any, minute_close: Any, first: Any, end: Any,
    acts: Any, columns: Any, strides: Any, costs: Any, account: Any, slots: Any, fills: Any, trades: Any, equity: Any, wish: Any, row: int,
) -> int:  # fmt: skip
    """Walk from a row on to the end, or until there is no room for further fills; return the row that is next.

    Of the shorter candles, those of candle `row` are rows `first[row]` to `end[row]`; without any both are empty. `columns` are those of
    the decisions, with a stride of 0 for one that is the same in each row, and `acts` their flags, with one more bit at rows that move
    something without them. The rest is as `Desk` has it.
    """
    desk = Desk(costs[0], account[0], slots, fills, trades, wish)
    book, is_detailed = account[0], len(first) > 0
    while True:
        row = pass_quietly(desk, acts, equity, open_, high, low, close, dues, row, is_detailed)
        if row >= len(acts) or book.fills + MOST_IN_A_CANDLE > len(fills):
            break
        if book.quantity != 0 or book.pending != NOBODY:
            available = most(desk, volume[row])
            at_open(desk, row, available, open_[row], dues[row])
            if is_detailed and first[row] < end[row]:
                for place in range(first[row], end[row]):
                    in_range(desk, row, available, minute_open[place], minute_high[place], minute_low[place], minute_close[place])
            else:
                in_range(desk, row, available, open_[row], high[row], low[row], close[row])
            at_close(desk)
        if acts[row]:
            decide(desk, columns, strides, row, acts[row])
        equity[row] = book.cash
        if book.quantity != 0:
            book.held += 1
            equity[row] = book.cash + book.quantity * close[row]
        row += 1
    if row >= len(acts) and book.quantity != 0:
        book.trade_left += abs(book.quantity) * close[row - 1]
        settle(desk, row - 1, NOBODY, book.worst, book.best)
    return row
