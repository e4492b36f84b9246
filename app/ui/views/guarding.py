"""How positions are guarded: what their rows say, and what the dialogs about one ask."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.shell import Environment

#: Who watches: the exchange, the exchange its stop and this server its targets, or this server everything.
Watch = Literal["there", "mixed", "here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """A price at which `fraction` of the position is sold; `is_reached` once something was."""

    price: Decimal
    fraction: Decimal
    is_reached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """How one position is guarded.

    `trailing` is a fraction. `since` is set while the stop does not cover the position, `alarm` (a sentence of the server) once that is
    alarming.
    """

    watch: Watch
    stop: Decimal | None = None
    stop_limit: Decimal | None = None
    trailing: Decimal | None = None
    targets: tuple[TargetRow, ...] = ()
    break_even_after: int | None = None
    since: datetime | None = None
    alarm: str = ""

    @property
    def has_stop(self) -> bool:
        """Whether the plan wants a stop."""
        return self.stop is not None or self.trailing is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """The position a dialog is about. `worth` is what it would bring at `mark_price`, in `quote`; None when nobody quotes it."""

    id: str
    symbol: str
    base: str
    quote: str
    quantity: Decimal
    average_price: Decimal
    broker: str
    is_short: bool = False
    env: Environment = "live"
    mark_price: Decimal | None = None
    worth: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetField:
    """One target of the form, as text that a person types."""

    price: str = ""
    percent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardForm:
    """Region of `fragments/trading/_guard_form.html`: values as they were typed, and what is wrong with them by field."""

    position: PositionFacts
    stop_loss: str = ""
    stop_limit_price: str = ""
    trailing_percent: str = ""
    targets: tuple[TargetField, ...] = ()
    break_even_after: str = ""
    is_guarded: bool = False
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionQuestion:
    """Region of `fragments/trading/_position_question.html`: to close a position or turn it round, or to guard it no longer.

    `key` makes one wish of several clicks; `guard` is what would be removed; `error` says why it was not done. `percent` is how much of it
    is closed, as it was typed, and `percent_error` what is wrong with that.
    """

    action: Literal["close", "reverse", "unguard"]
    position: PositionFacts
    key: str = ""
    guard: GuardRow | None = None
    error: str = ""
    percent: str = "100"
    percent_error: str = ""
