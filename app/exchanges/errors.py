"""The one place that turns what ccxt returned or raised into our errors, and decides whether a write may have happened.

A write is in doubt unless it is proved otherwise: by our own guard, by a connection that was never made, or by the venue's definite no.
ccxt's classes are told by name, because importing ccxt takes seconds and this module is read before the first page is served.
Messages are made here from the venue's code and words; an exception's own text holds the signed address and never leaves.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp

from app.errors import (
    AppError,
    BadCredentials,
    ExchangeError,
    ExchangeRateLimited,
    ExchangeUnavailable,
    InsufficientFunds,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    SymbolNotFound,
    Unsupported,
)
from app.exchanges.catalogue import venue_of
from app.exchanges.venue_codes import VENUE_CODES, VenueCodes


@dataclass(slots=True)
class Call:
    """What became of one call, noted while it runs: nothing of it is secret.

    `attempted` is True once a request was handed to the network. `venue_code` and `venue_message` come from an error's JSON body, and
    `data` is what else Binance says there, of two orders that it could not both do.
    """

    attempted: bool = False
    status: int | None = None
    venue_code: str | None = None
    venue_message: str | None = None
    retry_after_s: float | None = None
    data: object = None


class Outcome(StrEnum):
    """What a write's answer proves."""

    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


#: ccxt's classes that say "not accepted" when the venue itself answered.
_DEFINITE: Final = frozenset(
    {
        "InsufficientFunds",
        "InvalidOrder",
        "BadSymbol",
        "BadRequest",
        "AuthenticationError",
        "PermissionDenied",
        "OperationRejected",
        "InvalidNonce",
        "RateLimitExceeded",
        "DDoSProtection",
        "NotSupported",
    }
)
_CREDENTIALS: Final = frozenset({"AuthenticationError", "PermissionDenied", "AccountSuspended"})
_RATE: Final = frozenset({"RateLimitExceeded", "DDoSProtection"})
_NO_ORDER: Final = frozenset({"OrderNotFound"})
#: A venue without a list of its own.
_NO_CODES: Final = VenueCodes()
_FORBIDDEN: Final = 403
_CREDENTIAL_STATUSES: Final = frozenset({401})
_SAYS_TWICE: Final = re.compile(r"duplicat|already (?:exist|used)|must be unique", re.IGNORECASE)
_CODE_IN_TEXT: Final = re.compile(r'"code"\s*:\s*"?(-?\d+)')
_SECRETIVE: Final = re.compile(r"https?://\S+|signature=\S*|[0-9a-zA-Z+/_-]{32,}")
_LONGEST_DETAIL: Final = 160

_FILTERS: Final = {
    "PRICE_FILTER": "the price is out of bounds or not a multiple of the tick size",
    "PERCENT_PRICE": "the price is too far from the market",
    "PERCENT_PRICE_BY_SIDE": "the price is too far from the market",
    "LOT_SIZE": "the quantity is out of bounds or not a multiple of the step",
    "MARKET_LOT_SIZE": "the quantity is out of bounds for a market order",
    "MIN_NOTIONAL": "the order is worth too little",
    "NOTIONAL": "the order is worth too little or too much",
    "MAX_NUM_ORDERS": "there are too many open orders for the symbol",
    "MAX_NUM_ALGO_ORDERS": "there are too many open stop orders for the symbol",
    "EXCHANGE_MAX_NUM_ORDERS": "there are too many open orders on the account",
    "EXCHANGE_MAX_NUM_ALGO_ORDERS": "there are too many open stop orders on the account",
    "MAX_POSITION": "the position would become too large",
    "TRAILING_DELTA": "the trailing distance is out of bounds",
    "ICEBERG_PARTS": "the order would be cut into too many parts",
}


def classify(result: Any, error: BaseException | None, *, exchange: str, call: Call) -> Outcome:
    """Return what the answer to an order proves. Source: docs/architecture.md, faults injected at every step of a POST.

    Args:
        result: What ccxt returned, or None.
        error: What was raised instead, or None.
        exchange: Exchange id; each family of venues has its own codes.
        call: What was noted while the call ran.
    """
    if error is None:
        if call.venue_code is not None and codes_of(exchange).proves_refusal(call.venue_code):
            return Outcome.REJECTED  # ccxt did not take it for an error
        return Outcome.ACKNOWLEDGED if isinstance(result, dict) and result.get("id") else Outcome.UNKNOWN
    if isinstance(error, NotSent):
        return Outcome.NOT_SENT
    if not call.attempted:
        return Outcome.REJECTED if _kinds(error) & _DEFINITE else Outcome.NOT_SENT
    cause = error.__cause__
    if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        # The connection was never made: no byte of the request left. Source: aiohttp client.py, connector.connect precedes send.
        return Outcome.NOT_SENT
    if cause is not None and isinstance(cause, (aiohttp.ClientError, TimeoutError, OSError)):
        return Outcome.UNKNOWN
    if _is_duplicate(error, exchange, call):
        # An order under our id is already there: ours, from a request that seemed to fail. Reading decides.
        return Outcome.UNKNOWN
    return _classify_answer(error, exchange=exchange, call=call)


def _classify_answer(error: BaseException, *, exchange: str, call: Call) -> Outcome:
    code, codes = _code(error, call), codes_of(exchange)
    if code is not None:
        if codes.proves_refusal(code):
            return Outcome.REJECTED
        if codes.is_closed or code in codes.doubtful:
            return Outcome.UNKNOWN
    if call.status in (418, 429):
        return Outcome.REJECTED
    kinds = _kinds(error)
    if call.status is not None and call.status >= 500:
        return Outcome.UNKNOWN
    if call.status == _FORBIDDEN and code is None and not kinds & _CREDENTIALS:
        return Outcome.UNKNOWN  # a page of whatever stands before the venue
    return Outcome.REJECTED if kinds & _DEFINITE else Outcome.UNKNOWN


def codes_of(exchange: str) -> VenueCodes:
    """Return what the codes of `exchange` prove; nothing for one without a list."""
    return VENUE_CODES.get(exchange, _NO_CODES)


def write_error(error: BaseException | None, *, exchange: str, call: Call) -> ExchangeError:
    """Return our error for an order request that was not acknowledged; raise it `from` the original."""
    outcome = classify(None, error, exchange=exchange, call=call)
    if outcome is Outcome.UNKNOWN:
        return OutcomeUnknown(venue_code=_code(error, call))
    if isinstance(error, NotSent):
        return error
    if outcome is Outcome.NOT_SENT:
        return NotSent("the exchange cannot be reached; the order was not sent")
    return _refusal(error, exchange=exchange, call=call)


def read_error(error: BaseException, *, exchange: str, call: Call) -> AppError:
    """Return our error for a request that changes nothing; raise it `from` the original."""
    code = _code(error, call)
    kinds = _kinds(error)
    if (account := codes_of(exchange).account.get(code or "")) is not None:
        return Unsupported(account, venue_code=code)
    if _is_credentials(error, code, exchange, call):
        return BadCredentials(venue_code=code)
    if _is_rate_limited(code, kinds, exchange, call):
        return _rate_limited(exchange, code, call)
    if "BadSymbol" in kinds:
        return SymbolNotFound()
    if kinds & {"NotSupported", "ArgumentsRequired"}:
        return Unsupported(venue_code=code)
    return ExchangeUnavailable(venue_code=code)


def is_unknown_order(error: BaseException | None, *, exchange: str, call: Call) -> bool:
    """Whether the venue says that it does not know the order."""
    return bool(_kinds(error) & _NO_ORDER) or _code(error, call) in codes_of(exchange).no_order


def is_clock_error(error: BaseException | None, *, exchange: str, call: Call) -> bool:
    """Whether the venue refused the request's timestamp."""
    code, codes = _code(error, call), codes_of(exchange)
    if code is not None and (codes.is_closed or code in codes.clock):
        return code in codes.clock
    return "InvalidNonce" in _kinds(error)


def _refusal(error: BaseException | None, *, exchange: str, call: Call) -> ExchangeError:
    code = _code(error, call)
    kinds = _kinds(error)
    codes = codes_of(exchange)
    if (account := codes.account.get(code or "")) is not None:
        return Unsupported(account, venue_code=code)
    if _is_credentials(error, code, exchange, call):
        return BadCredentials(venue_code=code)
    if _is_rate_limited(code, kinds, exchange, call):
        return _rate_limited(exchange, code, call)
    if is_clock_error(error, exchange=exchange, call=call):
        return NotSent(
            "the exchange did not take the order: the request was too old, or this machine's clock differs from the exchange's",
            venue_code=code,
        )
    if "NotSupported" in kinds and code is None:
        return Unsupported(venue_code=code)
    detail = _detail(call)
    if code in codes.funds or "InsufficientFunds" in kinds or (code == "-2010" and "balance" in detail.lower()):
        return InsufficientFunds(venue_code=code)
    return OrderRejected(f"The exchange rejected the order: {_in_words(detail)}." if detail else None, venue_code=code)


def _rate_limited(exchange: str, code: str | None, call: Call) -> ExchangeRateLimited:
    what = "has blocked this server" if call.status == 418 else "asks us to slow down"
    until = f" for {call.retry_after_s:.0f} s" if call.retry_after_s is not None else ""
    venue = venue_of(exchange)
    name = exchange if venue is None else venue.name
    return ExchangeRateLimited(
        f"{name} {what}{until}. Orders already there are unaffected.", retry_after_s=call.retry_after_s, venue_code=code
    )


def _is_credentials(error: BaseException | None, code: str | None, exchange: str, call: Call) -> bool:
    # Once a key has worked, ccxt calls Binance's -2015 a DDoSProtection: the code is the truth, so it comes first.
    codes = codes_of(exchange)
    if code is not None and (codes.is_closed or codes.proves_refusal(code) or code in codes.doubtful):
        return code in codes.credentials
    return bool(_kinds(error) & _CREDENTIALS) or call.status in _CREDENTIAL_STATUSES


def _is_rate_limited(code: str | None, kinds: frozenset[str], exchange: str, call: Call) -> bool:
    return code in codes_of(exchange).rate or call.status in (418, 429) or bool(kinds & _RATE)


def _is_duplicate(error: BaseException, exchange: str, call: Call) -> bool:
    code = _code(error, call)
    named = "DuplicateOrderId" in _kinds(error) or code in codes_of(exchange).duplicate
    return named or _SAYS_TWICE.search(call.venue_message or "") is not None


def _code(error: BaseException | None, call: Call) -> str | None:
    if call.venue_code is not None:
        return call.venue_code
    found = _CODE_IN_TEXT.search(str(error)) if error is not None else None
    return found[1] if found else None


def _kinds(error: BaseException | None) -> frozenset[str]:
    return frozenset() if error is None else frozenset(kind.__name__ for kind in type(error).__mro__)


def _detail(call: Call) -> str:
    return _shown(call.venue_message or "")


def _shown(message: str) -> str:
    text = _SECRETIVE.sub("…", message)
    return "".join(letter for letter in text if letter.isprintable()).strip().rstrip(".")[:_LONGEST_DETAIL]


def _in_words(detail: str) -> str:
    head, _, name = detail.rpartition(": ")
    if head.lower().startswith("filter failure") and name in _FILTERS:
        return f"{_FILTERS[name]} ({name})"
    return detail


def is_binance_credentials(code: str) -> bool:
    """Whether one of Binance's codes means that the account's key is not let in."""
    return code in codes_of("binance").credentials


def told_in_words(message: str) -> str:
    """Return a venue's message as a trader may read it: short, printable, and without anything that looks like a secret."""
    return _in_words(_shown(message))


def scrub(error: BaseException) -> BaseException:
    """Remove addresses and signatures from the text of `error`, so that a logged traceback tells nobody a signed request."""
    error.args = tuple(_SECRETIVE.sub("…", arg) if isinstance(arg, str) else arg for arg in error.args)
    return error
