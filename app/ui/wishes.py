"""What a message asks for, in the reader's words."""

from decimal import Decimal
from typing import Final

from app.core import formatters
from app.core.i18n import N_, current_language, gettext
from app.domain.enums import OrderType
from app.domain.instruments import plain
from app.errors import BadPayload
from app.ui.labels import label
from app.ui.views import Said, Wish
from app.webhooks.alert import Action, Alert, Level, Reading, Size, SizeKind
from app.webhooks.reading import read_message

ACTIONS: Final = {
    Action.BUY: N_("Buy"),
    Action.SELL: N_("Sell"),
    Action.CLOSE: N_("Close the position"),
    Action.TARGET: N_("Bring the position to what the strategy holds"),
    Action.REVERSE: N_("Turn the position round"),
    Action.CANCEL: N_("Cancel the open orders"),
    Action.PROTECT: N_("Change stop and targets"),
    Action.PING: N_("Only a test message"),
    Action.NONE: N_("Nothing to do here"),
}
SIZES: Final = {
    SizeKind.BASE: N_("base units, such as 0.01 of BTC/USDT"),
    SizeKind.QUOTE: N_("quote units, such as 100 USDT"),
    SizeKind.FREE: N_("% of the free balance"),
    SizeKind.EQUITY: N_("% of the account's equity"),
    SizeKind.RISK: N_("% of equity lost if the stop is reached"),
    SizeKind.POSITION: N_("% of the position"),
}
_OF: Final = {
    SizeKind.BASE: N_("%(value)s in base units"),
    SizeKind.QUOTE: N_("%(value)s in quote units"),
    SizeKind.FREE: N_("%(value)s of the free balance"),
    SizeKind.EQUITY: N_("%(value)s of the account's equity"),
    SizeKind.RISK: N_("%(value)s of equity at risk to the stop"),
    SizeKind.POSITION: N_("%(value)s of the position"),
}
_COUNTED: Final = (SizeKind.BASE, SizeKind.QUOTE)


def wishes_of(reading: Reading | None) -> tuple[Wish, ...]:
    """Return each thing that a message asks for, in its order."""
    return () if reading is None else tuple(_wish(alert) for alert in reading.alerts)


def wishes_in(raw: str) -> tuple[Wish, ...]:
    """Return what a stored message asks for; nothing when it cannot be read."""
    try:
        return wishes_of(read_message(raw.encode()))
    except BadPayload:
        return ()


def _wish(alert: Alert) -> Wish:
    facts = [
        (gettext("Size"), size_words(alert.size)),
        (gettext("Order type"), label(alert.type.value) if alert.type is not OrderType.MARKET else ""),
        (gettext("Price"), _level(alert.price)),
        (gettext("Position afterwards"), "" if alert.position is None else _number(alert.position)),
        (gettext("Stop loss"), _level(alert.stop)),
        (gettext("Stop limit"), _level(alert.stop_limit)),
        (gettext("Trailing"), "" if alert.trailing_delta is None else _percent(alert.trailing_delta)),
        (gettext("Targets"), "; ".join(_target(one.level, one.fraction) for one in alert.targets)),
        (gettext("Account"), alert.account or ""),
        (gettext("Signal's own name"), alert.key or ""),
        (gettext("Indicator"), alert.indicator or ""),
        (gettext("Not used here"), ", ".join(alert.ignored)),
        (gettext("Note"), alert.note or ""),
    ]
    return Wish(
        action=gettext(ACTIONS[alert.action]),
        symbol=alert.symbol or "",
        facts=tuple(Said(name=name, value=value) for name, value in facts if value),
    )


def size_words(size: Size | None) -> str:
    """Return a size with what it is counted in; "" for none."""
    if size is None:
        return ""
    value = _number(size.value) if size.kind in _COUNTED else _percent(size.value)
    return gettext(_OF[size.kind]) % {"value": value}


def _level(level: Level | None) -> str:
    if level is None:
        return ""
    if level.price is not None:
        return _number(level.price)
    return gettext("%(value)s from the entry") % {"value": formatters.pct(level.offset, language=current_language())}


def _target(level: Level, fraction: Decimal) -> str:
    return f"{_level(level)} ({_percent(fraction)})" if fraction != 1 else _level(level)


def _percent(fraction: Decimal) -> str:
    return formatters.share(fraction, decimals=4, language=current_language())


def _number(value: Decimal) -> str:
    return plain(value) if current_language() != "fr" else plain(value).replace(".", ",")
