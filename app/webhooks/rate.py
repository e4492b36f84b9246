"""How many alerts of a webhook are traded: a bucket gets `per_minute` tokens a minute and holds a quarter of that, at least ten.

The buckets are in the memory of one process. With several behind a balancer each lets that many through, and after a restart a bucket is
full.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.clock import Clock
from app.core.i18n import N_
from app.errors import TooManyAttempts

_REMEMBERED: Final = 10_000
#: Messages that a user may try out, and attempts that they may repeat on paper, in a minute; all of them may come at once.
TRIALS_PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Level:
    """The tokens that were left, and when (seconds ago)."""

    tokens: float
    elapsed_s: float


class Buckets:
    """What is left for each webhook, by the hash of its secret, or each user, by their id. Whoever counts judges how fast it fills."""

    def __init__(self) -> None:
        self._left: OrderedDict[bytes, tuple[float, datetime]] = OrderedDict()

    def level(self, key: bytes, now: datetime) -> Level | None:
        """Return what was left when it was last counted; None for a full bucket."""
        found = self._left.get(key)
        return None if found is None else Level(found[0], max((now - found[1]).total_seconds(), 0.0))

    def set(self, key: bytes, tokens: float, now: datetime) -> None:
        """Note what is left."""
        self._left[key] = (max(tokens, 0.0), now)
        self._left.move_to_end(key)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)


class TooManyTrials(TooManyAttempts):
    """Too many messages were tried within a minute."""

    default_code = "TRIAL_RATE"


class Trials:
    """How often each user tries messages out: by their test door or the builder, and on paper. Each is kept and worked as an alert is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tests = Buckets()
        self._replays = Buckets()

    def test(self, user_id: UUID) -> None:
        """Count a message that is tried out.

        Raises:
            TooManyTrials: too many were; this one is not counted.
        """
        self._take(self._tests, user_id, N_("Too many messages were tried within a minute. Try again in %(seconds)d seconds."))

    def replay(self, user_id: UUID) -> None:
        """Count an attempt that is repeated on paper. Raises as `test`."""
        self._take(
            self._replays, user_id, N_("Too many attempts were repeated on paper within a minute. Try again in %(seconds)d seconds.")
        )

    def _take(self, buckets: Buckets, user_id: UUID, words: str) -> None:
        now = self._clock.now()
        level = buckets.level(user_id.bytes, now)
        tokens = float(TRIALS_PER_MINUTE)
        if level is not None:
            tokens = min(tokens, level.tokens + level.elapsed_s * TRIALS_PER_MINUTE / 60)
        if tokens < 1:
            raise TooManyTrials(words, retry_after_s=(1 - tokens) * 60 / TRIALS_PER_MINUTE)
        buckets.set(user_id.bytes, tokens - 1, now)
