"""The inbox: deliveries are queued, worked and decided. The table is the truth; what the door hands over is only faster.

A delivery that was not finished when the process died is found again by the poll, and its orders have the same keys, so what had been
traded is found, not traded twice. What may be at once and what must wait is in `lanes`; what is done in `acting`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from app.core.i18n import N_
from app.core.supervisor import Beat
from app.core.waiting import happens_within
from app.errors import AppError, BadPayload, Fenced
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.webhooks.acting import Actor
from app.webhooks.alert import Reading
from app.webhooks.deciding import decide
from app.webhooks.errand import Errand, marks_of, places_of
from app.webhooks.lanes import Lanes, Turn
from app.webhooks.models import Decision
from app.webhooks.outcome import Outcome, of_order, whole
from app.webhooks.reading import read_message
from app.webhooks.receive import Delivery, account_of
from app.webhooks.rehearsal import rehearse
from app.webhooks.rules import HookRules

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0
_POLL_BEHIND_S: Final = 0.5
#: However many ask for one: between two polls the queue is worked.
_REST_S: Final = 0.05
_PURGE_EVERY_S: Final = 3600.0
#: Deliveries that were decided a moment ago: a poll that began before may still find them pending.
_REMEMBERED: Final = 10_000
#: At most so many of one webhook, so that one whose alerts wait cannot hide the others'.
_AT_ONCE: Final = 200
_TERMS: Final = "h.rules, h.max_age_s"
#: What was read of its webhook when a delivery came holds for so long; whoever waits longer is asked about anew.
_FRESH: Final = timedelta(seconds=1)
_STOPPED: Final = Outcome(decision=Decision.PAUSED, reason=N_("this webhook was paused or removed before the server came to it"))
#: What a replay trades on was chosen when it was made.
_ACCOUNT: Final = """
b.user_id = h.user_id AND b.removed_at IS NULL
    AND CASE WHEN d.replay_of IS NOT NULL THEN b.id = d.broker_id WHEN h.broker_id IS NULL THEN b.is_default ELSE b.id = h.broker_id END"""
#: The join goes by the row's id alone: by what waits too, it would look through all that waits for each of them.
_PENDING: Final = f"""
SELECT d.id, d.webhook_id, d.user_id, CASE WHEN d.id = ANY ($1::uuid[]) THEN '' ELSE d.raw END AS raw, d.received_at,
       d.replay_of, d.is_test, d.latencies_ms, queued.place, {_TERMS},
       b.id AS broker_id, b.exchange, b.is_active AS broker_is_active, b.paused_reason
  FROM (SELECT id, row_number() OVER (PARTITION BY webhook_id ORDER BY received_at, id) AS place
          FROM webhook_deliveries WHERE decision = 'pending') queued
  JOIN webhook_deliveries d ON d.id = queued.id
  JOIN webhooks h ON h.id = d.webhook_id
  LEFT JOIN brokers b ON {_ACCOUNT}
 WHERE queued.place <= {_AT_ONCE} ORDER BY d.received_at, d.id
"""  # noqa: S608  # constants
_RULES: Final = f"""
SELECT {_TERMS}, h.is_active AND h.removed_at IS NULL AS is_open FROM webhooks h WHERE h.id = $1 AND h.user_id = $2
"""  # noqa: S608  # a constant
_MADE: Final = "SELECT * FROM orders WHERE delivery_id = $1 ORDER BY created_at, id"
#: Of rows that the door has locked it locks none: the two take several, each in its own order. A round takes so many that no alert waits.
_PURGE: Final = """
DELETE FROM webhook_replays r USING (
  SELECT webhook_id, body_key FROM webhook_replays WHERE expires_at < now() - interval '1 hour' LIMIT 5000 FOR UPDATE SKIP LOCKED) old
 WHERE r.webhook_id = old.webhook_id AND r.body_key = old.body_key
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A delivery with what was read of it, or why it could not be read."""

    delivery: Delivery
    reading: Reading | None
    error: AppError | None
    read_ms: float


class Inbox:
    """Works off deliveries while this process holds the engine role."""

    def __init__(self, desk: Desk, *, read: Callable[[bytes], Reading] = read_message) -> None:
        self._desk = desk
        self._read = read
        self._actor = Actor(desk)
        self._lanes = Lanes()
        #: Queued or being worked.
        self._active: set[UUID] = set()
        self._decided: OrderedDict[UUID, None] = OrderedDict()
        self._group: asyncio.TaskGroup | None = None
        #: Until the poll has come to all that is older, what the door hands over would overtake it: of everybody's, or of these webhooks'.
        self._is_behind = True
        self._behind: set[UUID] = set()
        #: Users of whom something was left to a poll, with the number of the newest one that had begun by then and so may not bring it.
        self._left: dict[UUID, int] = {}
        self._polls = 0
        self._wanted = asyncio.Event()

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery that was just committed. Without the role, or before the loop runs, the poll of its owner finds it.

        One of whose user something waits that is not known here is left to a poll too, and so is what comes behind it: another process
        took what is ahead, or its sender hung up before it was offered.
        """
        # The poll may have found it before whoever stored it got to offer it, and be done with it already.
        if self._group is None or not self._desk.lease.is_held or self._is_known(delivery.id):
            return
        if self._would_overtake(delivery):
            self._left[delivery.user_id] = self._polls
            self.ask_for_poll()
        else:
            self._enqueue(delivery)

    def _would_overtake(self, delivery: Delivery) -> bool:
        if self._is_behind or delivery.webhook_id in self._behind or delivery.user_id in self._left:
            return True
        return delivery.ahead is None or not all(map(self._is_known, delivery.ahead))

    def ask_for_poll(self) -> None:
        """Let the next poll begin at once, and not within a second."""
        self._wanted.set()

    def _is_known(self, delivery_id: UUID) -> bool:
        return delivery_id in self._active or delivery_id in self._decided

    async def run(self, beat: Beat) -> None:
        """Work until cancelled."""
        purged_at = float("-inf")  # the monotonic clock may have begun when the machine did, a moment ago
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    self._wanted.clear()
                    if self._desk.lease.is_held:
                        await self._poll()
                        if time.monotonic() - purged_at > _PURGE_EVERY_S and not await self._purge():
                            purged_at = time.monotonic()
                    beat()
                    await self._rest()
        finally:
            self._group = None
            self._lanes = Lanes()
            self._active.clear()
            self._decided.clear()
            self._left.clear()
            self._is_behind = True

    async def _rest(self) -> None:
        if self._behind:  # its polls are dear, and another one would not bring more
            await asyncio.sleep(_POLL_BEHIND_S)
        else:
            await asyncio.sleep(_REST_S)
            await happens_within(self._wanted, _POLL_S - _REST_S)

    async def _poll(self) -> None:
        self._polls += 1
        # Of those that wait in line the messages are known: up to 64 KiB each, twice a second.
        known = set(self._active)
        rows = await _pending(self._desk, known)
        # From here on nothing is offered in between: what the poll has read goes before it.
        self._behind = {row["webhook_id"] for row in rows if row["place"] == _AT_ONCE}
        for row in rows:
            if row["id"] in known and not self._is_known(row["id"]):
                return  # given up meanwhile: the next round reads it, and all that came behind it
            if not self._is_known(row["id"]):
                self._enqueue(_delivery_of(row))
        self._is_behind = False
        self._left = {user_id: number for user_id, number in self._left.items() if number >= self._polls}

    async def _purge(self) -> bool:
        """Forget bodies whose time is over; whether there were any, and so perhaps more."""
        async with self._desk.database.connection() as connection:
            return str(await connection.execute(_PURGE)) != "DELETE 0"

    def _enqueue(self, delivery: Delivery) -> None:
        started_ns = time.perf_counter_ns()
        reading, error = self._understood(delivery)
        read_ms = (time.perf_counter_ns() - (delivery.started_ns or started_ns)) / 1e6
        item = _Item(delivery=delivery, reading=reading, error=error, read_ms=round(read_ms, 1))
        places = places_of(delivery, () if reading is None else reading.alerts)
        self._active.add(delivery.id)
        self._lanes.enter(Turn(places=places, begin=partial(self._begin, item), forget=partial(self._forget, item)))

    def _understood(self, delivery: Delivery) -> tuple[Reading | None, AppError | None]:
        try:
            return self._read(delivery.raw), None
        except BadPayload as error:
            return None, error
        except Exception:  # a message that breaks the reader must not stop the others, nor the answer to its sender
            log.exception("delivery_unread", delivery_id=str(delivery.id))
            return None, AppError()

    def _begin(self, item: _Item, turn: Turn) -> None:
        assert self._group is not None  # noqa: S101  # offered and polled only while the loop runs
        self._group.create_task(self._work(item, turn), name=f"webhook:{item.delivery.webhook_id}")

    def _forget(self, item: _Item, _turn: Turn) -> None:
        self._active.discard(item.delivery.id)

    async def _work(self, item: _Item, turn: Turn) -> None:
        is_done = False
        try:
            is_done = await self._one(item)
        finally:
            self._active.discard(item.delivery.id)
            if is_done:
                self._decided[item.delivery.id] = None
                if len(self._decided) > _REMEMBERED:
                    self._decided.popitem(last=False)
            else:
                # What waits behind must not overtake. Whoever holds the role finds all of it in order.
                self._is_behind = True
            self._lanes.leave(turn, is_lost=not is_done)

    async def _one(self, item: _Item) -> bool:
        """Act on one delivery and decide it; False when this process may no longer act."""
        delivery = item.delivery
        try:
            outcome = await self._outcome(item)
        except Fenced:
            return False
        except Exception:  # whatever one alert does must not stop the others
            log.exception("delivery_failed", delivery_id=str(delivery.id))
            # If this fails too, the database is gone: the loop restarts, and the poll finds the delivery still pending.
            outcome = await self._after_failure(item)
        try:
            marks = await decide(self._desk, delivery, outcome, item.reading, read_ms=item.read_ms)
        except asyncpg.DataError:  # what is to be written down cannot be; left pending, it would come again for ever and stop everybody
            log.exception("decision_unwritable", delivery_id=str(delivery.id))
            marks = await decide(self._desk, delivery, _untold(outcome), None, read_ms=item.read_ms)
        for mark in marks:
            self._actor.marks.wrote(delivery.webhook_id, mark)
        return True

    async def _outcome(self, item: _Item) -> Outcome:
        if item.reading is None:
            error = item.error or AppError()
            if not isinstance(error, BadPayload):
                return _broken()
            return Outcome(decision=Decision.UNREADABLE, code=error.code, reason=error.message)
        errand, is_open = await self._errand(item.delivery, item.reading)
        if item.delivery.is_test:
            return await rehearse(self._desk, errand)
        # What was begun is brought to its end, and a replay is its owner's own wish.
        return await self._actor.act(errand) if is_open or errand.made or errand.is_replay else _STOPPED

    async def _errand(self, delivery: Delivery, reading: Reading) -> tuple[Errand, bool]:
        """Return what is to be done on the webhook's terms, and whether it still trades."""
        is_open = True
        has_waited = self._desk.clock.now() - delivery.received_at > _FRESH
        if has_waited or delivery.started_ns is None or delivery.rules is None or delivery.max_age_s is None:
            async with self._desk.database.connection() as connection:
                terms = await connection.fetchrow(_RULES, delivery.webhook_id, delivery.user_id)
            delivery = replace(delivery, rules=terms["rules"], max_age_s=terms["max_age_s"])
            is_open = terms["is_open"]
        # Only a delivery that the poll found can have been begun by a process that died.
        made = await self._made(delivery) if delivery.started_ns is None and not delivery.is_test else {}
        rules = HookRules.model_validate(delivery.rules)
        return Errand(delivery=delivery, reading=reading, rules=rules, max_age_s=delivery.max_age_s or 1, made=made), is_open

    async def _made(self, delivery: Delivery) -> dict[str, OrderRecord]:
        async with self._desk.database.connection() as connection:
            return {row["key"]: OrderRecord.of(row) for row in await connection.fetch(_MADE, delivery.id)}

    async def _after_failure(self, item: _Item) -> Outcome:
        delivery, made = item.delivery, await self._made(item.delivery)
        if not made or item.reading is None:
            return _broken()
        outcome = whole([of_order(order, delivery_id=delivery.id) for order in made.values()])
        return replace(outcome, marks=marks_of(delivery, item.reading, made))


async def _pending(desk: Desk, known: set[UUID]) -> list[Any]:
    """The deliveries that wait, in the order they came; of those that are known without their messages."""
    async with desk.database.connection() as connection:
        return list(await connection.fetch(_PENDING, list(known)))


def _broken() -> Outcome:
    return Outcome(decision=Decision.DENIED, code="INTERNAL", reason="something went wrong here; it was logged, and not traded")


def _untold(outcome: Outcome) -> Outcome:
    reason = "what became of it could not be written down in its own words; they were logged"
    return replace(outcome, code="INTERNAL", reason=reason)


def _delivery_of(row: Any) -> Delivery:
    return Delivery(
        id=row["id"],
        webhook_id=row["webhook_id"],
        user_id=row["user_id"],
        account=account_of(row),
        raw=row["raw"].encode(),
        received_at=row["received_at"],
        rules=row["rules"],
        max_age_s=row["max_age_s"],
        replay_of=row["replay_of"],
        is_test=row["is_test"],
        progress=row["latencies_ms"],
    )
