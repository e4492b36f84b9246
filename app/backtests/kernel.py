"""The compiled loop of backtests: what `domain.simulation` says, at a hundred million candles a second.

Stretches in which nothing can happen, as there is no position or its levels are not reached, are passed over in loops of a few
instructions; all else goes through `kernel_account`, one candle at a time.
"""

from typing import Any

import numba
import numpy as np

from app.backtests.kernel_account import act, leave, most, move_levels, nearest_stop, open_position, settle, take
from app.backtests.kernel_guards import armed_floor, begin, highest_floor, look_at, next_look
from app.backtests.kernel_records import ACCOUNT, ADJUST, COSTS, FILL, GUARDS, MOST_IN_A_CANDLE, MOST_TRIPS, NOBODY, RULE, SLOT, TRADE, TRIP
from app.backtests.kernel_state import Desk, compiled, on_tick
from app.domain.account import TARGETS
from app.domain.arrays import DECIDED, EXIT, LONG, SHORT

# Not all of numba says what it exports.
types: Any = numba.types
carray: Any = vars(numba)["carray"]
from_dtype: Any = vars(numba)["from_dtype"]


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
    if desk.guards.is_on:
        look_at(desk, candle, account.cash + account.quantity * (low if account.quantity > 0 else high))


@compiled
def at_close(desk: Desk, close: float) -> None:
    """Forget an entry that rested and was not reached, and note the highest equity."""
    account, guards = desk.account, desk.guards
    if account.resting == account.resting:
        account.resting = np.nan
        account.missed += 1
    if guards.is_on:
        guards.peak = max(guards.peak, account.cash + account.quantity * close)


@compiled
def is_full(desk: Desk) -> bool:
    """Whether one more candle might bring more fills or trips than there is room for."""
    return bool(
        desk.account.fills + MOST_IN_A_CANDLE > len(desk.fills) or (desk.guards.is_on and desk.guards.trips + MOST_TRIPS > len(desk.trips))
    )


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
    move_levels(desk, row + 1)
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
def pass_while_guarded(desk: Desk, acts: Any, equity: Any, open_: Any, high: Any, low: Any, close: Any, dues: Any, row: int) -> int:
    """Go to the next candle in which anything may happen to a position with safeguards; passing one too few is no harm."""
    account, guards, tick = desk.account, desk.guards, desk.costs.tick
    side = 1.0 if account.quantity > 0 else -1.0
    stop, _ = nearest_stop(desk)
    # Prices times side, so that worse is lower for a short as well.
    level = side * stop if stop == stop else -np.inf
    target = side * account.target if account.target == account.target else np.inf
    cash, quantity, best, worst, trailing = account.cash, account.quantity, account.best, account.worst, account.trailing
    floor, until, begin_row, rows = armed_floor(desk), next_look(desk), row, len(acts)
    while row < rows and acts[row] == 0 and dues[row] == 0 and desk.times[row] < until:
        bad, good = (low[row], high[row]) if side > 0 else (high[row], low[row])
        is_reached = side * bad <= level or side * good > target or side * open_[row] <= level or side * open_[row] > target
        if is_reached or cash + quantity * bad <= floor:
            break
        worst = side * min(side * worst, side * bad)
        if side * good > side * best:
            best = good
            if trailing == trailing:
                level = max(level, side * on_tick(best * (1 - side * trailing), tick, side < 0))
        value = cash + quantity * close[row]
        equity[row] = value
        if value > guards.peak:
            guards.peak = value
            floor, (at, _) = armed_floor(desk), highest_floor(desk)
            if at == at:
                level = max(level, side * ((at - cash) / quantity))
        row += 1
    account.best, account.worst = best, worst
    account.held += row - begin_row
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
    if desk.guards.is_on:
        return pass_while_guarded(desk, acts, equity, open_, high, low, close, dues, row)
    if account.quantity > 0:
        return pass_while_long(desk, acts, equity, open_, high, low, close, dues, row)
    return pass_while_short(desk, acts, equity, open_, high, low, close, dues, row)


@compiled
def walk(
    open_: Any, high: Any, low: Any, close: Any, volume: Any, dues: Any,
    minute_open: Any, minute_high: Any, minute_low: Any, minute_close: Any, first: Any, end: Any,
    acts: Any, columns: Any, strides: Any, desk: Desk, equity: Any, row: int,
) -> int:  # fmt: skip
    """Walk from a row on to the end, or until there is no room for further fills; return the row that is next.

    Of the shorter candles, those of candle `row` are rows `first[row]` to `end[row]`; without any both are empty. `columns` are those of
    the decisions, with a stride of 0 for one that is the same in each row, and `acts` their flags, with one more bit at rows that move
    something without them.
    """
    book, is_detailed = desk.account, len(first) > 0
    while True:
        row = pass_quietly(desk, acts, equity, open_, high, low, close, dues, row, is_detailed)
        if row >= len(acts) or is_full(desk):
            break
        if book.quantity != 0 or book.pending != NOBODY:
            begin(desk, row, close[row - 1])
            available = most(desk, volume[row])
            at_open(desk, row, available, open_[row], dues[row])
            if is_detailed and first[row] < end[row]:
                for place in range(first[row], end[row]):
                    in_range(desk, row, available, minute_open[place], minute_high[place], minute_low[place], minute_close[place])
            else:
                in_range(desk, row, available, open_[row], high[row], low[row], close[row])
            at_close(desk, close[row])
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


def walk_from_outside(
    prices: Any, minutes: Any, columns: Any, numbers: Any, acts: Any, costs: Any, account: Any, slots: Any, fills: Any, trades: Any,
    guards: Any, rules: Any, trips: Any, lengths: Any,
) -> int:  # fmt: skip
    """Take memory as another language gives it, and walk; return the row that is next.

    Args:
        prices: Addresses of open, high, low, close, volume, the equity to be written, and room for one decision.
        minutes: Addresses of open, high, low and close of the shorter candles.
        columns: Addresses of the columns of decisions, in the order of `DECIDED`.
        numbers: Addresses of the fundings due, the first and the end of each candle's shorter ones, the strides of the columns, and the
            open times of candles.
        acts: Flags of the decisions.
        costs: One record, as `account`; three `slots`; `fills` and `trades` as many as there is room for.
        account: See there.
        slots: See there.
        fills: See there.
        trades: See there.
        guards: One record; `rules` as many as trip; `trips` as many as there is room for.
        rules: See there.
        trips: See there.
        lengths: Candles, shorter candles, candles that have such, room for fills, room for trades, the row to begin with, room for trips.
    """
    rows, inside, days = lengths[0], lengths[1], lengths[2]
    fills_, trades_ = carray(fills, lengths[3]), carray(trades, lengths[4])
    wish = carray(prices[6], len(DECIDED))
    desk = Desk(
        carray(costs, 1)[0], carray(account, 1)[0], carray(slots, TARGETS), fills_, trades_, wish,
        carray(guards, 1)[0], carray(rules, MOST_TRIPS), carray(trips, lengths[6]), carray(numbers[4], rows),
    )  # fmt: skip
    return walk(
        carray(prices[0], rows), carray(prices[1], rows), carray(prices[2], rows), carray(prices[3], rows),
        carray(prices[4], rows), carray(numbers[0], rows),
        carray(minutes[0], inside), carray(minutes[1], inside), carray(minutes[2], inside),
        carray(minutes[3], inside), carray(numbers[1], days), carray(numbers[2], days),
        carray(acts, rows), columns, carray(numbers[3], len(DECIDED)), desk, carray(prices[5], rows), lengths[5],
    )  # fmt: skip


def object_code() -> tuple[str, bytes]:
    """Compile for this processor; return the name of `walk_from_outside` as a function of C, and the code as an object file."""
    pointer = types.CPointer
    floats, numbers = pointer(pointer(numba.float64)), pointer(pointer(numba.int64))
    records = [pointer(from_dtype(dtype)) for dtype in (COSTS, ACCOUNT, SLOT, FILL, TRADE, GUARDS, RULE, TRIP)]
    signature = numba.int64(floats, floats, floats, numbers, pointer(numba.uint8), *records, pointer(numba.int64))
    built: Any = numba.cfunc(signature, error_model="numpy")(walk_from_outside)
    # numba hands out the address alone; what its own cache writes to disk is this.
    return built._wrapper_name, built._library._get_compiled_object()
