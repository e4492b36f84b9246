"""W0: a row for each request, committed, then the replies. Nothing is traded here, and the exchange is never waited for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from app.core.clock import Clock
from app.core.config import Settings
from app.core.crash_points import reach
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.outage import is_database_gone
from app.core.security import fingerprint
from app.errors import BadToken, BodyTooLarge
from app.trading.account import Account
from app.webhooks.accepting import ACCEPT, ACCEPT_ONE
from app.webhooks.events import DeliveryChanged
from app.webhooks.group import GroupCommit
from app.webhooks.models import Decision
from app.webhooks.rate import Buckets, Trials
from app.webhooks.reading import delivery_key, masked_text
from app.webhooks.senders import Senders

log = structlog.get_logger(__name__)

LARGEST_BODY: Final = 64 * 1024
_KEPT_OF_REFUSED: Final = 2048
_STRANGERS_PER_MINUTE: Final = 30
#: Of a user who has more than so many deliveries waiting none is handed over: the inbox reads them, in order.
MOST_AHEAD: Final = 1000
#: TradingView hangs up after three seconds. Whoever waits longer waits for a connection that is dead without having said so.
_ANSWERED_WITHIN_S: Final = 10.0
_FOR_EVER: Final = timedelta(days=36500)
_REFUSE: Final = """
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, ip_address, content_type, raw, size, decision, code, reason, done_at)
SELECT $1, h.id, h.user_id, $2, $3, $4, $5, $6, 'unreadable', $7, $8, $2
  FROM (SELECT 1) one LEFT JOIN webhooks h ON h.secret_hash = $9 AND h.removed_at IS NULL
RETURNING user_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that waits to be acted on. `started_ns` is monotonic, for the latencies of the log.

    `account` is the webhook's; of a replay the paper account. `rules` and `max_age_s` are the webhook's as they were when the delivery
    came; None: the inbox reads them. `progress` is what a process before this one has written of its steps. `ahead` are the deliveries of
    its user that waited when it was stored, whichever process took them; None: too many to name.
    """

    id: UUID
    webhook_id: UUID
    user_id: UUID
    account: Account | None
    raw: bytes
    received_at: datetime
    started_ns: int | None = None
    rules: Mapping[str, Any] | None = None
    max_age_s: int | None = None
    replay_of: UUID | None = None
    is_test: bool = False
    progress: Mapping[str, float] = field(default_factory=dict)
    ahead: frozenset[UUID] | None = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of an alert so far, and the delivery if there is something to do.

    `is_foreign`: it came from somebody who may not send here, and who is not to learn that there is such a list.
    """

    delivery_id: UUID
    decision: Decision
    delivery: Delivery | None
    is_foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An incoming request, as far as we look at it."""

    secret: str
    body: bytes
    ip_address: str | None
    content_type: str | None
    started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A request on its way into the table.

    `sender` is its address if it is certainly the sender's. `text` is what is stored and acted on: nobody reads anything else later.
    """

    id: UUID
    at: datetime
    request: Request
    sender: str | None
    secret_hash: bytes
    key: bytes
    expires_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """The row of an arrival, None when no webhook has that address, and what of its user waited then (see `Delivery.ahead`)."""

    row: Any
    ahead: frozenset[UUID] | None


class Door:
    """Where alerts come in. Without `senders` nobody's address is known, and no webhook's list of them counts."""

    def __init__(
        self, database: Database, bus: EventBus, clock: Clock, *, repeat_window: timedelta, senders: Senders | None = None
    ) -> None:
        self.senders = senders
        self.trials = Trials(clock)
        self._database = database
        self._bus = bus
        self._clock = clock
        self._repeat_window = repeat_window
        self._strangers: list[datetime] = []
        self._buckets = Buckets()
        self._group: GroupCommit[_Arrival, _Kept] = GroupCommit(self._keep)

    @classmethod
    def of(cls, settings: Settings, database: Database, bus: EventBus, clock: Clock) -> "Door":
        """Return the door that the settings describe."""
        window = timedelta(seconds=settings.webhook_repeat_window_s)
        return cls(database, bus, clock, repeat_window=window, senders=Senders(settings))

    async def receive(self, request: Request) -> Received:
        """Keep the delivery, together with those that arrive at the same time, and say whether it will be acted on.

        Raises:
            BadToken: no webhook has that address; the attempt is kept for the administrator.
            NotKept: it was not stored, as far as is known; sent again, it is recognised if it was.
        """
        reach("P_INBOX_BEFORE")
        arrival = self._arrival(request)
        kept = await self._group.put(arrival, size=len(request.body))
        row = kept.row
        reach("P_INBOX_AFTER")
        if row is None:
            await self._note_stranger(request, arrival.at)
            raise BadToken
        decision = Decision(row["decision"])
        self._bus.publish(DeliveryChanged(user_id=row["user_id"], delivery_id=arrival.id, decision=decision))
        waiting = _waiting(kept, arrival) if decision is Decision.PENDING else None
        return Received(delivery_id=arrival.id, decision=decision, delivery=waiting, is_foreign=not row["may_send"])

    def _arrival(self, request: Request) -> _Arrival:
        delivery_id, now = new_id(), self._clock.now()
        key, is_for_ever = delivery_key(request.body, now=now)
        window = _FOR_EVER if is_for_ever else self._repeat_window
        return _Arrival(
            id=delivery_id,
            at=now,
            request=request,
            sender=None if self.senders is None else self.senders.known(request.ip_address),
            secret_hash=fingerprint(request.secret),
            # Without a window nothing is a repeat, not even of what arrives at the same moment.
            key=key if window else delivery_id.bytes,
            expires_at=now + window,
            text=masked_text(as_text(request.body)),
        )

    async def _keep(self, arrivals: Sequence[_Arrival]) -> Sequence[_Kept | Exception]:
        """Keep a batch. If the database refuses it as a whole, each is kept by itself, so that an odd one spoils nobody else's."""
        try:
            return await self._keep_together(arrivals)
        except asyncpg.PostgresError as error:
            # The server has answered, so nothing of the statement was stored. From a database that is gone there is no such word.
            if len(arrivals) == 1 or is_database_gone(error):
                raise
            log.exception("batch_refused", count=len(arrivals))
        found: list[_Kept | Exception] = []
        for arrival in arrivals:
            try:
                found += await self._keep_together([arrival])
            except asyncpg.PostgresError as error:
                found.append(error)
        return found

    async def _keep_together(self, arrivals: Sequence[_Arrival]) -> list[_Kept]:
        now = self._clock.now()
        levels = [self._buckets.level(arrival.secret_hash, now) for arrival in arrivals]
        columns: list[list[Any]] = [
            [arrival.id for arrival in arrivals],
            [arrival.secret_hash for arrival in arrivals],
            [arrival.key for arrival in arrivals],
            [arrival.at for arrival in arrivals],
            [arrival.expires_at for arrival in arrivals],
            [arrival.request.ip_address for arrival in arrivals],
            [arrival.sender for arrival in arrivals],
            [arrival.request.content_type for arrival in arrivals],
            [arrival.text for arrival in arrivals],
            [len(arrival.request.body) for arrival in arrivals],
            [None if level is None else level.tokens for level in levels],
            [None if level is None else level.elapsed_s for level in levels],
        ]
        # The earliest of them judges which windows are over: rather one repeat too many than one order.
        judged_at = min(arrival.at for arrival in arrivals)
        values = [column[0] for column in columns] if len(arrivals) == 1 else columns
        statement = ACCEPT_ONE if len(arrivals) == 1 else ACCEPT
        async with self._database.fast_connection() as connection:
            named = MOST_AHEAD + 1
            rows = await connection.fetch(statement, *values, judged_at, _KEPT_OF_REFUSED, named, timeout=_ANSWERED_WITHIN_S)
        found = _by_place(rows, len(arrivals))
        self._count(arrivals, found, now)
        return found

    def _count(self, arrivals: Sequence[_Arrival], kept: Sequence[_Kept], now: datetime) -> None:
        """Take a token for each delivery that will be traded."""
        left: dict[bytes, float] = {}
        for arrival, one in zip(arrivals, kept, strict=True):
            if one.row is not None and one.row["allowance"] is not None:
                taken = one.row["decision"] == Decision.PENDING.value
                left[arrival.secret_hash] = left.get(arrival.secret_hash, one.row["allowance"]) - taken
        for secret_hash, tokens in left.items():
            self._buckets.set(secret_hash, tokens, now)

    async def refuse_too_large(self, request: Request, size: int) -> None:
        """Keep the first bytes of a body that is too large, and refuse it.

        Raises:
            BodyTooLarge: always.
            BadToken: no webhook has that address.
        """
        now = self._clock.now()
        detail = f"the message may have at most {LARGEST_BODY} bytes, was at least {size}"
        async with self._database.connection() as connection:
            known = await connection.fetchval(
                "SELECT user_id FROM webhooks WHERE secret_hash = $1 AND removed_at IS NULL", fingerprint(request.secret)
            )
        if known is None:
            await self._note_stranger(request, now)
            raise BadToken
        await self._keep_refused(request, now, code=BodyTooLarge.default_code, reason=detail, size=size)
        raise BodyTooLarge(detail)

    async def _note_stranger(self, request: Request, now: datetime) -> None:
        """Keep attempts on unknown addresses, but only so many: anyone can send them, and the disk is ours."""
        log.warning("webhook_unknown", ip_address=request.ip_address, size=len(request.body))
        self._strangers = [at for at in self._strangers if now - at < timedelta(minutes=1)]
        if len(self._strangers) < _STRANGERS_PER_MINUTE:
            self._strangers.append(now)
            await self._keep_refused(request, now, code=BadToken.default_code, reason="no webhook has that address", size=len(request.body))

    async def _keep_refused(self, request: Request, now: datetime, *, code: str, reason: str, size: int) -> None:
        delivery_id = new_id()
        async with self._database.connection() as connection:
            user_id = await connection.fetchval(
                _REFUSE,
                delivery_id,
                now,
                request.ip_address,
                request.content_type,
                masked_text(as_text(request.body[:_KEPT_OF_REFUSED])),
                size,
                code,
                reason,
                fingerprint(request.secret),
            )
        if user_id is not None:
            self._bus.publish(DeliveryChanged(user_id=user_id, delivery_id=delivery_id, decision=Decision.UNREADABLE))


def _by_place(rows: Sequence[Any], count: int) -> list[_Kept]:
    """What was kept of each arrival. Of those that came together none is ahead of another: they are handed over as they came."""
    ahead = {
        row["user_id"]: frozenset(row["ahead"]) if len(row["ahead"]) <= MOST_AHEAD else None for row in rows if row["ahead"] is not None
    }
    kept = {row["place"]: _Kept(row, ahead.get(row["user_id"], frozenset())) for row in rows}
    return [kept.get(place, _Kept(None, frozenset())) for place in range(1, count + 1)]


def _waiting(kept: _Kept, arrival: _Arrival) -> Delivery:
    row = kept.row
    return Delivery(
        id=arrival.id,
        webhook_id=row["webhook_id"],
        user_id=row["user_id"],
        account=account_of(row),
        raw=arrival.text.encode(),
        received_at=arrival.at,
        started_ns=arrival.request.started_ns,
        rules=row["rules"],
        max_age_s=row["max_age_s"],
        ahead=kept.ahead,
    )


def account_of(row: Any) -> Account | None:
    """Return the account that a delivery's webhook trades on; None when it is gone or there is none yet."""
    if row["broker_id"] is None:
        return None
    return Account(id=row["broker_id"], exchange=row["exchange"], is_active=row["broker_is_active"], paused_reason=row["paused_reason"])


def as_text(body: bytes) -> str:
    """Return a body as text that PostgreSQL can keep: what is not UTF-8 and NUL become U+FFFD."""
    return body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
