"""The queue of backtests in the database: who is next, who works on what, and how it ended.

A row is worked on under a lease: its owner writes it on every two seconds, and every write names the epoch under which the work was begun.
Whoever finds a lease over takes the row up anew; what the owner before writes later finds another epoch and does nothing.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from app.backtests.events import Progress
from app.backtests.models import UNDER_WAY_SQL, BacktestState
from app.backtests.work import Finished
from app.core.db import Database
from app.core.leases import is_dead

LEASE_S: Final = 10.0
#: How often one is begun, before it counts as what brings its server or its process down.
MOST_ATTEMPTS: Final = 3

#: Fewest running first; among those whoever was not served for longest, so that a hundred of one user never stand before one of another;
#: then the oldest.
_NEXT: Final = f"""
WITH busy AS (
  SELECT user_id, count(*) AS running FROM backtests
   WHERE state IN ('fetching', 'running') AND lease_until > now() GROUP BY user_id)
SELECT b.id, b.user_id, b.number, b.memory_bytes, b.attempts FROM backtests b
  LEFT JOIN busy ON busy.user_id = b.user_id LEFT JOIN backtest_counters c ON c.user_id = b.user_id
 WHERE b.{UNDER_WAY_SQL} AND b.cancel_asked_at IS NULL AND (b.state = 'queued' OR b.lease_until < now())
   AND (b.wait_until IS NULL OR b.wait_until <= now())
   AND coalesce(busy.running, 0) < $1
 ORDER BY coalesce(busy.running, 0), c.served_at NULLS FIRST, b.created_at, b.id
 LIMIT 1 FOR UPDATE OF b SKIP LOCKED"""  # noqa: S608  # constants
_BEGIN: Final = """
UPDATE backtests SET state = 'fetching', attempts = attempts + 1, epoch = epoch + 1, lease_owner = $2,
       lease_until = now() + make_interval(secs => $3), started_at = now(), progress = NULL, wait_until = NULL
 WHERE id = $1 RETURNING epoch"""
_SERVED: Final = "UPDATE backtest_counters SET served_at = clock_timestamp() WHERE user_id = $1"
#: What is canceled and nobody works on any more is over.
_ABANDONED: Final = f"""
UPDATE backtests SET state = 'canceled', finished_at = now(), lease_owner = NULL, lease_until = NULL
 WHERE {UNDER_WAY_SQL} AND cancel_asked_at IS NOT NULL AND (lease_until IS NULL OR lease_until < now())
RETURNING id, user_id, number"""  # noqa: S608  # constants
_WAITING: Final = f"""
SELECT EXISTS (SELECT 1 FROM backtests WHERE {UNDER_WAY_SQL} AND cancel_asked_at IS NULL AND (state = 'queued' OR lease_until < now())
                  AND (wait_until IS NULL OR wait_until <= now()))"""  # noqa: S608  # constants
_OWNERS: Final = "SELECT DISTINCT lease_owner FROM backtests WHERE state IN ('fetching', 'running') AND lease_until > now()"
_INHERIT: Final = """
UPDATE backtests SET lease_until = now() - interval '1 second' WHERE state IN ('fetching', 'running') AND lease_owner = $1"""
_RENEW: Final = """
UPDATE backtests SET lease_until = now() + make_interval(secs => $3)
 WHERE id = ANY($1::uuid[]) AND lease_owner = $2 AND state IN ('fetching', 'running') RETURNING id, epoch, cancel_asked_at IS NOT NULL"""
_OURS: Final = "WHERE id = $1 AND epoch = $2 AND state IN ('fetching', 'running')"
_PROGRESS: Final = f"UPDATE backtests SET progress = $3 {_OURS}"  # noqa: S608  # constants
_RUNNING: Final = f"""
UPDATE backtests SET state = 'running', data = $3, candles_sha256 = $4, progress = NULL {_OURS} RETURNING id"""  # noqa: S608  # constants
_LATER: Final = f"""
UPDATE backtests SET state = 'queued', attempts = attempts - $3, memory_bytes = coalesce($4, memory_bytes), progress = NULL,
       lease_owner = NULL, lease_until = NULL, wait_until = now() + make_interval(secs => $5)
 {_OURS} RETURNING id"""  # noqa: S608  # constants
_OVER: Final = f"""
UPDATE backtests SET state = $3, finished_at = now(), progress = NULL, lease_owner = NULL, lease_until = NULL, error = $4, output = $5,
       report = $6, summary = $7, engine_version = coalesce($8, engine_version)
 {_OURS} RETURNING user_id"""  # noqa: S608  # constants
_RESULT: Final = """
INSERT INTO backtest_results (backtest_id, user_id, trades, fills, equity) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (backtest_id) DO UPDATE SET trades = excluded.trades, fills = excluded.fills, equity = excluded.equity"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A backtest that is ours to run, under this epoch."""

    id: UUID
    user_id: UUID
    number: int
    epoch: int
    attempts: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a backtest ended."""

    state: BacktestState
    error: dict[str, Any] | None = None
    output: str = ""
    finished: Finished | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """It goes back into the queue.

    Attributes:
        wait_s: Seconds for which it is left alone.
        is_free: Whether the attempt does not count.
        memory_bytes: That it turned out to take; None is what was expected.
    """

    wait_s: float = 0.0
    is_free: bool = False
    memory_bytes: int | None = None


class Queue:
    """The queue as one worker sees it.

    Args:
        database: The platform's.
        owner: Names this worker; see `core.leases.process_name`.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def claim(self, *, of_user: int, free_bytes: int) -> Claimed | None:
        """Take the next one. None: nobody waits, or the next one needs more memory than is free now.

        The next one is waited for, and no smaller one goes before it: else it might wait for ever.
        """
        async with self._database.raw_transaction() as connection:
            row = await connection.fetchrow(_NEXT, of_user)
            if row is None or row["memory_bytes"] > free_bytes:
                return None
            epoch = await connection.fetchval(_BEGIN, row["id"], self._owner, LEASE_S)
            await connection.execute(_SERVED, row["user_id"])
        return Claimed(
            id=row["id"], user_id=row["user_id"], number=row["number"], epoch=epoch, attempts=row["attempts"] + 1,
            memory_bytes=row["memory_bytes"],
        )  # fmt: skip

    async def renew(self, ids: list[UUID]) -> dict[UUID, tuple[int, bool]]:
        """Prolong the leases of what we run; return the epoch of each that is still ours, and whether it is to be canceled."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_RENEW, ids, self._owner, LEASE_S)
        return {row[0]: (row[1], row[2]) for row in rows}

    async def inherit(self) -> None:
        """End the leases of workers of this machine that are proved dead, so that nobody waits for their time."""
        async with self._database.connection() as connection:
            for row in await connection.fetch(_OWNERS):
                if is_dead(row[0]):
                    await connection.execute(_INHERIT, row[0])

    async def close_abandoned(self) -> list[tuple[UUID, UUID, int]]:
        """End what is to be canceled and nobody runs; return id, user and number of each."""
        async with self._database.connection() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.fetch(_ABANDONED)]

    async def others_wait(self) -> bool:
        """Return whether somebody waits for a turn."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_WAITING))

    async def tell(self, claimed: Claimed, progress: Progress) -> None:
        """Write down how far it is."""
        async with self._database.connection() as connection:
            await connection.execute(_PROGRESS, claimed.id, claimed.epoch, msgspec.to_builtins(progress))

    async def running(self, claimed: Claimed, *, data: dict[str, Any], sha256: str) -> bool:
        """Write down that its candles are together; False when it is ours no longer."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_RUNNING, claimed.id, claimed.epoch, data, sha256) is not None

    async def later(self, claimed: Claimed, later: Later) -> None:
        """Put it back into the queue."""
        async with self._database.connection() as connection:
            await connection.execute(_LATER, claimed.id, claimed.epoch, int(later.is_free), later.memory_bytes, later.wait_s)

    async def end(self, claimed: Claimed, ended: Ended) -> bool:
        """Store how it ended, with its result, all at once; False when it is ours no longer, and nothing was stored."""
        done = ended.finished
        async with self._database.raw_transaction() as connection:
            user_id = await connection.fetchval(
                _OVER, claimed.id, claimed.epoch, ended.state.value, ended.error, ended.output, done and done.report,
                done and done.summary, done and done.engine_version,
            )  # fmt: skip
            if user_id is not None and done is not None:
                await connection.execute(_RESULT, claimed.id, user_id, done.trades, done.fills, done.equity)
        return user_id is not None
