"""The list of a user's strategies, each with its newest version; without sources, which are up to 128 KiB each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import StrategyNotFound

_LIST: Final = text("""
SELECT s.id, s.name, s.description, s.exchange, s.symbol, s.timeframe, s.draft IS NOT NULL AS has_draft, s.draft_saved_at, s.draft_revision,
       s.origin, s.origin_name, s.origin_number, s.created_at, s.changed_at, s.archived_at, v.number AS newest,
       v.is_valid, v.has_look_ahead, v.validated_at, u.is_used, u.valid_number
  FROM strategies s
  CROSS JOIN LATERAL (SELECT number, is_valid, has_look_ahead, validated_at FROM strategy_versions
                       WHERE strategy_id = s.id AND user_id = :user_id ORDER BY number DESC LIMIT 1) v
  CROSS JOIN LATERAL (SELECT bool_or(first_used_at IS NOT NULL) AS is_used, max(number) FILTER (WHERE is_valid) AS valid_number
                        FROM strategy_versions WHERE strategy_id = s.id AND user_id = :user_id) u
 WHERE s.user_id = :user_id AND (CAST(:only AS uuid) IS NULL OR s.id = :only)
   AND (CAST(:is_archived AS boolean) IS NULL OR (s.archived_at IS NOT NULL) = :is_archived)
   AND (:search = '' OR position(lower(:search) in lower(s.name || ' ' || s.description)) > 0)
   AND (CAST(:moment AS timestamptz) IS NULL OR (s.changed_at, s.id) < (:moment, CAST(:last AS uuid)))
 ORDER BY s.changed_at DESC, s.id DESC LIMIT :limit
""")
_COUNTS: Final = text("""
SELECT count(*) FILTER (WHERE archived_at IS NULL) AS open, count(*) FILTER (WHERE archived_at IS NOT NULL) AS archived
  FROM strategies WHERE user_id = :user_id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A strategy in a list. `newest` is the number of its newest version, which is also how many it has; the next three are of that one.

    `valid_number` is the newest version that may trade; None: none may. `is_used`: some version has been used.
    """

    id: UUID
    name: str
    description: str
    exchange: str | None
    symbol: str | None
    timeframe: str | None
    has_draft: bool
    draft_saved_at: datetime | None
    draft_revision: int
    origin: str
    origin_name: str | None
    origin_number: int | None
    created_at: datetime
    changed_at: datetime
    archived_at: datetime | None
    newest: int
    is_valid: bool
    has_look_ahead: bool
    validated_at: datetime | None
    is_used: bool
    valid_number: int | None


async def list_strategies(
    session: AsyncSession,
    user_id: UUID,
    *,
    is_archived: bool | None = False,
    search: str = "",
    after: tuple[datetime, UUID] | None = None,
    limit: int = 100,
) -> list[Listed]:
    """Return strategies, the one that was changed last first.

    Args:
        session: Of whoever asks.
        user_id: Whose.
        is_archived: Those of the archive, those that are not there, or (None) all.
        search: Part of the name or the description, in any case of letters.
        after: When the last one of the page before was changed, and its id.
        limit: How many at most.
    """
    moment, last = after or (None, None)
    return await _listed(session, user_id, is_archived=is_archived, search=search, moment=moment, last=last, limit=limit)


async def listed(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> Listed:
    """Return one strategy as the list has it.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    rows = await _listed(session, user_id, only=strategy_id, limit=1)
    if not rows:
        raise StrategyNotFound
    return rows[0]


async def _listed(session: AsyncSession, user_id: UUID, **asked: Any) -> list[Listed]:
    values = {"only": None, "is_archived": None, "search": "", "moment": None, "last": None, **asked}
    found = await session.execute(_LIST, {"user_id": user_id, **values})
    return [Listed(**row) for row in found.mappings()]


async def counts(session: AsyncSession, user_id: UUID) -> tuple[int, int]:
    """Return how many strategies the user has outside the archive, and in it."""
    row = (await session.execute(_COUNTS, {"user_id": user_id})).one()
    return int(row.open), int(row.archived)
