"""Write down what became of a delivery: decision, reason, account, marks and how long each step took, in one commit; then tell."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from app.domain.enums import OrderState
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.webhooks.alert import Reading
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision
from app.webhooks.outcome import Mark, Outcome
from app.webhooks.receive import Delivery

_DECIDE: Final = """
WITH decided AS (
  UPDATE webhook_deliveries
     SET decision = $2, code = $3, reason = $4, parsed = coalesce($5, parsed), latencies_ms = latencies_ms || $6::jsonb, done_at = $7,
         dialect = $9, alert_at = $10, broker_id = coalesce($11, broker_id)
   WHERE id = $1 AND decision = 'pending' RETURNING webhook_id, user_id),
marked AS (
  INSERT INTO webhook_marks (webhook_id, broker_id, symbol, user_id, alert_at, delivery_id)
  SELECT d.webhook_id, m.broker_id, m.symbol, d.user_id, m.at, $1
    FROM decided d, unnest($12::uuid[], $13::text[], $14::timestamptz[]) AS m (broker_id, symbol, at)
  ON CONFLICT (webhook_id, broker_id, symbol) DO UPDATE SET alert_at = excluded.alert_at, delivery_id = excluded.delivery_id
   WHERE webhook_marks.alert_at < excluded.alert_at)
DELETE FROM webhook_replays r USING decided
 WHERE $8 AND r.webhook_id = decided.webhook_id AND r.delivery_id = $1
"""
_NOTE: Final = "UPDATE webhook_deliveries SET latencies_ms = latencies_ms || $2::jsonb WHERE id = $1 AND decision = 'pending'"


async def decide(desk: Desk, delivery: Delivery, outcome: Outcome, reading: Reading | None, *, read_ms: float | None) -> list[Mark]:
    """Commit the decision, unless somebody has; publish it; and return the marks that went with it."""
    latencies = _latencies(delivery, outcome, read_ms, desk.clock.now())
    # What made no order may be sent again, corrected, under the same client_intent_id; it is no repeat of anything traded.
    may_come_again = not outcome.orders and outcome.decision in (Decision.DENIED, Decision.STALE, Decision.UNREADABLE, Decision.PAUSED)
    # One row cannot be written twice by one statement: of a place the newest counts.
    marks = list({(mark.broker_id, mark.symbol): mark for mark in sorted(outcome.marks, key=lambda mark: mark.at)}.values())
    alerts = () if reading is None else reading.alerts
    values = (
        outcome.decision.value,
        outcome.code,
        outcome.reason,
        None if reading is None else reading.parsed,
        latencies,
        desk.clock.now(),
        may_come_again,
        alerts[0].dialect if alerts else None,
        next((alert.at for alert in alerts if alert.at is not None), None),
        outcome.broker_id,
        [mark.broker_id for mark in marks],
        [mark.symbol for mark in marks],
        [mark.at for mark in marks],
    )
    async with desk.database.connection() as connection:
        await connection.execute(_DECIDE, delivery.id, *values)
    desk.bus.publish(DeliveryChanged(user_id=delivery.user_id, delivery_id=delivery.id, decision=outcome.decision))
    return marks


async def note_step(desk: Desk, delivery_id: UUID, taken: Mapping[str, float]) -> None:
    """Write down that a step which makes no order is done, with its milliseconds: after a crash it is not done again."""
    async with desk.database.connection() as connection:
        await connection.execute(_NOTE, delivery_id, dict(taken))


def elapsed_ms(delivery: Delivery, now: datetime) -> float:
    """Return the milliseconds since the delivery arrived."""
    if delivery.started_ns is not None:
        return round((time.perf_counter_ns() - delivery.started_ns) / 1e6, 1)
    return round((now - delivery.received_at).total_seconds() * 1000, 1)


def _latencies(delivery: Delivery, outcome: Outcome, read_ms: float | None, now: datetime) -> dict[str, float]:
    """Milliseconds from the request's arrival: to the message being read, an order leaving, its acknowledgement and its fill, the decision.

    The steps of further orders are numbered.
    """
    found = dict(outcome.latencies)
    if read_ms is not None:
        found["read"] = read_ms
    for number, order in enumerate(outcome.orders, start=1):
        for name, at in _moments(order).items():
            if at is not None:
                step = name if number == 1 else f"{name}_{number}"
                found[step] = round((at - delivery.received_at).total_seconds() * 1000, 1)
    if delivery.started_ns is not None:
        found["decided"] = elapsed_ms(delivery, now)
    return found


def _moments(order: OrderRecord) -> dict[str, datetime | None]:
    filled_at = order.updated_at if order.state is OrderState.FILLED else None
    return {"sent": order.sent_at, "acknowledged": order.acknowledged_at, "filled": filled_at}
