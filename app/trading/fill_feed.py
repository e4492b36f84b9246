"""The account's trades in a symbol, read without a gap from where they are known: each is counted once, for our order or as a foreign one.

Reports usually bring their fills along; this finds those that nothing reported, and orders of ours that were given up or forgotten here.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.domain.orders import SHOWN, Fill
from app.errors import Unsupported
from app.exchanges.port import ExchangeClient, VenueOrder, VenueTrade
from app.trading.apply import record
from app.trading.catching_up import in_turn, only_fills
from app.trading.desk import Desk
from app.trading.doubts import ask
from app.trading.external import keep_trades, note_orders
from app.trading.orphans import adopt_orphans
from app.trading.records import OrderRecord

log = structlog.get_logger(__name__)

#: How far back a venue that counts no trades is asked again: its clock and ours differ, and trades of one moment come in any order.
_OVERLAP: Final = timedelta(minutes=1)
_MOST_PAGES: Final = 200
#: An order that traded now may have been placed so long ago.
ORDERS_BACK: Final = timedelta(hours=24)
_SEARCH_EVERY: Final = timedelta(hours=1)
_SEARCHED: Final = "UPDATE trade_marks SET orders_known_until = $3 WHERE broker_id = $1 AND symbol = $2"
_LOOK_AT_LOST: Final = 10
_READ_MARK: Final = """
SELECT m.trade_id, m.known_until, m.orders_known_until FROM trade_marks m WHERE broker_id = $1 AND symbol = $2
"""
#: Where to begin when nothing was read yet: with our first order.
_FIRST_ORDER: Final = "SELECT min(created_at) FROM orders WHERE broker_id = $1 AND symbol = $2"
_KEEP_MARK: Final = """
INSERT INTO trade_marks (broker_id, symbol, user_id, trade_id, known_until, read_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (broker_id, symbol) DO UPDATE
   SET trade_id = coalesce(excluded.trade_id, trade_marks.trade_id),
       known_until = greatest(trade_marks.known_until, excluded.known_until), read_at = excluded.read_at
"""
_KNOWN: Final = """
SELECT trade_id, o.venue_order_id FROM fills f JOIN orders o ON o.id = f.order_id
 WHERE f.broker_id = $1 AND f.symbol = $2 AND f.trade_id = ANY($3)
UNION ALL SELECT trade_id, venue_order_id FROM external_trades WHERE broker_id = $1 AND symbol = $2 AND trade_id = ANY($3)
"""
_OURS: Final = "SELECT * FROM orders WHERE broker_id = $1 AND symbol = $2 AND venue_order_id = ANY($3)"
_FOREIGN: Final = "SELECT venue_order_id FROM external_orders WHERE broker_id = $1 AND symbol = $2 AND venue_order_id = ANY($3)"
_BY_CLIENT_ID: Final = "SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = ANY($2)"
_NAMELESS: Final = """
SELECT * FROM orders
 WHERE broker_id = $1 AND symbol = $2 AND venue_order_id IS NULL
   AND (state IN ('submitting', 'unknown') OR (state = 'lost' AND next_check_at IS NOT NULL)) ORDER BY created_at DESC LIMIT 100
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    trade_id: str | None
    known_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An account's symbol."""

    broker_id: UUID
    user_id: UUID
    symbol: str


async def read_trades(desk: Desk, place: Place, client: ExchangeClient) -> int:
    """Read the trades of an account in a symbol that are not known yet, and return how many there were.

    Raises:
        ExchangeError: the venue cannot be asked; what was read before it failed is kept.
        Fenced: this process does not own the engine role.
    """
    mark = await _read_mark(desk, place)
    since = mark.known_until
    count = 0
    for _ in range(_MOST_PAGES):
        asked_at = desk.clock.now()
        is_by_id = client.capabilities.trades_by_id and mark.trade_id is not None
        trades = await client.fetch_trades(
            place.symbol, after_trade_id=mark.trade_id if is_by_id else None, since=None if is_by_id else since
        )
        fresh = await _unknown(desk, place, trades)
        count += len(fresh)
        await _take(desk, place, client, fresh)
        mark = _following(mark, trades, asked_at)
        await _keep_mark(desk, place, mark, asked_at)
        newest = max((trade.fill.executed_at for trade in trades), default=since)
        if not trades or (not is_by_id and not fresh and newest <= since):
            break
        since = newest
    return count


async def _read_mark(desk: Desk, place: Place) -> _Mark:
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_READ_MARK, place.broker_id, place.symbol)
        if row is not None:
            return _Mark(trade_id=row["trade_id"], known_until=row["known_until"])
        first: datetime | None = await connection.fetchval(_FIRST_ORDER, place.broker_id, place.symbol)
    return _Mark(trade_id=None, known_until=(first or desk.clock.now()) - _OVERLAP)


def _following(mark: _Mark, trades: Sequence[VenueTrade], asked_at: datetime) -> _Mark:
    """Up to where all is known now. Trades of the last moment may still be missing, so time alone never goes quite to its end."""
    if not trades:
        return replace(mark, known_until=max(mark.known_until, asked_at - _OVERLAP))
    newest = max(trades, key=_number)
    return _Mark(trade_id=newest.fill.trade_id, known_until=max(mark.known_until, newest.fill.executed_at - _OVERLAP))


def _number(trade: VenueTrade) -> tuple[int, datetime]:
    name = trade.fill.trade_id
    return (int(name) if name.isdecimal() else 0), trade.fill.executed_at


async def _keep_mark(desk: Desk, place: Place, mark: _Mark, at: datetime) -> None:
    async with desk.database.connection() as connection:
        await connection.execute(_KEEP_MARK, place.broker_id, place.symbol, place.user_id, mark.trade_id, mark.known_until, at)


async def _unknown(desk: Desk, place: Place, trades: Sequence[VenueTrade]) -> list[VenueTrade]:
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_KNOWN, place.broker_id, place.symbol, [trade.fill.trade_id for trade in trades])
    known = {(row["trade_id"], row["venue_order_id"]) for row in rows}
    return [trade for trade in trades if (trade.fill.trade_id, trade.venue_order_id) not in known]


async def _take(desk: Desk, place: Place, client: ExchangeClient, trades: Sequence[VenueTrade]) -> None:
    by_order: dict[str, list[VenueTrade]] = defaultdict(list)
    for trade in trades:
        by_order[trade.venue_order_id].append(trade)
    if not by_order:
        return
    ours, foreign = await _named(desk, place, list(by_order))
    nameless = [name for name in by_order if name not in ours and name not in foreign]
    if nameless:
        await _identify(desk, place, client, nameless, since=min(by_order[name][0].fill.executed_at for name in nameless))
        ours, foreign = await _named(desk, place, list(by_order))
    # A page may tell of several orders that traded in turns.
    for order, fills in in_turn((ours[trade.venue_order_id], trade.fill) for trade in trades if trade.venue_order_id in ours):
        await _count(desk, order, fills)
    others = [trade for name, found in by_order.items() if name not in ours for trade in found]
    if others:
        async with desk.database.raw_transaction() as connection:
            await keep_trades(connection, place.broker_id, place.user_id, place.symbol, others)


async def _named(desk: Desk, place: Place, venue_ids: Sequence[str]) -> tuple[dict[str, OrderRecord], set[str]]:
    """Which of the venue's order ids are ours, and which are known not to be."""
    values = place.broker_id, place.symbol, venue_ids
    async with desk.database.connection() as connection:
        ours = {row["venue_order_id"]: OrderRecord.of(row) for row in await connection.fetch(_OURS, *values)}
        foreign = {row["venue_order_id"] for row in await connection.fetch(_FOREIGN, *values)}
    return ours, foreign - ours.keys()


async def _count(desk: Desk, order: OrderRecord, fills: Sequence[Fill]) -> None:
    """Count fills that no report brought."""
    # An order that is being sent is left alone: its own answer brings them, or else the next look at the order.
    if order.id not in desk.in_flight and order.venue_order_id is not None:
        await record(desk, order.id, only_fills(order, order.venue_order_id, fills))


async def _identify(desk: Desk, place: Place, client: ExchangeClient, venue_ids: Sequence[str], *, since: datetime) -> None:
    """Find out whose orders traded: by the venue's list of all orders, and by asking about ours whose venue id is not known."""
    asked_at = desk.clock.now()
    wanted = set(venue_ids)
    found: list[VenueOrder] = []
    async for listed in pages_of_orders(client, place.symbol, since=since - ORDERS_BACK):
        found += [order for order in listed if order.report.venue_order_id in wanted]
        if len(found) == len(wanted):
            break
    foreign = await take_orders(desk, place, client, found)
    await note_orders(desk, place.broker_id, place.user_id, foreign, asked_at=asked_at)
    if wanted - {order.report.venue_order_id for order in found}:
        await _ask_about_nameless(desk, place, client)


async def pages_of_orders(client: ExchangeClient, symbol: str, *, since: datetime) -> AsyncIterator[list[VenueOrder]]:
    """Yield the venue's list of all orders of a symbol that were created since then, page by page; none where it has no such list.

    Raises:
        ExchangeError: the venue cannot be asked.
    """
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        try:
            listed = await client.fetch_recent_orders(symbol, since=since)
        except Unsupported:
            return
        fresh = [order for order in listed if order.report.venue_order_id not in seen]
        if not fresh:
            return
        yield fresh
        seen = {order.report.venue_order_id for order in listed}
        since = max((order.created_at for order in listed if order.created_at is not None), default=since)


async def search_orders(desk: Desk, place: Place, client: ExchangeClient) -> None:
    """Search the venue's list of the last day's orders for orders of ours that we do not know to be there; once an hour is enough.

    Raises:
        ExchangeError: the venue cannot be asked.
        Fenced: this process does not own the engine role.
    """
    now = desk.clock.now()
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_READ_MARK, place.broker_id, place.symbol)
    if row is None or (row["orders_known_until"] is not None and now - row["orders_known_until"] < _SEARCH_EVERY):
        return
    async for listed in pages_of_orders(client, place.symbol, since=now - ORDERS_BACK):
        await take_orders(desk, place, client, listed)
    async with desk.database.connection() as connection:
        await connection.execute(_SEARCHED, place.broker_id, place.symbol, now)


async def take_orders(desk: Desk, place: Place, client: ExchangeClient, listed: Sequence[VenueOrder]) -> list[VenueOrder]:
    """Take what the venue's list of all orders says of ours that we did not know to be there, and return those that are not ours."""
    client_ids = [order.client_order_id for order in listed if order.client_order_id is not None]
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_BY_CLIENT_ID, place.broker_id, client_ids)
    ours = {row["client_order_id"]: OrderRecord.of(row) for row in rows}
    for found in listed:
        order = ours.get(found.client_order_id or "")
        if order is not None and order.state not in SHOWN and order.id not in desk.in_flight:
            await _refresh(desk, order, client)
    strangers = [found for found in listed if found.client_order_id is None or found.client_order_id not in ours]
    return await adopt_orphans(desk, place.broker_id, place.user_id, strangers, client)


async def _ask_about_nameless(desk: Desk, place: Place, client: ExchangeClient) -> None:
    """The venue does not list the order: it may be one of ours whose venue id we never learnt."""
    async with desk.database.connection() as connection:
        rows: Sequence[Any] = await connection.fetch(_NAMELESS, place.broker_id, place.symbol)
    orders = [OrderRecord.of(row) for row in rows if row["id"] not in desk.in_flight]
    for order in orders[:_LOOK_AT_LOST]:
        await _refresh(desk, order, client)


async def _refresh(desk: Desk, order: OrderRecord, client: ExchangeClient) -> None:
    report = await ask(desk, order, client)
    if report is not None:
        await record(desk, order.id, report)
