"""How often a user may try strategies: a bucket of tokens that fills steadily and holds a minute's worth.

The buckets are in the memory of one process. With several behind a balancer each lets that many through.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.clock import Clock
from app.core.i18n import N_
from app.errors import TrialRate

_REMEMBERED: Final = 10_000
#: Whole validations of a user a minute: each has some seconds of a core.
VALIDATIONS_PER_MINUTE: Final = 20
#: Looks at what is being typed: syntax, lint and contract.
CHECKS_PER_MINUTE: Final = 120
QUICK_BACKTESTS_PER_MINUTE: Final = 30
_WORDS: Final = N_("Too many strategies were tried within a minute. Try again in %(seconds)d seconds.")


class Pace:
    """Counts what users try, one kind of trial."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._left: OrderedDict[UUID, tuple[float, datetime]] = OrderedDict()

    def take(self, user_id: UUID) -> None:
        """Count a trial.

        Raises:
            TrialRate: there were too many; this one is not counted.
        """
        now = self._clock.now()
        tokens, at = self._left.get(user_id, (float(self._per_minute), now))
        tokens = min(tokens + max((now - at).total_seconds(), 0.0) * self._per_minute / 60, float(self._per_minute))
        if tokens < 1:
            raise TrialRate(_WORDS, retry_after_s=(1 - tokens) * 60 / self._per_minute)
        self._left[user_id] = (tokens - 1, now)
        self._left.move_to_end(user_id)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)


class Paces:
    """How often users may do each kind of trial at this process."""

    def __init__(self, clock: Clock) -> None:
        self.validations = Pace(clock, VALIDATIONS_PER_MINUTE)
        self.checks = Pace(clock, CHECKS_PER_MINUTE)
        self.quick_backtests = Pace(clock, QUICK_BACKTESTS_PER_MINUTE)
