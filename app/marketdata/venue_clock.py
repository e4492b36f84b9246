"""What time it is at the venue, as far as its last words tell."""

from datetime import datetime, timedelta

from app.core.clock import Clock


class VenueClock:
    """Our clock, corrected by what the venue last said. Until it has spoken it is taken to agree with ours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta(0)

    def heard(self, moment: datetime) -> None:
        """The venue said that it was `moment`, just now."""
        self._ahead = moment - self._clock.now()

    def now(self) -> datetime:
        """Return the venue's present time."""
        return self._clock.now() + self._ahead
