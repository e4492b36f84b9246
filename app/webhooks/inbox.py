"""The inbox: deliveries become orders, in order per webhook. The table is the truth; what the door hands over is only faster.

A delivery that was not finished when the process died is found again by the poll, and its intent has the same key, so what had been
traded is found, not traded twice.
"""

import asyncio
import time
from collections import OrderedDict, deque
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.domain.enums import OrderState
from app.errors import AppError, DenialReason, Fenced, OrderDenied
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.submit import submit
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision
from app.webhooks.reading import read_message
from app.webhooks.receive import Delivery, account_of
from app.webhooks.wish import intent_of

log = structlog.get_logger(__name__)

#: An alert that could not be acted on within this time is about a market that is gone.
MAX_AGE: Final = timedelta(seconds=60)
_POLL_S: Final = 1.0
_SETTLE_POLL_S: Final = 0.1
#: Longer than any doubt lasts by itself. One that needs a person must not hold up the webhook for ever; the order's own state tells of it.
_SETTLE_S: Final = 120.0
_PURGE_EVERY_S: Final = 3600.0
_REMEMBERED: Final = 10_000
#: Whether there is an order at the venue is not known yet, so neither is what became of the alert.
_NOT_SETTLED: Final = frozenset({OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN})
#: At most so many of one webhook, so that one whose alerts wait cannot hide the others'.
_PENDING: Final = """
SELECT d.id, d.webhook_id, d.user_id, d.raw, d.received_at, d.replay_of, d.is_test,
       b.id AS broker_id, b.exchange, b.is_active AS broker_is_active, b.paused_reason
  FROM (SELECT *, row_number() OVER (PARTITION BY webhook_id ORDER BY received_at, id) AS place
          FROM webhook_deliveries WHERE decision = 'pending') d
  JOIN webhooks h ON h.id = d.webhook_id
  LEFT JOIN brokers b
    ON b.user_id = h.user_id AND b.removed_at IS NULL
   AND CASE WHEN d.replay_of IS NOT NULL THEN b.id = d.broker_id WHEN h.broker_id IS NULL THEN b.is_default ELSE b.id = h.broker_id END
 WHERE d.place <= 100 ORDER BY d.received_at, d.id
"""
_DECIDE: Final = """
WITH decided AS (
  UPDATE webhook_deliveries SET decision = $2, code = $3, reason = $4, parsed = $5, latencies_ms = $6, done_at = $7
   WHERE id = $1 AND decision = 'pending' RETURNING webhook_id)
DELETE FROM webhook_replays r USING decided
 WHERE $8 AND r.webhook_id = decided.webhook_id AND r.delivery_id = $1
"""
_PURGE: Final = "DELETE FROM webhook_replays WHERE expires_at < now() - interval '1 hour'"


class Inbox:
    """Works off deliveries while this process holds the engine role."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lanes: dict[UUID, deque[Delivery]] = {}
        self._known: OrderedDict[UUID, None] = OrderedDict()
        self._group: asyncio.TaskGroup | None = None

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed. Without the role, or before the loop runs, the poll of its owner finds it."""
        if self._group is not None and self._desk.lease.is_held:
            self._enqueue(delivery)

    async def run(self, beat: Beat) -> None:
        """Work until cancelled."""
        purged_at = 0.0
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    if self._desk.lease.is_held:
                        await self._poll()
                        if time.monotonic() - purged_at > _PURGE_EVERY_S:
                            purged_at = time.monotonic()
                            await self._purge()
                    beat()
                    await asyncio.sleep(_POLL_S)
        finally:
            self._group = None
            self._lanes.clear()
            self._known.clear()

    async def _poll(self) -> None:
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_PENDING)
        for row in rows:
            if row["id"] not in self._known:
                self._enqueue(
                    Delivery(
                        id=row["id"],
                        webhook_id=row["webhook_id"],
                        user_id=row["user_id"],
                        account=account_of(row),
                        raw=row["raw"].encode(),
                        received_at=row["received_at"],
                        replay_of=row["replay_of"],
                        is_test=row["is_test"],
                    )
                )

    async def _purge(self) -> None:
        async with self._desk.database.connection() as connection:
            await connection.execute(_PURGE)

    def _enqueue(self, delivery: Delivery) -> None:
        self._known[delivery.id] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        lane = self._lanes.get(delivery.webhook_id)
        if lane is not None:
            lane.append(delivery)
            return
        self._lanes[delivery.webhook_id] = deque([delivery])
        assert self._group is not None  # noqa: S101  # offered and polled only while the loop runs
        self._group.create_task(self._work(delivery.webhook_id), name=f"webhook:{delivery.webhook_id}")

    async def _work(self, webhook_id: UUID) -> None:
        """One webhook's deliveries, one after the other: close must not overtake open."""
        lane = self._lanes[webhook_id]
        try:
            while lane:
                if not await self._one(lane.popleft()):
                    # The role has moved: what waits behind must not overtake. Whoever holds the role finds all of it in order.
                    for waiting in lane:
                        self._known.pop(waiting.id, None)
                    return
        finally:
            del self._lanes[webhook_id]

    async def _one(self, delivery: Delivery) -> bool:
        """Act on one delivery; False when this process may no longer act."""
        try:
            await self._act(delivery)
        except Fenced:
            self._known.pop(delivery.id, None)
            return False
        except Exception:  # whatever one alert does must not stop the others
            log.exception("delivery_failed", delivery_id=str(delivery.id))
            # If this fails too, the database is gone: the loop restarts, and the poll finds the delivery still pending.
            await self._decide_after_failure(delivery)
        return True

    async def _act(self, delivery: Delivery) -> None:
        desk = self._desk
        deadline = delivery.received_at + MAX_AGE
        parsed: dict[str, Any] | None = None
        try:
            reading = read_message(delivery.raw)
            key = f"webhook:{delivery.webhook_id}:"
            wish = intent_of(reading, own_key=f"{key}id:", delivery_key=f"{key}{delivery.id}")
            parsed = reading.parsed
            if wish is None:
                reason = reading.alerts[0].note or "a test message; nothing to trade"
                await self._decide(delivery, Decision.PING, reason=reason, parsed=parsed)
                return
            # Only a delivery that the poll found can have been begun by a process that died.
            order = await self._existing(delivery) if delivery.started_ns is None else None
            if order is None:
                if desk.clock.now() > deadline:
                    late = int((desk.clock.now() - delivery.received_at).total_seconds())
                    reason = f"the server came to it {late} s after it arrived (limit {MAX_AGE.seconds} s); it was not traded"
                    await self._decide(delivery, Decision.STALE, code="DEADLINE_PASSED", reason=reason, parsed=parsed)
                    return
                intent = wish.with_deadline(deadline)
                if delivery.account is None:
                    raise OrderDenied(DenialReason.NO_BROKER, "there is no broker account to trade on; add one, then send the alert again")
                order = (await submit(desk, delivery.user_id, intent, account=delivery.account, delivery_id=delivery.id)).order
            order = await self._settled(order)
        except Fenced:
            raise
        except AppError as error:
            decision = Decision.UNREADABLE if parsed is None else Decision.DENIED
            await self._decide(delivery, decision, code=error.code, reason=error.message, parsed=parsed)
            return
        await self._decide_by_order(delivery, order, parsed)

    async def _settled(self, order: OrderRecord) -> OrderRecord:
        """Wait until it is known whether the order is at the venue.

        Until then the next alert of this webhook waits too: a close that came before its open was counted would find nothing to close.

        Raises:
            Fenced: the role has moved; whoever holds it settles the order and decides.
        """
        give_up_at = time.monotonic() + _SETTLE_S
        while order.state in _NOT_SETTLED and time.monotonic() < give_up_at:
            if not self._desk.lease.is_held:
                raise Fenced(f"this process does not hold the role {self._desk.lease.role}")
            await asyncio.sleep(_SETTLE_POLL_S)
            async with self._desk.database.connection() as connection:
                order = OrderRecord.of(await connection.fetchrow("SELECT * FROM orders WHERE id = $1", order.id))
        return order

    async def _decide_after_failure(self, delivery: Delivery) -> None:
        order = await self._existing(delivery)
        if order is not None:
            await self._decide_by_order(delivery, order, None)
        else:
            await self._decide(
                delivery, Decision.DENIED, code="INTERNAL", reason="something went wrong here; it was logged, and not traded"
            )

    async def _existing(self, delivery: Delivery) -> OrderRecord | None:
        """The order that this delivery made, if it made one."""
        async with self._desk.database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM orders WHERE delivery_id = $1", delivery.id)
        return None if row is None else OrderRecord.of(row)

    async def _decide_by_order(self, delivery: Delivery, order: OrderRecord, parsed: dict[str, Any] | None) -> None:
        if order.state in (OrderState.REJECTED, OrderState.DENIED):
            await self._decide(delivery, Decision.DENIED, code=order.code, reason=order.detail, parsed=parsed, order=order)
        elif order.state is OrderState.LOST:
            await self._decide(delivery, Decision.DENIED, code="LOST", reason=order.detail, parsed=parsed, order=order)
        elif order.delivery_id != delivery.id:
            reason = "this client_intent_id was traded before; it was not traded again"
            await self._decide(delivery, Decision.DUPLICATE, reason=reason, parsed=parsed)
        else:
            await self._decide(delivery, Decision.EXECUTED, reason=order.detail, parsed=parsed, order=order)

    async def _decide(
        self,
        delivery: Delivery,
        decision: Decision,
        *,
        code: str | None = None,
        reason: str | None = None,
        parsed: dict[str, Any] | None = None,
        order: OrderRecord | None = None,
    ) -> None:
        now = self._desk.clock.now()
        # What made no order may be sent again, corrected, under the same client_intent_id; it is no repeat of anything traded.
        may_come_again = order is None and decision in (Decision.DENIED, Decision.STALE, Decision.UNREADABLE)
        values = (decision.value, code, reason, parsed, _latencies(delivery, order), now, may_come_again)
        async with self._desk.database.connection() as connection:
            await connection.execute(_DECIDE, delivery.id, *values)
        self._desk.bus.publish(DeliveryChanged(user_id=delivery.user_id, delivery_id=delivery.id, decision=decision))


def _latencies(delivery: Delivery, order: OrderRecord | None) -> dict[str, float]:
    """Milliseconds from the request's arrival: to the order leaving, to its acknowledgement, to the decision."""
    found: dict[str, float] = {}
    if order is not None:
        for name, at in (("sent", order.sent_at), ("acknowledged", order.acknowledged_at)):
            if at is not None:
                found[name] = round((at - delivery.received_at).total_seconds() * 1000, 1)
    if delivery.started_ns is not None:
        found["decided"] = round((time.perf_counter_ns() - delivery.started_ns) / 1e6, 1)
    return found
