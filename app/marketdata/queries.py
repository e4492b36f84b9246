"""Reads of candles for charts: stored candles of the timeframe, the rest summed up from one-minute ones, and the open one at the end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.db import Database
from app.domain.candles import Candle, Timeframe
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.store import CandleStore

MOST_CANDLES: Final = 1500
#: Steps from one symbol to the next in the index: asking for the distinct ones would read every candle.
_SYMBOLS_SQL: Final = """
WITH RECURSIVE found(symbol) AS (
    (SELECT symbol FROM candles WHERE exchange = $1 ORDER BY symbol LIMIT 1)
  UNION ALL
    SELECT (SELECT symbol FROM candles WHERE exchange = $1 AND symbol > found.symbol ORDER BY symbol LIMIT 1)
      FROM found WHERE found.symbol IS NOT NULL
) SELECT symbol FROM found WHERE symbol IS NOT NULL LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Candles oldest first; the last one may still be open."""

    candles: list[Candle]
    is_last_open: bool


async def stored_symbols(database: Database, exchange: str, *, limit: int) -> list[str]:
    """Return the symbols of an exchange of which candles are stored, the first `limit` by name."""
    async with database.connection() as connection:
        return [row["symbol"] for row in await connection.fetch(_SYMBOLS_SQL, exchange, limit)]


async def first_stored(database: Database, exchange: str, symbol: str) -> datetime | None:
    """Return the open time of the first one-minute candle that is stored of a symbol; None where none is."""
    query = "SELECT min(open_time) FROM candles WHERE exchange = $1 AND symbol = $2 AND timeframe = '1m'"
    async with database.connection() as connection:
        found: datetime | None = await connection.fetchval(query, exchange, symbol)
        return found


async def read_chart(
    store: CandleStore,
    exchange: str,
    symbol: str,
    timeframe: Timeframe,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int,
    open_candle: Candle | None = None,
) -> Chart:
    """Return candles with open times in [start, end): the first `limit` from `start` on, or the last `limit` without one.

    `open_candle` is the one-minute candle that is still open, as the live feed has it; it goes into the last candle.
    """
    newest = open_candle.open_time if open_candle is not None else None
    if newest is None:
        newest = (await store.last_open_times(exchange, Timeframe.M1, [symbol])).get(symbol)
    if timeframe is Timeframe.M1:
        candles = await _stored(store, exchange, symbol, timeframe, start=start, end=end, limit=limit)
    else:
        candles = await _summed(store, exchange, symbol, timeframe, start=start, end=end, limit=limit, newest=newest)
    if open_candle is not None and _is_wanted(timeframe.floor(open_candle.open_time), timeframe, start=start, end=end, limit=limit):
        candles = _with_open(candles, open_candle, timeframe)
    candles = candles[:limit] if start is not None else candles[-limit:]
    return Chart(
        candles=candles, is_last_open=bool(candles) and newest is not None and _is_open(candles[-1], timeframe, newest, open_candle)
    )


def _is_wanted(bucket: datetime, timeframe: Timeframe, *, start: datetime | None, end: datetime | None, limit: int) -> bool:
    if end is not None and bucket >= end:
        return False
    return start is None or start <= bucket < start + limit * timeframe.duration


def _is_open(last: Candle, timeframe: Timeframe, newest: datetime, open_candle: Candle | None) -> bool:
    """A candle closes with its last minute; `newest` is the newest minute, closed unless it is `open_candle`."""
    covered = newest if open_candle is not None else newest + Timeframe.M1.duration
    return last.open_time + timeframe.duration > covered


async def _stored(
    store: CandleStore,
    exchange: str,
    symbol: str,
    timeframe: Timeframe,
    *,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> list[Candle]:
    until = {} if end is None else {"end": end}
    if start is not None:
        return await store.between(exchange, symbol, timeframe, start=start, limit=limit, **until)
    before = {} if end is None else {"before": end}
    return await store.latest(exchange, symbol, timeframe, limit=limit, **before)


async def _summed(
    store: CandleStore,
    exchange: str,
    symbol: str,
    timeframe: Timeframe,
    *,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    newest: datetime | None,
) -> list[Candle]:
    """Stored candles of a longer timeframe are the exchange's own, so they win over sums."""
    stored = await _stored(store, exchange, symbol, timeframe, start=start, end=end, limit=limit)
    if newest is None:
        return stored
    until = newest + Timeframe.M1.duration if end is None else min(end, newest + Timeframe.M1.duration)
    since = timeframe.floor(until) - (limit - 1) * timeframe.duration
    if start is not None:
        since = timeframe.floor(start)
        until = min(until, since + limit * timeframe.duration)
    minutes = await store.array(exchange, symbol, Timeframe.M1, start=since, end=until)
    summed, _ = aggregate(minutes, timeframe)
    by_time = {candle.open_time: candle for candle in to_candles(summed)} | {candle.open_time: candle for candle in stored}
    return [by_time[moment] for moment in sorted(by_time) if start is None or moment >= start]


def _with_open(candles: list[Candle], open_candle: Candle, timeframe: Timeframe) -> list[Candle]:
    bucket = timeframe.floor(open_candle.open_time)
    if candles and candles[-1].open_time > bucket:
        return candles
    if not candles or candles[-1].open_time < bucket:
        (begun,) = to_candles(aggregate(to_array([open_candle]), timeframe)[0])
        return [*candles, begun]
    if timeframe is Timeframe.M1:
        return candles  # closed and stored meanwhile
    last = candles[-1]
    grown = Candle(
        open_time=last.open_time,
        open=last.open,
        high=max(last.high, open_candle.high),
        low=min(last.low, open_candle.low),
        close=open_candle.close,
        volume=last.volume + open_candle.volume,
    )
    return [*candles[:-1], grown]
