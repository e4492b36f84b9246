"""Our layer over ccxt's exchange classes: the last look before a write leaves, time limits, and what the venue answered.

ccxt itself is not imported here; the class is built over whichever exchange class the registry loaded.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from app.errors import ExchangeUnavailable
from app.exchanges.errors import Call
from app.exchanges.port import Guard
from app.exchanges.venue_answers import is_alien, refusal_of
from app.exchanges.wire_check import WireCheck

_BINANCE_FAMILY: Final = frozenset({"binance", "binanceus"})
_SAYS_WHEN: Final = frozenset({418, 429, 503})


@dataclass(slots=True)
class RunningCall(Call):
    """A call in progress: its time limit, and for a write the guard that may still stop it."""

    timeout_ms: int = 10_000
    guard: Guard | None = None


#: The call this task is making. ccxt has no parameter that reaches `fetch`, and many calls share one instance.
CURRENT_CALL: ContextVar[RunningCall | None] = ContextVar("exchange_call", default=None)


class VenueLayer:
    """What we change in ccxt; mixed in front of an exchange class."""

    def get_exceptions_by_url(self: Any, url: str, kind: str) -> Any:
        """Use the spot table of errors at any address: ccxt picks it by the official host, which an emulator or a mirror is not."""
        if self.id in _BINANCE_FAMILY:
            return self.safe_dict(self.exceptions["spot"], kind, {})
        return super().get_exceptions_by_url(url, kind)  # type: ignore[misc]  # ccxt's class comes after this one

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Ask the guard in the last moment, then send."""
        call = CURRENT_CALL.get()
        if call is not None:
            if call.guard is not None and method in ("POST", "PUT"):
                call.guard()
            call.attempted = True
            # ccxt reads it before its first await, so calls that share the instance do not disturb one another.
            self.timeout = call.timeout_ms
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # see above

    def handle_errors(self: Any, code: int, reason: str, url: str, method: str, headers: Any, body: Any, response: Any, *rest: Any) -> Any:
        """Note the venue's own words; ccxt's exceptions lose the code where they match by message."""
        call = CURRENT_CALL.get()
        if call is not None:
            note_answer(call, exchange=self.id, status=code, headers=headers, response=response)
        if is_alien(self.id, code, response):
            raise ExchangeUnavailable("the answer is not one of this exchange")
        return super().handle_errors(code, reason, url, method, headers, body, response, *rest)  # type: ignore[misc]  # see above


def note_answer(call: Call, *, exchange: str, status: int, headers: Mapping[str, str] | None, response: object) -> None:
    """Keep the status, and of an error its code, its message and when to come back (seconds)."""
    call.status = status
    refusal = refusal_of(exchange, status, response)
    if refusal is not None:
        call.venue_code, call.venue_message = refusal
    if status < 400:
        return
    if isinstance(response, dict):
        call.data = response.get("data")
    if status in _SAYS_WHEN and headers:
        call.retry_after_s = next((_seconds(value) for name, value in headers.items() if name.lower() == "retry-after"), None)


def _seconds(text: str) -> float | None:
    return float(text) if text.strip().isdecimal() else None


def layered(venue_class: type) -> type:
    """Return `venue_class` of ccxt with our layer in front."""
    return type(venue_class.__name__, (VenueLayer, WireCheck, venue_class), {})
