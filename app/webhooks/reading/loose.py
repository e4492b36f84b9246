"""What protects a position and stands in a text where no reader looks: `SL: 59000` on a line of its own, a command that was cut off."""

import re
from typing import Final

from app.webhooks.reading.members import is_protective
from app.webhooks.reading.text import between_pairs

#: A word with a value behind it, as people write them; names and blanks are never given back.
_NAMED: Final = re.compile(r"(?<![\w./\-])([A-Za-z][A-Za-z0-9_./\-]{0,60}+)[ \t]*+[:=(][ \t]*+[@+$\-]?[\w.]")
_BESIDE: Final = re.compile(r"(?<![\w./\-])([A-Za-z][A-Za-z0-9_./\-]{0,60}+)[ \t]++[@+$\-]?[0-9]")


def loose_protection(text: str) -> str | None:
    """Return the name of the first thing in what no reader took that would protect; None when there is none."""
    return next((found[1] for found in _NAMED.finditer(text) if is_protective(found[1])), None)


def loose_protection_of_pairs(text: str) -> str | None:
    """Return the same of a text of `name=value` pairs: beside them, and inside a value as `SL: 59000`."""
    for found in _NAMED.finditer(text):
        if found[0].find("=", len(found[1])) < 0 and "(" not in found[0] and is_protective(found[1]):
            return found[1]
    for piece in between_pairs(text):
        for found in _BESIDE.finditer(piece):
            if is_protective(found[1]):
                return found[1]
    return None
