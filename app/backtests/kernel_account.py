"""The compiled form of `domain.account.Account`: the same sums in the same order, so that both come to the same fills bit by bit."""

import numpy as np

from app.backtests.kernel_guards import allowed, count, highest_floor, is_refused, trip_by_equity
from app.backtests.kernel_records import (
    ADD,
    ADJUST,
    ENTRY,
    EXITED,
    LIMIT,
    LIQUIDATION,
    NOBODY,
    PART,
    PROFIT,
    REDUCE,
    SAFEGUARD,
    SIZE,
    STOP,
    STOP_AT,
    STOP_LOSS,
    TARGET,
    TARGET_AT,
    TRAIL_BY,
    TRAILING,
)
from app.backtests.kernel_state import Desk, compiled, floored, on_tick
from app.domain.account import TARGETS
from app.domain.arrays import EXIT, LONG, SHORT
from app.domain.grid import GRID_TOLERANCE


@compiled
def forget(desk: Desk) -> None:
    """Be flat: nothing rests, follows or is owed."""
    account = desk.account
    account.stop = account.target = account.trailing = account.resting = np.nan
    account.entered = 0.0
    account.leaving = NOBODY
    for place in range(TARGETS):
        slot = desk.slots[place]
        slot.price = slot.part = np.nan
        slot.owed = 0.0
        slot.cut_at = slot.new_in = NOBODY
        slot.is_done = 0


@compiled
def settle(desk: Desk, candle: int, reason: int, worst: float, best: float) -> None:
    """Write down a trade that has ended, or that is marked at the end."""
    account, trade = desk.account, desk.trades[desk.account.trades]
    side, quantity = account.side, account.entered
    trade.side = side
    trade.entry_candle = account.entry_candle
    trade.exit_candle = candle
    trade.quantity = quantity
    trade.entry_price = account.trade_entered / quantity
    trade.exit_price = account.trade_left / quantity
    trade.fees = account.trade_fees
    trade.slippage = account.trade_slippage
    trade.funding = account.trade_funding
    trade.profit = side * (account.trade_left - account.trade_entered) - account.trade_fees - account.trade_funding
    trade.worst = min(side * (worst / trade.entry_price - 1), 0.0)
    trade.best = max(side * (best / trade.entry_price - 1), 0.0)
    trade.reason = reason
    account.trades += 1


@compiled
def fill(desk: Desk, candle: int, side: int, quantity: float, price: float, reference: float, reason: int, rate: float) -> None:
    """Execute a quantity at a price; a position that it ends is settled."""
    account = desk.account
    fee = quantity * price * rate
    slippage = side * (price - reference) * quantity
    account.cash -= side * quantity * price + fee
    account.fees += fee
    account.slippage += slippage
    line = desk.fills[account.fills]
    line.candle, line.side, line.reason = candle, side, reason
    line.quantity, line.price, line.fee, line.slippage = quantity, price, fee, slippage
    account.fills += 1
    held = account.quantity
    is_entering = held == 0 or (held > 0) == (side > 0)
    left = held + side * quantity
    if not is_entering and abs(left) <= quantity * GRID_TOLERANCE:
        left = 0.0
    account.quantity = left
    account.trade_fees += fee
    account.trade_slippage += slippage
    if is_entering:
        account.entered += quantity
        account.trade_entered += quantity * price
    else:
        account.trade_left += quantity * price
    if left == 0:
        if account.side > 0:
            settle(desk, candle, reason, min(account.worst, reference), max(account.best, reference))
        else:
            settle(desk, candle, reason, max(account.worst, reference), min(account.best, reference))
        forget(desk)
        if desk.guards.is_on:
            count(desk, candle, reason)


@compiled
def most(desk: Desk, volume: float) -> float:
    """Return what one order may take of a candle of this volume."""
    return floored(volume * desk.costs.volume_share, desk.costs.step) if desk.costs.volume_share != 0 else np.inf


@compiled
def market_price(desk: Desk, side: int, price: float) -> float:
    """Return what a market order pays where the price is so."""
    return on_tick(price * (1 + side * desk.costs.slippage), desk.costs.tick, side > 0)


@compiled
def leave(desk: Desk, candle: int, available: float, price: float, reason: int) -> None:
    """Leave the position with a market order, as far as there is volume."""
    account = desk.account
    if reason == SAFEGUARD and account.leaving == NOBODY:
        _, rule = highest_floor(desk)
        trip_by_equity(desk, rule, candle, account.cash + account.quantity * price)
    side = -1 if account.quantity > 0 else 1
    held = abs(account.quantity)
    quantity = min(held, available)
    if quantity < held:
        account.capped += account.leaving == NOBODY
        account.leaving = reason
    if quantity > 0:
        fill(desk, candle, side, quantity, market_price(desk, side, price), price, reason, desk.costs.fee)


@compiled
def put_levels_on_ticks(desk: Desk, side: int) -> None:
    """Put stop and targets on the tick against the trader, and find the nearest target."""
    account, tick = desk.account, desk.costs.tick
    if tick > 0:
        account.stop = on_tick(account.stop, tick, side < 0)
        for place in range(TARGETS):
            desk.slots[place].price = on_tick(desk.slots[place].price, tick, side > 0)
    find_nearest(desk)


@compiled
def find_nearest(desk: Desk) -> None:
    """Note the nearest of the targets."""
    account = desk.account
    nearest = np.nan
    for place in range(TARGETS):
        price = desk.slots[place].price
        if price == price and (nearest != nearest or (price < nearest if account.quantity > 0 else price > nearest)):
            nearest = price
    account.target = nearest


@compiled
def move_levels(desk: Desk, candle: int) -> None:
    """Move stop, targets and trailing stop to where the decision that was read says, from `candle` on."""
    account, wish = desk.account, desk.wish
    side = 1 if account.quantity > 0 else -1
    stop = wish[STOP_AT]
    if stop == stop and (account.stop != account.stop or side * (stop - account.stop) > 0):
        account.stop = stop
    for place in range(TARGETS):
        slot = desk.slots[place]
        target, part = wish[TARGET_AT[place]], wish[PART[place]]
        if target == target and not slot.is_done:
            target = on_tick(target, desk.costs.tick, side > 0)
            if target != slot.price:
                slot.new_in = candle
            slot.price = target
            if part == part:
                slot.part = part
    if wish[TRAIL_BY] == wish[TRAIL_BY]:
        account.trailing = wish[TRAIL_BY]
    put_levels_on_ticks(desk, side)


@compiled
def open_position(desk: Desk, candle: int, available: float, side: int, price: float, reference: float, rate: float) -> None:
    """Enter, with the size and the levels of the decision that was read."""
    account, wish, costs = desk.account, desk.wish, desk.costs
    budget = account.cash * (1.0 if wish[SIZE] != wish[SIZE] else min(wish[SIZE], 1.0))
    quantity = allowed(desk, floored(budget / (price * (1 + rate)), costs.step) if price > 0 else 0.0, price, 0.0)
    if min(quantity, available) <= 0 or min(quantity, available) * price < costs.least_notional:
        account.denied += 1
        return
    if available < quantity:
        account.capped += 1
        quantity = available
    account.side = side
    account.entry_candle = candle
    account.trade_entered = account.trade_left = account.trade_fees = account.trade_slippage = account.trade_funding = 0.0
    fill(desk, candle, side, quantity, price, reference, ENTRY, rate)
    account.best = account.worst = price
    account.trailing = wish[TRAIL_BY]
    account.stop = wish[STOP_AT]
    if wish[STOP_LOSS] == wish[STOP_LOSS]:
        from_entry = price * (1 - side * wish[STOP_LOSS])
        if account.stop != account.stop or side * (from_entry - account.stop) > 0:
            account.stop = from_entry
    for place in range(TARGETS):
        slot = desk.slots[place]
        target, profit = wish[TARGET_AT[place]], wish[PROFIT[place]]
        slot.price = price * (1 + side * profit) if target != target and profit == profit else target
        slot.part = wish[PART[place]]
        slot.new_in = candle
    put_levels_on_ticks(desk, side)


@compiled
def enter(desk: Desk, candle: int, available: float, open_: float, side: int) -> None:
    """Enter at the open, or rest with a limit."""
    account = desk.account
    if is_refused(desk, candle):
        desk.guards.refused += 1
        return
    price = market_price(desk, side, open_)
    limit = desk.wish[LIMIT]
    if limit != limit:
        open_position(desk, candle, available, side, price, open_, desk.costs.fee)
        return
    limit = on_tick(limit, desk.costs.tick, side < 0)
    if side * (limit - open_) >= 0:
        bounded = min(price, limit) if side > 0 else max(price, limit)
        open_position(desk, candle, available, side, bounded, open_, desk.costs.fee)
    else:
        account.resting = limit
        account.resting_side = side


@compiled
def adjust(desk: Desk, candle: int, available: float, open_: float) -> None:
    """Add to the position, or take some off."""
    account, costs = desk.account, desk.costs
    fraction = desk.wish[ADJUST]
    side = 1 if account.quantity > 0 else -1
    held = abs(account.quantity)
    if fraction <= -1:
        leave(desk, candle, available, open_, EXITED)
        return
    if fraction > 0 and desk.guards.has_tripped:
        desk.guards.refused += 1
        return
    if fraction < 0:
        price = market_price(desk, -side, open_)
        quantity = floored(held * -fraction, costs.step)
    else:
        price = market_price(desk, side, open_)
        room = (account.cash + account.quantity * price - held * price) / (price * (1 + costs.fee)) if price > 0 else 0.0
        quantity = allowed(desk, floored(min(held * fraction, room), costs.step), price, held)
    if min(quantity, available) <= held * GRID_TOLERANCE or min(quantity, available) * price < costs.least_notional:
        account.denied += 1
        return
    if available < quantity:
        account.capped += 1
        quantity = available
    if fraction > 0:
        fill(desk, candle, side, quantity, price, open_, ADD, costs.fee)
    else:
        fill(desk, candle, -side, quantity, price, open_, REDUCE, costs.fee)


@compiled
def act(desk: Desk, candle: int, available: float, open_: float, flags: int) -> None:
    """Do at the open what was decided at the close before, which was read."""
    account = desk.account
    if account.quantity != 0 and flags & EXIT:
        leave(desk, candle, available, open_, EXITED)
    elif account.quantity != 0:
        # An entry counts only while flat, or with EXIT: an adjustment that leaves the position turns nothing round.
        if desk.wish[ADJUST] == desk.wish[ADJUST] and desk.wish[ADJUST] != 0:
            adjust(desk, candle, available, open_)
        return
    if account.quantity == 0 and flags & (LONG | SHORT):
        enter(desk, candle, available, open_, 1 if flags & LONG else -1)


@compiled
def nearest_stop(desk: Desk) -> tuple[float, int]:
    """Return the level at which the position is left at a loss, NaN where there is none, and its reason."""
    account = desk.account
    side = 1 if account.quantity > 0 else -1
    stop, reason = account.stop, STOP
    if side < 0:
        eaten = account.cash / -account.quantity
        if not stop < eaten:
            stop, reason = eaten, LIQUIDATION
    if account.trailing == account.trailing:
        trailing = on_tick(account.best * (1 - side * account.trailing), desk.costs.tick, side < 0)
        if stop != stop or side * (trailing - stop) > 0:
            stop, reason = trailing, TRAILING
    if desk.guards.is_on:
        floor, _ = highest_floor(desk)
        level = (floor - account.cash) / account.quantity
        if floor == floor and (stop != stop or side * (level - stop) > 0):
            stop, reason = level, SAFEGUARD
    return stop, reason


@compiled
def take_part(desk: Desk, candle: int, available: float, place: int, at: float) -> None:
    """Fill a target that a price has gone through, as far as there is volume; one that was set where it is already is a market order."""
    account, slot = desk.account, desk.slots[place]
    limit = slot.price
    price, is_met = (limit, False) if at != at else (at, slot.new_in == candle)
    side, held = (1 if account.quantity > 0 else -1), abs(account.quantity)
    wanted = held
    if slot.part == slot.part:
        wanted = slot.owed if slot.owed > 0 else floored(slot.part * account.entered, desk.costs.step)
    if held - wanted <= held * GRID_TOLERANCE:
        wanted = held
    elif wanted <= 0 or wanted * price < desk.costs.least_notional:
        account.denied += 1
        slot.price, slot.is_done = np.nan, 1
        return
    quantity = min(wanted, available)
    if quantity < wanted:
        account.capped += slot.owed == 0
        slot.cut_at = candle
        slot.owed = wanted - quantity
    else:
        slot.price, slot.is_done = np.nan, 1
    paid, rate = price, desk.costs.maker_fee
    if is_met:
        paid, rate = side * max(side * market_price(desk, -side, price), side * limit), desk.costs.fee
    if quantity > 0:
        fill(desk, candle, -side, quantity, paid, price, TARGET, rate)


@compiled
def nearest_reached(desk: Desk, candle: int, side: int, reached: float) -> int:
    """Return the place of the nearest target that a price has gone through, of equals the first; NOBODY where there is none."""
    nearest = NOBODY
    for place in range(TARGETS):
        slot = desk.slots[place]
        is_reached = side * (reached - slot.price) > 0 and slot.cut_at != candle
        if is_reached and (nearest == NOBODY or side * (slot.price - desk.slots[nearest].price) < 0):
            nearest = place
    return nearest


@compiled
def take(desk: Desk, candle: int, available: float, reached: float, at: float) -> None:
    """Fill the targets that a price has gone through, the nearest first: each at its own, or all at one that is better."""
    account = desk.account
    side = 1 if account.quantity > 0 else -1
    while account.quantity != 0:
        # One that was filled, denied or cut is not reached again in this candle.
        place = nearest_reached(desk, candle, side, reached)
        if place == NOBODY:
            break
        take_part(desk, candle, available, place, at)
    find_nearest(desk)
