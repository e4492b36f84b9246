"""How much one backtest, one user and this machine may take."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.i18n import N_
from app.domain.candles import Timeframe
from app.errors import InvalidInput, TooManyCandles
from app.marketdata.history import EARLIEST

MIB: Final = 1 << 20
#: For each candle that is traded: its columns and the strategy's decisions, each here, in the worker's memory and in the pool's, ten
#: indicators, the equity and what the report computes of it.
BYTES_A_CANDLE: Final = 512
#: For each candle that is only looked at: here, in the worker's memory, in the pool's.
BYTES_AN_OTHER: Final = 192
#: Whatever the range, for a process that has loaded the engine.
LEAST_BYTES: Final = 128 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is allowed.

    Attributes:
        at_once: Backtests that run at a time.
        of_user: Of one user's.
        waiting: Backtests of one user that wait or run.
        stored: Backtests of one user in all.
        memory_bytes: Of all that run, together.
    """

    at_once: int = 1
    of_user: int = 2
    waiting: int = 50
    stored: int = 1_000
    memory_bytes: int = 2_048 * MIB

    def memory_of(
        self, start: datetime, end: datetime, timeframe: Timeframe, *, warm_up: int = 0, others: int = 0, is_detailed: bool = False
    ) -> int:
        """Return the bytes that a backtest is expected to take.

        Args:
            start: Of its range.
            end: Of its range, exclusive.
            timeframe: Of the traded candles.
            warm_up: Candles before the range.
            others: Further markets or timeframes, each taken to be as long as the traded one.
            is_detailed: Whether one-minute candles are walked.

        Raises:
            TooManyCandles: it is more than may be; the sentence says how long a range fits.
        """
        rows, beside = (end - start) // timeframe.duration, others
        if is_detailed and timeframe is not Timeframe.M1:
            beside += timeframe.milliseconds // Timeframe.M1.milliseconds
        return self.check(rows + warm_up, beside * rows, timeframe)

    def check(self, rows: int, others: int, timeframe: Timeframe) -> int:
        """Return the bytes that so many candles of the traded market, and of others, are expected to take.

        Raises:
            TooManyCandles: it is more than may be; the sentence says how long a range fits.
        """
        expected = LEAST_BYTES + rows * BYTES_A_CANDLE + others * BYTES_AN_OTHER
        if expected > self.memory_bytes:
            a_candle = (expected - LEAST_BYTES) / max(rows, 1)
            days = int((self.memory_bytes - LEAST_BYTES) / a_candle) * timeframe.duration // timedelta(days=1)
            raise TooManyCandles(
                N_(f"{rows} candles of {timeframe.value} need more memory than a backtest may have here: at most {days} days of them fit"),
                field="end_at",
            )
        return expected


def check_range(start: datetime, end: datetime, timeframe: Timeframe, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the range on the timeframe's grid, of candles that have closed.

    Raises:
        InvalidInput: it is none, or lies where there can be no candles.
    """
    if start >= end:
        raise InvalidInput(N_(f"the end must be after the start, was {end:%Y-%m-%d %H:%M} and {start:%Y-%m-%d %H:%M}"), field="end_at")
    if start < EARLIEST:
        raise InvalidInput(N_(f"there are no candles before {EARLIEST:%Y-%m-%d}, was {start:%Y-%m-%d}"), field="start_at")
    first = timeframe.floor(start)
    if first < start:
        first += timeframe.duration
    last = timeframe.floor(min(end, now))
    if first >= last:
        raise InvalidInput(N_(f"no candle of {timeframe.value} has both opened after {start:%Y-%m-%d %H:%M} and closed"), field="start_at")
    return first, last
