"""The queue of what is to be sent: which targets have something due, taking it, and writing down what came of it.

A batch is written down as an attempt before it is sent. Whoever takes it holds the role and locks the rows with SKIP LOCKED;
`claimed_until` keeps a successor from sending what a process that lost the role may be sending still. A process that dies between sending
and writing down leaves an attempt whose end is unknown, and its notices are sent once more: at least once, and the log says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.core.ids import new_id
from app.core.leases import LeaseHolder
from app.errors import Fenced
from app.notifications.answers import LONGEST
from app.notifications.kinds import Severity
from app.notifications.messenger import Outcome
from app.notifications.models import AttemptState, DeliveryState
from app.notifications.quiet import is_quiet
from app.notifications.words import Reader, Told, gravest, many, one

MOST_TOGETHER: Final = 500
CLAIM: Final = timedelta(seconds=30)
#: What could not be sent for so long is of no use to anybody.
OLDEST: Final = timedelta(hours=24)
MINUTE: Final = timedelta(minutes=1)
_PAUSES_S: Final = (5, 20, 60, 300, 900, 1800, 3600)
MOST_ATTEMPTS: Final = len(_PAUSES_S) + 1

_DUE: Final = """
SELECT t.id, t.user_id FROM notification_targets t
 WHERE t.is_enabled AND (t.rest_until IS NULL OR t.rest_until <= $1) AND t.id <> ALL ($2::uuid[])
   AND EXISTS (SELECT FROM notice_deliveries d WHERE d.target_id = t.id AND d.state = 'waiting' AND d.next_at <= $1
                  AND (d.claimed_until IS NULL OR d.claimed_until <= $1))
 ORDER BY t.rest_until NULLS FIRST, t.id LIMIT $3
"""
_TARGET: Final = """
SELECT t.id, t.user_id, t.name, t.service, t.url, u.language, coalesce(s.timezone, 'UTC') AS zone,
       s.quiet_from, s.quiet_until, coalesce(s.quiet_severity, 'error') AS quiet_severity,
       (SELECT count(*) FROM notification_attempts a
         WHERE a.target_id = t.id AND NOT a.is_test AND a.started_at > $2) AS lately,
       (SELECT min(a.started_at) FROM notification_attempts a
         WHERE a.target_id = t.id AND NOT a.is_test AND a.started_at > $2) AS first_lately
  FROM notification_targets t JOIN users u ON u.id = t.user_id LEFT JOIN notification_settings s ON s.user_id = t.user_id
 WHERE t.id = $1 AND t.is_enabled AND u.is_active FOR NO KEY UPDATE OF t
"""
_WAITING: Final = f"""
SELECT d.id AS delivery_id, d.attempts, d.attempt_id, n.* FROM notice_deliveries d JOIN notices n ON n.id = d.notice_id
 WHERE d.target_id = $1 AND d.state = 'waiting' AND d.next_at <= $2 AND (d.claimed_until IS NULL OR d.claimed_until <= $2)
 ORDER BY array_position(ARRAY['error', 'warning', 'info'], n.severity), n.at, n.id
 LIMIT {MOST_TOGETHER} FOR UPDATE OF d SKIP LOCKED
"""  # noqa: S608  # a constant
_ATTEMPT: Final = """
INSERT INTO notification_attempts (id, user_id, target_id, target_name, service, is_test, severity, title, covers, state, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'sending', $10)
"""
_CLAIM: Final = """
UPDATE notice_deliveries SET attempt_id = $2, attempts = attempts + 1, claimed_until = $3 WHERE id = ANY ($1::uuid[])
"""
_LEFT_OPEN: Final = """
UPDATE notification_attempts SET state = 'unknown', ended_at = $2 WHERE id = ANY ($1::uuid[]) AND state = 'sending'
"""
_END: Final = "UPDATE notification_attempts SET state = $2, answer = $3, ended_at = $4 WHERE id = $1 AND state IN ('sending', 'unknown')"
#: By the attempt: one that was taken over meanwhile belongs to whoever took it.
_DONE: Final = """
UPDATE notice_deliveries SET state = $2, next_at = coalesce($3::timestamptz, next_at), claimed_until = NULL,
       attempts = attempts - CASE WHEN $4::boolean THEN 1 ELSE 0 END
 WHERE attempt_id = $1 AND state = 'waiting'
"""
_REST: Final = "UPDATE notification_targets SET rest_until = $2 WHERE id = $1"
_SET_STATE: Final = "UPDATE notice_deliveries SET state = $2 WHERE id = ANY ($1::uuid[])"
_TOO_OLD: Final = """
UPDATE notice_deliveries d SET state = 'failed' FROM notices n
 WHERE n.id = d.notice_id AND d.state = 'waiting' AND n.put_at < $1 AND (d.claimed_until IS NULL OR d.claimed_until <= now())
"""
_PURGE_ATTEMPTS: Final = "DELETE FROM notification_attempts WHERE started_at < $1"
_PURGE_NOTICES: Final = "DELETE FROM notices WHERE put_at < $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes to a target in one message. It is written down as an attempt when this is made."""

    attempt_id: UUID
    target_id: UUID
    user_id: UUID
    service: str
    sealed_url: bytes = field(repr=False)
    reader: Reader
    notices: tuple[Told, ...]
    #: The same with each attempt at the same notices.
    key: str
    attempts: int


async def due(connection: Any, now: datetime, *, busy: Sequence[UUID], most: int) -> list[tuple[UUID, UUID]]:
    """Return (target, user) of targets that something is to be sent to now, besides those that are at it."""
    return [(row["id"], row["user_id"]) for row in await connection.fetch(_DUE, now, list(busy), most)]


async def take(connection: Any, lease: LeaseHolder, target_id: UUID, now: datetime, *, per_minute: int, root: str) -> Batch | None:
    """Take what goes to a target next, in the caller's transaction: one notice, or all that wait where its minute is nearly used up.

    Returns:
        What to send, once the transaction is committed. None when there is nothing, or the target has had its share: it rests then.

    Raises:
        Fenced: another process has the role.
    """
    if not await lease.ask_whether_held(connection):
        raise Fenced(f"this process does not hold the role {lease.role}")
    target = await connection.fetchrow(_TARGET, target_id, now - MINUTE)
    if target is None:
        return None
    left = per_minute - target["lately"]
    if left <= 0:
        await connection.execute(_REST, target_id, target["first_lately"] + MINUTE)
        return None
    rows = await _heard_now(connection, target, await connection.fetch(_WAITING, target_id, now), now)
    if not rows:
        return None
    return await _claimed(connection, target, rows if left == 1 else rows[:1], now, root)


async def _heard_now(connection: Any, target: Any, rows: list[Any], now: datetime) -> list[Any]:
    """Leave out what is not grave enough for this hour: it stays in the bell and is not sent later."""
    if not is_quiet(now, begin=target["quiet_from"], end=target["quiet_until"], zone=target["zone"]):
        return list(rows)
    least = Severity(target["quiet_severity"]).rank
    quiet = [row["delivery_id"] for row in rows if Severity(row["severity"]).rank < least]
    await connection.execute(_SET_STATE, quiet, DeliveryState.QUIET.value)
    return [row for row in rows if Severity(row["severity"]).rank >= least]


async def _claimed(connection: Any, target: Any, rows: list[Any], now: datetime, root: str) -> Batch:
    reader = Reader(language=target["language"], zone=target["zone"], root=root)
    notices = tuple(Told.of(row) for row in rows)
    title, _ = one(notices[0], reader) if len(notices) == 1 else many(notices, reader)
    attempt_id = new_id()
    before = [row["attempt_id"] for row in rows if row["attempt_id"] is not None]
    await connection.execute(_LEFT_OPEN, before, now)
    await open_attempt(connection, attempt_id, target, severity=gravest(notices), title=title, covers=len(notices), is_test=False, now=now)
    await connection.execute(_CLAIM, [row["delivery_id"] for row in rows], attempt_id, now + CLAIM)
    return Batch(
        attempt_id=attempt_id,
        target_id=target["id"],
        user_id=target["user_id"],
        service=target["service"],
        sealed_url=target["url"].encode(),
        reader=reader,
        notices=notices,
        key=str(rows[0]["delivery_id"]),
        attempts=max(row["attempts"] for row in rows) + 1,
    )


async def open_attempt(
    connection: Any, attempt_id: UUID, target: Any, *, severity: Severity, title: str, covers: int, is_test: bool, now: datetime
) -> None:
    """Write down that a message is about to be sent."""
    await connection.execute(
        _ATTEMPT,
        attempt_id,
        target["user_id"],
        target["id"],
        target["name"],
        target["service"],
        is_test,
        severity.value,
        title[:LONGEST],
        covers,
        now,
    )


async def end_attempt(connection: Any, attempt_id: UUID, outcome: Outcome, now: datetime) -> None:
    """Write down what came of it."""
    state = AttemptState.SENT if outcome.is_sent else AttemptState.LIMITED if outcome.is_limited else AttemptState.FAILED
    await connection.execute(_END, attempt_id, state.value, outcome.words[:LONGEST], now)


async def settle(connection: Any, batch: Batch, outcome: Outcome, now: datetime) -> None:
    """Write down what came of a batch, and when it is tried again, in the caller's transaction."""
    await end_attempt(connection, batch.attempt_id, outcome, now)
    if outcome.is_sent:
        await connection.execute(_DONE, batch.attempt_id, DeliveryState.SENT.value, None, False)
        return
    is_over = outcome.is_final or (batch.attempts >= MOST_ATTEMPTS and not outcome.is_limited)
    pause = timedelta(seconds=outcome.rest_s or _PAUSES_S[min(batch.attempts, len(_PAUSES_S)) - 1])
    state = DeliveryState.FAILED if is_over else DeliveryState.WAITING
    # Being told to come later is no failure: it does not count, and a day's patience ends it.
    await connection.execute(_DONE, batch.attempt_id, state.value, now + pause, outcome.is_limited)
    if not outcome.is_final:
        await connection.execute(_REST, batch.target_id, now + pause)


async def purge(connection: Any, now: datetime, *, keep: timedelta) -> None:
    """Give up what is too old to be sent, and forget what was told long ago."""
    await connection.execute(_TOO_OLD, now - OLDEST)
    await connection.execute(_PURGE_ATTEMPTS, now - keep)
    await connection.execute(_PURGE_NOTICES, now - keep)
