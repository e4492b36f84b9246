"""Our layer over ccxt's exchange classes: the last look before a write leaves, time limits, and what the venue answered.

ccxt itself is not imported here; the class is built over whichever exchange class the registry loaded.
"""

import socket
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from app.core.clock import Clock, SystemClock
from app.domain.enums import Lane
from app.errors import ExchangeUnavailable
from app.exchanges.budgets import Kind, order_count, weight_of
from app.exchanges.errors import Call
from app.exchanges.order_params import RECV_WINDOW_MS
from app.exchanges.port import Guard, OrderRequest
from app.exchanges.venue_answers import is_alien, refusal_of
from app.exchanges.wire_check import WireCheck

if TYPE_CHECKING:
    from app.exchanges.gate import Hearsay, VenueGate
    from app.exchanges.limiter import Slot

_BINANCE_FAMILY: Final = frozenset({"binance", "binanceus"})
_SAYS_WHEN: Final = frozenset({403, 418, 429, 503})
WRITE_TIMEOUT_MS: Final = 5_000
#: How long a claimed order may wait for its turn: a second before the venue would refuse it as too old.
LONGEST_WAIT_S: Final = RECV_WINDOW_MS / 1000 - 1
_WRITES: Final = frozenset({"POST", "PUT"})
#: What a request that never got there, or that nobody answered, was raised from.
_UNREACHED: Final = (aiohttp.ClientConnectorError, socket.gaierror, TimeoutError)


@dataclass(slots=True)
class RunningCall(Call):
    """A call in progress: its time limit, its right of way, and for an order the guard that may still stop it.

    `is_write` is True for whatever changes something, a cancellation too. `deadline` is until when it may wait for its turn, monotonic
    seconds; None waits as long as its kind may. `is_question` marks the one that finds out whether the venue can be asked again: it
    passes where others may not.
    """

    timeout_ms: int = 10_000
    guard: Guard | None = None
    is_write: bool = False
    lane: Lane = Lane.RECONCILE
    deadline: float | None = None
    is_question: bool = False


#: The call this task is making. ccxt has no parameter that reaches `fetch`, and many calls share one instance.
CURRENT_CALL: ContextVar[RunningCall | None] = ContextVar("exchange_call", default=None)
#: The place in the limiter of the request this task is making.
_CURRENT_SLOT: "ContextVar[Slot | None]" = ContextVar("exchange_slot", default=None)


def order_call(request: OrderRequest, guard: Guard, *, now: datetime) -> RunningCall:
    """Return the call that places `request`, which may wait for its turn until the venue would find it too old."""
    left_s = min(max(LONGEST_WAIT_S - (now - request.sent_at).total_seconds(), 0.0), LONGEST_WAIT_S)
    deadline = time.monotonic() + left_s
    return RunningCall(timeout_ms=WRITE_TIMEOUT_MS, guard=guard, is_write=True, lane=request.lane, deadline=deadline)


class VenueLayer:
    """What we change in ccxt; mixed in front of an exchange class.

    `venue_gate` is what requests pass, and `witness` who hears of their answers: the same, but for an object that lives in another thread.
    `account_key` tells accounts apart, None without keys; `wall_clock` is the clock of timestamps.
    """

    venue_gate: "VenueGate | None" = None
    witness: "VenueGate | Hearsay | None" = None
    account_key: str | None = None
    wall_clock: Clock = SystemClock()

    def milliseconds(self) -> int:
        """Return the time of the clock that the orders are claimed by, so that a request's time and its difference agree."""
        return int(self.wall_clock.now().timestamp() * 1000)

    def get_exceptions_by_url(self: Any, url: str, kind: str) -> Any:
        """Use the spot table of errors at any address: ccxt picks it by the official host, which an emulator or a mirror is not."""
        if self.id in _BINANCE_FAMILY:
            return self.safe_dict(self.exceptions["spot"], kind, {})
        return super().get_exceptions_by_url(url, kind)  # type: ignore[misc]  # ccxt's class comes after this one

    async def fetch2(self: Any, path: str, api: Any = None, method: str = "GET", params: Any = None, config: Any = None) -> Any:
        """Wait for a place first: a request is signed with the time at which it may leave."""
        call, gate = CURRENT_CALL.get(), self.venue_gate
        request = (path, ["public"] if api is None else api, method, {} if params is None else params, {} if config is None else config)
        if gate is None or (call is not None and call.is_question):
            return await super().fetch2(*request)  # type: ignore[misc]  # see above
        lane = Lane.RECONCILE if call is None else call.lane
        kind = _kind_of(call, method, is_public=self.account_key is None or any("public" in part for part in request[1]))
        deadline = gate.deadline(call, kind)
        if not gate.circuit.is_closed:
            await gate.admit(lane, kind=kind, deadline=deadline)
        slot = gate.limiter.slot(
            lane=lane,
            weight=weight_of(self.id, method, path, request[3]),
            deadline=deadline,
            kind=kind,
            account=self.account_key or "",
            orders=order_count(self.id, path),
        )
        async with slot:
            if not gate.circuit.is_closed:  # it opened while we waited
                await gate.admit(lane, kind=kind, deadline=deadline)
            token = _CURRENT_SLOT.set(slot)
            try:
                return await super().fetch2(*request)  # type: ignore[misc]  # see above
            finally:
                _CURRENT_SLOT.reset(token)

    async def fetch(self: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Ask the guard in the last moment, then send."""
        call = CURRENT_CALL.get()
        if call is not None:
            if call.guard is not None and method in _WRITES:
                if self.venue_gate is not None:
                    self.venue_gate.check_clock()
                call.guard()
            call.attempted = True
            # ccxt reads it before its first await, so calls that share the instance do not disturb one another.
            self.timeout = call.timeout_ms
        slot = _CURRENT_SLOT.get()
        if slot is not None:
            slot.has_left = True
        try:
            return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # see above
        except Exception as error:
            if self.witness is not None:
                if isinstance(error.__cause__, _UNREACHED):
                    self.witness.unreached()
                elif type(error).__name__ == "RateLimitExceeded":
                    self.witness.too_fast(slot)
            raise

    def parse_order_book_bid_ask(self: Any, bidask: Any, priceKey: Any = 0, amountKey: Any = 1, countOrIdKey: Any = 2) -> list[str]:  # noqa: N803
        """Return a level's price and quantity as the venue wrote them: ccxt makes floats of them, which no other answer of it holds.

        An order of the whole book by these texts is none; whoever reads it sorts it.
        """
        del countOrIdKey
        return [self.safe_string(bidask, priceKey, ""), self.safe_string(bidask, amountKey, "")]

    def handle_errors(self: Any, code: int, reason: str, url: str, method: str, headers: Any, body: Any, response: Any, *rest: Any) -> Any:
        """Note the venue's own words; ccxt's exceptions lose the code where they match by message."""
        retry_after_s = _retry_after_s(code, headers)
        call = CURRENT_CALL.get()
        if call is not None:
            note_answer(call, exchange=self.id, status=code, retry_after_s=retry_after_s, response=response)
        if self.witness is not None:
            self.witness.answered(code, headers or {}, response, slot=_CURRENT_SLOT.get(), retry_after_s=retry_after_s)
            if isinstance(response, dict) and "rateLimits" in response:
                self.witness.learn_limits(response["rateLimits"])
        if is_alien(self.id, code, response):
            raise ExchangeUnavailable("the answer is not one of this exchange")
        return super().handle_errors(code, reason, url, method, headers, body, response, *rest)  # type: ignore[misc]  # see above


def note_answer(call: Call, *, exchange: str, status: int, retry_after_s: float | None, response: object) -> None:
    """Keep the status, and of an error its code, its message and when to come back (seconds)."""
    call.status = status
    refusal = refusal_of(exchange, status, response)
    if refusal is not None:
        call.venue_code, call.venue_message = refusal
    if status < 400:
        return
    if isinstance(response, dict):
        call.data = response.get("data")
    call.retry_after_s = retry_after_s


def _retry_after_s(status: int, headers: Mapping[str, str] | None) -> float | None:
    if status not in _SAYS_WHEN or not headers:
        return None
    found = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(found) if found.strip().isdecimal() else None


def _kind_of(call: RunningCall | None, method: str, *, is_public: bool) -> Kind:
    if is_public:
        return Kind.PUBLIC
    if call is not None and call.guard is not None and method in _WRITES:
        return Kind.PLACE
    return Kind.CANCEL if call is not None and call.is_write else Kind.READ


def layered(venue_class: type) -> type:
    """Return `venue_class` of ccxt with our layer in front."""
    return type(venue_class.__name__, (VenueLayer, WireCheck, venue_class), {})
