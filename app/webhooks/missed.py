"""Alerts that did not come: a webhook with an interval is expected to send one as each candle of that length closes.

The candles are the venue's, so its time counts as long as the feed is fresh, and ours otherwise. An alert has one period and a minute to
come. Nothing is called missed of what closed while this process could not have received it or did not look: before it took the role,
while the database was away, or while the machine slept.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from app.core.clock import SystemClock
from app.core.i18n import N_
from app.core.ids import id_of, oldest_id
from app.core.supervisor import Beat
from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.status import FeedStatus
from app.trading.desk import Desk
from app.trading.outbox import NoticeKind, put
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision

log = structlog.get_logger(__name__)

#: How long after its period an alert may come.
GRACE: Final = timedelta(minutes=1)
_POLL_S: Final = 5.0
#: A round so long after the one before means that nobody looked meanwhile.
_SLEPT: Final = timedelta(minutes=1)
#: The venue's clock and ours are known to a few seconds: an alert may seem to come before its candle has closed.
_EARLY: Final = timedelta(seconds=5)
#: Ids carry the machine's time, and a delivery's is made a moment before or after its `received_at` is read.
_ID_MARGIN: Final = timedelta(minutes=1)
_MOST_CLOSES: Final = 100

_HOOKS: Final = """
SELECT id, interval, expected_from FROM webhooks
 WHERE is_active AND removed_at IS NULL AND interval IS NOT NULL AND expected_from IS NOT NULL
"""
#: Of the alerts after the period the first is the next candle's, so only a second one can be the late one's. A repeat shows that the sender
#: lives, and is not another alert. What strangers sent, tests and replays tell nothing.
_MISS: Final = """
WITH due AS (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
                       $9::text[]) AS d (id, previous_id, oldest_id, webhook_id, interval, opened_at, closed_at, over_at, reason)),
put AS (
  INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision, code, reason, done_at)
  SELECT due.id, h.id, h.user_id, $10, '', 0, 'missed', 'ALERT_MISSED', due.reason, $10
    FROM due JOIN webhooks h
      ON h.id = due.webhook_id AND h.is_active AND h.removed_at IS NULL AND h.interval = due.interval AND h.expected_from < due.opened_at
   CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE d.received_at < due.closed_at) AS in_time,
             count(*) FILTER (WHERE d.received_at >= due.closed_at AND d.decision <> 'duplicate') AS after
        FROM webhook_deliveries d
       WHERE d.webhook_id = h.id AND d.id > due.oldest_id AND d.received_at >= due.opened_at AND d.received_at < due.over_at
         AND d.decision <> 'missed' AND coalesce(d.code, '') NOT IN ('HOOK_SENDER', 'HOOK_SENDER_UNREADABLE')
         AND NOT d.is_test AND d.replay_of IS NULL) came
   WHERE came.in_time = 0 AND came.after < 2
  ON CONFLICT (id) DO NOTHING RETURNING id, webhook_id, user_id, reason)
SELECT put.*, h.name, h.broker_id, NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.id = due.previous_id)
          AND NOT EXISTS (SELECT 1 FROM put before WHERE before.id = due.previous_id) AS is_first
  FROM put JOIN due ON due.id = put.id JOIN webhooks h ON h.id = put.webhook_id ORDER BY put.id
"""


_REASON: Final = N_(
    "no alert came for the %(timeframe)s candle that closed at %(close)s UTC, within one period and a minute: look whether the alert still"
    " runs where it is sent from"
)


class Feed(Protocol):
    """What tells the venue's time."""

    async def status(self) -> FeedStatus:
        """Return how the feed is doing."""

    def venue_now(self, feed: FeedStatus) -> datetime:
        """Return the venue's time; ours where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A close whose alert should have come by now. Its moment is the venue's; `ours` is the same moment by our clock."""

    webhook_id: UUID
    timeframe: Timeframe
    close: datetime
    ours: datetime

    def id(self, *, before: int = 0) -> UUID:
        """The one id of the row that says so, or of the one so many closes before: whoever finds it missed stores the same row."""
        close = self.close - before * self.timeframe.duration
        over = close + self.timeframe.duration + GRACE
        return id_of(f"missed:{self.webhook_id}:{self.timeframe}:{to_milliseconds(close)}", milliseconds=to_milliseconds(over))

    @property
    def reason(self) -> str:
        return _REASON % {"timeframe": self.timeframe, "close": f"{self.close:%Y-%m-%d %H:%M}"}


class MissedAlerts:
    """Looks for alerts that are overdue, while this process holds the engine role."""

    def __init__(self, desk: Desk, feed: Feed) -> None:
        self._desk = desk
        self._feed = feed
        self._since: datetime | None = None
        self._looked_at: datetime | None = None
        #: Each webhook's newest close that was looked at.
        self._done: dict[UUID, datetime] = {}

    async def run(self, beat: Beat) -> None:
        """Look until cancelled. What happened before it began, after a failure too, is not held against anybody."""
        self._since = None
        while True:
            if self._desk.lease.is_held:
                await self.once()
            else:
                self._since = None
            beat()
            await asyncio.sleep(_POLL_S)

    async def once(self) -> int:
        """Write down what is overdue, tell of it, and return how much that was."""
        desk = self._desk
        ours = desk.clock.now()
        feed = await self._feed.status()
        venue = self._feed.venue_now(feed) if feed.is_fresh else ours
        if self._since is None or self._looked_at is None or ours - self._looked_at > _SLEPT:
            self._since = venue
            self._done.clear()
        self._looked_at = ours
        async with desk.database.connection() as connection:
            hooks = await connection.fetch(_HOOKS)
        due = [found for hook in hooks for found in self._due(hook, self._since, venue, ahead=venue - ours)]
        missed = await self._write(due, ours) if due else []
        for found in due:
            self._done[found.webhook_id] = found.close
        for row in missed:
            log.warning("alert_missed", webhook_id=str(row["webhook_id"]), reason=row["reason"])
            desk.bus.publish(DeliveryChanged(user_id=row["user_id"], delivery_id=row["id"], decision=Decision.MISSED))
        return len(missed)

    def _due(self, hook: Any, since: datetime, venue: datetime, *, ahead: timedelta) -> Iterator[_Due]:
        timeframe = Timeframe(hook["interval"])
        newest = timeframe.floor(venue - timeframe.duration - GRACE)
        oldest = max(since, hook["expected_from"] + ahead)
        if hook["id"] in self._done:
            oldest = max(oldest, self._done[hook["id"]])
        close = max(timeframe.floor(oldest) + timeframe.duration, newest - _MOST_CLOSES * timeframe.duration)
        while close <= newest:
            yield _Due(webhook_id=hook["id"], timeframe=timeframe, close=close, ours=close - ahead)
            close += timeframe.duration

    async def _write(self, due: list[_Due], now: datetime) -> list[Any]:
        async with self._desk.database.raw_transaction() as connection:
            rows: list[Any] = await connection.fetch(
                _MISS,
                [found.id() for found in due],
                [found.id(before=1) for found in due],
                [_ids_since(found.ours - _EARLY, now) for found in due],
                [found.webhook_id for found in due],
                [found.timeframe.value for found in due],
                [found.ours - _EARLY for found in due],
                [found.ours + found.timeframe.duration - _EARLY for found in due],
                [found.ours + found.timeframe.duration + GRACE for found in due],
                [found.reason for found in due],
                now,
            )
            for row in rows:
                if row["is_first"]:  # of those that are missed in a row: what is dead is told once
                    name, reason = row["name"], row["reason"]
                    text = f"Webhook {name}: {reason}"
                    await put(
                        connection, NoticeKind.ALERT_MISSED, text, user_id=row["user_id"], broker_id=row["broker_id"], at=now,
                        webhook_id=str(row["webhook_id"]),
                    )  # fmt: skip
        return rows


def _ids_since(moment: datetime, now: datetime) -> UUID:
    """Return an id that is smaller than those of all deliveries since `moment`: ids carry the machine's time, whatever `now` goes by."""
    return oldest_id(milliseconds=to_milliseconds(SystemClock().now() - (now - moment) - _ID_MARGIN))
