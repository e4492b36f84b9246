"""What was used of one budget, and who waits for it.

Whoever waits is a future in a list, and each window has one timer: a hundred waiters cost nothing until one of them may go. A request is
counted from its grant until a whole window after its answer, so that however long it travelled the venue never sees more than the limit.
"""

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Final

from app.domain.enums import Lane
from app.exchanges.budgets import Budget

#: How much of a budget each lane may fill up to. Source: reliability rules of the order path; the order is that of `Lane`.
QUOTAS: Final[dict[Lane, float]] = {
    Lane.PROTECTIVE: 1.0,
    Lane.CANCEL: 0.95,
    Lane.EXIT: 0.90,
    Lane.ENTRY: 0.80,
    Lane.RECONCILE: 0.60,
    Lane.MARKET: 0.40,
}
RANKS: Final[dict[Lane, int]] = {lane: rank for rank, lane in enumerate(Lane)}
#: Where several processes share one address: this part of a budget is nobody's share, for protective orders of any of them.
_COMMON: Final = 0.30
#: Entries of a window are gathered in steps of this fraction of it.
_GRAIN: Final = 1 / 64
Monotonic = Callable[[], float]


@dataclass(slots=True, eq=False)
class _Waiter:
    """A request that waits; `key` orders it by right, then by arrival."""

    key: tuple[int, int]
    weight: int
    granted: "asyncio.Future[None]"


@dataclass(slots=True, eq=False)
class _Entry:
    """What was used until `expires_at`; `is_own` is False for what only the venue knew of."""

    expires_at: float
    weight: int
    is_own: bool


class Window:
    """What was used of one budget, and who waits for it."""

    __slots__ = (
        "_arrivals", "_caps", "_completed", "_dormant", "_entries", "_grants", "_in_flight", "_monotonic", "_observed", "_out", "_own",
        "_own_caps", "_paused_until", "_timer", "_used", "_waiters", "budget",
    )  # fmt: skip

    def __init__(self, budget: Budget, *, share: float = 1.0, monotonic: Monotonic = time.monotonic) -> None:
        self.budget = budget
        self._monotonic = monotonic
        self._caps, self._own_caps = _caps(budget, share)
        self._entries: deque[_Entry] = deque()
        self._used = 0
        self._own = 0
        self._in_flight = 0
        #: Weight that ever went out, and of it what came back; grants, and the last one whose answer was believed.
        self._out = 0
        self._completed = 0
        self._grants = 0
        self._observed = 0
        self._dormant = budget.dormant
        self._paused_until = 0.0
        self._waiters: list[_Waiter] = []
        self._arrivals = count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def used(self) -> int:
        """What counts now, requests under way included."""
        self._expire(self._monotonic())
        return self._used + self._in_flight

    def waiting(self) -> Iterable[int]:
        """The ranks of those who wait."""
        return (waiter.key[0] for waiter in self._waiters)

    def try_take(self, rank: int, weight: int) -> bool:
        """Take `weight` now, unless somebody of the same or more right waits, or it is too much."""
        if self._waiters and self._waiters[0].key[0] <= rank:
            return False
        if not self._fits(rank, weight, self._monotonic()):
            return False
        self._send(weight)
        return True

    async def take(self, rank: int, weight: int, *, deadline: float | None) -> None:
        """Wait until `weight` can be taken, behind those of the same or more right.

        Raises:
            TimeoutError: not before `deadline` (monotonic seconds).
        """
        waiter = _Waiter((rank, next(self._arrivals)), weight, asyncio.get_running_loop().create_future())
        insort(self._waiters, waiter, key=lambda one: one.key)
        if self._waiters[0] is waiter:
            self._grant()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - self._monotonic()):
                await waiter.granted
        except BaseException:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.give_back(weight)
            else:
                with suppress(ValueError):  # already skipped by the timer
                    self._waiters.remove(waiter)
                self._grant()
            raise

    def give_back(self, weight: int) -> None:
        """The request never left."""
        self._in_flight -= weight
        self._out -= weight
        self._grant()

    def complete(self, weight: int) -> None:
        """The request has its answer or was given up: it counts for a window from now."""
        self._in_flight -= weight
        self._completed += weight
        if self.budget.window_s:
            self._add(weight, is_own=True)
        if self._waiters and (self._timer is None or not self.budget.window_s):
            self._grant()

    @property
    def mark(self) -> tuple[int, int]:
        """Which grant the last one was and how much was complete by then; taken with a request's grant, for `observe`."""
        return self._grants, self._completed

    def observe(self, counted: int, mark: tuple[int, int], weight: int) -> None:
        """Believe the venue, which answered a request of `weight` and says that it has `counted` so much.

        What may still be missing in its count are the requests that were not complete when this one was granted. An answer to a request
        that is older than the last one heard of tells nothing new.
        """
        grant, completed_then = mark
        if grant < self._observed:
            return
        self._observed = grant
        self._dormant = False
        at_most = counted + self._out - completed_then - weight
        used = self.used
        if used > at_most:
            self._forget(used - at_most)
            self._grant()
        elif used < counted:
            self._add(counted - used, is_own=False)

    def pause(self, for_s: float) -> None:
        """Grant nothing for so long: the venue refused a request of this account."""
        self._paused_until = max(self._paused_until, self._monotonic() + for_s)

    def resize(self, budget: Budget, *, share: float) -> None:
        """Go on with another limit, keeping what was counted."""
        self.budget = budget
        self._caps, self._own_caps = _caps(budget, share)
        self._grant()

    @property
    def is_idle(self) -> bool:
        """Whether forgetting it changes nothing."""
        self._expire(self._monotonic())
        return not (self._entries or self._in_flight or self._waiters) and self._monotonic() >= self._paused_until

    def _fits(self, rank: int, weight: int, now: float) -> bool:
        if now < self._paused_until:
            return False
        if self._dormant:
            return True
        self._expire(now)
        used = self._used + self._in_flight
        if used == 0:
            return True  # heavier than its lane's whole quota: it would wait for ever otherwise
        return used + weight <= self._caps[rank] and self._own + self._in_flight + weight <= self._own_caps[rank]

    def _fits_at(self, rank: int, weight: int, now: float) -> float | None:
        """When a request will fit that does not fit now, by time alone; None when only an answer can make room."""
        excess = self._used + self._in_flight + weight - self._caps[rank]
        own_excess = self._own + self._in_flight + weight - self._own_caps[rank]
        at = max(now, self._paused_until)
        if self._dormant:
            return at
        left = self._used + self._in_flight
        for entry in self._entries:
            if left == 0 or (excess <= 0 and own_excess <= 0):
                break
            excess -= entry.weight
            own_excess -= entry.weight if entry.is_own else 0
            left -= entry.weight
            at = max(at, entry.expires_at)
        return at if left == 0 or (excess <= 0 and own_excess <= 0) else None

    def _grant(self) -> None:
        # Strictly by right; the timer is for the first who may not go yet.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._monotonic()
        while self._waiters:
            first = self._waiters[0]
            if not self._fits(first.key[0], first.weight, now):
                at = self._fits_at(first.key[0], first.weight, now)
                if at is not None:
                    self._timer = asyncio.get_running_loop().call_later(max(at - now, 0.0) + 0.001, self._grant)
                return
            del self._waiters[0]
            if not first.granted.done():
                self._send(first.weight)
                first.granted.set_result(None)

    def _send(self, weight: int) -> None:
        self._in_flight += weight
        self._out += weight
        self._grants += 1

    def _expire(self, now: float) -> None:
        entries = self._entries
        while entries and entries[0].expires_at <= now:
            self._drop(entries.popleft())

    def _drop(self, entry: _Entry) -> None:
        self._used -= entry.weight
        if entry.is_own:
            self._own -= entry.weight

    def _add(self, weight: int, *, is_own: bool) -> None:
        grain_s = self.budget.window_s * _GRAIN
        expires_at = ceil(self._monotonic() / grain_s) * grain_s + self.budget.window_s
        self._used += weight
        if is_own:
            self._own += weight
        last = self._entries[-1] if self._entries else None
        if last is not None and last.is_own is is_own and last.expires_at == expires_at:
            last.weight += weight
        else:
            self._entries.append(_Entry(expires_at, weight, is_own))

    def _forget(self, weight: int) -> None:
        """The oldest entries are those of the venue's last interval."""
        while weight > 0 and self._entries:
            oldest = self._entries[0]
            if oldest.weight <= weight:
                weight -= oldest.weight
                self._drop(self._entries.popleft())
                continue
            oldest.weight -= weight
            self._used -= weight
            if oldest.is_own:
                self._own -= weight
            return


def _caps(budget: Budget, share: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each lane may fill the budget up to: with everybody's use, and with ours alone."""
    quotas = [QUOTAS[lane] if budget.has_lanes else 1.0 for lane in Lane]
    caps = tuple(budget.limit * quota for quota in quotas)
    if share >= 1.0:
        return caps, caps
    ours = budget.limit * share * (1 - _COMMON)
    own = [ours * quota for quota in quotas]
    if budget.has_lanes:
        own[RANKS[Lane.PROTECTIVE]] = ours + budget.limit * _COMMON
    return caps, tuple(own)
