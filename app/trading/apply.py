"""The one place where an order's state is written: event → order, fills and position, in one transaction, fenced by the lease.

Rows are locked in a fixed order, order before position.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from app.core.crash_points import reach
from app.core.db import PLANNED_ONCE
from app.core.ids import new_id
from app.core.leases import HOLD
from app.core.outage import UNDONE
from app.domain.enums import OrderState, Side
from app.domain.instruments import plain
from app.domain.orders import NOT_AT_VENUE, SHOWN, TERMINAL, Fill, OrderEvent, OrderStatus, Reported, apply
from app.domain.positions import KEPT
from app.errors import Conflict, Fenced, OrderNotFound
from app.trading.desk import Desk
from app.trading.events import FillRecorded, announce
from app.trading.fee_prices import fee_prices
from app.trading.folding import fee_values, folded, position_of
from app.trading.outbox import NoticeKind, put
from app.trading.protections import open_protection
from app.trading.records import OrderRecord
from app.trading.whose import PLACE, same

log = structlog.get_logger(__name__)

#: The kind of event of an order that the venue shows though by our books it does not have it.
RESURRECTED: Final = "Resurrected"
_TRIES: Final = 3
FIRST_LOOK_AFTER_LOSS: Final = timedelta(minutes=1)
#: A report without news is written down no more often than that.
STAMP_EVERY: Final = timedelta(seconds=60)
_ROUNDING: Final = Context(prec=60, rounding=ROUND_HALF_UP)
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_VENUE_ID_INDEX: Final = "uq_orders_broker_id_venue_order_id"
_LOCK_ORDER: Final = f"""
WITH held AS ({HOLD.format(role="$2", owner="$3", epoch="$4")})
SELECT orders.*, {PLANNED_ONCE} FROM orders, held WHERE orders.id = $1 FOR UPDATE OF orders
"""  # noqa: S608  # constants
_INSERT_FILLS: Final = """
INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at)
SELECT $1, $2, f.trade_id, $3, $4, $5, f.price, f.quantity, f.fee, f.fee_asset, f.liquidity, f.executed_at
  FROM unnest($6::text[], $7::numeric[], $8::numeric[], $9::numeric[], $10::text[], $11::text[], $12::timestamptz[])
    AS f (trade_id, price, quantity, fee, fee_asset, liquidity, executed_at)
ON CONFLICT ON CONSTRAINT pk_fills DO NOTHING
RETURNING trade_id
"""
_FILLS_SO_FAR: Final = "SELECT sum(quantity) AS quantity, sum(price * quantity) / sum(quantity) AS price FROM fills WHERE order_id = $1"
_UPDATE_ORDER: Final = """
WITH changed AS (
  UPDATE orders SET state = $2, filled_quantity = $3, fills_quantity = fills_quantity + $4, average_price = $5, venue_order_id = $6,
         code = $7, detail = $8, epoch = $9, updated_at = $10, acknowledged_at = coalesce(acknowledged_at, $11),
         reconciled_at = coalesce($11, reconciled_at), is_working = $15, is_overfilled = $16,
         reserved = CASE WHEN $2 IN ('filled', 'canceled', 'expired', 'rejected', 'denied', 'lost') THEN 0 ELSE coalesce($17, reserved) END,
         next_check_at = CASE WHEN $2 = 'lost' THEN coalesce(next_check_at, $14) END
   WHERE id = $1 RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, detail, epoch)
          SELECT id, user_id, $10, $12, state, $13, $9 FROM changed)
SELECT * FROM changed
"""
_STAMP: Final = """
UPDATE orders SET reconciled_at = $2 WHERE id = ANY($1) AND (reconciled_at IS NULL OR reconciled_at < $2::timestamptz - $3::interval)
"""
_OPEN_POSITION: Final = f"""
INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, source, status, opened_at, updated_at, side, delivery_id)
VALUES ($1, $2, $3, $10, $4, $5, $6, $7, 'open', $8, $8, $9, $11)
ON CONFLICT {PLACE} WHERE status <> 'closed' DO NOTHING RETURNING *
"""  # noqa: S608  # a constant
_LOCK_POSITION: Final = f"""
SELECT * FROM positions WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3::uuid")} AND status <> 'closed' FOR UPDATE
"""  # noqa: S608  # a constant
#: What the fills realised is counted into the day's result as well; both read the position as it was before. The fills become its own.
_UPDATE_POSITION: Final = """
WITH realised AS (
  INSERT INTO daily_results AS d (broker_id, user_id, quote, day, realized)
  SELECT broker_id, user_id, quote, ($6::timestamptz AT TIME ZONE 'UTC')::date, $4 - realized_pnl FROM positions
   WHERE id = $1 AND realized_pnl <> $4
  ON CONFLICT (broker_id, day, quote) DO UPDATE SET realized = d.realized + excluded.realized),
owned AS (
  UPDATE fills f SET position_id = $1, fee_value = v.fee_value FROM unnest($12::text[], $13::numeric[]) AS v (trade_id, fee_value)
   WHERE f.order_id = $11 AND f.trade_id = v.trade_id)
UPDATE positions
   SET quantity = $2, average_price = $3, realized_pnl = $4, fees = $5, updated_at = $6, status = $7, closed_at = $8, cost = $9,
       unvalued_fees = $10, exit_role = CASE WHEN $7 = 'closed' THEN $14 END
 WHERE id = $1
"""


async def record(desk: Desk, order_id: UUID, event: OrderEvent, *, only_from: OrderState | None = None) -> OrderRecord:
    """Apply `event` to the order, count its new fills into the position, commit, and publish what changed.

    With `only_from`, an order that is no longer in that state stays as it is: it was claimed, or settled, a moment ago.

    Raises:
        Fenced: another process owns the engine role now; nothing was written.
        OrderNotFound: no such order.
        InvalidTransition: the event cannot happen to this order; nothing was written.
        Conflict: the venue gives the order an id that another order of the account has; nothing was written.
    """
    try:
        before, after, fresh = await _written(desk, order_id, event, only_from=only_from)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != _VENUE_ID_INDEX:
            raise
        raise Conflict("the exchange gave this order an id that another order of the account has; what it says was not applied") from error
    if after is not before:
        reach("P5")
        if before.state in NOT_AT_VENUE and isinstance(event, Reported):
            log.warning("order_resurrected", order_id=str(order_id), was=before.state.value, state=after.state.value)
        publish(desk, after, fresh)
    return after


async def _written(
    desk: Desk, order_id: UUID, event: OrderEvent, *, only_from: OrderState | None
) -> tuple[OrderRecord, OrderRecord, Sequence[Fill]]:
    """As `_write`; one that was chosen to end a deadlock has stored nothing and is done again."""
    for _ in range(_TRIES - 1):
        try:
            return await _write(desk, order_id, event, only_from=only_from)
        except UNDONE:
            continue
    return await _write(desk, order_id, event, only_from=only_from)


async def _write(
    desk: Desk, order_id: UUID, event: OrderEvent, *, only_from: OrderState | None
) -> tuple[OrderRecord, OrderRecord, Sequence[Fill]]:
    """The transaction: the order before and after (the same object when nothing is new), and the fills that were new."""
    now = desk.clock.now()
    async with desk.database.raw_transaction() as connection:
        before = await _lock(desk, connection, order_id)
        if only_from is not None and before.state is not only_from:
            return before, before, ()
        status = apply(before.status, event)
        fresh = await _count_fills(connection, before, event.fills) if isinstance(event, Reported) and event.fills else []
        counted = sum((fill.quantity for fill in fresh), Decimal(0))
        if before.fills_quantity + counted > status.filled_quantity:
            status = await _with_counted(connection, order_id, status)
        status = replace(status, average_price=as_kept(status.average_price))
        if status == before.status and not fresh:
            if isinstance(event, Reported):
                await connection.execute(_STAMP, [order_id], now, STAMP_EVERY)
            return before, before, ()
        if fresh:
            await _fold(desk, connection, before, fresh, now)
        acknowledged = now if isinstance(event, Reported) else None
        after = OrderRecord.of(
            await connection.fetchrow(
                _UPDATE_ORDER,
                order_id,
                status.state.value,
                status.filled_quantity,
                counted,
                status.average_price,
                status.venue_order_id,
                status.code,
                status.detail,
                desk.lease.epoch,
                now,
                acknowledged,
                _kind(before, event),
                told_of(event, fresh),
                now + FIRST_LOOK_AFTER_LOSS,
                status.is_working,
                status.is_overfilled,
                _reserved_again(before, status),
            )
        )
        await _notify(connection, before, after, now)
    return before, after, fresh


def _kind(before: OrderRecord, event: OrderEvent) -> str:
    return RESURRECTED if before.state in NOT_AT_VENUE and isinstance(event, Reported) else type(event).__name__


def _reserved_again(before: OrderRecord, status: OrderStatus) -> Decimal | None:
    """What an order that is back at the venue may still take: its reservation had been let go."""
    if before.state not in NOT_AT_VENUE or status.state in TERMINAL:
        return None
    left = max(status.quantity - status.filled_quantity, Decimal(0))
    if before.side is Side.SELL:
        return left
    if before.notional is not None:
        return before.notional
    price = before.price or before.trigger_price
    return None if price is None else _UP.multiply(left, price)


async def _notify(connection: Any, before: OrderRecord, after: OrderRecord, now: datetime) -> None:
    """Tell the trader what no trader may miss, committed with the change itself."""
    if after.is_overfilled and not before.is_overfilled:
        kind, text = NoticeKind.ORDER_OVERFILLED, f"The exchange filled more of {after.symbol} than was ordered: {plain(after.quantity)}."
    elif after.state is OrderState.LOST:
        kind, text = NoticeKind.ORDER_LOST, f"Checked until {now:%H:%M:%S} UTC: the order for {after.symbol} never arrived. No money moved."
    elif before.state in NOT_AT_VENUE and after.state in SHOWN:
        what = "part of your position" if after.filled_quantity else "open there"
        kind, text = NoticeKind.ORDER_RESURRECTED, f"The order for {after.symbol} has appeared late at the exchange and is now {what}."
    else:
        return
    await put(connection, kind, text, user_id=after.user_id, broker_id=after.broker_id, at=now, order_id=str(after.id))


async def stamp(desk: Desk, order_ids: Sequence[UUID]) -> None:
    """Write down that the venue was asked about these orders and had nothing new to say, unless that was written a moment ago."""
    if order_ids:
        async with desk.database.connection() as connection:
            await connection.execute(_STAMP, list(order_ids), desk.clock.now(), STAMP_EVERY)


async def _lock(desk: Desk, connection: Any, order_id: UUID) -> OrderRecord:
    lease = desk.lease
    row = await connection.fetchrow(_LOCK_ORDER, order_id, lease.role, lease.owner, lease.epoch)
    if row is None:
        if await connection.fetchval("SELECT 1 FROM orders WHERE id = $1", order_id) is None:
            raise OrderNotFound
        raise Fenced(f"another process has taken over the role {lease.role}")
    return OrderRecord.of(row)


def as_kept(price: Decimal | None) -> Decimal | None:
    """Return a price as the database keeps it: a mean that goes on for ever must not look new each time it is reported."""
    return None if price is None else price.quantize(KEPT, context=_ROUNDING)


async def _with_counted(connection: Any, order_id: UUID, status: OrderStatus) -> OrderStatus:
    """Fills are the truth for what is filled: they are read after the order's own report, so there may be more of them than it says."""
    row = await connection.fetchrow(_FILLS_SO_FAR, order_id)
    state = OrderState.PARTIAL if status.state is OrderState.OPEN else status.state
    is_complete = row["quantity"] >= status.quantity and not status.is_by_notional
    return replace(
        status,
        filled_quantity=row["quantity"],
        average_price=row["price"],
        state=OrderState.FILLED if is_complete else state,
        is_overfilled=status.is_overfilled or (row["quantity"] > status.quantity and not status.is_by_notional),
    )


async def _count_fills(connection: Any, order: OrderRecord, reported: Sequence[Fill]) -> list[Fill]:
    """Insert the fills that are new; return them in the order they happened. A trade that is reported twice at once is one."""
    fills = list({fill.trade_id: fill for fill in reversed(reported)}.values())
    rows = await connection.fetch(
        _INSERT_FILLS,
        order.broker_id,
        order.symbol,
        order.id,
        order.user_id,
        order.side.value,
        *columns_of(fills),
    )
    inserted = {row["trade_id"] for row in rows}
    return sorted((fill for fill in fills if fill.trade_id in inserted), key=lambda fill: (fill.executed_at, fill.trade_id))


def columns_of(fills: Sequence[Fill]) -> tuple[list[object], ...]:
    """Return fills column by column, as the statements that count them take them."""
    return (
        [fill.trade_id for fill in fills],
        [fill.price for fill in fills],
        [fill.quantity for fill in fills],
        [fill.fee for fill in fills],
        [fill.fee_asset for fill in fills],
        [fill.liquidity.value for fill in fills],
        [fill.executed_at for fill in fills],
    )


async def _fold(desk: Desk, connection: Any, order: OrderRecord, fills: Sequence[Fill], now: datetime) -> None:
    row = await _lock_position(connection, order, opened_at=fills[0].executed_at)
    exchange = await _exchange(desk, connection, order)
    prices = await fee_prices(desk, connection, exchange, order.symbol, fills)
    position = folded(position_of(row, order.symbol), order.side, fills, prices)
    is_flat = abs(position.quantity) < _smallest(desk, exchange, order)
    await connection.execute(
        _UPDATE_POSITION,
        row["id"],
        position.quantity,
        position.average_price,
        position.realized_pnl,
        position.fees,
        now,
        "closed" if is_flat else "open",
        fills[-1].executed_at if is_flat else None,
        position.cost,
        {asset: plain(fee) for asset, fee in position.unvalued_fees.items()},
        order.id,
        [fill.trade_id for fill in fills],
        fee_values(order.symbol, fills, prices),
        order.role.value,
    )
    await open_protection(
        connection, order, position_id=row["id"], quantity=position.quantity, added=position.quantity - row["quantity"], now=now
    )


async def _lock_position(connection: Any, order: OrderRecord, *, opened_at: datetime) -> Any:
    """Return the open position's row, locked; opened now if there is none. Other orders may open and close it at the same moment."""
    base, _, quote = order.symbol.partition("/")
    values = (
        new_id(),
        order.user_id,
        order.broker_id,
        order.symbol,
        base,
        quote,
        order.source.value,
        opened_at,
        "long" if order.side is Side.BUY else "short",
        order.bot_id,
        order.delivery_id,
    )
    while True:
        row = await connection.fetchrow(_LOCK_POSITION, order.broker_id, order.symbol, order.bot_id)
        if row is None:
            row = await connection.fetchrow(_OPEN_POSITION, *values)
        if row is not None:
            return row


async def _exchange(desk: Desk, connection: Any, order: OrderRecord) -> str:
    client = desk.connections.ready(order.broker_id)
    found: str = client.exchange if client else await connection.fetchval("SELECT exchange FROM brokers WHERE id = $1", order.broker_id)
    return found


def _smallest(desk: Desk, exchange: str, order: OrderRecord) -> Decimal:
    """What remains below one step cannot be sold: it is dust, and the position is closed."""
    instrument = desk.instruments.cached(exchange, order.symbol)
    return instrument.step_size if instrument is not None else KEPT


def told_of(event: OrderEvent, fresh: Sequence[Fill]) -> dict[str, Any]:
    """Return what the order's history keeps of an event."""
    told: dict[str, Any] = {}
    for name in ("code", "detail", "venue_order_id"):
        value = getattr(event, name, None)
        if value is not None:
            told[name] = value
    if isinstance(event, Reported):
        told["reported"] = event.state.value
        told["filled_quantity"] = str(event.filled_quantity)
        told["trade_ids"] = [fill.trade_id for fill in fresh]
    return told


def publish(desk: Desk, order: OrderRecord, fresh: Sequence[Fill]) -> None:
    """Tell of a committed change of an order, and of the fills that it brought."""
    announce(desk.bus, order)
    for fill in fresh:
        desk.bus.publish(
            FillRecorded(
                user_id=order.user_id,
                broker_id=order.broker_id,
                order_id=order.id,
                symbol=order.symbol,
                side=order.side,
                price=fill.price,
                quantity=fill.quantity,
                executed_at=fill.executed_at,
                is_guarded=order.protection is not None,
                bot_id=order.bot_id,
            )
        )
