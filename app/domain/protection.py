"""What guards a position: a stop, fixed or trailing, and targets that take profit in parts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


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
