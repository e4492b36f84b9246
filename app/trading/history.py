"""The history of one user: orders, fills and round trips, page by page, newest first. Plain rows out; no exchange is asked.

Each statement holds only the conditions that are asked for, so that it is planned for them. Ids of a page are found in an index that has
everything they are filtered by, and only then are rows read. A page begins after the last row of the one before: what is new meanwhile
neither repeats a row nor leaves one out.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.errors import NotFound, OrderNotFound
from app.trading.history_filter import EVERYTHING, Conditions, HistoryFilter, following, parts_of, place_of, uuid_of

Page = tuple[list[Any], str | None]

#: So many orders of a kind that going through all fills soon finds a page of theirs.
_MANY: Final = 2000

_ORDER_COLUMNS: Final = {"broker_id": "o.broker_id", "side": "o.side", "type": "o.type", "state": "o.state", "source": "o.source"}
_NOTED: Final = "SELECT subject_id FROM notes WHERE user_id = $1 AND subject = '{subject}' AND "
_ORDERS: Final = """
SELECT o.*, b.name AS broker_name, b.exchange, b.is_testnet, f.fee, f.fee_asset, f.fees, f.quote_fees, f.unvalued, n.text AS note, n.tags
  FROM {source} JOIN orders o ON o.id = page.id AND o.user_id = $1
  JOIN brokers b ON b.id = o.broker_id
  LEFT JOIN LATERAL (
    SELECT (array_agg(fee ORDER BY count DESC))[1] AS fee, (array_agg(fee_asset ORDER BY count DESC))[1] AS fee_asset,
           jsonb_object_agg(fee_asset, trim_scale(fee)::text) AS fees, sum(value) AS quote_fees, sum(unvalued) AS unvalued
      FROM (SELECT fee_asset, sum(fee) AS fee, count(*) AS count, sum(fee_value) AS value,
                   count(*) FILTER (WHERE fee_value IS NULL AND fee <> 0) AS unvalued
              FROM fills WHERE order_id = o.id GROUP BY fee_asset) a) f ON true
  LEFT JOIN notes n ON n.subject = 'order' AND n.subject_id = o.id
 ORDER BY o.created_at DESC, o.id DESC
"""
#: What a fee was worth, also of fills of before that was kept.
FEE_VALUE: Final = """coalesce(f.fee_value, CASE f.fee_asset WHEN split_part(f.symbol, '/', 2) THEN f.fee
                WHEN split_part(f.symbol, '/', 1) THEN f.fee * f.price END)"""
_FILL_ORDER: Final = "f.executed_at DESC, f.trade_id DESC, f.symbol DESC, f.broker_id DESC, f.order_id DESC"
_FILLS: Final = f"""
SELECT f.*, {FEE_VALUE} AS fee_worth, o.type, o.source, o.role, o.delivery_id, o.bot_id, b.name AS broker_name, b.exchange, b.is_testnet
  FROM page JOIN fills f USING (broker_id, symbol, trade_id, order_id) JOIN orders o ON o.id = f.order_id
  JOIN brokers b ON b.id = f.broker_id
 WHERE f.user_id = $1 ORDER BY {_FILL_ORDER}"""  # noqa: S608  # constants
#: A trip's entry is what its fills of the opening side make, its exit those of the other: also of one that was turned over on its way.
_TRADES: Final = """
SELECT p.*, b.name AS broker_name, b.exchange, b.is_testnet, s.*, a.fees_by_asset, n.text AS note, n.tags
  FROM {source} JOIN positions p ON p.id = page.id AND p.user_id = $1
  JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN LATERAL (
    SELECT sum(f.quantity) FILTER (WHERE is_entry) AS entry_quantity, sum(f.quantity * f.price) FILTER (WHERE is_entry) AS entry_value,
           sum(f.quantity) FILTER (WHERE NOT is_entry) AS exit_quantity,
           sum(f.quantity * f.price) FILTER (WHERE NOT is_entry) AS exit_value,
           count(*) AS fill_count, array_agg(DISTINCT f.order_id) AS order_ids
      FROM (SELECT *, (side = 'buy') = (p.side IS DISTINCT FROM 'short') AS is_entry FROM fills WHERE position_id = p.id) f) s ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(fee_asset, trim_scale(fee)::text) AS fees_by_asset
      FROM (SELECT fee_asset, sum(fee) AS fee FROM fills WHERE position_id = p.id AND fee <> 0 GROUP BY fee_asset) a) a ON true
  LEFT JOIN notes n ON n.subject = 'trade' AND n.subject_id = p.id
 ORDER BY p.closed_at DESC, p.id DESC
"""
_TRADE_COLUMNS: Final = {"broker_id": "p.broker_id", "bot_id": "p.bot_id", "side": "p.side", "source": "p.source"}
_SUMS: Final = """
SELECT p.quote, count(*) AS trades, count(*) FILTER (WHERE p.realized_pnl > 0) AS won, sum(p.realized_pnl) AS pnl, sum(p.fees) AS fees
  FROM positions p WHERE p.user_id = $1 AND p.status = 'closed'{where} GROUP BY p.quote ORDER BY count(*) DESC, p.quote
"""
_UNVALUED: Final = """
SELECT u.key AS asset, sum(u.value::numeric) AS fee FROM positions p CROSS JOIN LATERAL jsonb_each_text(p.unvalued_fees) u
 WHERE p.user_id = $1 AND p.status = 'closed' AND p.unvalued_fees <> '{{}}'{where} GROUP BY u.key ORDER BY u.key
"""


def order_conditions(conditions: Conditions, asked: HistoryFilter) -> None:
    """Add what is asked of orders, called `o`."""
    conditions.equal(asked, _ORDER_COLUMNS)
    conditions.within(asked, "o.created_at")
    conditions.symbol(asked, "o.symbol")
    if asked.text.strip():
        text = conditions.value(asked.text.strip().lower())
        reasons = "SELECT r.id FROM orders r WHERE r.user_id = $1 AND (r.detail IS NOT NULL OR r.code IS NOT NULL)"
        noted = f"{_NOTED.format(subject='order')}strpos(lower(text), {text}) > 0"
        conditions.parts.append(f"o.id IN ({reasons} AND strpos(lower(concat_ws(' ', r.detail, r.code)), {text}) > 0 UNION ALL {noted})")
    _tagged(conditions, asked, "o.id", subject="order")


def _tagged(conditions: Conditions, asked: HistoryFilter, identity: str, *, subject: str) -> None:
    if asked.tag:
        conditions.add(f"{identity} = ANY(ARRAY({_NOTED.format(subject=subject)}{{}} = ANY(tags)))", asked.tag)


def trade_conditions(conditions: Conditions, asked: HistoryFilter) -> None:
    """Add what is asked of round trips, called `p`. Whoever opened one says its source."""
    conditions.equal(asked, _TRADE_COLUMNS)
    conditions.within(asked, "p.closed_at")
    conditions.symbol(asked, "p.symbol")
    if asked.text.strip():
        noted = f"{_NOTED.format(subject='trade')}strpos(lower(text), {{}}) > 0"
        conditions.add(f"p.id = ANY(ARRAY({noted}))", asked.text.strip().lower())
    _tagged(conditions, asked, "p.id", subject="trade")


def orders_statement(user_id: UUID, asked: HistoryFilter, *, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
    """Return the statement of one page of orders, and one row more, with its values."""
    conditions = Conditions([user_id])
    order_conditions(conditions, asked)
    following(conditions, cursor, "o.created_at", "o.id")
    ids = f"SELECT o.id FROM orders o WHERE o.user_id = $1{conditions} ORDER BY o.created_at DESC, o.id DESC LIMIT {limit + 1:d}"  # noqa: S608  # values are numbered
    return f"WITH page AS MATERIALIZED ({ids}){_ORDERS.format(source='page')}", conditions.values


def _kind_of_order(asked: HistoryFilter, values: list[Any]) -> Conditions:
    of_order = Conditions(values)
    of_order.equal(asked, {"type": "o.type", "source": "o.source"})
    return of_order


def fills_statement(user_id: UUID, asked: HistoryFilter, *, limit: int, cursor: str | None, is_rare: bool = False) -> tuple[str, list[Any]]:
    """Return the statement of one page of fills, and one row more, with its values.

    Fills of a kind of order that `is_rare` are found by those orders, which are read first; others by going through the fills until
    enough are found.
    """
    conditions = Conditions([user_id])
    conditions.equal(asked, {"broker_id": "f.broker_id", "side": "f.side"})
    conditions.within(asked, "f.executed_at")
    conditions.symbol(asked, "f.symbol")
    chosen = ""
    if asked.type or asked.source:
        ids = f"SELECT o.id FROM orders o WHERE o.user_id = $1{_kind_of_order(asked, conditions.values)}"  # noqa: S608  # values are numbered
        chosen = f"chosen AS MATERIALIZED ({ids}), " if is_rare else ""
        conditions.parts.append(f"f.order_id IN ({'SELECT id FROM chosen' if is_rare else ids})")  # noqa: S608  # as above
    if cursor is not None:
        at, (trade_id, symbol, broker_id, order_id) = parts_of(cursor, 4)
        place = (at, trade_id, symbol, uuid_of(broker_id), uuid_of(order_id))
        conditions.add("(f.executed_at, f.trade_id, f.symbol, f.broker_id, f.order_id) < ({}, {}, {}, {}, {})", *place)
    ids = (
        f"SELECT f.broker_id, f.symbol, f.trade_id, f.order_id FROM fills f WHERE f.user_id = $1{conditions}"  # noqa: S608  # values are numbered
        f" ORDER BY {_FILL_ORDER} LIMIT {limit + 1:d}"
    )
    return f"WITH {chosen}page AS MATERIALIZED ({ids}){_FILLS}", conditions.values


def trades_statement(user_id: UUID, asked: HistoryFilter, *, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
    """Return the statement of one page of round trips, and one row more, with its values."""
    conditions = Conditions([user_id])
    trade_conditions(conditions, asked)
    following(conditions, cursor, "p.closed_at", "p.id")
    ids = (
        f"SELECT p.id FROM positions p WHERE p.user_id = $1 AND p.status = 'closed'{conditions}"  # noqa: S608  # values are numbered
        f" ORDER BY p.closed_at DESC, p.id DESC LIMIT {limit + 1:d}"
    )
    return f"WITH page AS MATERIALIZED ({ids}){_TRADES.format(source='page')}", conditions.values


async def page_of_orders(
    database: Database, user_id: UUID, asked: HistoryFilter = EVERYTHING, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """Return orders, and the cursor of the next page (None at the end).

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    statement, values = orders_statement(user_id, asked, limit=limit, cursor=cursor)
    rows = await _rows(database, statement, values)
    return _cut(rows, limit, lambda last: place_of(last["created_at"], last["id"]))


async def page_of_fills(
    database: Database, user_id: UUID, asked: HistoryFilter = EVERYTHING, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """As `page_of_orders`, for fills. One order's fills share their moment, and a trade with oneself its id: the cursor has all of it."""
    is_rare = bool(asked.type or asked.source) and await _is_rare(database, user_id, asked)
    statement, values = fills_statement(user_id, asked, limit=limit, cursor=cursor, is_rare=is_rare)
    rows = await _rows(database, statement, values)
    names = ("trade_id", "symbol", "broker_id", "order_id")
    return _cut(rows, limit, lambda last: place_of(last["executed_at"], *(last[name] for name in names)))


async def _is_rare(database: Database, user_id: UUID, asked: HistoryFilter) -> bool:
    values: list[Any] = [user_id]
    some = f"SELECT 1 FROM orders o WHERE o.user_id = $1{_kind_of_order(asked, values)} LIMIT {_MANY:d}"  # noqa: S608  # values are numbered
    async with database.connection() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM ({some}) found", *values)  # noqa: S608  # as above
    return found < _MANY


async def page_of_trades(
    database: Database, user_id: UUID, asked: HistoryFilter = EVERYTHING, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """As `page_of_orders`, for round trips: positions that are closed, by the moment of their end."""
    statement, values = trades_statement(user_id, asked, limit=limit, cursor=cursor)
    rows = await _rows(database, statement, values)
    return _cut(rows, limit, lambda last: place_of(last["closed_at"], last["id"]))


async def _rows(database: Database, statement: str, values: list[Any]) -> list[Any]:
    async with database.connection() as connection:
        return list(await connection.fetch(statement, *values))


def _cut(rows: list[Any], limit: int, place: Any) -> Page:
    return rows[:limit], place(rows[limit - 1]) if len(rows) > limit else None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSums:
    """Round trips of one quote currency; `pnl` is after the fees that have a price, `fees` are those."""

    quote: str
    trades: int
    won: int
    pnl: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeSums:
    """All round trips that a filter lets through; `unvalued` are fees that nobody could value, by asset."""

    quotes: tuple[QuoteSums, ...]
    unvalued: tuple[tuple[str, Decimal], ...]

    @property
    def trades(self) -> int:
        """How many."""
        return sum(line.trades for line in self.quotes)

    @property
    def win_rate(self) -> Decimal | None:
        """How many of them won something, as a fraction."""
        return Decimal(sum(line.won for line in self.quotes)) / self.trades if self.trades else None


def sums_statement(user_id: UUID, asked: HistoryFilter, *, of: str = _SUMS) -> tuple[str, list[Any]]:
    """Return the statement of the sums, with its values."""
    conditions = Conditions([user_id])
    trade_conditions(conditions, asked)
    return of.format(where=conditions), conditions.values


async def sums_of_trades(database: Database, user_id: UUID, asked: HistoryFilter = EVERYTHING) -> TradeSums:
    """Return what all round trips that the filter lets through come to."""
    statement, values = sums_statement(user_id, asked)
    rows = await _rows(database, statement, values)
    unvalued, _ = sums_statement(user_id, asked, of=_UNVALUED)
    return TradeSums(
        quotes=tuple(QuoteSums(**row) for row in rows),
        unvalued=tuple((row["asset"], row["fee"]) for row in await _rows(database, unvalued, values)),
    )


async def trade_of(database: Database, user_id: UUID, trade_id: UUID) -> Any:
    """Return one round trip.

    Raises:
        NotFound: no such closed position of this user.
    """
    page = "(SELECT id FROM positions WHERE id = $2 AND user_id = $1 AND status = 'closed') page"
    rows = await _rows(database, _TRADES.format(source=page), [user_id, trade_id])
    if not rows:
        raise NotFound("there is no such round trip")
    return rows[0]


async def order_of(database: Database, user_id: UUID, order_id: UUID) -> Any:
    """Return one order as the history shows it.

    Raises:
        OrderNotFound: no such order of this user.
    """
    rows = await _rows(database, _ORDERS.format(source="(SELECT $2::uuid AS id) page"), [user_id, order_id])
    if not rows:
        raise OrderNotFound
    return rows[0]


async def fills_of(database: Database, user_id: UUID, *, order_id: UUID | None = None, position_id: UUID | None = None) -> list[Any]:
    """Return the fills of an order or of a position, oldest first, 500 at most."""
    column, identity = ("order_id", order_id) if order_id is not None else ("position_id", position_id)
    shown = f"f.*, {FEE_VALUE} AS fee_worth, o.bot_id"
    statement = f"SELECT {shown} FROM fills f JOIN orders o ON o.id = f.order_id WHERE f.user_id = $1 AND f.{column} = $2"  # noqa: S608
    return await _rows(database, f"{statement} ORDER BY f.executed_at, f.trade_id LIMIT 500", [user_id, identity])


async def events_of(database: Database, user_id: UUID, order_id: UUID) -> list[Any]:
    """Return what happened to an order, oldest first, 500 at most."""
    statement = "SELECT * FROM order_events WHERE user_id = $1 AND order_id = $2 ORDER BY id LIMIT 500"
    return await _rows(database, statement, [user_id, order_id])
