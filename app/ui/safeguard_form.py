"""The fields of safeguards as the forms of backtests, bots and preferences have them: what is typed, read into rules and back."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import BaseModel

from app.core.i18n import N_
from app.domain.instruments import plain
from app.domain.safeguards import (
    MOST_CANDLES,
    MOST_MINUTES,
    MOST_TRADES,
    Action,
    Cooldown,
    Loss,
    LossStreak,
    MaxNotional,
    MaxPositions,
    Rule,
    Safeguards,
    Span,
    StopGuard,
    Tripping,
)
from app.ui.views.safeguards import SafeguardForm, SafeguardScope

_LONGEST: Final = 40
_PERCENT: Final = Decimal(100)
_NOT_A_NUMBER: Final = N_("That is not a number.")
_NOT_WHOLE: Final = N_("That is not a whole number.")
_OUTSIDE: Final = N_("That is outside its bounds.")
_MISSING: Final = N_("Say within how long.")
#: What each rule is called on pages.
RULE_LABELS: Final = {
    Rule.COOLDOWN: N_("Cooldown"),
    Rule.MAX_POSITIONS: N_("Most open positions"),
    Rule.MAX_NOTIONAL: N_("Most a position is worth"),
    Rule.DAILY_LOSS: N_("Daily loss"),
    Rule.DRAWDOWN: N_("Drawdown from the peak"),
    Rule.STOPS: N_("Stop guard"),
    Rule.LOSSES: N_("Loss streak"),
}
#: The fields of the rules that trip begin so.
_TRIPPING: Final = {Rule.DAILY_LOSS: "sg_daily", Rule.DRAWDOWN: "sg_drawdown", Rule.STOPS: "sg_stops", Rule.LOSSES: "sg_losses"}


class TypedSafeguards(BaseModel):
    """What a form with safeguards sends besides its own fields; a form's own model derives from this one."""

    sg_cooldown: str = ""
    sg_cooldown_unit: str = ""
    sg_cooldown_after: str = ""
    sg_positions: str = ""
    sg_notional: str = ""
    sg_daily: str = ""
    sg_daily_action: str = ""
    sg_daily_rearm: str = ""
    sg_drawdown: str = ""
    sg_drawdown_action: str = ""
    sg_drawdown_rearm: str = ""
    sg_stops: str = ""
    sg_stops_window: str = ""
    sg_stops_unit: str = ""
    sg_stops_action: str = ""
    sg_stops_rearm: str = ""
    sg_losses: str = ""
    sg_losses_action: str = ""
    sg_losses_rearm: str = ""

    def safeguard_fields(self) -> dict[str, str]:
        """Return what was typed about safeguards, none of it longer than its field."""
        return {name: getattr(self, name).strip()[:_LONGEST] for name in TypedSafeguards.model_fields}


def safeguard_form(
    scope: SafeguardScope, fields: Mapping[str, str] | None = None, *, errors: Mapping[str, str] | None = None, quote: str = ""
) -> SafeguardForm:
    """Return the form's part; `fields` as typed, or as `fields_of` writes them, `errors` those of the whole form."""
    own = {name: error for name, error in (errors or {}).items() if name in TypedSafeguards.model_fields}
    return SafeguardForm(scope=scope, fields=fields or {}, errors=own, quote=quote)


def read_fields(fields: Mapping[str, str], scope: SafeguardScope) -> tuple[Safeguards | None, dict[str, str]]:
    """Return the safeguards that were typed, or None and what is wrong, by field."""
    reading = _Reading(fields, scope)
    safeguards = reading.safeguards()
    return (None, reading.errors) if reading.errors else (safeguards, {})


def fields_of(safeguards: Safeguards) -> dict[str, str]:
    """Return safeguards as they are typed."""
    typed: dict[str, str] = {}
    if (cooldown := safeguards.cooldown) is not None:
        typed |= _span_of("sg_cooldown", "sg_cooldown_unit", cooldown.span)
        typed["sg_cooldown_after"] = "losing" if cooldown.is_after_losing else "any"
    if safeguards.max_positions is not None:
        typed["sg_positions"] = str(safeguards.max_positions.most)
    if safeguards.max_notional is not None:
        typed["sg_notional"] = plain(safeguards.max_notional.most)
    for rule, prefix in _TRIPPING.items():
        if (one := safeguards.tripping(rule)) is not None:
            typed[f"{prefix}_action"] = one.action.value
            typed[f"{prefix}_rearm"] = str(one.rearm_after or "")
            typed[prefix] = _limit_of(one)
    if safeguards.stops is not None:
        typed |= _span_of("sg_stops_window", "sg_stops_unit", safeguards.stops.window)
    return typed


def _limit_of(one: Tripping) -> str:
    if isinstance(one, Loss):
        return plain((one.fraction * _PERCENT).normalize())
    return str(one.stops) if isinstance(one, StopGuard) else str(one.trades) if isinstance(one, LossStreak) else ""


def _span_of(name: str, unit: str, span: Span) -> dict[str, str]:
    return {name: str(span.minutes or span.candles), unit: "minutes" if span.minutes else "candles"}


class _Reading:
    """Reads the fields; what cannot be read is in `errors`, by field."""

    def __init__(self, fields: Mapping[str, str], scope: SafeguardScope) -> None:
        self._fields = fields
        self._scope = scope
        self.errors: dict[str, str] = {}

    def safeguards(self) -> Safeguards:
        cooldown, positions = self._span("sg_cooldown", "sg_cooldown_unit"), self._whole("sg_positions", 10_000)
        notional = self._number("sg_notional", Decimal(10) ** 12)
        day, drawdown = self._number("sg_daily", _PERCENT, is_below=True), self._number("sg_drawdown", _PERCENT, is_below=True)
        stops, losses = self._whole("sg_stops", MOST_TRADES), self._whole("sg_losses", MOST_TRADES)
        window = self._span("sg_stops_window", "sg_stops_unit") if stops is not None else None
        if stops is not None and window is None:
            self.errors.setdefault("sg_stops_window", _MISSING)
        after = self._text("sg_cooldown_after") == "losing"
        return Safeguards(
            cooldown=None if cooldown is None else Cooldown(span=cooldown, is_after_losing=after),
            max_positions=None if positions is None or self._scope == "backtest" else MaxPositions(most=positions),
            max_notional=None if notional is None else MaxNotional(most=notional),
            daily_loss=self._loss("sg_daily", day),
            drawdown=self._loss("sg_drawdown", drawdown),
            stops=None
            if stops is None or window is None
            else StopGuard(stops=stops, window=window, action=self._action("sg_stops"), rearm_after=self._rearm("sg_stops")),
            losses=None
            if losses is None
            else LossStreak(trades=losses, action=self._action("sg_losses"), rearm_after=self._rearm("sg_losses")),
        )

    def _loss(self, prefix: str, percent: Decimal | None) -> Loss | None:
        if percent is None:
            return None
        return Loss(fraction=(percent / _PERCENT).normalize(), action=self._action(prefix), rearm_after=self._rearm(prefix))

    def _text(self, name: str) -> str:
        return self._fields.get(name, "").strip()

    def _action(self, prefix: str) -> Action:
        return Action.FLATTEN if self._text(f"{prefix}_action") == Action.FLATTEN else Action.SUSPEND

    def _rearm(self, prefix: str) -> int:
        # Candles are those of one bot.
        return 0 if self._scope == "user" else self._whole(f"{prefix}_rearm", MOST_CANDLES) or 0

    def _span(self, name: str, unit: str) -> Span | None:
        is_minutes = self._scope == "user" or self._text(unit) == "minutes"
        count = self._whole(name, MOST_MINUTES if is_minutes else MOST_CANDLES)
        if count is None:
            return None
        return Span(minutes=count) if is_minutes else Span(candles=count)

    def _whole(self, name: str, most: int) -> int | None:
        text = self._text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal()):
            self.errors[name] = _NOT_WHOLE
            return None
        if not 1 <= int(text) <= most:
            self.errors[name] = _OUTSIDE
            return None
        return int(text)

    def _number(self, name: str, most: Decimal, *, is_below: bool = False) -> Decimal | None:
        text = self._text(name).replace(",", ".")
        if not text:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            self.errors[name] = _NOT_A_NUMBER
            return None
        if not value.is_finite() or not 0 < value <= most or (is_below and value == most):
            self.errors[name] = _OUTSIDE
            return None
        return value
