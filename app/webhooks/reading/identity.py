"""What identifies a body among those of its webhook, so that a resend is known as one and a new signal is never taken for an old one."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.domain.candles import EPOCH
from app.errors import BadPayload
from app.webhooks.reading.members import Members
from app.webhooks.reading.moments import ALERT_TIMES, EITHER_TIMES, is_exact, moment_of
from app.webhooks.reading.text import json_of, members_of_pairs, objects_of, text_of

#: The sender's promise that the name is given once.
_PROMISED: Final = ("clientintentid", "idempotencykey")
#: Names of one event, and names that are often a strategy's, an order's or an alert's own, the same at every trade.
_OF_EVENTS: Final = ("eventid", "messageid", "signalid")
_OFTEN_FIXED: Final = ("alertid", "id", "uid", "uuid", "tradeid")
#: Source: github.com/ulid/spec. Ten signs are milliseconds since 1970.
_ULID: Final = re.compile(r"([0-7][0-9A-HJKMNP-TV-Z]{9})[0-9A-HJKMNP-TV-Z]{16}")
_CROCKFORD: Final = {sign: value for value, sign in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: Nobody sent alerts before: ten digits that would be an older moment are a number of a bot, the same at every trade.
_FIRST: Final = datetime(2019, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
#: A name that was made for this alert was made now; one of another day may be a bot's or a strategy's, made once for all its alerts.
_LATELY: Final = timedelta(days=2)
_LATEST_MS: Final = 10**14
_GREGORIAN: Final = datetime(1582, 10, 15, tzinfo=UTC)
#: A moment inside a name: `2025-06-22T20:19:01Z-Long`, `Long 1750623541`.
_MOMENT: Final = re.compile(
    r"(?<![0-9])([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|[0-9]{10}|[0-9]{13})(?![0-9])"
)
_BESIDE: Final = ("symbol", "ticker", "pair", "instrument", "tvinstrument", "action", "side", "signal", "direction")
_LONGEST: Final = 200


def delivery_key(raw: bytes, *, now: datetime | None = None) -> tuple[bytes, bool]:
    """Return what identifies this body among its webhook's (16 bytes), and whether it does so for ever.

    A `client_intent_id` does, and so does a name that holds a moment or was made from one, together with symbol and action. A body that
    carries the moment of the alert does as a whole. The name of an event that holds no moment (a random UUID) may have been typed into the
    message, the same at every trade, and TradingView's `{{strategy.order.id}}` and `{{time}}` are the same for many alerts: by these, as by
    the bytes of any other body, only what comes within a short window is a repeat.

    Args:
        raw: The body as it came.
        now: When it came. A name whose moment is another day's is then no name for ever: it may stand for all alerts of a bot.
    """
    whole = hashlib.blake2b(raw, digest_size=16).digest()
    try:
        found = [Members(item) for item in _objects(raw)]
    except BadPayload:
        return whole, False
    if not found:
        return whole, False
    names = [name for name in map(_name_of, found) if name is not None]
    are_all_named = len(names) == len(found)
    is_for_ever = are_all_named and all(name.is_of(now) for name in names)
    if not is_for_ever and any(_has_moment(members) for members in found):
        return whole, True
    if not are_all_named:
        return whole, False
    joined = "\n".join(name.marked for name in names)
    return hashlib.blake2b(joined.encode(), digest_size=16).digest(), is_for_ever


def _objects(raw: bytes) -> list[Mapping[str, Any]]:
    text = text_of(raw)
    if text[0] in "{[":
        return objects_of(json_of(text))
    return [members_of_pairs(text)] if "=" in text else []


@dataclass(frozen=True, slots=True)
class _Name:
    """What names an alert; `made_at` is the moment in it, if it holds one. Where `is_promised`, its sender gives it once."""

    text: str
    made_at: datetime | None = None
    is_promised: bool = False

    @property
    def marked(self) -> str:
        """The text, other than any that counts for ever where this one does not: those were once taken for such."""
        return f"{'id' if self.is_promised or self.made_at is not None else 'event'}:{self.text}"

    def is_of(self, now: datetime | None) -> bool:
        """Whether it was made for an alert of now, and so for no other one."""
        if self.is_promised or self.made_at is None:
            return self.is_promised
        return now is None or abs(now - self.made_at) <= _LATELY


def _name_of(members: Members) -> _Name | None:
    for name in _PROMISED:
        given = members.text(name)
        if given:
            return _Name(given, is_promised=True)
    for name in (*_OF_EVENTS, *_OFTEN_FIXED):
        given = members.text(name)[:_LONGEST]
        if not given:
            continue
        made_at = _moment_in(given)
        if made_at is not None or (name in _OF_EVENTS and _UUID.fullmatch(given) is not None):
            # Two symbols may fire in the same second under the same order's name.
            return _Name("\t".join([given, *(members.text(beside)[:_LONGEST] for beside in _BESIDE)]), made_at)
    return None


def _moment_in(given: str) -> datetime | None:
    """The moment at which a name was made, as far as it says so."""
    if _UUID.fullmatch(given) is not None:
        return _moment_of_uuid(UUID(given))
    ulid = _ULID.fullmatch(given.upper())
    if ulid is not None:
        return _moment_of_ulid(ulid[1])
    found = _MOMENT.search(given)
    moment = None if found is None else moment_of(found[1])
    return moment if moment is not None and moment >= _FIRST and is_exact(moment) else None


def _moment_of_uuid(uuid: UUID) -> datetime | None:
    """The moment of a UUID of the versions that carry one (RFC 9562)."""
    if uuid.version == 7:
        milliseconds = uuid.int >> 80
        return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds < _LATEST_MS else None
    if uuid.version not in (1, 6):
        return None
    ticks = uuid.time if uuid.version == 1 else (uuid.int >> 80) << 12 | (uuid.int >> 64 & 0xFFF)
    return _GREGORIAN + timedelta(microseconds=ticks // 10)


def _moment_of_ulid(signs: str) -> datetime | None:
    milliseconds = 0
    for sign in signs:
        milliseconds = milliseconds << 5 | _CROCKFORD[sign]
    moment = EPOCH + timedelta(milliseconds=min(milliseconds, _LATEST_MS))
    return moment if _FIRST <= moment <= _LAST else None


def _has_moment(members: Members) -> bool:
    moments = [moment_of(members.peek(name)) for name in (*ALERT_TIMES, *EITHER_TIMES)]
    return any(moment is not None and is_exact(moment) for moment in moments)
