"""The compiled loop of backtests: what `domain.simulation` says, at a hundred million candles a second.

Stretches in which nothing can happen, as there is no position or its levels are not reached, are passed over in loops of a few
instructions; all else goes through `kernel_account`, one candle at a time.
"""

from typing import Any, cast

import numba
import numpy as np

from app.backtests.kernel_account import act, leave, move_levels, nearest_stop, open_position, read_wish, settle, take
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
    Market,
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
def at_open(market: Market, desk: Desk, columns: Any, strides: Any, acts: Any, row: int) -> None:
    """Pay funding, then let the orders fill that wait for the open."""
    account, open_ = desk.account, market.open[row]
    if desk.costs.funding_rate != 0 and account.quantity != 0:
        payment = account.quantity * open_ * (desk.costs.funding_rate * market.dues[row])
        account.cash -= payment
        account.funding += payment
        account.trade_funding += payment
    pending = account.pending
    account.pending = NOBODY
    if account.leaving != NOBODY:
        leave(market, desk, row, open_, account.leaving)
    elif pending != NOBODY:
        read_wish(columns, strides, pending, desk.wish)
        act(market, desk, row, open_, acts[pending], pending)


@compiled
def inside_long(market: Market, desk: Desk, candle: int, open_: float, high: float, low: float) -> None:
    """Let a range reach the levels of a long."""
    account = desk.account
    stop, reason = nearest_stop(desk)
    if open_ <= stop:
        leave(market, desk, candle, open_, reason)
        return
    if open_ > account.target:
        take(market, desk, candle, open_, open_)
    if account.quantity != 0 and low <= stop:
        leave(market, desk, candle, stop, reason)
        return
    if high > account.target:
        take(market, desk, candle, high, np.nan)
    if account.quantity != 0:
        see(desk, high, low)


@compiled
def inside_short(market: Market, desk: Desk, candle: int, open_: float, high: float, low: float) -> None:
    """Let a range reach the levels of a short."""
    account = desk.account
    stop, reason = nearest_stop(desk)
    if open_ >= stop:
        leave(market, desk, candle, open_, reason)
        return
    if open_ < account.target:
        take(market, desk, candle, open_, open_)
    if account.quantity != 0 and high >= stop:
        leave(market, desk, candle, stop, reason)
        return
    if low < account.target:
        take(market, desk, candle, low, np.nan)
    if account.quantity != 0:
        see(desk, high, low)


@compiled
def reach_resting(
    market: Market, desk: Desk, columns: Any, strides: Any, acts: Any, candle: int, high: float, low: float, close: float
) -> None:
    """Fill an entry that rests where the price trades through it, and let happen what must have come later in the same range."""
    account, limit, row = desk.account, desk.account.resting, desk.account.resting_row
    side = 1 if acts[row] & LONG else -1
    worse = low if side > 0 else high
    if side * (limit - worse) <= 0:
        return
    account.resting = np.nan
    read_wish(columns, strides, row, desk.wish)
    open_position(market, desk, candle, side, limit, limit, desk.costs.maker_fee)
    if account.quantity == 0:
        return
    stop, reason = nearest_stop(desk)
    if side * (stop - worse) >= 0:
        leave(market, desk, candle, min(stop, limit) if side > 0 else max(stop, limit), reason)
        return
    take(market, desk, candle, close, np.nan)
    if account.quantity > 0:
        see(desk, close, low)
    elif account.quantity < 0:
        see(desk, high, close)


@compiled
def in_range(
    market: Market, desk: Desk, columns: Any, strides: Any, acts: Any, candle: int, open_: float, high: float, low: float, close: float
) -> None:
    """Let prices go through a range."""
    account = desk.account
    if account.quantity != 0:
        if account.leaving != NOBODY:
            see(desk, high, low)
        elif account.quantity > 0:
            inside_long(market, desk, candle, open_, high, low)
        else:
            inside_short(market, desk, candle, open_, high, low)
    elif account.resting == account.resting:
        reach_resting(market, desk, columns, strides, acts, candle, high, low, close)


@compiled
def step(market: Market, desk: Desk, columns: Any, strides: Any, acts: Any, row: int) -> None:
    """Let one candle happen."""
    account = desk.account
    at_open(market, desk, columns, strides, acts, row)
    if len(market.first) and market.first[row] < market.end[row]:
        for place in range(market.first[row], market.end[row]):
            in_range(
                market, desk, columns, strides, acts, row,
                market.minute_open[place], market.minute_high[place], market.minute_low[place], market.minute_close[place],
            )  # fmt: skip
    else:
        in_range(market, desk, columns, strides, acts, row, market.open[row], market.high[row], market.low[row], market.close[row])
    if account.resting == account.resting:
        account.resting = np.nan
        account.missed += 1


@compiled
def decide(desk: Desk, columns: Any, strides: Any, acts: Any, row: int) -> None:
    """Take in what was decided at the close of a candle."""
    account, bits = desk.account, acts[row]
    if account.quantity == 0:
        if bits & (LONG | SHORT):
            account.pending = row
    elif bits and account.leaving == NOBODY:
        read_wish(columns, strides, row, desk.wish)
        move_levels(desk)
        adjust = desk.wish[ADJUST]
        if bits & EXIT or (adjust == adjust and adjust != 0):
            account.pending = row


@compiled
def pass_while_flat(account: Any, acts: Any, equity: Any, row: int) -> int:
    """Go to the next entry that is decided, and take it in."""
    cash, rows = account.cash, len(acts)
    while row < rows and not acts[row] & (LONG | SHORT):
        equity[row] = cash
        row += 1
    if row < rows:
        equity[row] = cash
        account.pending = row
        row += 1
    return row


@compiled
def pass_while_long(market: Market, desk: Desk, acts: Any, equity: Any, row: int) -> int:
    """Go to the next candle in which anything may happen to a long."""
    account, tick = desk.account, desk.costs.tick
    stop, _ = nearest_stop(desk)
    floor = stop if stop == stop else -np.inf
    target = account.target if account.target == account.target else np.inf
    cash, quantity, best, worst, trailing = account.cash, account.quantity, account.best, account.worst, account.trailing
    pays = desk.costs.funding_rate != 0
    begin, rows = row, len(acts)
    while row < rows and acts[row] == 0 and not (pays and market.dues[row]):
        open_, high, low = market.open[row], market.high[row], market.low[row]
        if low <= floor or high > target or open_ <= floor or open_ > target:
            break
        if low < worst:
            worst = low
        if high > best:
            best = high
            if trailing == trailing:
                floor = max(floor, on_tick(best * (1 - trailing), tick, False))  # as in on_tick
        equity[row] = cash + quantity * market.close[row]
        row += 1
    account.best, account.worst = best, worst
    account.held += row - begin
    return row


@compiled
def pass_while_short(market: Market, desk: Desk, acts: Any, equity: Any, row: int) -> int:
    """Go to the next candle in which anything may happen to a short."""
    account, tick = desk.account, desk.costs.tick
    ceiling, _ = nearest_stop(desk)
    target = account.target if account.target == account.target else -np.inf
    cash, quantity, best, worst, trailing = account.cash, account.quantity, account.best, account.worst, account.trailing
    pays = desk.costs.funding_rate != 0
    begin, rows = row, len(acts)
    while row < rows and acts[row] == 0 and not (pays and market.dues[row]):
        open_, high, low = market.open[row], market.high[row], market.low[row]
        if high >= ceiling or low < target or open_ >= ceiling or open_ < target:
            break
        if high > worst:
            worst = high
        if low < best:
            best = low
            if trailing == trailing:
                ceiling = min(ceiling, on_tick(best * (1 + trailing), tick, True))  # as in on_tick
        equity[row] = cash + quantity * market.close[row]
        row += 1
    account.best, account.worst = best, worst
    account.held += row - begin
    return row


@compiled
def pass_quietly(market: Market, desk: Desk, acts: Any, equity: Any, row: int) -> int:
    """Go to the next candle in which anything may happen; `row` itself where that is now."""
    account = desk.account
    if account.pending != NOBODY:
        return row
    if account.quantity == 0:
        return pass_while_flat(account, acts, equity, row)
    if account.leaving != NOBODY or len(market.first):
        return row
    if account.quantity > 0:
        return pass_while_long(market, desk, acts, equity, row)
    return pass_while_short(market, desk, acts, equity, row)


@_compiled_at_once
def walk(
    open_: Any, high: Any, low: Any, close: Any, volume: Any, dues: Any,
    minute_open: Any, minute_high: Any, minute_low: Any, minute_close: Any, first: Any, end: Any,
    acts: Any, columns: Any, strides: Any, costs: Any, account: Any, slots: Any, fills: Any, trades: Any, equity: Any, wish: Any, row: int,
) -> int:  # fmt: skip
    """Walk from a row on to the end, or until there is no room for further fills; return the row that is next.

    Args: as `Market` and `Desk` have them; `columns` are those of the decisions, with a stride of 0 for one that is the same in each row,
    and `acts` their flags, with an eighth bit at rows that move something without them.
    """
    market = Market(open_, high, low, close, volume, dues, minute_open, minute_high, minute_low, minute_close, first, end)
    desk = Desk(costs[0], account[0], slots, fills, trades, wish)
    book = account[0]
    while row < len(acts):
        after = pass_quietly(market, desk, acts, equity, row)
        if after > row:
            row = after
            continue
        if book.fills + MOST_IN_A_CANDLE > len(fills):
            return row
        step(market, desk, columns, strides, acts, row)
        decide(desk, columns, strides, acts, row)
        if book.quantity != 0:
            book.held += 1
        equity[row] = book.cash + book.quantity * close[row]
        row += 1
    if book.quantity != 0:
        book.trade_left += abs(book.quantity) * close[row - 1]
        settle(desk, row - 1, NOBODY, book.worst, book.best)
    return row
