"""The protections of positions in the database: opened with the fill, changed by their owner, read by the guardian.

A protection's row is the durable wish; its legs are ordinary orders whose `group_id` is the protection's id. `leg` numbers them: twice
the slice, plus one for a target.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Source
from app.domain.guarded import Guarded, Leg, Mode
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, dump_plan, load_plan
from app.errors import NotFound
from app.exchanges.capabilities import Capabilities
from app.trading.fit import is_native_trail
from app.trading.records import OrderRecord

#: The newest entry's plan holds for the whole position.
_OPEN: Final = """
INSERT INTO protections (id, user_id, broker_id, symbol, status, mode, plan, base_quantity, entry_order_id, created_at, updated_at,
                         mode_since, unprotected_since)
VALUES ($1, $2, $3, $4, 'active', 'pairs', $5, $6, $7, $8, $8, $8, $8)
ON CONFLICT (broker_id, symbol) WHERE status = 'active' DO UPDATE
   SET base_quantity = excluded.base_quantity, updated_at = excluded.updated_at,
       plan = CASE WHEN protections.entry_order_id IS DISTINCT FROM excluded.entry_order_id THEN excluded.plan ELSE protections.plan END,
       mode = CASE WHEN protections.entry_order_id IS DISTINCT FROM excluded.entry_order_id THEN 'pairs' ELSE protections.mode END,
       mode_since = CASE WHEN protections.entry_order_id IS DISTINCT FROM excluded.entry_order_id THEN $8 ELSE protections.mode_since END,
       entry_order_id = excluded.entry_order_id
RETURNING id
"""
_SHOW: Final = """
UPDATE positions SET stop_loss = $3, take_profit = $4, updated_at = $5
 WHERE broker_id = $1 AND symbol = $2 AND status <> 'closed' AND bot_id IS NULL
"""
_PROTECTION: Final = """
SELECT p.*, b.exchange, coalesce(s.quantity, 0) AS quantity, s.average_price, coalesce(s.source, 'manual') AS source
  FROM protections p JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN positions s ON s.broker_id = p.broker_id AND s.symbol = p.symbol AND s.status <> 'closed' AND s.bot_id IS NULL
 WHERE p.id = $1
"""
_LEGS: Final = "SELECT * FROM orders WHERE group_id = $1 ORDER BY created_at, id"
_ACTIVE: Final = "SELECT id FROM protections WHERE broker_id = $1 AND symbol = $2 AND status = 'active'"
_NEW_PLAN: Final = """
UPDATE protections SET plan = $2, updated_at = $3, mode = CASE WHEN $4 THEN 'pairs' ELSE mode END,
       mode_since = CASE WHEN $4 THEN $3 ELSE mode_since END
 WHERE id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """One protection with its position and its legs, as read at one moment."""

    id: UUID
    user_id: UUID
    broker_id: UUID
    exchange: str
    symbol: str
    is_active: bool
    source: Source
    mode: Mode
    plan: ProtectionPlan
    base_quantity: Decimal
    quantity: Decimal
    average_price: Decimal | None
    yield_until: datetime | None
    mode_since: datetime
    unprotected_since: datetime | None
    alerted_at: datetime | None
    code: str | None
    legs: tuple[OrderRecord, ...]

    def guarded(self, instrument: Instrument, capabilities: Capabilities, *, last_price: Decimal | None, now: datetime) -> Guarded:
        """Return what the guard decides about, in the best mode that the venue can."""
        return Guarded(
            plan=self.plan,
            mode=_possible(self.mode, self.plan, capabilities),
            instrument=instrument,
            quantity=self.quantity,
            base_quantity=self.base_quantity,
            average_price=self.average_price,
            last_price=last_price,
            legs=tuple(_leg(order, now) for order in self.legs),
            is_yielding=self.yield_until is not None and self.yield_until > now,
            mode_age_s=(now - self.mode_since).total_seconds(),
        )


def _possible(mode: Mode, plan: ProtectionPlan, capabilities: Capabilities) -> Mode:
    """The mode, or the nearest that the venue can."""
    is_native = capabilities.is_native(stop_type(plan)) and is_native_trail(plan.trailing_delta)
    if mode is Mode.SUPERVISED or not is_native:
        return Mode.SUPERVISED
    return mode if capabilities.has_oco else Mode.STOP_AT_VENUE


def stop_type(plan: ProtectionPlan) -> OrderType:
    """Return the kind of order that the plan's stop is."""
    if plan.trailing_delta is not None:
        return OrderType.TRAILING_STOP
    return OrderType.STOP_LIMIT if plan.stop_limit_price is not None else OrderType.STOP_MARKET


def _leg(order: OrderRecord, now: datetime) -> Leg:
    is_waiting = order.is_held
    is_sent = order.sent_at is not None
    return Leg(
        order_id=str(order.id),
        slice=order.leg // 2,
        role=order.role,
        type=order.type,
        state=order.state,
        quantity=order.quantity,
        filled=order.fills_quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        trailing_delta=order.trailing_delta,
        is_held=is_waiting,
        is_triggered=order.triggered_at is not None and not is_sent and order.state is OrderState.INTENT,
        is_working=order.is_working,
        is_cancel_requested=order.cancel_requested_at is not None,
        age_s=max((now - order.updated_at).total_seconds(), 0.0),
    )


async def open_protection(connection: Any, order: OrderRecord, *, quantity: Decimal, now: datetime) -> UUID | None:
    """Write down, in the transaction that counts an entry's fill, how the position is to be guarded; None when the order has no plan."""
    if order.protection is None or quantity <= 0 or order.role is not Role.ENTRY:
        return None
    plan = order.protection
    found: UUID = await connection.fetchval(_OPEN, new_id(), order.user_id, order.broker_id, order.symbol, plan, quantity, order.id, now)
    await _show(connection, order.broker_id, order.symbol, load_plan(plan), now)
    return found


async def _show(connection: Any, broker_id: UUID, symbol: str, plan: ProtectionPlan, now: datetime) -> None:
    target = plan.targets[0].price if plan.targets else None
    await connection.execute(_SHOW, broker_id, symbol, plan.stop_price, target, now)


async def read(connection: Any, protection_id: UUID) -> Protection:
    """Return one protection.

    Raises:
        NotFound: there is none of that id.
    """
    row = await connection.fetchrow(_PROTECTION, protection_id)
    if row is None:
        raise NotFound
    legs = tuple(OrderRecord.of(leg) for leg in await connection.fetch(_LEGS, protection_id))
    return Protection(
        id=row["id"],
        user_id=row["user_id"],
        broker_id=row["broker_id"],
        exchange=row["exchange"],
        symbol=row["symbol"],
        is_active=row["status"] == "active",
        source=Source(row["source"]),
        mode=Mode(row["mode"]),
        plan=load_plan(row["plan"]),
        base_quantity=row["base_quantity"],
        quantity=row["quantity"],
        average_price=row["average_price"],
        yield_until=row["yield_until"],
        mode_since=row["mode_since"],
        unprotected_since=row["unprotected_since"],
        alerted_at=row["alerted_at"],
        code=row["code"],
        legs=legs,
    )


async def active_protection(connection: Any, broker_id: UUID, symbol: str) -> UUID | None:
    """Return the id of the protection that guards a position now, if there is one."""
    found: UUID | None = await connection.fetchval(_ACTIVE, broker_id, symbol)
    return found


async def change_plan(connection: Any, protection: Protection, plan: ProtectionPlan, *, now: datetime, is_fresh: bool) -> None:
    """Let the position be guarded by another plan; with `is_fresh` the venue's best mode is tried again."""
    await connection.execute(_NEW_PLAN, protection.id, dump_plan(plan), now, is_fresh)
    await _show(connection, protection.broker_id, protection.symbol, plan, now)


async def guard_position(connection: Any, position: Any, plan: ProtectionPlan, *, now: datetime) -> UUID:
    """Guard an open position that was not guarded, or guard it otherwise; `position` is its row."""
    values = (position["user_id"], position["broker_id"], position["symbol"], dump_plan(plan), position["quantity"])
    found: UUID = await connection.fetchval(_OPEN, new_id(), *values, None, now)
    protection = await read(connection, found)
    await change_plan(connection, protection, plan, now=now, is_fresh=True)
    return found
