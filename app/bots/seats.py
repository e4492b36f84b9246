"""A bot's place in the engine, and the candles that its market has had without anybody telling."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from app.bots.cell import Cell
from app.bots.roster import LiveBot, Market
from app.bots.rounds import Due
from app.domain.candles import Candle, from_milliseconds, to_milliseconds

#: The bus tells of bursts; what is older than its queue is found in the table.
_MISSED: Final = """
SELECT w.symbol, w.timeframe, c.open_time, c.open, c.high, c.low, c.close, c.volume
  FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS w (symbol, timeframe, after)
 CROSS JOIN LATERAL (
   SELECT * FROM candles WHERE exchange = $1 AND symbol = w.symbol AND timeframe = w.timeframe AND open_time > w.after
    ORDER BY open_time LIMIT 500) c
 ORDER BY c.open_time, w.timeframe
"""
#: Pauses after a worker that could not be made, seconds.
_RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(slots=True, kw_only=True)
class Seat:
    """A bot's place in the engine: its cell, what waits for it, and when it is tried again after it could not be loaded."""

    cell: Cell
    dues: deque[Due] = field(default_factory=deque)
    #: Open time of the newest candle that it was or is to be asked about, in ms since 1970 UTC.
    heard: int = 0
    #: Open time of the last candle that it was asked about.
    decided: datetime | None = None
    #: Whether its time has not begun yet.
    is_early: bool = False
    is_busy: bool = False
    is_loading: bool = False
    failures: int = 0
    retry_at: float = 0.0
    #: Until when it waits for candles of other markets.
    patience: float | None = None

    def retry_later(self) -> None:
        """Its worker could not be made: the longer it fails, the longer it waits."""
        self.retry_at = time.monotonic() + _RETRY_S[min(self.failures, len(_RETRY_S) - 1)]
        self.failures += 1

    def newest(self) -> list[tuple[Market, datetime]]:
        """Return the open time of the newest candle that is known here, by market."""
        found = [(market, from_milliseconds(known)) for market, known in zip(self.cell.markets, self.cell.known, strict=True)]
        return [(found[0][0], max(found[0][1], from_milliseconds(self.heard))), *found[1:]]

    def skips(self, market: Market, opened: int) -> bool:
        """Whether a candle of a market, by its open in ms, is not the next one here: one before it was not heard of."""
        return any(known == market and opened > to_milliseconds(newest) + market.timeframe.milliseconds for known, newest in self.newest())


def decided_by(bot: LiveBot) -> datetime | None:
    """Return the open time of the last candle that needs no decision: it has one, or had closed when the bot was first started."""
    if bot.last_candle_at is not None or bot.started_at is None:
        return bot.last_candle_at
    return bot.market.timeframe.floor(bot.started_at) - bot.period


async def missed(connection: Any, exchange: str, seats: Iterable[Seat]) -> list[tuple[Market, Candle]]:
    """Return closed candles that are newer than the newest that loaded bots know of, oldest first."""
    newest: dict[Market, datetime] = {}
    for seat in seats:
        if seat.cell.is_ready:
            for market, known in seat.newest():
                newest[market] = min(newest.get(market, known), known)
    if not newest:
        return []
    columns = zip(*((market.symbol, market.timeframe.value, known) for market, known in newest.items()), strict=True)
    rows = await connection.fetch(_MISSED, exchange, *map(list, columns))
    timeframes = {market.timeframe.value: market.timeframe for market in newest}
    return [(Market(symbol=row["symbol"], timeframe=timeframes[row["timeframe"]]), _candle(row)) for row in rows]


def _candle(row: Any) -> Candle:
    return Candle(**{name: row[name] for name in ("open_time", "open", "high", "low", "close", "volume")})
