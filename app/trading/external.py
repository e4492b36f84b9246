"""Orders and trades in an account that are not ours: kept so that they are shown and counted. Nothing here ever writes to a venue."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.ids import new_id
from app.exchanges.port import VenueOrder, VenueTrade
from app.trading.desk import Desk

_NOTE: Final = """
INSERT INTO external_orders AS e (id, user_id, broker_id, symbol, venue_order_id, client_order_id, side, type, state, quantity,
                                  filled_quantity, price, trigger_price, placed_at, first_seen_at, last_seen_at)
SELECT n.id, $2, $1, n.symbol, n.venue_order_id, n.client_order_id, n.side, n.type, n.state, n.quantity, n.filled_quantity, n.price,
       n.trigger_price, n.placed_at, $14, $14
  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::numeric[], $11::numeric[],
              $12::numeric[], $13::numeric[], $15::timestamptz[])
    AS n (id, symbol, venue_order_id, client_order_id, side, type, state, quantity, filled_quantity, price, trigger_price, placed_at)
ON CONFLICT (broker_id, symbol, venue_order_id) DO UPDATE
   SET state = excluded.state, filled_quantity = greatest(e.filled_quantity, excluded.filled_quantity), price = excluded.price,
       trigger_price = excluded.trigger_price, quantity = excluded.quantity, last_seen_at = excluded.last_seen_at,
       client_order_id = coalesce(e.client_order_id, excluded.client_order_id),
       closed_at = CASE WHEN excluded.state IN ('open', 'partial') THEN NULL ELSE coalesce(e.closed_at, excluded.last_seen_at) END
"""
_CLOSE_FINISHED: Final = """
UPDATE external_orders SET closed_at = last_seen_at WHERE broker_id = $1 AND closed_at IS NULL AND state NOT IN ('open', 'partial')
"""
#: Those that a complete list of the venue did not hold. `$3` NULL means that all symbols were asked for.
_CLOSE_UNLISTED: Final = """
UPDATE external_orders SET closed_at = $2, state = 'closed'
 WHERE broker_id = $1 AND closed_at IS NULL AND last_seen_at < $2 AND ($3::text[] IS NULL OR symbol = ANY($3))
"""
_KEEP_TRADES: Final = """
WITH kept AS (
  INSERT INTO external_trades (broker_id, user_id, symbol, trade_id, venue_order_id, side, price, quantity, fee, fee_asset, liquidity,
                               executed_at)
  SELECT $1, $2, $3, t.trade_id, t.venue_order_id, t.side, t.price, t.quantity, t.fee, t.fee_asset, t.liquidity, t.executed_at
    FROM unnest($4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[], $9::numeric[], $10::text[], $11::text[],
                $12::timestamptz[])
      AS t (trade_id, venue_order_id, side, price, quantity, fee, fee_asset, liquidity, executed_at)
  ON CONFLICT ON CONSTRAINT pk_external_trades DO NOTHING RETURNING venue_order_id)
SELECT count(*) FROM kept
"""
_COUNT_FILLED: Final = """
UPDATE external_orders e SET filled_quantity = greatest(e.filled_quantity, t.quantity)
  FROM (SELECT venue_order_id, sum(quantity) AS quantity FROM external_trades
         WHERE broker_id = $1 AND symbol = $2 AND venue_order_id = ANY($3) GROUP BY venue_order_id) t
 WHERE e.broker_id = $1 AND e.symbol = $2 AND e.venue_order_id = t.venue_order_id
"""
_MINE: Final = """
SELECT e.* FROM external_orders e JOIN brokers b ON b.id = e.broker_id AND b.removed_at IS NULL
 WHERE e.user_id = $1 AND e.closed_at IS NULL AND ($2::uuid IS NULL OR e.broker_id = $2) ORDER BY e.first_seen_at DESC, e.id DESC LIMIT 500
"""
_EXPOSURE: Final = """
SELECT coalesce(sum((quantity - filled_quantity) * coalesce(price, trigger_price, 0)), 0) FROM external_orders
 WHERE broker_id = $1 AND closed_at IS NULL AND side = 'buy' AND quantity > filled_quantity AND split_part(symbol, '/', 2) = $2
"""


async def note_orders(
    desk: Desk, broker_id: UUID, user_id: UUID, orders: Sequence[VenueOrder], *, asked_at: datetime, symbols: Iterable[str] | None = ()
) -> None:
    """Keep what the venue listed of orders that are not ours.

    Args:
        desk: What trading works with.
        broker_id: The account.
        user_id: Whose it is.
        orders: Orders of the list that are not ours.
        asked_at: When the list was asked for.
        symbols: Symbols whose complete list of open orders it was: what is not among `orders` there is closed. None means all symbols.
    """
    async with desk.database.raw_transaction() as connection:
        if orders:
            await _note(connection, broker_id, user_id, orders, asked_at)
            await connection.execute(_CLOSE_FINISHED, broker_id)
        if symbols is None or list(symbols):
            await connection.execute(_CLOSE_UNLISTED, broker_id, asked_at, None if symbols is None else list(symbols))


async def _note(connection: Any, broker_id: UUID, user_id: UUID, orders: Sequence[VenueOrder], at: datetime) -> None:
    listed = list({(order.symbol, order.report.venue_order_id): order for order in orders}.values())
    await connection.execute(
        _NOTE,
        broker_id,
        user_id,
        [new_id() for _ in listed],
        [order.symbol for order in listed],
        [order.report.venue_order_id for order in listed],
        [order.client_order_id for order in listed],
        [order.side.value for order in listed],
        [None if order.type is None else order.type.value for order in listed],
        [order.report.state.value for order in listed],
        [order.quantity for order in listed],
        [order.report.filled_quantity for order in listed],
        [order.price for order in listed],
        [order.trigger_price for order in listed],
        at,
        [order.created_at for order in listed],
    )


async def keep_trades(connection: Any, broker_id: UUID, user_id: UUID, symbol: str, trades: Sequence[VenueTrade]) -> int:
    """Keep executions of orders that are not ours, in the caller's transaction, and return how many were new."""
    fills = [trade.fill for trade in trades]
    new: int = await connection.fetchval(
        _KEEP_TRADES,
        broker_id,
        user_id,
        symbol,
        [fill.trade_id for fill in fills],
        [trade.venue_order_id for trade in trades],
        [trade.side.value for trade in trades],
        [fill.price for fill in fills],
        [fill.quantity for fill in fills],
        [fill.fee for fill in fills],
        [fill.fee_asset for fill in fills],
        [fill.liquidity.value for fill in fills],
        [fill.executed_at for fill in fills],
    )
    await connection.execute(_COUNT_FILLED, broker_id, symbol, [trade.venue_order_id for trade in trades])
    return new


async def list_open(database: Database, user_id: UUID, *, broker_id: UUID | None = None) -> list[Any]:
    """Return the user's open orders that were placed elsewhere, as the venues last told."""
    async with database.connection() as connection:
        return list(await connection.fetch(_MINE, user_id, broker_id))


async def open_notional(connection: Any, broker_id: UUID, quote: str) -> Decimal:
    """Return what open buys that are not ours may still spend, in units of `quote`; the exposure that limits count besides our own."""
    found: Decimal = await connection.fetchval(_EXPOSURE, broker_id, quote)
    return found
