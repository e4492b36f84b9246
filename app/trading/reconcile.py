"""Make our orders agree with the venue: at start, when one is in doubt, and every few seconds.

The venue is asked by our client order id. An order it does not know is given up (`lost`) only when the request we sent could no longer
be accepted: its timestamp plus the window the venue honours, plus a margin, lies in the venue's past.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from app.brokers.service import pause_broker
from app.core.supervisor import Beat
from app.domain.enums import OrderState
from app.domain.orders import Denied, InDoubt, NotFoundAfterWindow
from app.errors import AppError, BadCredentials, ExchangeError, Fenced
from app.exchanges.port import ExchangeClient
from app.trading.apply import record
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.send import send

log = structlog.get_logger(__name__)

#: recvWindow 5 s + the venue's own time-out 10 s + margin 5 s.
WINDOW: Final = timedelta(seconds=20)
_INTENT_GRACE: Final = timedelta(seconds=1)
_FIRST_DELAY_S: Final = 0.25
_LONGEST_DELAY_S: Final = 8.0
_AT_ONCE: Final = 4
#: At most so many of one account in a round, those in doubt first, so that one account's resting orders cannot starve the others.
_UNSETTLED: Final = """
SELECT * FROM (
  SELECT *, row_number() OVER (PARTITION BY broker_id ORDER BY state IN ('open', 'partial'), created_at) AS place FROM orders
   WHERE state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity) unsettled
 WHERE place <= 200 ORDER BY place
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
        self._due: dict[UUID, _Due] = {}

    async def run(self, beat: Beat) -> None:
        """Reconcile until cancelled, while the role is ours."""
        while True:
            if self._desk.lease.is_held:
                try:
                    await self.once()
                except* Fenced:
                    log.warning("reconcile_fenced", role=self._desk.lease.role)
            beat()
            await self._wait()

    async def _wait(self) -> None:
        """Until the next round, or sooner when an order is in doubt."""
        waiting = [due.delay_s for due in self._due.values()]
        timeout_s = min([self._interval_s, *waiting])
        try:
            await asyncio.wait_for(self._desk.doubt.wait(), timeout_s)
        except TimeoutError:
            return
        self._desk.doubt.clear()
        await asyncio.sleep(_FIRST_DELAY_S)

    async def once(self) -> int:
        """Ask about every unsettled order once; return how many there were."""
        async with self._desk.database.connection() as connection:
            orders = [OrderRecord.of(row) for row in await connection.fetch(_UNSETTLED)]
        mine = [order for order in orders if order.id not in self._desk.in_flight]
        self._due = {
            order.id: self._due.get(order.id, _Due()) for order in mine if order.state in (OrderState.UNKNOWN, OrderState.SUBMITTING)
        }
        by_broker: dict[UUID, list[OrderRecord]] = defaultdict(list)
        for order in mine:
            by_broker[order.broker_id].append(order)
        async with asyncio.TaskGroup() as group:
            for broker_id, theirs in by_broker.items():
                group.create_task(self._broker(broker_id, theirs), name=f"reconcile:{broker_id}")
        return len(mine)

    async def _broker(self, broker_id: UUID, orders: Sequence[OrderRecord]) -> None:
        """One account's trouble must not stop the others."""
        try:
            client = await self._desk.connections.client(broker_id)
            # A fill may close a position, and only the instrument's step tells what is left of it is dust.
            await self._desk.instruments.all(client.exchange)
        except AppError as error:
            log.warning("reconcile_unreachable", broker_id=str(broker_id), code=error.code, reason=error.message)
            return
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(order: OrderRecord) -> None:
            async with gate:
                await self._one(order, client)

        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(one(order), name=f"reconcile:{order.id}")

    async def _one(self, order: OrderRecord, client: ExchangeClient) -> None:
        try:
            if order.state is OrderState.INTENT:
                await self._intent(order, client)
            elif self._is_due(order):
                await self._ask(order, client)
        except BadCredentials as error:
            await pause_broker(self._desk.database, order.broker_id, error.message)
        except ExchangeError as error:
            log.warning("reconcile_failed", order_id=str(order.id), code=error.code, reason=error.message)
        except Fenced:
            raise
        except AppError as error:
            # A report that contradicts the table is shown, not applied; the order stays as it is until a person has looked.
            log.warning("reconcile_refused", order_id=str(order.id), code=error.code, reason=error.message)

    def _is_due(self, order: OrderRecord) -> bool:
        due = self._due.get(order.id)
        if due is None:
            return True
        now = asyncio.get_running_loop().time()
        if now < due.at:
            return False
        due.at = now + due.delay_s
        due.delay_s = min(due.delay_s * 2, _LONGEST_DELAY_S)
        return True

    async def _intent(self, order: OrderRecord, client: ExchangeClient) -> None:
        """An intent nobody sends: its process died before the claim. It never left, so sending it now is safe while it is in time."""
        now = self._desk.clock.now()
        if order.deadline is not None and order.deadline <= now:
            late = Denied(code="DEADLINE_PASSED", detail="the server was down until the order's deadline had passed; nothing was sent")
            await record(self._desk, order.id, late)
        elif now - order.created_at > _INTENT_GRACE:
            await send(self._desk, order, client)

    async def _ask(self, order: OrderRecord, client: ExchangeClient) -> None:
        if order.state is OrderState.SUBMITTING:
            order = await record(self._desk, order.id, InDoubt(detail="the server stopped before the exchange's answer was written down"))
        report = await client.fetch_order(order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)
        if report is not None:
            await record(self._desk, order.id, report)
        elif order.state is OrderState.UNKNOWN and await self._window_has_passed(order, client):
            detail = "checked until the exchange could no longer accept it: the order never arrived; no money moved"
            await record(self._desk, order.id, NotFoundAfterWindow(detail=detail))

    async def _window_has_passed(self, order: OrderRecord, client: ExchangeClient) -> bool:
        sent_at: datetime | None = order.sent_at
        if sent_at is None or self._desk.clock.now() <= sent_at + WINDOW:
            return False
        # Our clock thinks so; the venue's clock decides.
        return await client.server_time() > sent_at + WINDOW
