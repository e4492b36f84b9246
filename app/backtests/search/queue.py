"""The queue of searches and checks of robustness in the database: whose turn it is, who works on what, and what came of it.

A row is worked on under a lease, and every write names the epoch under which the work was begun: what somebody writes whose lease was
over, and who was replaced, does nothing. A search is worked on for a while and then waits for its next turn, so that nobody's long one
stands before everybody else's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from app.core.db import Database
from app.core.leases import is_dead

LEASE_S: Final = 12.0
#: How often one is begun without coming any further, before it counts as what brings its server or a process down.
MOST_ATTEMPTS: Final = 3

Kind = Literal["searches", "robustness_checks"]
_KEYS: Final[dict[Kind, str]] = {"searches": "id", "robustness_checks": "backtest_id"}


def _next(table: Kind) -> str:
    # Who was served longest ago is next, and of one user's the one that was.
    return f"""
UPDATE {table} SET state = 'running', lease_owner = $1, lease_until = now() + make_interval(secs => $2), epoch = epoch + 1,
       attempts = attempts + 1, served_at = clock_timestamp(), started_at = coalesce(started_at, now()), wait_until = NULL
 WHERE {_KEYS[table]} = (
  SELECT t.{_KEYS[table]} FROM {table} t
    LEFT JOIN LATERAL (SELECT max(o.served_at) AS at FROM {table} o
                        WHERE o.user_id = t.user_id AND o.state IN ('queued', 'running')) u ON true
   WHERE t.state IN ('queued', 'running') AND (t.lease_until IS NULL OR t.lease_until < now())
     AND (t.wait_until IS NULL OR t.wait_until <= now())
   ORDER BY u.at NULLS FIRST, t.served_at NULLS FIRST, t.created_at LIMIT 1 FOR UPDATE OF t SKIP LOCKED)
RETURNING {_KEYS[table]} AS key, user_id, epoch, attempts"""  # noqa: S608  # constants


_OWNERS: Final = "SELECT DISTINCT lease_owner FROM {table} WHERE state = 'running' AND lease_until > now()"
_INHERIT: Final = "UPDATE {table} SET lease_until = now() - interval '1 second' WHERE state = 'running' AND lease_owner = $1"
_WAITING: Final = """
SELECT EXISTS (SELECT 1 FROM {table} WHERE state IN ('queued', 'running') AND (lease_until IS NULL OR lease_until < now())
                  AND (wait_until IS NULL OR wait_until <= now()))"""
#: Also those that are left alone for a moment as all processors, or all that their user may have, are at searches.
_BACKTESTS_WAIT: Final = """
SELECT EXISTS (SELECT 1 FROM backtests WHERE cancel_asked_at IS NULL
                  AND (state = 'queued' OR state IN ('fetching', 'running') AND lease_until < now()))"""
_OURS: Final = "WHERE {key} = $1 AND epoch = $2 AND state = 'running'"
_RENEW: Final = "UPDATE {table} SET lease_until = now() + make_interval(secs => $3), progress = $4 {ours} RETURNING {stop}"
_YIELD: Final = """
UPDATE {table} SET lease_owner = NULL, lease_until = NULL, attempts = greatest(attempts - $3, 0),
       wait_until = now() + make_interval(secs => $4) {ours}"""
_OVER: Final = """
UPDATE {table} SET state = $3, finished_at = now(), error = $4, progress = NULL, lease_owner = NULL, lease_until = NULL {ours}
RETURNING user_id"""
_BEGIN_SEARCH: Final = """
UPDATE searches SET data = $3, candles_sha256 = $4, engine_version = $5 WHERE id = $1 AND epoch = $2 AND state = 'running'"""
_TRIED: Final = """
UPDATE searches SET tried = $3, best = $4, best_score = $5, importance = coalesce($6, importance), attempts = 0, progress = $7,
       lease_until = now() + make_interval(secs => $8)
 WHERE id = $1 AND epoch = $2 AND state = 'running' RETURNING stop_asked_at IS NOT NULL"""
_TRIAL: Final = """
INSERT INTO search_trials (search_id, number, user_id, point, parameters, score, train, test, problem, line)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"""
_TRIALS: Final = "SELECT number, point, score, train IS NULL AS is_failed FROM search_trials WHERE search_id = $1 ORDER BY number"
_REPORT: Final = "UPDATE robustness_checks SET report = $3 WHERE backtest_id = $1 AND epoch = $2 AND state = 'running'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A search or a check that is ours for a while, under this epoch. `key` is the search's id, or the backtest's."""

    kind: Kind
    key: UUID
    user_id: UUID
    epoch: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial as it is stored; see `search.models.SearchTrial`."""

    number: int
    point: Sequence[int]
    parameters: dict[str, Any]
    score: float | None
    train: dict[str, Any] | None
    test: dict[str, Any] | None
    problem: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a search stands after some trials. `importance` is None where it was not computed anew."""

    tried: int
    best: int | None
    best_score: float | None
    importance: dict[str, float] | None
    progress: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownTrial:
    """A trial as what comes next depends on it."""

    number: int
    point: tuple[int, ...]
    score: float | None
    is_failed: bool


class Lost(Exception):
    """It is ours no longer: it was deleted, or another took it over after we were silent."""


class SearchQueue:
    """The queue as one worker sees it.

    Args:
        database: The platform's.
        owner: Names this worker; see `core.leases.process_name`.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def claim(self, kind: Kind) -> Turn | None:
        """Take the next one; None when nobody waits."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_next(kind), self._owner, LEASE_S)
        return None if row is None else Turn(kind=kind, **dict(row))

    async def inherit(self) -> None:
        """End the leases of workers of this machine that are proved dead, so that nobody waits for their time."""
        async with self._database.connection() as connection:
            for table in _KEYS:
                for row in await connection.fetch(_OWNERS.format(table=table)):
                    if row[0] is not None and is_dead(row[0]):
                        await connection.execute(_INHERIT.format(table=table), row[0])

    async def others_wait(self, kind: Kind) -> bool:
        """Return whether somebody waits for a turn."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_WAITING.format(table=kind)))

    async def backtests_wait(self) -> bool:
        """Return whether a backtest waits: for its turn, or for a processor or memory that searches may hold."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_BACKTESTS_WAIT))

    async def renew(self, turn: Turn, progress: dict[str, Any]) -> bool:
        """Prolong the lease and write down how far it is; return whether it is to stop.

        Raises:
            Lost: it is ours no longer.
        """
        stop = "stop_asked_at IS NOT NULL" if turn.kind == "searches" else "false"
        query = _RENEW.format(table=turn.kind, ours=_ours(turn), stop=stop)
        async with self._database.connection() as connection:
            return _still(await connection.fetchval(query, turn.key, turn.epoch, LEASE_S, progress))

    async def wait(self, turn: Turn, *, wait_s: float = 0.0, is_free: bool = True) -> None:
        """Let it wait for its next turn. `is_free`: this one does not count as an attempt."""
        query = _YIELD.format(table=turn.kind, ours=_ours(turn))
        async with self._database.connection() as connection:
            await connection.execute(query, turn.key, turn.epoch, int(is_free), wait_s)

    async def end(self, turn: Turn, state: str, *, error: dict[str, Any] | None = None, report: dict[str, Any] | None = None) -> bool:
        """Store how it ended; False when it is ours no longer, and nothing was stored."""
        async with self._database.raw_transaction() as connection:
            if report is not None:
                await connection.execute(_REPORT, turn.key, turn.epoch, report)
            query = _OVER.format(table=turn.kind, ours=_ours(turn))
            return await connection.fetchval(query, turn.key, turn.epoch, state, error) is not None

    async def begin_search(self, turn: Turn, *, data: dict[str, Any], sha256: str, engine_version: str) -> None:
        """Write down what candles a search looks at."""
        async with self._database.connection() as connection:
            await connection.execute(_BEGIN_SEARCH, turn.key, turn.epoch, data, sha256, engine_version)

    async def trials(self, search_id: UUID) -> list[KnownTrial]:
        """Return all trials of a search in their order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_TRIALS, search_id)
        return [KnownTrial(row["number"], tuple(row["point"]), row["score"], row["is_failed"]) for row in rows]

    async def store(self, turn: Turn, trials: Sequence[Trial], standing: Standing) -> bool:
        """Store trials and how the search stands after them, all at once; return whether it is to stop.

        Raises:
            Lost: it is ours no longer, and nothing was stored.
        """
        async with self._database.raw_transaction() as connection:
            stop = _still(
                await connection.fetchval(
                    _TRIED, turn.key, turn.epoch, standing.tried, standing.best, standing.best_score, standing.importance,
                    standing.progress, LEASE_S,
                )
            )  # fmt: skip
            await connection.executemany(
                _TRIAL,
                [
                    (
                        turn.key, one.number, turn.user_id, list(one.point), one.parameters, one.score, one.train, one.test, one.problem,
                        one.line,
                    )
                    for one in trials
                ],
            )  # fmt: skip
        return stop


def _ours(turn: Turn) -> str:
    return _OURS.format(key=_KEYS[turn.kind])


def _still(found: Any) -> bool:
    if found is None:
        raise Lost
    return bool(found)


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
