"""What the heartbeat knows of each symbol: how far its candles are released, what waits, and whether something is missing."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.domain.candles import Candle, Timeframe
from app.marketdata.rollup import Rollup

MINUTE: Final = Timeframe.M1.duration
#: Seconds between two questions about the same overdue candle: the first is answered at once as a rule, the exchange's lag is short.
_LONGEST_PAUSE_S: Final = 10.0
_FIRST_PAUSE_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Line:
    """One symbol's minutes.

    `last` is the open time of the newest that is stored and told, `waiting` are closed ones that are newer, and `again` holds closed ones
    that the stream told before: the same, or with other numbers. `is_wanted`: something may be missing and must be fetched before anything
    newer is released. `is_current`: since the present connection nothing is missing. `is_live`: this process has caught up with the symbol
    at least once. `refusal`: the exchange will not give the symbol's candles, as it said; the others do not wait for it.
    """

    symbol: str
    last: datetime | None = None
    open_candle: Candle | None = None
    waiting: dict[datetime, Candle] = field(default_factory=dict)
    again: list[Candle] = field(default_factory=list)
    rollup: Rollup | None = None
    #: Where the first hole began that was noted and may still be open in the book.
    holes_since: datetime | None = None
    is_wanted: bool = True
    is_filling: bool = False
    is_current: bool = False
    is_live: bool = False
    refusal: str | None = None
    asked_at: float = float("-inf")
    pause_s: float = _FIRST_PAUSE_S

    def ask(self) -> bool:
        """Want the symbol's missing candles, unless that was tried a moment ago; return whether it is wanted now."""
        now = time.monotonic()
        if self.is_wanted or now - self.asked_at < self.pause_s:
            return False
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S) if self.asked_at > float("-inf") else _FIRST_PAUSE_S
        self.asked_at = now
        self.is_wanted = True
        return True

    def take(self, candle: Candle) -> None:
        """The stream told of a closed minute. The first version is the one that is told on; a later one revises it."""
        if candle.open_time in self.waiting or (self.last is not None and candle.open_time <= self.last):
            self.again.append(candle)
        else:
            self.waiting[candle.open_time] = candle

    def release(self, moment: datetime) -> None:
        """The minute `moment` is stored and told."""
        self.last = moment
        self.asked_at, self.pause_s = float("-inf"), _FIRST_PAUSE_S
        for known in [known for known in self.waiting if known <= moment]:
            del self.waiting[known]

    def is_overdue(self, venue_now: datetime, patience: timedelta) -> bool:
        """Whether the minute after the last should have closed by the venue's clock, and its close has not come."""
        return self.last is not None and not self.waiting and venue_now > self.last + 2 * MINUTE + patience

    def ready(self) -> list[Candle]:
        """Return the waiting minutes that follow the last one without a hole, oldest first."""
        if self.last is None or self.is_wanted or self.is_filling:
            return []
        found = []
        moment = self.last + MINUTE
        while (candle := self.waiting.get(moment)) is not None:
            found.append(candle)
            moment += MINUTE
        return found
