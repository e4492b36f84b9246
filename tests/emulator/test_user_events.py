import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.pro
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.emulator.conftest import SECRET, account_on, connect_ccxt
from tests.emulator_process import EmulatorProcess, SignedClient
from tests.journeys.eventually import eventually

pytestmark = pytest.mark.asyncio

SYMBOL = "BTCUSDT"
LIMIT = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
_ids = itertools.count(1)


class Api:
    """A bare connection to the websocket API: answers by request, events in the order they came."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        identity = next(_ids)
        await self.connection.send(json.dumps({"id": identity, "method": method, **({"params": params} if params is not None else {})}))
        while True:
            message = json.loads(await asyncio.wait_for(self.connection.recv(), 10))
            if message.get("id") == identity:
                return message
            self.events.append(message)

    async def event(self) -> Any:
        return self.events.pop(0) if self.events else json.loads(await asyncio.wait_for(self.connection.recv(), 10))

    async def report(self) -> Any:
        """Return the next execution report."""
        while True:
            message = await self.event()
            if message["event"]["e"] == "executionReport":
                return message["event"]

    async def subscribe(self, client: SignedClient, **changes: Any) -> Any:
        return await self.ask("userDataStream.subscribe.signature", signed(client, **changes))


def signed(client: SignedClient, **changes: Any) -> dict[str, Any]:
    params = {"apiKey": client.api_key, "recvWindow": 5000, "timestamp": time.time_ns() // 1_000_000, **changes}
    secret = params.pop("secret", client.api_secret)
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {**params, "signature": hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()}


@asynccontextmanager
async def api_of(emulator: EmulatorProcess) -> AsyncIterator[Api]:
    async with connect(f"{emulator.ws_url}/ws-api/v3", compression=None, proxy=None) as connection:
        yield Api(connection)


@pytest_asyncio.fixture
async def api(emulator: EmulatorProcess) -> AsyncIterator[Api]:
    async with api_of(emulator) as opened:
        yield opened


@pytest.fixture
def standing(standing_emulator: EmulatorProcess) -> SignedClient:
    return account_on(standing_emulator)


async def test_ping_and_time_are_answered(standing_emulator: EmulatorProcess) -> None:
    async with api_of(standing_emulator) as api:
        assert (await api.ask("ping"))["result"] == {}
        told = await api.ask("time", {"returnRateLimits": False})
        assert abs(told["result"]["serverTime"] - time.time() * 1000) < 2000
        assert told["status"] == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": "another"}, 400, -1022),
        ({"timestamp": 1_700_000_000_000}, 400, -1021),
        ({"apiKey": "nobody"}, 401, -2015),
        ({"apiKey": "with space"}, 401, -2014),
        ({"timestamp": "soon"}, 400, -1102),
    ],
)
async def test_subscription_that_is_not_signed_right_is_refused(
    standing_emulator: EmulatorProcess, standing: SignedClient, changes: dict[str, Any], status: int, code: int
) -> None:
    async with api_of(standing_emulator) as api:
        refused = await api.subscribe(standing, **changes)
        assert (refused["status"], refused["error"]["code"]) == (status, code)
        assert (await api.ask("session.subscriptions"))["result"] == []


async def test_request_that_is_none_is_refused_and_the_connection_stays(standing_emulator: EmulatorProcess) -> None:
    async with api_of(standing_emulator) as api:
        assert (await api.ask("order.sing"))["error"]["code"] == -1020
        await api.connection.send("{not json")
        assert (await api.event())["error"]["code"] == -1135
        assert (await api.ask("userDataStream.subscribe"))["status"] == 401


async def test_subscriptions_are_numbered_listed_and_ended(standing_emulator: EmulatorProcess) -> None:
    one, other = account_on(standing_emulator), account_on(standing_emulator)
    async with api_of(standing_emulator) as api:
        assert [(await api.subscribe(client))["result"] for client in (one, other)] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        assert (await api.subscribe(one))["error"]["code"] == -2035
        assert (await api.ask("session.subscriptions"))["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        assert (await api.ask("userDataStream.unsubscribe", {"subscriptionId": 0}))["result"] == {}
        ended = await api.event()
        assert (ended["subscriptionId"], ended["event"]["e"]) == (0, "eventStreamTerminated")
        assert (await api.ask("userDataStream.unsubscribe", {"subscriptionId": 0}))["error"]["code"] == -2036
        assert (await api.subscribe(one))["result"] == {"subscriptionId": 2}
        await api.ask("userDataStream.unsubscribe")
        assert (await api.ask("session.status"))["result"]["userDataStream"] is False


async def test_life_of_an_order_is_told_to_who_listens_to_its_account(api: Api, client: SignedClient, emulator: EmulatorProcess) -> None:
    await api.subscribe(account_on(emulator))
    subscription = (await api.subscribe(client))["result"]["subscriptionId"]
    client.order(**LIMIT, quantity="0.1", price="59500", newClientOrderId="q-1")
    new, locked = await api.event(), await api.event()
    assert new["subscriptionId"] == locked["subscriptionId"] == subscription
    expected = {"x": "NEW", "X": "NEW", "c": "q-1", "C": "", "s": SYMBOL, "z": "0.00000000", "t": -1, "N": None, "w": True}
    assert {name: new["event"][name] for name in expected} == expected
    assert (locked["event"]["e"], locked["event"]["B"]) == (
        "outboundAccountPosition",
        [{"a": "USDT", "f": "994050.00000000", "l": "5950.00000000"}],
    )
    emulator.advance(20)
    report = await api.report()
    while report["X"] != "FILLED":
        assert (report["x"], report["X"]) == ("TRADE", "PARTIALLY_FILLED")
        report = await api.report()
    (*_, trade) = client.call("GET", "/api/v3/myTrades", {"symbol": SYMBOL}).document
    assert (report["t"], report["l"], report["L"], report["n"], report["N"], report["m"], report["T"]) == (
        trade["id"],
        trade["qty"],
        trade["price"],
        trade["commission"],
        trade["commissionAsset"],
        trade["isMaker"],
        trade["time"],
    )
    assert (report["z"], Decimal(report["Z"]) / Decimal(report["z"]), report["w"]) == ("0.10000000", Decimal(59500), False)


async def test_cancellation_has_a_client_id_of_its_own_and_names_the_orders_apart(
    standing_emulator: EmulatorProcess, standing: SignedClient
) -> None:
    async with api_of(standing_emulator) as api:
        await api.subscribe(standing)
        standing.order(**LIMIT, quantity="0.1", price="59000", newClientOrderId="q-2")
        standing.call("DELETE", "/api/v3/order", {"symbol": SYMBOL, "origClientOrderId": "q-2", "newClientOrderId": "please"})
        await api.report()
        canceled = await api.report()
        assert (canceled["x"], canceled["X"], canceled["c"], canceled["C"]) == ("CANCELED", "CANCELED", "please", "q-2")


async def test_expired_order_says_why(standing_emulator: EmulatorProcess, standing: SignedClient) -> None:
    async with api_of(standing_emulator) as api:
        await api.subscribe(standing)
        standing.order(**{**LIMIT, "timeInForce": "IOC"}, quantity="0.1", price="59000")
        await api.report()
        expired = await api.report()
        assert (expired["x"], expired["X"], expired["eR"]) == ("EXPIRED", "EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")


async def test_account_that_several_connections_listen_to_is_told_to_each(
    standing_emulator: EmulatorProcess, standing: SignedClient
) -> None:
    async with api_of(standing_emulator) as one, api_of(standing_emulator) as other:
        await one.subscribe(standing)
        await other.subscribe(standing)
        standing.order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
        assert [(await each.report())["i"] for each in (one, other)] == [standing.placed()[0]["orderId"]] * 2


async def test_revoked_key_ends_its_stream_and_is_let_in_nowhere(standing_emulator: EmulatorProcess, standing: SignedClient) -> None:
    async with api_of(standing_emulator) as api:
        await api.subscribe(standing)
        standing_emulator.control("POST", "/_revoke", {"api_key": standing.api_key})
        assert (await api.event())["event"]["e"] == "eventStreamTerminated"
        assert (await api.subscribe(standing))["error"]["code"] == -2015
        assert standing.call("GET", "/api/v3/account").document["code"] == -2015


async def test_user_events_go_wrong_when_they_are_told_to(api: Api, client: SignedClient, emulator: EmulatorProcess) -> None:
    await api.subscribe(client)
    emulator.fault("user_events", mode=["dup"], for_ms=60_000)
    client.order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
    reports = [await api.report() for _ in range(4)]
    assert [report["x"] for report in reports] == ["NEW", "NEW", "TRADE", "TRADE"]
    assert reports[2] == reports[3]
    emulator.fault("user_events", mode=["drop"], for_ms=60_000)
    client.order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
    emulator.control("DELETE", "/_fault")
    client.order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.01")
    while (report := await api.report())["S"] == "BUY":
        assert report in reports  # what the first order still had to say


async def test_connection_of_a_day_is_cut(start_emulator: Callable[..., EmulatorProcess]) -> None:
    emulator = start_emulator("--connection-lifetime", "0.3", "--paused")
    async with api_of(emulator) as api:
        await api.subscribe(account_on(emulator))
        with pytest.raises(ConnectionClosed):
            await api.event()
    eventually(lambda: emulator.state()["user_subscriptions"] == 0, "the emulator forgets the connection")


async def test_unmodified_ccxt_pro_hears_of_its_orders(
    emulator: EmulatorProcess, client: SignedClient, session: aiohttp.ClientSession
) -> None:
    plain = connect_ccxt(client, session)
    exchange = ccxt.pro.binance({"apiKey": client.api_key, "secret": SECRET, "session": session, "options": plain.options})
    exchange.urls["api"] = {**plain.urls["api"], "ws": {**exchange.urls["api"]["ws"], "ws-api": {"spot": f"{emulator.ws_url}/ws-api/v3"}}}
    try:
        await exchange.load_markets()
        watching = asyncio.gather(exchange.watch_orders("BTC/USDT"))
        async with asyncio.timeout(10):
            while emulator.state()["user_subscriptions"] == 0:  # noqa: ASYNC110  # it happens in another process
                await asyncio.sleep(0.02)
        client.order(**LIMIT, quantity="0.1", price="59500", newClientOrderId="q-pro")
        ((order, *_),) = await asyncio.wait_for(watching, 10)
        assert (order["clientOrderId"], order["status"], order["amount"]) == ("q-pro", "open", 0.1)
        emulator.advance(20)
        async with asyncio.timeout(10):
            while order["status"] != "closed":
                order = (await exchange.watch_orders("BTC/USDT"))[-1]
        assert (order["filled"], order["average"]) == (0.1, 59500.0)
    finally:
        await exchange.close()
        await plain.close()
