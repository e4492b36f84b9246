"""A strategy as a file: its source under comments that carry its name and its description, so that it comes back as it went."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from app.core.i18n import N_
from app.errors import StrategyFileUnreadable
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies.models import LONGEST_DESCRIPTION, LONGEST_NAME

_FIRST: Final = "# aristobot strategy"
_NAME: Final = "# name: "
_DESCRIPTION: Final = "# description: "
_MORE: Final = "#   "
#: Of a file: four bytes a character of source, and the comments above it.
LARGEST_FILE: Final = 4 * (LONGEST_SOURCE + LONGEST_NAME + LONGEST_DESCRIPTION) + 4_096
#: Names that Windows keeps for devices, whatever follows the dot.
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
_LONGEST_FILE_NAME: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFile:
    """What a file says; a name or a description that it does not give is empty."""

    name: str
    description: str
    source: str


def file_name(name: str, number: int) -> str:
    """Return a name for the file of a version that every system takes: `ema-cross-v3.py`. Letters without an accent, digits, dashes."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_FILE_NAME].strip("-") or "strategy"
    if _RESERVED.fullmatch(slug):
        slug = f"strategy-{slug}"
    return f"{slug}-v{number}.py"


def written_file(*, name: str, description: str, source: str) -> str:
    """Return the text of a file."""
    head = [_FIRST, _NAME + _one_line(name)]
    lines = description.split("\n") if description else []
    head += [(_MORE if place else _DESCRIPTION) + _one_line(line) for place, line in enumerate(lines)]
    return "\n".join([*head, "", source])


def _one_line(text: str) -> str:
    # Python ends a comment at a carriage return and at a form feed's line too; what is no sign must not become code.
    return "".join(sign if sign.isprintable() else " " for sign in text)


def read_file(data: bytes, *, called: str) -> StrategyFile:
    """Return what a file holds; one without our comments is all source, and named as the file is.

    Raises:
        StrategyFileUnreadable: it is no text in UTF-8, is empty or too large.
    """
    if len(data) > LARGEST_FILE:
        raise StrategyFileUnreadable(N_(f"the file may have {LARGEST_FILE} bytes, was {len(data)}"), field="file")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise StrategyFileUnreadable(N_("the file is no text in UTF-8"), field="file") from error
    if "\0" in text or not text.strip():
        raise StrategyFileUnreadable(N_("there is no source in the file"), field="file")
    name, description, source = _parsed(text)
    return StrategyFile(name=_fit(name or _from_file_name(called)), description=description[:LONGEST_DESCRIPTION], source=source)


def _parsed(text: str) -> tuple[str, str, str]:
    lines = text.split("\n")
    if lines[0].rstrip() != _FIRST:
        return "", "", text
    name, description, place = "", [], 1
    if place < len(lines) and lines[place].startswith(_NAME):
        name, place = lines[place].removeprefix(_NAME), place + 1
    if place < len(lines) and lines[place].startswith(_DESCRIPTION):
        description, place = [lines[place].removeprefix(_DESCRIPTION)], place + 1
        while place < len(lines) and lines[place].startswith(_MORE):
            description.append(lines[place].removeprefix(_MORE))
            place += 1
    if place < len(lines) and not lines[place].strip():
        place += 1
    return name, "\n".join(description), "\n".join(lines[place:])


def _from_file_name(called: str) -> str:
    base = re.split(r"[/\\]", called)[-1]
    return re.sub(r"-v\d+$", "", base.removesuffix(".py")).replace("_", " ")


def _fit(name: str) -> str:
    return " ".join(_one_line(name).split())[:LONGEST_NAME].strip() or "Strategy"
