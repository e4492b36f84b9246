"""W0: one row, committed, then the reply. Nothing is traded here, and the exchange is never waited for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.crash_points import reach
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.security import fingerprint
from app.errors import BadToken, BodyTooLarge
from app.trading.account import Account
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision
from app.webhooks.payload import body_key

log = structlog.get_logger(__name__)

LARGEST_BODY: Final = 64 * 1024
_KEPT_OF_TOO_LARGE: Final = 2048
_STRANGERS_PER_MINUTE: Final = 30
_FOR_EVER: Final = timedelta(days=36500)
#: One statement, one commit: find the hook, decide under the replay row's lock whether the body is a repeat, and keep the delivery.
_ACCEPT: Final = """
WITH hook AS (
  SELECT h.id, h.user_id, h.is_active, h.rules, h.max_age_s, b.id AS broker_id, b.exchange, b.is_active AS broker_is_active, b.paused_reason
    FROM webhooks h LEFT JOIN brokers b
      ON b.user_id = h.user_id AND b.removed_at IS NULL AND CASE WHEN h.broker_id IS NULL THEN b.is_default ELSE b.id = h.broker_id END
   WHERE h.secret_hash = $1 AND h.removed_at IS NULL),
fresh AS (
  INSERT INTO webhook_replays AS r (webhook_id, body_key, expires_at, delivery_id)
  SELECT id, $3, $4::timestamptz + $5::interval, $2 FROM hook WHERE is_active
  ON CONFLICT (webhook_id, body_key) DO UPDATE SET expires_at = excluded.expires_at, delivery_id = excluded.delivery_id
   WHERE r.expires_at <= $4 RETURNING 1),
put AS (
  INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, ip_address, content_type, raw, size, decision, reason)
  SELECT $2, hook.id, hook.user_id, $4, $6, $7, $8, $9,
         CASE WHEN NOT hook.is_active THEN 'paused' WHEN NOT EXISTS (SELECT 1 FROM fresh) THEN 'duplicate' ELSE 'pending' END,
         CASE WHEN NOT hook.is_active THEN 'this webhook is paused'
              WHEN NOT EXISTS (SELECT 1 FROM fresh) THEN 'the same message came before; it was not traded again' END
    FROM hook RETURNING decision)
SELECT hook.*, put.decision FROM hook, put
"""
_REFUSE: Final = """
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, ip_address, content_type, raw, size, decision, code, reason, done_at)
SELECT $1, h.id, h.user_id, $2, $3, $4, $5, $6, 'unreadable', $7, $8, $2
  FROM (SELECT 1) one LEFT JOIN webhooks h ON h.secret_hash = $9 AND h.removed_at IS NULL
RETURNING user_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that waits to be acted on. `started_ns` is monotonic, for the latencies of the log.

    `account` is the webhook's; of a replay the paper account. `rules` and `max_age_s` are the webhook's as they were when the delivery
    came; None: the inbox reads them. `progress` is what a process before this one has written of its steps.
    """

    id: UUID
    webhook_id: UUID
    user_id: UUID
    account: Account | None
    raw: bytes
    received_at: datetime
    started_ns: int | None = None
    rules: Mapping[str, Any] | None = None
    max_age_s: int | None = None
    replay_of: UUID | None = None
    is_test: bool = False
    progress: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the sender is told, and the delivery if there is something to do."""

    delivery_id: UUID
    decision: Decision
    delivery: Delivery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An incoming request, as far as we look at it."""

    secret: str
    body: bytes
    ip_address: str | None
    content_type: str | None
    started_ns: int


class Door:
    """Where alerts come in."""

    def __init__(self, database: Database, bus: EventBus, clock: Clock, *, repeat_window: timedelta) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._repeat_window = repeat_window
        self._strangers: list[datetime] = []

    async def receive(self, request: Request) -> Received:
        """Keep the delivery and say whether it will be acted on.

        Raises:
            BadToken: no webhook has that address; the attempt is kept for the administrator.
        """
        reach("P_INBOX_BEFORE")
        delivery_id, now = new_id(), self._clock.now()
        key, is_for_ever = body_key(request.body)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _ACCEPT,
                fingerprint(request.secret),
                delivery_id,
                key,
                now,
                _FOR_EVER if is_for_ever else self._repeat_window,
                request.ip_address,
                request.content_type,
                as_text(request.body),
                len(request.body),
            )
        reach("P_INBOX_AFTER")
        if row is None:
            await self._note_stranger(request, now)
            raise BadToken
        decision = Decision(row["decision"])
        self._bus.publish(DeliveryChanged(user_id=row["user_id"], delivery_id=delivery_id, decision=decision))
        waiting = _waiting(row, delivery_id, request, now) if decision is Decision.PENDING else None
        return Received(delivery_id=delivery_id, decision=decision, delivery=waiting)

    async def refuse_too_large(self, request: Request, size: int) -> None:
        """Keep the first bytes of a body that is too large, and refuse it.

        Raises:
            BodyTooLarge: always.
            BadToken: no webhook has that address.
        """
        now = self._clock.now()
        detail = f"the message may have at most {LARGEST_BODY} bytes, was at least {size}"
        async with self._database.connection() as connection:
            known = await connection.fetchval(
                "SELECT user_id FROM webhooks WHERE secret_hash = $1 AND removed_at IS NULL", fingerprint(request.secret)
            )
        if known is None:
            await self._note_stranger(request, now)
            raise BadToken
        await self._keep_refused(request, now, code=BodyTooLarge.default_code, reason=detail, size=size)
        raise BodyTooLarge(detail)

    async def _note_stranger(self, request: Request, now: datetime) -> None:
        """Keep attempts on unknown addresses, but only so many: anyone can send them, and the disk is ours."""
        log.warning("webhook_unknown", ip_address=request.ip_address, size=len(request.body))
        self._strangers = [at for at in self._strangers if now - at < timedelta(minutes=1)]
        if len(self._strangers) < _STRANGERS_PER_MINUTE:
            self._strangers.append(now)
            await self._keep_refused(request, now, code=BadToken.default_code, reason="no webhook has that address", size=len(request.body))

    async def _keep_refused(self, request: Request, now: datetime, *, code: str, reason: str, size: int) -> None:
        delivery_id = new_id()
        async with self._database.connection() as connection:
            user_id = await connection.fetchval(
                _REFUSE,
                delivery_id,
                now,
                request.ip_address,
                request.content_type,
                as_text(request.body[:_KEPT_OF_TOO_LARGE]),
                size,
                code,
                reason,
                fingerprint(request.secret),
            )
        if user_id is not None:
            self._bus.publish(DeliveryChanged(user_id=user_id, delivery_id=delivery_id, decision=Decision.UNREADABLE))


def _waiting(row: Any, delivery_id: UUID, request: Request, now: datetime) -> Delivery:
    return Delivery(
        id=delivery_id,
        webhook_id=row["id"],
        user_id=row["user_id"],
        account=account_of(row),
        raw=request.body,
        received_at=now,
        started_ns=request.started_ns,
        rules=row["rules"],
        max_age_s=row["max_age_s"],
    )


def account_of(row: Any) -> Account | None:
    """Return the account that a delivery's webhook trades on; None when it is gone or there is none yet."""
    if row["broker_id"] is None:
        return None
    return Account(id=row["broker_id"], exchange=row["exchange"], is_active=row["broker_is_active"], paused_reason=row["paused_reason"])


def as_text(body: bytes) -> str:
    """Return a body as text that PostgreSQL can keep: what is not UTF-8 and NUL become U+FFFD."""
    return body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
