"""What stops entries without anybody asking: too many refusals, a day's loss, an exchange that is away. A person resumes trading.

Level-triggered: every look reads the tables anew, so nothing that happened while nobody looked is missed. The rules of the gate hold at
once; this loop turns what they found into a state that stays and is shown.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from app.core.supervisor import Beat
from app.domain.enums import OrderState, TradingState
from app.domain.instruments import plain
from app.domain.limits import DEFAULTS
from app.domain.risk import Scope
from app.trading import states
from app.trading.desk import Desk
from app.trading.events import FillRecorded, OrderChanged
from app.trading.limits import in_usdt
from app.trading.portfolio import start_of_day

#: The causes, by which `states.rearm` and the log know them.
TOO_MANY_REJECTS: Final = "TOO_MANY_REJECTS"
MAX_DAILY_LOSS: Final = "MAX_DAILY_LOSS"
EXCHANGE_AWAY: Final = "EXCHANGE_AWAY"
CLOCK_UNSURE: Final = "CLOCK_UNSURE"
_EVERY_S: Final = 2.0
_REST_S: Final = 0.2
_MINUTE: Final = timedelta(minutes=1)
#: An exchange that has been away, or a clock that has been unsure, for less than this comes back without anybody's help.
_PATIENCE: Final = timedelta(seconds=60)
#: Refusals before the last resuming by hand are forgiven: otherwise it would end at once.
_REJECTS: Final = """
WITH refused AS (
  SELECT o.broker_id, o.user_id, o.updated_at FROM orders o WHERE o.state = 'rejected' AND o.updated_at > $1),
scoped AS (
  SELECT broker_id::text AS key, broker_id, user_id, updated_at FROM refused
  UNION ALL SELECT r.user_id::text, NULL, r.user_id, r.updated_at FROM refused r),
limited AS (
  SELECT s.*, coalesce(l.rejects_per_minute, CASE WHEN s.broker_id IS NOT NULL THEN $3::int END) AS most
    FROM scoped s LEFT JOIN risk_limits l ON l.scope_id = s.key::uuid)
SELECT key, broker_id, user_id, most, count(*) AS rejects FROM limited f
 WHERE most IS NOT NULL AND updated_at > coalesce(
         (SELECT max(g.at) FROM trading_state_log g WHERE g.key = f.key AND g.code = $2 AND g.action = 'rearmed'), '-infinity')
 GROUP BY key, broker_id, user_id, most HAVING count(*) > most
"""
#: Whoever resumed by hand today knows of the loss: then only the gate's rule goes on refusing entries, until the limit is changed.
_LOSSES: Final = """
SELECT l.user_id, l.broker_id, l.max_daily_loss,
       coalesce(b.exchange, (SELECT exchange FROM brokers WHERE user_id = l.user_id ORDER BY is_default DESC LIMIT 1)) AS exchange,
       (SELECT jsonb_object_agg(d.quote, d.realized::text)
          FROM (SELECT quote, sum(realized) AS realized FROM daily_results
                 WHERE user_id = l.user_id AND day = $1::date AND (l.broker_id IS NULL OR broker_id = l.broker_id)
                 GROUP BY quote) d) AS results
  FROM risk_limits l LEFT JOIN brokers b ON b.id = l.broker_id
 WHERE l.max_daily_loss IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM trading_states s WHERE s.key = l.scope_id::text AND s.code = $2)
   AND NOT EXISTS (SELECT 1 FROM trading_state_log g WHERE g.key = l.scope_id::text AND g.code = $2 AND g.action = 'rearmed'
                      AND g.at >= greatest(l.updated_at, $3::timestamptz))
"""
_ACCOUNTS: Final = """
SELECT id, user_id FROM brokers WHERE exchange = $1 AND is_testnet = $2 AND is_active AND removed_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM trading_states s WHERE s.key = brokers.id::text AND s.code = $3)
"""


class VenueHealth(Protocol):
    """How one venue address is doing, as far as entries depend on it."""

    @property
    def exchange(self) -> str:
        """Which exchange."""

    @property
    def is_testnet(self) -> bool:
        """Whether its play-money side."""

    @property
    def open_since(self) -> datetime | None:
        """Since when no request gets through; None while they do."""

    @property
    def is_clock_sure(self) -> bool:
        """Whether the difference between its clock and ours is known."""


class TripWatch:
    """Looks whether entries must stop; `run` is a supervised loop."""

    def __init__(self, desk: Desk, *, venues: Callable[[], Iterable[VenueHealth]]) -> None:
        self._desk = desk
        self._venues = venues
        self._unsure_since: dict[tuple[str, bool], datetime] = {}

    async def run(self, beat: Beat) -> None:
        """Look every two seconds, and soon after a fill or a refusal, while the role is ours, until cancelled."""
        with self._desk.bus.subscribe(FillRecorded, OrderChanged) as events:
            while True:
                beat()
                if self._desk.lease.is_held:
                    await self.once()
                await asyncio.sleep(_REST_S)
                await _something_to_see(events)

    async def once(self) -> None:
        """Look once."""
        now = self._desk.clock.now()
        await self._rejects(now)
        await self._losses(now)
        await self._away(now)

    async def _rejects(self, now: datetime) -> None:
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_REJECTS, now - _MINUTE, TOO_MANY_REJECTS, DEFAULTS.rejects_per_minute)
        for row in rows:
            reason = f"the exchange has refused {row['rejects']} orders within a minute, the limit is {row['most']}"
            await self._reduce(_scope(row), TOO_MANY_REJECTS, reason)

    async def _losses(self, now: datetime) -> None:
        midnight = start_of_day(now)
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_LOSSES, midnight.date(), MAX_DAILY_LOSS, midnight)
        for row in rows:
            results = {quote: Decimal(text) for quote, text in (row["results"] or {}).items()}
            lost = in_usdt(results, self._desk.quotes, row["exchange"] or "")
            if lost is not None and lost >= row["max_daily_loss"]:
                limit = plain(row["max_daily_loss"])
                await self._reduce(_scope(row), MAX_DAILY_LOSS, f"{plain(lost)} USDT were lost today (UTC), the limit is {limit} USDT")

    async def _away(self, now: datetime) -> None:
        for venue in self._venues():
            place = (venue.exchange, venue.is_testnet)
            if venue.open_since is not None and now - venue.open_since > _PATIENCE:
                seconds = int((now - venue.open_since).total_seconds())
                await self._reduce_all(place, EXCHANGE_AWAY, f"{venue.exchange} has not been reachable for {seconds} s")
            if venue.is_clock_sure:
                self._unsure_since.pop(place, None)
            elif now - self._unsure_since.setdefault(place, now) > _PATIENCE:
                reason = f"this server's clock could not be compared with that of {venue.exchange} for a minute"
                await self._reduce_all(place, CLOCK_UNSURE, reason)

    async def _reduce_all(self, place: tuple[str, bool], code: str, reason: str) -> None:
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_ACCOUNTS, *place, code)
        for row in rows:
            await self._reduce(Scope.broker(row["id"], row["user_id"]), code, reason)

    async def _reduce(self, scope: Scope, code: str, reason: str) -> None:
        await states.trip(self._desk, scope, state=TradingState.REDUCING, code=code, reason=reason)


def _scope(row: Any) -> Scope:
    return Scope.user(row["user_id"]) if row["broker_id"] is None else Scope.broker(row["broker_id"], row["user_id"])


async def _something_to_see(events: Any) -> None:
    """Wait for a fill or a refusal, or until it is time to look anyway."""
    until = time.monotonic() + _EVERY_S
    while (left_s := until - time.monotonic()) > 0:
        try:
            event = await asyncio.wait_for(events.get(), left_s)
        except TimeoutError:
            return
        if isinstance(event, FillRecorded) or (isinstance(event, OrderChanged) and event.state is OrderState.REJECTED):
            while events.get_nowait() is not None:
                pass
            return
