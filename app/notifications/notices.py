"""Telling somebody something: `put` writes a notice and who is to get it, in the caller's transaction. Nothing is sent here.

What is committed is sent at least once (`sender`); what is rolled back was never said.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core.ids import new_id
from app.notifications.kinds import NoticeKind, Severity, is_default

_LONGEST_KEY: Final = 200
_LONGEST_VALUE: Final = 500
#: By the gravest severities: what a target or the bell takes is compared by its place here.
_RANK: Final = "array_position(ARRAY['info', 'warning', 'error'], {})"
#: A notice that nobody wants leaves no row, so that filled orders, which most keep off, cost an order nothing but this look.
_PUT: Final = f"""
WITH wanting AS (
  SELECT id FROM notification_targets
   WHERE user_id = $2 AND is_enabled AND {_RANK.format("least_severity")} <= {_RANK.format("$4::text")}
     AND CASE WHEN kinds IS NULL THEN $11::boolean ELSE $3::text = ANY (kinds) END),
bell AS (
  SELECT coalesce((SELECT $3::text = ANY (bell_kinds) FROM notification_settings WHERE user_id = $2), $11::boolean) AS is_wanted),
noted AS (
  INSERT INTO notices (id, user_id, kind, severity, title, text, "values", url, key, at, is_in_bell)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, bell.is_wanted FROM bell
   WHERE bell.is_wanted OR EXISTS (SELECT FROM wanting)
  ON CONFLICT (user_id, key) DO NOTHING RETURNING id, user_id),
told AS (
  INSERT INTO notice_deliveries (id, user_id, notice_id, target_id, next_at)
  SELECT gen_random_uuid(), noted.user_id, noted.id, wanting.id, now() FROM noted, wanting)
SELECT id FROM noted
"""  # noqa: S608  # constants
#: The same question as in `_PUT`, of many users at once.
_WANTING: Final = f"""
SELECT u.id FROM unnest($1::uuid[]) AS u (id)
 WHERE coalesce((SELECT $2::text = ANY (bell_kinds) FROM notification_settings WHERE user_id = u.id), $4::boolean)
    OR EXISTS (SELECT FROM notification_targets
                WHERE user_id = u.id AND is_enabled AND {_RANK.format("least_severity")} <= {_RANK.format("$3::text")}
                  AND CASE WHEN kinds IS NULL THEN $4::boolean ELSE $2::text = ANY (kinds) END)
"""  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that its user is told.

    Args:
        kind: What it is about; it decides who wants it.
        severity: How much it matters.
        title: A few words, in English, marked for translation: with names in place of values (`%(symbol)s`).
        text: A sentence or two of the same form; it may be whole already.
        values: What stands in place of the names in both. A datetime is told in the reader's time zone, all else as `str` gives it.
        url: The page where more stands, from the root: `/bots/7`.
        key: What was told under this key once is not told again; None tells each time.
        at: When it happened.
    """

    kind: NoticeKind
    severity: Severity
    title: str
    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    url: str | None = None
    key: str | None = None
    at: datetime

    def __post_init__(self) -> None:
        if self.url is not None and (not self.url.startswith("/") or self.url.startswith("//")):
            raise ValueError(f"a notice leads to a page of this server, was {self.url!r}")
        if self.key is not None and len(self.key) > _LONGEST_KEY:
            raise ValueError(f"a notice's key has {_LONGEST_KEY} characters at most")


async def who_wants(connection: Any, kind: NoticeKind, severity: Severity, user_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these users take such notices, by the bell or a target: for what comes by the hundred and most keep off."""
    rows = await connection.fetch(_WANTING, list(user_ids), kind.value, severity.value, is_default(kind))
    return {row["id"] for row in rows}


async def put(connection: Any, notice: Notice, *, user_id: UUID) -> bool:
    """Write a notice with the caller's transaction, for whoever of the user's targets wants it and for the bell.

    Args:
        connection: A plain connection, as `Database.connection` and `raw_transaction` give it.
        notice: What to tell.
        user_id: Whom.

    Returns:
        Whether it was written: not when nobody wants that kind, nor when its key was told before.
    """
    rows = await connection.fetch(
        _PUT,
        new_id(),
        user_id,
        notice.kind.value,
        notice.severity.value,
        notice.title,
        notice.text,
        {name: _stored(value) for name, value in notice.values.items()},
        notice.url,
        notice.key,
        notice.at,
        is_default(notice.kind),
    )
    return bool(rows)


def _stored(value: object) -> object:
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    return str(value)[:_LONGEST_VALUE]
