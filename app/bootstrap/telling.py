"""What packages publish and people may want to be told: each event becomes a notice.

What must not be missed is put by its own package inside its own transaction. These are news of which a process that dies may swallow one:
filled orders, refused alerts, finished backtests, the kill switch, the feed. Logins are looked up in the database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from app.backtests.events import BacktestChanged
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.core.i18n import N_
from app.core.leases import LeaseHolder
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.domain.enums import OrderState
from app.domain.instruments import plain
from app.exchanges.catalogue import venue_of
from app.marketdata.events import FeedAlert
from app.notifications import Notice, NoticeKind, Severity, put, who_wants
from app.notifications.kinds import KINDS
from app.trading.events import KillSwitchChanged, OrderChanged
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision

log = structlog.get_logger(__name__)

_LOGINS_EVERY_S: Final = 10.0
_WAIT_S: Final = 1.0
#: Filled orders come by the hundred: they are looked at together, so long after the first of them.
_TOGETHER: Final = 500
_GATHER_S: Final = 0.1
_ORDERS: Final = """
SELECT id, user_id, symbol, side, filled_quantity, average_price FROM orders
 WHERE id = ANY ($1::uuid[]) AND user_id = ANY ($2::uuid[]) AND average_price IS NOT NULL ORDER BY updated_at, id
"""
_DELIVERY: Final = """
SELECT w.name, d.reason, d.received_at FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = $1 AND d.user_id = $2
"""
_KILL: Final = "SELECT issued_by, action, of_user_id, created_at FROM kill_commands WHERE id = $1"
_EVERYBODY: Final = "SELECT id FROM users WHERE is_active"
#: Whose money waits for that symbol's prices.
_CONCERNED: Final = "SELECT DISTINCT user_id AS id FROM positions WHERE symbol = $1 AND closed_at IS NULL AND quantity <> 0"
#: The same browser on the same system, whatever its version. Whoever logs in for the first time has no other device.
_LOGINS: Final = """
SELECT s.id, s.user_id, s.created_at, s.ip_address, s.user_agent FROM user_sessions s
 WHERE s.created_at > $1::timestamptz - interval '15 minutes' AND s.user_agent IS NOT NULL
   AND EXISTS (SELECT FROM user_sessions o WHERE o.user_id = s.user_id AND o.created_at < s.created_at)
   AND NOT EXISTS (
     SELECT FROM user_sessions o
      WHERE o.user_id = s.user_id AND o.created_at < s.created_at
        AND regexp_replace(coalesce(o.user_agent, ''), '[0-9.]+', '', 'g') = regexp_replace(s.user_agent, '[0-9.]+', '', 'g'))
"""
_SIDES: Final = {
    "buy": N_("Bought %(quantity)s %(symbol)s at %(price)s."),
    "sell": N_("Sold %(quantity)s %(symbol)s at %(price)s."),
}
_FEED: Final = {
    (False, False): N_("No fresh market data from %(exchange)s since %(since)s. No new orders of bots until it is back."),
    (False, True): N_("Market data from %(exchange)s is fresh again."),
    (True, False): N_("No closed candle of %(symbol)s at %(exchange)s since %(since)s."),
    (True, True): N_("The candles of %(symbol)s at %(exchange)s are not overdue any more."),
}
_ENDS: Final = {"completed": N_("Backtest #%(number)s has finished."), "failed": N_("Backtest #%(number)s has failed.")}
_KILLED: Final = N_("%(who)s pulled the kill switch. No new position is opened until trading is resumed.")
_REFUSED: Final = N_("An alert to %(webhook)s was not traded: %(reason)s")
_LOGIN: Final = N_("Somebody logged in as you from a device that you have not used before: %(device)s, address %(address)s.")


class Telling:
    """Listens, and puts notices.

    Args:
        database: The platform's.
        bus: What is listened to.
        lease: Whoever has this role looks for logins.
        clock: What time it is.
    """

    def __init__(self, database: Database, bus: EventBus, *, lease: LeaseHolder, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._lease = lease
        self._clock = clock
        self._tellers: dict[type, Callable[[Any, Any], Awaitable[None]]] = {
            DeliveryChanged: self._delivery,
            BacktestChanged: self._backtest,
            KillSwitchChanged: self._kill_switch,
            FeedAlert: self._feed,
        }

    async def run(self, beat: Beat) -> None:
        """Tell until cancelled."""
        logins_at: datetime | None = None
        with self._bus.subscribe(OrderChanged, *self._tellers, size=5000, wanted=_is_news) as heard:
            while True:
                await self.tell(*await _next(heard))
                now = self._clock.now()
                if self._lease.is_held and (logins_at is None or (now - logins_at).total_seconds() >= _LOGINS_EVERY_S):
                    logins_at = now
                    await self.tell_logins(now)
                beat()

    async def tell(self, *events: object) -> None:
        """Put what events come to; filled orders all together."""
        filled = [event for event in events if isinstance(event, OrderChanged)]
        for event in events:
            if not isinstance(event, OrderChanged):
                await self._putting(self._tellers[type(event)], event)
        if filled and not await self._putting(self._orders, filled) and len(filled) > 1:
            # One that cannot be told takes the others with it only so far.
            for event in filled:
                await self._putting(self._orders, [event])

    async def _putting(self, teller: Callable[[Any, Any], Awaitable[None]], told: object) -> bool:
        try:
            async with self._database.raw_transaction() as connection:
                await teller(connection, told)
        except Exception as error:  # one piece of news must not silence the others
            if not is_database_gone(error):
                log.exception("news_untold", event_type=type(told).__name__)
            return False
        return True

    async def tell_logins(self, now: datetime) -> None:
        """Put logins from devices that were not seen before."""
        async with self._database.raw_transaction() as connection:
            for row in await connection.fetch(_LOGINS, now):
                values = {"device": row["user_agent"], "address": row["ip_address"] or "?"}
                notice = _notice(
                    NoticeKind.NEW_LOGIN, Severity.WARNING, _LOGIN, values, "/account", f"login:{row['id']}", row["created_at"]
                )
                await put(connection, notice, user_id=row["user_id"])

    async def _orders(self, connection: Any, filled: Sequence[OrderChanged]) -> None:
        wanting = await who_wants(connection, NoticeKind.ORDER_FILLED, Severity.INFO, {event.user_id for event in filled})
        wanted = [event.order_id for event in filled if event.user_id in wanting]
        for row in await connection.fetch(_ORDERS, wanted, list(wanting)) if wanted else ():
            values = {"quantity": plain(row["filled_quantity"]), "symbol": row["symbol"], "price": plain(row["average_price"])}
            url, key = f"/history/orders/{row['id']}", f"filled:{row['id']}"
            notice = _notice(NoticeKind.ORDER_FILLED, Severity.INFO, _SIDES[row["side"]], values, url, key, self._clock.now())
            await put(connection, notice, user_id=row["user_id"])

    async def _delivery(self, connection: Any, event: DeliveryChanged) -> None:
        row = await connection.fetchrow(_DELIVERY, event.delivery_id, event.user_id)
        if row is None:
            return
        values = {"webhook": row["name"], "reason": row["reason"] or "?"}
        url, key = f"/webhooks/deliveries/{event.delivery_id}", f"denied:{event.delivery_id}"
        notice = _notice(NoticeKind.WEBHOOK_DENIED, Severity.WARNING, _REFUSED, values, url, key, row["received_at"])
        await put(connection, notice, user_id=event.user_id)

    async def _backtest(self, connection: Any, event: BacktestChanged) -> None:
        severity = Severity.INFO if event.state == "completed" else Severity.WARNING
        url, key = f"/backtests/{event.backtest_id}", f"backtest:{event.backtest_id}"
        values = {"number": event.number}
        notice = _notice(NoticeKind.BACKTEST_FINISHED, severity, _ENDS[event.state], values, url, key, self._clock.now())
        await put(connection, notice, user_id=event.user_id)

    async def _kill_switch(self, connection: Any, event: KillSwitchChanged) -> None:
        row = await connection.fetchrow(_KILL, event.command_id)
        if row is None:
            return
        key, values = f"kill:{event.command_id}", {"who": row["issued_by"]}
        notice = _notice(NoticeKind.KILL_SWITCH, Severity.ERROR, _KILLED, values, "/trading", key, row["created_at"])
        for user_id in await _users(connection, row["of_user_id"]):
            await put(connection, notice, user_id=user_id)

    async def _feed(self, connection: Any, event: FeedAlert) -> None:
        venue = venue_of(event.exchange)
        values: dict[str, object] = {"exchange": event.exchange if venue is None else venue.name, "since": event.since}
        if event.symbol is not None:
            values["symbol"] = event.symbol
        severity = Severity.INFO if event.is_over else Severity.WARNING if event.symbol else Severity.ERROR
        key = f"feed:{event.exchange}:{event.symbol or ''}:{event.since.isoformat()}:{'over' if event.is_over else 'begun'}"
        text = _FEED[event.symbol is not None, event.is_over]
        notice = _notice(NoticeKind.FEED_STALE, severity, text, values, "/heartbeat", key, self._clock.now())
        if event.symbol is None:
            users = await _users(connection, None)
        else:
            users = [row["id"] for row in await connection.fetch(_CONCERNED, event.symbol)]
        for user_id in users:
            await put(connection, notice, user_id=user_id)


async def _next(heard: Subscription[object]) -> list[object]:
    """What was heard, at most so much, in the order in which it happened; nothing after a while without news."""
    try:
        async with asyncio.timeout(_WAIT_S):
            first = await heard.get()
    except TimeoutError:
        return []
    found = [first]
    if isinstance(first, OrderChanged):
        await asyncio.sleep(_GATHER_S)
    while len(found) < _TOGETHER and (event := heard.get_nowait()) is not None:
        found.append(event)
    return found


async def _users(connection: Any, user_id: UUID | None) -> list[UUID]:
    return [user_id] if user_id is not None else [row["id"] for row in await connection.fetch(_EVERYBODY)]


def _is_news(event: object) -> bool:
    """Whether an event is one that is told: of the many that an order goes through, the last."""
    match event:
        case OrderChanged():
            return event.state is OrderState.FILLED
        case DeliveryChanged():
            return event.decision is Decision.DENIED
        case BacktestChanged():
            return event.state in _ENDS
    return True


def _notice(kind: NoticeKind, severity: Severity, text: str, values: dict[str, Any], url: str, key: str, at: datetime) -> Notice:
    return Notice(kind=kind, severity=severity, title=KINDS[kind].label, text=text, values=values, url=url, key=key, at=at)
