"""What time it is at the venue, as far as its last words tell."""

from collections.abc import Callable
from datetime import datetime, timedelta

from app.core.clock import Clock


class VenueClock:
    """Our clock, corrected by what was measured of the venue's, or else by what the venue last said; until then taken to agree with ours.

    The measured time comes first: a stream whose messages are late would make everything look younger than it is.
    """

    def __init__(self, clock: Clock, *, measured: Callable[[], datetime | None] = lambda: None) -> None:
        self._clock = clock
        self._measured = measured
        self._ahead = timedelta(0)

    def heard(self, moment: datetime) -> None:
        """The venue said that it was `moment`, just now."""
        self._ahead = moment - self._clock.now()

    def now(self) -> datetime:
        """Return the venue's present time."""
        return self._measured() or self._clock.now() + self._ahead
