"""What people are to be told: a row committed together with what it is about, then handed to whoever tells it, at least once.

A process that dies between the two hands the row on again after its restart; who tells people recognises it by its id. To the user's
bell and targets it goes (`app.notifications`) in the transaction that marks it as handed on.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.crash_points import NOTICE_POINT, reach
from app.core.supervisor import Beat
from app.notifications import NoticeKind as ToldKind
from app.notifications import Severity
from app.notifications import notices as notifications
from app.notifications.kinds import KINDS
from app.trading.desk import Desk

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0
_AT_ONCE: Final = 100
_PUT: Final = "INSERT INTO outbox (user_id, broker_id, kind, body, created_at) VALUES ($1, $2, $3, $4, $5)"
_WAITING: Final = f"SELECT * FROM outbox WHERE done_at IS NULL ORDER BY id LIMIT {_AT_ONCE}"  # noqa: S608  # a constant
_DONE: Final = "UPDATE outbox SET done_at = $2 WHERE id = $1 AND done_at IS NULL"
_PURGE: Final = "DELETE FROM outbox WHERE done_at < $1::timestamptz - interval '30 days'"
_PURGE_EVERY_S: Final = 3600.0


class NoticeKind(StrEnum):
    """What a notice is about."""

    ORDER_LOST = "order_lost"
    ORDER_RESURRECTED = "order_resurrected"
    ORDER_OVERFILLED = "order_overfilled"
    ORPHAN_ADOPTED = "orphan_adopted"
    AUDIT_FAILED = "audit_failed"
    POSITION_UNPROTECTED = "position_unprotected"
    SYMBOL_STOPPED = "symbol_stopped"
    ALERT_MISSED = "alert_missed"


#: What costs money or leaves a position open to loss until somebody looks.
_GRAVE: Final = frozenset({NoticeKind.ORDER_LOST, NoticeKind.ORDER_OVERFILLED, NoticeKind.AUDIT_FAILED, NoticeKind.POSITION_UNPROTECTED})
_PAGES: Final = {
    NoticeKind.POSITION_UNPROTECTED: "/trading",
    NoticeKind.SYMBOL_STOPPED: "/symbols",
    NoticeKind.ALERT_MISSED: "/webhooks",
    NoticeKind.AUDIT_FAILED: "/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A row of the outbox, told now. It may come twice, under the same `id`; `text` is a sentence for the trader."""

    id: int
    user_id: UUID
    broker_id: UUID | None
    kind: NoticeKind
    text: str
    body: dict[str, Any]
    created_at: datetime


async def put(connection: Any, kind: NoticeKind, text: str, *, user_id: UUID, broker_id: UUID | None, at: datetime, **body: str) -> None:
    """Commit a notice with the caller's transaction."""
    await connection.execute(_PUT, user_id, broker_id, kind.value, {"text": text, **body}, at)


class Outbox:
    """Hands on what waits, in order, while the role is ours."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, beat: Beat) -> None:
        """Hand on until cancelled."""
        purge_at = 0.0
        while True:
            if self._desk.lease.is_held:
                while await self.once() == _AT_ONCE:
                    beat()
                now = asyncio.get_running_loop().time()
                if now >= purge_at:
                    purge_at = now + _PURGE_EVERY_S
                    await self._purge()
            beat()
            await asyncio.sleep(_POLL_S)

    async def once(self) -> int:
        """Hand on what waits and return how much that was."""
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_WAITING)
        for row in rows:
            notice = Notice(
                id=row["id"],
                user_id=row["user_id"],
                broker_id=row["broker_id"],
                kind=NoticeKind(row["kind"]),
                text=row["body"]["text"],
                body=row["body"],
                created_at=row["created_at"],
            )
            log.warning("notice", notice=notice.kind.value, notice_id=notice.id, user_id=str(notice.user_id), text=notice.text)
            self._desk.bus.publish(notice)
            reach(NOTICE_POINT)
            async with self._desk.database.raw_transaction() as connection:
                await notifications.put(connection, _told(notice), user_id=notice.user_id)
                await connection.execute(_DONE, notice.id, self._desk.clock.now())
        return len(rows)

    async def _purge(self) -> None:
        async with self._desk.database.connection() as connection:
            await connection.execute(_PURGE, self._desk.clock.now())


def _told(notice: Notice) -> notifications.Notice:
    kind = ToldKind(notice.kind.value)
    return notifications.Notice(
        kind=kind,
        severity=Severity.ERROR if notice.kind in _GRAVE else Severity.WARNING,
        title=KINDS[kind].label,
        text=notice.text,
        url=_PAGES.get(notice.kind, "/history/orders"),
        key=f"outbox:{notice.id}",
        at=notice.created_at,
    )
