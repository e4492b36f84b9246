"""Lets go of what nobody looks at any more: candles at which nothing was wanted, and points of equity between the hours."""

from datetime import timedelta
from typing import Final

from app.trading.desk import Desk

#: Of signals at which nothing was wanted.
_SIGNALS_FOR: Final = timedelta(days=14)
#: Of equity at every candle; older points stay one an hour.
_POINTS_FOR: Final = timedelta(days=3)
#: In pieces, so that no statement holds anybody up; as many of them as three thousand bots on minutes make in an hour.
_PIECE: Final = 20_000
_MOST_PIECES: Final = 10
_SIGNALS: Final = f"""
WITH gone AS (
  DELETE FROM bot_signals WHERE id IN (
    SELECT id FROM bot_signals WHERE action = 'none' AND code IS NULL AND state = 'done' AND open_time < $1 LIMIT {_PIECE}) RETURNING 1)
SELECT count(*) FROM gone
"""  # noqa: S608  # a constant
_POINTS: Final = """
DELETE FROM bot_equity e USING (
  SELECT bot_id, at FROM bot_equity WHERE at < $1 AND at >= $1 - interval '10 days' AND date_trunc('hour', at) <> at) old
 WHERE e.bot_id = old.bot_id AND e.at = old.at
"""


async def thin(desk: Desk) -> None:
    """Let go of what is old; called every hour."""
    now = desk.clock.now()
    async with desk.database.connection() as connection:
        for _ in range(_MOST_PIECES):
            if await connection.fetchval(_SIGNALS, now - _SIGNALS_FOR) < _PIECE:
                break
        await connection.execute(_POINTS, now - _POINTS_FOR)
