"""The fields of safeguards, which the forms of backtests, bots and preferences share, and what tripped in a backtest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

#: Whose safeguards a form is about: one simulated account, one bot, or all bots of a user.
SafeguardScope = Literal["backtest", "bot", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeguardForm:
    """What `macros/safeguards.html` shows; `fields` as typed, `errors` sentences, both by the name of the field.

    `quote` is the currency of a notional, "" where there are several.
    """

    scope: SafeguardScope
    fields: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    quote: str = ""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to see in it."""
        return bool(self.errors) or any(self.fields.get(name) for name in NUMBERS)


#: The fields in which a rule's number stands; an empty one is no rule.
NUMBERS = (
    "sg_cooldown",
    "sg_positions",
    "sg_notional",
    "sg_daily",
    "sg_drawdown",
    "sg_stops",
    "sg_losses",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TripLine:
    """A rule that tripped in a backtest, in which candle, and why; `is_flattened`: the position was left."""

    rule: str
    at: datetime
    reason: str
    is_flattened: bool
