"""What each venue's errors prove, through the whole client: the body as the venue sends it, ccxt's reading of it, and our error."""

from typing import Any

import aiohttp
import pytest

from app.domain.enums import OrderType
from app.errors import (
    AppError,
    BadCredentials,
    ExchangeRateLimited,
    ExchangeUnavailable,
    InsufficientFunds,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    Unsupported,
)
from app.exchanges.errors import Call, Outcome, classify, codes_of
from app.exchanges.venue_codes import VENUE_CODES
from tests.exchanges.wire.calls import OURS, go, order
from tests.exchanges.wire.clients import SYMBOL, VENUES, make_client
from tests.exchanges.wire.record import answers_of
from tests.exchanges.wire.session import Answer, RecordingSession
from tests.recorded import recorded_replies

PLACE = {
    "binance": "POST /api/v3/order",
    "binanceus": "POST /api/v3/order",
    "kraken": "POST /0/private/AddOrder",
    "coinbase": "POST /api/v3/brokerage/orders",
    "kucoin": "POST /api/v1/hf/orders",
    "bitget": "POST /api/v2/spot/trade/place-order",
    "okx": "POST /api/v5/trade/batch-orders",
    "bybit": "POST /v5/order/create",
    "gate": "POST /api/v4/spot/orders",
    "mexc": "POST /api/v3/order",
}
#: How each venue writes an error of some code and some words, and with which status.
SHAPES: dict[str, Any] = {
    "binance": lambda code, words: (400, {"code": int(code), "msg": words}),
    "binanceus": lambda code, words: (400, {"code": int(code), "msg": words}),
    "kraken": lambda code, words: (200, {"error": [code]}),
    "coinbase": lambda code, words: (
        200,
        {"success": False, "failure_reason": "UNKNOWN_FAILURE_REASON", "order_id": "", "error_response": {"error": code, "message": words}},
    ),
    "kucoin": lambda code, words: (200, {"code": code, "msg": words}),
    "bitget": lambda code, words: (400, {"code": code, "msg": words, "requestTime": 1, "data": None}),
    "okx": lambda code, words: (200, {"code": "1", "data": [{"clOrdId": OURS, "ordId": "", "sCode": code, "sMsg": words}], "msg": ""}),
    "bybit": lambda code, words: (200, {"retCode": int(code), "retMsg": words, "result": {}, "retExtInfo": {}, "time": 1}),
    "gate": lambda code, words: (400, {"label": code, "message": words}),
    "mexc": lambda code, words: (400, {"code": int(code), "msg": words}),
}
REFUSALS: list[tuple[str, str, str, type[AppError]]] = [
    ("binance", "-2010", "Account has insufficient balance for requested action.", InsufficientFunds),
    ("binance", "-1013", "Filter failure: NOTIONAL", OrderRejected),
    ("binance", "-2015", "Invalid API-key, IP, or permissions for action.", BadCredentials),
    ("binance", "-1015", "Too many new orders.", ExchangeRateLimited),
    ("binance", "-1021", "Timestamp for this request is outside of the recvWindow.", NotSent),
    ("binance", "-1007", "Timeout waiting for response from backend server.", OutcomeUnknown),
    ("binance", "-2010", "Duplicate order sent.", OutcomeUnknown),
    ("binanceus", "-2010", "Account has insufficient balance for requested action.", InsufficientFunds),
    ("binanceus", "-1006", "An unexpected response was received from the message bus.", OutcomeUnknown),
    ("kraken", "EOrder:Insufficient funds", "", InsufficientFunds),
    ("kraken", "EOrder:Order minimum not met", "", OrderRejected),
    ("kraken", "EOrder:Post only order", "", OrderRejected),
    ("kraken", "EGeneral:Invalid arguments:volume", "", OrderRejected),
    ("kraken", "EAPI:Invalid key", "", BadCredentials),
    ("kraken", "EAPI:Invalid signature", "", BadCredentials),
    ("kraken", "EGeneral:Permission denied", "", BadCredentials),
    ("kraken", "EAPI:Rate limit exceeded", "", ExchangeRateLimited),
    ("kraken", "EAPI:Invalid nonce", "", NotSent),
    ("kraken", "EService:Deadline elapsed", "", NotSent),
    ("kraken", "EService:Market in cancel_only mode", "", OrderRejected),
    ("kraken", "EService:Unavailable", "", OutcomeUnknown),
    ("kraken", "EService:Busy", "", OutcomeUnknown),
    ("kraken", "EGeneral:Internal error", "", OutcomeUnknown),
    ("kraken", "EOrder:cl_ord_id already exists", "", OutcomeUnknown),
    ("coinbase", "INSUFFICIENT_FUND", "Insufficient balance in source account", InsufficientFunds),
    ("coinbase", "UNSUPPORTED_ORDER_CONFIGURATION", "source is not enabled for trading", OrderRejected),
    ("coinbase", "INVALID_LIMIT_PRICE_POST_ONLY", "would match", OrderRejected),
    ("coinbase", "PERMISSION_DENIED", "missing scope", BadCredentials),
    ("coinbase", "UNKNOWN_FAILURE_REASON", "", OutcomeUnknown),
    ("kucoin", "200004", "Balance insufficient!", InsufficientFunds),
    ("kucoin", "400100", "Order size below the minimum requirement.", OrderRejected),
    ("kucoin", "400003", "KC-API-KEY not exists", BadCredentials),
    ("kucoin", "400006", "The requested ip address is not in the api whitelist", BadCredentials),
    ("kucoin", "429000", "Too Many Requests", ExchangeRateLimited),
    ("kucoin", "400002", "KC-API-TIMESTAMP Invalid", NotSent),
    ("kucoin", "500000", "Internal Server Error", OutcomeUnknown),
    ("kucoin", "400100", "clientOid is duplicated", OutcomeUnknown),
    ("bitget", "43012", "Insufficient balance", InsufficientFunds),
    ("bitget", "45110", "less than the minimum amount 1 USDT", OrderRejected),
    ("bitget", "40808", "Parameter verification exception price checkBDScale error", OrderRejected),
    ("bitget", "40006", "Invalid ACCESS_KEY", BadCredentials),
    ("bitget", "40012", "apikey/password is incorrect", BadCredentials),
    ("bitget", "40018", "Invalid IP", BadCredentials),
    ("bitget", "429", "Too Many Requests", ExchangeRateLimited),
    ("bitget", "40008", "Request timestamp expired", NotSent),
    ("bitget", "40085", "You are in Unified Account mode", Unsupported),
    ("bitget", "40010", "Request timed out", OutcomeUnknown),
    ("bitget", "40725", "service return an error", OutcomeUnknown),
    ("bitget", "40786", "Duplicate clientOid", OutcomeUnknown),
    ("okx", "51008", "Order failed. Insufficient USDT balance in account", InsufficientFunds),
    ("okx", "51020", "Your order should meet or exceed the minimum order amount.", OrderRejected),
    ("okx", "51000", "Parameter tdMode error", OrderRejected),
    ("okx", "51010", "You can't complete this request under your current account mode.", OrderRejected),
    ("okx", "50111", "Invalid OK-ACCESS-KEY", BadCredentials),
    ("okx", "50110", "Your IP is not included in your API key's whitelist", BadCredentials),
    ("okx", "50011", "Rate limit reached", ExchangeRateLimited),
    ("okx", "50102", "Timestamp request expired", NotSent),
    ("okx", "50004", "API endpoint request timeout", OutcomeUnknown),
    ("okx", "50013", "Systems are busy. Please try again later.", OutcomeUnknown),
    ("okx", "51016", "Client order ID already exists.", OutcomeUnknown),
    ("bybit", "170131", "Balance insufficient", InsufficientFunds),
    ("bybit", "170140", "Order value exceeded lower limit.", OrderRejected),
    ("bybit", "10001", "Request parameter error", OrderRejected),
    ("bybit", "10003", "API key is invalid.", BadCredentials),
    ("bybit", "10010", "Unmatched IP, please check your API key's bound IP addresses.", BadCredentials),
    ("bybit", "10006", "Too many visits. Exceeded the API Rate Limit.", ExchangeRateLimited),
    ("bybit", "10002", "The request time exceeds the time window range.", NotSent),
    ("bybit", "10016", "Server error.", OutcomeUnknown),
    ("bybit", "170007", "Timeout waiting for response from backend server.", OutcomeUnknown),
    ("bybit", "170146", "Order creation timeout.", OutcomeUnknown),
    ("bybit", "170141", "Duplicate clientOrderId", OutcomeUnknown),
    ("gate", "BALANCE_NOT_ENOUGH", "Not enough balance", InsufficientFunds),
    ("gate", "INVALID_PARAM_VALUE", "Your order size 0.5 USDT is too small. The minimum is 1 USDT", OrderRejected),
    ("gate", "POC_FILL_IMMEDIATELY", "Post only order would fill", OrderRejected),
    ("gate", "INVALID_KEY", "Invalid key provided", BadCredentials),
    ("gate", "IP_FORBIDDEN", "Request IP not in whitelist", BadCredentials),
    ("gate", "TOO_MANY_REQUESTS", "Request Rate limit Exceeded", ExchangeRateLimited),
    ("gate", "REQUEST_EXPIRED", "gap between request Timestamp and server time exceeds 60", NotSent),
    ("gate", "SERVER_ERROR", "Internal server error", OutcomeUnknown),
    ("gate", "REPEATED_CREATION", "Repeated creation", OutcomeUnknown),
    ("mexc", "30004", "Insufficient position", InsufficientFunds),
    ("mexc", "30002", "The minimum transaction volume cannot be less than 5 USDT", OrderRejected),
    ("mexc", "10072", "Api key info invalid", BadCredentials),
    ("mexc", "700006", "IP [203.0.113.9] not in the ip white list", BadCredentials),
    ("mexc", "700002", "Signature for this request is not valid.", BadCredentials),
    ("mexc", "429", "Too Many Requests", ExchangeRateLimited),
    ("mexc", "700003", "Timestamp for this request is outside of the recvWindow.", NotSent),
    ("mexc", "500", "server system error", OutcomeUnknown),
    ("mexc", "30026", "Duplicate clientOrderId", OutcomeUnknown),
]


async def refusal(venue: str, answer: Answer, kind: OrderType = OrderType.LIMIT, *, name: str | None = None) -> AppError:
    """Place an order that is answered so, and return the error."""
    session = RecordingSession(answers_of(venue) | {name or PLACE[venue]: [answer]})
    client = make_client(venue, session)
    with pytest.raises(AppError) as caught:
        await client.place_order(order(kind), guard=go)
    assert [sent.name for sent in session.sent].count(name or PLACE[venue]) == 1, "an order was sent again"
    await client.close()
    return caught.value


@pytest.mark.asyncio
@pytest.mark.parametrize(("venue", "code", "words", "expected"), REFUSALS, ids=[f"{row[0]} {row[1]}" for row in REFUSALS])
async def test_a_venue_s_code_says_whether_the_order_is_there(venue: str, code: str, words: str, expected: type[AppError]) -> None:
    status, body = SHAPES[venue](code, words)

    error = await refusal(venue, Answer(body=body, status=status))

    assert type(error) is expected, error.message
    assert "203.0.113.9" not in error.message or expected is not BadCredentials


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(body="<html>Bad Gateway</html>", status=502),
        Answer(body="<html>Just a moment…</html>", status=403),
        Answer(body="<html>OK</html>"),
        Answer(body=""),
        Answer(body={}),
        Answer(body='{"orderId": 28, "stat'),
        Answer(body={}, status=500),
    ],
    ids=["502 page", "403 page", "200 page", "nothing", "empty object", "half a body", "empty 500"],
)
async def test_an_answer_that_is_not_the_venue_s_leaves_the_order_in_doubt(venue: str, answer: Answer) -> None:
    assert type(await refusal(venue, answer)) is OutcomeUnknown


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_a_venue_that_asks_to_slow_down_did_not_take_the_order(venue: str) -> None:
    limited = await refusal(venue, Answer(body={"label": "TOO_MANY_REQUESTS"}, status=429, headers={"Retry-After": "7"}))

    assert isinstance(limited, ExchangeRateLimited)
    assert limited.retry_after_s == 7


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_an_answer_that_is_not_the_venue_s_is_never_no_such_order(venue: str) -> None:
    """A page of a proxy, taken for "not found", would give an order up that is there."""
    for body in ("<html>OK</html>", ""):
        session = RecordingSession({name: [Answer(body=body)] for name in answers_of(venue)})
        client = make_client(venue, session)
        for venue_order_id in (None, "28"):
            with pytest.raises(ExchangeUnavailable):
                await client.fetch_order(SYMBOL, client_order_id=OURS, venue_order_id=venue_order_id)
        await client.close()


@pytest.mark.asyncio
async def test_an_algo_order_refused_inside_an_answer_of_success_is_refused() -> None:
    recorded = recorded_replies("nautilus-okx-http.jsonl")["http_place_algo_order_rejected.json"]
    assert recorded["code"] == "0"

    error = await refusal("okx", Answer(body=recorded), OrderType.STOP_LIMIT, name="POST /api/v5/trade/order-algo")

    assert type(error) is OrderRejected
    assert (error.venue_code, error.message) == ("51000", "The exchange rejected the order: Parameter instId error.")


def test_no_code_means_two_things() -> None:
    for venue, codes in VENUE_CODES.items():
        proofs = codes.definite | codes.credentials | codes.rate | codes.clock | codes.funds | codes.account.keys()
        for name, doubts in (("doubtful", codes.doubtful), ("duplicate", codes.duplicate)):
            assert not proofs & doubts, f"{venue}: {proofs & doubts} is a proof and {name}"
        for code in codes.doubtful | codes.duplicate:
            assert not codes.proves_refusal(code)
    assert set(VENUE_CODES) == set(VENUES)
    assert not codes_of("bitstamp").proves_refusal("-1013")


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("cause", [aiohttp.ServerDisconnectedError(), TimeoutError(), aiohttp.ClientPayloadError(), ConnectionResetError()])
def test_a_connection_that_broke_proves_nothing_whatever_was_read_before(venue: str, cause: BaseException) -> None:
    import ccxt

    for error in (ccxt.InsufficientFunds("x"), ccxt.InvalidOrder("x"), ccxt.ExchangeError("x")):
        error.__cause__ = cause
        assert classify(None, error, exchange=venue, call=Call(attempted=True, status=200)) is Outcome.UNKNOWN
