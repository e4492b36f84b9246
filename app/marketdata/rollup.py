"""Longer candles as their minutes close: one symbol's minutes in, every longer candle that closes with them out. Pure.

`aggregate` gives the same numbers from stored minutes, to the last bit: volumes are summed exactly, in whatever order they come.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import fsum
from typing import Final

from app.domain.candles import EPOCH, LIVE_TIMEFRAMES, Candle, Timeframe
from app.marketdata.aggregate import VOLUME_DECIMALS

#: Shortest first; minutes themselves come from elsewhere.
LONGER: Final = LIVE_TIMEFRAMES[1:]
_MINUTE: Final = Timeframe.M1.duration
_LENGTHS: Final = [(timeframe, timeframe.duration // _MINUTE) for timeframe in LONGER]


@dataclass(slots=True)
class _Growing:
    """A longer candle that is still open. `number` counts candles of its length since the epoch, `volumes` add up exactly."""

    number: int
    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volumes: list[float] = field(default_factory=list)

    def take(self, minute: Candle) -> None:
        self.high = max(self.high, minute.high)
        self.low = min(self.low, minute.low)
        self.close = minute.close
        _add_exactly(self.volumes, minute.volume)

    def closed(self) -> Candle:
        return Candle(
            open_time=self.open_time,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=round(fsum(self.volumes), VOLUME_DECIMALS),
        )


class Rollup:
    """The open longer candles of one symbol.

    Args:
        since: Open time from which every minute is handed over, or known not to exist. A longer candle that began earlier is not made:
            nobody knows all of its minutes.
    """

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._growing: dict[Timeframe, _Growing] = {}
        self._last: datetime | None = None

    def add(self, minute: Candle) -> list[tuple[Timeframe, Candle]]:
        """Take the next minute and return what closed with it, shortest first.

        A minute after a hole closes what the hole's minutes would have closed. Minutes that are not newer than the last are ignored.
        """
        if self._last is not None and minute.open_time <= self._last:
            return []
        self._last = minute.open_time
        number = (minute.open_time - EPOCH) // _MINUTE
        closed = []
        for timeframe, length in _LENGTHS:
            bucket, place = divmod(number, length)
            growing = self._growing.get(timeframe)
            if growing is not None and growing.number != bucket:
                closed.append((timeframe, self._growing.pop(timeframe).closed()))
                growing = None
            if growing is not None:
                growing.take(minute)
            else:
                open_time = minute.open_time - place * _MINUTE if place else minute.open_time
                if open_time < self._since:
                    continue
                growing = _Growing(bucket, open_time, minute.open, minute.high, minute.low, minute.close, [minute.volume])
                self._growing[timeframe] = growing
            if place == length - 1:
                closed.append((timeframe, self._growing.pop(timeframe).closed()))
        return closed

    def warm(self, minutes: Iterable[Candle]) -> None:
        """Take minutes whose longer candles are closed and stored already."""
        for minute in minutes:
            self.add(minute)


def warm_from(last: datetime) -> datetime:
    """Return the open time from which minutes are needed, so that every longer candle open after the minute `last` can be made."""
    return min(timeframe.floor(last + _MINUTE) for timeframe in LONGER)


def _add_exactly(parts: list[float], value: float) -> None:
    """Add to a sum kept as parts that do not overlap, so that nothing is lost. Source: Shewchuk 1997, as in Python's `math.fsum`."""
    kept = 0
    for part in parts:
        larger, smaller = (value, part) if abs(value) >= abs(part) else (part, value)
        value = larger + smaller
        if rest := smaller - (value - larger):
            parts[kept] = rest
            kept += 1
    parts[kept:] = [value]
