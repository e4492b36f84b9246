"""Rows of the fault matrix about the way to the exchange: rate limits, addresses, silence, a blocked process, clocks."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from app.brokers.connections import Connections
from app.core.crash_points import reach
from app.core.loop_lag import LoopLag
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState
from app.domain.protection import ProtectionPlan
from app.exchanges import order_params, venue_class
from app.exchanges.circuit import Reason
from app.exchanges.gate import LimitGauge, VenueGate
from app.exchanges.registry import Registry, RegistryConfig
from app.exchanges.user_stream_pace import UserStreamConfig
from app.main import health
from app.sandbox.jail import Jail
from app.sandbox.terms import JailConfig
from app.sandbox.violations import Violation
from app.trading.guardian import guard
from app.trading.reconcile import Reconciler
from tests.app.conftest import SYMBOL, Pieces, make_broker, open_account
from tests.app.test_marketdata_heartbeat import feed_at, running, until
from tests.app.test_user_stream import following, reaches
from tests.emulator_process import EmulatorProcess
from tests.exchanges.gated import SettableClock
from tests.fault_matrix import row
from tests.relay import Relay, relay_to

pytestmark = pytest.mark.asyncio

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def nothing_left(standing_emulator: Any) -> Iterator[None]:
    """The exchange is everybody's: what a test broke is whole afterwards."""
    yield
    standing_emulator.control("DELETE", "/_fault")
    standing_emulator.control("DELETE", "/_limits")


@asynccontextmanager
async def by_way_of(pieces: Pieces, url: str, *, ws_api_url: str | None = None) -> AsyncIterator[Pieces]:
    """The same user, account and books, with an exchange that is reached at another address."""
    registry = Registry(RegistryConfig(binance_rest_url=url, binance_ws_api_url=ws_api_url), clock=pieces.desk.clock)
    connections = Connections(pieces.database, pieces.vault, registry)
    try:
        yield replace(pieces, registry=registry, connections=connections, desk=replace(pieces.desk, connections=connections))
    finally:
        await connections.close()
        await registry.close()


def gauge(pieces: Pieces) -> LimitGauge:
    (found,) = pieces.registry.limits()
    return found


def posts(pieces: Pieces) -> list[Any]:
    """The order requests of the account that reached the exchange, refused ones too."""
    return [entry for entry in pieces.emulator.log() if entry["api_key"] == pieces.api_key]


def gate(pieces: Pieces) -> VenueGate:
    (post,) = pieces.registry._posts.values()
    return post.gate


def forget_last_try(pieces: Pieces) -> None:
    """The clock was read long enough ago to be read again."""
    gate(pieces).clock._tried_at = float("-inf")


async def no_strategy_runs(violation: Violation) -> None:
    pytest.fail(f"nobody runs a strategy here: {violation}")


async def readiness(pieces: Pieces) -> Any:
    """What `/readyz` says of the exchanges."""
    app = FastAPI()
    app.include_router(health)
    state = app.state
    state.database, state.desk, state.registry, state.loop_lag = pieces.database, pieces.desk, pieces.registry, LoopLag()
    state.keyring = SimpleNamespace(is_whole=True)
    state.jail = Jail(JailConfig(), on_violation=no_strategy_runs)
    state.bot_engine = SimpleNamespace(summary=dict)
    transport = httpx.ASGITransport(app)
    async with (
        Supervisor(on_fatal=lambda: None) as state.supervisor,
        httpx.AsyncClient(transport=transport, base_url="http://server") as http,
    ):
        return (await http.get("/readyz")).json()["exchanges"]


def quote(pieces: Pieces) -> None:
    """A price of this second, so that no order asks for one."""
    price = Decimal(60000)
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), last=price, bid=price, ask=price)


@row(6)
@pytest.mark.parametrize(("code", "words"), [(429, "has asked this server to wait"), (418, "has blocked this server")])
async def test_one_refusal_keeps_every_account_of_the_address_away_and_says_until_when(pieces: Pieces, code: int, words: str) -> None:
    await pieces.filled()
    other_key = open_account(pieces.emulator)
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=other_key, name="Other")
    await pieces.submit(broker_id=other)
    pieces.emulator.fault("ban", code=code, retry_after=60)
    pieces.emulator.control("DELETE", "/_log")
    quote(pieces)
    first = (await pieces.submit()).order
    assert (first.state, first.code) == (OrderState.REJECTED, "EXCHANGE_RATE_LIMITED")

    for broker_id in (pieces.broker_id, other) * 5:
        order = (await pieces.submit(broker_id=broker_id)).order
        assert (order.state, order.code) == (OrderState.DENIED, "RATE_LIMIT")
        assert re.search(rf"Binance {words} until \d\d:\d\d:\d\d UTC\..*This one was not sent\.", order.detail or ""), order.detail
    await Reconciler(pieces.desk, interval_s=60).once()

    assert len(pieces.emulator.control("GET", "/_log")["entries"]) == 1, "one request found out; nobody else tried"
    (told,) = await readiness(pieces)
    assert (told["circuit"], told["until"] is not None) == ("open", True)


@row(6)
async def test_when_the_exchange_opens_again_protection_goes_first_and_what_is_too_late_does_not_go(moving: Pieces) -> None:
    quote(moving)
    await moving.submit(moving.intent(protection=ProtectionPlan(stop_price=Decimal(59000))))
    (protection,) = await moving.rows("SELECT id FROM protections")
    moving.emulator.fault("ban", code=429, retry_after=1)
    await moving.submit()
    moving.emulator.control("DELETE", "/_log")
    quote(moving)
    soon = moving.desk.clock.now() + timedelta(seconds=0.5)

    entry, late, _ = await asyncio.gather(
        moving.submit(moving.limit("50000")),
        moving.submit(moving.limit("50001", deadline=soon)),
        guard(moving.desk, protection["id"]),
    )

    assert (late.order.state, late.order.code) == (OrderState.DENIED, "DEADLINE_PASSED")
    assert entry.order.state is OrderState.OPEN
    (stop,) = [order for order in moving.placed() if order["type"] == "STOP_LOSS"]
    sent = [entry["client_order_id"] for entry in posts(moving)]
    assert sent == [stop["clientOrderId"], entry.order.client_order_id]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were asked for, by host."""
    made: list[str] = []
    connect = aiohttp.TCPConnector.connect

    async def counting(self: aiohttp.TCPConnector, request: Any, *arguments: Any, **options: Any) -> Any:
        made.append(str(request.url.host))
        return await connect(self, request, *arguments, **options)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", counting)
    return made


@row(9)
@pytest.mark.parametrize("fault", ["no such name", "no tls"])
async def test_an_exchange_that_is_not_there_gets_no_order_and_no_storm_and_readiness_says_so(
    pieces: Pieces, fault: str, attempts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await pieces.filled()
    before = len(posts(pieces))

    known = socket.getaddrinfo

    def no_name(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "binance.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    url = "http://binance.invalid" if fault == "no such name" else pieces.emulator.url.replace("http://", "https://")
    async with by_way_of(pieces, url) as lost:
        attempts.clear()
        codes = set()
        for _ in range(30):
            quote(lost)
            order = (await lost.submit()).order
            assert order.state is OrderState.DENIED
            assert "not sent" in (order.detail or "")
            codes.add(order.code)
        assert gauge(lost).reason is Reason.UNREACHABLE
        (told,) = await readiness(lost)

    assert codes <= {"NOT_SENT", "EXCHANGE_UNREACHABLE"}
    assert told["circuit"] != "closed"
    assert len(attempts) <= 12, "five until it counts as away, then a question after one second, two, four"
    assert len(posts(pieces)) == before


@row(9)
async def test_a_proxy_in_the_environment_sees_nothing_of_orders_and_streams(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    async with relay_to(pieces.emulator.url) as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url())
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with by_way_of(pieces, pieces.emulator.url) as proxied, following(proxied):
            await proxied.filled()
        assert proxy.connections == 0


@row(10)
@pytest.mark.parametrize("swallowed", ["requests", "answers"])
async def test_a_half_open_connection_is_given_up_and_the_order_is_looked_for(
    pieces: Pieces, swallowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert venue_class.WRITE_TIMEOUT_MS <= 5_000
    monkeypatch.setattr(venue_class, "WRITE_TIMEOUT_MS", 400)
    async with relay_to(pieces.emulator.url) as relay, by_way_of(pieces, relay.url()) as far:
        await far.filled()
        quote(far)
        relay.swallow(swallowed)
        order = (await far.submit()).order
        assert order.state is OrderState.UNKNOWN
        relay.swallow()
        await Reconciler(far.desk, interval_s=60).once()
        found = await far.order(order.id)

    is_there = swallowed == "answers"
    assert found.state is (OrderState.FILLED if is_there else OrderState.UNKNOWN), "what may still arrive is not given up yet"
    assert len(posts(pieces)) == 1 + is_there, "it is never sent again"


class Behind:
    """The emulator, its streams by way of a relay."""

    def __init__(self, emulator: EmulatorProcess, relay: Relay) -> None:
        self._emulator = emulator
        self.ws_url = relay.url("ws")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._emulator, name)


@row(10)
async def test_a_market_stream_over_a_half_open_connection_is_dropped_by_its_silence(moving: Pieces) -> None:
    async with relay_to(moving.emulator.url) as relay:
        behind: Any = Behind(moving.emulator, relay)
        async with feed_at(behind, moving.database, silence_s=0.5) as feed, running(feed):
            await feed.until_fresh()
            relay.swallow("requests", "answers")
            moving.emulator.advance(2)
            await until(lambda: not feed.heartbeat.status.is_connected)
            await feed.until_fresh()
            moving.emulator.advance(1)
            await feed.until_closed(3)
            await feed.assert_complete()


@row(10)
async def test_a_user_stream_over_a_half_open_connection_is_dropped_and_what_it_missed_is_asked_for(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit("59500"))).order
    config = UserStreamConfig(probe_every_s=0.1, answer_timeout_s=0.5).unpaced()
    async with (
        relay_to(moving.emulator.url) as relay,
        by_way_of(moving, moving.emulator.url, ws_api_url=f"{relay.url('ws')}/ws-api/v3") as far,
        following(far, reconcile_every_s=600, config=config),
    ):
        await until(lambda: not far.desk.suspects)
        with capture_logs() as lines:
            relay.swallow("requests", "answers")
            moving.emulator.advance(20)
            await until(lambda: "user_stream_lost" in [line["event"] for line in lines])
            await reaches(far, order.id, OrderState.FILLED)


@row(24)
async def test_a_blocked_event_loop_is_said_and_costs_one_order_at_most(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    await pieces.filled()
    # The window of ten seconds' standstill, five times smaller.
    monkeypatch.setattr(order_params, "RECV_WINDOW_MS", 1_000)
    lag = LoopLag()

    def block(point: str) -> None:
        if point == "P2":  # the order is claimed and has its time
            time.sleep(2)
        reach(point)

    with capture_logs() as lines:
        async with Supervisor(on_fatal=lambda: None) as supervisor:
            supervisor.start("loop_lag", lag.run)
            await asyncio.sleep(0.05)
            monkeypatch.setattr("app.trading.send.reach", block)
            blocked = (await pieces.submit()).order
            monkeypatch.setattr("app.trading.send.reach", reach)
            after = [(await pieces.submit()).order for _ in range(3)]
            await until(lambda: lag.max_ms >= 1_500)

    assert (blocked.state, blocked.code) == (OrderState.DENIED, "NOT_SENT")
    assert "too old" in (blocked.detail or "")
    assert {order.state for order in after} == {OrderState.FILLED}
    assert [entry["status"] for entry in posts(pieces)] == [200, 400, 200, 200, 200]
    assert "event_loop_blocked" in [line["event"] for line in lines]


@row(37)
@pytest.mark.parametrize("skew_ms", [7_000, -7_200_000])
async def test_when_the_exchanges_clock_moves_it_is_measured_again_and_one_order_is_lost_to_it(pieces: Pieces, skew_ms: int) -> None:
    await pieces.filled()
    assert abs(gauge(pieces).clock_offset_ms or 0) < 2_000
    pieces.emulator.fault("clock_skew", clock_skew_ms=skew_ms, for_ms=600_000)
    forget_last_try(pieces)

    refused = (await pieces.submit()).order
    assert (refused.state, refused.code) == (OrderState.DENIED, "NOT_SENT")
    assert "clock differs" in (refused.detail or "")
    assert gauge(pieces).clock_offset_ms == pytest.approx(-skew_ms, abs=2_000)
    assert (await pieces.submit()).order.state is OrderState.FILLED

    pieces.emulator.control("DELETE", "/_fault")
    forget_last_try(pieces)
    assert (await pieces.submit()).order.state is OrderState.DENIED
    assert (await pieces.submit()).order.state is OrderState.FILLED
    assert [entry["status"] for entry in posts(pieces)] == [200, 400, 200, 400, 200]
    assert len(pieces.placed()) == 3


@row(37)
@pytest.mark.parametrize("step", [timedelta(seconds=7), timedelta(hours=-2)], ids=["ahead", "behind"])
async def test_while_this_servers_clock_is_unsure_nothing_is_sent(pieces: Pieces, step: timedelta) -> None:
    """The gate's own clock steps; the books keep theirs, so that only sending is in question."""
    await pieces.filled()
    clock = SettableClock()
    gate(pieces).clock._clock = clock
    clock.step = step
    pieces.emulator.fault("status_before", path="/api/v3/time", status=500, for_ms=600_000)
    forget_last_try(pieces)

    held = [(await pieces.submit()).order for _ in range(3)]
    assert {(order.state, order.code) for order in held} == {(OrderState.DENIED, "CLOCK_UNSURE")}
    assert len(posts(pieces)) == 1
    assert gauge(pieces).is_clock_sure is False
