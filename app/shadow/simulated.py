"""The trades of a simulation in the words of `lives`."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import numpy as np

from app.domain.arrays import Decisions, Times
from app.domain.outcome import REASONS, FillColumns
from app.domain.simulated import Reason
from app.shadow.lives import ZERO, Act, Kind, Market, ShadowLife, Trade, exact

_KINDS: Final = {
    Reason.ENTRY: Kind.ENTRY, Reason.ADD: Kind.ADD, Reason.REDUCE: Kind.REDUCE, Reason.EXIT: Kind.EXIT, Reason.STOP: Kind.STOP,
    Reason.TRAILING: Kind.STOP, Reason.TARGET: Kind.TARGET, Reason.LIQUIDATION: Kind.STOP,
}  # fmt: skip
#: What is left of a position that was sold whole, as a fraction of the last sale.
_NOTHING_LEFT: Final = Decimal("1e-9")


def shadow_life(fills: FillColumns, decisions: Decisions, time: Times, market: Market, *, by_account: bool) -> ShadowLife:
    """Return what a simulation did.

    Args:
        fills: Its executions.
        decisions: Of its strategy, one a candle.
        time: Open times of all its candles, the warm-up among them.
        market: For rates and steps.
        by_account: Whether the strategy may have looked at what it held.
    """
    rows = np.flatnonzero(decisions.flags)
    wanted = dict(zip(time[rows].tolist(), decisions.flags[rows].tolist(), strict=True))
    return ShadowLife(trades=tuple(_trades(fills, decisions, time, market)), wanted=wanted, by_account=by_account)


def _trades(fills: FillColumns, decisions: Decisions, time: Times, market: Market) -> Iterator[Trade]:
    acts: list[Act] = []
    held, side = ZERO, 0
    for place in range(len(fills)):
        side = side or int(fills.side[place])
        act = _act(fills, place, decisions, time, market, is_short=side < 0)
        acts.append(act)
        held += act.quantity if act.kind.is_buy else -act.quantity
        if held <= act.quantity * _NOTHING_LEFT:
            yield Trade(acts=tuple(acts))
            acts, held, side = [], ZERO, 0
    if acts:
        yield Trade(acts=tuple(acts), is_open=True)


def _act(fills: FillColumns, place: int, decisions: Decisions, time: Times, market: Market, *, is_short: bool) -> Act:
    row = int(fills.candle[place])
    kind = _KINDS.get(REASONS[int(fills.reason[place])], Kind.HAND)
    quantity, price = _on_step(exact(fills.quantity[place]), market.step), exact(fills.price[place])
    is_decided = not kind.is_level and kind is not Kind.HAND and row > 0
    limit = float(decisions.limit[row - 1]) if kind is Kind.ENTRY and row > 0 else float("nan")
    return Act(
        kind=kind,
        candle=int(time[row]),
        decided=int(time[row - 1]) if is_decided else None,
        parts=((quantity, price),),
        fee=quantity * price * _rate(float(fills.fee[place]), float(fills.quantity[place] * fills.price[place]), market),
        level=None if np.isnan(limit) else exact(limit),
        is_short=is_short,
    )


def _rate(fee: float, value: float, market: Market) -> Decimal:
    """Return the rate that was paid, of the two that there are: the fee itself has the rounding of floats in it."""
    return min((market.fee, market.maker_fee), key=lambda rate: abs(float(rate) * value - fee))


def _on_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Return a quantity without what floats add to it."""
    return quantity if step <= 0 else (quantity / step).to_integral_value() * step
