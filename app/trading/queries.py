"""Reading orders, fills, positions, balances and equity, always of one user. Plain rows out; no exchange is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.errors import InvalidInput, OrderNotFound
from app.trading.desk import Quotes

_ORDERS: Final = """
SELECT o.*, f.fee, f.fee_asset FROM orders o
  LEFT JOIN LATERAL (
    SELECT sum(fee) AS fee, fee_asset FROM fills WHERE order_id = o.id GROUP BY fee_asset ORDER BY count(*) DESC LIMIT 1) f ON true
 WHERE o.user_id = $1
"""
#: One order's fills share their moment, and trade ids are unique only within an account's symbol: the cursor needs all four.
_FILLS: Final = """
SELECT * FROM fills
 WHERE user_id = $1 AND ($3::text IS NULL OR symbol = $3)
   AND ($2::timestamptz IS NULL OR (executed_at, trade_id, symbol, broker_id) < ($2, $5::text, $6::text, $7::uuid))
 ORDER BY executed_at DESC, trade_id DESC, symbol DESC, broker_id DESC LIMIT $4
"""
_BETWEEN: Final = "~"
_POSITIONS: Final = """
SELECT p.*, b.exchange FROM positions p JOIN brokers b ON b.id = p.broker_id
 WHERE p.user_id = $1 AND p.status <> 'closed' AND ($2::uuid IS NULL OR p.broker_id = $2) ORDER BY p.opened_at DESC
"""
_BALANCES: Final = """
SELECT l.* FROM balances l JOIN brokers b ON b.id = l.broker_id AND b.removed_at IS NULL
 WHERE l.user_id = $1 AND ($2::uuid IS NULL OR l.broker_id = $2) ORDER BY l.value_usdt DESC NULLS LAST, l.asset
"""
_REALIZED: Final = """
SELECT coalesce(sum(realized_pnl), 0) FROM positions WHERE user_id = $1 AND ($2::uuid[] IS NULL OR broker_id = ANY($2))
"""


async def list_orders(
    database: Database, user_id: UUID, *, limit: int = 50, cursor: str | None = None, symbol: str | None = None, state: str | None = None
) -> tuple[list[Any], str | None]:
    """Return orders, newest first, and the cursor of the next page (None at the end).

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    conditions, values = _page(cursor)
    for column, value in (("symbol", symbol), ("state", state)):
        if value is not None:
            values.append(value)
            conditions += f" AND o.{column} = ${len(values) + 1}"
    sql = f"{_ORDERS}{conditions} ORDER BY o.id DESC LIMIT {limit + 1:d}"
    async with database.connection() as connection:
        rows = await connection.fetch(sql, user_id, *values)
    return rows[:limit], str(rows[limit - 1]["id"]) if len(rows) > limit else None


def _page(cursor: str | None) -> tuple[str, list[Any]]:
    if cursor is None:
        return "", []
    try:
        return " AND o.id < $2", [UUID(cursor)]
    except ValueError as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error


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
    rows, _ = await page_of_fills(database, user_id, limit=limit, symbol=symbol)
    return rows


async def page_of_fills(
    database: Database, user_id: UUID, *, limit: int = 50, cursor: str | None = None, symbol: str | None = None
) -> tuple[list[Any], str | None]:
    """Return fills, newest first, and the cursor of the next page (None at the end).

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    at, trade_id, of_symbol, broker_id = _fill_place(cursor)
    async with database.connection() as connection:
        rows = await connection.fetch(_FILLS, user_id, at, symbol, limit + 1, trade_id, of_symbol, broker_id)
    if len(rows) <= limit:
        return list(rows), None
    last = rows[limit - 1]
    place = (last["executed_at"].isoformat().replace("+00:00", "Z"), last["trade_id"], last["symbol"], str(last["broker_id"]))
    return list(rows[:limit]), _BETWEEN.join(place)


def _fill_place(cursor: str | None) -> tuple[datetime | None, str | None, str | None, UUID | None]:
    if cursor is None:
        return None, None, None, None
    try:
        at, trade_id, symbol, broker_id = cursor.split(_BETWEEN)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("a moment without its zone")  # noqa: TRY301  # joins the other ways of being no cursor
        return moment, trade_id, symbol, UUID(broker_id)
    except ValueError as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error


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
