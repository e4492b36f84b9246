"""What guards a position: a stop, fixed or trailing, and targets that take profit in parts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from app.domain.enums import Side
from app.domain.instruments import Instrument, plain
from app.errors import DenialReason, OrderDenied


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A price at which a part of the position is to be sold. `fraction` of the whole, 0 < fraction ≤ 1; `price` is quote per base."""

    price: Decimal
    fraction: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionPlan:
    """How a position is to be guarded.

    `stop_price` triggers the stop (quote per base); `stop_limit_price` makes it a limit order; `trailing_delta` (a fraction) makes it
    follow the best price instead. `break_even_after` moves the stop to the entry price once so many targets are filled.
    """

    stop_price: Decimal | None = None
    stop_limit_price: Decimal | None = None
    trailing_delta: Decimal | None = None
    targets: tuple[Target, ...] = ()
    break_even_after: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it guards nothing."""
        return self.stop_price is None and self.trailing_delta is None and not self.targets


def fitted_plan(
    plan: ProtectionPlan, instrument: Instrument, *, side: Side, entry_price: Decimal | None, quantity: Decimal, against: str = "entry"
) -> ProtectionPlan:
    """Return the plan with its prices on the tick, checked against the position it is to guard.

    Args:
        plan: The wish.
        instrument: The exchange's rules.
        side: Of the order that opens the position.
        entry_price: What that order pays, in quote per base; None when nobody knows yet.
        quantity: What it buys, in base units.
        against: What `entry_price` is, for the sentences: the entry, or the market once the position is open.

    Raises:
        OrderDenied: PLAN_INVALID, with the value and the bound.
    """
    if side is not Side.BUY:
        raise _invalid("a spot account guards what it bought: a stop or target belongs to a buy", "stop_loss")
    fitted = replace(
        plan,
        stop_price=_on_tick(plan.stop_price, instrument),
        stop_limit_price=_on_tick(plan.stop_limit_price, instrument),
        targets=tuple(replace(target, price=instrument.round_price(Side.SELL, target.price)) for target in plan.targets),
    )
    _check_stop(fitted, instrument, entry_price, quantity, against=against)
    _check_targets(fitted, instrument, entry_price, against=against)
    return fitted


def _on_tick(price: Decimal | None, instrument: Instrument) -> Decimal | None:
    return None if price is None else instrument.round_price(Side.SELL, price)


def _check_stop(plan: ProtectionPlan, instrument: Instrument, entry_price: Decimal | None, quantity: Decimal, *, against: str) -> None:
    quote = instrument.quote
    if plan.stop_price is not None and plan.trailing_delta is not None:
        raise _invalid("a position has one stop: a price or a trailing distance, not both", "trailing_percent")
    if plan.trailing_delta is not None and not Decimal("0.0001") <= plan.trailing_delta <= Decimal("0.5"):
        raise _invalid(
            f"the distance of a trailing stop must be between 0.01 and 50 percent, was {plain(plan.trailing_delta * 100)}",
            "trailing_percent",
        )
    stop, limit = plan.stop_price, plan.stop_limit_price
    if limit is not None and (stop is None or limit > stop):
        raise _invalid(f"the stop's limit must not be above its trigger, was {plain(limit)}", "stop_limit_price")
    if stop is None:
        return
    if entry_price is not None and stop >= entry_price:
        raise _invalid(f"the stop must be below the {against}, which is about {plain(entry_price)} {quote}; was {plain(stop)}", "stop_loss")
    instrument.check_price(limit or stop)
    lowest = limit or stop
    if instrument.min_notional is not None and quantity * lowest < instrument.min_notional:
        raise _invalid(
            f"at the stop the position would be worth {plain(quantity * lowest)} {quote}, below the exchange minimum of "
            f"{plain(instrument.min_notional)} {quote}: it could not be sold",
            "stop_loss",
        )


def _check_targets(plan: ProtectionPlan, instrument: Instrument, entry_price: Decimal | None, *, against: str) -> None:
    for target in plan.targets:
        if not 0 < target.fraction <= 1:
            raise _invalid(f"a target sells between 0 and 100 percent, was {plain(target.fraction * 100)}", "take_profit")
        if entry_price is not None and target.price <= entry_price:
            raise _invalid(
                f"a target must be above the {against}, which is about {plain(entry_price)} {instrument.quote}; was {plain(target.price)}",
                "take_profit",
            )
        instrument.check_price(target.price)
    total = sum((target.fraction for target in plan.targets), Decimal(0))
    if total > 1:
        raise _invalid(f"the targets together sell at most 100 percent, was {plain(total * 100)}", "take_profit")
    if plan.break_even_after is not None and not 1 <= plan.break_even_after <= len(plan.targets):
        raise _invalid(
            f"the stop can move to break even after target 1 to {len(plan.targets)}, was {plan.break_even_after}", "break_even_after"
        )


def _invalid(message: str, field: str) -> OrderDenied:
    return OrderDenied(DenialReason.PLAN_INVALID, message, field=field)


def dump_plan(plan: ProtectionPlan) -> dict[str, Any]:
    """Return the plan as a JSON document; numbers as exact text."""
    return {
        "stop_price": _text(plan.stop_price),
        "stop_limit_price": _text(plan.stop_limit_price),
        "trailing_delta": _text(plan.trailing_delta),
        "targets": [{"price": f"{target.price:f}", "fraction": f"{target.fraction:f}"} for target in plan.targets],
        "break_even_after": plan.break_even_after,
    }


def load_plan(document: Mapping[str, Any]) -> ProtectionPlan:
    """Return the plan that `dump_plan` wrote."""
    return ProtectionPlan(
        stop_price=_number(document["stop_price"]),
        stop_limit_price=_number(document["stop_limit_price"]),
        trailing_delta=_number(document["trailing_delta"]),
        targets=tuple(Target(price=Decimal(entry["price"]), fraction=Decimal(entry["fraction"])) for entry in document["targets"]),
        break_even_after=document["break_even_after"],
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
