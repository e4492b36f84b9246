"""Make our orders agree with the venue: at start, when one is in doubt, and every few seconds.

The venue is asked by our client order id. An order it does not know is given up (`lost`) only when the request we sent could no longer
be accepted: its timestamp plus the window the venue honours, plus a margin, lies in the venue's past.

Each order in doubt is asked about by a task of its own, and the resting orders of each account by one: a slow account delays no other,
and resting orders delay no doubt.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from app.brokers.service import pause_broker
from app.core.supervisor import Beat
from app.domain.enums import OrderState
from app.domain.orders import Denied, InDoubt, NotFoundAfterWindow
from app.errors import BadCredentials, Fenced
from app.exchanges.port import ExchangeClient
from app.trading.apply import record
from app.trading.border import Border
from app.trading.cancel import cancel_at_venue, deny_intent
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.resume import resume
from app.trading.sweep import MissingOrders, due_lost, look_for_lost

log = structlog.get_logger(__name__)

#: recvWindow 5 s + the venue's own time-out 10 s + margin 5 s.
WINDOW: Final = timedelta(seconds=20)
_INTENT_GRACE: Final = timedelta(seconds=1)
_FIRST_DELAY_S: Final = 0.25
_LONGEST_DELAY_S: Final = 8.0
#: Resting orders of one account: so many are asked about at once, and no more are begun after so long.
_AT_ONCE: Final = 4
_ROUND_S: Final = 30.0
#: How often the resting orders of an account that is switched off are asked about: nothing new can come of ours.
_SWITCHED_OFF_S: Final = 600.0
_KEYS_EVERY_S: Final = 5.0
_Work = Callable[[], Awaitable[None]]
_RESTING_STATES: Final = (OrderState.OPEN, OrderState.PARTIAL)
_DOUBTS: Final = """
SELECT * FROM orders
 WHERE state IN ('submitting', 'unknown') OR (state IN ('open', 'partial') AND cancel_requested_at IS NOT NULL)
    OR (state = 'intent' AND (execution = 'native' OR triggered_at IS NOT NULL OR cancel_requested_at IS NOT NULL))
 ORDER BY created_at
"""
_RESTING: Final = """
SELECT * FROM (
  SELECT o.*, row_number() OVER (PARTITION BY o.broker_id ORDER BY o.created_at) AS place,
         b.removed_at IS NOT NULL OR NOT b.is_active OR b.paused_reason IS NOT NULL AS is_switched_off
    FROM orders o JOIN brokers b ON b.id = o.broker_id
   WHERE ($1::uuid[] IS NULL OR o.broker_id = ANY($1)) AND ((o.state IN ('open', 'partial') AND o.cancel_requested_at IS NULL)
      OR (o.fills_quantity <> o.filled_quantity AND o.state NOT IN ('intent', 'submitting', 'unknown', 'open', 'partial')))) resting
 WHERE place <= 1000
"""


@dataclass(slots=True)
class _Due:
    """When to ask about one order again; monotonic seconds."""

    at: float = 0.0
    delay_s: float = _FIRST_DELAY_S


class Reconciler:
    """Settles the orders of every broker account whose engine role this process holds."""

    def __init__(self, desk: Desk, *, interval_s: float) -> None:
        self._desk = desk
        self._interval_s = interval_s
        self._border = Border()
        self._missing = MissingOrders(desk)
        self._due: dict[UUID, _Due] = {}
        #: By order while one is in doubt, by account for its resting orders.
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._asked_at: dict[UUID, float] = {}
        self._resting_after: dict[UUID, float] = {}
        self._next_round_at = 0.0
        self._next_keys_at = 0.0

    async def run(self, beat: Beat) -> None:
        """Reconcile until cancelled, while the role is ours. It never waits for an exchange."""
        async with asyncio.TaskGroup() as group:
            while True:
                beat()
                if self._desk.lease.is_held:
                    await self._start(group)
                await self._wait()

    async def _wait(self) -> None:
        """Until the next round, or sooner when an order is in doubt."""
        waiting = [due.delay_s for due in self._due.values()]
        timeout_s = min([self._interval_s, *waiting, *([_FIRST_DELAY_S] if self._desk.suspects else [])])
        try:
            await asyncio.wait_for(self._desk.doubt.wait(), timeout_s)
        except TimeoutError:
            return
        self._desk.doubt.clear()
        await asyncio.sleep(_FIRST_DELAY_S)

    async def once(self) -> int:
        """Ask about every unsettled order once, wait for all answers, and return how many orders there were."""
        self._next_round_at = 0.0
        async with asyncio.TaskGroup() as group:
            return await self._start(group)

    async def _start(self, group: asyncio.TaskGroup) -> int:
        """Begin whatever is due and not under way yet."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_keys_at:
            self._next_keys_at = now + _KEYS_EVERY_S
            await self._desk.connections.drop_changed()
        suspects = self._take_suspects()
        found = await self._start_doubts(group, suspects)
        if now >= self._next_round_at:
            self._next_round_at = now + self._interval_s
            found += await self._start_resting(group)
            for order in await due_lost(self._desk):
                self._begin(group, order.id, partial(self._look_for_lost, order))
        elif suspects:
            found += await self._start_resting(group, suspects)
        return found

    def _take_suspects(self) -> set[UUID]:
        """Return the accounts to be asked about now; one that is being asked waits, as its answer may be older than the suspicion."""
        suspects = {broker_id for broker_id in self._desk.suspects if broker_id not in self._working}
        self._desk.suspects.difference_update(suspects)
        return suspects

    async def _start_doubts(self, group: asyncio.TaskGroup, suspects: set[UUID]) -> int:
        async with self._desk.database.connection() as connection:
            orders = [OrderRecord.of(row) for row in await connection.fetch(_DOUBTS)]
        mine = [order for order in orders if order.id not in self._desk.in_flight]
        known = {order.id: self._due.get(order.id) for order in mine if order.broker_id not in suspects}
        self._due = {order.id: known.get(order.id) or _Due() for order in mine}
        for order in mine:
            if order.id not in self._working and (self._is_to_be_denied(order) or self._is_due(order)):
                self._begin(group, order.id, partial(self._doubt, order))
        return len(mine)

    async def _start_resting(self, group: asyncio.TaskGroup, only: set[UUID] | None = None) -> int:
        await self._missing.read()
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_RESTING, None if only is None else list(only))
        now = asyncio.get_running_loop().time()
        by_broker: dict[UUID, list[OrderRecord]] = defaultdict(list)
        switched_off: set[UUID] = set()
        for row in rows:
            if row["id"] not in self._desk.in_flight:
                by_broker[row["broker_id"]].append(OrderRecord.of(row))
            if row["is_switched_off"]:
                switched_off.add(row["broker_id"])
        known = {order.id for orders in by_broker.values() for order in orders}
        if only is None:
            self._asked_at = {order_id: at for order_id, at in self._asked_at.items() if order_id in known}
        for broker_id, orders in by_broker.items():
            if broker_id in switched_off and now < self._resting_after.get(broker_id, 0.0):
                continue
            self._resting_after[broker_id] = now + _SWITCHED_OFF_S
            self._begin(group, broker_id, partial(self._resting, broker_id, orders))
        return len(known)

    def _begin(self, group: asyncio.TaskGroup, key: UUID, work: _Work) -> None:
        """Start `work` as a task, unless the last one of its order or account is still under way."""
        if key in self._working:
            return
        task = group.create_task(self._until_fenced(work), name=f"reconcile:{key}")
        self._working[key] = task
        task.add_done_callback(lambda _: self._working.pop(key, None))

    async def _until_fenced(self, work: _Work) -> None:
        try:
            await work()
        except* Fenced:
            log.warning("reconcile_fenced", role=self._desk.lease.role)

    def _is_due(self, order: OrderRecord) -> bool:
        if order.state is OrderState.INTENT and self._desk.clock.now() - order.created_at <= _INTENT_GRACE:
            return False  # its sender may be at it
        due = self._due[order.id]
        now = asyncio.get_running_loop().time()
        if now < due.at:
            return False
        due.at = now + due.delay_s
        due.delay_s = min(due.delay_s * 2, _LONGEST_DELAY_S)
        return True

    async def _doubt(self, order: OrderRecord) -> None:
        with self._border.around("reconcile_failed", order.id, order_id=str(order.id), broker_id=str(order.broker_id)):
            if order.state is OrderState.INTENT and await self._is_denied(order):
                return
            client = await self._client(order.broker_id)
            if order.state is OrderState.INTENT:
                # Nobody sends it: its process died before the claim. It never left, so sending it now is safe while it is in time.
                await resume(self._desk, order, client)
            else:
                await self._ask(order, client)

    async def _resting(self, broker_id: UUID, orders: Sequence[OrderRecord]) -> None:
        """The orders of one account, the one that waited longest first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _ROUND_S
        waiting = iter(sorted(orders, key=lambda order: self._asked_at.get(order.id, 0.0)))

        async def work(client: ExchangeClient) -> None:
            for order in waiting:
                if loop.time() > until or not self._desk.lease.is_held:
                    return
                self._asked_at[order.id] = loop.time()
                with self._border.around("reconcile_failed", order.id, order_id=str(order.id), broker_id=str(broker_id)):
                    await self._ask(order, client)

        with self._border.around("reconcile_unreachable", broker_id, broker_id=str(broker_id)):
            client = await self._client(broker_id)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(orders))):
                    group.create_task(work(client), name=f"reconcile:{broker_id}:resting")

    async def _look_for_lost(self, order: OrderRecord) -> None:
        with self._border.around("lost_order_unreachable", order.id, order_id=str(order.id), broker_id=str(order.broker_id)):
            await look_for_lost(self._desk, order)

    async def _client(self, broker_id: UUID) -> ExchangeClient:
        client = await self._desk.connections.client(broker_id)
        # A fill may close a position, and only the instrument's step tells what is left of it is dust.
        await self._desk.instruments.all(client.exchange)
        return client

    def _is_to_be_denied(self, order: OrderRecord) -> bool:
        if order.state is not OrderState.INTENT:
            return False
        return order.cancel_requested_at is not None or (order.deadline is not None and order.deadline <= self._desk.clock.now())

    async def _is_denied(self, order: OrderRecord) -> bool:
        """End an intent that must not be sent any more. No client is needed for that: its account may be gone."""
        if not self._is_to_be_denied(order):
            return False
        if order.cancel_requested_at is not None:
            await deny_intent(self._desk, order.id)
        else:
            late = Denied(code="DEADLINE_PASSED", detail="the server was down until the order's deadline had passed; nothing was sent")
            await record(self._desk, order.id, late, only_from=OrderState.INTENT)
        return True

    async def _ask(self, order: OrderRecord, client: ExchangeClient) -> None:
        try:
            await self._settle(order, client)
        except BadCredentials as error:
            # Keys that were changed a moment ago, in another process, are no reason to pause.
            if order.broker_id not in await self._desk.connections.drop_changed():
                await pause_broker(self._desk.database, order.broker_id, error.message)
            raise

    async def _settle(self, order: OrderRecord, client: ExchangeClient) -> None:
        if order.state is OrderState.SUBMITTING:
            order = await record(self._desk, order.id, InDoubt(detail="the server stopped before the exchange's answer was written down"))
        report = await client.fetch_order(order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)
        if report is not None:
            await self._missing.seen(order)
            order = await record(self._desk, order.id, report)
            if order.cancel_requested_at is not None and order.state in _RESTING_STATES:
                await cancel_at_venue(self._desk, order)
        elif order.state in _RESTING_STATES:
            await self._missing.not_seen(order)
        elif order.state is OrderState.UNKNOWN and await self._window_has_passed(order, client):
            detail = "checked until the exchange could no longer accept it: the order never arrived; no money moved"
            await record(self._desk, order.id, NotFoundAfterWindow(detail=detail))

    async def _window_has_passed(self, order: OrderRecord, client: ExchangeClient) -> bool:
        sent_at: datetime | None = order.sent_at
        if sent_at is None or self._desk.clock.now() <= sent_at + WINDOW:
            return False
        # Our clock thinks so; the venue's clock decides.
        return await client.server_time() > sent_at + WINDOW
