"""The whole error tree. An expected outcome has a class, a stable code and a status; `core.http` alone turns it into an answer.

AppError 500 (never raised bare)
├─ NotFound 404          BrokerNotFound · OrderNotFound · WebhookNotFound · DeliveryNotFound · SymbolNotFound   (another tenant's row too)
│                        TokenNotFound · UserNotFound · InvitationNotFound
├─ Conflict 409          DuplicateIntent · InvalidTransition · OrderNotCancellable · NameTaken · BrokerInUse · LastAdministrator
├─ InvalidInput 422      a field that cannot be what was given; AddressRefused
├─ OrderDenied 422       code = DenialReason; ours, before anything is sent
├─ NotAuthenticated 401  SecondFactorNeeded
├─ Forbidden 403         CsrfFailed · ScopeMissing · SessionNeeded · InvitationInvalid
├─ RateLimited 429       TooManyAttempts · BodyTooLarge 413
├─ WebhookError          BadToken 404 · BadPayload 422
├─ ExchangeError 502     OrderRejected 409 · InsufficientFunds 409 · BadCredentials 409 · Unsupported 422
│  ├─ RetryableError 503 ExchangeUnavailable · ExchangeRateLimited · NotSent      (reads, and writes proved unsent)
│  └─ OutcomeUnknown 504 the write may have happened; reconcile decides
├─ UpstreamFailed 502    another server that a user named gave no answer that can be used
├─ Fenced 503            this process no longer owns the role; it must stop writing
└─ ConfigError           refuses to start

A class's docstring is its default message. Messages say what, which, why, and what the value was.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar


class AppError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str | None = None, *, code: str | None = None, field: str | None = None, **context: object) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.code = code or self.default_code
        self.field = field
        self.context = context
        super().__init__(self.message)


class NotFound(AppError):
    """There is nothing here under that id."""

    status = 404
    default_code = "NOT_FOUND"


class BrokerNotFound(NotFound):
    """There is no such broker account."""

    default_code = "BROKER_NOT_FOUND"


class OrderNotFound(NotFound):
    """There is no such order."""

    default_code = "ORDER_NOT_FOUND"


class WebhookNotFound(NotFound):
    """There is no such webhook."""

    default_code = "WEBHOOK_NOT_FOUND"


class DeliveryNotFound(NotFound):
    """There is no such webhook delivery."""

    default_code = "DELIVERY_NOT_FOUND"


class SymbolNotFound(NotFound):
    """The exchange does not list that symbol."""

    default_code = "SYMBOL_NOT_FOUND"


class TokenNotFound(NotFound):
    """There is no such API token."""

    default_code = "TOKEN_NOT_FOUND"


class UserNotFound(NotFound):
    """There is no such user."""

    default_code = "USER_NOT_FOUND"


class InvitationNotFound(NotFound):
    """There is no such invitation."""

    default_code = "INVITATION_NOT_FOUND"


class Conflict(AppError):
    """That does not fit what is already here."""

    status = 409
    default_code = "CONFLICT"


class DuplicateIntent(Conflict):
    """This intent was already traded."""

    default_code = "DUPLICATE_INTENT"


class InvalidTransition(Conflict):
    """The order cannot go from its state to that one."""

    default_code = "INVALID_TRANSITION"


class OrderNotCancellable(Conflict):
    """The order is already finished."""

    default_code = "ORDER_NOT_CANCELLABLE"


class NameTaken(Conflict):
    """That name is already in use."""

    default_code = "NAME_TAKEN"


class BrokerInUse(Conflict):
    """The broker account still has open orders."""

    default_code = "BROKER_IN_USE"


class InvalidInput(AppError):
    """A field has a value that cannot be used."""

    status = 422
    default_code = "INVALID_INPUT"


class AddressRefused(InvalidInput):
    """This server does not call that address."""

    default_code = "ADDRESS_REFUSED"


class UpstreamFailed(AppError):
    """The other server gave no answer that can be used."""

    status = 502
    default_code = "UPSTREAM_FAILED"


class DenialReason(StrEnum):
    """Why we refused an intent before anything was sent; the value is the stable code."""

    SYMBOL_UNKNOWN = "SYMBOL_UNKNOWN"
    SYMBOL_NOT_TRADING = "SYMBOL_NOT_TRADING"
    TYPE_UNSUPPORTED = "TYPE_UNSUPPORTED"
    QUANTITY_MISSING = "QUANTITY_MISSING"
    QUANTITY_INVALID = "QUANTITY_INVALID"
    QUANTITY_BELOW_MINIMUM = "QUANTITY_BELOW_MINIMUM"
    QUANTITY_ABOVE_MAXIMUM = "QUANTITY_ABOVE_MAXIMUM"
    PRICE_MISSING = "PRICE_MISSING"
    PRICE_INVALID = "PRICE_INVALID"
    PRICE_OUT_OF_RANGE = "PRICE_OUT_OF_RANGE"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    TRIGGER_MISSING = "TRIGGER_MISSING"
    TRIGGER_INVALID = "TRIGGER_INVALID"
    TRAILING_INVALID = "TRAILING_INVALID"
    PLAN_INVALID = "PLAN_INVALID"
    SHORT_UNSUPPORTED = "SHORT_UNSUPPORTED"
    NOTIONAL_BELOW_MINIMUM = "NOTIONAL_BELOW_MINIMUM"
    NOTIONAL_ABOVE_MAXIMUM = "NOTIONAL_ABOVE_MAXIMUM"
    NO_POSITION = "NO_POSITION"
    NO_BROKER = "NO_BROKER"
    BROKER_INACTIVE = "BROKER_INACTIVE"
    BROKER_DISABLED = "BROKER_DISABLED"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    BALANCE_UNKNOWN = "BALANCE_UNKNOWN"
    MAX_NOTIONAL = "MAX_NOTIONAL"
    MAX_POSITION_NOTIONAL = "MAX_POSITION_NOTIONAL"
    MAX_DAILY_LOSS = "MAX_DAILY_LOSS"
    MAX_OPEN_ORDERS = "MAX_OPEN_ORDERS"
    MAX_DAILY_ORDERS = "MAX_DAILY_ORDERS"
    ORDER_RATE = "ORDER_RATE"
    PRICE_COLLAR = "PRICE_COLLAR"
    PRICE_DEVIATION = "PRICE_DEVIATION"
    VALUE_UNKNOWN = "VALUE_UNKNOWN"
    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    TRADING_RECONCILING = "TRADING_RECONCILING"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    NOT_OWNER = "NOT_OWNER"
    RATE_LIMIT = "RATE_LIMIT"
    EXCHANGE_UNREACHABLE = "EXCHANGE_UNREACHABLE"
    CLOCK_UNSURE = "CLOCK_UNSURE"


class OrderDenied(AppError):
    """The order was refused before anything was sent."""

    status = 422
    default_code = "ORDER_DENIED"

    def __init__(self, reason: DenialReason, message: str, *, field: str | None = None, **context: object) -> None:
        super().__init__(message, code=reason.value, field=field, **context)
        self.reason = reason


class NotAuthenticated(AppError):
    """Log in first."""

    status = 401
    default_code = "NOT_AUTHENTICATED"


class Forbidden(AppError):
    """You may not do that."""

    status = 403
    default_code = "FORBIDDEN"


class ScopeMissing(Forbidden):
    """This API token may not do that."""

    default_code = "SCOPE_MISSING"


class SessionNeeded(Forbidden):
    """No API token may do that: log in."""

    default_code = "SESSION_NEEDED"


class InvitationInvalid(Forbidden):
    """This invitation cannot be used: it was used already, has expired, or there never was one. Ask for another."""

    default_code = "INVITATION_INVALID"


class LastAdministrator(Conflict):
    """Nobody takes their own rights as an administrator away, so that there is always one. Ask another administrator."""

    default_code = "LAST_ADMINISTRATOR"


class CsrfFailed(Forbidden):
    """This form is out of date. Reload the page and try again."""

    default_code = "CSRF_FAILED"


class RateLimited(AppError):
    """Too many attempts. Wait a little and try again."""

    status = 429
    default_code = "RATE_LIMITED"


class TooManyAttempts(RateLimited):
    """Too many attempts went wrong. Wait a little and try again."""

    default_code = "TOO_MANY_ATTEMPTS"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @classmethod
    def until(cls, until: datetime, *, now: datetime) -> "TooManyAttempts":
        """Return the refusal that says when the next attempt is taken."""
        return cls(retry_after_s=max((until - now).total_seconds(), 1.0))


class SecondFactorNeeded(NotAuthenticated):
    """Enter the code of your second factor too."""

    default_code = "OTP_REQUIRED"

    def __init__(self, challenge: str) -> None:
        super().__init__()
        self.challenge = challenge


class BodyTooLarge(AppError):
    """The body is too large."""

    status = 413
    default_code = "BODY_TOO_LARGE"


class WebhookError(AppError):
    """The alert could not be taken."""

    status = 422
    default_code = "WEBHOOK_ERROR"


class BadToken(WebhookError):
    """No webhook has that address."""

    status = 404
    default_code = "WEBHOOK_UNKNOWN"


class BadPayload(WebhookError):
    """The alert's message cannot be read."""

    default_code = "PAYLOAD_UNREADABLE"


class ExchangeError(AppError):
    """The exchange answered with an error."""

    status = 502
    default_code = "EXCHANGE_ERROR"

    def __init__(self, message: str | None = None, *, venue_code: str | None = None, **context: object) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # code= and field= may ride in context
        self.venue_code = venue_code


class OrderRejected(ExchangeError):
    """The exchange rejected the order."""

    status = 409
    default_code = "ORDER_REJECTED"


class InsufficientFunds(OrderRejected):
    """The account does not hold enough."""

    default_code = "INSUFFICIENT_FUNDS"


class BadCredentials(ExchangeError):
    """The API key no longer works, or this server's address is not allowed. Trading for this account is paused."""

    status = 409
    default_code = "BAD_CREDENTIALS"


class Unsupported(ExchangeError):
    """This exchange cannot do that."""

    status = 422
    default_code = "UNSUPPORTED"


class RetryableError(ExchangeError):
    """The exchange cannot be reached now."""

    status = 503
    default_code = "RETRYABLE"


class ExchangeUnavailable(RetryableError):
    """The exchange does not answer."""

    default_code = "EXCHANGE_UNAVAILABLE"


class ExchangeRateLimited(RetryableError):
    """The exchange asks us to slow down."""

    default_code = "EXCHANGE_RATE_LIMITED"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, **context: object) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # see ExchangeError
        self.retry_after_s = retry_after_s


class NotSent(RetryableError):
    """Nothing left this process."""

    default_code = "NOT_SENT"


class OutcomeUnknown(ExchangeError):
    """The exchange did not answer. The order may or may not exist. We are checking; nothing will be sent twice."""

    status = 504
    default_code = "OUTCOME_UNKNOWN"


class Fenced(AppError):
    """Another process has taken over this role."""

    status = 503
    default_code = "FENCED"


class ConfigError(AppError):
    """The configuration cannot be used."""

    default_code = "CONFIG_ERROR"
