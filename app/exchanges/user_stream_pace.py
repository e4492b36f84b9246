"""How fast a venue of accounts' events may be asked, and how often it must answer."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

#: What a connection and a subscription weigh. Source: binance-spot-api-docs web-socket-api.md "IP limits", "User Data Stream requests".
WEIGHT: Final = 2


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


class Turnstile(Protocol):
    """Where everything that this machine sends to a venue is counted: its limits are by IP, whatever the road."""

    async def turn(self, weight: int) -> None:
        """Wait for a place in the venue's limits."""

    def refused(self, pause_s: float, *, is_banned: bool) -> None:
        """The venue asks to be left alone for so long."""


class Pace:
    """Lets one through each `interval_s` seconds, none before a moment that the venue named, and none without its place beyond."""

    def __init__(self, interval_s: float, turnstile: Turnstile | None = None) -> None:
        self._interval_s = interval_s
        self._turnstile = turnstile
        self._next_at = 0.0

    async def turn(self) -> None:
        """Wait until it is the caller's turn."""
        now = time.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._interval_s
        if at > now:
            await asyncio.sleep(at - now)
        if self._turnstile is not None:
            await self._turnstile.turn(WEIGHT)

    def hold(self, pause_s: float, *, is_banned: bool) -> None:
        """Let nobody through for so long."""
        self._next_at = max(self._next_at, time.monotonic() + pause_s)
        if self._turnstile is not None:
            self._turnstile.refused(pause_s, is_banned=is_banned)
