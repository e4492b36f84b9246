"""The log of a bot: every line has a level, a stable word, and an English sentence with names in place of its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.events import BotLogged
from app.bots.models import EventLevel

_ADD: Final = """
INSERT INTO bot_events (bot_id, user_id, at, level, kind, message, values)
SELECT line.bot_id, line.user_id, line.at, line.level, line.kind, line.message, line.given::jsonb
  FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[])
       AS line (bot_id, user_id, at, level, kind, message, given)
  JOIN bots ON bots.id = line.bot_id AND bots.user_id = line.user_id
"""
_ADD_ONE: Final = text("""
INSERT INTO bot_events (bot_id, user_id, at, level, kind, message, values)
VALUES (:bot_id, :user_id, :at, :level, :kind, :message, :given)
""").bindparams(bindparam("given", type_=JSONB))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence: an English `message` with names for its `values`, as rows keep it and pages translate it."""

    message: str
    values: Mapping[str, str] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {"message": self.message, "values": dict(self.values)}


def said(message: str, **values: object) -> Said:
    """Return a sentence with its values as text."""
    return Said(message=message, values={name: str(value) for name, value in values.items()})


def from_stored(document: Mapping[str, Any] | None) -> Said | None:
    """Return a sentence as it was stored."""
    return None if document is None else Said(message=document["message"], values=document["values"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line for the log of a bot."""

    bot_id: UUID
    user_id: UUID
    kind: str
    told: Said
    level: EventLevel = EventLevel.INFO

    def event(self) -> BotLogged:
        """Return the event that tells of it."""
        return BotLogged(user_id=self.user_id, bot_id=self.bot_id, level=self.level.value, kind=self.kind)


async def write_line(session: AsyncSession, line: Line, *, at: datetime) -> None:
    """Add a line in the caller's transaction."""
    values = {"bot_id": line.bot_id, "user_id": line.user_id, "at": at, "level": line.level.value, "kind": line.kind}
    await session.execute(_ADD_ONE, values | {"message": line.told.message, "given": dict(line.told.values)})


async def write_lines(connection: Any, lines: Sequence[Line], *, at: datetime) -> None:
    """Add lines of any bots in one statement; those of bots that are gone are forgotten."""
    if not lines:
        return
    columns = list(
        zip(
            *(
                (one.bot_id, one.user_id, at, one.level.value, one.kind, one.told.message, orjson.dumps(dict(one.told.values)).decode())
                for one in lines
            ),
            strict=True,
        )
    )
    await connection.execute(_ADD, *map(list, columns))
