"""What guards a position: a stop, fixed or trailing, and targets that take profit in parts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Final

from app.domain.enums import Side
from app.domain.instruments import Instrument, on_grid, plain
from app.errors import DenialReason, OrderDenied

_ZERO: Final = Decimal(0)
_EXACT: Final = Context(prec=150)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A price at which a part of the position is to be sold. `fraction` of the whole, 0 < fraction ≤ 1; `price` is quote per base.

    Instead of a price it may say a `gain`, a fraction above what the entry pays: the price is known when the entry has filled, and kept
    beside the gain then.
    """

    fraction: Decimal
    price: Decimal | None = None
    gain: Decimal | None = None

    @property
    def at(self) -> Decimal:
        """The price, which all targets of a plan that guards a position have: theirs are known."""
        assert self.price is not None  # noqa: S101  # `from_entry` came before
        return self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionPlan:
    """How a position is to be guarded.

    `stop_price` triggers the stop (quote per base); `stop_limit_price` makes it a limit order; `trailing_delta` (a fraction) makes it
    follow the best price instead. `break_even_after` moves the stop to the entry price once so many targets are filled.

    `stop_fraction` says how far below what the entry pays the stop is at most: where there is a `stop_price` too, the higher of both holds.
    `tick_size` is the exchange's, kept for when such a distance becomes a price.
    """

    stop_price: Decimal | None = None
    stop_limit_price: Decimal | None = None
    trailing_delta: Decimal | None = None
    targets: tuple[Target, ...] = ()
    break_even_after: int | None = None
    stop_fraction: Decimal | None = None
    tick_size: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it guards nothing."""
        return not self.has_stop and not self.targets

    @property
    def has_stop(self) -> bool:
        """Whether it says where the position is left at a loss."""
        return self.stop_price is not None or self.stop_fraction is not None or self.trailing_delta is not None

    @property
    def has_distances(self) -> bool:
        """Whether some of it is measured from what the entry pays."""
        return self.stop_fraction is not None or any(target.gain is not None for target in self.targets)

    def from_entry(self, paid: Decimal, *, wished: "ProtectionPlan | None" = None) -> "ProtectionPlan":
        """Return the plan with prices for its distances; what is no distance stays as it is.

        On the tick both are a little farther away, as in a backtest: the stop lower, a target higher. The distances stay in the plan, so
        that a further fill of the same entry moves the prices; whoever moves a level leaves its distance out.

        Args:
            paid: What the entry paid on average, quote per base, above 0.
            wished: The plan as it was ordered, when this one has been resolved before: its `stop_price` is a bound, not an outcome.
        """
        stop = self.stop_price
        if self.stop_fraction is not None:
            bound = stop if wished is None else wished.stop_price
            far = self._on_tick(_EXACT.multiply(paid, 1 - self.stop_fraction), ROUND_FLOOR)
            stop = max(bound or _ZERO, far) or None
        targets = tuple(
            target if target.gain is None else replace(target, price=self._on_tick(_EXACT.multiply(paid, 1 + target.gain), ROUND_CEILING))
            for target in self.targets
        )
        return replace(self, stop_price=stop, targets=targets)

    def _on_tick(self, price: Decimal, rounding: str) -> Decimal:
        return price if self.tick_size is None else on_grid(price, self.tick_size, rounding)


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
        targets=tuple(replace(target, price=_on_tick(target.price, instrument)) for target in plan.targets),
        tick_size=instrument.tick_size if plan.has_distances else None,
    )
    _check_distances(fitted)
    likely = fitted if entry_price is None or entry_price <= 0 else fitted.from_entry(entry_price)
    _check_stop(likely, instrument, entry_price, quantity, against=against)
    _check_targets(likely, instrument, entry_price, against=against)
    return fitted


def moved_plan(
    plan: ProtectionPlan, instrument: Instrument, *, stop_price: Decimal | None, targets: Sequence[Target] | None
) -> ProtectionPlan:
    """Return the plan of an open position with other levels; an equal one where they change nothing. On the tick as in a backtest.

    Args:
        plan: How the position is guarded.
        instrument: The exchange's rules.
        stop_price: Holds if it is nearer to the market than the present stop; None leaves that as it is.
        targets: All of them, with prices; None leaves them as they are.

    Raises:
        OrderDenied: PLAN_INVALID or PRICE_OUT_OF_RANGE.
    """
    if stop_price is not None:
        stop = on_grid(stop_price, instrument.tick_size, ROUND_FLOOR)
        instrument.check_price(stop)
        if plan.trailing_delta is not None:
            raise _invalid("this stop follows the price by itself", "trailing_percent")
        if plan.stop_price is None or stop > plan.stop_price:
            plan = replace(plan, stop_price=stop, stop_limit_price=None, stop_fraction=None)
    if targets is not None:
        fitted = tuple(replace(target, price=on_grid(target.at, instrument.tick_size, ROUND_CEILING), gain=None) for target in targets)
        if [(target.price, target.fraction) for target in fitted] != [(target.price, target.fraction) for target in plan.targets]:
            after = plan.break_even_after if plan.break_even_after is None or plan.break_even_after <= len(fitted) else None
            plan = replace(plan, targets=fitted, break_even_after=after)
            _check_targets(plan, instrument, None, against="market")
    return plan


def _on_tick(price: Decimal | None, instrument: Instrument) -> Decimal | None:
    return None if price is None else instrument.round_price(Side.SELL, price)


def _check_distances(plan: ProtectionPlan) -> None:
    if plan.stop_fraction is not None:
        if not 0 < plan.stop_fraction < 1:
            raise _invalid(f"a stop is between 0 and 100 percent below the entry, was {plain(plan.stop_fraction * 100)}", "stop_loss")
        if plan.trailing_delta is not None or plan.stop_limit_price is not None:
            raise _invalid("a stop by its distance from the entry neither trails nor has a limit", "stop_loss")
    for target in plan.targets:
        if (target.price is None) == (target.gain is None):
            raise _invalid("a target has a price or a gain, one of them", "take_profit")
        if target.gain is not None and target.gain <= 0:
            raise _invalid(f"a target must be above the entry, was {plain(target.gain * 100)} percent", "take_profit")


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
        if target.price is None:
            continue  # nobody knows yet what the entry pays
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
    distances = {} if plan.stop_fraction is None else {"stop_fraction": _text(plan.stop_fraction)}
    return {
        "stop_price": _text(plan.stop_price),
        "stop_limit_price": _text(plan.stop_limit_price),
        "trailing_delta": _text(plan.trailing_delta),
        "targets": [_dump_target(target) for target in plan.targets],
        "break_even_after": plan.break_even_after,
        **distances,
        **({} if plan.tick_size is None else {"tick_size": _text(plan.tick_size)}),
    }


def _dump_target(target: Target) -> dict[str, Any]:
    gain = {} if target.gain is None else {"gain": _text(target.gain)}
    return {"price": _text(target.price), "fraction": _text(target.fraction), **gain}


def load_plan(document: Mapping[str, Any]) -> ProtectionPlan:
    """Return the plan that `dump_plan` wrote. Plans of before there were distances have none."""
    return ProtectionPlan(
        stop_price=_number(document["stop_price"]),
        stop_limit_price=_number(document["stop_limit_price"]),
        trailing_delta=_number(document["trailing_delta"]),
        targets=tuple(
            Target(price=_number(entry["price"]), fraction=Decimal(entry["fraction"]), gain=_number(entry.get("gain")))
            for entry in document["targets"]
        ),
        break_even_after=document["break_even_after"],
        stop_fraction=_number(document.get("stop_fraction")),
        tick_size=_number(document.get("tick_size")),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
