"""The members of one alert: found by any of their spellings, and it is known afterwards which nobody looked at."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.reading.numbers import is_nothing

_JOINTS: Final = re.compile(r"[\s_.\-]+")
#: How a name falls into words: stop_loss, stopLoss, stop-loss, SL1.
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PROTECTIVE: Final = frozenset({"sl", "tp", "stop", "trail", "protect", "protection"})
_PROTECTIVE_STARTS: Final = ("stop", "takeprofit", "trail", "breakeven", "movetobreakeven")
_PROTECTIVE_ENDINGS: Final = ("stop", "stoploss", "takeprofit")
_PROTECTIVE_PLAIN: Final = re.compile(r"(?:t?sl|t?tp|loss|targets?)[0-9]*(?:price|percent|pct|pips)?[0-9]*|prix(?:sl|tp)[0-9]*")
_SIGNS: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME: Final = 60
_MOST_IGNORED: Final = 50


def plain_name(name: str) -> str:
    """Return a name without case and joints: `stop_loss`, `stopLoss` and `STOP-LOSS` are one."""
    return _JOINTS.sub("", name).lower()


class Members:
    """The members of one object or text."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the members by the names their sender gave them.

        Raises:
            BadPayload: two of the names are one, such as stop_loss and stopLoss.
        """
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._read: set[str] = set()
        for name, value in values.items():
            plain = plain_name(name)
            if plain in self._names:
                raise BadPayload(
                    f"{self._names[plain][:40]} and {name[:40]} are one and the same; which one is meant?",
                    code="DUPLICATE_KEY",
                    field=name.lower()[:40],
                )
            self._names[plain] = name
            self._values[plain] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def has(self, *names: str) -> bool:
        """Tell whether one of the plain names is there, whatever its value."""
        return any(name in self._values for name in names)

    def peek(self, name: str) -> Any:
        """Return a value without counting it as read; None where there is none."""
        return self._values.get(name)

    def take(self, *names: str) -> Any:
        """Return the first value that is neither missing nor null nor an empty text; every spelling counts as read."""
        return self.take_named(*names)[1]

    def take_named(self, *names: str) -> tuple[str, Any]:
        """Return the same with the name it was given under, lower-case, for sentences."""
        result: tuple[str, Any] = (names[0], None)
        for name in reversed(names):
            if name in self._values:
                self._read.add(name)
                value = self._values[name]
                if value is not None and value != "":
                    result = (self.spelling(name), value)
        return result

    def take_all(self, *names: str) -> list[tuple[str, Any]]:
        """Return every value that is given under one of the names, with the name as it was spelled."""
        found = []
        for name in names:
            if name in self._values:
                self._read.add(name)
                if self._values[name] is not None and self._values[name] != "":
                    found.append((self.spelling(name), self._values[name]))
        return found

    def text(self, *names: str) -> str:
        """Return the first of the values that is there as text, without outer white space; empty where it is no text or number."""
        value = self.take(*names)
        return "" if isinstance(value, bool | dict | list) or value is None else str(value).strip()

    def put(self, name: str, value: Any) -> None:
        """Let a member of ours stand for what the sender said in another way; the name is shown in sentences."""
        self._names.setdefault(name, name)
        self._values[name] = value

    def drop(self, *names: str) -> None:
        """Take members out that have no bearing here, or that were read in another way. They are still listed as ignored."""
        for name in names:
            if name in self._values:
                self._values[name] = None

    def merge(self, name: str) -> None:
        """Bring the members of an inner object up to the others, where none of them has the name.

        Raises:
            BadPayload: the same name says different things inside and outside.
        """
        inner = self._values.get(name)
        if not isinstance(inner, dict):
            return
        self._values[name] = None
        self._read.add(name)
        for spelled, value in inner.items():
            plain = plain_name(spelled)
            if plain in self._values:
                if not _same(self._values[plain], value) and plain not in ("time", "price", "id", "type"):
                    raise BadPayload(
                        f"{spelled[:40]} says one thing outside and another inside {self.spelling(name)}",
                        code="DUPLICATE_KEY",
                        field=spelled.lower()[:40],
                    )
                continue
            self._names[plain] = spelled
            self._values[plain] = value

    def spelling(self, name: str) -> str:
        """Return how the sender spelled a plain name, lower-case and of a printable length."""
        return self._names.get(name, name).lower()[:40]

    def numbered(self, stem: str) -> Iterator[tuple[int, str, Any]]:
        """Yield the members `stem1`, `stem2`, … in order, with number, spelling and value; they count as read."""
        found = [(int(plain[len(stem) :]), plain) for plain in self._values if re.fullmatch(re.escape(stem) + "[0-9]{1,2}", plain)]
        for number, plain in sorted(found):
            self._read.add(plain)
            yield number, self.spelling(plain), self._values[plain]

    def unread(self) -> tuple[str, ...]:
        """Return the names that nobody looked at, as they were spelled."""
        return tuple(self._names[plain][:_LONGEST_NAME] for plain in self._values if plain not in self._read)[:_MOST_IGNORED]

    def unread_protection(self) -> str | None:
        """Return the name of a member that would protect a position and that nobody could read; None where there is none."""
        unread = ((self._names[plain], value) for plain, value in self._values.items() if plain not in self._read)
        return _protective(unread)


def _protective(items: Iterable[tuple[str, Any]]) -> str | None:
    level = list(items)
    while level:
        inner: list[tuple[str, Any]] = []
        for name, value in level:
            if is_protective(name) and not is_nothing(value):
                return name
            if isinstance(value, dict):
                inner += value.items()
            elif isinstance(value, list):
                inner += [pair for item in value if isinstance(item, dict) for pair in item.items()]
        level = inner
    return None


def is_protective(name: str) -> bool:
    """Tell whether a name is one of what protects a position, known here or not: `stop_loss`, `S/L`, `tsl`, `trailStop`."""
    plain = _SIGNS.sub("", name[:200].lower())
    if plain.startswith(_PROTECTIVE_STARTS) or plain.endswith(_PROTECTIVE_ENDINGS) or _PROTECTIVE_PLAIN.fullmatch(plain):
        return True
    return any(word.lower() in _PROTECTIVE for word in _WORDS.findall(name[:200]))


def _same(one: Any, other: Any) -> bool:
    return one == other or str(one).strip().lower() == str(other).strip().lower()
