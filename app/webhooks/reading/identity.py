"""What identifies a body among those of its webhook, so that a resend is known as one and a new signal is never taken for an old one."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.reading.members import Members
from app.webhooks.reading.moments import ALERT_TIMES, EITHER_TIMES, is_exact, moment_of
from app.webhooks.reading.text import json_of, members_of_pairs, objects_of, text_of

#: The sender's promise that the name is given once.
_PROMISED: Final = ("clientintentid", "idempotencykey")
#: Names of one event, and names that are often a strategy's, an order's or an alert's own, the same at every trade.
_OF_EVENTS: Final = ("eventid", "messageid", "signalid")
_OFTEN_FIXED: Final = ("alertid", "id", "uid", "uuid", "tradeid")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TIMED_UUIDS: Final = frozenset("167")
#: A moment inside a name: `2025-06-22T20:19:01Z-Long`, `Long 1750623541`.
_MOMENT: Final = re.compile(
    r"(?<![0-9])([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|[0-9]{10}|[0-9]{13})(?![0-9])"
)
_BESIDE: Final = ("symbol", "ticker", "pair", "instrument", "tvinstrument", "action", "side", "signal", "direction")
_LONGEST: Final = 200


def delivery_key(raw: bytes) -> tuple[bytes, bool]:
    """Return what identifies this body among its webhook's (16 bytes), and whether it does so for ever.

    A `client_intent_id` does, and so does a name that holds a moment or was made from one, together with symbol and action. A body that
    carries the moment of the alert does as a whole. TradingView's `{{strategy.order.id}}` and `{{time}}` are the same for many alerts:
    any other body may rightly come again, when the same alert fires again, so only a repeat within a short window is one.
    """
    whole = hashlib.blake2b(raw, digest_size=16).digest()
    try:
        found = [Members(item) for item in _objects(raw)]
    except BadPayload:
        return whole, False
    if not found:
        return whole, False
    names = [_name_of(members) for members in found]
    if all(name is not None for name in names):
        return hashlib.blake2b("\n".join(f"id:{name}" for name in names).encode(), digest_size=16).digest(), True
    return whole, any(_has_moment(members) for members in found)


def _objects(raw: bytes) -> list[Mapping[str, Any]]:
    text = text_of(raw)
    if text[0] in "{[":
        return objects_of(json_of(text))
    return [members_of_pairs(text)] if "=" in text else []


def _name_of(members: Members) -> str | None:
    for name in _PROMISED:
        given = members.text(name)
        if given:
            return given
    for name in (*_OF_EVENTS, *_OFTEN_FIXED):
        given = members.text(name)[:_LONGEST]
        if given and _is_of_one_alert(given, is_of_event=name in _OF_EVENTS):
            # Two symbols may fire in the same second under the same order's name.
            return "\t".join([given, *(members.text(beside)[:_LONGEST] for beside in _BESIDE)])
    return None


def _is_of_one_alert(given: str, *, is_of_event: bool) -> bool:
    uuid = _UUID.fullmatch(given)
    if uuid is not None:
        return is_of_event or uuid[1] in _TIMED_UUIDS
    found = _MOMENT.search(given)
    moment = None if found is None else moment_of(found[1])
    return moment is not None and is_exact(moment)


def _has_moment(members: Members) -> bool:
    moments = [moment_of(members.peek(name)) for name in (*ALERT_TIMES, *EITHER_TIMES)]
    return any(moment is not None and is_exact(moment) for moment in moments)
