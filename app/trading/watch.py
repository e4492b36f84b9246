"""Watches the triggers that an exchange cannot watch. The market's trades go through the reference matching engine, which says who wakes.

What wakes is written down first (`triggered_at`, under the lease), then sent: at once, or by the guardian when it guards a position. Of a
pair only one can wake: the other is denied in the same transaction. A restart puts every order back with the best price it had seen; a
price that passed while nobody watched is not invented, the next one decides.
"""

import asyncio
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.leases import HOLD
from app.core.supervisor import Beat
from app.domain.book import BookOrder, Depth, TapePrint
from app.domain.enums import OrderState, Role, Side
from app.domain.matching import MatchingEngine
from app.domain.orders import Denied
from app.marketdata.events import TickerChanged
from app.trading.apply import record
from app.trading.border import Border
from app.trading.desk import Desk
from app.trading.events import GuardWanted, OrderChanged, announce
from app.trading.protections import disturb
from app.trading.records import OrderRecord
from app.trading.send import send

log = structlog.get_logger(__name__)

SIBLING: Final = "OTHER_HALF_TRIGGERED"
_READ_EVERY_S: Final = 2.0
#: How often a symbol that the feed does not watch is asked for at its exchange.
_ASK_EVERY_S: Final = 2.0
#: So many accounts are tried for one symbol's price each time.
_MOST_ASKED: Final = 3
_KEEP_EVERY_S: Final = 1.0
_WAKE_S: Final = 0.25
_HELD: Final = """
SELECT o.*, b.exchange FROM orders o JOIN brokers b ON b.id = o.broker_id
 WHERE o.state = 'intent' AND o.execution = 'supervised' AND o.triggered_at IS NULL AND o.cancel_requested_at IS NULL
 ORDER BY o.created_at, o.id
"""
#: Only while it waits for what was watched: who changes an order may be another process, whose news comes with the next reading.
_TRIGGER: Final = f"""
WITH held AS ({HOLD.format(role="$2", owner="$3", epoch="$4")}),
fired AS (
  UPDATE orders SET triggered_at = $5, updated_at = $5 FROM held
   WHERE orders.id = $1 AND state = 'intent' AND execution = 'supervised' AND triggered_at IS NULL AND cancel_requested_at IS NULL
     AND trigger_price IS NOT DISTINCT FROM $7 AND trailing_delta IS NOT DISTINCT FROM $8
  RETURNING orders.*),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, detail)
          SELECT id, user_id, $5, 'Triggered', state, jsonb_build_object('price', $6::text) FROM fired)
SELECT * FROM fired
"""  # noqa: S608  # constants
_LOCK_GROUP: Final = "SELECT id FROM orders WHERE group_id = $1 ORDER BY id FOR UPDATE"
_SIBLINGS: Final = "SELECT id FROM orders WHERE group_id = $1 AND id <> $2 AND state = 'intent' AND triggered_at IS NULL"
_FIRED_IN_GROUP: Final = "SELECT 1 FROM orders WHERE group_id = $1 AND triggered_at IS NOT NULL LIMIT 1"
_KEEP: Final = """
UPDATE orders SET watermark = w.watermark FROM unnest($1::uuid[], $2::numeric[]) AS w (id, watermark)
 WHERE orders.id = w.id AND orders.state = 'intent'
"""
#: Legs of a protection are sent by the guardian, which makes room for them.
_GUARDED: Final = frozenset({Role.STOP, Role.TARGET})
_Place = tuple[str, str]


class TriggerWatch:
    """The held orders of every account, by exchange and symbol."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._border = Border()
        self._books: dict[_Place, MatchingEngine] = {}
        self._orders: dict[UUID, tuple[_Place, OrderRecord]] = {}
        self._kept: dict[UUID, Decimal | None] = {}
        self._asked_at: dict[_Place, float] = {}
        self._asking: set[_Place] = set()
        #: Accounts whose exchange did not tell them a price when it was last asked.
        self._failed_at: dict[UUID, float] = {}
        self._read_at = self._kept_at = float("-inf")

    async def run(self, beat: Beat) -> None:
        """Watch until cancelled, while the role is ours."""
        with self._desk.bus.subscribe(TickerChanged, OrderChanged, size=10_000) as events:
            async with asyncio.TaskGroup() as group:
                while True:
                    beat()
                    event = await self._next(events)
                    if not self._desk.lease.is_held:
                        self._forget()
                        continue
                    await self._take(event, events, group)
                    await self._keep_up(group)

    async def once(self, exchange: str, symbol: str, price: Decimal) -> None:
        """Let one price pass, and wait until what it woke is sent."""
        async with asyncio.TaskGroup() as group:
            await self._read(group)
            self._pass((exchange, symbol), price, group)

    async def _next(self, events: Any) -> Any:
        try:
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with an event.
            async with asyncio.timeout(_WAKE_S):
                return await events.get()
        except TimeoutError:
            return None

    async def _take(self, event: Any, events: Any, group: asyncio.TaskGroup) -> None:
        """All that has been said so far; each price counts, so none is skipped."""
        while event is not None:
            if isinstance(event, OrderChanged):
                if event.state is OrderState.INTENT or event.order_id in self._orders:
                    self._read_at = float("-inf")
            elif event.last is not None:
                if self._read_at == float("-inf"):
                    await self._read(group)  # an order that came before this price must see it
                self._pass((event.exchange, event.symbol), event.last, group)
            event = events.get_nowait()

    async def _keep_up(self, group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at > _READ_EVERY_S:
            await self._read(group)
        if now - self._kept_at > _KEEP_EVERY_S:
            self._kept_at = now
            await self.keep()
        for place in self._books:
            if self._desk.quotes.last_price(*place) is None and now - self._asked_at.get(place, 0.0) > _ASK_EVERY_S:
                self._asked_at[place] = now
                group.create_task(self._ask(place, group), name=f"watch:{place[0]}:{place[1]}")

    def _forget(self) -> None:
        self._books.clear()
        self._orders.clear()
        self._failed_at.clear()
        self._read_at = float("-inf")

    async def _read(self, group: asyncio.TaskGroup) -> None:
        """Take in what is new and let go of what is gone."""
        self._read_at = asyncio.get_running_loop().time()
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_HELD)
        present = {row["id"] for row in rows}
        for order_id in [known for known in self._orders if known not in present]:
            self._drop(order_id)
        added: set[_Place] = set()
        for row in rows:
            known = self._orders.get(row["id"])
            if known is None or known[1].updated_at != row["updated_at"]:
                place = (row["exchange"], row["symbol"])
                self._drop(row["id"])
                with self._border.around("trigger_not_watched", row["id"], order_id=str(row["id"])):
                    self._add(place, OrderRecord.of(row))
                    added.add(place)
        for place in added:
            # The present price may be beyond the trigger already, and on a quiet market it is the last for long.
            price = self._desk.quotes.last_price(*place)
            if price is not None:
                self._pass(place, price, group)

    def _add(self, place: _Place, order: OrderRecord) -> None:
        book = self._books.setdefault(place, MatchingEngine(step_size=Decimal("1e-18")))
        last = self._desk.quotes.last_price(*place)
        starts_now = order.trailing_delta is not None and order.trigger_price is None
        watermark = order.watermark or (last if starts_now else None)
        book.restore(_book_order(order), remaining=order.quantity, is_awake=False, watermark=watermark)
        self._orders[order.id] = (place, order)

    def _drop(self, order_id: UUID) -> None:
        known = self._orders.pop(order_id, None)
        if known is None:
            return
        # What a price has woken has left the book by itself, and the last of them may have taken the book along.
        book = self._books.get(known[0])
        if book is not None:
            book.cancel(str(order_id))
            if not len(book):
                del self._books[known[0]]

    def _pass(self, place: _Place, price: Decimal, group: asyncio.TaskGroup) -> None:
        book = self._books.get(place)
        if book is None:
            return
        names = book.trade(TapePrint(price=price, quantity=Decimal(0)), Depth()).triggered
        woken = [self._orders[order_id][1] for order_id in map(UUID, names) if order_id in self._orders]
        own: list[asyncio.Task[OrderRecord | None]] = []
        for order in woken:
            self._drop(order.id)
            if not _is_guarded(order):
                own.append(group.create_task(self._write_down(order, price)))
                group.create_task(self._go(order, own[-1]), name=f"trigger:{order.id}")
        for leg in filter(_is_guarded, woken):
            group.create_task(self._fire_leg(leg, price, after=own), name=f"trigger:{leg.id}")

    async def _ask(self, place: _Place, group: asyncio.TaskGroup) -> None:
        """A symbol that the feed does not watch: its price is the same for all, so any account there that is answered will do."""
        exchange, symbol = place
        accounts = dict.fromkeys(order.broker_id for where, order in self._orders.values() if where == place)
        if not accounts or place in self._asking:
            return
        self._asking.add(place)
        try:
            for broker_id in sorted(accounts, key=lambda account: self._failed_at.get(account, 0.0))[:_MOST_ASKED]:
                price = await self._price_told_to(broker_id, symbol)
                if price is not None:
                    self._pass((exchange, symbol), price, group)
                    return
        finally:
            self._asking.discard(place)

    async def _price_told_to(self, broker_id: UUID, symbol: str) -> Decimal | None:
        """None when that account is not answered, whatever is wrong with it: the others are asked before it then."""
        price: Decimal | None = None
        with self._border.around("trigger_price_unknown", broker_id, broker_id=str(broker_id), symbol=symbol):
            client = await self._desk.connections.client(broker_id)
            price = (await client.fetch_ticker(symbol)).last
        if self._border.is_troubled(broker_id):
            self._failed_at[broker_id] = asyncio.get_running_loop().time()
        else:
            self._failed_at.pop(broker_id, None)
        return price

    async def _go(self, order: OrderRecord, written: asyncio.Task[OrderRecord | None]) -> None:
        fired = await written
        if fired is not None:
            with self._border.around("trigger_failed", order.id, order_id=str(order.id)):
                await send(self._desk, fired, await self._desk.connections.client(order.broker_id))

    async def _fire_leg(self, leg: OrderRecord, price: Decimal, *, after: list[asyncio.Task[OrderRecord | None]]) -> None:
        """What the same price wakes of the trader's own orders is written down first: it sells the units, and the leg steps aside."""
        if after:
            await asyncio.wait(after)
        fired = await self._write_down(leg, price)
        if fired is not None and leg.group_id is not None:
            self._desk.bus.publish(GuardWanted(protection_id=leg.group_id))

    async def _write_down(self, order: OrderRecord, price: Decimal) -> OrderRecord | None:
        """Make it durable that the trigger was reached; None when it was too late for that, or could not be done."""
        fired: OrderRecord | None = None
        with self._border.around("trigger_failed", order.id, order_id=str(order.id)):
            fired, denied = await self._write(order, price)
            for sibling in denied:
                other = Denied(code=SIBLING, detail="the other order of the pair was triggered first")
                await record(self._desk, sibling, other)
            if fired is not None:
                log.info("order_triggered", order_id=str(order.id), price=str(price))
                announce(self._desk.bus, fired)
        if fired is None:
            self._read_at = float("-inf")  # it may wait for something else by now
        return fired

    async def _write(self, order: OrderRecord, price: Decimal) -> tuple[OrderRecord | None, list[UUID]]:
        """Write down that the trigger was reached, and which orders can therefore never be; None when it was too late for that."""
        lease = self._desk.lease
        is_pair = order.group_id is not None and not _is_guarded(order)
        waits_for = (order.trigger_price, order.trailing_delta)
        values = (order.id, lease.role, lease.owner, lease.epoch, self._desk.clock.now(), f"{price:f}", *waits_for)
        async with self._desk.database.raw_transaction() as connection:
            if is_pair:
                await connection.fetch(_LOCK_GROUP, order.group_id)
                if await connection.fetchval(_FIRED_IN_GROUP, order.group_id) is not None:
                    return None, [order.id]
            row = await connection.fetchrow(_TRIGGER, *values)
            if row is not None and order.side is Side.SELL and not _is_guarded(order):
                await disturb(connection, order)
            siblings = await connection.fetch(_SIBLINGS, order.group_id, order.id) if is_pair and row is not None else []
        return (None if row is None else OrderRecord.of(row)), [sibling["id"] for sibling in siblings]

    async def keep(self) -> None:
        """Write down the best prices that trailing stops have seen, so that a restart goes on from there."""
        moved: dict[UUID, Decimal] = {}
        for order_id, (place, order) in self._orders.items():
            if order.trailing_delta is not None:
                mark = self._books[place].watermark(str(order_id))
                if mark is not None and mark != self._kept.get(order_id, order.watermark):
                    moved[order_id] = mark
        if moved:
            async with self._desk.database.connection() as connection:
                await connection.execute(_KEEP, list(moved), list(moved.values()))
        self._kept = {order_id: mark for order_id, mark in {**self._kept, **moved}.items() if order_id in self._orders}


def _is_guarded(order: OrderRecord) -> bool:
    return order.role in _GUARDED and order.group_id is not None


def _book_order(order: OrderRecord) -> BookOrder:
    return BookOrder(
        order_id=str(order.id),
        side=order.side,
        type=order.type,
        quantity=order.quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        trailing_delta=order.trailing_delta,
        time_in_force=order.time_in_force,
    )
