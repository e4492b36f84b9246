"""What an exchange may answer, or not; the whole tree is drawn in the package."""

from app.errors.general import AppError


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


class TimeframeMissing(Unsupported):
    """The exchange has no candles of that length."""

    default_code = "TIMEFRAME_MISSING"


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
