"""What a list of the history is asked for, and the conditions that this makes; each list knows its own columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.errors import InvalidInput

_BETWEEN: Final = "~"
_NO_CURSOR: Final = "the cursor is not one that a list gave"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which rows: None and "" ask for nothing. `since` is inclusive, `until` exclusive.

    `symbol` is a pair as people spell it, or one asset (every pair that buys and sells it). `text` is looked for in reasons and notes,
    `tag` among a note's tags. A list that has no such column pays no heed to it.
    """

    since: datetime | None = None
    until: datetime | None = None
    broker_id: UUID | None = None
    bot_id: UUID | None = None
    symbol: str = ""
    side: str = ""
    type: str = ""
    state: str = ""
    source: str = ""
    text: str = ""
    tag: str = ""


#: Nothing is asked: all of it.
EVERYTHING: Final = HistoryFilter()


def spelled(symbol: str) -> str:
    """Return a symbol without what may stand between its halves."""
    return re.sub(r"[^A-Z0-9]", "", symbol.upper())


@dataclass(slots=True)
class Conditions:
    """Conditions of one statement and their values, numbered as they are added. The first value is always the user."""

    values: list[Any]
    parts: list[str] = field(default_factory=list)

    def value(self, value: Any) -> str:
        """Return the placeholder of one more value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition; each `{}` in it stands for one value."""
        self.parts.append(condition.format(*(self.value(value) for value in values)))

    def equal(self, asked: HistoryFilter, columns: Mapping[str, str]) -> None:
        """Add what `asked` wants of these columns, by the filter's field."""
        for name, column in columns.items():
            if wanted := getattr(asked, name):
                self.add(f"{column} = {{}}", wanted)

    def within(self, asked: HistoryFilter, moment: str) -> None:
        """Add the range of time."""
        if asked.since is not None:
            self.add(f"{moment} >= {{}}", asked.since)
        if asked.until is not None:
            self.add(f"{moment} < {{}}", asked.until)

    def symbol(self, asked: HistoryFilter, column: str) -> None:
        """Add the symbol, or the asset that is bought and sold."""
        if "/" in asked.symbol:
            self.add(f"{column} = {{}}", asked.symbol.strip().upper())
        elif asked.symbol:
            known = self.value(spelled(asked.symbol))
            self.parts.append(f"(replace({column}, '/', '') = {known} OR split_part({column}, '/', 1) = {known})")

    def __str__(self) -> str:
        return "".join(f" AND {part}" for part in self.parts)


def place_of(at: datetime, *rest: object) -> str:
    """Return the cursor of a row: its moment and what tells it from others of that moment."""
    return _BETWEEN.join([at.isoformat().replace("+00:00", "Z"), *(str(part) for part in rest)])


def parts_of(cursor: str, count: int) -> tuple[datetime, list[str]]:
    """Return a cursor's moment and its further parts.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    try:
        at, *rest = cursor.split(_BETWEEN)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or len(rest) != count or "\x00" in cursor:
            raise ValueError("not as we write it")  # noqa: TRY301  # joins the other ways of being no cursor
    except ValueError as error:
        raise InvalidInput(_NO_CURSOR, field="cursor") from error
    return moment, rest


def uuid_of(part: str) -> UUID:
    """Return a part of a cursor as an id.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return UUID(part)
    except ValueError as error:
        raise InvalidInput(_NO_CURSOR, field="cursor") from error


def following(conditions: Conditions, cursor: str | None, moment: str, identity: str) -> None:
    """Add that rows come after `cursor` in a list that is sorted by a moment and an id, both falling.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    if cursor is not None:
        at, (identifier,) = parts_of(cursor, 1)
        conditions.add(f"({moment}, {identity}) < ({{}}, {{}})", at, uuid_of(identifier))
