"""Compare an account's open orders with the venue's list, both ways: one request, however many orders there are.

Ours that are listed as we know them are done with. Ours that are listed otherwise, or not at all, are asked about one by one. Orders with
an id of ours that we do not know are adopted; all others are the trader's own: kept, and never touched.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.domain.enums import OrderState
from app.domain.orders import NOT_AT_VENUE
from app.exchanges.port import ExchangeClient, VenueOrder
from app.trading.apply import stamp
from app.trading.border import Border
from app.trading.cancel import cancel_at_venue
from app.trading.catching_up import CatchingUp, Learnt, as_traded
from app.trading.desk import Desk
from app.trading.doubts import RESTING, learn
from app.trading.external import note_orders
from app.trading.orphans import adopt_orphans
from app.trading.records import OrderRecord
from app.trading.sweep import FORGOTTEN, MissingOrders

log = structlog.get_logger(__name__)

#: Single orders that one comparison asks about at most, and so many of them at once.
MOST_ASKED: Final = 10
_AT_ONCE: Final = 4
_KNOWN: Final = """
SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = ANY($2)
UNION
SELECT o.* FROM orders o JOIN unnest($3::text[], $4::text[]) AS v (symbol, venue_order_id)
    ON o.symbol = v.symbol AND o.venue_order_id = v.venue_order_id WHERE o.broker_id = $1
"""
#: Those that the venue should list as open, and finished ones whose fills are not all here.
_EXPECTED: Final = """
SELECT * FROM orders
 WHERE broker_id = $1 AND ($2::text[] IS NULL OR symbol = ANY($2))
   AND (state IN ('open', 'partial')
        OR (fills_quantity <> filled_quantity AND state NOT IN ('intent', 'submitting', 'unknown', 'open', 'partial')))
 ORDER BY created_at LIMIT 1000
"""
#: A list of everything costs as much as a dozen lists of one symbol. Source: binance-spot-api-docs, weights 80 and 6.
_MOST_SYMBOLS: Final = 12
_ON_THE_WAY: Final = (OrderState.SUBMITTING, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAccount:
    """An account to compare. `symbols` are those it has orders in; None asks for all, where the venue lists them together."""

    id: UUID
    user_id: UUID
    symbols: tuple[str, ...]
    is_full: bool = False
    exchange: str = ""


def of_symbol(account: ComparedAccount, symbol: str) -> ComparedAccount:
    """Return the account as far as it concerns one symbol."""
    return replace(account, symbols=(symbol,))


class Comparison:
    """Compares accounts; remembers which orders it asked about longest ago."""

    def __init__(self, desk: Desk, missing: MissingOrders, border: Border, catching_up: CatchingUp) -> None:
        self._desk = desk
        self._missing = missing
        self._catching_up = catching_up
        self._border = border
        self._asked_at: dict[UUID, float] = {}
        self._mine: dict[UUID, set[UUID]] = {}

    @contextmanager
    def expecting(self, account: ComparedAccount) -> Iterator[ExitStack]:
        """Let doubts of the account's symbols wait for what a comparison finds out, until it asks about its orders."""
        with ExitStack() as stack:
            stack.enter_context(self._catching_up.expecting(account.id, account.symbols))
            yield stack

    async def compare(self, account: ComparedAccount, client: ExchangeClient, expecting: ExitStack) -> int:
        """Compare one account's open orders, settle what differs, and return how many of ours the venue lists.

        Doubts wait while `expecting` is open; it is closed once each order that differs is being asked about.

        Raises:
            ExchangeError: the venue's list cannot be had. What concerns one order is that order's trouble, and raises nothing.
            Fenced: this process does not own the engine role.
        """
        symbols = _covered(account, client)
        asked_at = self._desk.clock.now()
        listed = await list_open(client, symbols)
        # Read after the list came: an order is in our tables before it can be at the venue.
        known = await self._known(account.id, listed)
        matched = [(found, known.of(found)) for found in listed]
        strangers = [found for found, order in matched if order is None]
        foreign = await adopt_orphans(self._desk, account.id, account.user_id, strangers, client)
        await note_orders(self._desk, account.id, account.user_id, foreign, asked_at=asked_at, symbols=symbols)
        same = [order for found, order in matched if order is not None and not _is_news(order, found)]
        await stamp(self._desk, [order.id for order in same])
        for order in same:
            await self._missing.seen(order)
            if order.code == FORGOTTEN:
                await self._take_back(account, order, client)
        differing = [order for found, order in matched if order is not None and _is_news(order, found)]
        unlisted = await self._unlisted(account, symbols, same, differing, asked_at)
        await self._ask_about(account, client, [*differing, *unlisted], expecting)
        return len(same) + len(differing)

    async def _take_back(self, account: ComparedAccount, order: OrderRecord, client: ExchangeClient) -> None:
        """A leg that was given up is there again: the one that took its place guards the position, so it must not sell too."""
        with self._border.around("forgotten_leg_not_taken_back", order.id, order_id=str(order.id), broker_id=str(account.id)):
            log.warning("forgotten_leg_is_back", order_id=str(order.id), symbol=order.symbol)
            await cancel_at_venue(self._desk, order, client)

    async def _known(self, broker_id: UUID, listed: Sequence[VenueOrder]) -> "_Known":
        client_ids = [order.client_order_id for order in listed if order.client_order_id is not None]
        places = [order.symbol for order in listed], [order.report.venue_order_id for order in listed]
        async with self._desk.database.connection() as connection:
            orders = [OrderRecord.of(row) for row in await connection.fetch(_KNOWN, broker_id, client_ids, *places)] if listed else []
        return _Known(
            by_client_id={order.client_order_id: order for order in orders},
            by_venue_id={(order.symbol, order.venue_order_id): order for order in orders if order.venue_order_id is not None},
        )

    async def _unlisted(
        self,
        account: ComparedAccount,
        symbols: Sequence[str] | None,
        same: Sequence[OrderRecord],
        differing: Sequence[OrderRecord],
        asked_at: datetime,
    ) -> list[OrderRecord]:
        """Ours that should be on the list and are not, and finished ones whose fills are missing; of what is newer the list cannot tell."""
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_EXPECTED, account.id, symbols)
        seen = {order.id for order in (*same, *differing)}
        orders = [OrderRecord.of(row) for row in rows if row["id"] not in seen]
        return [order for order in orders if order.updated_at <= asked_at]

    async def _ask_about(
        self, account: ComparedAccount, client: ExchangeClient, orders: Sequence[OrderRecord], expecting: ExitStack
    ) -> None:
        """The ones that waited longest first; of those that waited alike the ones that will have traded first."""
        waiting = sorted(
            (order for order in orders if order.id not in self._desk.in_flight),
            key=lambda order: (self._asked_at.get(order.id, 0.0), as_traded(order)),
        )
        few = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for order in waiting[:MOST_ASKED]:
                group.create_task(self._settle(order, client, few), name=f"reconcile:{account.id}:single")
            await asyncio.sleep(0)  # each has begun, so what is learnt elsewhere waits for it by itself
            expecting.close()
        self._forget(account, waiting)

    async def _settle(self, order: OrderRecord, client: ExchangeClient, few: asyncio.Semaphore) -> None:
        async def ask() -> Learnt | None:
            async with few:
                if not self._desk.lease.is_held:
                    return None
                self._asked_at[order.id] = asyncio.get_running_loop().time()
                return await learn(self._desk, order, client)

        with self._border.around("reconcile_failed", order.id, order_id=str(order.id), broker_id=str(order.broker_id)):
            await self._catching_up.settle(order, client, ask=ask)

    def _forget(self, account: ComparedAccount, waiting: Sequence[OrderRecord]) -> None:
        kept = {order.id for order in waiting}
        mine = self._mine.get(account.id, set())
        for order_id in mine - kept:
            self._asked_at.pop(order_id, None)
        self._mine[account.id] = kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Our orders that a list may mean. Not every venue names its orders by our id in its lists."""

    by_client_id: dict[str, OrderRecord]
    by_venue_id: dict[tuple[str, str], OrderRecord]

    def of(self, found: VenueOrder) -> OrderRecord | None:
        order = self.by_client_id.get(found.client_order_id) if found.client_order_id is not None else None
        return order or self.by_venue_id.get((found.symbol, found.report.venue_order_id))


def _covered(account: ComparedAccount, client: ExchangeClient) -> list[str] | None:
    """The symbols to list; None for all of them in one request."""
    may_list_all = client.capabilities.lists_all_open_orders
    return None if may_list_all and (account.is_full or len(account.symbols) > _MOST_SYMBOLS) else list(account.symbols)


def _is_news(order: OrderRecord, found: VenueOrder) -> bool:
    """Whether the list says something of our order that we do not know. A finished order on it was read before it finished."""
    if order.state in NOT_AT_VENUE or order.state in _ON_THE_WAY:
        return True
    if order.state not in RESTING:
        return False
    wakes = found.report.is_working and not order.is_working
    return wakes or found.report.filled_quantity > order.filled_quantity or order.fills_quantity != order.filled_quantity


async def list_open(client: ExchangeClient, symbols: Sequence[str] | None) -> list[VenueOrder]:
    """Return the account's open orders of these symbols, or of all."""
    if symbols is None:
        return await client.fetch_open_orders()
    found: list[VenueOrder] = []
    for symbol in symbols:
        found += await client.fetch_open_orders(symbol)
    return found
