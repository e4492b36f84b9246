"""Updates of the instruments as jobs: a person or the night begins one, a supervised loop does it, a row tells everybody how far it is."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.leases import process_name
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.core.waiting import happens_within
from app.errors import AppError, Unsupported
from app.exchanges.catalogue import venue_of
from app.marketdata.events import InstrumentsUpdated
from app.marketdata.instruments import InstrumentBook
from app.marketdata.models import UpdateCause, UpdatePhase, UpdateState
from app.marketdata.update_store import Outcome, Update, UpdateStore

log = structlog.get_logger(__name__)

_TURN_S: Final = 1.0
_LOOK_EVERY_S: Final = 10.0
#: Loading an exchange's symbols costs a second of a core and up to 35 MB.
_AT_ONCE: Final = 2
_JITTER: Final = timedelta(minutes=30)


@dataclass(slots=True)
class _Progress:
    """How far an update of this process is."""

    phase: UpdatePhase = UpdatePhase.WAITING
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """When each exchange in use is updated: once a day, up to half an hour after `hour` UTC, so that not all servers ask at one moment.

    `is_ours` tells whether this process is the one that does it.
    """

    hour: int
    in_use: Callable[[], Awaitable[Iterable[str]]]
    is_ours: Callable[[], bool]

    def due(self, now: datetime) -> datetime:
        """Return the latest moment, at or before `now`, at which a night's updates begin, without the jitter."""
        today = now.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return today if today <= now else today - timedelta(days=1)


class Updates:
    """Begins, does and tells of updates. One of an exchange runs at a time, whichever process works on it."""

    def __init__(self, database: Database, book: InstrumentBook, bus: EventBus, *, clock: Clock, nightly: Nightly | None = None) -> None:
        self._store = UpdateStore(database, process_name())
        self._book = book
        self._bus = bus
        self._clock = clock
        self._nightly = nightly
        self._jitter = _JITTER * random.random()  # noqa: S311  # no secret
        self._began_at = clock.now()
        self._wanted: deque[Update] = deque()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._live: dict[UUID, _Progress] = {}
        self._seen: dict[str, UUID] = {}

    async def begin(self, exchange: str, *, started_by: UUID | None, cause: UpdateCause = UpdateCause.PERSON) -> Update:
        """Begin an update and return it, or the one of that exchange that runs already: its answer is everybody's.

        Raises:
            Unsupported: there is no such exchange.
            UpdateTooSoon: somebody asked for one less than a minute ago.
        """
        source = self._book.source(exchange)
        if venue_of(source) is None:
            raise Unsupported(f"{exchange} is not an exchange Aristobot knows", field="exchange")
        await self._store.give_up_left(mine=self._live, now=self._clock.now())
        update_id = new_id()
        # Before its row is there: whoever looks for updates that nobody works on must not take it for one.
        self._live[update_id] = _Progress()
        update = None
        try:
            update = await self._store.begin(update_id, source, cause=cause, started_by=started_by, now=self._clock.now())
        finally:
            if update is None or update.id != update_id:
                del self._live[update_id]
        if update.id == update_id:
            self._wanted.append(update)
            self._wake.set()
            self._tell(update)
        return self._as_of_now(update)

    async def get(self, update_id: UUID) -> Update:
        """Return one update as far as it is now.

        Raises:
            NotFound: UPDATE_NOT_FOUND.
        """
        return self._as_of_now(await self._store.get(update_id))

    async def history(self, *, exchange: str | None = None, before: UUID | None = None, limit: int) -> list[Update]:
        """Return updates, newest first; those before the one with the id `before`."""
        found = await self._store.history(exchange=None if exchange is None else self._book.source(exchange), before=before, limit=limit)
        return [self._as_of_now(update) for update in found]

    async def latest(self, limit: int) -> list[Update]:
        """Return the latest update of each exchange, those that run first."""
        return [self._as_of_now(update) for update in await self._store.latest(limit)]

    async def run(self, beat: Beat) -> None:
        """Do what was begun here, give up what a killed server left, learn of what others did, and begin the night's. For ever."""
        look_at = 0.0
        async with asyncio.TaskGroup() as group:
            while True:
                beat()
                while self._wanted:
                    update = self._wanted.popleft()
                    task = group.create_task(self._work(update), name=f"instruments:{update.exchange}")
                    # Also when it was canceled before it began.
                    task.add_done_callback(partial(self._leave, update.id))
                for update_id, progress in list(self._live.items()):
                    await self._store.touch(update_id, progress.phase, progress.done, progress.total)
                if asyncio.get_running_loop().time() >= look_at:
                    look_at = asyncio.get_running_loop().time() + _LOOK_EVERY_S
                    await self._look_around()
                self._wake.clear()
                if not self._wanted:
                    await happens_within(self._wake, _TURN_S)

    async def _look_around(self) -> None:
        now = self._clock.now()
        if await self._store.give_up_left(mine=self._live, now=now):
            log.warning("instrument_updates_interrupted")
        done = await self._store.latest_done()
        for exchange, (update_id, owner, _) in done.items():
            if self._seen.get(exchange) != update_id:
                self._seen[exchange] = update_id
                if owner != self._store.owner and self._book.is_loaded(exchange):
                    await self._book.reload(exchange)
                    self._bus.publish(InstrumentsUpdated(exchange=exchange, is_over=True))
        if self._nightly is not None and self._nightly.is_ours():
            await self._begin_nightly(self._nightly, now, {exchange: at for exchange, (_, _, at) in done.items()})

    async def _begin_nightly(self, nightly: Nightly, now: datetime, done: dict[str, datetime]) -> None:
        """Begin what is due: when this process saw the hour come, or when the list is older than an hour that nobody saw."""
        due = nightly.due(now)
        if now < due + self._jitter:
            return
        began = await self._store.last_nightly()
        for exchange in sorted(await self._in_use(nightly)):
            is_missed = due >= self._began_at or (exchange in done and done[exchange] < due)
            if is_missed and (exchange not in began or began[exchange] < due) and venue_of(exchange) is not None:
                await self._store.purge(now)
                await self.begin(exchange, started_by=None, cause=UpdateCause.NIGHTLY)

    async def _in_use(self, nightly: Nightly) -> set[str]:
        return {self._book.source(exchange) for exchange in await nightly.in_use()}

    async def _work(self, update: Update) -> None:
        progress = self._live[update.id]

        def told(done: int, total: int) -> None:
            progress.phase, progress.done, progress.total = UpdatePhase.STORING, done, total
            self._tell(update)

        try:
            async with self._slots:
                progress.phase = UpdatePhase.ASKING
                self._tell(update)
                changes = await self._book.refresh(update.exchange, told=told)
            outcome = Outcome(state=UpdateState.DONE, changes=changes)
        except AppError as error:
            outcome = Outcome(state=UpdateState.FAILED, code=error.code, detail=error.message)
        except asyncio.CancelledError:
            outcome = Outcome(state=UpdateState.INTERRUPTED, code="INTERRUPTED")
            await asyncio.shield(self._store.finish(update.id, outcome, now=self._clock.now()))
            raise
        except Exception as error:
            if is_database_gone(error):
                raise
            log.exception("instrument_update_failed", exchange=update.exchange)
            outcome = Outcome(state=UpdateState.FAILED, code="INTERNAL")
        await self._store.finish(update.id, outcome, now=self._clock.now())
        if self._nightly is not None and update.exchange not in await self._in_use(self._nightly):
            await self._book.release(update.exchange)
        log.info("instrument_update_ended", exchange=update.exchange, state=outcome.state.value, code=outcome.code)
        self._bus.publish(InstrumentsUpdated(exchange=update.exchange, is_over=True))

    def _leave(self, update_id: UUID, _task: object) -> None:
        self._live.pop(update_id, None)

    def _tell(self, update: Update) -> None:
        self._bus.publish(InstrumentsUpdated(exchange=update.exchange, is_over=False))

    def _as_of_now(self, update: Update) -> Update:
        """A row is written each second; whoever works on it knows more."""
        progress = self._live.get(update.id)
        if progress is None or update.state is not UpdateState.RUNNING:
            return update
        return replace(update, phase=progress.phase, done=progress.done, total=progress.total)
