"""What venues tell of our accounts as it happens, brought into the books. A hint only: whatever it leaves out, reconcile finds.

An order's news goes the same way as an answer of the venue (`apply.record`), so it may come twice, late, or in any order. What it cannot
settle makes reconcile ask about the account at once.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from app.brokers.service import pause_broker
from app.core.events import Subscription
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.domain.enums import OrderState
from app.domain.orders import Reported, apply
from app.errors import BadCredentials, Conflict, Fenced, InvalidTransition, OrderNotFound
from app.exchanges.binance_user_stream import (
    AccountLost,
    AccountSubscribed,
    BalanceUpdate,
    Missed,
    OrderUpdate,
    Reconnected,
    UserEvent,
    UserStream,
)
from app.exchanges.port import ExchangeClient
from app.exchanges.user_stream_access import HasUserStream, UserStreamAccess
from app.exchanges.user_stream_pace import UserStreamConfig
from app.trading.apply import record
from app.trading.border import Border
from app.trading.desk import Desk
from app.trading.events import BalanceHeard, PortfolioChanged
from app.trading.records import OrderRecord

log = structlog.get_logger(__name__)

_LOOK_S: Final = 2.0
_TICK_S: Final = 0.5
#: So many pieces of news are written down at once.
_AT_ONCE: Final = 4
#: The request that made an order usually tells what became of it: news of one so young waits for that, and is then mostly old.
_YOUNG: Final = timedelta(seconds=1)
_GRACE_S: Final = 0.15
_IN_FLIGHT_S: Final = 0.35
#: A reading of balances costs as much as five orders: so far apart are those that news of an account causes.
_BETWEEN_READINGS_S: Final = 5.0
_SETTLE_S: Final = 1.0
#: A reading that was stored so long after the news was begun after it.
_READING_S: Final = 0.3
#: Orders that are not ours make reconcile ask so often at most.
_BETWEEN_STRANGERS_S: Final = 10.0
_AFTER_REFUSAL_S: Final = 60.0
_OUR_PREFIX: Final = "q"
_ACTIVE: Final = "SELECT id FROM brokers WHERE removed_at IS NULL AND is_active AND paused_reason IS NULL ORDER BY id"
_FIND: Final = "SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = $2"
#: A venue counts its orders for each symbol by itself.
_FIND_BY_VENUE_ID: Final = "SELECT * FROM orders WHERE broker_id = $1 AND replace(symbol, '/', '') = $2 AND venue_order_id = $3"


@dataclass(slots=True)
class _Followed:
    """An account as it was found: its client stands for its keys. `again_at` (monotonic) is when to subscribe anew after a refusal."""

    client: ExchangeClient
    stream: UserStream | None
    again_at: float = math.inf


class UserStreams:
    """Follows every active account whose venue tells its events, while the engine role is ours."""

    def __init__(self, desk: Desk, *, config: UserStreamConfig | None = None) -> None:
        #: The accounts whose events come now.
        self.live: set[UUID] = desk.live
        self._desk = desk
        self._config = config or UserStreamConfig()
        self._border = Border()
        self._streams: dict[str, UserStream] = {}
        self._followed: dict[UUID, _Followed] = {}
        self._young: dict[tuple[UUID, str], list[OrderUpdate]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._heard: dict[UUID, float] = {}
        self._read_at: dict[UUID, float] = {}
        self._strangers_at: dict[UUID, float] = {}

    async def run(self, beat: Beat) -> None:
        """Follow the accounts until cancelled. An outage of the database loses no subscription."""
        try:
            with self._desk.bus.subscribe(PortfolioChanged) as readings:
                async with asyncio.TaskGroup() as group:
                    await self._keep(group, readings, beat)
        finally:
            self._streams.clear()
            self._followed.clear()
            self._young.clear()
            self.live.clear()

    async def _keep(self, group: asyncio.TaskGroup, readings: Subscription[object], beat: Beat) -> None:
        look_at = 0.0
        while True:
            beat()
            now = time.monotonic()
            if not self._desk.lease.is_held:
                self._leave(list(self._followed))
            elif now >= look_at:
                look_at = now + _LOOK_S
                with self._through_outages():
                    await self._look(group)
            self._tell_balances(readings, now)
            await asyncio.sleep(_TICK_S)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Follow who is new or has new keys, and leave who is gone, switched off or paused."""
        async with self._desk.database.connection() as connection:
            active = {row["id"] for row in await connection.fetch(_ACTIVE)}
        self._leave([broker_id for broker_id in self._followed if broker_id not in active])
        await self._desk.connections.drop_changed()
        now = time.monotonic()
        for broker_id in active:
            followed = self._followed.get(broker_id)
            if followed is None or now >= followed.again_at or self._desk.connections.ready(broker_id) is not followed.client:
                with self._border.around("user_stream_unavailable", broker_id, broker_id=str(broker_id)):
                    await self._follow(broker_id, group)

    async def _follow(self, broker_id: UUID, group: asyncio.TaskGroup) -> None:
        client = await self._desk.connections.client(broker_id)
        access = client.user_stream() if isinstance(client, HasUserStream) else None
        stream = None if access is None else self._stream(access, group)
        self._leave([broker_id])
        self._followed[broker_id] = _Followed(client, stream)
        if access is not None and stream is not None:
            stream.add(broker_id, access.signer)

    def _stream(self, access: UserStreamAccess, group: asyncio.TaskGroup) -> UserStream:
        if access.url not in self._streams:
            config = self._config if access.has_rate_limit else self._config.unpaced()
            stream = UserStream(access.url, clock=self._desk.clock, config=config, turnstile=access.turnstile)
            self._streams[access.url] = stream
            group.create_task(stream.run(), name="userstream:connections")
            group.create_task(self._listen(stream, group), name="userstream:listen")
        return self._streams[access.url]

    def _leave(self, broker_ids: Sequence[UUID]) -> None:
        for broker_id in broker_ids:
            followed = self._followed.pop(broker_id, None)
            if followed is not None and followed.stream is not None:
                followed.stream.remove(broker_id)
            self.live.discard(broker_id)

    async def _listen(self, stream: UserStream, group: asyncio.TaskGroup) -> None:
        async for event in stream.events():
            if isinstance(event, OrderUpdate):
                await self._take_order(event, group)
                continue
            if isinstance(event, AccountLost) and event.is_credentials:
                group.create_task(self._refused(event.account, stream), name="userstream:refused")
            self._take(event)

    def _take(self, event: UserEvent) -> None:
        match event:
            case AccountSubscribed(account=account):
                if account in self._followed:
                    self.live.add(account)
                    self._desk.suspect(account)
            case AccountLost(account=account):
                self.live.discard(account)
                log.info("user_stream_lost", broker_id=str(account), reason=event.reason)
            case Reconnected():
                log.info("user_stream_reconnected", accounts=event.accounts)
            case BalanceUpdate(account=account):
                self._heard.setdefault(account, time.monotonic())
            case Missed(account=account):
                log.warning("user_event_unreadable", broker_id=str(account), reason=event.reason)
                self._desk.suspect(account)

    async def _refused(self, broker_id: UUID, stream: UserStream) -> None:
        """The venue refuses the account's key here. It is paused only when it is refused when asked as well."""
        followed = self._followed.get(broker_id)
        if followed is None or followed.stream is not stream:
            return
        followed.again_at = time.monotonic() + _AFTER_REFUSAL_S
        with self._through_outages(), self._border.around("user_stream_refused", broker_id, broker_id=str(broker_id)):
            try:
                await followed.client.fetch_balances()
            except BadCredentials as error:
                changed = await self._desk.connections.drop_changed()
                # Keys that were changed a moment ago are no reason to pause: the new ones are followed next.
                if broker_id not in changed and self._desk.connections.ready(broker_id) is followed.client:
                    await pause_broker(self._desk.database, broker_id, error.message)

    async def _take_order(self, update: OrderUpdate, group: asyncio.TaskGroup) -> None:
        key = (update.account, update.venue_order_id)
        if key in self._young:
            self._young[key].append(update)
        elif update.event_time - update.created_at < _YOUNG:
            self._young[key] = [update]
            group.create_task(self._later(key), name="userstream:young")
        else:
            await self._gate.acquire()
            group.create_task(self._now(update), name="userstream:order")

    async def _later(self, key: tuple[UUID, str]) -> None:
        await asyncio.sleep(_GRACE_S)
        updates = self._young.pop(key, [])
        async with self._gate:
            is_done = await self._write(updates, may_wait=True)
        if not is_done:
            await asyncio.sleep(_IN_FLIGHT_S)
            async with self._gate:
                await self._write(updates)

    async def _now(self, update: OrderUpdate) -> None:
        try:
            await self._write([update])
        finally:
            self._gate.release()

    async def _write(self, updates: Sequence[OrderUpdate], *, may_wait: bool = False) -> bool:
        """Write down news of one order, as far as it is news; False when it `may_wait`, since the order is being sent right now."""
        account = updates[0].account
        with self._through_outages(account), self._border.around("user_event_failed", account, broker_id=str(account)):
            order = await self._find(updates[0])
            if order is None:
                self._stranger(updates[0])
                return True
            if may_wait and order.id in self._desk.in_flight:
                return False
            for update in updates:
                order = await self._record(order, update)
        return True

    async def _find(self, update: OrderUpdate) -> OrderRecord | None:
        async with self._desk.database.connection() as connection:
            row = await connection.fetchrow(_FIND, update.account, update.client_order_id)
            if row is None:
                row = await connection.fetchrow(_FIND_BY_VENUE_ID, update.account, update.market, update.venue_order_id)
        return None if row is None else OrderRecord.of(row)

    async def _record(self, order: OrderRecord, update: OrderUpdate) -> OrderRecord:
        report = update.report
        if report.state is OrderState.REJECTED and order.id in self._desk.in_flight:
            return order  # its own request is told why, in better words
        try:
            if _is_old(order, report):
                return order
            order = await record(self._desk, order.id, report)
        except (InvalidTransition, Conflict, OrderNotFound) as error:
            log.warning("user_event_refused", order_id=str(order.id), code=error.code, reason=error.message)
            self._desk.suspect(update.account)
            return order
        if order.fills_quantity != order.filled_quantity:
            self._desk.suspect(update.account)  # a trade before this one was not told
        return order

    def _stranger(self, update: OrderUpdate) -> None:
        """An order that nobody here knows: ours from a life before, which is asked for at once, or its owner's own doing."""
        now = time.monotonic()
        is_ours = update.client_order_id.startswith(_OUR_PREFIX)
        if is_ours or now >= self._strangers_at.get(update.account, 0.0):
            self._strangers_at[update.account] = now + _BETWEEN_STRANGERS_S
            self._desk.suspect(update.account, is_strange=is_ours)

    def _tell_balances(self, readings: Subscription[object], now: float) -> None:
        """Have balances read of which there is news, unless they were read since: a fill has that done by itself."""
        while (read := readings.get_nowait()) is not None:
            assert isinstance(read, PortfolioChanged)  # noqa: S101  # the only type subscribed
            if now - self._heard.get(read.broker_id, now) > _READING_S:
                del self._heard[read.broker_id]
        for account, heard_at in list(self._heard.items()):
            if now - heard_at >= _SETTLE_S and now >= self._read_at.get(account, 0.0):
                del self._heard[account]
                self._read_at[account] = now + _BETWEEN_READINGS_S
                self._desk.bus.publish(BalanceHeard(broker_id=account))

    @contextmanager
    def _through_outages(self, account: UUID | None = None) -> Iterator[None]:
        """Let no outage of the database, and no loss of the role, end the loop: what was told meanwhile is asked for."""
        try:
            yield
        except Fenced:
            log.info("user_event_fenced", role=self._desk.lease.role)
        except Exception as error:
            if not is_database_gone(error):
                raise
            log.warning("user_stream_waits_for_database", reason=type(error).__name__)
            if account is not None:
                self._desk.suspect(account)


def _is_old(order: OrderRecord, report: Reported) -> bool:
    """Whether a report says nothing that the order does not say: its fills are known when all that is filled is counted."""
    are_fills_known = not report.fills or order.fills_quantity == order.filled_quantity >= report.filled_quantity
    # The mean of the same fills is the same, but the database keeps fewer digits of it.
    return are_fills_known and replace(apply(order.status, report), average_price=order.average_price) == order.status
