"""Rows of updates of the instruments: who wanted one, how far it is, what came of it."""

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.leases import is_dead
from app.errors import NotFound, UpdateTooSoon
from app.marketdata.listing_store import Changes
from app.marketdata.models import UpdateCause, UpdatePhase, UpdateState

#: Between two updates of one exchange that people ask for.
PAUSE_S: Final = 60.0
#: An update of which nothing was heard for so long has lost its server.
SILENCE_S: Final = 30.0
_NAMED: Final = 20
_KEPT_DAYS: Final = 90

_COLUMNS: Final = (
    "id, exchange, cause, started_by, state, phase, done, total, added, updated, removed, names, code, detail, started_at, finished_at"
)
_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('instrument_updates:' || $1, 0))"
_RUNNING: Final = f"SELECT {_COLUMNS} FROM instrument_updates WHERE exchange = $1 AND state = 'running'"  # noqa: S608  # constants
_LAST_ASKED: Final = """
SELECT max(started_at) FROM instrument_updates
 WHERE exchange = $1 AND cause = 'person' AND state <> 'interrupted' AND started_at <= $2
"""
_PUT: Final = (
    "INSERT INTO instrument_updates (id, exchange, cause, started_by, state, phase, owner, started_at, touched_at)"
    " VALUES ($1, $2, $3, $4, 'running', 'waiting', $5, $6, now())"
)
_TOUCH: Final = "UPDATE instrument_updates SET phase = $2, done = $3, total = $4, touched_at = now() WHERE id = $1 AND state = 'running'"
_FINISH: Final = (
    "UPDATE instrument_updates SET state = $2, added = $3, updated = $4, removed = $5, names = $6, code = $7, detail = $8,"
    " done = coalesce($10, done), total = coalesce($10, total), finished_at = $9 WHERE id = $1 AND state = 'running'"
)
_LEFT: Final = (
    "SELECT id, owner, touched_at < now() - make_interval(secs => $1) AS is_silent FROM instrument_updates WHERE state = 'running'"
)
_INTERRUPT: Final = (
    "UPDATE instrument_updates SET state = 'interrupted', code = 'INTERRUPTED', finished_at = $2 WHERE id = ANY($1) AND state = 'running'"
)
_GET: Final = f"SELECT {_COLUMNS} FROM instrument_updates WHERE id = $1"  # noqa: S608  # constants
_LIST: Final = (
    f"SELECT {_COLUMNS} FROM instrument_updates WHERE ($1::text IS NULL OR exchange = $1) AND ($2::uuid IS NULL OR id < $2)"  # noqa: S608
    " ORDER BY id DESC LIMIT $3"
)
_LATEST: Final = (
    f"SELECT * FROM (SELECT DISTINCT ON (exchange) {_COLUMNS} FROM instrument_updates ORDER BY exchange, id DESC) latest"  # noqa: S608
    " ORDER BY state = 'running' DESC, id DESC LIMIT $1"
)
_LATEST_DONE: Final = (
    "SELECT DISTINCT ON (exchange) exchange, id, owner, finished_at FROM instrument_updates WHERE state = 'done' ORDER BY exchange, id DESC"
)
_LAST_NIGHTLY: Final = "SELECT exchange, max(started_at) AS at FROM instrument_updates WHERE cause = 'nightly' GROUP BY exchange"
_PURGE: Final = "DELETE FROM instrument_updates WHERE started_at < $1::timestamptz - make_interval(days => $2) AND state <> 'running'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One update, as its row has it. The counts are None until it is done; `names` holds the first symbols behind each count."""

    id: UUID
    exchange: str
    cause: UpdateCause
    started_by: UUID | None
    state: UpdateState
    phase: UpdatePhase
    done: int
    total: int
    added: int | None
    updated: int | None
    removed: int | None
    names: dict[str, list[str]]
    code: str | None
    detail: str | None
    started_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Update":
        """Return the update of a row."""
        closed = {"cause": UpdateCause(row["cause"]), "state": UpdateState(row["state"]), "phase": UpdatePhase(row["phase"])}
        return cls(**{**row, **closed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an update."""

    state: UpdateState
    changes: Changes | None = None
    code: str | None = None
    detail: str | None = None


class UpdateStore:
    """Reads and writes the rows. `owner` names this process in those that it works on."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self.owner = owner

    async def begin(self, update_id: UUID, exchange: str, *, cause: UpdateCause, started_by: UUID | None, now: datetime) -> Update:
        """Return a new update with that id, or the one that runs already.

        Raises:
            UpdateTooSoon: somebody asked for one less than a minute ago.
        """
        async with self._database.raw_transaction() as connection:
            await connection.execute(_TURN, exchange)
            running = await connection.fetchrow(_RUNNING, exchange)
            if running is not None:
                return Update.of(running)
            last = await connection.fetchval(_LAST_ASKED, exchange, now) if cause is UpdateCause.PERSON else None
            if last is not None and (since_s := (now - last).total_seconds()) < PAUSE_S:
                raise UpdateTooSoon(retry_after_s=PAUSE_S - since_s)
            await connection.execute(_PUT, update_id, exchange, cause.value, started_by, self.owner, now)
            return Update.of(await connection.fetchrow(_GET, update_id))

    async def touch(self, update_id: UUID, phase: UpdatePhase, done: int, total: int) -> None:
        """Say how far an update is, and that somebody works on it."""
        async with self._database.connection() as connection:
            await connection.execute(_TOUCH, update_id, phase.value, done, total)

    async def finish(self, update_id: UUID, outcome: Outcome, *, now: datetime) -> None:
        """Write what came of an update, unless it was given up meanwhile."""
        changes = outcome.changes
        found = {} if changes is None else {name: getattr(changes, name) for name in ("added", "updated", "removed")}
        counts = [len(found[name]) if name in found else None for name in ("added", "updated", "removed")]
        names = {name: list(symbols[:_NAMED]) for name, symbols in found.items() if symbols}
        async with self._database.connection() as connection:
            told = (outcome.code, outcome.detail, now, None if changes is None else changes.listed)
            await connection.execute(_FINISH, update_id, outcome.state.value, *counts, names, *told)

    async def give_up_left(self, *, mine: Container[UUID], now: datetime) -> int:
        """Mark updates as interrupted that nobody works on any more, and return how many. `mine` are those that this process works on.

        It is asked after the rows were read: an update is among them before its row is there.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LEFT, SILENCE_S)
            left = [
                row["id"]
                for row in rows
                if row["id"] not in mine and (row["is_silent"] or row["owner"] == self.owner or is_dead(row["owner"]))
            ]
            if left:
                await connection.execute(_INTERRUPT, left, now)
        return len(left)

    async def get(self, update_id: UUID) -> Update:
        """Return one update.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, update_id)
        if row is None:
            raise NotFound("There is no such update.", code="UPDATE_NOT_FOUND")
        return Update.of(row)

    async def history(self, *, exchange: str | None, before: UUID | None, limit: int) -> list[Update]:
        """Return updates, newest first."""
        async with self._database.connection() as connection:
            return [Update.of(row) for row in await connection.fetch(_LIST, exchange, before, limit)]

    async def latest(self, limit: int) -> list[Update]:
        """Return the latest update of each exchange, those that run first."""
        async with self._database.connection() as connection:
            return [Update.of(row) for row in await connection.fetch(_LATEST, limit)]

    async def latest_done(self) -> dict[str, tuple[UUID, str, datetime]]:
        """Return id, owner and end of the latest successful update by exchange."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LATEST_DONE)
        return {row["exchange"]: (row["id"], row["owner"], row["finished_at"]) for row in rows}

    async def last_nightly(self) -> dict[str, datetime]:
        """Return when the latest nightly update of each exchange began."""
        async with self._database.connection() as connection:
            return {row["exchange"]: row["at"] for row in await connection.fetch(_LAST_NIGHTLY)}

    async def purge(self, now: datetime) -> None:
        """Forget what is older than three months."""
        async with self._database.connection() as connection:
            await connection.execute(_PURGE, now, _KEPT_DAYS)
