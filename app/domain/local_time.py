"""Moments on the clocks of a place, for whole columns: clocks are turned twice a year, and a day then has 23 or 25 hours. Pure, no I/O."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from app.domain.arrays import Times

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_DAYS_A_WEEK: Final = 7
_HOURS_A_DAY: Final = 24
#: 1970-01-01 was a Thursday; Monday is 0.
_FIRST_WEEKDAY: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LocalClock:
    """How far the clocks of a zone are ahead of UTC: from `starts[i]` on by `ahead[i]`, both in milliseconds."""

    starts: Times
    ahead: Times

    def local(self, times: Times) -> Times:
        """Return moments (ms since 1970 UTC) as what the clocks there show, counted as if they were UTC."""
        return times + self.ahead[np.searchsorted(self.starts, times, side="right") - 1]

    def days(self, times: Times) -> Times:
        """Return the day of each moment there, in days since 1970-01-01."""
        return self.local(times) // _DAY_MS

    def weekday_hours(self, times: Times) -> Times:
        """Return the hour of the week of each moment there: 0 is Monday from midnight to one, 167 the last hour of Sunday."""
        hours = self.local(times) // _HOUR_MS
        return (hours // _HOURS_A_DAY + _FIRST_WEEKDAY) % _DAYS_A_WEEK * _HOURS_A_DAY + hours % _HOURS_A_DAY


def clock_of(zone: ZoneInfo, first_ms: int, last_ms: int) -> LocalClock:
    """Return the clocks of a zone for moments from `first_ms` to `last_ms` (ms since 1970 UTC, both inclusive).

    Clocks are looked at once a day, and where they were turned in between, the second is searched for: no zone turns them twice in a day.
    """
    starts, ahead = [first_ms], [_ahead(zone, first_ms)]
    before = first_ms
    while before < last_ms:
        after = min(before + _DAY_MS, last_ms)
        shown = _ahead(zone, after)
        if shown != ahead[-1]:
            starts.append(_turned_at(zone, before, after))
            ahead.append(shown)
        before = after
    return LocalClock(np.array(starts, dtype=np.int64), np.array(ahead, dtype=np.int64))


def _turned_at(zone: ZoneInfo, before_ms: int, after_ms: int) -> int:
    was = _ahead(zone, before_ms)
    while after_ms - before_ms > 1:
        middle = (before_ms + after_ms) // 2
        if _ahead(zone, middle) == was:
            before_ms = middle
        else:
            after_ms = middle
    return after_ms


def _ahead(zone: ZoneInfo, time_ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)
