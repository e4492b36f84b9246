import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import ccxt
import pytest
import websockets

from app.emulator.server import PUBLIC, SIGNED
from app.emulator.weights import WEIGHTS
from tests.emulator.conftest import account_on, connect_ccxt
from tests.emulator_process import EmulatorProcess, Reply, SignedClient

_ips = itertools.count(1)
LIMIT_BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "40000"}
MARKET_BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}


@pytest.fixture(scope="module")
def virtual() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--generate", "BTCUSDT:50000", "--generate", "ETHUSDT:3000", "--clock", "virtual", "--no-shift") as process:
        yield process


@pytest.fixture
def emulator(virtual: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """An emulator at the beginning of a ten-second window and a minute, without limits."""
    virtual.advance_ms(60_000 - virtual.state()["server_time"] % 60_000)
    yield virtual
    virtual.set_limits(weight_1m=None, raw_requests_5m=None, orders_10s=None, orders_1d=None, connections_5m=None, ban_after=10)
    virtual.set_limits(message_limit=None)
    virtual.control("DELETE", "/_limits")
    virtual.control("DELETE", "/_fault")


@pytest.fixture
def ip() -> str:
    return f"10.1.{next(_ips)}.1"


@pytest.fixture
def client(emulator: EmulatorProcess, ip: str) -> SignedClient:
    return replace(account_on(emulator), ip=ip)


def call(client: SignedClient, method: str, path: str, params: dict[str, Any] | None = None) -> Reply:
    return client.call(method, path, params, timestamp=client.emulator.state()["server_time"])


def used(reply: Reply) -> int:
    assert reply.headers["x-mbx-used-weight"] == reply.headers["x-mbx-used-weight-1m"]
    return int(reply.headers["x-mbx-used-weight-1m"])


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "/api/v3/ping", {}, 1),
        ("GET", "/api/v3/exchangeInfo", {}, 20),
        ("GET", "/api/v3/depth", {"symbol": "BTCUSDT"}, 5),
        ("GET", "/api/v3/depth", {"symbol": "BTCUSDT", "limit": 500}, 25),
        ("GET", "/api/v3/depth", {"symbol": "BTCUSDT", "limit": 5000}, 250),
        ("GET", "/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m"}, 2),
        ("GET", "/api/v3/ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("GET", "/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'}, 2),
        ("GET", "/api/v3/ticker/24hr", {}, 80),
        ("GET", "/api/v3/ticker/price", {}, 4),
        ("GET", "/api/v3/account", {}, 20),
        ("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}, 6),
        ("GET", "/api/v3/openOrders", {}, 80),
        ("GET", "/api/v3/allOrders", {"symbol": "BTCUSDT"}, 20),
        ("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}, 20),
        ("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "orderId": 1}, 5),
        ("GET", "/api/v3/rateLimit/order", {}, 40),
        ("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}, 4),
        ("POST", "/api/v3/order", MARKET_BUY, 0),
        ("POST", "/api/v3/order", {**MARKET_BUY, "quantity": "1000000"}, 1),
        ("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}, 1),
    ],
)
def test_requests_weigh_what_is_documented(client: SignedClient, method: str, path: str, params: dict[str, Any], weight: int) -> None:
    is_public = path.startswith(("/api/v3/ping", "/api/v3/exchangeInfo", "/api/v3/depth", "/api/v3/klines", "/api/v3/ticker"))
    if is_public:
        query = "&".join(f"{name}={value}" for name, value in params.items())
        reply = client.emulator.request(method, f"{path}?{query}", headers={"X-Emulated-IP": client.ip or ""})
    else:
        reply = call(client, method, path, params)
    assert used(reply) == weight


def test_every_request_the_venue_knows_has_a_weight() -> None:
    assert {*PUBLIC, *SIGNED} <= WEIGHTS.keys()


def test_weight_begins_anew_with_each_minute_and_is_counted_per_ip(client: SignedClient) -> None:
    other = replace(client, ip="10.9.9.9")
    assert [used(call(client, "GET", "/api/v3/account")) for _ in range(3)] == [20, 40, 60]
    assert used(call(other, "GET", "/api/v3/account")) == 20
    client.emulator.advance_ms(59_999)
    assert used(call(client, "GET", "/api/v3/account")) == 80
    client.emulator.advance_ms(1)
    assert used(call(client, "GET", "/api/v3/account")) == 20


def test_without_limits_nothing_is_refused(client: SignedClient) -> None:
    replies = [call(client, "GET", "/api/v3/openOrders") for _ in range(100)]
    assert ({reply.status for reply in replies}, used(replies[-1])) == ({200}, 8000)


def test_too_much_weight_is_refused_until_the_minute_is_over(client: SignedClient) -> None:
    client.emulator.set_limits(weight_1m=50)
    announced = client.emulator.get("/api/v3/exchangeInfo")["rateLimits"]
    assert {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 50} in announced
    client.emulator.advance_ms(15_500)
    assert [call(client, "GET", "/api/v3/account").status for _ in range(3)] == [200, 200, 429]
    refused = call(client, "GET", "/api/v3/account")
    assert (refused.document["code"], refused.headers["retry-after"], used(refused)) == (-1003, "45", 40)
    assert "current limit is 50 request weight per 1 MINUTE" in refused.document["msg"]
    client.emulator.advance_ms(45_000)
    assert call(client, "GET", "/api/v3/account").status == 200


def test_too_many_requests_are_refused_whatever_they_weigh(client: SignedClient) -> None:
    client.emulator.set_limits(raw_requests_5m=3)
    assert [call(client, "POST", "/api/v3/order", MARKET_BUY).status for _ in range(4)] == [200, 200, 200, 429]


def test_client_that_does_not_stop_is_banned_and_longer_the_next_time(client: SignedClient) -> None:
    emulator = client.emulator
    emulator.set_limits(weight_1m=20, ban_after=2)
    statuses = [call(client, "GET", "/api/v3/account").status for _ in range(5)]
    assert statuses == [200, 429, 429, 418, 418]
    banned = call(client, "GET", "/api/v3/ping")
    until = emulator.state()["server_time"] + 120_000
    assert (banned.status, banned.headers["retry-after"], banned.document["code"]) == (418, "120", -1003)
    assert f"IP banned until {until}." in banned.document["msg"]
    assert call(replace(client, ip="10.9.9.8"), "GET", "/api/v3/account").status == 200
    emulator.advance_ms(119_999)
    assert call(client, "GET", "/api/v3/account").status == 418
    emulator.advance_ms(1)
    assert [call(client, "GET", "/api/v3/account").status for _ in range(4)] == [200, 429, 429, 418]
    assert call(client, "GET", "/api/v3/account").headers["retry-after"] == "240"


@pytest.mark.asyncio
async def test_ccxt_knows_the_refusals_and_bans(emulator: EmulatorProcess, session: aiohttp.ClientSession) -> None:
    exchange = connect_ccxt(account_on(emulator), session)
    await exchange.load_markets()
    emulator.control("DELETE", "/_limits")
    emulator.set_limits(weight_1m=20, orders_10s=1, ban_after=1)
    await exchange.fetch_balance()
    assert exchange.last_response_headers["X-MBX-USED-WEIGHT-1M"] == "20"
    with pytest.raises(ccxt.DDoSProtection, match="Too much request weight"):
        await exchange.fetch_balance()
    emulator.advance_ms(60_000)
    await exchange.load_time_difference()
    await exchange.create_order("BTC/USDT", "limit", "buy", "0.01", "40000")
    assert exchange.last_response_headers["X-MBX-ORDER-COUNT-10S"] == "1"
    with pytest.raises(ccxt.DDoSProtection, match="Too many new orders"):
        await exchange.create_order("BTC/USDT", "limit", "buy", "0.01", "40000")
    emulator.fault("ban", retry_after=30)
    with pytest.raises(ccxt.DDoSProtection, match="IP banned until"):
        await exchange.fetch_time()
    emulator.control("DELETE", "/_fault")
    await exchange.close()


def test_orders_are_counted_until_they_fill(client: SignedClient) -> None:
    counts = [call(client, "POST", "/api/v3/order", LIMIT_BUY).headers["x-mbx-order-count-10s"] for _ in range(3)]
    filled = call(client, "POST", "/api/v3/order", MARKET_BUY).headers
    assert (counts, filled["x-mbx-order-count-10s"], filled["x-mbx-order-count-1d"]) == (["1", "2", "3"], "3", "3")
    refused = call(client, "POST", "/api/v3/order", {**LIMIT_BUY, "quantity": "1000000"})
    assert (refused.status, "x-mbx-order-count-10s" in refused.headers) == (400, False)
    asked = call(client, "GET", "/api/v3/rateLimit/order").document
    assert [(each["interval"], each["limit"], each["count"]) for each in asked] == [("SECOND", 100, 3), ("DAY", 200_000, 3)]


def test_resting_order_that_fills_makes_room_for_five(client: SignedClient) -> None:
    for _ in range(4):
        call(client, "POST", "/api/v3/order", LIMIT_BUY)
    last = float(client.emulator.get("/api/v3/ticker/price", symbol="BTCUSDT")["price"])
    near = call(client, "POST", "/api/v3/order", {**LIMIT_BUY, "price": f"{last * 0.9999:.1f}"}).document
    while call(client, "GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": near["orderId"]}).document["status"] != "FILLED":
        client.emulator.advance(1)
    assert call(client, "GET", "/api/v3/rateLimit/order").document[1]["count"] == 0


def test_too_many_unfilled_orders_are_refused_and_filled_ones_are_not(client: SignedClient) -> None:
    emulator = client.emulator
    emulator.set_limits(orders_10s=2, orders_1d=3)
    assert [call(client, "POST", "/api/v3/order", MARKET_BUY).status for _ in range(5)] == [200] * 5
    assert [call(client, "POST", "/api/v3/order", LIMIT_BUY).status for _ in range(3)] == [200, 200, 429]
    emulator.advance_ms(2500)
    refused = call(client, "POST", "/api/v3/order", LIMIT_BUY)
    assert (refused.document["code"], refused.headers["retry-after"]) == (-1015, "8")
    assert "current limit is 2 orders per 10 SECOND" in refused.document["msg"]
    other = account_on(emulator)
    assert call(other, "POST", "/api/v3/order", LIMIT_BUY).status == 200
    emulator.advance_ms(7500)
    assert [call(client, "POST", "/api/v3/order", LIMIT_BUY).status for _ in range(2)] == [200, 429]
    assert "3 orders per 1 DAY" in call(client, "POST", "/api/v3/order", LIMIT_BUY).document["msg"]


def connect(emulator: EmulatorProcess, path: str, ip: str) -> Any:
    return websockets.connect(emulator.ws_url + path, proxy=None, additional_headers={"X-Emulated-IP": ip})


@pytest.mark.asyncio
async def test_too_many_connections_are_refused(emulator: EmulatorProcess, ip: str) -> None:
    emulator.set_limits(connections_5m=2)
    async with connect(emulator, "/ws", ip), connect(emulator, "/stream?streams=btcusdt@kline_1m", ip):
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(emulator, "/ws", ip)
        assert caught.value.response.status_code == 429
        async with connect(emulator, "/ws", "10.9.9.7"):
            pass


@pytest.mark.asyncio
async def test_ban_refuses_handshakes_and_ends_the_websocket_api(emulator: EmulatorProcess, ip: str) -> None:
    async with (
        connect(emulator, "/ws", ip) as stream,
        connect(emulator, "/ws-api/v3", ip) as api,
        connect(emulator, "/ws-api/v3", "x") as other,
    ):
        emulator.fault("ban", ip=ip, code=418, retry_after=60)
        await api.wait_closed()
        await (await stream.ping())
        await (await other.ping())
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(emulator, "/ws", ip)
        assert caught.value.response.status_code == 418
        assert caught.value.response.headers["Retry-After"] == "60"


@pytest.mark.asyncio
async def test_websocket_api_counts_weight_and_says_when_to_come_back(emulator: EmulatorProcess, ip: str) -> None:
    async with connect(emulator, "/ws-api/v3", ip) as api:

        async def ask(**params: object) -> Any:
            await api.send(json.dumps({"id": 1, "method": "time", "params": params}))
            return json.loads(await api.recv())

        assert (await ask())["rateLimits"][0]["count"] == 3
        assert "rateLimits" not in await ask(returnRateLimits=False)
        emulator.set_limits(weight_1m=4)
        refused = await ask()
        assert (refused["status"], refused["error"]["code"]) == (429, -1003)
        assert refused["error"]["data"]["retryAfter"] == emulator.state()["server_time"] + 60_000


@pytest.mark.asyncio
async def test_client_that_sends_too_many_frames_is_disconnected(emulator: EmulatorProcess) -> None:
    emulator.set_limits(message_limit=5)
    async with connect(emulator, "/ws", "10.9.9.6") as socket:

        async def chatter() -> None:
            for number in range(20):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
                await socket.recv()

        with pytest.raises(websockets.ConnectionClosedError):
            await chatter()
        assert socket.close_code == 1008


def test_ban_by_fault_refuses_everybody_until_its_time_is_over(client: SignedClient) -> None:
    client.emulator.fault("ban", code=429, retry_after=10)
    refused = client.emulator.request("GET", "/api/v3/ping")
    assert (refused.status, refused.headers["retry-after"]) == (429, "10")
    assert call(client, "GET", "/api/v3/account").status == 429
    client.emulator.advance_ms(10_000)
    assert client.emulator.request("GET", "/api/v3/ping").status == 200
    assert client.emulator.control("GET", "/_fault") == []


@pytest.mark.parametrize(
    "body",
    [{"weight": 5}, {"weight_1m": -1}, {"weight_1m": "many"}, {"ban_after": None}, {"message_limit": 0}, {"connection_lifetime_s": 0}, []],
)
def test_limit_that_means_nothing_is_refused(emulator: EmulatorProcess, body: object) -> None:
    before = emulator.control("GET", "/_limits")
    assert emulator.request("POST", "/_limits", body=json.dumps(body).encode()).status == 422
    assert emulator.control("GET", "/_limits") == before


def test_limits_can_be_set_at_the_start() -> None:
    with EmulatorProcess("--weight-limit", "25", "--order-limit-10s", "7", "--ban-after", "0") as emulator:
        announced = emulator.get("/api/v3/exchangeInfo")["rateLimits"]
        assert [each["limit"] for each in announced] == [25, 7, 200_000, 300_000]
        assert emulator.request("GET", "/api/v3/exchangeInfo").status == 418
    with pytest.raises(RuntimeError, match="weight_1m"):
        EmulatorProcess("--weight-limit", "-1").start()
