"""What venues say of orders, executions and balances, as our reports.

Recorded where there is a recording, made up after the documentation where there is none.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import Liquidity, OrderState, OrderType, Side
from app.errors import OutcomeUnknown
from app.exchanges import reports
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.corrections import corrected
from app.exchanges.port import VenueOrder
from tests.exchanges.wire.calls import OURS
from tests.exchanges.wire.clients import SYMBOL, VENUES, make_client
from tests.exchanges.wire.record import answers_of
from tests.exchanges.wire.session import Answer, RecordingSession
from tests.recorded import recorded_replies

SINCE = datetime(2020, 1, 1, tzinfo=UTC)
FILLED = Decimal(1_000_000)
BITGET_PLAN = "GET /api/v2/spot/trade/current-plan-order"
BINANCE_OPEN = "GET /api/v3/openOrders"


def answering(venue: str, **replies: Any) -> tuple[CcxtClient, RecordingSession]:
    """Return a client of `venue`, some of whose answers are changed."""
    session = RecordingSession(answers_of(venue) | {name: [Answer(body=body)] for name, body in replies.items()})
    return make_client(venue, session), session


def laid_down(venue: str, name: str) -> Any:
    """Return the body that the venue is otherwise made to answer."""
    return answers_of(venue)[name][0].body


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_is_reported_with_its_executions_and_their_fees(venue: str) -> None:
    client, _ = answering(venue)

    for venue_order_id in (None, "28"):
        report = await client.fetch_order(SYMBOL, client_order_id=OURS, venue_order_id=venue_order_id)

        assert report is not None
        assert (report.state, report.venue_order_id, report.filled_quantity) == (OrderState.PARTIAL, "28", FILLED)
        assert report.average_price == Decimal("0.00001234")
        (fill,) = report.fills
        assert (fill.price, fill.quantity, fill.liquidity) == (Decimal("0.00001234"), FILLED, Liquidity.MAKER)
        assert (fill.fee, fill.fee_asset) == (
            (Decimal("0.000021"), "BNB") if "binance" in venue or venue == "mexc" else (Decimal("0.02"), "USDT")
        )
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_lists_name_our_orders_as_we_named_them(venue: str) -> None:
    # Elsewhere in these answers the waiting order goes by the same id.
    client, _ = answering(venue, **({BITGET_PLAN: {"code": "00000", "data": {"orderList": []}}} if venue == "bitget" else {}))

    orders = await client.fetch_open_orders(SYMBOL)
    ours = next(each for each in orders if each.report.venue_order_id == "28")

    assert (ours.symbol, ours.client_order_id, ours.side, ours.type) == (SYMBOL, OURS, Side.SELL, OrderType.LIMIT)
    assert (ours.quantity, ours.price, ours.trigger_price) == (Decimal("1234567.12345678"), Decimal("0.00001234"), None)
    assert ours.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    recent = await client.fetch_recent_orders(SYMBOL, since=SINCE)
    assert "28" in {each.report.venue_order_id for each in recent}
    assert all(not each.report.fills for each in [*orders, *recent])
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_executions_balances_and_prices_are_read_exactly(venue: str) -> None:
    client, _ = answering(venue)

    (trade,) = await client.fetch_trades(SYMBOL, since=SINCE)
    assert (trade.venue_order_id, trade.side, trade.fill.quantity) == ("28", Side.SELL, FILLED)
    assert trade.fill.trade_id == ("TT5UC3-GOIRW-6AZZ6R" if venue == "kraken" else "41")
    balances = await client.fetch_balances()
    assert list(balances) == ["BTC"]
    assert (balances["BTC"].free, balances["BTC"].locked) == (Decimal("1.5"), Decimal("0.25"))
    ticker = await client.fetch_ticker(SYMBOL)
    assert (ticker.last, ticker.bid, ticker.ask) == (Decimal("0.00001234"), Decimal("0.00001233"), Decimal("0.00001235"))
    assert await client.server_time() == datetime(2026, 1, 1, tzinfo=UTC)
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_a_book_is_read_exactly_best_level_first_and_no_float_is_made_of_it(venue: str) -> None:
    client, _ = answering(venue)

    whole, best = await client.fetch_depth(SYMBOL), await client.fetch_depth(SYMBOL, limit=1)

    # As text, 0.000101 would stand before 0.0000124, and ccxt's own reading would have made 1234567.1234567801 of a quantity.
    assert [(str(level.price), str(level.quantity)) for level in whole.bids] == [
        ("0.00001233", "900000"), ("0.00001232", "1234567.12345678"), ("0.00000999", "1")
    ]  # fmt: skip
    assert [(level.price, level.quantity) for level in whole.asks] == [
        (Decimal("0.00001235"), Decimal("800000.5")), (Decimal("0.0000124"), Decimal(2)), (Decimal("0.000101"), Decimal(3))
    ]  # fmt: skip
    assert (best.bids, best.asks) == (whole.bids[:1], whole.asks[:1])
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_trades_of_the_market_are_read_exactly_with_the_side_of_the_taker(venue: str) -> None:
    client, _ = answering(venue)

    (trade,) = await client.fetch_market_trades(SYMBOL)

    amount = Decimal(1) if venue == "coinbase" else Decimal("4.70443515")
    assert (trade.price, trade.quantity) == (Decimal("0.00001234"), amount)
    assert trade.side is (Side.BUY if venue == "coinbase" else Side.SELL)
    assert trade.traded_at == datetime(2026, 1, 1, tzinfo=UTC)
    await client.close()


def test_empty_levels_are_none_and_a_book_that_holds_no_numbers_is_not_read() -> None:
    depth = reports.depth({"bids": [["1", "0"], ["2", "1"]], "asks": []}, limit=5)

    assert [level.price for level in depth.bids] == [Decimal(2)]
    with pytest.raises(ValueError, match="not an amount"):
        reports.depth({"bids": [["NaN", "1"]], "asks": []}, limit=5)
    with pytest.raises(ArithmeticError):
        reports.depth({"bids": [["", "1"]], "asks": []}, limit=5)


async def listed(venue: str, name: str, body: Any) -> list[VenueOrder]:
    client, _ = answering(venue, **{name: body})
    try:
        return await client.fetch_open_orders(SYMBOL)
    finally:
        await client.close()


def with_first(body: Any, path: tuple[Any, ...], **changes: Any) -> Any:
    """Return `body` with changes in the mapping at `path`."""
    if not path:
        return {**body, **changes}
    if isinstance(body, list):
        return [with_first(each, path[1:], **changes) if place == path[0] else each for place, each in enumerate(body)]
    return {key: with_first(each, path[1:], **changes) if key == path[0] else each for key, each in body.items()}


BINANCE = ("binance", BINANCE_OPEN, (0,))
KRAKEN = ("kraken", "POST /0/private/OpenOrders", ("result", "open", "28"))
COINBASE = ("coinbase", "GET /api/v3/brokerage/orders/historical/batch", ("orders", 0))
KUCOIN = ("kucoin", "GET /api/v1/stop-order", ("data", "items", 0))
BITGET = ("bitget", BITGET_PLAN, ("data", "orderList", 0))
OKX = ("okx", "GET /api/v5/trade/orders-algo-pending", ("data", 0))
BYBIT = ("bybit", "GET /v5/order/realtime", ("result", "list", 0))


def kraken(named: str, **changes: Any) -> dict[str, Any]:
    described = {"ordertype": named, "price": "7", "price2": "6", "pair": "XBTUSDT", "type": "sell"}
    return {"descr": described, "vol_exec": "0.0", **changes}


def coinbase(direction: str, status: str) -> dict[str, Any]:
    stop = {"base_size": "1", "limit_price": "6", "stop_price": "7", "stop_direction": f"STOP_DIRECTION_STOP_{direction}"}
    configuration = {"stop_limit_stop_limit_gtc": stop}
    return {"order_configuration": configuration, "order_type": "STOP_LIMIT", "trigger_status": status, "filled_size": "0"}


def bybit(direction: int, **changes: Any) -> dict[str, Any]:
    nothing = {"cumExecQty": "0", "cumExecValue": "0"}
    return {"orderStatus": "Untriggered", "triggerPrice": "7", "triggerDirection": direction, **nothing, **changes}


#: Where an order is, what is changed in it, and what it then is: our type of it, and whether it is in the book.
WAITING: list[tuple[tuple[str, str, tuple[Any, ...]], dict[str, Any], OrderType | None, bool]] = [
    (BINANCE, {"type": "STOP_LOSS_LIMIT", "stopPrice": "7", "isWorking": False}, OrderType.STOP_LIMIT, False),
    (BINANCE, {"type": "STOP_LOSS", "trailingDelta": 50, "isWorking": False, "stopPrice": "7"}, OrderType.TRAILING_STOP, False),
    (BINANCE, {"type": "TAKE_PROFIT_LIMIT", "stopPrice": "7"}, OrderType.TAKE_PROFIT_LIMIT, True),
    (KRAKEN, kraken("stop-loss-limit"), OrderType.STOP_LIMIT, False),
    (KRAKEN, kraken("stop-loss-limit", limitprice="6.0"), OrderType.STOP_LIMIT, True),
    (KRAKEN, kraken("take-profit"), OrderType.TAKE_PROFIT, False),
    (COINBASE, coinbase("DOWN", "STOP_PENDING"), OrderType.STOP_LIMIT, False),
    (COINBASE, coinbase("UP", "STOP_TRIGGERED"), OrderType.TAKE_PROFIT_LIMIT, True),
    (KUCOIN, {"stopPrice": "7"}, OrderType.STOP_LIMIT, False),
    (KUCOIN, {"stopPrice": "7", "stop": "entry", "type": "market"}, OrderType.TAKE_PROFIT, False),
    (BITGET, {"orderId": "29", "triggerPrice": "7"}, None, False),
    (OKX, {"slTriggerPx": "7"}, OrderType.STOP_LIMIT, False),
    (OKX, {"slTriggerPx": "7", "slOrdPx": "-1"}, OrderType.STOP_MARKET, False),
    (OKX, {"slTriggerPx": "", "slOrdPx": "", "tpTriggerPx": "7", "tpOrdPx": "-1"}, OrderType.TAKE_PROFIT, False),
    (BYBIT, bybit(2), OrderType.STOP_LIMIT, False),
    (BYBIT, bybit(1, orderType="Market"), OrderType.TAKE_PROFIT, False),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("place", "changes", "kind", "works"), WAITING)
async def test_a_waiting_order_is_known_for_what_it_is(
    place: tuple[str, str, tuple[Any, ...]], changes: dict[str, Any], kind: OrderType | None, *, works: bool
) -> None:
    venue, name, path = place
    if venue == "binance":
        changes = {**changes, "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "workingTime": 1 if works else -1}
    orders = await listed(venue, name, with_first(laid_down(venue, name), path, **changes))

    waiting = orders[-1]

    assert (waiting.type, waiting.trigger_price, waiting.side) == (kind, Decimal(7), Side.SELL)
    assert (waiting.report.state, waiting.report.is_working) == (OrderState.OPEN, works)
    assert waiting.client_order_id == OURS


@pytest.mark.parametrize(
    ("venue", "order", "state"),
    [
        (
            "kraken",
            {"id": "1", "status": "closed", "filled": "0.002", "amount": "100.5", "info": {"oflags": "fciq,viqc"}},
            OrderState.FILLED,
        ),
        ("kraken", {"id": "1", "status": "closed", "filled": "0.002", "amount": "100.5", "info": {"oflags": "fciq"}}, OrderState.CANCELED),
        ("coinbase", {"id": "1", "status": "QUEUED", "info": {"status": "QUEUED"}}, OrderState.OPEN),
        ("coinbase", {"id": "1", "status": "CANCEL_QUEUED", "filled": "1", "info": {"status": "CANCEL_QUEUED"}}, OrderState.PARTIAL),
        ("coinbase", {"id": "1", "status": "canceled", "info": {"status": "FAILED"}}, OrderState.REJECTED),
        ("coinbase", {"id": "1", "status": "canceled", "info": {"status": "EXPIRED"}}, OrderState.EXPIRED),
        ("gate", {"id": "1", "status": "poc", "info": {"finish_as": "poc"}}, OrderState.CANCELED),
        ("gate", {"id": "1", "status": "stp", "info": {"finish_as": "stp", "filled_amount": "1"}}, OrderState.CANCELED),
        ("bybit", {"id": "1", "status": "rejected", "filled": "0.005", "amount": "0.01", "info": {}}, OrderState.CANCELED),
        ("bybit", {"id": "1", "status": "closed", "filled": "0.005", "amount": "0.01", "info": {}}, OrderState.CANCELED),
        ("okx", {"id": "1", "status": "pause", "info": {"algoId": "1", "state": "pause"}}, OrderState.OPEN),
        ("okx", {"id": "1", "status": "canceled", "info": {"algoId": "1", "state": "order_failed"}}, OrderState.REJECTED),
    ],
)
def test_a_venue_s_own_states_are_ours(venue: str, order: Mapping[str, Any], state: OrderState) -> None:
    assert reports.order_report(venue, order).state is state


def test_a_state_that_nobody_knows_is_a_doubt() -> None:
    with pytest.raises(OutcomeUnknown, match="'haunted'"):
        reports.order_report("kraken", {"id": "1", "status": "haunted", "info": {}})


def test_what_was_spent_is_never_what_was_asked_for() -> None:
    asked = {"id": "1", "status": "closed", "filled": "0.001", "cost": "100", "average": "58000", "info": {}}

    assert reports.order_report("okx", asked).average_price == Decimal(58000)


def test_gate_s_filled_quantity_is_its_own_and_not_a_quotient() -> None:
    order = {"id": "1", "type": "market", "side": "buy", "status": "closed", "filled": "0.00170278637770897832", "amount": "0.0017027863",
             "average": "58726", "info": {"filled_amount": "0.0017", "finish_as": "filled"}}  # fmt: skip

    report = reports.order_report("gate", order)

    assert (report.state, report.filled_quantity) == (OrderState.FILLED, Decimal("0.0017"))


@pytest.mark.parametrize(
    ("trade", "fee"),
    [
        ({"fee": {"cost": "0.001", "currency": "BTC"}}, (Decimal("0.001"), "BTC")),
        ({"fee": {"cost": "-0.02", "currency": "USDT"}}, (Decimal(0), "USDT")),
        ({"fee": None, "fees": [{"cost": "0", "currency": "BTC"}, {"cost": "0.3", "currency": "GT"}]}, (Decimal("0.3"), "GT")),
        ({"fee": None, "fees": [{"cost": "0", "currency": "BTC"}]}, (Decimal(0), "BTC")),
        ({}, (Decimal(0), "USDT")),
    ],
)
def test_the_fee_is_the_one_that_was_taken(trade: dict[str, Any], fee: tuple[Decimal, str]) -> None:
    base = {"id": "1", "price": "1", "amount": "1", "timestamp": 0}

    (fill,) = reports.trade_fills([base | trade], quote="USDT")

    assert (fill.fee, fill.fee_asset) == fee


# Recorded.


async def recorded(venue: str, name: str, fixture: str) -> tuple[CcxtClient, RecordingSession]:
    return answering(venue, **{name: recorded_replies(f"nautilus-{venue}-http.jsonl")[fixture]})


@pytest.mark.asyncio
async def test_recorded_kraken_answers_are_read() -> None:
    client, _ = await recorded("kraken", "POST /0/private/OpenOrders", "http_open_orders.json")
    limit = next(each for each in await client.fetch_open_orders(SYMBOL) if each.report.venue_order_id == "O26VBY-ISGAE-JP5TLU")
    assert (limit.type, limit.client_order_id, limit.quantity, limit.price) == (OrderType.LIMIT, None, Decimal("0.5"), Decimal("29500.0"))

    client, _ = await recorded("kraken", "POST /0/private/TradesHistory", "http_trades_history.json")
    (trade,) = await client.fetch_trades(SYMBOL, since=SINCE)
    assert (trade.fill.trade_id, trade.venue_order_id) == ("TCCCTY-WJ6EO-4FP4VZ", "O26VBY-ISGAE-JP5TLU")
    assert (trade.fill.fee, trade.fill.fee_asset, trade.fill.liquidity) == (Decimal("23.60"), "USDT", Liquidity.MAKER)


@pytest.mark.asyncio
async def test_recorded_coinbase_answers_are_read() -> None:
    client, _ = await recorded("coinbase", "GET /api/v3/brokerage/accounts", "http_accounts.json")
    held = await client.fetch_balances()
    assert (held["BTC"].free, held["BTC"].locked) == (Decimal("1.23456789"), Decimal("0.005"))

    client, _ = await recorded("coinbase", "GET /api/v3/brokerage/orders/historical/28", "http_order.json")
    found = recorded_replies("nautilus-coinbase-http.jsonl")["http_order.json"]["order"]
    report = reports.order_report("coinbase", client._ccxt.parse_order(found))
    assert (report.state, report.filled_quantity) == (OrderState.PARTIAL, Decimal("0.001"))


@pytest.mark.asyncio
async def test_recorded_bybit_answers_are_read() -> None:
    replies = recorded_replies("nautilus-bybit-http.jsonl")
    client, _ = await recorded("bybit", "GET /v5/order/realtime", "http_get_orders_realtime_tp_sl.json")
    first, second, *_ = await client.fetch_open_orders(SYMBOL)
    assert (first.type, first.trigger_price, first.report.is_working) == (OrderType.TAKE_PROFIT, Decimal(55000), False)
    assert (second.type, second.trigger_price, second.price) == (OrderType.STOP_LIMIT, Decimal(48000), Decimal(47500))

    half = replies["http_get_order_partially_filled_rejected.json"]["result"]["list"][0]
    market = client._ccxt.market(SYMBOL)
    report = reports.order_report("bybit", client._ccxt.parse_order(half, market))
    assert (report.state, report.filled_quantity, report.average_price) == (OrderState.CANCELED, Decimal("0.005"), Decimal(30000))

    client, _ = await recorded("bybit", "GET /v5/execution/list", "http_get_executions.json")
    trade = (await client.fetch_trades(SYMBOL, since=SINCE))[0]
    assert (trade.fill.fee, trade.fill.fee_asset, trade.fill.liquidity) == (Decimal("0.0150"), "USDT", Liquidity.MAKER)


@pytest.mark.asyncio
async def test_recorded_okx_answers_are_read() -> None:
    replies = recorded_replies("nautilus-okx-http.jsonl")
    client, _ = answering("okx")
    detail = replies["http_transaction_detail.json"]
    (trade,) = reports.account_trades([client._ccxt.parse_trade(detail)], quote="USDT")
    # A positive amount is a rebate there.
    assert (trade.venue_order_id, trade.fill.quantity, trade.fill.fee) == ("987654321", Decimal("0.001"), Decimal(0))
    effective = replies["http_get_orders_algo_history.json"]["data"][0]
    order = corrected("okx", {**client._ccxt.parse_order(effective), "info": effective})
    assert (order["clientOrderId"], order["isWorking"]) == ("client_algo_2", True)


@pytest.mark.asyncio
async def test_documented_binance_answers_are_read() -> None:
    replies = recorded_replies("nautilus-binance-crate-spot.jsonl")
    client, _ = answering("binance")
    market = client._ccxt.market(SYMBOL)
    full = replies["spot/http_json/new_order_full_response.json"]
    order = client._ccxt.parse_order(full, market)
    report = reports.order_report("binance", order, fills=reports.binance_fills(full), is_acknowledgement=True)
    assert report.state is OrderState.FILLED
    assert sum(fill.quantity for fill in report.fills) == report.filled_quantity == Decimal(full["executedQty"])
    assert {fill.fee_asset for fill in report.fills} == {raw["commissionAsset"] for raw in full["fills"]}
    for raw in replies["spot/http_json/all_orders_response.json"]:
        assert reports.order_report("binance", client._ccxt.parse_order(raw, market)).venue_order_id == str(raw["orderId"])
