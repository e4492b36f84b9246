"""Reading orders, fills, positions, balances and equity, always of one user. Plain rows out; no exchange is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.errors import OrderNotFound
from app.trading.desk import Quotes

_ORDERS: Final = """
SELECT o.*, f.fee, f.fee_asset FROM orders o
  LEFT JOIN LATERAL (
    SELECT sum(fee) AS fee, fee_asset FROM fills WHERE order_id = o.id GROUP BY fee_asset ORDER BY count(*) DESC LIMIT 1) f ON true
 WHERE o.user_id = $1
"""
_FILLS: Final = """
SELECT * FROM fills WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2)
 ORDER BY executed_at DESC, trade_id DESC, symbol DESC, broker_id DESC, order_id DESC LIMIT $3
"""
#: By the statuses that there are: of what a status is not, no index knows.
_POSITIONS: Final = """
SELECT p.*, b.exchange FROM positions p JOIN brokers b ON b.id = p.broker_id
 WHERE p.user_id = $1 AND p.status IN ('open', 'closing') AND ($2::uuid IS NULL OR p.broker_id = $2) ORDER BY p.opened_at DESC
"""
_BALANCES: Final = """
SELECT l.* FROM balances l JOIN brokers b ON b.id = l.broker_id AND b.removed_at IS NULL
 WHERE l.user_id = $1 AND ($2::uuid IS NULL OR l.broker_id = $2) ORDER BY l.value_usdt DESC NULLS LAST, l.asset
"""
_REALIZED: Final = """
SELECT coalesce(sum(realized_pnl), 0) FROM positions WHERE user_id = $1 AND ($2::uuid[] IS NULL OR broker_id = ANY($2))
"""


async def list_orders(database: Database, user_id: UUID, *, limit: int) -> list[Any]:
    """Return the newest orders, newest first."""
    async with database.connection() as connection:
        return list(await connection.fetch(f"{_ORDERS} ORDER BY o.id DESC LIMIT {limit:d}", user_id))


async def get_order(database: Database, user_id: UUID, order_id: UUID) -> Any:
    """Return one order's row.

    Raises:
        OrderNotFound: no such order of this user.
    """
    async with database.connection() as connection:
        row = await connection.fetchrow(f"{_ORDERS} AND o.id = $2", user_id, order_id)
    if row is None:
        raise OrderNotFound
    return row


async def list_fills(database: Database, user_id: UUID, *, limit: int = 50, symbol: str | None = None) -> list[Any]:
    """Return the newest fills, newest first."""
    async with database.connection() as connection:
        return list(await connection.fetch(_FILLS, user_id, symbol, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedPosition:
    """An open position at the market's price; `mark_price` is None when nobody quotes the symbol now."""

    row: Any
    mark_price: Decimal | None

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """The open part's profit in quote."""
        average = self.row["average_price"]
        if self.mark_price is None or average is None:
            return None
        pnl: Decimal = self.row["quantity"] * (self.mark_price - average)
        return pnl


async def list_positions(database: Database, quotes: Quotes, user_id: UUID, *, broker_id: UUID | None = None) -> list[MarkedPosition]:
    """Return open positions, the latest first, at what closing them would bring."""
    async with database.connection() as connection:
        rows = await connection.fetch(_POSITIONS, user_id, broker_id)
    return [
        MarkedPosition(row=row, mark_price=quotes.reference_price(row["exchange"], row["symbol"], is_buy=row["quantity"] < 0))
        for row in rows
    ]


async def list_balances(database: Database, user_id: UUID, *, broker_id: UUID | None = None) -> list[Any]:
    """Return the balances that the exchanges last told, the most valuable first."""
    async with database.connection() as connection:
        return list(await connection.fetch(_BALANCES, user_id, broker_id))


async def realized_pnl(database: Database, user_id: UUID, *, broker_ids: Sequence[UUID] | None = None) -> Decimal:
    """Return all realised profit, after fees."""
    async with database.connection() as connection:
        total: Decimal = await connection.fetchval(_REALIZED, user_id, broker_ids)
    return total
