"""What every request to one venue address passes: the circuit, then its place in the limiter; and what its answer teaches them.

Shared by all accounts of this process at that address: the venue counts by IP.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.core.clock import Clock
from app.domain.enums import Lane
from app.errors import AppError, DenialReason, ExchangeRateLimited, ExchangeUnavailable, NotSent
from app.exchanges.budgets import Budget, Kind, stated_budgets
from app.exchanges.catalogue import venue_of
from app.exchanges.circuit import Circuit, CircuitState, Reason
from app.exchanges.clock_offset import STEP_MS, ClockOffset
from app.exchanges.limiter import Limiter, Slot
from app.exchanges.rate_window import RANKS
from app.exchanges.venue_class import CURRENT_CALL, RunningCall

#: How long a request without a deadline of its own waits for its place, seconds.
_WAIT_S: Final = {Kind.PUBLIC: 60.0, Kind.READ: 20.0, Kind.CANCEL: 10.0, Kind.PLACE: 4.0}
_CLOCK_TIMEOUT_MS: Final = 3_000
_CLOCK_EVERY_S: Final = 60.0
#: Where a refused request of one account says nothing of the others: these venues count signed requests by user.
_COUNTS_BY_USER: Final = frozenset({"kraken", "coinbase", "kucoin", "bitget", "okx", "bybit", "gate"})
_USER_PAUSE_S: Final = 10.0
_TOO_MANY_ORDERS: Final = "-1015"
_BANNED_UNTIL: Final = re.compile(r"until (\d{13})")
_SOON_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitGauge:
    """How one venue address is doing, for people and for the audit.

    `used` and `budget` are of its first budget (weight in a minute at Binance); `budget` is None where no limit is known. `open_since` is
    when the circuit last left `closed`. `clock_offset_ms` is ours minus the venue's, None before the first reading; `clock_age_s` its age.
    """

    exchange: str
    is_testnet: bool
    used: int
    budget: int | None
    waiting: Mapping[Lane, int]
    circuit: CircuitState
    reason: Reason | None
    open_since: datetime | None
    until: datetime | None
    clock_offset_ms: int | None
    clock_age_s: float | None
    is_clock_sure: bool


class VenueGate:
    """The gate of one venue address.

    `read_time` asks for the venue's clock in milliseconds, None where it has none. Orders go without it where `needs_clock` is False: at a
    venue that was never tried, what ccxt makes of its clock is no reason to refuse them.
    """

    def __init__(self, exchange: str, budgets: tuple[Budget, ...], *, clock: Clock, share: float = 1.0, is_loopback: bool = False) -> None:
        self.exchange = exchange
        venue = venue_of(exchange)
        self.name = exchange if venue is None else venue.name
        self.limiter = Limiter(self.name, budgets, share=share)
        self.circuit = Circuit(exchange, clock=clock)
        self.clock = ClockOffset(exchange, clock=clock)
        self.read_time: Callable[[], Awaitable[Any]] | None = None
        self.needs_clock = True
        self.is_testnet = False
        self._is_loopback = is_loopback
        self._now = clock
        self._asking = asyncio.Lock()

    async def admit(self, lane: Lane, *, kind: Kind, deadline: float) -> None:
        """Pass at once while the circuit is closed; else a read is refused, and a write waits where it may still be in time.

        Raises:
            NotSent: a write that could not leave before `deadline` (monotonic seconds).
            ExchangeRateLimited, ExchangeUnavailable: a read.
        """
        circuit = self.circuit
        is_write = kind in (Kind.PLACE, Kind.CANCEL)
        while not circuit.is_closed:
            if circuit.reason is Reason.UNREACHABLE and is_write and lane is Lane.PROTECTIVE:
                return  # a try that does not get there does no harm, and a stop is worth it
            if circuit.is_due:
                await self._ask()
            elif not is_write or circuit.until_s > deadline:
                raise self._refusal(kind)
            else:
                await circuit.hold(RANKS[lane])

    def deadline(self, call: RunningCall | None, kind: Kind) -> float:
        """Until when a request may wait, monotonic seconds."""
        given = None if call is None else call.deadline
        return given if given is not None else time.monotonic() + _WAIT_S[kind]

    def answered(
        self, status: int, headers: Mapping[str, str], response: object, *, slot: Slot | None, retry_after_s: float | None
    ) -> None:
        """Learn from an answer; `slot` is the place its request had."""
        if slot is not None and headers:
            slot.observe(_counts(headers))
        if status == 429:
            self._slow_down(response, slot=slot, retry_after_s=retry_after_s)
        elif status == 418:
            self.circuit.trip(Reason.BANNED, retry_after_s if retry_after_s is not None else self._ban_s(response))
        elif status == 403 and not isinstance(response, (dict, list)):
            self.circuit.trip(Reason.FIREWALL, retry_after_s)
        else:
            self.circuit.reached()

    def too_fast(self, slot: Slot | None) -> None:
        """The venue said in another way than by its status that it is asked too often."""
        if slot is not None and slot.account is not None and self.exchange in _COUNTS_BY_USER:
            self.limiter.pause(slot.account, _USER_PAUSE_S, kind=slot.kind)

    def unreached(self) -> None:
        """A request did not get there, or nobody answered."""
        self.circuit.unreached()

    def learn_limits(self, limits: object) -> None:
        """Go by the limits the venue states; an emulator's only once it counts."""
        budgets = stated_budgets(limits, dormant=self._is_loopback)
        if budgets:
            self.limiter.allow(budgets)

    async def sync_clock(self) -> None:
        """Read the venue's clock now, unless that was just tried. Never raises."""
        if self.read_time is not None:
            await self.clock.sync(self._clock_call)

    @property
    def is_clock_sure(self) -> bool:
        """Whether orders can carry a right time, or need none."""
        return self.read_time is None or not self.needs_clock or self.clock.is_sure

    async def require_clock(self) -> None:
        """Read a clock in doubt.

        Raises:
            NotSent: CLOCK_UNSURE, it still is.
        """
        if not self.is_clock_sure:
            await self.sync_clock()
        self.check_clock()

    def check_clock(self) -> None:
        """As `require_clock`, with what is known now."""
        if not self.is_clock_sure:
            self.clock.require()

    async def tend(self, *, is_active: bool) -> None:
        """Do what is due: ask whether the circuit closes; read the clock when it jumped, or each minute while accounts are active."""
        if self.circuit.is_due:
            await self._ask()
        stale = self.clock.age_s > _CLOCK_EVERY_S or abs(self.clock.jump_ms) > STEP_MS
        if is_active and stale and self.circuit.is_closed:
            await self.sync_clock()

    def gauge(self) -> LimitGauge:
        """Return how it is doing."""
        is_known = self.clock.is_known
        return LimitGauge(
            exchange=self.exchange,
            is_testnet=self.is_testnet,
            used=self.limiter.used,
            budget=self.limiter.budget,
            waiting=self.limiter.waiting(),
            circuit=self.circuit.state,
            reason=self.circuit.reason,
            open_since=self.circuit.opened_at,
            until=self.circuit.until,
            clock_offset_ms=self.clock.offset_ms if is_known else None,
            clock_age_s=self.clock.age_s if is_known else None,
            is_clock_sure=self.is_clock_sure,
        )

    async def _ask(self) -> None:
        """One question, whoever asks for it; it closes the circuit or opens it anew."""
        async with self._asking:
            circuit = self.circuit
            reason = circuit.reason
            if not circuit.is_due or reason is None:
                return
            circuit.ask()
            try:
                await self._clock_call(is_question=True)
            except Exception:  # noqa: BLE001  # ccxt's classes cannot be named here; whatever it was, the venue is not well yet
                if circuit.state is CircuitState.HALF_OPEN:
                    circuit.trip(reason)
            else:
                circuit.close()
            finally:
                if circuit.state is CircuitState.HALF_OPEN:  # cancelled: the next one asks
                    circuit.trip(reason, 0.0)

    async def _clock_call(self, *, is_question: bool = False) -> Any:
        if self.read_time is None:
            return None
        token = CURRENT_CALL.set(RunningCall(timeout_ms=_CLOCK_TIMEOUT_MS, lane=Lane.PROTECTIVE, is_question=is_question))
        try:
            return await self.read_time()
        finally:
            CURRENT_CALL.reset(token)

    def _slow_down(self, response: object, *, slot: Slot | None, retry_after_s: float | None) -> None:
        code = str(response.get("code")) if isinstance(response, dict) else None
        is_of_account = code == _TOO_MANY_ORDERS or self.exchange in _COUNTS_BY_USER
        if is_of_account and slot is not None and slot.account is not None:
            self.limiter.pause(slot.account, retry_after_s or _USER_PAUSE_S, kind=slot.kind)
        else:
            self.circuit.trip(Reason.RATE_LIMITED, retry_after_s)

    def _ban_s(self, response: object) -> float | None:
        """Binance also says in words until when, by its own clock."""
        found = _BANNED_UNTIL.search(str(response.get("msg"))) if isinstance(response, dict) else None
        if found is None:
            return None
        return max(1.0, int(found[1]) / 1000 - self._now.now().timestamp() + self.clock.offset_ms / 1000)

    def _refusal(self, kind: Kind) -> AppError:
        what_else = {Kind.PLACE: " This one was not sent.", Kind.CANCEL: " The cancellation was not sent."}.get(kind, "")
        circuit = self.circuit
        left_s = max(0.0, circuit.until_s - time.monotonic())
        until = _moment(circuit.until, left_s)
        if circuit.reason is Reason.UNREACHABLE:
            text = f"{self.name} cannot be reached from this server; it is tried again at {until}.{what_else}"
            return NotSent(text, code=DenialReason.EXCHANGE_UNREACHABLE.value) if what_else else ExchangeUnavailable(text)
        what = "has asked this server to wait" if circuit.reason is Reason.RATE_LIMITED else "has blocked this server"
        text = f"{self.name} {what} until {until}. Orders already there are unaffected.{what_else}"
        return NotSent(text, code=DenialReason.RATE_LIMIT.value) if what_else else ExchangeRateLimited(text, retry_after_s=left_s)


class Hearsay:
    """What was heard of a venue in another thread, to be told to its gate in ours."""

    def __init__(self) -> None:
        self._heard: list[Callable[[VenueGate], None]] = []

    def answered(
        self, status: int, headers: Mapping[str, str], response: object, *, slot: Slot | None, retry_after_s: float | None
    ) -> None:
        """As of `VenueGate`."""
        self._heard.append(lambda gate: gate.answered(status, headers, response, slot=slot, retry_after_s=retry_after_s))

    def too_fast(self, slot: Slot | None) -> None:
        """As of `VenueGate`."""
        self._heard.append(lambda gate: gate.too_fast(slot))

    def unreached(self) -> None:
        """As of `VenueGate`."""
        self._heard.append(lambda gate: gate.unreached())

    def learn_limits(self, limits: object) -> None:
        """As of `VenueGate`."""
        self._heard.append(lambda gate: gate.learn_limits(limits))

    def tell(self, gate: VenueGate) -> None:
        """Pass it on."""
        for say in self._heard:
            say(gate)


def _moment(at: datetime | None, left_s: float) -> str:
    if at is None:
        return ""
    return f"{at:%H:%M:%S} UTC" if left_s < _SOON_S else f"{at + timedelta(seconds=59):%H:%M} UTC"


def _counts(headers: Mapping[str, str]) -> Callable[[str], int | None]:
    lower = {name.lower(): value for name, value in headers.items() if name[:5].lower() == "x-mbx"}

    def count(name: str) -> int | None:
        with suppress(KeyError, ValueError):
            return int(lower[name])
        return None

    return count
