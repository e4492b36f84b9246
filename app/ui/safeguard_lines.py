"""Safeguards as a page lists them: one line a rule, in the reader's language."""

from decimal import Decimal

from app.core.formatters import money, share
from app.core.i18n import current_language, gettext, ngettext
from app.domain.safeguards import Action, Loss, Rule, Safeguards, Span, Tripping
from app.ui.safeguard_form import RULE_LABELS
from app.ui.views.bot import FactLine


def safeguard_lines(safeguards: Safeguards, quote: str) -> tuple[FactLine, ...]:
    """Return what is set of them; `quote` is the currency of a notional."""
    told = {
        Rule.DAILY_LOSS: _loss(safeguards.daily_loss),
        Rule.DRAWDOWN: _loss(safeguards.drawdown),
        Rule.LOSSES: _losses(safeguards),
        Rule.STOPS: _stops(safeguards),
        Rule.COOLDOWN: _cooldown(safeguards),
        Rule.MAX_NOTIONAL: "" if safeguards.max_notional is None else _money(safeguards.max_notional.most, quote),
        Rule.MAX_POSITIONS: "" if safeguards.max_positions is None else str(safeguards.max_positions.most),
    }
    return tuple(FactLine(name=gettext(RULE_LABELS[rule]), value=value) for rule, value in told.items() if value)


def _money(value: Decimal, quote: str) -> str:
    return money(value, quote, language=current_language())


def _loss(rule: Loss | None) -> str:
    return "" if rule is None else _then(share(rule.fraction, language=current_language()), rule)


def _losses(safeguards: Safeguards) -> str:
    rule = safeguards.losses
    if rule is None:
        return ""
    return _then(ngettext("%(num)s trade in a row", "%(num)s trades in a row", rule.trades) % {"num": rule.trades}, rule)


def _stops(safeguards: Safeguards) -> str:
    rule = safeguards.stops
    if rule is None:
        return ""
    return _then(gettext("%(count)s within %(span)s") % {"count": rule.stops, "span": _span(rule.window)}, rule)


def _cooldown(safeguards: Safeguards) -> str:
    rule = safeguards.cooldown
    if rule is None:
        return ""
    words = gettext("%(span)s after a losing trade") if rule.is_after_losing else gettext("%(span)s after every trade")
    return words % {"span": _span(rule.span)}


def _span(span: Span) -> str:
    if span.minutes:
        return ngettext("%(num)s minute", "%(num)s minutes", span.minutes) % {"num": span.minutes}
    return ngettext("%(num)s candle", "%(num)s candles", span.candles) % {"num": span.candles}


def _then(words: str, rule: Tripping) -> str:
    then = gettext("sells and suspends") if rule.action is Action.FLATTEN else gettext("suspends")
    if not rule.rearm_after:
        return f"{words}: {then}"
    return f"{words}: {then}, " + gettext("armed again after %(span)s") % {"span": _span(Span(candles=rule.rearm_after))}
