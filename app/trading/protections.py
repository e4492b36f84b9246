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
from app.core.leases import HOLD
from app.domain.enums import OrderState, OrderType, Role, Source
from app.domain.guarded import Guarded, Leg, Mode
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, dump_plan, load_plan
from app.errors import Fenced, NotFound
from app.exchanges.capabilities import Capabilities
from app.trading.desk import Desk
from app.trading.fit import is_native_trail
from app.trading.records import OrderRecord
from app.trading.whose import PLACE, same

#: The purposes of orders that close a position.
CLOSES: Final = frozenset({Role.EXIT, Role.FLATTEN})
LIVE: Final = "('intent', 'submitting', 'unknown', 'open', 'partial')"
#: An order that waits here for its trigger: it has not begun.
HELD: Final = "(o.state = 'intent' AND o.execution = 'supervised' AND o.triggered_at IS NULL)"
#: An order and the one that takes its place: as long as the old one lives, the new one has not begun.
REPLACING: Final = f"EXISTS (SELECT 1 FROM orders r WHERE r.id = o.replaces_id AND r.state IN {LIVE})"  # noqa: S608  # a constant
#: A plan gives way to a younger wish, and to that of another position; a fill of the entry that brought it only makes the base larger.
_IS_NEW: Final = """(excluded.plan_wished_at > protections.plan_wished_at
                     OR protections.position_id IS DISTINCT FROM excluded.position_id)"""
_OPEN: Final = f"""
INSERT INTO protections (id, user_id, broker_id, symbol, bot_id, status, mode, plan, base_quantity, entry_order_id, position_id,
                         plan_wished_at, created_at, updated_at, mode_since, plan_since, unprotected_since)
VALUES ($1, $2, $3, $4, $5, 'active', 'pairs', $6, $7, $8, $9, $10, $11, $11, $11, $11, $11)
ON CONFLICT {PLACE} WHERE status = 'active' DO UPDATE
   SET updated_at = excluded.updated_at, revision = protections.revision + 1, position_id = excluded.position_id,
       base_quantity = excluded.base_quantity + CASE WHEN {_IS_NEW} THEN 0 ELSE (
         SELECT coalesce(sum(fills_quantity), 0) FROM orders
          WHERE group_id = protections.id AND created_at >= protections.plan_since) END,
       entry_order_id = CASE WHEN {_IS_NEW} THEN excluded.entry_order_id ELSE protections.entry_order_id END,
       plan = CASE WHEN {_IS_NEW} THEN excluded.plan ELSE coalesce($12, protections.plan) END,
       plan_wished_at = CASE WHEN {_IS_NEW} THEN excluded.plan_wished_at ELSE protections.plan_wished_at END,
       plan_since = CASE WHEN {_IS_NEW} THEN excluded.plan_since ELSE protections.plan_since END,
       mode = CASE WHEN {_IS_NEW} THEN 'pairs' ELSE protections.mode END,
       mode_since = CASE WHEN {_IS_NEW} THEN excluded.mode_since ELSE protections.mode_since END
RETURNING id, plan
"""  # noqa: S608  # a constant
#: A replacement is the same wish as the order whose place it takes: it does not overrule what was wished for the position since then.
_WISHED_AT: Final = """
WITH RECURSIVE chain AS (
  SELECT id, replaces_id, created_at FROM orders WHERE id = $1
  UNION ALL SELECT o.id, o.replaces_id, o.created_at FROM orders o JOIN chain c ON o.id = c.replaces_id)
SELECT min(created_at) FROM chain
"""
#: On average, with the orders whose place it took.
_PAID: Final = """
WITH RECURSIVE chain AS (
  SELECT id, replaces_id FROM orders WHERE id = $1 UNION ALL SELECT o.id, o.replaces_id FROM orders o JOIN chain c ON o.id = c.replaces_id)
SELECT sum(f.price * f.quantity) / sum(f.quantity) FROM fills f JOIN chain c ON f.order_id = c.id
"""
#: Of what a bot adds without a word on how to guard it, its targets have their parts as well.
_GROW: Final = f"""
UPDATE protections SET base_quantity = base_quantity + $4, revision = revision + 1, updated_at = $5
 WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3")} AND status = 'active'
"""  # noqa: S608  # a constant
_SHOW: Final = "UPDATE positions SET stop_loss = $2, take_profit = $3, updated_at = $4 WHERE id = $1"
#: Whether an order that is no leg takes its units from the legs: one that closes the position always; any other sell while it is selling
#: at the market or nobody knows what became of it. One that only rests has its units locked at the venue, and may sell others.
_LEAVES: Final = f"""o.state IN {LIVE} AND o.role NOT IN ('stop', 'target') AND NOT {HELD} AND NOT {REPLACING}
  AND ((o.role IN ('exit', 'flatten') AND o.group_id IS NULL) OR o.type = 'market' OR o.triggered_at IS NOT NULL
       OR (o.type = 'limit' AND o.state = 'unknown')
       OR (o.type IN ('stop_market', 'take_profit', 'trailing_stop') AND o.state IN ('open', 'partial') AND o.is_working))"""
#: What was sold and is not counted, by whatever order; and what orders that are no legs may still sell. Of a pair one half sells.
_SELLING: Final = f"""
  SELECT coalesce(sum(each.uncounted), 0) AS uncounted, coalesce(sum(each.leaving), 0) AS leaving
    FROM (SELECT sum(o.filled_quantity - o.fills_quantity) AS uncounted,
                 max(o.quantity - o.filled_quantity) FILTER (WHERE {_LEAVES}) AS leaving
            FROM orders o
           WHERE o.user_id = p.user_id AND o.broker_id = p.broker_id AND o.symbol = p.symbol AND o.side = 'sell'
             AND {same("o.bot_id", "p.bot_id")} AND (o.state IN {LIVE} OR o.fills_quantity <> o.filled_quantity)
           GROUP BY coalesce(o.group_id, o.id)) each"""  # noqa: S608  # constants
_PROTECTION: Final = f"""
SELECT p.*, b.exchange, coalesce(s.quantity, 0) AS quantity, s.average_price, coalesce(s.source, 'manual') AS source, u.uncounted, u.leaving
  FROM protections p JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN positions s ON s.id = p.position_id AND s.status <> 'closed'
  CROSS JOIN LATERAL ({_SELLING}) u
 WHERE p.id = $1
"""  # noqa: S608  # constants
_LEGS: Final = "SELECT * FROM orders WHERE group_id = $1 ORDER BY created_at, id"
_ACTIVE: Final = f"""
SELECT id, plan, plan_wished_at FROM protections WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3::uuid")} AND status = 'active'
"""  # noqa: S608  # a constant
_NEW_PLAN: Final = """
UPDATE protections SET plan = $2, updated_at = $3, revision = revision + 1
 WHERE id = $1 AND status = 'active' AND revision = $4 RETURNING id
"""
_LOCK_POSITION: Final = "SELECT * FROM positions WHERE id = $1 AND status <> 'closed' FOR UPDATE"
#: A look at a protection is acted upon only while it is the present: the same row, the same position and sales, and the role still ours.
#: Whoever stores or triggers an order that sells the position changes the revision, so that what is not committed yet is seen too.
_STILL: Final = f"""
WITH held AS ({HOLD.format(role="$6", owner="$7", epoch="$8")})
SELECT p.id FROM protections p, held
 WHERE p.id = $1 AND p.status = 'active' AND p.revision = $2
   AND coalesce((SELECT s.quantity FROM positions s WHERE s.id = p.position_id AND s.status <> 'closed'), 0) = $3
   AND EXISTS (SELECT 1 FROM ({_SELLING}) u WHERE u.uncounted = $4 AND u.leaving = $5) FOR UPDATE OF p
"""  # noqa: S608  # constants
#: Lets every look at a position's protection be stale.
DISTURB: Final = "UPDATE protections SET revision = revision + 1"
DISTURBED: Final = f"""protections.broker_id = {{broker}} AND protections.symbol = {{symbol}} AND protections.status = 'active'
     AND {same("protections.bot_id", "{bot}")}"""
_DISTURB: Final = f"{DISTURB} WHERE {DISTURBED.format(broker='$1', symbol='$2', bot='$3::uuid')}"


class StaleLookError(Exception):
    """The protection, its position or the orders that close it have changed since it was looked at: look again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """One protection with its position and its legs, as read at one moment."""

    id: UUID
    user_id: UUID
    broker_id: UUID
    exchange: str
    symbol: str
    #: Whose position it guards; None for the hand's.
    bot_id: UUID | None
    is_active: bool
    #: Changes with everything that a decision about the protection rests on, but for its own legs.
    revision: int
    position_id: UUID | None
    source: Source
    mode: Mode
    plan: ProtectionPlan
    base_quantity: Decimal
    quantity: Decimal
    uncounted: Decimal
    leaving: Decimal
    average_price: Decimal | None
    plan_since: datetime
    mode_since: datetime
    unprotected_since: datetime | None
    alerted_at: datetime | None
    code: str | None
    legs: tuple[OrderRecord, ...]

    def guarded(self, instrument: Instrument, capabilities: Capabilities | None, *, last_price: Decimal | None, now: datetime) -> Guarded:
        """Return what the guard decides about, in the best mode that the venue can; without its capabilities, in the mode that is set."""
        return Guarded(
            plan=self.plan,
            mode=self.mode if capabilities is None else possible_mode(self.mode, self.plan, capabilities),
            best_mode=self.mode if capabilities is None else possible_mode(Mode.PAIRS, self.plan, capabilities),
            instrument=instrument,
            quantity=self.quantity,
            base_quantity=self.base_quantity,
            average_price=self.average_price,
            last_price=last_price,
            uncounted=self.uncounted,
            leaving=self.leaving,
            legs=tuple(_leg(order, now, plan_since=self.plan_since) for order in self.legs),
            mode_age_s=(now - self.mode_since).total_seconds(),
            fills_once=self.bot_id is not None,
        )


def possible_mode(mode: Mode, plan: ProtectionPlan, capabilities: Capabilities) -> Mode:
    """Return the mode, or the nearest that the venue can."""
    is_native = capabilities.is_native(stop_type(plan)) and is_native_trail(plan.trailing_delta)
    if mode is Mode.SUPERVISED or not is_native:
        return Mode.SUPERVISED
    return mode if capabilities.has_oco else Mode.STOP_AT_VENUE


def stop_type(plan: ProtectionPlan) -> OrderType:
    """Return the kind of order that the plan's stop is."""
    if plan.trailing_delta is not None:
        return OrderType.TRAILING_STOP
    return OrderType.STOP_LIMIT if plan.stop_limit_price is not None else OrderType.STOP_MARKET


def _leg(order: OrderRecord, now: datetime, *, plan_since: datetime) -> Leg:
    is_waiting = order.is_held
    is_sent = order.sent_at is not None
    return Leg(
        order_id=str(order.id),
        slice=order.leg // 2,
        role=order.role,
        type=order.type,
        state=order.state,
        quantity=order.quantity,
        filled=order.filled_quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        trailing_delta=order.trailing_delta,
        is_held=is_waiting,
        is_triggered=order.triggered_at is not None and not is_sent and order.state is OrderState.INTENT,
        is_working=order.is_working,
        is_cancel_requested=order.cancel_requested_at is not None,
        is_of_plan=order.created_at >= plan_since,
        is_at_market=is_sent and order.venue_type is OrderType.MARKET,
        age_s=max((now - order.updated_at).total_seconds(), 0.0),
    )


async def open_protection(
    connection: Any, order: OrderRecord, *, position_id: UUID, quantity: Decimal, added: Decimal, now: datetime
) -> UUID | None:
    """Write down, in the transaction that counts an entry's fill, how the position is to be guarded; None when the order has no plan.

    The position's row is locked already; it holds `quantity` now, and `added` more than before.
    """
    if quantity <= 0 or order.role is not Role.ENTRY:
        return None
    if order.protection is None:
        if order.bot_id is not None and added > 0:
            await connection.execute(_GROW, order.broker_id, order.symbol, order.bot_id, added, now)
        return None
    wished_at = order.created_at if order.replaces_id is None else await connection.fetchval(_WISHED_AT, order.id)
    plan, followed = await _resolved(connection, order, load_plan(order.protection), wished_at)
    place = (order.user_id, order.broker_id, order.symbol, order.bot_id)
    row = await connection.fetchrow(_OPEN, new_id(), *place, plan, quantity, order.id, position_id, wished_at, now, followed)
    await _show(connection, position_id, load_plan(row["plan"]), now)
    found: UUID = row["id"]
    return found


async def _resolved(
    connection: Any, order: OrderRecord, wished: ProtectionPlan, wished_at: datetime
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The plan with prices for its distances, by what its entry paid; and what becomes of it where earlier fills had made it present."""
    if not wished.has_distances:
        return dump_plan(wished), None
    paid = await connection.fetchval(_PAID, order.id)
    present = await connection.fetchrow(_ACTIVE, order.broker_id, order.symbol, order.bot_id)
    is_same = present is not None and present["plan_wished_at"] == wished_at
    followed = dump_plan(load_plan(present["plan"]).from_entry(paid, wished=wished)) if is_same else None
    return dump_plan(wished.from_entry(paid)), followed


async def _show(connection: Any, position_id: UUID | None, plan: ProtectionPlan, now: datetime) -> None:
    target = plan.targets[0].at if plan.targets else None
    await connection.execute(_SHOW, position_id, plan.stop_price, target, now)


async def read(desk: Desk, protection_id: UUID) -> Protection:
    """Return one protection, its position, its legs and what else sells, all as of one moment.

    Raises:
        NotFound: there is none of that id.
    """
    async with desk.database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return await read_on(connection, protection_id)


async def read_on(connection: Any, protection_id: UUID) -> Protection:
    """Do what `read` does, inside the caller's transaction."""
    row = await connection.fetchrow(_PROTECTION, protection_id)
    if row is None:
        raise NotFound
    legs = tuple(OrderRecord.of(leg) for leg in await connection.fetch(_LEGS, protection_id))
    as_they_are = (
        "id",
        "user_id",
        "broker_id",
        "exchange",
        "symbol",
        "bot_id",
        "revision",
        "position_id",
        "base_quantity",
        "quantity",
        "uncounted",
        "leaving",
        "average_price",
        "plan_since",
        "mode_since",
        "unprotected_since",
        "alerted_at",
        "code",
    )
    return Protection(
        **{name: row[name] for name in as_they_are},
        is_active=row["status"] == "active",
        source=Source(row["source"]),
        mode=Mode(row["mode"]),
        plan=load_plan(row["plan"]),
        legs=legs,
    )


async def active_protection(connection: Any, broker_id: UUID, symbol: str, bot_id: UUID | None) -> UUID | None:
    """Return the id of the protection that guards a bot's position now, or (None) the hand's, if there is one."""
    found: UUID | None = await connection.fetchval(_ACTIVE, broker_id, symbol, bot_id)
    return found


async def confirm(desk: Desk, connection: Any, protection: Protection) -> None:
    """Make sure that what was looked at is still so, and keep it so until the caller's transaction ends.

    Raises:
        StaleLookError: it is not; nothing may be written because of it.
        Fenced: this process does not own the engine role.
    """
    lease = desk.lease
    seen = (protection.id, protection.revision, protection.quantity, protection.uncounted, protection.leaving)
    values = (*seen, lease.role, lease.owner, lease.epoch)
    if await connection.fetchval(_STILL, *values) is not None:
        return
    if not await lease.ask_whether_held(connection):
        raise Fenced(f"another process has taken over the role {lease.role}")
    raise StaleLookError


async def disturb(connection: Any, order: OrderRecord) -> None:
    """Let every look at the protection of what the order sells that was taken before this transaction commits be stale."""
    await connection.execute(_DISTURB, order.broker_id, order.symbol, order.bot_id)


async def change_plan(connection: Any, protection: Protection, plan: ProtectionPlan, *, now: datetime) -> None:
    """Let the position be guarded by a plan that differs in its stop only.

    Raises:
        StaleLookError: the protection has changed since it was read; nothing may be committed.
    """
    # The position's row before the protection's, as whoever counts a fill does.
    await _show(connection, protection.position_id, plan, now)
    if await connection.fetchval(_NEW_PLAN, protection.id, dump_plan(plan), now, protection.revision) is None:
        raise StaleLookError


async def guard_position(connection: Any, position_id: UUID, plan: ProtectionPlan, *, now: datetime) -> UUID:
    """Guard an open position that was not guarded, or guard it otherwise; the venue's best mode is tried again.

    Raises:
        NotFound: it has just been closed.
    """
    position = await connection.fetchrow(_LOCK_POSITION, position_id)
    if position is None:
        raise NotFound("there is no such open position")
    place = (position["user_id"], position["broker_id"], position["symbol"], position["bot_id"])
    wished = dump_plan(plan.from_entry(position["average_price"]) if plan.has_distances else plan)
    row = await connection.fetchrow(_OPEN, new_id(), *place, wished, position["quantity"], None, position_id, now, now, None)
    await _show(connection, position_id, load_plan(row["plan"]), now)
    found: UUID = row["id"]
    return found
