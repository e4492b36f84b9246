import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.domain.candles import Candle, Timeframe
from app.domain.enums import Liquidity, OrderState, OrderType, Side, TimeInForce
from app.errors import (
    BadCredentials,
    ExchangeUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    SymbolNotFound,
)
from app.exchanges import venue_class
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.port import Credentials, OrderRequest
from app.exchanges.registry import Registry, RegistryConfig
from tests.exchanges.scripted_venue import (
    FILLED_ORDER,
    Answer,
    ScriptedVenue,
    hangs_up,
    says,
    says_half,
    says_text,
    scripted_venue,
    waits,
)
from tests.fault_matrix import row

KEYS = Credentials(api_key="the-key", api_secret="the-secret")
RESTING = FILLED_ORDER | {"status": "NEW", "executedQty": "0.0", "cummulativeQuoteQty": "0.0", "type": "LIMIT", "fills": []}
TRADE = {
    "id": 56, "orderId": 28, "symbol": "BTCUSDT", "price": "58900.00", "qty": "0.001", "quoteQty": "58.9", "commission": "0.0589",
    "commissionAsset": "USDT", "time": 1617151923742, "isBuyer": True, "isMaker": True, "isBestMatch": True,
}  # fmt: skip


def request(**changes: object) -> OrderRequest:
    values: dict[str, object] = {
        "client_order_id": "q00000000000000001",
        "symbol": "BTC/USDT",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": Decimal("0.00300"),
        "price": None,
        "trigger_price": None,
        "time_in_force": TimeInForce.GTC,
        "post_only": False,
        "sent_at": SystemClock().now(),
    }
    return OrderRequest(**(values | changes))  # type: ignore[arg-type]  # each change names a field


def limit(**changes: object) -> OrderRequest:
    return request(type=OrderType.LIMIT, price=Decimal("58000.10"), **changes)


def go() -> None:
    """A guard that lets the order go."""


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[ScriptedVenue]:
    async with scripted_venue() as venue:
        yield venue


@pytest_asyncio.fixture
async def registry(venue: ScriptedVenue) -> AsyncIterator[Registry]:
    registry = Registry(RegistryConfig(binance_rest_url=venue.url), clock=SystemClock())
    yield registry
    await registry.close()


@pytest_asyncio.fixture
async def client(registry: Registry) -> AsyncIterator[CcxtClient]:
    client = await registry.client("binance", KEYS)
    yield client
    await client.close()


@pytest.mark.asyncio
async def test_a_market_order_that_fills_needs_one_request_and_reports_its_fills(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["POST /order"] = says(FILLED_ORDER)

    report = await client.place_order(request(), guard=go)

    assert (report.state, report.venue_order_id, report.filled_quantity) == (OrderState.FILLED, "28", Decimal("0.003"))
    assert report.average_price == Decimal("176.8") / Decimal("0.003")
    assert [(fill.trade_id, fill.fee, fill.fee_asset) for fill in report.fills] == [
        ("56", Decimal("0.000001"), "BTC"),
        ("57", Decimal("0.00004"), "BNB"),
    ]
    assert all(fill.liquidity is Liquidity.TAKER for fill in report.fills)
    assert [name for name, _ in venue.requests].count("POST /order") == 1
    assert not any("myTrades" in name for name, _ in venue.requests)


@pytest.mark.asyncio
async def test_a_market_order_is_sent_by_quantity_under_our_id_with_our_time(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["POST /order"] = says(FILLED_ORDER)
    sent_at = SystemClock().now() - timedelta(seconds=2)

    await client.place_order(request(sent_at=sent_at), guard=go)

    sent = venue.parameters("POST /order")
    assert (sent["type"], sent["quantity"], sent["newClientOrderId"]) == ("MARKET", "0.003", "q00000000000000001")
    assert "quoteOrderQty" not in sent
    assert "price" not in sent
    assert sent["recvWindow"] == "5000"
    assert abs(int(sent["timestamp"]) - sent_at.timestamp() * 1000) < 500


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("order", "expected", "absent"),
    [
        (limit(), {"type": "LIMIT", "price": "58000.1", "timeInForce": "GTC"}, {"stopPrice"}),
        (limit(time_in_force=TimeInForce.FOK), {"type": "LIMIT", "timeInForce": "FOK"}, set()),
        (limit(post_only=True), {"type": "LIMIT_MAKER", "price": "58000.1"}, {"timeInForce", "postOnly"}),
        (
            request(type=OrderType.STOP_LIMIT, side=Side.SELL, price=Decimal(50000), trigger_price=Decimal("50100.5")),
            {"type": "STOP_LOSS_LIMIT", "side": "SELL", "price": "50000", "stopPrice": "50100.5", "timeInForce": "GTC"},
            set(),
        ),
        (
            request(type=OrderType.TAKE_PROFIT_LIMIT, side=Side.SELL, price=Decimal(70000), trigger_price=Decimal(69990)),
            {"type": "TAKE_PROFIT_LIMIT", "price": "70000", "stopPrice": "69990"},
            set(),
        ),
    ],
)
async def test_what_leaves_is_what_was_asked(
    venue: ScriptedVenue, client: CcxtClient, order: OrderRequest, expected: dict[str, str], absent: set[str]
) -> None:
    venue.answers["POST /order"] = says(RESTING)

    report = await client.place_order(order, guard=go)

    sent = venue.parameters("POST /order")
    assert expected.items() <= sent.items()
    assert not absent & sent.keys()
    assert report.state is OrderState.OPEN


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (hangs_up(), OutcomeUnknown),
        (says_half(), OutcomeUnknown),
        (says_text("<html>Bad gateway</html>"), OutcomeUnknown),
        (says_text("<html>Bad gateway</html>", status=502), OutcomeUnknown),
        (says_text("<html>Forbidden</html>", status=403), OutcomeUnknown),
        (says({}), OutcomeUnknown),
        (says([]), OutcomeUnknown),
        (says(FILLED_ORDER | {"status": "SOMETHING_NEW"}), OutcomeUnknown),
        (says(FILLED_ORDER | {"fills": [{"tradeId": 1}]}), OutcomeUnknown),
        (says({"code": -1007, "msg": "Timeout waiting for response from backend server."}, status=504), OutcomeUnknown),
        (says({"code": -2010, "msg": "Duplicate order sent."}, status=400), OutcomeUnknown),
        (says({"code": -1013, "msg": "Filter failure: LOT_SIZE"}, status=400), OrderRejected),
        (says({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, status=401), BadCredentials),
    ],
)
async def test_faults_on_the_wire_of_an_order(venue: ScriptedVenue, client: CcxtClient, answer: Answer, error: type[Exception]) -> None:
    venue.answers["POST /order"] = answer

    with pytest.raises(error) as caught:
        await client.place_order(request(), guard=go)

    assert type(caught.value) is error
    assert venue.count("POST /order") == 1
    assert "signature" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.asyncio
async def test_an_answer_that_takes_too_long_is_in_doubt(venue: ScriptedVenue, client: CcxtClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_class, "WRITE_TIMEOUT_MS", 150)
    released = asyncio.Event()
    venue.answers["POST /order"] = waits(released)

    with pytest.raises(OutcomeUnknown):
        await client.place_order(request(), guard=go)
    released.set()


@pytest.mark.asyncio
async def test_a_key_that_stops_working_is_no_rate_limit(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /account"] = says(
        {"balances": [{"asset": "BTC", "free": "0.5", "locked": "0.1"}, {"asset": "X", "free": "0", "locked": "0"}]}
    )
    venue.answers["POST /order"] = says({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, status=401)

    balances = await client.fetch_balances()
    with pytest.raises(BadCredentials):
        await client.place_order(request(), guard=go)

    assert list(balances) == ["BTC"]
    assert (balances["BTC"].free, balances["BTC"].locked, balances["BTC"].total) == (Decimal("0.5"), Decimal("0.1"), Decimal("0.6"))


@pytest.mark.asyncio
async def test_the_guard_is_asked_in_the_last_moment_and_can_stop_the_order(venue: ScriptedVenue, client: CcxtClient) -> None:
    def stop() -> None:
        raise NotSent("the lease was lost")

    with pytest.raises(NotSent, match="lease was lost"):
        await client.place_order(request(), guard=stop)

    assert venue.count("POST /order") == 0


@pytest.mark.asyncio
async def test_an_order_for_a_symbol_that_is_not_listed_is_refused_here(venue: ScriptedVenue, client: CcxtClient) -> None:
    with pytest.raises(OrderRejected):
        await client.place_order(request(symbol="NO/SUCH"), guard=go)

    assert venue.count("POST /order") == 0


@pytest.mark.asyncio
async def test_a_venue_that_is_not_there_never_got_the_order(registry: Registry, venue: ScriptedVenue) -> None:
    client = await registry.client("binance", KEYS)
    await client.instruments()
    dead = Registry(RegistryConfig(binance_rest_url="http://127.0.0.1:9"), clock=SystemClock())
    client._ccxt.urls["api"]["private"] = "http://127.0.0.1:9/api/v3"
    unloaded = await dead.client("binance", KEYS)

    with pytest.raises(NotSent):
        await client.place_order(request(), guard=go)
    with pytest.raises(NotSent):
        await unloaded.place_order(request(), guard=go)
    with pytest.raises(ExchangeUnavailable):
        await unloaded.fetch_ticker("BTC/USDT")
    for made in (client, unloaded):
        await made.close()
    await dead.close()


@row(37)
@pytest.mark.asyncio
async def test_a_refused_clock_is_read_again_for_the_next_order(venue: ScriptedVenue, client: CcxtClient) -> None:
    await client.instruments()
    await client._source.gate.sync_clock()
    client._source.gate.clock._tried_at = 0.0
    ahead = int(SystemClock().now().timestamp() * 1000) + 60_000
    venue.answers["GET /time"] = says({"serverTime": ahead})
    venue.answers["POST /order"] = says({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, status=400)
    with pytest.raises(NotSent, match="clock"):
        await client.place_order(request(), guard=go)
    venue.requests.clear()
    venue.answers["POST /order"] = says(FILLED_ORDER)

    await client.place_order(request(), guard=go)

    assert abs(int(venue.parameters("POST /order")["timestamp"]) - ahead) < 5_000


@pytest.mark.asyncio
async def test_an_order_is_found_by_our_id_and_comes_with_its_fills(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /order"] = says(RESTING | {"executedQty": "0.001", "cummulativeQuoteQty": "58.9", "status": "PARTIALLY_FILLED"})
    venue.answers["GET /myTrades"] = says([TRADE, TRADE | {"id": 99, "orderId": 77}])

    report = await client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None)

    assert report is not None
    assert (report.state, report.filled_quantity, report.average_price) == (OrderState.PARTIAL, Decimal("0.001"), Decimal(58900))
    (fill,) = report.fills
    assert (fill.trade_id, fill.liquidity, fill.fee, fill.fee_asset) == ("56", Liquidity.MAKER, Decimal("0.0589"), "USDT")
    assert fill.executed_at == datetime(2021, 3, 31, 0, 52, 3, 742000, tzinfo=UTC)
    assert venue.parameters("GET /order")["origClientOrderId"] == "q1"
    assert venue.parameters("GET /myTrades")["orderId"] == "28"


@pytest.mark.asyncio
async def test_an_order_the_venue_does_not_know_is_none(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /order"] = says({"code": -2013, "msg": "Order does not exist."}, status=400)
    venue.answers["DELETE /order"] = says({"code": -2011, "msg": "Unknown order sent."}, status=400)

    assert await client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None) is None
    assert await client.cancel_order("BTC/USDT", client_order_id="q1", venue_order_id="28") is None
    assert venue.parameters("DELETE /order")["orderId"] == "28"


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [says({}), says_text("<html></html>"), hangs_up(), says_text("", status=500)])
async def test_a_read_that_cannot_be_read_is_not_an_absence(venue: ScriptedVenue, client: CcxtClient, answer: Answer) -> None:
    venue.answers["GET /order"] = answer

    with pytest.raises(ExchangeUnavailable):
        await client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None)


@pytest.mark.asyncio
async def test_a_canceled_order_that_had_filled_in_part_comes_with_its_fills(venue: ScriptedVenue, client: CcxtClient) -> None:
    canceled = RESTING | {"status": "CANCELED", "executedQty": "0.001", "cummulativeQuoteQty": "58.9", "origClientOrderId": "q1"}
    venue.answers["DELETE /order"] = says(canceled)
    venue.answers["GET /order"] = says(canceled)
    venue.answers["GET /myTrades"] = says([TRADE])

    report = await client.cancel_order("BTC/USDT", client_order_id="q1", venue_order_id=None)

    assert report is not None
    assert report.state is OrderState.CANCELED
    assert len(report.fills) == 1


@pytest.mark.asyncio
async def test_a_cancel_without_an_answer_is_in_doubt(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["DELETE /order"] = hangs_up()

    with pytest.raises(OutcomeUnknown):
        await client.cancel_order("BTC/USDT", client_order_id="q1", venue_order_id=None)


@pytest.mark.asyncio
async def test_candles_are_read_with_bounds_and_equal_their_text(venue: ScriptedVenue, client: CcxtClient) -> None:
    row = [1617566580000, "58001.03000000", "58010.1", "58000.07", "58003.3", "12.34567891", 1617566639999, "1", 3, "1", "1", "0"]
    venue.answers["GET /klines"] = says([row])
    start = datetime(2021, 4, 4, 20, 3, tzinfo=UTC)

    (candle,) = await client.fetch_candles("BTC/USDT", Timeframe.M1, start=start, end=start + timedelta(minutes=9), limit=5000)

    assert candle == Candle(open_time=start, open=58001.03, high=58010.1, low=58000.07, close=58003.3, volume=12.34567891)
    asked = venue.parameters("GET /klines")
    assert (asked["startTime"], asked["endTime"], asked["limit"]) == ("1617566580000", "1617567120000", "1000")


@pytest.mark.asyncio
async def test_a_ticker_holds_exact_prices(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /ticker/24hr"] = says(
        {"symbol": "BTCUSDT", "lastPrice": "58001.03", "bidPrice": "58001.02", "askPrice": "58001.10", "closeTime": 1617566580000}
    )

    ticker = await client.fetch_ticker("BTC/USDT")

    assert (ticker.last, ticker.bid, ticker.ask) == (Decimal("58001.03"), Decimal("58001.02"), Decimal("58001.10"))
    assert ticker.at == datetime(2021, 4, 4, 20, 3, tzinfo=UTC)


@pytest.mark.asyncio
async def test_a_symbol_that_is_not_listed_cannot_be_read(client: CcxtClient) -> None:
    with pytest.raises(SymbolNotFound):
        await client.fetch_ticker("NO/SUCH")


@pytest.mark.asyncio
async def test_accounts_share_markets_and_ask_for_them_once(venue: ScriptedVenue, registry: Registry) -> None:
    clients = [await registry.client("binance", Credentials(api_key=f"k{i}", api_secret="s")) for i in range(5)]

    await asyncio.gather(*(client.instruments() for client in clients))
    venue.answers["POST /order"] = says(FILLED_ORDER)
    await asyncio.gather(*(client.place_order(request(), guard=go) for client in clients))

    assert venue.count("GET /exchangeInfo") == 1
    assert len({id(client._ccxt.markets) for client in clients}) == 1
    assert len({id(client._ccxt.session) for client in clients}) == 1
    for client in clients:
        await client.close()


@pytest.mark.asyncio
async def test_new_markets_reach_every_account(venue: ScriptedVenue, registry: Registry, client: CcxtClient) -> None:
    await client.instruments()

    await registry.listings("binance", max_age_s=0.0)
    venue.answers["POST /order"] = says(FILLED_ORDER)
    await client.place_order(request(), guard=go)

    assert venue.count("GET /exchangeInfo") == 2
    assert client._ccxt.markets is client._source.shared.markets


@pytest.mark.asyncio
async def test_nothing_of_a_client_shows_its_keys(client: CcxtClient) -> None:
    assert "the-" not in f"{client!r} {KEYS!r} {client}"
