"""Reading what came into accounts and left them without a trade, and saying what it was. Always of one user; no exchange is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.domain.enums import FlowNote
from app.errors import InvalidInput, NotFound

#: What was taken back altogether is still listed: an amount of 0 with its history.
_LIST: Final = """
SELECT f.id, f.broker_id, b.name AS broker, f.asset, f.at, f.since, f.note, f.amount AS first_amount,
       f.amount + coalesce(c.amount, 0) AS amount, f.value_usdt + coalesce(c.value_usdt, 0) AS value_usdt,
       coalesce(c.corrections, 0) AS corrections
  FROM cash_flows f JOIN brokers b ON b.id = f.broker_id AND b.removed_at IS NULL
  LEFT JOIN LATERAL (SELECT sum(amount) AS amount, sum(value_usdt) AS value_usdt, count(*) AS corrections
                       FROM cash_flows WHERE corrects_id = f.id) c ON true
 WHERE f.user_id = $1 AND f.corrects_id IS NULL AND ($2::uuid[] IS NULL OR f.broker_id = ANY($2))
   AND ($3::uuid IS NULL OR f.id = $3) AND ($4::timestamptz IS NULL OR (f.at, f.id) < ($4, $5::uuid))
 ORDER BY f.at DESC, f.id DESC LIMIT $6
"""
_WAITING: Final = """
SELECT w.broker_id, b.name AS broker, item ->> 'asset' AS asset, (item ->> 'amount')::numeric AS amount,
       (item ->> 'value')::numeric AS value_usdt, (item ->> 'at')::timestamptz AS at
  FROM flow_watches w JOIN brokers b ON b.id = w.broker_id AND b.removed_at IS NULL CROSS JOIN jsonb_array_elements(w.waiting) item
 WHERE w.user_id = $1 AND ($2::uuid[] IS NULL OR w.broker_id = ANY($2)) ORDER BY at DESC, asset LIMIT 50
"""
#: A correction is of the same kind as what it corrects.
_LABEL: Final = "UPDATE cash_flows SET note = coalesce($3, note) WHERE user_id = $1 AND (id = $2 OR corrects_id = $2) RETURNING 1"
_BETWEEN: Final = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLine:
    """An amount that came (above zero) or went, as it stands after its corrections; `value_usdt` is None when nobody quoted the asset.

    `id` is None while it waits to be believed. `first_amount` is what was written down at first.
    """

    id: UUID | None
    broker_id: UUID
    broker: str
    asset: str
    at: datetime
    amount: Decimal
    value_usdt: Decimal | None
    note: FlowNote | None = None
    first_amount: Decimal | None = None
    corrections: int = 0


async def list_flows(
    database: Database, user_id: UUID, *, broker_ids: Sequence[UUID] | None = None, limit: int = 50, cursor: str | None = None
) -> tuple[list[FlowLine], str | None]:
    """Return flows, newest first, and the cursor of the next page (None at the end).

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    at, after = _place(cursor)
    async with database.connection() as connection:
        rows = await connection.fetch(_LIST, user_id, broker_ids, None, at, after, limit + 1)
    lines = [_line(row) for row in rows[:limit]]
    return lines, f"{lines[-1].at.isoformat()}{_BETWEEN}{lines[-1].id}" if len(rows) > limit else None


def _place(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    if cursor is None:
        return None, None
    at, _, last = cursor.partition(_BETWEEN)
    try:
        moment, flow_id = datetime.fromisoformat(at), UUID(last)
    except ValueError as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error
    if moment.tzinfo is None:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor")
    return moment, flow_id


async def list_waiting(database: Database, user_id: UUID, *, broker_ids: Sequence[UUID] | None = None) -> list[FlowLine]:
    """Return what changed lately and is not believed yet, because a trade may still become known that explains it."""
    async with database.connection() as connection:
        rows = await connection.fetch(_WAITING, user_id, broker_ids)
    return [FlowLine(id=None, **dict(row)) for row in rows]


async def label_flow(database: Database, user_id: UUID, flow_id: UUID, note: FlowNote | None) -> FlowLine:
    """Say what a flow was, unless `note` is None, and return it.

    Raises:
        NotFound: no such flow of this user.
    """
    async with database.connection() as connection:
        changed = await connection.fetch(_LABEL, user_id, flow_id, None if note is None else note.value)
        row: Any = await connection.fetchrow(_LIST, user_id, None, flow_id, None, None, 1) if changed else None
    if row is None:
        raise NotFound("there is no such flow")
    return _line(row)


def _line(row: Any) -> FlowLine:
    values = {name: row[name] for name in FlowLine.__slots__ if name != "note"}
    return FlowLine(note=FlowNote(row["note"]), **values)
