"""From bytes to text, JSON or `name=value` pairs, refusing what could be read in two ways. Knows nothing of trading."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, Final, TypeVar

from app.errors import BadPayload

T = TypeVar("T")

MOST_ALERTS: Final = 20
_DEEPEST: Final = 8
_MOST_MEMBERS: Final = 400
_LONGEST_NUMBER: Final = 60
_NO_TEXT: Final = re.compile("[\x00\ufffd\ud800-\udfff]")
_SMART: Final = re.compile("[\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u2033]")
#: A typographic quote where a straight one would begin or end a value; inside a comment it is only a sign.
_SMART_VALUE: Final = re.compile("[=:|]\\s*+[\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u201a]")
_PLACEHOLDER: Final = re.compile(r"\{\{([^{}]{1,80})\}\}")
# A name starts at a word's start and is never given back: otherwise 64 KiB of letters cost seconds, and anybody can send them.
_NAME: Final = re.compile(r"(?<![\w.-])([^\W\d][\w.-]*+)[ \t]*+=[ \t]*+")
#: A block of commands: `name(SYMBOL) { command(…); … }`.
BLOCK: Final = re.compile(r"(?<![\w.\-])([\w.\-]{1,60}+)\(\s*+([^()\s{}]{1,60})\s*+\)\s*+\{([^{}]*+)\}")
#: What ends a value, apart from the next name.
_END: Final = re.compile(r"[;\r\n]")


def text_of(raw: bytes) -> str:
    """Return the body as text, without a byte order mark and outer white space.

    Raises:
        BadPayload: it is empty, not UTF-8, has characters that are no text, or a placeholder that was not filled in.
    """
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadPayload(f"the message is not UTF-8 text (byte {error.start})", code="NOT_TEXT") from error
    _check_text(text)
    if not text:
        raise BadPayload("the message is empty", code="EMPTY")
    return text


def check_placeholders(text: str) -> None:
    """Refuse a text in which TradingView left a placeholder standing: what it stood for is not known.

    Raises:
        BadPayload: PLACEHOLDER_UNFILLED, naming it.
    """
    found = _PLACEHOLDER.search(text)
    if found is not None:
        raise BadPayload(
            f"the placeholder {found[0][:60]} was not filled in: TradingView knows it only in the alerts that have such a value"
            " (strategy.… in alerts of a strategy), or it is misspelled",
            code="PLACEHOLDER_UNFILLED",
        )


def json_of(text: str) -> Any:
    """Return the JSON value in `text`, its numbers exact.

    Raises:
        BadPayload: it is no JSON, too deep, has a name twice in one object, or a number that is none.
    """
    try:
        value = json.loads(
            text, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse_constant, object_pairs_hook=_object_without_doubles
        )
    except json.JSONDecodeError as error:
        if _SMART.search(text) is not None:
            raise BadPayload(
                'the message has typographic quotes (“ ”), as web pages write them: replace them by straight quotes (")',
                code="SMART_QUOTES",
            ) from error
        hint = "; a placeholder without quotes may have come out empty" if error.doc[error.pos : error.pos + 1] in ",}]" else ""
        raise BadPayload(
            f"the message is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}", code="NOT_JSON"
        ) from error
    except (RecursionError, InvalidOperation) as error:
        raise BadPayload("the message is nested too deeply or has a number that cannot be read", code="NOT_JSON") from error
    _check_shape(value)
    return value


def objects_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the alerts of a JSON body: one object, or a list of up to twenty.

    Raises:
        BadPayload: it is something else, or too many.
    """
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(item, dict) for item in found):
        raise BadPayload(
            'the message must be one JSON object, like {"ticker": "BTCUSDT", "action": "buy"}, or a list of such objects',
            code="NOT_OBJECT",
        )
    check_count(len(found))
    return found


def check_count(number: int) -> None:
    """Refuse a message of more than twenty alerts.

    Raises:
        BadPayload: TOO_MANY_ALERTS.
    """
    if number > MOST_ALERTS:
        raise BadPayload(f"a message may hold at most {MOST_ALERTS} alerts, was {number}", code="TOO_MANY_ALERTS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A `name=value` in a text; `begin` is where its name stands, `start` and `end` where the value does, quotes included."""

    name: str
    value: str
    begin: int
    start: int
    end: int


def pairs_of(text: str) -> Iterator[Pair]:
    """Yield the `name=value` pairs of a text.

    A value goes on to the next name, a semicolon or the end of the line, so that names of several words and comma decimals stay whole.
    Quotes, blanks and commas around it do not belong to it.
    """
    names = list(_NAME.finditer(text))
    limits = [found.start() for found in names[1:]] + [len(text)]
    for found, limit in zip(names, limits, strict=False):
        start = found.end()
        quote = text[start : start + 1]
        closing = text.find('"', start + 1, limit) if quote == '"' else -1
        if closing > 0 and not text[closing + 1 : limit].strip(" \t\r\n,;"):
            end = closing + 1
        else:
            ending = _END.search(text, start, limit)
            end = limit if ending is None else ending.start()
            end = start + len(text[start:end].rstrip(" \t\r\n,"))
        yield Pair(name=found[1], value=text[start:end].strip('"').strip(), begin=found.start(), start=start, end=end)


def between_pairs(text: str) -> Iterator[str]:
    """Yield what stands behind a pair and belongs to none: what follows a semicolon or a line's end without an =."""
    end = None
    for pair in pairs_of(text):
        if end is not None:
            yield text[end : pair.begin]
        end = pair.end
    if end is not None:
        yield text[end:]


def leading_words(text: str) -> str:
    """Return what stands before the first pair of a text."""
    found = _NAME.search(text)
    return text if found is None else text[: found.start()].strip(" \t\r\n,;")


def members_of_pairs(text: str) -> dict[str, str]:
    """Return the pairs of a text by name, as spelled.

    Raises:
        BadPayload: a name stands there twice, there are too many, or a value begins with a typographic quote.
    """
    if _SMART_VALUE.search(text) is not None:
        raise BadPayload('a value has typographic quotes (“ ”): replace them by straight quotes (")', code="SMART_QUOTES")
    pairs = [(pair.name, pair.value) for pair in islice(pairs_of(text), _MOST_MEMBERS + 1)]
    if len(pairs) > _MOST_MEMBERS:
        raise BadPayload(f"a message may hold at most {_MOST_MEMBERS} names with a value", code="TOO_MANY_MEMBERS")
    return _without_doubles(pairs)


def _object_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in pairs:
        _check_text(name)  # a refusal says the name, and is stored
    return _without_doubles(pairs)


def _without_doubles(pairs: list[tuple[str, T]]) -> dict[str, T]:
    seen: set[str] = set()
    for name, _ in pairs:
        if name.lower() in seen:
            raise BadPayload(f"{name[:40]} is given twice; which one is meant?", code="DUPLICATE_KEY", field=name.lower()[:40])
        seen.add(name.lower())
    return dict(pairs)


def _integer(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise BadPayload(f"a number has {len(text)} digits", code="NUMBER_INVALID")
    return Decimal(text)


def _refuse_constant(name: str) -> Any:
    raise BadPayload(
        f"{name} is not a number one can trade: a value of the strategy was not there (na) when the alert fired", code="NUMBER_INVALID"
    )


def _check_shape(value: Any) -> None:
    """Refuse what is nested too deeply, and text that an escape made impossible. Level by level: recursion would end in a crash."""
    level = [value]
    for _ in range(_DEEPEST + 1 + isinstance(value, list)):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str):
                _check_text(item)
        level = inner
    if level:
        raise BadPayload(f"the message is nested deeper than {_DEEPEST} levels", code="NOT_JSON")


def _check_text(text: str) -> None:
    """Refuse characters that cannot be stored, and U+FFFD: it stands where the stored copy of a message lost a byte."""
    found = _NO_TEXT.search(text)
    if found is not None:
        raise BadPayload(f"the message has a character that is no text (U+{ord(found[0]):04X})", code="NOT_TEXT")
