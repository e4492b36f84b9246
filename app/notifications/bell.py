"""What the bell in every page shows: the latest notices and how many are unread. It works without any target."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.errors import NoticeNotFound

#: Beyond it "99+" is shown, so no more are counted.
MOST_UNREAD: Final = 100
_UNREAD: Final = """
SELECT count(*) FROM (SELECT FROM notices WHERE user_id = $1 AND is_in_bell AND read_at IS NULL ORDER BY id DESC LIMIT $2) unread
"""
_LATEST: Final = """
SELECT id, kind, severity, title, text, "values", url, at, read_at FROM notices
 WHERE user_id = $1 AND is_in_bell AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
_READ_ALL: Final = """
UPDATE notices SET read_at = $2 WHERE user_id = $1 AND is_in_bell AND read_at IS NULL AND ($3::uuid IS NULL OR id <= $3)
"""
_READ: Final = "UPDATE notices SET read_at = coalesce(read_at, $3) WHERE user_id = $1 AND id = $2 RETURNING url"


async def unread(connection: Any, user_id: UUID) -> int:
    """Return how many notices of the bell are unread, `MOST_UNREAD` at most."""
    count: int = await connection.fetchval(_UNREAD, user_id, MOST_UNREAD)
    return count


async def latest(connection: Any, user_id: UUID, *, limit: int, before: UUID | None = None) -> Sequence[Any]:
    """Return the latest notices of the bell, the newest first; `before` one of them goes on where it ended."""
    rows: Sequence[Any] = await connection.fetch(_LATEST, user_id, before, limit)
    return rows


async def mark_all_read(connection: Any, user_id: UUID, now: datetime, *, until: UUID | None = None) -> None:
    """Mark what is in the bell as read; with `until`, what came up to that one, so that nothing unseen is."""
    await connection.execute(_READ_ALL, user_id, now, until)


async def mark_read(connection: Any, user_id: UUID, notice_id: UUID, now: datetime) -> str | None:
    """Mark one as read and return where it leads.

    Raises:
        NoticeNotFound: no such notice of this user.
    """
    row = await connection.fetchrow(_READ, user_id, notice_id, now)
    if row is None:
        raise NoticeNotFound
    url: str | None = row["url"]
    return url
