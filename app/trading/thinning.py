"""Keeps of the equity curve what is looked at: each minute for two days, each hour for a year, each day for ever."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.trading.desk import Desk

log = structlog.get_logger(__name__)

MINUTES_FOR: Final = timedelta(days=2)
HOURS_FOR: Final = timedelta(days=365)
_EVERY_S: Final = 3600.0
#: After the first time only what has come of age since is looked at, with room for some days of standing still.
_LATELY: Final = timedelta(days=10)
#: So many at once, so that nobody waits for it for long.
_BATCH: Final = 20_000
#: The last snapshot of each step stays, and the very first of an account: all profit is counted from it. They go by their places in the
#: table, and the firsts are found once: row by row either is quadratic where the database does not know yet how much there is. None moves.
_THIN: Final = """
WITH gone AS (DELETE FROM equity_snapshots WHERE ctid = ANY (ARRAY(
  SELECT place FROM (
    SELECT e.ctid AS place, e.at,
           row_number() OVER (PARTITION BY e.broker_id, date_trunc($3, e.at AT TIME ZONE 'UTC') ORDER BY e.at DESC) AS number, f.first_at
      FROM equity_snapshots e JOIN (SELECT broker_id, min(at) AS first_at FROM equity_snapshots GROUP BY broker_id) f USING (broker_id)
     WHERE e.at >= $1 AND e.at < $2) s
   WHERE number > 1 AND at > first_at LIMIT $4)) RETURNING 1)
SELECT count(*) FROM gone
"""
_BEGINNING: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


class Thinning:
    """Leaves out snapshots of equity that are older than anybody looks at so closely."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._is_first = True

    async def run(self) -> None:
        """Thin out once an hour, for ever, while the role is ours."""
        while True:
            if self._desk.lease.is_held:
                await self.thin()
            await asyncio.sleep(_EVERY_S)

    async def thin(self) -> int:
        """Thin out once, and return how many snapshots went."""
        now = self._desk.clock.now()
        gone = 0
        for age, step in ((MINUTES_FOR, "hour"), (HOURS_FOR, "day")):
            # Whole steps only: the last of one that is not over is not known yet.
            until = (now - age).replace(minute=0, second=0, microsecond=0)
            until = until.replace(hour=0) if step == "day" else until
            gone += await self._step(_BEGINNING if self._is_first else until - _LATELY, until, step)
        self._is_first = False
        if gone:
            log.info("equity_thinned", snapshots=gone)
        return gone

    async def _step(self, since: datetime, until: datetime, step: str) -> int:
        gone = 0
        while True:
            async with self._desk.database.connection() as connection:
                batch: int = await connection.fetchval(_THIN, since, until, step, _BATCH)
            gone += batch
            if batch < _BATCH:
                return gone
