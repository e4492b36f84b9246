"""What a webhook's owner lets its alerts do, and what he fills in where they say nothing."""

from datetime import time
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.webhooks.alert import SizeKind

Fraction = Annotated[Decimal, Field(gt=0, le=1)]
Money = Annotated[Decimal, Field(gt=0, le=10**12)]


def _without_zone(at: time) -> time:
    if at.tzinfo is not None:
        raise ValueError("the hours are UTC: write them without a zone")
    return at


TimeOfDay = Annotated[time, AfterValidator(_without_zone)]


class DefaultSize(BaseModel):
    """The size of an alert that names none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SizeKind
    value: Money


class Hours(BaseModel):
    """When alerts are traded: weekdays from Monday (0) to Sunday (6), from `start` until `end`, UTC.

    An end before the start is the next day's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(min_length=1, max_length=7)]
    start: TimeOfDay
    end: TimeOfDay


class HookRules(BaseModel):
    """Defaults and bounds; an empty one changes and forbids nothing.

    Defaults stand in for what an alert does not say; with `always_default_size` the alert's own size counts for nothing. `stop_percent`,
    `target_percent` and `trailing_percent` are fractions of the entry's price. Bounds hold for whatever opens or enlarges a position, and
    `sides` and `symbols` for every order; what closes one is never held back by an amount or an hour.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: Annotated[str, Field(max_length=40)] | None = None
    size: DefaultSize | None = None
    always_default_size: bool = False
    stop_percent: Fraction | None = None
    target_percent: Fraction | None = None
    trailing_percent: Fraction | None = None
    symbols: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=200)] | None = None
    sides: Annotated[tuple[Literal["buy", "sell"], ...], Field(min_length=1, max_length=2)] | None = None
    max_notional: Money | None = None
    hours: Hours | None = None
    other_accounts: bool = False
    """Whether an alert may name another of the owner's accounts than the webhook's."""
