"""How long to wait before trying again."""

import random
from collections.abc import Iterator


def backoff(first_s: float = 0.5, *, factor: float = 2.0, longest_s: float = 30.0) -> Iterator[float]:
    """Yield delays in seconds without end: a random first one, then growing by `factor` up to `longest_s`, each ±20 %.

    The randomness keeps clients that failed together from returning together.
    """
    yield random.uniform(0, first_s)  # noqa: S311  # spreading load, not a secret
    delay = first_s
    while True:
        yield delay * random.uniform(0.8, 1.2)  # noqa: S311  # as above
        delay = min(delay * factor, longest_s)
