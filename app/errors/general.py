"""What may go wrong apart from an exchange; the whole tree is drawn in the package."""

import math
from datetime import datetime
from typing import ClassVar

from app.denials import DenialReason


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
    """The broker account still has open orders or positions."""

    default_code = "BROKER_IN_USE"


class InvalidInput(AppError):
    """A field has a value that cannot be used."""

    status = 422
    default_code = "INVALID_INPUT"


class CandleFileUnreadable(InvalidInput):
    """The file is not one of candles."""

    default_code = "CANDLE_FILE_UNREADABLE"


class AddressRefused(InvalidInput):
    """This server does not call that address."""

    default_code = "ADDRESS_REFUSED"


class UpstreamFailed(AppError):
    """The other server gave no answer that can be used."""

    status = 502
    default_code = "UPSTREAM_FAILED"


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


class FreshCodeNeeded(Forbidden):
    """Enter a code of your second factor first, then repeat what you were about to do."""

    default_code = "OTP_AGAIN"


class RateLimited(AppError):
    """Too many attempts. Wait a little and try again."""

    status = 429
    default_code = "RATE_LIMITED"


class TooManyAttempts(RateLimited):
    """Too many attempts went wrong. Try again in %(seconds)d seconds."""

    default_code = "TOO_MANY_ATTEMPTS"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        # Rounded up: who comes back when told to must not find the door still closed.
        super().__init__((message or type(self).__doc__ or "") % {"seconds": math.ceil(retry_after_s)})
        self.retry_after_s = retry_after_s

    @classmethod
    def until(cls, until: datetime, *, now: datetime) -> "TooManyAttempts":
        """Return the refusal that says when the next attempt is taken."""
        return cls(retry_after_s=max((until - now).total_seconds(), 1.0))


class UpdateTooSoon(TooManyAttempts):
    """These symbols were updated less than a minute ago. Wait a little."""

    default_code = "UPDATE_TOO_SOON"


class BackfillTooSoon(TooManyAttempts):
    """The exchange was asked about missing candles a moment ago. Ask again in %(seconds)d seconds."""

    default_code = "BACKFILL_TOO_SOON"


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


class Fenced(AppError):
    """Another process has taken over this role."""

    status = 503
    default_code = "FENCED"


class KeyMissing(AppError):
    """The encryption key of this server is missing. Nothing is traded and no secret is stored until it is put back."""

    status = 503
    default_code = "ENCRYPTION_KEY_MISSING"


class KeyUnreadable(AppError):
    """A stored secret cannot be read: it was encrypted with a key that this server does not have."""

    status = 409
    default_code = "KEY_UNREADABLE"


class ConfigError(AppError):
    """The configuration cannot be used."""

    default_code = "CONFIG_ERROR"
