"""What guards a position: a stop, fixed or trailing, and targets that take profit in parts. Pure."""

from dataclasses import dataclass
from decimal import Decimal


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
