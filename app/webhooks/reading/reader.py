"""Any alert body → what it asks for. Pure: bytes in, a Reading out, or BadPayload with a reason a trader can act on.

JSON, whatever the content type says (TradingView sends text/plain as soon as a message is not strictly JSON), `name=value` texts,
commands, or plain words. Everything or nothing: where one alert of several cannot be read, none is acted on.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.alert import Alert, Level, Reading
from app.webhooks.reading.alertatron import alertatron, is_alertatron
from app.webhooks.reading.autoview import autoview, is_autoview, lines_of
from app.webhooks.reading.common import alert_of, check_protection
from app.webhooks.reading.loose import loose_protection_of_pairs
from app.webhooks.reading.members import Members
from app.webhooks.reading.octobot import octobot
from app.webhooks.reading.plain import code_line, default_sentence, needs_symbol, piped, plain_words
from app.webhooks.reading.platforms import platform_of
from app.webhooks.reading.secrets import masked_value
from app.webhooks.reading.text import check_placeholders, json_of, leading_words, members_of_pairs, objects_of, text_of

_MISSION: Final = ("prix", "prixsl", "prixtp", "pourcent", "userexchangeid", "indicateurname")
_MISSION_ACTIONS: Final = frozenset({"buymarket", "sellmarket", "buylimit", "selllimit", "maj"})
_STRATEGY: Final = ("marketposition", "positionsize", "prevmarketposition", "strategy")


def read_message(raw: bytes) -> Reading:
    """Return what a body asks for, in its order.

    Args:
        raw: The body as it came, or as it was stored with its secrets masked; both mean the same.

    Returns:
        One alert or up to twenty. `parsed` holds the dialect, what each alert was understood as, and the members without secrets.

    Raises:
        BadPayload: it cannot be read or asks for something that cannot be; the message says what and where.
    """
    text = text_of(raw)
    check_placeholders(text)
    if text[0] in "{[":
        return _of_json(text)
    for read in (default_sentence, code_line):
        single = read(text)
        if single is not None:
            return _reading([single[0]], [single[1]])
    if is_alertatron(text):
        return _reading(*alertatron(text))
    if "=" in text:
        return _of_pairs(text)
    line = piped(text)
    if line is not None:
        return _reading([line[0]], [line[1]])
    members = plain_words(text)
    alert = alert_of(Members(members), "words")
    needs_symbol(alert)
    return _reading([alert], [members])


def _of_json(text: str) -> Reading:
    objects = objects_of(json_of(text))
    alerts = []
    for number, item in enumerate(objects, start=1):
        try:
            alerts.append(_of_object(item))
        except BadPayload as error:
            if len(objects) == 1:
                raise
            raise BadPayload(f"alert {number} of {len(objects)}: {error.message}", code=error.code, field=error.field) from error
    return _reading(alerts, list(objects))


def _of_object(item: Mapping[str, Any]) -> Alert:
    members = Members(item)
    adapter = platform_of(members)
    dialect = _own_dialect(members, "json") if adapter is None else adapter(members)
    return alert_of(members, dialect)


def _of_pairs(text: str) -> Reading:
    lines = lines_of(text)
    if lines and is_autoview(_first(lines[0])):
        return _reading(*autoview(text))
    pairs: dict[str, Any] = members_of_pairs(text)
    if not pairs:
        raise BadPayload("the message has an = but no name=value that can be read", code="UNREADABLE_TEXT")
    before = leading_words(text)
    if before:
        pairs = plain_words(before) | pairs
    members = Members(pairs)
    if members.has("signal") and members.has("symbol") and "action" not in members:
        dialect = octobot(members)
    else:
        adapter = platform_of(members)
        dialect = _own_dialect(members, "key=value") if adapter is None else adapter(members)
    alert = alert_of(members, dialect)
    check_protection(alert.action, loose_protection_of_pairs(text))
    return _reading([alert], [pairs])


def _first(line: str) -> Members:
    """The members of a first line, to know the dialect by; what is wrong with it is said by the dialect's own reader."""
    try:
        return Members(members_of_pairs(line))
    except BadPayload:
        return Members({})


def _own_dialect(members: Members, otherwise: str) -> str:
    action = members.peek("action")
    words = action.lower().replace("_", "") if isinstance(action, str) else ""
    if members.has(*_MISSION) or words in _MISSION_ACTIONS:
        return "mission"
    return "strategy" if members.has(*_STRATEGY) else otherwise


def _reading(alerts: list[Alert], members: list[Any]) -> Reading:
    shown = [masked_value("", item) for item in members]
    parsed = {
        "dialect": alerts[0].dialect,
        "alerts": [_understood(alert) for alert in alerts],
        "members": shown[0] if len(shown) == 1 else shown,
    }
    return Reading(alerts=tuple(alerts), parsed=parsed)


def _understood(alert: Alert) -> dict[str, Any]:
    """What was understood of an alert, in words and exact numbers; what it does not say is left out."""
    facts: dict[str, Any] = {
        "action": alert.action.value,
        "symbol": alert.symbol,
        "exchange": alert.exchange,
        "type": alert.type.value,
        "price": _level(alert.price),
        "size": None if alert.size is None else {"kind": alert.size.kind.value, "value": _plain(alert.size.value)},
        "position": _plain(alert.position),
        "moves_from": _plain(alert.moves_from),
        "stop": _level(alert.stop),
        "stop_limit": _level(alert.stop_limit),
        "trailing_delta": _plain(alert.trailing_delta),
        "targets": [{**(_level(target.level) or {}), "fraction": _plain(target.fraction)} for target in alert.targets],
        "break_even_after": alert.break_even_after,
        "time_in_force": alert.time_in_force.value,
        "post_only": alert.post_only or None,
        "account": alert.account,
        "key": alert.key,
        "at": None if alert.at is None else alert.at.isoformat(),
        "bar_time": None if alert.bar_time is None else alert.bar_time.isoformat(),
        "interval": None if alert.interval is None else alert.interval.value,
        "max_age_s": alert.max_age_s,
        "indicator": alert.indicator,
        "note": alert.note,
        "ignored": list(alert.ignored),
    }
    return {name: value for name, value in facts.items() if value is not None and value != []}


def _level(level: Level | None) -> dict[str, str] | None:
    if level is None:
        return None
    return {"price": str(_plain(level.price))} if level.price is not None else {"offset": str(_plain(level.offset))}


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else format(number.normalize(), "f")
