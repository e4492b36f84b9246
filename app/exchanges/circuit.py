"""Whether a venue address may be asked at all: closed, open until a moment, then half open while one question decides.

It opens when the venue tells this server to wait (429), has banned it (418), its firewall refuses it (403), or it cannot be reached.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Final

import structlog

from app.core.clock import Clock

log = structlog.get_logger(__name__)

#: So many requests in a row that did not reach the venue open the circuit.
UNREACHED_AT_MOST: Final = 5
#: How long it stays open when the venue does not say, and at most; doubled each time the question fails.
_FIRST_S: Final = {"rate_limited": 10.0, "banned": 120.0, "firewall": 60.0, "unreachable": 1.0}
_LONGEST_S: Final = {"rate_limited": 300.0, "banned": 3600.0, "firewall": 1800.0, "unreachable": 30.0}


class CircuitState(StrEnum):
    """What may pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Reason(StrEnum):
    """Why a circuit is open."""

    RATE_LIMITED = "rate_limited"
    BANNED = "banned"
    FIREWALL = "firewall"
    UNREACHABLE = "unreachable"


@dataclass(slots=True, eq=False)
class _Held:
    key: tuple[int, int]
    woken: "asyncio.Future[None]"


class Circuit:
    """The state of one venue address, and the writes that wait for it to close."""

    def __init__(self, exchange: str, *, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._clock = clock
        self._monotonic = monotonic
        self.state = CircuitState.CLOSED
        self.reason: Reason | None = None
        #: When it last left `closed`; it stays through failed questions. None while closed.
        self.opened_at: datetime | None = None
        self._opened = 0.0
        self._until = 0.0
        self._unreached = 0
        self._openings = 0
        self._held: list[_Held] = []
        self._arrivals = count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_closed(self) -> bool:
        """Whether requests pass."""
        return self.state is CircuitState.CLOSED

    @property
    def until_s(self) -> float:
        """When it may be asked whether it closes; monotonic seconds."""
        return self._until

    @property
    def until(self) -> datetime | None:
        """The same moment on the clock; None while closed."""
        return None if self.is_closed else self._clock.now() + timedelta(seconds=self._until - self._monotonic())

    @property
    def is_due(self) -> bool:
        """Whether the time has come to ask."""
        return not self.is_closed and self._monotonic() >= self._until

    def trip(self, reason: Reason, for_s: float | None = None) -> None:
        """Open for `for_s` seconds, or for longer each time where the venue does not say how long; open already, only prolong."""
        if for_s is None:
            for_s = min(_FIRST_S[reason] * 2.0**self._openings, _LONGEST_S[reason])
        until = self._monotonic() + for_s
        was = self.state
        if was is CircuitState.OPEN and until <= self._until:
            return
        if was is not CircuitState.OPEN:
            self._openings += 1
        self._until = until
        self.state, self.reason = CircuitState.OPEN, reason
        self._unreached = 0
        if was is CircuitState.CLOSED:
            self.opened_at, self._opened = self._clock.now(), self._monotonic()
            log.warning("exchange_circuit_opened", exchange=self._exchange, reason=reason.value, for_s=round(for_s, 1))
        self._wake(everyone=True)
        self._set_timer()

    def unreached(self) -> None:
        """A request did not get there, or nobody answered it."""
        self._unreached += 1
        if self.state is CircuitState.HALF_OPEN or (self.is_closed and self._unreached >= UNREACHED_AT_MOST):
            self.trip(Reason.UNREACHABLE)

    def reached(self) -> None:
        """The venue answered something that is no refusal of this server."""
        self._unreached = 0
        if not self.is_closed and self.reason is Reason.UNREACHABLE:
            self.close()
        if self.is_closed:
            self._openings = 0

    def ask(self) -> None:
        """One question is on its way; it decides."""
        self.state = CircuitState.HALF_OPEN

    def close(self) -> None:
        """Let everything pass again, those who waited first and by right."""
        if self.is_closed:
            return
        log.warning("exchange_circuit_closed", exchange=self._exchange, after_s=round(self._monotonic() - self._opened, 1))
        self.state, self.reason, self.opened_at = CircuitState.CLOSED, None, None
        self._unreached = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(everyone=True)

    async def hold(self, rank: int) -> None:
        """Wait until there is something to look at again: it closed, it opened anew, or it is due and we are first by right."""
        held = _Held((rank, next(self._arrivals)), asyncio.get_running_loop().create_future())
        insort(self._held, held, key=lambda one: one.key)
        if self._timer is None:
            self._set_timer()
        try:
            await held.woken
        except BaseException:
            if held in self._held:
                self._held.remove(held)
            elif self.is_due:
                self._wake(everyone=False)  # it was its turn to ask: the next one does
            raise

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._timer = asyncio.get_running_loop().call_later(max(self._until - self._monotonic(), 0.0) + 0.001, self._come_due)

    def _come_due(self) -> None:
        self._timer = None
        self._wake(everyone=False)

    def _wake(self, *, everyone: bool) -> None:
        woken = self._held if everyone else self._held[:1]
        self._held = [] if everyone else self._held[1:]
        for held in woken:
            if not held.woken.done():
                held.woken.set_result(None)
