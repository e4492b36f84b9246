"""Drops whole months of candles that are older than people want to keep."""

import asyncio
import time
from datetime import date
from typing import Final

import asyncpg
import structlog

from app.core.db import Database
from app.core.supervisor import Beat

log = structlog.get_logger(__name__)

_EVERY_S: Final = 24 * 3600.0
_BEAT_S: Final = 5.0
#: Somebody reads for longer than dropping waits: tried again after a rest, then tomorrow.
_TRIES: Final = 10
_REST_S: Final = 3.0


class Retention:
    """Keeps at least `keep_months` months of candles, counted back from now, and the rest of the month in which they end."""

    def __init__(self, database: Database, *, keep_months: int, rest_s: float = _REST_S) -> None:
        if keep_months < 1:
            raise ValueError(f"at least one month of candles is kept, was {keep_months}")
        self._database = database
        self._keep_months = keep_months
        self._rest_s = rest_s

    async def run(self, beat: Beat) -> None:
        """Drop what is too old now and once a day, until cancelled. A supervised loop."""
        while True:
            beat()
            await self.drop(beat)
            due = time.monotonic() + _EVERY_S
            while time.monotonic() < due:
                beat()
                await asyncio.sleep(_BEAT_S)

    async def drop(self, beat: Beat = lambda: None) -> list[date]:
        """Drop every month that is too old, oldest first, and return their first days; it ends early while somebody reads."""
        dropped: list[date] = []
        refusals = 0
        while refusals < _TRIES:
            beat()
            try:
                async with self._database.connection() as connection:
                    month = await connection.fetchval("SELECT drop_candle_month($1)", self._keep_months)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                refusals += 1
                await asyncio.sleep(self._rest_s)
                continue
            if month is None:
                return dropped
            log.info("candles_dropped", month=f"{month:%Y-%m}", keep_months=self._keep_months)
            dropped.append(month)
        log.warning("candles_not_dropped", keep_months=self._keep_months, reason="the table was read all the time; tried again tomorrow")
        return dropped
