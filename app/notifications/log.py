"""The log of what was sent where, newest first."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

_PAGE: Final = """
SELECT id, target_id, target_name, service, is_test, severity, title, covers, state, answer, started_at, ended_at
  FROM notification_attempts
 WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR target_id = $3) ORDER BY id DESC LIMIT $4
"""
_LATEST: Final = """
SELECT DISTINCT ON (target_id) target_id, state, answer, started_at FROM notification_attempts
 WHERE user_id = $1 AND target_id IS NOT NULL ORDER BY target_id, id DESC
"""


async def page(
    connection: Any, user_id: UUID, *, limit: int, before: UUID | None = None, target_id: UUID | None = None
) -> tuple[Sequence[Any], UUID | None]:
    """Return attempts and where the next page begins, None after the last."""
    rows = await connection.fetch(_PAGE, user_id, before, target_id, limit + 1)
    return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None


async def latest_of_each(connection: Any, user_id: UUID) -> dict[UUID, Any]:
    """Return the latest attempt of each target."""
    return {row["target_id"]: row for row in await connection.fetch(_LATEST, user_id)}
