"""From an alert's levels and its webhook's defaults to the plan that guards a position. Pure."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, Target
from app.errors import DenialReason, OrderDenied
from app.webhooks.alert import Alert, Level
from app.webhooks.facts import Facts
from app.webhooks.rules import HookRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """Guard the position so from now on; with `is_stop_only` its targets, and what they have sold, stay as they are."""

    plan: ProtectionPlan
    is_stop_only: bool


def price_of(level: Level | None, reference: Decimal | None, field: str) -> Decimal | None:
    """Return a level as a price; None for none.

    Args:
        level: A price, or a fraction off `reference`.
        reference: In quote per base; None when nobody knows.
        field: Which level it is, for the refusal.

    Raises:
        OrderDenied: PRICE_UNKNOWN, or PLAN_INVALID for a price at or below nothing.
    """
    if level is None:
        return None
    price = level.price
    if level.offset is not None:
        if reference is None:
            raise OrderDenied(DenialReason.PRICE_UNKNOWN, "the market's price is not known, so a distance from it is no price", field=field)
        price = reference * (1 + level.offset)
    if price is None or not price.is_finite() or price <= 0:
        raise OrderDenied(DenialReason.PLAN_INVALID, f"a stop or a target must be a price above 0, was {price}", field=field)
    return price


def has_offsets(alert: Alert) -> bool:
    """Whether one of the levels that guard is a distance."""
    levels = (alert.stop, alert.stop_limit, *(target.level for target in alert.targets))
    return any(level is not None and level.offset is not None for level in levels)


def guard_of_entry(alert: Alert, rules: HookRules, entry: Decimal | None) -> ProtectionPlan | None:
    """Return how a position that is opened at `entry` (quote per base) is to be guarded; None when nobody says.

    Raises:
        OrderDenied: a distance, and the entry's price is not known.
    """
    stop, trail = alert.stop, alert.trailing_delta
    if stop is None and trail is None:
        trail = rules.trailing_percent
        # A position has one stop. What trails is never further away than it began.
        if trail is None and rules.stop_percent is not None:
            stop = Level(offset=-rules.stop_percent)
    targets = _targets(alert, entry)
    if not targets and rules.target_percent is not None:
        price = price_of(Level(offset=rules.target_percent), entry, "take_profit")
        targets = () if price is None else (Target(price=price, fraction=Decimal(1)),)
    plan = ProtectionPlan(
        stop_price=price_of(stop, entry, "stop_loss"),
        stop_limit_price=price_of(alert.stop_limit, entry, "stop_limit_price"),
        trailing_delta=trail,
        targets=targets,
        break_even_after=alert.break_even_after,
    )
    return None if plan.is_empty and plan.stop_limit_price is None and plan.break_even_after is None else plan


def _targets(alert: Alert, entry: Decimal | None) -> tuple[Target, ...]:
    found = ((price_of(target.level, entry, "take_profit"), target.fraction) for target in alert.targets)
    return tuple(Target(price=price, fraction=fraction) for price, fraction in found if price is not None)


def worst_exit(plan: ProtectionPlan | None, entry: Decimal | None) -> Decimal | None:
    """Return the price at which a plan's stop sells at the worst, as far as it says: its limit, its trigger, or where its trail begins."""
    if plan is None:
        return None
    if plan.trailing_delta is not None and plan.stop_price is None:
        return None if entry is None else entry * (1 - plan.trailing_delta)
    return plan.stop_limit_price or plan.stop_price


def changed_guard(alert: Alert, facts: Facts) -> Protect | None:
    """Return how an open position is to be guarded otherwise; what the alert leaves out stays. None when it is guarded so already.

    Raises:
        OrderDenied: PLAN_INVALID, the alert says nothing.
    """
    now, entry = facts.state.plan, facts.state.average_price
    stop = ProtectionPlan(
        stop_price=price_of(alert.stop, entry, "stop_loss"),
        stop_limit_price=price_of(alert.stop_limit, entry, "stop_limit_price"),
        trailing_delta=alert.trailing_delta,
    )
    targets, even = _targets(alert, entry), alert.break_even_after
    has_stop = stop != ProtectionPlan()
    if not has_stop and not targets and even is None:
        raise OrderDenied(DenialReason.PLAN_INVALID, "the alert says neither a stop nor a target; nothing was changed", field="stop_loss")
    before = now or ProtectionPlan()
    base = stop if has_stop else replace(before, targets=(), break_even_after=None)
    kept = before.break_even_after if even is None and not targets else even
    plan = replace(base, targets=targets or before.targets, break_even_after=kept)
    if now is not None and _on_tick(plan, facts.instrument) == now:
        return None
    return Protect(plan=plan, is_stop_only=now is not None and not targets)


def _on_tick(plan: ProtectionPlan, instrument: Instrument) -> ProtectionPlan:
    """The plan as it would be kept, to tell whether it is the one that holds."""
    stop, limit = (
        None if price is None else instrument.round_price(Side.SELL, price) for price in (plan.stop_price, plan.stop_limit_price)
    )
    targets = tuple(replace(target, price=instrument.round_price(Side.SELL, target.at)) for target in plan.targets)
    return replace(plan, stop_price=stop, stop_limit_price=limit, targets=targets)
