"""What the other end said, in words that may be shown: a status and what it calls its reason, never a whole answer, never a secret."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from math import isnan
from typing import Any, Final
from urllib.parse import unquote

import orjson

from app.core.i18n import N_

LONGEST: Final = 300
_LONGEST_REASON: Final = 160
#: Where services say why: Telegram, Discord, Slack, ntfy, Gotify, Pushover, and most others.
_REASONS: Final = ("description", "error_description", "message", "error", "detail", "errors", "reason")
_SHORTEST_SECRET: Final = 5
_REST_S: Final = (5.0, 3600.0)
#: Asking again would not help: the address, the token or the message is wrong.
_FINAL: Final = frozenset({400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 415, 422, 451})
_FINAL_SMTP: Final = frozenset({500, 501, 502, 503, 504, 530, 534, 535, 538, 550, 551, 553, 554, 555})
_SAID: Final = N_("It answers %(status)s.")
_SAID_WHY: Final = N_("It answers %(status)s: %(reason)s")
_ELSEWHERE: Final = N_("It sends us elsewhere instead of answering. Give the address where it really is.")
_SERVER_OK: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answer. `words` is a sentence of the catalogue with its values in it; `rest_s`: ask no more for so long."""

    status: int
    words: str
    is_good: bool
    is_final: bool = False
    is_limited: bool = False
    rest_s: float | None = None


def of_response(response: Any) -> Exchange:
    """Read an answer by HTTP."""
    status = int(response.status_code)
    body = _json(response.content)
    if 300 <= status < _SERVER_OK:
        return Exchange(status=status, words=_ELSEWHERE, is_good=False, is_final=True)
    is_limited = status == HTTPStatus.TOO_MANY_REQUESTS
    return Exchange(
        status=status,
        words=_words(_named(status), _reason(body)),
        is_good=status < 300,
        is_final=status in _FINAL,
        is_limited=is_limited,
        rest_s=_rest_s(response.headers.get("Retry-After"), body) if is_limited or status == HTTPStatus.SERVICE_UNAVAILABLE else None,
    )


def of_smtp(code: int, words: bytes) -> Exchange:
    """Read a reply of a mail server."""
    reason = _shown(words.decode("utf-8", "replace")) if code >= _SERVER_OK else ""
    return Exchange(status=code, words=_words(str(code), reason), is_good=code < _SERVER_OK, is_final=code in _FINAL_SMTP)


def _words(status: str, reason: str) -> str:
    return _SAID_WHY % {"status": status, "reason": reason} if reason else _SAID % {"status": status}


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _reason(body: Any) -> str:
    found = next((body[name] for name in _REASONS if body.get(name)), None) if isinstance(body, dict) else None
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("message")
    return _shown(found) if isinstance(found, str) else ""


def _shown(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[:1000]).split())[:_LONGEST_REASON]


def _rest_s(header: str | None, body: Any) -> float | None:
    inner = body.get("parameters") if isinstance(body, dict) else None
    candidates: list[Any] = [header]
    candidates += [part.get("retry_after") for part in (inner, body) if isinstance(part, dict)]
    for found in candidates:
        try:
            seconds = float(found)
        except (TypeError, ValueError):
            continue  # a date, or nothing: the usual pause will do
        if not isnan(seconds):  # "nan" is a number to `float`, and no pause
            return min(max(seconds, _REST_S[0]), _REST_S[1])
    return None


def without(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every part of an address taken out that may be a secret.

    Args:
        text: What is to be shown or kept.
        secrets: Addresses whose parts must not stand in it.
    """
    parts = {
        piece
        for secret in secrets
        for form in (secret, unquote(secret))
        for piece in re.split(r"[/:@?&=,+]+", form)
        if len(piece) >= _SHORTEST_SECRET and not piece.isalpha()
    }
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "***")
    return text[:LONGEST]
