"""What requests weigh, and how many orders they place.

Source: Binance Spot API documentation, rest-api.md, the "Weight" and "Unfilled Order Count" of each endpoint, and its change of 2026-04-02:
requests that place, change or cancel orders weigh nothing when they succeed.
"""

from collections.abc import Callable, Mapping

import orjson

Key = tuple[str, str]
Given = Mapping[str, str]

_MANY = 101
_SOME = 21


def _symbols(given: Given) -> int | None:
    """How many symbols are asked for; None for all."""
    if "symbol" in given:
        return 1
    if "symbols" not in given:
        return None
    try:
        names = orjson.loads(given["symbols"])
    except orjson.JSONDecodeError:
        return 1
    return len(names) if isinstance(names, list) else 1


def _day(given: Given) -> int:
    count = _symbols(given)
    if count is None or count >= _MANY:
        return 80
    return 40 if count >= _SOME else 2


def _depth(given: Given) -> int:
    text = given.get("limit", "100")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 100
    return next((weight for largest, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= largest), 250)


def _price(given: Given) -> int:
    return 2 if "symbol" in given else 4


def _test(given: Given) -> int:
    return 20 if given.get("computeCommissionRates") == "true" else 1


WEIGHTS: Mapping[Key, int | Callable[[Given], int]] = {
    ("GET", "/api/v3/ping"): 1,
    ("GET", "/api/v3/time"): 1,
    ("GET", "/api/v3/exchangeInfo"): 20,
    ("GET", "/api/v3/depth"): _depth,
    ("GET", "/api/v3/trades"): 25,
    ("GET", "/api/v3/aggTrades"): 4,
    ("GET", "/api/v3/klines"): 2,
    ("GET", "/api/v3/uiKlines"): 2,
    ("GET", "/api/v3/avgPrice"): 2,
    ("GET", "/api/v3/ticker/24hr"): _day,
    ("GET", "/api/v3/ticker/price"): _price,
    ("GET", "/api/v3/ticker/bookTicker"): _price,
    ("POST", "/api/v3/order/test"): _test,
    ("GET", "/api/v3/account"): 20,
    ("GET", "/api/v3/order"): 4,
    ("GET", "/api/v3/openOrders"): lambda given: 6 if "symbol" in given else 80,
    ("GET", "/api/v3/allOrders"): 20,
    ("GET", "/api/v3/orderList"): 4,
    ("GET", "/api/v3/allOrderList"): 20,
    ("GET", "/api/v3/openOrderList"): 6,
    ("GET", "/api/v3/myTrades"): lambda given: 5 if "orderId" in given else 20,
    ("GET", "/api/v3/rateLimit/order"): 40,
    ("GET", "/api/v3/account/commission"): 20,
    ("PUT", "/api/v3/order/amend/keepPriority"): 4,
    ("GET", "/api/v3/order/amendments"): 4,
    ("POST", "/api/v3/order"): 1,
    ("DELETE", "/api/v3/order"): 1,
    ("DELETE", "/api/v3/openOrders"): 1,
    ("POST", "/api/v3/order/cancelReplace"): 1,
    ("POST", "/api/v3/order/oco"): 1,
    ("POST", "/api/v3/orderList/oco"): 1,
    ("POST", "/api/v3/orderList/oto"): 1,
    ("POST", "/api/v3/orderList/otoco"): 1,
    ("DELETE", "/api/v3/orderList"): 1,
    # Counted by a limit of their own, which nothing here comes near.
    ("GET", "/sapi/v1/asset/tradeFee"): 0,
    ("GET", "/sapi/v1/account/apiRestrictions"): 0,
}
_FREE_ON_SUCCESS = frozenset(
    {
        ("POST", "/api/v3/order"),
        ("DELETE", "/api/v3/order"),
        ("DELETE", "/api/v3/openOrders"),
        ("POST", "/api/v3/order/cancelReplace"),
        ("POST", "/api/v3/order/oco"),
        ("POST", "/api/v3/orderList/oco"),
        ("POST", "/api/v3/orderList/oto"),
        ("POST", "/api/v3/orderList/otoco"),
        ("DELETE", "/api/v3/orderList"),
    }
)
_ORDERS: Mapping[Key, int] = {
    ("POST", "/api/v3/order"): 1,
    ("POST", "/api/v3/order/cancelReplace"): 1,
    ("POST", "/api/v3/order/oco"): 2,
    ("POST", "/api/v3/orderList/oco"): 2,
    ("POST", "/api/v3/orderList/oto"): 2,
    ("POST", "/api/v3/orderList/otoco"): 3,
}
_API_WEIGHTS: Mapping[str, int] = {
    "userDataStream.subscribe": 2,
    "userDataStream.subscribe.signature": 2,
    "userDataStream.unsubscribe": 2,
    "session.status": 2,
    "session.subscriptions": 2,
}
API_CONNECT = 2
"""What a connection to the websocket API weighs."""


def weight_of(key: Key, given: Given) -> int:
    """Return what a request weighs."""
    weight = WEIGHTS.get(key, 1)
    return weight if isinstance(weight, int) else weight(given)


def is_free_on_success(key: Key) -> bool:
    """Return whether a request weighs something only when it fails."""
    return key in _FREE_ON_SUCCESS


def orders_of(key: Key) -> int:
    """Return how many orders a request places."""
    return _ORDERS.get(key, 0)


def api_weight_of(method: str) -> int:
    """Return what a request over the websocket API weighs."""
    return _API_WEIGHTS.get(method, 1)
