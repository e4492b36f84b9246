"""Secrets that senders put into messages, hidden before anything is stored or shown. The rest stays as it came, byte for byte."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from app.webhooks.reading.members import plain_name
from app.webhooks.reading.platforms import WUNDER_CODE
from app.webhooks.reading.text import BLOCK, pairs_of

MASK: Final = "***"
_LONGEST_NAME: Final = 80
_EXACT: Final = frozenset(
    {"key", "pass", "pwd", "pin", "otp", "auth", "authorization", "bearer", "sig", "signature", "credential", "credentials", "hmac"}
)
_ENDINGS: Final = (
    "secret", "token", "password", "passphrase", "passwd", "passcode", "apikey", "secretkey", "privatekey", "accesskey", "authkey",
    "webhookkey", "botkey", "userkey", "licensekey", "signingkey", "bvakey",
)  # fmt: skip
_STARTS: Final = ("secret", "password", "passphrase", "apisecret", "apikey")
#: A string that is never closed goes on to the end: to look for its end again at every quote would take seconds.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z|\\\Z)|[{}\[\]:,]|[^\s"{}\[\]:,]++', re.DOTALL)
#: A name and the = or : behind it, in texts, in commands and in what was meant to be JSON.
_NAME: Final = re.compile(r"(?<![\w.\-])([\w.\-]++)[\"'\u2018-\u201f\u00ab\u00bb\\]*+[ \t]*+([=:])\s*+")
#: The value behind it: in quotes of some kind (then only what is between them counts), or up to what cannot belong to it.
_VALUE: Final = re.compile(
    r"\\\"([^\"\\\r\n]*+)|\"((?:[^\"\\\r\n]++|\\.)*+)|'([^'\r\n]*+)|[\u201c\u201d\u201e\u00ab]([^\u201c\u201d\u00bb\r\n]*+)|([^\s,;|&}\])\"'\\]++)"
)
_CLOSING: Final = frozenset("\"'\\")
_END_OF_ARGUMENT: Final = re.compile(r"[(){},;]")
_REST_OF_LINE: Final = re.compile(r"(?:(?![ \t][^\W\d][\w.\-]*+=[^=\s])[^\r\n;,|])++")
#: Where the next `name=value` begins, up to which that goes too: what the reader reads must stay. An = at the end of base64 is none.
_NEXT_PAIR: Final = re.compile(r"[ \t;,]++[^\W\d][\w.\-]*+=[^=\s]")


def is_secret(name: str) -> bool:
    """Tell whether a member of this name holds a secret of its sender."""
    return _is_secret(name[-_LONGEST_NAME:])


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    plain = plain_name(name)
    return plain in _EXACT or plain.endswith(_ENDINGS) or plain.startswith(_STARTS)


def masked_text(raw: str) -> str:
    """Return a message with its senders' secrets hidden, in whatever way it is written; what is no secret is not touched.

    Hidden are the values of members named like secrets, however deep and of whatever kind, the key at the start of a line with pipes, and
    the end of a WunderTrading code.
    """
    if raw.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", '"'):
        raw = _replace(raw, _json_secrets(raw), quoted=True)
    elif "=" in raw:
        raw = _replace(raw, _pair_secrets(raw), quoted=False)
    return _masked_pipe(_masked_codes(_replace(raw, _loose_secrets(raw), quoted=False)))


def masked_value(name: str, value: Any, deepest: int = 8) -> Any:
    """Return a member's value as it may be shown and stored as JSON: without secrets, numbers as text, long texts cut."""
    if is_secret(name):
        return MASK
    if isinstance(value, dict) and deepest:
        return {str(key)[:100]: masked_value(str(key), item, deepest - 1) for key, item in list(value.items())[:50]}
    if isinstance(value, list) and deepest:
        return [masked_value("", item, deepest - 1) for item in value[:50]]
    if isinstance(value, str):
        return masked_text(value[:2000])
    return value if value is None or isinstance(value, bool) else str(value)[:2000]


def _pair_secrets(text: str) -> Iterator[tuple[int, int]]:
    """The places of secret values in a text of pairs, as far as the reader takes them to go; in commands an argument ends earlier."""
    in_commands = BLOCK.search(text) is not None
    for pair in pairs_of(text):
        if is_secret(pair.name) and pair.end > pair.start:
            ending = _END_OF_ARGUMENT.search(text, pair.start, pair.end) if in_commands else None
            yield pair.start, pair.end if ending is None else ending.start()


def _json_secrets(text: str) -> Iterator[tuple[int, int]]:
    """The places of secret values in a text that is JSON, or begins like it."""
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    number = 0
    while number < len(tokens) - 2:
        start, end = tokens[number]
        colon = tokens[number + 1]
        if text[start] == '"' and text[colon[0]] == ":" and is_secret(_unescaped(text[start:end])):
            last = _last_of_value(text, tokens, number + 2)
            yield tokens[number + 2][0], tokens[last][1]
            number = last
        number += 1


def _last_of_value(text: str, tokens: list[tuple[int, int]], first: int) -> int:
    """The number of the last token of the value that begins at `first`; the last of all where it is never closed."""
    sign = text[tokens[first][0]]
    if sign not in "{[":
        return first
    depth = 0
    for number in range(first, len(tokens)):
        start, end = tokens[number]
        if end - start == 1 and text[start] in "{[":
            depth += 1
        elif end - start == 1 and text[start] in "}]":
            depth -= 1
            if depth == 0:
                return number
    return len(tokens) - 1


def _unescaped(string: str) -> str:
    """A member's name as it is meant, without the escapes that JSON allows in it."""
    try:
        return str(json.loads(string, strict=False))
    except ValueError:
        return string.strip('"')


def _replace(text: str, places: Iterator[tuple[int, int]], *, quoted: bool) -> str:
    parts: list[str] = []
    done = 0
    for start, end in places:
        parts += [text[done:start], f'"{MASK}"' if quoted else MASK]
        done = end
    return "".join([*parts, text[done:]])


def _loose_secrets(text: str) -> Iterator[tuple[int, int]]:
    """The places of values behind secret names anywhere in a text, one pass over it."""
    is_json = text.lstrip()[:1] in ("{", "[", '"')
    at = 0
    while (name := _NAME.search(text, at)) is not None:
        at = name.end()
        if not is_secret(name[1]):
            continue
        value = _VALUE.match(text, at)
        if value is None:
            continue
        group = value.lastindex or 0
        start, end = value.span(group)
        if group == 5 and name[2] == ":" and not is_json and (rest := _REST_OF_LINE.match(text, at)) is not None:
            end = rest.end()
        if group in (1, 2, 3) and not is_json and text[end : end + 1] not in _CLOSING and (pair := _NEXT_PAIR.search(text, start, end)):
            end = pair.start()  # a quote that is never closed
        if end > start:
            yield start, end
        at = max(at, end)


def _masked_codes(text: str) -> str:
    if "-" not in text or "_" not in text:
        return text
    lines = re.split(r'([\r\n"]+)', text)
    return "".join(_masked_code(line) for line in lines)


def _masked_code(line: str) -> str:
    found = WUNDER_CODE.fullmatch(line.strip())
    return line if found is None else line.replace(found[0], found[0][: -len(found[5])] + MASK)


def _masked_pipe(text: str) -> str:
    """`key|strategy|action|ticker`: the first part is the key."""
    if "\n" in text.strip() or "=" in text or text.count("|") not in (3, 4) or text.lstrip()[:1] in "{[":
        return text
    key, rest = text.split("|", 1)
    return MASK + "|" + rest if key.strip() else text
