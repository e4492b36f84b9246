import aiohttp
import ccxt
import pytest
from aiohttp.client_reqrep import ConnectionKey

from app.errors import (
    AppError,
    BadCredentials,
    ExchangeRateLimited,
    ExchangeUnavailable,
    InsufficientFunds,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    SymbolNotFound,
    Unsupported,
)
from app.exchanges.errors import Call, Outcome, classify, is_clock_error, is_unknown_order, read_error, scrub, write_error

_KEY = ConnectionKey(host="api.example", port=443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
NEVER_CONNECTED = aiohttp.ClientConnectorError(_KEY, ConnectionRefusedError())


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def answered(status: int, code: int | str | None = None, message: str | None = None, *, retry_after_s: float | None = None) -> Call:
    return Call(
        attempted=True,
        status=status,
        venue_code=None if code is None else str(code),
        venue_message=message,
        retry_after_s=retry_after_s,
    )


SENT = Call(attempted=True)
#: What was injected, what ccxt raises, what was noted, and what it proves: the table of faults of a POST.
WRITES: list[tuple[str, Exception, Call, Outcome, type[AppError]]] = [
    ("reset", caused(ccxt.ExchangeNotAvailable(), aiohttp.ServerDisconnectedError()), SENT, Outcome.UNKNOWN, OutcomeUnknown),
    ("reset by peer", caused(ccxt.ExchangeNotAvailable(), aiohttp.ClientOSError()), SENT, Outcome.UNKNOWN, OutcomeUnknown),
    ("timeout", caused(ccxt.RequestTimeout(), TimeoutError()), SENT, Outcome.UNKNOWN, OutcomeUnknown),
    ("504 -1007", ccxt.RequestTimeout(), answered(504, -1007, "Timeout"), Outcome.UNKNOWN, OutcomeUnknown),
    ("503 -1000", ccxt.OperationFailed(), answered(503, -1000, "unknown"), Outcome.UNKNOWN, OutcomeUnknown),
    ("-1006", ccxt.OperationFailed(), answered(400, -1006, "unexpected"), Outcome.UNKNOWN, OutcomeUnknown),
    ("502 html", ccxt.ExchangeNotAvailable(), answered(502), Outcome.UNKNOWN, OutcomeUnknown),
    ("truncated", caused(ccxt.ExchangeError(), aiohttp.ClientPayloadError()), SENT, Outcome.UNKNOWN, OutcomeUnknown),
    ("429 -1003", ccxt.DDoSProtection(), answered(429, -1003, "Too much"), Outcome.REJECTED, ExchangeRateLimited),
    ("418 -1003", ccxt.DDoSProtection(), answered(418, -1003, "banned", retry_after_s=120), Outcome.REJECTED, ExchangeRateLimited),
    ("429 html", ccxt.DDoSProtection(), answered(429), Outcome.REJECTED, ExchangeRateLimited),
    ("-1015", ccxt.RateLimitExceeded(), answered(400, -1015, "Too many new orders"), Outcome.REJECTED, ExchangeRateLimited),
    ("403 html", ccxt.ExchangeNotAvailable(), answered(403), Outcome.UNKNOWN, OutcomeUnknown),
    ("-1021", ccxt.InvalidNonce(), answered(400, -1021, "Timestamp outside recvWindow"), Outcome.REJECTED, NotSent),
    ("-1008", ccxt.OperationFailed(), answered(503, -1008, "overloaded"), Outcome.UNKNOWN, OutcomeUnknown),
    ("-1008 on loopback", ccxt.ExchangeError(), answered(400, -1008, "overloaded"), Outcome.UNKNOWN, OutcomeUnknown),
    ("-2015 first", ccxt.AuthenticationError(), answered(401, -2015, "Invalid API-key"), Outcome.REJECTED, BadCredentials),
    ("-2015 later", ccxt.DDoSProtection(), answered(401, -2015, "Invalid API-key"), Outcome.REJECTED, BadCredentials),
    ("-1022", ccxt.AuthenticationError(), answered(400, -1022, "Signature"), Outcome.REJECTED, BadCredentials),
    ("-2014", ccxt.AuthenticationError(), answered(401, -2014, "API-key format"), Outcome.REJECTED, BadCredentials),
    (
        "-2010 balance",
        ccxt.InsufficientFunds(),
        answered(400, -2010, "Account has insufficient balance"),
        Outcome.REJECTED,
        InsufficientFunds,
    ),
    ("-2010 balance, other class", ccxt.ExchangeError(), answered(400, -2010, "insufficient Balance"), Outcome.REJECTED, InsufficientFunds),
    ("-2010 would match", ccxt.InvalidOrder(), answered(400, -2010, "Order would immediately match"), Outcome.REJECTED, OrderRejected),
    ("-2010 duplicate", ccxt.InvalidOrder(), answered(400, -2010, "Duplicate order sent."), Outcome.UNKNOWN, OutcomeUnknown),
    ("duplicate elsewhere", ccxt.DuplicateOrderId(), answered(400), Outcome.UNKNOWN, OutcomeUnknown),
    ("-1013", ccxt.BadRequest(), answered(400, -1013, "Filter failure: LOT_SIZE"), Outcome.REJECTED, OrderRejected),
    ("-1111", ccxt.BadRequest(), answered(400, -1111, "Precision"), Outcome.REJECTED, OrderRejected),
    ("-1121", ccxt.BadSymbol(), answered(400, -1121, "Invalid symbol."), Outcome.REJECTED, OrderRejected),
    ("unknown code", ccxt.InvalidOrder(), answered(400, -9999, "?"), Outcome.UNKNOWN, OutcomeUnknown),
    ("code only in the text", ccxt.BadRequest('binance {"code":-1013,"msg":"x"}'), SENT, Outcome.REJECTED, OrderRejected),
    ("no connection", caused(ccxt.ExchangeNotAvailable(), NEVER_CONNECTED), SENT, Outcome.NOT_SENT, NotSent),
    ("no connection in time", caused(ccxt.RequestTimeout(), aiohttp.ConnectionTimeoutError()), SENT, Outcome.NOT_SENT, NotSent),
    ("our guard", NotSent("the deadline has passed"), SENT, Outcome.NOT_SENT, NotSent),
    ("ccxt's own check", ccxt.InvalidOrder("no"), Call(), Outcome.REJECTED, OrderRejected),
    ("ccxt cannot", ccxt.NotSupported("no"), Call(), Outcome.REJECTED, Unsupported),
    ("a fault before sending", KeyError("x"), Call(), Outcome.NOT_SENT, NotSent),
    ("a fault after sending", KeyError("x"), SENT, Outcome.UNKNOWN, OutcomeUnknown),
    (
        "a foreign cause",
        caused(ccxt.BadRequest(), ValueError()),
        answered(400, -1013, "Filter failure: NOTIONAL"),
        Outcome.REJECTED,
        OrderRejected,
    ),
]


@pytest.mark.parametrize(("error", "call", "outcome", "ours"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_an_order_is_in_doubt_unless_it_is_proved_otherwise(error: Exception, call: Call, outcome: Outcome, ours: type[AppError]) -> None:
    assert classify(None, error, exchange="binance", call=call) is outcome
    assert type(write_error(error, exchange="binance", call=call)) is ours


@pytest.mark.parametrize(
    ("error", "call", "ours"),
    [
        (ccxt.AuthenticationError(), answered(401), BadCredentials),
        (ccxt.PermissionDenied(), answered(403), BadCredentials),
        (ccxt.InvalidNonce(), answered(200), NotSent),
        (ccxt.RateLimitExceeded(), answered(200), ExchangeRateLimited),
        (ccxt.InsufficientFunds(), answered(200), InsufficientFunds),
        (ccxt.BadSymbol(), answered(200), OrderRejected),
        (ccxt.InvalidOrder(), answered(500), OutcomeUnknown),
        (ccxt.ExchangeError('{"code":"400100"}'), answered(200), OutcomeUnknown),
    ],
)
def test_other_venues_are_judged_by_class(error: Exception, call: Call, ours: type[AppError]) -> None:
    assert type(write_error(error, exchange="kraken", call=call)) is ours


@pytest.mark.parametrize("result", ["<html>502</html>", {}, {"id": None}, {"id": ""}, None])
def test_an_answer_without_an_order_id_is_in_doubt(result: object) -> None:
    assert classify(result, None, exchange="binance", call=SENT) is Outcome.UNKNOWN
    assert isinstance(write_error(None, exchange="binance", call=SENT), OutcomeUnknown)


def test_an_answer_with_an_order_id_is_an_acknowledgement() -> None:
    assert classify({"id": "28"}, None, exchange="binance", call=SENT) is Outcome.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("error", "call", "ours"),
    [
        (ccxt.RequestTimeout(), SENT, ExchangeUnavailable),
        (ccxt.ExchangeNotAvailable(), answered(502), ExchangeUnavailable),
        (ccxt.DDoSProtection(), answered(429, -1003), ExchangeRateLimited),
        (ccxt.DDoSProtection(), answered(401, -2015), BadCredentials),
        (ccxt.BadSymbol(), Call(), SymbolNotFound),
        (ccxt.NotSupported(), Call(), Unsupported),
        (KeyError("x"), SENT, ExchangeUnavailable),
    ],
)
def test_a_read_that_failed_changed_nothing(error: Exception, call: Call, ours: type[AppError]) -> None:
    assert type(read_error(error, exchange="binance", call=call)) is ours


def test_a_ban_says_for_how_long_and_that_orders_are_safe() -> None:
    error = write_error(ccxt.DDoSProtection(), exchange="binance", call=answered(418, -1003, "x", retry_after_s=120))

    assert isinstance(error, ExchangeRateLimited)
    assert error.retry_after_s == 120
    assert error.message == "Binance has blocked this server for 120 s. Orders already there are unaffected."


def test_a_filter_is_named_in_words() -> None:
    error = write_error(ccxt.BadRequest(), exchange="binance", call=answered(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"))

    assert error.message == "The exchange rejected the order: the price is too far from the market (PERCENT_PRICE_BY_SIDE)."
    assert error.venue_code == "-1013"


def test_no_message_holds_an_address_a_signature_or_a_key() -> None:
    secret = "a" * 64
    words = f"bad https://api.binance.com/api/v3/order?x=1&signature={secret} signature={secret}\n{secret}"

    error = write_error(ccxt.BadRequest(words), exchange="binance", call=answered(400, -1102, words))
    cleaned = scrub(ccxt.RequestTimeout(f"binance GET https://x/y?signature={secret}", 7))

    for text in (error.message, str(cleaned)):
        assert secret not in text
        assert "https://" not in text
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("error", "call", "expected"),
    [
        (ccxt.OrderNotFound(), answered(400, -2013), True),
        (ccxt.OrderNotFound(), answered(400), True),
        (ccxt.ExchangeError(), answered(400, -2011), True),
        (ccxt.RequestTimeout(), SENT, False),
    ],
)
def test_only_the_venue_can_say_that_it_does_not_know_an_order(error: Exception, call: Call, *, expected: bool) -> None:
    assert is_unknown_order(error, exchange="binance", call=call) is expected


def test_the_clock_is_at_fault_only_where_the_venue_says_so() -> None:
    assert is_clock_error(ccxt.InvalidNonce(), exchange="binance", call=answered(400, -1021))
    assert not is_clock_error(ccxt.InvalidNonce(), exchange="binance", call=answered(400, -1022))
    assert is_clock_error(ccxt.InvalidNonce(), exchange="kraken", call=answered(200))
