"""Durations as people write them in scenarios and on the command line."""

import re

from app.errors import InvalidInput

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_WITH_UNIT = re.compile(r"([+-]?)(\d{1,12})(ms|s|m|h|d)")
_CLOCK = re.compile(r"(\d{1,4}):([0-5]\d):([0-5]\d)(?:\.(\d{1,3}))?")


def read_duration(text: object) -> int:
    """Return the milliseconds of `30s`, `7000ms`, `-2h`, `5m`, `1d` or `00:05:00`; a whole number is milliseconds already.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    words = str(text).strip()
    if match := _WITH_UNIT.fullmatch(words):
        return int(match[1] + match[2]) * _UNITS_MS[match[3]]
    if match := _CLOCK.fullmatch(words):
        hours, minutes, seconds, fraction = match.groups()
        return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000 + int((fraction or "0").ljust(3, "0"))
    raise InvalidInput(f"a duration looks like 30s, 7000ms, 5m or 00:05:00, was {text!r}")
