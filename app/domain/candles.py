"""Candles and timeframes. `open_time` is inclusive, `close_time` exclusive, both aware UTC; o h l c v are float64."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(StrEnum):
    """A candle's length. Every one divides the UTC day, so that boundaries need no calendar."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"

    #: Length of one candle.
    duration: timedelta
    #: The same in milliseconds.
    milliseconds: int

    def __init__(self, text: str) -> None:
        unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[text[-1]]
        self.duration = int(text[:-1]) * unit
        self.milliseconds = self.duration // timedelta(milliseconds=1)

    def floor(self, moment: datetime) -> datetime:
        """Return the open time of the candle that holds `moment`."""
        return moment - (moment - EPOCH) % self.duration


#: What the heartbeat makes of every symbol's minutes, shortest first.
LIVE_TIMEFRAMES = (
    Timeframe.M1,
    Timeframe.M3,
    Timeframe.M5,
    Timeframe.M10,
    Timeframe.M15,
    Timeframe.M30,
    Timeframe.H1,
    Timeframe.H2,
    Timeframe.H4,
    Timeframe.D1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One candle of one symbol. Prices are quote per base, `volume` is in base units."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the aware UTC moment `milliseconds` after the epoch, exactly."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch."""
    return (moment - EPOCH) // timedelta(milliseconds=1)
