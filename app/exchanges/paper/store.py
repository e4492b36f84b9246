"""The paper exchange's tables. A change of an account is one statement, so it happens whole or not at all, whatever dies meanwhile.

The statement raises the account's revision from the one that the change was made on; when somebody else was faster it does nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.exchanges.models import PaperAccountRow, PaperBalanceRow
from app.exchanges.paper.account import START_ASSET
from app.exchanges.paper.records import Changes, Holding, PaperFill, PaperOrder, Snapshot, Terms

_ACCOUNT: Final = "SELECT * FROM paper_accounts WHERE broker_id = $1"
_BALANCES: Final = "SELECT asset, free, locked FROM paper_balances WHERE broker_id = $1"
_OPEN_ORDERS: Final = "SELECT * FROM paper_orders WHERE broker_id = $1 AND state IN ('open', 'partial') ORDER BY order_id"
#: Accounts that the market can do something to, with their revisions.
_BUSY: Final = """
SELECT broker_id, revision FROM paper_accounts a
 WHERE EXISTS (SELECT 1 FROM paper_orders o WHERE o.broker_id = a.broker_id AND o.state IN ('open', 'partial'))
"""
#: `$5` is when the exchange stops taking the request, by the database's clock; None for what the market did.
_WRITE: Final = """
WITH held AS (
  UPDATE paper_accounts
     SET revision = revision + 1, last_order_id = $3, last_trade_id = $4,
         started_after_trade_id = CASE WHEN $6 THEN $4 ELSE started_after_trade_id END,
         started_at = CASE WHEN $6 THEN clock_timestamp() ELSE started_at END
   WHERE broker_id = $1 AND revision = $2 AND ($5::timestamptz IS NULL OR clock_timestamp() <= $5)
  RETURNING broker_id, user_id),
emptied AS (
  DELETE FROM paper_balances b USING held WHERE $6 AND b.broker_id = held.broker_id AND b.asset <> ALL($7::text[])),
money AS (
  INSERT INTO paper_balances (broker_id, user_id, asset, free, locked)
  SELECT held.broker_id, held.user_id, m.* FROM held, unnest($7::text[], $8::numeric[], $9::numeric[]) AS m
  ON CONFLICT (broker_id, asset) DO UPDATE SET free = excluded.free, locked = excluded.locked),
ordered AS (
  INSERT INTO paper_orders (broker_id, user_id, order_id, client_order_id, list_id, symbol, side, type, time_in_force, post_only, quantity,
                            notional, price, trigger_price, trailing_delta, watermark, is_awake, state, filled_quantity, filled_notional,
                            locked, created_at, updated_at)
  SELECT held.broker_id, held.user_id, o.*
    FROM held, unnest($10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::boolean[],
                      $18::numeric[], $19::numeric[], $20::numeric[], $21::numeric[], $22::numeric[], $23::numeric[], $24::boolean[],
                      $25::text[], $26::numeric[], $27::numeric[], $28::numeric[], $29::timestamptz[], $30::timestamptz[]) AS o
  ON CONFLICT (broker_id, order_id) DO UPDATE
    SET quantity = excluded.quantity, watermark = excluded.watermark, is_awake = excluded.is_awake, state = excluded.state,
        filled_quantity = excluded.filled_quantity, filled_notional = excluded.filled_notional, locked = excluded.locked,
        updated_at = excluded.updated_at),
filled AS (
  INSERT INTO paper_fills (broker_id, user_id, trade_id, order_id, symbol, side, price, quantity, notional, fee, fee_asset, liquidity,
                           executed_at)
  SELECT held.broker_id, held.user_id, f.*
    FROM held, unnest($31::bigint[], $32::bigint[], $33::text[], $34::text[], $35::numeric[], $36::numeric[], $37::numeric[],
                      $38::numeric[], $39::text[], $40::text[], $41::timestamptz[]) AS f)
SELECT 1 FROM held
"""
_ORDER_COLUMNS: Final = tuple(PaperOrder.__slots__)
_FILL_COLUMNS: Final = tuple(PaperFill.__slots__)
_CLOCK: Final = "SELECT clock_timestamp()"
#: Rows of many accounts: always locked in the same order, or two processes could wait for one another.
_MOVE_WATERMARKS: Final = """
WITH moved AS (
  SELECT o.broker_id, o.order_id, m.seen FROM paper_orders o
    JOIN unnest($1::uuid[], $2::bigint[], $3::numeric[]) AS m (broker_id, order_id, seen) USING (broker_id, order_id)
   WHERE o.state IN ('open', 'partial') AND o.watermark IS NOT NULL ORDER BY o.broker_id, o.order_id FOR UPDATE OF o)
UPDATE paper_orders o
   SET watermark = CASE o.side WHEN 'sell' THEN greatest(o.watermark, moved.seen) ELSE least(o.watermark, moved.seen) END
  FROM moved WHERE o.broker_id = moved.broker_id AND o.order_id = moved.order_id
"""
_KEEP_MARKETS: Final = """
INSERT INTO paper_markets AS kept (exchange, symbol, price, matched_at)
SELECT $1, m.symbol, m.price, m.matched_at FROM unnest($2::text[], $3::numeric[], $4::timestamptz[]) AS m (symbol, price, matched_at)
ON CONFLICT (exchange, symbol) DO UPDATE SET price = excluded.price, matched_at = excluded.matched_at
 WHERE kept.matched_at <= excluded.matched_at
"""
_FIND: Final = """
SELECT * FROM paper_orders
 WHERE broker_id = $1 AND symbol = $2 AND (order_id = $3 OR ($3::bigint IS NULL AND client_order_id = $4))
 ORDER BY order_id DESC LIMIT 1
"""


async def open_account(session: AsyncSession, user_id: UUID, broker_id: UUID, terms: Terms) -> None:
    """Make the account of a broker that was stored in the same transaction."""
    session.add(
        PaperAccountRow(
            broker_id=broker_id,
            user_id=user_id,
            balance_usdt=terms.balance_usdt,
            maker_fee=terms.maker_fee,
            taker_fee=terms.taker_fee,
        )
    )
    await session.flush()
    session.add(PaperBalanceRow(broker_id=broker_id, user_id=user_id, asset=START_ASSET, free=terms.balance_usdt, locked=Decimal(0)))
    await session.flush()


async def change_fees(
    session: AsyncSession, user_id: UUID, broker_id: UUID, *, maker_fee: Decimal | None, taker_fee: Decimal | None
) -> None:
    """Set what fills cost from now on; None leaves a fee as it is. Copies in memory are then of an old revision."""
    given = {name: fee for name, fee in (("maker_fee", maker_fee), ("taker_fee", taker_fee)) if fee is not None}
    await session.execute(
        update(PaperAccountRow)
        .where(PaperAccountRow.broker_id == broker_id, PaperAccountRow.user_id == user_id)
        .values(revision=PaperAccountRow.revision + 1, **given)
    )


class PaperStore:
    """Reads and writes the tables. Each write is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clock(self) -> datetime:
        """Return the database's clock, which is the exchange's."""
        async with self._database.connection() as connection:
            now: datetime = await connection.fetchval(_CLOCK)
        return now

    async def load(self, broker_id: UUID) -> Snapshot | None:
        """Return the account as it stands, None when there is none."""
        async with self._database.raw_transaction() as connection:
            # One moment for the three reads: writers wait for this row.
            row = await connection.fetchrow(_ACCOUNT + " FOR SHARE", broker_id)
            if row is None:
                return None
            held = await connection.fetch(_BALANCES, broker_id)
            orders = await connection.fetch(_OPEN_ORDERS, broker_id)
        names = ("broker_id", "user_id", "revision", "maker_fee", "taker_fee", "balance_usdt", "last_order_id", "last_trade_id")
        return Snapshot(
            **{name: row[name] for name in names},
            holdings={line["asset"]: Holding(free=line["free"], locked=line["locked"]) for line in held},
            orders=tuple(PaperOrder.of(order) for order in orders),
        )

    async def busy(self) -> dict[UUID, int]:
        """Return the revision of each account that has open orders."""
        async with self._database.connection() as connection:
            return {row["broker_id"]: row["revision"] for row in await connection.fetch(_BUSY)}

    async def revision(self, broker_id: UUID) -> int | None:
        """Return an account's revision, None when there is no such account."""
        async with self._database.connection() as connection:
            found: int | None = await connection.fetchval("SELECT revision FROM paper_accounts WHERE broker_id = $1", broker_id)
        return found

    async def write(self, changes: Changes, *, not_after: datetime | None = None) -> bool:
        """Write what happened; False when the account is no longer at that revision, or it is later than `not_after` there."""
        held = list(changes.holdings.values())
        async with self._database.connection() as connection:
            done = await connection.fetchval(
                _WRITE,
                changes.broker_id,
                changes.revision,
                changes.last_order_id,
                changes.last_trade_id,
                not_after,
                changes.restarted,
                list(changes.holdings),
                [holding.free for holding in held],
                [holding.locked for holding in held],
                *_columns(changes.orders, _ORDER_COLUMNS),
                *_columns(changes.fills, _FILL_COLUMNS),
            )
        return done is not None

    async def move_watermarks(self, moved: Iterable[tuple[UUID, int, Decimal]]) -> None:
        """Keep how far trailing stops have followed; a watermark never goes back."""
        if rows := list(moved):
            async with self._database.connection() as connection:
                await connection.execute(_MOVE_WATERMARKS, *(list(column) for column in zip(*rows, strict=True)))

    async def markets(self, exchange: str) -> dict[str, Decimal]:
        """Return the price up to which each symbol was matched."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT symbol, price FROM paper_markets WHERE exchange = $1", exchange)
        return {row["symbol"]: row["price"] for row in rows}

    async def keep_markets(self, exchange: str, matched: Mapping[str, tuple[Decimal, datetime]]) -> None:
        """Keep the price up to which symbols were matched, and when."""
        if matched:
            prices, times = zip(*matched.values(), strict=True)
            async with self._database.connection() as connection:
                await connection.execute(_KEEP_MARKETS, exchange, list(matched), list(prices), list(times))

    async def find(self, broker_id: UUID, symbol: str, *, client_order_id: str, venue_order_id: str | None) -> PaperOrder | None:
        """Return an order, open or not, by the exchange's id, or else the latest with that client order id."""
        number = None if venue_order_id is None else _number(venue_order_id)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, broker_id, symbol, number, client_order_id)
        return None if row is None else PaperOrder.of(row)

    async def fills_of(self, broker_id: UUID, order_id: int) -> list[PaperFill]:
        """Return the fills of an order, oldest first."""
        return await self._fills("broker_id = $1 AND order_id = $2 ORDER BY trade_id", broker_id, order_id)

    async def trades(self, broker_id: UUID, symbol: str, *, after: int, since: datetime | None, limit: int) -> list[PaperFill]:
        """Return fills with ids above `after` from `since` on, oldest first."""
        where = (
            "broker_id = $1 AND symbol = $2 AND trade_id > $3 AND ($4::timestamptz IS NULL OR executed_at >= $4) ORDER BY trade_id LIMIT $5"
        )
        return await self._fills(where, broker_id, symbol, after, since, limit)

    async def open_orders(self, broker_id: UUID, symbol: str | None) -> list[PaperOrder]:
        """Return the open orders, of one symbol or all, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_OPEN_ORDERS, broker_id)
        return [PaperOrder.of(row) for row in rows if symbol in (None, row["symbol"])]

    async def recent_orders(self, broker_id: UUID, symbol: str, *, since: datetime, limit: int) -> list[PaperOrder]:
        """Return the orders made since then, oldest first."""
        query = "SELECT * FROM paper_orders WHERE broker_id = $1 AND symbol = $2 AND created_at >= $3 ORDER BY order_id LIMIT $4"
        async with self._database.connection() as connection:
            return [PaperOrder.of(row) for row in await connection.fetch(query, broker_id, symbol, since, limit)]

    async def holdings(self, broker_id: UUID) -> dict[str, Holding]:
        """Return what the account holds, by asset."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_BALANCES, broker_id)
        return {row["asset"]: Holding(free=row["free"], locked=row["locked"]) for row in rows}

    async def _fills(self, where: str, *values: object) -> list[PaperFill]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(f"SELECT * FROM paper_fills WHERE {where}", *values)  # noqa: S608  # our own clauses
        return [PaperFill.of(row) for row in rows]


def _columns(rows: Sequence[PaperOrder] | Sequence[PaperFill], names: tuple[str, ...]) -> list[list[Any]]:
    """Return the rows turned on their side: a list for each column."""
    return [[getattr(row, name) for row in rows] for name in names]


def _number(venue_order_id: str) -> int:
    """Return the exchange's id as its number; what is none is nobody's."""
    return int(venue_order_id) if venue_order_id.isascii() and venue_order_id.isdigit() and len(venue_order_id) < 19 else -1
