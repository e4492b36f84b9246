"""How many requests each venue allows, of whom, and what each one counts: the venues' own documents, conservative where unsure.

A venue that says its limits itself (Binance's `exchangeInfo`) is believed over this table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_BINANCE_FAMILY: Final = frozenset({"binance", "binanceus"})
_SECONDS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}


class Kind(StrEnum):
    """What a request is, as far as limits care: `public` is unsigned, the others are of one account."""

    PUBLIC = "public"
    READ = "read"
    CANCEL = "cancel"
    PLACE = "place"


class Unit(StrEnum):
    """What a budget counts."""

    WEIGHT = "weight"
    REQUESTS = "requests"
    ORDERS = "orders"


_ALL: Final = frozenset(Kind)
_PUBLIC: Final = frozenset({Kind.PUBLIC})
_SIGNED: Final = _ALL - _PUBLIC
_READ: Final = frozenset({Kind.READ})
_TRADING: Final = frozenset({Kind.CANCEL, Kind.PLACE})
_PLACE: Final = frozenset({Kind.PLACE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """So much of `unit` in any `window_s` seconds, by requests of these kinds; in no time at all, so much at once.

    It is shared by everything this machine sends there, or with `per_account` each account has its own. `header` is the answer's header
    (lower case) in which the venue says what it has counted. A `dormant` budget counts only once the venue has said so: an emulator that
    lists limits but keeps none must not slow us down.
    """

    unit: Unit
    limit: int
    window_s: float
    kinds: frozenset[Kind] = _ALL
    per_account: bool = False
    header: str | None = None
    dormant: bool = False

    @property
    def has_lanes(self) -> bool:
        """Whether orders need it: then something is kept for those of more right."""
        return Kind.PLACE in self.kinds


def _weight(limit: int, window_s: float, header: str | None = None) -> Budget:
    return Budget(unit=Unit.WEIGHT, limit=limit, window_s=window_s, header=header)


def _requests(limit: int, window_s: float, kinds: frozenset[Kind] = _ALL, *, per_account: bool = False) -> Budget:
    return Budget(unit=Unit.REQUESTS, limit=limit, window_s=window_s, kinds=kinds, per_account=per_account)


def _orders(limit: int, window_s: float, header: str | None = None) -> Budget:
    return Budget(unit=Unit.ORDERS, limit=limit, window_s=window_s, kinds=_PLACE, per_account=True, header=header)


#: A venue that wants a rising number in each request of a key, and takes them in the order in which they arrive.
_ONE_AT_A_TIME: Final = _requests(1, 0, _SIGNED, per_account=True)
_BINANCE_ORDERS: Final = (_orders(100, 10, "x-mbx-order-count-10s"), _orders(200_000, 86_400, "x-mbx-order-count-1d"))
_BUDGETS: Final[dict[str, tuple[Budget, ...]]] = {
    # binance-spot-api-docs rest-api.md "LIMITS", exchangeInfo.rateLimits.
    "binance": (_weight(6_000, 60, "x-mbx-used-weight-1m"), _requests(61_000, 300), *_BINANCE_ORDERS),
    # exchangeInfo.rateLimits of api.binance.us.
    "binanceus": (_weight(1_200, 60, "x-mbx-used-weight-1m"), _requests(6_100, 300), *_BINANCE_ORDERS),
    # docs.kraken.com guides/rest/ratelimits: public 1/s; Starter: counter of 15 that falls by 1 in 3 s, each key its own; orders and
    # cancels count in the matching engine instead (Starter: 60, falls by 1/s; a young order's cancel counts up to 8).
    "kraken": (
        _requests(5, 5, _PUBLIC),
        _requests(15, 45, _READ, per_account=True),
        Budget(unit=Unit.WEIGHT, limit=60, window_s=60, kinds=_TRADING, per_account=True),
        _ONE_AT_A_TIME,
    ),
    # docs.cdp.coinbase.com advanced-trade rest-api-rate-limits: 30/s of one user, 10/s of one address for public calls.
    "coinbase": (_requests(10, 1, _PUBLIC), _requests(30, 1, _SIGNED, per_account=True)),
    # kucoin.com docs basic-info/request-rate-limit, VIP0: 2,000 weight in 30 s public, 4,000 spot of one user; a call weighs up to 5.
    "kucoin": (_requests(400, 30, _PUBLIC), _requests(800, 30, _SIGNED, per_account=True)),
    # bitget.com api-doc common/intro: 6,000/min of one address; most calls 20/s of an address or 10/s of a user.
    "bitget": (_requests(6_000, 60), _requests(20, 1, _PUBLIC), _requests(10, 1, _SIGNED, per_account=True)),
    # okx.com docs-v5: public 20 in 2 s, balance 10 in 2 s, orders 60 in 2 s, each of a user and instrument.
    "okx": (_requests(20, 2, _PUBLIC), _requests(10, 2, _READ, per_account=True), _requests(50, 2, _TRADING, per_account=True)),
    # bybit-exchange.github.io docs/v5/rate-limit: 600 in 5 s of one address ("do not run at the very edge"), spot orders 20/s of a user.
    "bybit": (_requests(480, 5), _requests(20, 1, _READ, per_account=True), _requests(15, 1, _TRADING, per_account=True)),
    # gate.com docs apiv4 frequency limits: 200 in 10 s public and private, 10 orders/s.
    "gate": (_requests(200, 10, _PUBLIC), _requests(200, 10, _READ, per_account=True), _requests(10, 1, _PLACE, per_account=True)),
    # mexc.com api-docs spot-v3: weight in 10 s of one address and of one user; documents differ between 300 and 500.
    "mexc": (
        _weight(300, 10),
        Budget(unit=Unit.WEIGHT, limit=300, window_s=10, kinds=_SIGNED, per_account=True),
        _requests(5, 1, _PLACE, per_account=True),
    ),
}

#: (method, path) → weight, where it is not 1. Source: binance-spot-api-docs rest-api.md of 2026-07.
_BINANCE_WEIGHTS: Final[dict[tuple[str, str], int]] = {
    ("GET", "exchangeInfo"): 20,
    ("GET", "trades"): 25,
    ("GET", "historicalTrades"): 25,
    ("GET", "aggTrades"): 4,
    ("GET", "klines"): 2,
    ("GET", "uiKlines"): 2,
    ("GET", "avgPrice"): 2,
    ("GET", "order"): 4,
    ("GET", "orderList"): 4,
    ("GET", "order/amendments"): 4,
    ("GET", "openOrderList"): 6,
    ("GET", "allOrders"): 20,
    ("GET", "allOrderList"): 20,
    ("GET", "account"): 20,
    ("GET", "account/commission"): 20,
    ("GET", "myPreventedMatches"): 20,
    ("GET", "myAllocations"): 20,
    ("GET", "rateLimit/order"): 40,
    ("PUT", "order/amend/keepPriority"): 4,
}
_DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1_000, 50))
_BINANCE_ORDER_COUNTS: Final = {
    "order/oco": 2,
    "orderList/oco": 2,
    "orderList/oto": 2,
    "orderList/opo": 2,
    "orderList/otoco": 3,
    "orderList/opoco": 3,
    "order/amend/keepPriority": 0,
}
#: Loading the symbols counts as much; one venue needs several calls for it.
MARKETS_WEIGHT: Final = 20
_KRAKEN_CANCEL_WEIGHT: Final = 2


def budgets_of(exchange: str, *, rate_limit_ms: float) -> tuple[Budget, ...]:
    """Return the budgets of `exchange`; of one that is not in the table, a request each `rate_limit_ms` milliseconds, as ccxt says."""
    known = _BUDGETS.get(exchange)
    if known is not None:
        return known
    return (_requests(max(1, int(2_000 / max(rate_limit_ms, 1))), 2),)


def stated_budgets(limits: object, *, dormant: bool) -> tuple[Budget, ...]:
    """Return the budgets that a `rateLimits` list of Binance's `exchangeInfo` states; what cannot be read is left out.

    A `dormant` budget waits for its header, so one that has none is left out too.
    """
    if not isinstance(limits, list):
        return ()
    read = (_stated(limit, dormant=dormant) for limit in limits if isinstance(limit, dict))
    return tuple(budget for budget in read if budget is not None and (budget.header is not None or not dormant))


def _stated(stated: Mapping[str, Any], *, dormant: bool) -> Budget | None:
    interval, number, limit = stated.get("interval"), stated.get("intervalNum"), stated.get("limit")
    if interval not in _SECONDS or not isinstance(number, int) or not isinstance(limit, int) or number < 1 or limit < 1:
        return None
    window_s = float(_SECONDS[interval] * number)
    suffix = f"{number}{interval[0].lower()}"
    kind = stated.get("rateLimitType")
    if kind == "REQUEST_WEIGHT":
        return Budget(unit=Unit.WEIGHT, limit=limit, window_s=window_s, header=f"x-mbx-used-weight-{suffix}", dormant=dormant)
    if kind == "ORDERS":
        header = f"x-mbx-order-count-{suffix}"
        return Budget(unit=Unit.ORDERS, limit=limit, window_s=window_s, kinds=_PLACE, per_account=True, header=header, dormant=dormant)
    if kind == "RAW_REQUESTS":
        return Budget(unit=Unit.REQUESTS, limit=limit, window_s=window_s)
    return None


def weight_of(exchange: str, method: str, path: str, params: Mapping[str, Any]) -> int:
    """Return what a request counts in a budget of weight."""
    if exchange in _BINANCE_FAMILY:
        return _BINANCE_WEIGHTS.get((method, path)) or _binance_weight(method, path, params)
    if exchange == "kraken" and path.startswith("Cancel"):
        return _KRAKEN_CANCEL_WEIGHT
    return 1


def order_count(exchange: str, path: str) -> int:
    """Return how many orders a request that places some counts for."""
    return _BINANCE_ORDER_COUNTS.get(path, 1) if exchange in _BINANCE_FAMILY else 1


def _binance_weight(method: str, path: str, params: Mapping[str, Any]) -> int:
    if method != "GET":
        return 1
    if path == "openOrders":
        return 6 if params.get("symbol") else 80
    if path == "myTrades":
        return 5 if params.get("orderId") else 20
    if path == "depth":
        asked = int(params.get("limit") or 100)
        return next((weight for most, weight in _DEPTH_WEIGHTS if asked <= most), 250)
    if path == "ticker/24hr":
        return 2 if params.get("symbol") else _by_symbols(params, ((20, 2), (100, 40)), largest=80)
    if path in ("ticker/price", "ticker/bookTicker"):
        return 2 if params.get("symbol") else 4
    if path in ("ticker", "ticker/tradingDay"):
        return 4 if params.get("symbol") else min(200, 4 * max(1, _symbol_count(params)))
    return 1


def _by_symbols(params: Mapping[str, Any], steps: Iterable[tuple[int, int]], *, largest: int) -> int:
    count = _symbol_count(params)
    return next((weight for most, weight in steps if 0 < count <= most), largest)


def _symbol_count(params: Mapping[str, Any]) -> int:
    asked: str | Sequence[str] = params.get("symbols") or ""
    return (asked.count(",") + 1 if asked else 0) if isinstance(asked, str) else len(asked)
