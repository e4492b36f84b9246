"""The fast path of an acknowledgement: one statement writes what `trading.apply` writes in a transaction of seven.

It holds only while the order is as it was claimed, none of its fills counted, and while the position is as this process last saw it; the
lease is held by the same statement. If anything is otherwise it does nothing, and `trading.apply.record`, which locks and reads first,
decides. The fold itself is the same (`domain.orders`, `domain.positions`), and so is the order of locks: order before position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import asyncpg

from app.core.crash_points import reach
from app.core.ids import new_id
from app.core.leases import HOLD
from app.core.outage import DATABASE_GONE, UNDONE
from app.domain.enums import OrderState, Role, Side
from app.domain.orders import SHOWN, Fill, OrderEvent, OrderStatus, Reported, apply
from app.domain.positions import Position, cost_of
from app.trading.apply import as_kept, columns_of, publish, record, told_of
from app.trading.desk import Desk
from app.trading.fee_prices import quoted
from app.trading.folding import fee_values, folded
from app.trading.hints import OpenPosition
from app.trading.records import OrderRecord
from app.trading.whose import same

_READ_POSITION: Final = f"""
SELECT id, quantity, average_price, cost, realized_pnl, fees FROM positions
 WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3::uuid")} AND status <> 'closed'
"""  # noqa: S608  # a constant
#: The order's row comes first and everything else depends on it. Who changes what an order's status is made of sets `updated_at`.
_MINE: Final = f"""
WITH held AS ({HOLD.format(role="$2", owner="$3", epoch="$4")}),
mine AS (
  SELECT o.id, o.user_id, o.broker_id, o.symbol, o.side, o.bot_id, o.role, o.delivery_id FROM orders o, held
   WHERE o.id = $1 AND o.state = 'submitting' AND o.epoch = $4 AND o.updated_at = $6 AND o.filled_quantity = 0 AND o.fills_quantity = 0
     AND o.venue_order_id IS NULL FOR UPDATE OF o)"""  # noqa: S608  # constants
#: The position that the fills go into, only if it is still the one they were folded into.
_SAME_POSITION: Final = """,
place AS (
  SELECT p.id, p.quote, p.realized_pnl, mine.role FROM positions p, mine
   WHERE p.id = $31 AND p.status <> 'closed' AND p.quantity = $32 AND p.average_price IS NOT DISTINCT FROM $33
     AND p.cost IS NOT DISTINCT FROM $34 AND p.realized_pnl = $35 AND p.fees = $36 FOR UPDATE OF p),
folded AS (
  UPDATE positions p
     SET quantity = $24, average_price = $25, cost = $26, realized_pnl = $27, fees = $28, updated_at = $5, status = $29, closed_at = $30,
         exit_role = CASE WHEN $29 = 'closed' THEN place.role END
    FROM place WHERE p.id = place.id RETURNING p.*)"""
#: A new one: the index of open positions refuses it when there is one by now, and the whole statement with it.
_NEW_POSITION: Final = """,
place AS (SELECT $33::text AS quote, 0::numeric AS realized_pnl FROM mine),
folded AS (
  INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, source, side, status, opened_at, updated_at, quantity,
                         average_price, cost, realized_pnl, fees, closed_at, exit_role, delivery_id)
  SELECT $31, user_id, broker_id, bot_id, symbol, $32, $33, $34, $35, $29, $36, $5, $24, $25, $26, $27, $28, $30,
         CASE WHEN $29 = 'closed' THEN role END, delivery_id
    FROM mine RETURNING *)"""
#: A fill that was counted already fails the statement. What the fills realised is counted into the day's result as well.
_FILLS: Final = """,
counted AS (
  INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at,
                     fee_value, position_id)
  SELECT m.broker_id, m.symbol, f.trade_id, m.id, m.user_id, m.side, f.price, f.quantity, f.fee, f.fee_asset, f.liquidity, f.executed_at,
         f.fee_value, $31
    FROM mine m, place, unnest($16::text[], $17::numeric[], $18::numeric[], $19::numeric[], $20::text[], $21::text[], $22::timestamptz[],
                               $23::numeric[])
      AS f (trade_id, price, quantity, fee, fee_asset, liquidity, executed_at, fee_value)),
realised AS (
  INSERT INTO daily_results AS d (broker_id, user_id, quote, day, realized)
  SELECT m.broker_id, m.user_id, place.quote, ($5::timestamptz AT TIME ZONE 'UTC')::date, $27 - place.realized_pnl FROM mine m, place
   WHERE place.realized_pnl <> $27
  ON CONFLICT (broker_id, day, quote) DO UPDATE SET realized = d.realized + excluded.realized)"""
_ORDER: Final = """,
changed AS (
  UPDATE orders SET state = $7, filled_quantity = $8, fills_quantity = $9, average_price = $10, venue_order_id = $11, code = $12,
         detail = $13, epoch = $4, updated_at = $5, acknowledged_at = coalesce(acknowledged_at, $5), reconciled_at = $5, is_working = $15,
         reserved = CASE WHEN $7 IN ('filled', 'canceled', 'expired', 'rejected') THEN 0 ELSE reserved END
    FROM {place} WHERE orders.id = $1 RETURNING orders.*),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, detail, epoch)
          SELECT id, user_id, $5, 'Reported', state, $14, $4 FROM changed)"""
_WITHOUT_FILLS: Final = f"{_MINE}{_ORDER.format(place='mine')} SELECT * FROM changed"  # noqa: S608  # constants
_FOLDED: Final = """
SELECT changed.*, folded.id AS position_id, folded.quantity AS position_quantity, folded.average_price AS position_average_price,
       folded.cost AS position_cost, folded.realized_pnl AS position_realized_pnl, folded.fees AS position_fees,
       folded.status AS position_status
  FROM changed, folded
"""
_INTO_SAME: Final = f"{_MINE}{_SAME_POSITION}{_FILLS}{_ORDER.format(place='place')}{_FOLDED}"
_INTO_NEW: Final = f"{_MINE}{_NEW_POSITION}{_FILLS}{_ORDER.format(place='place')}{_FOLDED}"


async def record_answer(desk: Desk, order: OrderRecord, event: OrderEvent) -> OrderRecord:
    """Write down what the venue answered to an order that this process claimed a moment ago. Raises as `record`."""
    if isinstance(event, Reported) and desk.lease.is_held and (answer := _plain(desk, order, event)) is not None:
        try:
            written = await answer.written()
        except (asyncpg.UniqueViolationError, *UNDONE):
            written = None  # a fill, a position or the venue's id is there already: its reasons are found out in order
        except DATABASE_GONE:
            return await _recorded_after_all(desk, order, answer)
        if written is not None:
            reach("P5")
            publish(desk, written, answer.fills)
            return written
    # What is written now, the guess does not know.
    desk.hints.positions.pop((order.broker_id, order.symbol, order.bot_id), None)
    return await record(desk, order.id, event)


async def _recorded_after_all(desk: Desk, order: OrderRecord, answer: "_Answer") -> OrderRecord:
    """Write down an answer whose writing broke off. If that had counted, the rows say so, and all that is left is to tell of it."""
    desk.hints.positions.pop((order.broker_id, order.symbol, order.bot_id), None)
    begun_at = desk.clock.now()
    recorded = await record(desk, order.id, answer.event)
    if recorded.updated_at < begun_at:
        publish(desk, recorded, answer.fills)
    return recorded


@dataclass(frozen=True, slots=True)
class _Answer:
    """An acknowledgement of which there is nothing more to say than its fills and the order's new status."""

    desk: Desk
    order: OrderRecord
    event: Reported
    status: OrderStatus
    fills: Sequence[Fill]
    #: Below that, what is left of the position is dust and the position closed.
    smallest: Decimal
    #: What fees in a third asset cost, by trade id.
    fee_prices: Mapping[str, Decimal | None]

    async def written(self) -> OrderRecord | None:
        hints, key = self.desk.hints, (self.order.broker_id, self.order.symbol, self.order.bot_id)
        if not self.fills:
            async with self.desk.database.fast_connection() as connection:
                row = await connection.fetchrow(_WITHOUT_FILLS, *self._values()[:15])
            return None if row is None else OrderRecord.of(row)
        async with hints.folding[key], self.desk.database.fast_connection() as connection:
            before = hints.positions.pop(key, None)
            if before is None and (found := await connection.fetchrow(_READ_POSITION, *key)) is not None:
                before = OpenPosition(**found)
            if before is not None and self.order.bot_id is not None and self.order.role is Role.ENTRY:
                return None  # what a bot adds changes what its targets' parts are of
            row = await self._fold(connection, before)
            if row is None:
                return None
            if row["position_status"] != "closed":
                hints.positions[key] = OpenPosition(**{name: row[f"position_{name}"] for name in OpenPosition.__slots__})
        return OrderRecord.of(row)

    async def _fold(self, connection: Any, before: OpenPosition | None) -> Any:
        order, fills = self.order, self.fills
        base, _, quote = order.symbol.partition("/")
        position = Position(base=base, quote=quote)
        if before is not None:
            position = replace(
                position,
                quantity=before.quantity,
                average_price=before.average_price,
                cost=cost_of(before.quantity, before.average_price) if before.cost is None else before.cost,
                realized_pnl=before.realized_pnl,
                fees=before.fees,
            )
        position = folded(position, order.side, fills, self.fee_prices)
        is_flat = abs(position.quantity) < self.smallest
        status, closed_at = ("closed", fills[-1].executed_at) if is_flat else ("open", None)
        after = (position.quantity, position.average_price, position.cost, position.realized_pnl, position.fees, status, closed_at)
        if before is None:
            opened = (new_id(), base, quote, order.source.value, "long" if order.side is Side.BUY else "short", fills[0].executed_at)
            return await connection.fetchrow(_INTO_NEW, *self._values(), *after, *opened)
        compared = (before.id, before.quantity, before.average_price, before.cost, before.realized_pnl, before.fees)
        return await connection.fetchrow(_INTO_SAME, *self._values(), *after, *compared)

    def _values(self) -> tuple[object, ...]:
        order, status, fills, lease = self.order, self.status, self.fills, self.desk.lease
        return (
            order.id,
            lease.role,
            lease.owner,
            lease.epoch,
            self.desk.clock.now(),
            order.updated_at,
            status.state.value,
            status.filled_quantity,
            sum((fill.quantity for fill in fills), Decimal(0)),
            status.average_price,
            status.venue_order_id,
            status.code,
            status.detail,
            told_of(self.event, fills),
            status.is_working,
            *columns_of(fills),
            fee_values(order.symbol, fills, self.fee_prices),
        )


def _plain(desk: Desk, order: OrderRecord, event: Reported) -> _Answer | None:
    """The answer, if there is nothing about it that only the ordinary way knows how to write."""
    client = desk.connections.ready(order.broker_id)
    instrument = None if client is None else desk.instruments.cached(client.exchange, order.symbol)
    is_untouched = order.state is OrderState.SUBMITTING and not order.filled_quantity and not order.fills_quantity
    if (
        client is None
        or instrument is None
        or not is_untouched
        or order.venue_order_id is not None
        or (order.protection is not None and event.fills)
    ):
        return None
    fills = sorted({fill.trade_id: fill for fill in reversed(event.fills)}.values(), key=lambda fill: (fill.executed_at, fill.trade_id))
    status = apply(order.status, event)
    counted = sum((fill.quantity for fill in fills), Decimal(0))
    # More fills than were reported, and more than was ordered, are put right and told of elsewhere.
    if counted > status.filled_quantity or status.is_overfilled or status.state not in SHOWN:
        return None
    prices = quoted(desk.quotes, client.exchange, order.symbol, fills, now=desk.clock.now())
    if None in prices.values():
        return None  # candles may know what a fee was worth
    status = replace(status, average_price=as_kept(status.average_price))
    return _Answer(desk, order, event, status, fills, smallest=instrument.step_size, fee_prices=prices)
