"""What is said of safeguards: a sentence of the catalogue, and its values as text in English notation."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from app.domain.instruments import plain
from app.domain.safeguards import Action, Rule, Span

_PERCENT: Final = Decimal(100)
_CENT: Final = Decimal("0.01")
_DUST: Final = Decimal("1e-8")

#: By rule, and by how its window is told.
TRIPPED: Final = {
    "daily_loss": "Daily loss: %(lost)s%% of the capital on %(day)s (UTC), equity %(equity)s after %(base)s; the limit is %(limit)s%%.",
    "drawdown": "Drawdown: equity %(equity)s is %(lost)s%% below its peak of %(base)s; the limit is %(limit)s%%.",
    "stops": "Stop guard: trades stopped out within %(window)s candles: %(count)s; the limit is %(limit)s.",
    "stops_minutes": "Stop guard: trades stopped out within %(window)s minutes: %(count)s; the limit is %(limit)s.",
    "losses": "Loss streak: trades in a row that lost: %(count)s; the limit is %(limit)s.",
}  # fmt: skip
#: Why an entry is denied, or cut.
REFUSED: Final = {
    "tripped": "no entry: a safeguard has tripped and was not re-armed",
    "cooldown": "no entry: a trade closed at %(closed)s, and entries wait until %(until)s (cooldown)",
    "cooldown_losing": "no entry: a losing trade closed at %(closed)s, and entries wait until %(until)s (cooldown)",
    "max_positions": "no entry: your bots hold %(held)s positions already, and at most %(limit)s at a time",
    "max_notional": "no entry: the position is worth %(held)s already, and at most %(limit)s is allowed",
}
CUT: Final = "the entry was cut to %(quantity)s: a position is worth at most %(limit)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A message in English with places for its values; `core.sentences.said_with` says it in the reader's language."""

    message: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A rule that has tripped.

    Attributes:
        rule: One of `TRIPPING`.
        action: What is done.
        at: When; aware. Of a simulation, the open time of the candle.
        limit: A fraction or a count.
        measured: What it came to: likewise.
        equity: Quote units at that moment; None of rules that count trades.
        base: What equity is compared with: that at the day's beginning, or its peak.
        window: Of stops.
    """

    rule: Rule
    action: Action
    at: datetime
    limit: Decimal
    measured: Decimal
    equity: Decimal | None = None
    base: Decimal | None = None
    window: Span | None = None

    @property
    def reason(self) -> Sentence:
        """Why it tripped, with the numbers."""
        if self.equity is not None and self.base is not None:
            values = {
                "lost": _percent(self.measured),
                "limit": _percent(self.limit),
                "equity": _amount(self.equity),
                "base": _amount(self.base),
            }
            if self.rule is Rule.DAILY_LOSS:
                values["day"] = self.at.astimezone(UTC).date().isoformat()
            return Sentence(message=TRIPPED[self.rule.value], values=values)
        values = {"count": plain(self.measured), "limit": plain(self.limit)}
        if self.window is None:
            return Sentence(message=TRIPPED[self.rule.value], values=values)
        kind = "stops_minutes" if self.window.minutes else "stops"
        return Sentence(message=TRIPPED[kind], values=values | {"window": str(self.window.minutes or self.window.candles)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an entry is denied; `rule` is None where a rule has tripped before. `until` is when a cooldown ends."""

    rule: Rule | None
    reason: Sentence
    until: datetime | None = None


def refusal(kind: str, rule: Rule | None, *, until: datetime | None = None, **values: str) -> Refusal:
    """Return a refusal with one of the sentences of `REFUSED`."""
    told = values if until is None else values | {"until": moment(until)}
    return Refusal(rule=rule, reason=Sentence(message=REFUSED[kind], values=told), until=until)


def cut_to(quantity: Decimal, limit: Decimal) -> Sentence:
    """Return what is said of an entry that was cut."""
    return Sentence(message=CUT, values={"quantity": plain(quantity), "limit": _amount(limit)})


def moment(at: datetime) -> str:
    """Return a moment as sentences have it: minutes of UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _percent(fraction: Decimal) -> str:
    return plain((fraction * _PERCENT).quantize(_CENT).normalize())


def _amount(value: Decimal) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else plain(value.quantize(_DUST).normalize())
