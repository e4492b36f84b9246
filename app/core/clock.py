"""Time as a value that is passed. Aware UTC only."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """Return the present moment, aware UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return datetime.fromtimestamp(time.time(), UTC)


class ManualClock:
    """A clock that stands still until told otherwise: for tests of behaviour in time."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move on by `step`."""
        self._now += step
