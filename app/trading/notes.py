"""Notes of a trader on an order or on a round trip, with tags. One that says nothing is removed."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.db import Database
from app.core.i18n import N_
from app.errors import InvalidInput, NotFound, OrderNotFound
from app.trading.history_tables import Subject

LONGEST: Final = 2000
MOST_TAGS: Final = 10
LONGEST_TAG: Final = 30
_TOO_LONG: Final = N_("A note holds 2,000 characters at most.")
_TOO_MANY: Final = N_("A note has 10 tags at most, each of 30 characters at most.")
_NO_TRADE: Final = N_("there is no such round trip")
_EXISTS: Final = {
    Subject.ORDER: "SELECT 1 FROM orders WHERE id = $1 AND user_id = $2",
    Subject.TRADE: "SELECT 1 FROM positions WHERE id = $1 AND user_id = $2 AND status = 'closed'",
}
_PUT: Final = """
INSERT INTO notes (subject, subject_id, user_id, text, tags, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (subject, subject_id) DO UPDATE SET text = excluded.text, tags = excluded.tags, updated_at = excluded.updated_at
 WHERE notes.user_id = excluded.user_id
"""
_REMOVE: Final = "DELETE FROM notes WHERE subject = $1 AND subject_id = $2 AND user_id = $3"
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Return tags as they are kept: lower-case words, each once, sorted.

    Raises:
        InvalidInput: too many, or one that is too long.
    """
    found = sorted({" ".join(_UNPRINTABLE.sub("", tag).lower().split()) for tag in tags} - {""})
    if len(found) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in found):
        raise InvalidInput(_TOO_MANY, field="tags")
    return found


async def put_note(
    database: Database, user_id: UUID, subject: Subject, subject_id: UUID, *, text: str, tags: Iterable[str], now: datetime
) -> tuple[str, list[str]]:
    """Keep a note instead of the one that was there, and return it as it is kept.

    Raises:
        InvalidInput: it is too long.
        OrderNotFound: no such order of this user.
        NotFound: no such round trip of this user.
    """
    # A browser's form ends lines as letters do.
    kept = _UNPRINTABLE.sub("", text.replace("\r\n", "\n")).strip()
    if len(kept) > LONGEST:
        raise InvalidInput(_TOO_LONG, field="text")
    words = clean_tags(tags)
    async with database.raw_transaction() as connection:
        if not await connection.fetchval(_EXISTS[subject], subject_id, user_id):
            raise OrderNotFound if subject is Subject.ORDER else NotFound(_NO_TRADE)
        if kept or words:
            await connection.execute(_PUT, subject.value, subject_id, user_id, kept, words, now)
        else:
            await connection.execute(_REMOVE, subject.value, subject_id, user_id)
    return kept, words
