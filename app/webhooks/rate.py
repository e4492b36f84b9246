"""How many alerts of a webhook are traded: a bucket gets `per_minute` tokens a minute and holds a quarter of that, at least ten.

The buckets are in the memory of one process. With several behind a balancer each lets that many through, and after a restart a bucket is
full.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Level:
    """The tokens that were left, and when (seconds ago)."""

    tokens: float
    elapsed_s: float


class Buckets:
    """What is left for each webhook, by the hash of its secret. How fast it fills and what it holds is judged where its row is read."""

    def __init__(self) -> None:
        self._left: OrderedDict[bytes, tuple[float, datetime]] = OrderedDict()

    def level(self, secret_hash: bytes, now: datetime) -> Level | None:
        """Return what was left when it was last counted; None for a full bucket."""
        found = self._left.get(secret_hash)
        return None if found is None else Level(found[0], max((now - found[1]).total_seconds(), 0.0))

    def set(self, secret_hash: bytes, tokens: float, now: datetime) -> None:
        """Note what is left."""
        self._left[secret_hash] = (max(tokens, 0.0), now)
        self._left.move_to_end(secret_hash)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
