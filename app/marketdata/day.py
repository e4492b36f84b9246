"""What a day did to the symbols that are watched: change, highest, lowest, volume. From stored candles; no exchange is asked."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from app.core.db import Database
from app.domain.candles import Candle, Timeframe

_FRESH_S: Final = 5.0
_MOST: Final = 200
#: Quarters of an hour for what is long over, minutes for what is not summed up yet.
_DAY: Final = """
SELECT symbol, (array_agg(open ORDER BY open_time))[1] AS open, max(high) AS high, min(low) AS low, sum(volume) AS volume,
       sum(volume * (high + low + close) / 3) AS turnover, (array_agg(close ORDER BY open_time DESC))[1] AS close
  FROM candles
 WHERE exchange = $1 AND symbol = ANY($2)
   AND ((timeframe = '15m' AND open_time >= $3 AND open_time < $4) OR (timeframe = '1m' AND open_time >= $4))
 GROUP BY symbol
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A symbol's last 24 hours, to a quarter of an hour. Prices are quote per base, `volume` is in base, `turnover` in quote units."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float

    def change(self, last: Decimal | None = None) -> Decimal | None:
        """Return the change to `last`, or to the newest close, as a fraction."""
        now = self.close if last is None else float(last)
        return Decimal(str(round(now / self.open - 1, 6))) if self.open else None


class Days:
    """The last day of each symbol, remembered for some seconds."""

    def __init__(
        self, exchange: str, *, database: Database, now: Callable[[], datetime], open_candle: Callable[[str], Candle | None]
    ) -> None:
        self._exchange = exchange
        self._database = database
        self._now = now
        self._open_candle = open_candle
        self._known: dict[str, tuple[float, Day | None]] = {}

    async def of(self, symbols: Iterable[str]) -> dict[str, Day]:
        """Return the last day of those symbols that have candles."""
        wanted = list(dict.fromkeys(symbols))[:_MOST]
        now_s = time.monotonic()
        old = [symbol for symbol in wanted if (known := self._known.get(symbol)) is None or now_s - known[0] > _FRESH_S]
        if old:
            found = await self._read(old)
            if len(self._known) > 10 * _MOST:
                self._known.clear()
            self._known.update({symbol: (now_s, found.get(symbol)) for symbol in old})
        days = {symbol: day for symbol in wanted if (day := self._known.get(symbol, (0.0, None))[1]) is not None}
        return {symbol: self._with_open(symbol, day) for symbol, day in days.items()}

    async def _read(self, symbols: list[str]) -> dict[str, Day]:
        now = self._now()
        whole = Timeframe.M15.floor(now)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_DAY, self._exchange, symbols, Timeframe.M15.floor(now - timedelta(days=1)), whole)
        return {row["symbol"]: Day(**{name: value for name, value in row.items() if name != "symbol"}) for row in rows}

    def _with_open(self, symbol: str, day: Day) -> Day:
        """The minute that is still open is in no table."""
        candle = self._open_candle(symbol)
        if candle is None:
            return day
        return Day(
            open=day.open,
            high=max(day.high, candle.high),
            low=min(day.low, candle.low),
            close=candle.close,
            volume=day.volume + candle.volume,
            turnover=day.turnover + candle.volume * candle.close,
        )
