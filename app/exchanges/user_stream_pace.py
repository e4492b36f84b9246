"""How fast a venue of accounts' events may be asked, and how often it must answer."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStreamConfig:
    """How a connection behaves; the defaults keep Binance's limits.

    `between_requests_s` keeps one connection below five messages a second; `between_subscriptions_s` keeps all of them together at a third
    of the request weight (2 each, 6,000 a minute) that orders need too. A connection is replaced at `rotate_after_s`, since the venue cuts
    it at 24 h, and given up when a request has no answer for `answer_timeout_s`; one is asked at least every `probe_every_s`.
    """

    accounts_per_connection: int = 500
    between_requests_s: float = 0.25
    between_subscriptions_s: float = 1 / 15
    probe_every_s: float = 20.0
    answer_timeout_s: float = 10.0
    rotate_after_s: float = 23 * 3600.0

    def unpaced(self) -> Self:
        """Return the same for a venue on this machine, which has no rate limit."""
        return replace(self, between_requests_s=0.0, between_subscriptions_s=0.0)


class Pace:
    """Lets one through each `interval_s` seconds, and none before a moment that the venue named."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_at = 0.0

    async def turn(self) -> None:
        """Wait until it is the caller's turn."""
        now = time.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._interval_s
        if at > now:
            await asyncio.sleep(at - now)

    def hold(self, pause_s: float) -> None:
        """Let nobody through for so long."""
        self._next_at = max(self._next_at, time.monotonic() + pause_s)
