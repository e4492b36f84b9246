import pytest

from app.exchanges.budgets import Kind, Unit, budgets_of, order_count, stated_budgets, weight_of
from app.exchanges.catalogue import EXCHANGES

LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
]


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "openOrders", {}, 80),
        ("GET", "openOrders", {"symbol": "BTCUSDT"}, 6),
        ("GET", "account", {}, 20),
        ("GET", "myTrades", {"symbol": "BTCUSDT"}, 20),
        ("GET", "myTrades", {"symbol": "BTCUSDT", "orderId": "1"}, 5),
        ("GET", "order", {}, 4),
        ("POST", "order", {}, 1),
        ("DELETE", "order", {}, 1),
        ("GET", "klines", {"limit": 1000}, 2),
        ("GET", "exchangeInfo", {}, 20),
        ("GET", "depth", {}, 5),
        ("GET", "depth", {"limit": 100}, 5),
        ("GET", "depth", {"limit": 101}, 25),
        ("GET", "depth", {"limit": 1000}, 50),
        ("GET", "depth", {"limit": 5000}, 250),
        ("GET", "ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("GET", "ticker/24hr", {"symbols": '["A","B"]'}, 2),
        ("GET", "ticker/24hr", {"symbols": ",".join("A" * 21)}, 40),
        ("GET", "ticker/24hr", {}, 80),
        ("GET", "ticker/price", {}, 4),
        ("GET", "time", {}, 1),
    ],
)
def test_binance_requests_weigh_what_its_document_says(method: str, path: str, params: dict[str, object], weight: int) -> None:
    assert weight_of("binance", method, path, params) == weight


def test_other_venues_count_requests() -> None:
    assert weight_of("okx", "GET", "trade/orders-pending", {}) == 1
    assert weight_of("kraken", "POST", "CancelOrder", {}) == 2


def test_a_pair_counts_as_two_orders_and_an_amendment_as_none() -> None:
    assert [order_count("binance", path) for path in ("order", "orderList/oco", "orderList/otoco", "order/amend/keepPriority")] == [
        1,
        2,
        3,
        0,
    ]


def test_every_venue_of_the_catalogue_limits_public_reads_orders_and_private_reads() -> None:
    for exchange in EXCHANGES:
        budgets = budgets_of(exchange, rate_limit_ms=50)
        for kind in (Kind.PUBLIC, Kind.READ, Kind.PLACE):
            assert any(kind in budget.kinds for budget in budgets), (exchange, kind)
        assert all(not budget.per_account for budget in budgets if Kind.PUBLIC in budget.kinds), exchange


def test_a_venue_that_is_not_in_the_table_is_asked_as_often_as_ccxt_says() -> None:
    (budget,) = budgets_of("bitstamp", rate_limit_ms=75)

    assert (budget.limit, budget.window_s) == (26, 2)


def test_a_venue_that_states_its_limits_is_believed() -> None:
    weight, orders, raw = stated_budgets(LIMITS, dormant=False)

    assert (weight.unit, weight.limit, weight.window_s, weight.header) == (Unit.WEIGHT, 6000, 60.0, "x-mbx-used-weight-1m")
    assert (orders.unit, orders.per_account, orders.header, orders.kinds) == (
        Unit.ORDERS,
        True,
        "x-mbx-order-count-10s",
        frozenset({Kind.PLACE}),
    )
    assert (raw.unit, raw.limit, raw.window_s) == (Unit.REQUESTS, 61000, 300.0)


@pytest.mark.parametrize("limits", [None, {}, [1], [{}], [LIMITS[0] | {"limit": "6000"}], [LIMITS[0] | {"interval": "YEAR"}]])
def test_limits_that_cannot_be_read_are_left_out(limits: object) -> None:
    assert stated_budgets(limits, dormant=False) == ()


def test_an_emulators_limits_wait_for_its_count() -> None:
    weight, orders = stated_budgets(LIMITS, dormant=True)

    assert weight.dormant
    assert orders.dormant
