"""What requests pass on their way to a venue, over a real wire: the limiter and the circuit."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from app.core.clock import SystemClock
from app.domain.enums import Lane
from app.errors import ExchangeRateLimited, NotSent, OutcomeUnknown
from app.exchanges import gate as gate_module
from app.exchanges.budgets import Budget, Kind, Unit, budgets_of
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.circuit import CircuitState, Reason
from app.exchanges.gate import VenueGate
from app.exchanges.limiter import Slot
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry
from tests.exchanges.gated import UNKNOWN_ORDER, gate_of, place, read
from tests.exchanges.scripted_venue import FILLED_ORDER, ScriptedVenue, says, says_text
from tests.exchanges.test_ccxt_client import go, request
from tests.fault_matrix import row


def refuses(status: int, retry_after: str | None, *, times: int = 1) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Refuse the next `times` requests, then do not know the order."""
    left = [times]
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    refusal = says({"code": -1003, "msg": "Too much request weight used."}, status=status, headers=headers)

    async def answer(request: web.Request) -> web.StreamResponse:
        left[0] -= 1
        return await (refusal if left[0] >= 0 else UNKNOWN_ORDER)(request)

    return answer


@pytest.mark.asyncio
async def test_a_hundred_accounts_stay_under_the_limit_of_their_one_address(venue: ScriptedVenue, registry: Registry) -> None:
    limit, window_s = 100, 0.3
    arrivals: deque[float] = deque()
    seen: list[int] = []

    async def counts(request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        arrivals.append(now)
        while arrivals[0] <= now - window_s:
            arrivals.popleft()
        seen.append(len(arrivals))
        headers = {"X-MBX-USED-WEIGHT-1S": str(len(arrivals))}
        if len(arrivals) > limit:
            return await says({"code": -1003, "msg": "Too much."}, status=429, headers=headers)(request)
        return await says({"code": -2013, "msg": "Order does not exist."}, status=400, headers=headers)(request)

    async with AsyncExitStack() as stack:
        clients = [await registry.client("binance", Credentials(api_key=f"k{index}", api_secret="s")) for index in range(100)]
        for client in clients:
            stack.push_async_callback(client.close)
        await read(clients[0])
        venue.answers["GET /order"] = counts
        gate_of(clients[0]).limiter.allow([Budget(unit=Unit.REQUESTS, limit=limit, window_s=window_s, header="x-mbx-used-weight-1s")])
        await asyncio.gather(*(read(client) for client in clients))

    assert len(seen) == 100
    assert 50 <= max(seen) <= limit
    assert len({id(gate_of(client)) for client in clients}) == 1


@row(6)
@pytest.mark.asyncio
async def test_an_order_passes_the_reads_that_wait(venue: ScriptedVenue, client: CcxtClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gate_module._WAIT_S, Kind.READ, 0.5)
    gate_of(client).limiter.allow([Budget(unit=Unit.REQUESTS, limit=10, window_s=60)])

    is_full = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if venue.count("GET /order") == 6:
            is_full.set()
        return await UNKNOWN_ORDER(request)

    async def stop() -> None:
        await is_full.wait()
        assert gate_of(client).limiter.waiting() == {Lane.RECONCILE: 44}
        await place(client, lane=Lane.PROTECTIVE)

    venue.answers["GET /order"] = answer
    *reads, stopped = await asyncio.gather(*(read(client) for _ in range(50)), stop(), return_exceptions=True)

    assert stopped is None
    assert [isinstance(outcome, ExchangeRateLimited) for outcome in reads].count(True) == 44
    assert venue.count("POST /order") == 1


@pytest.mark.asyncio
async def test_the_guard_is_asked_after_the_wait(venue: ScriptedVenue, client: CcxtClient) -> None:
    gate_of(client).limiter.allow([Budget(unit=Unit.REQUESTS, limit=1, window_s=0.15)])
    await read(client)
    lost_at = time.monotonic() + 0.05

    def guard() -> None:
        if time.monotonic() > lost_at:
            raise NotSent("the lease was lost", code="NOT_OWNER")

    with pytest.raises(NotSent, match="lease was lost"):
        await client.place_order(request(sent_at=client._clock.now()), guard=guard)
    assert venue.count("POST /order") == 0


@pytest.mark.asyncio
async def test_an_order_that_waited_keeps_the_time_of_its_claim(venue: ScriptedVenue, client: CcxtClient) -> None:
    gate_of(client).limiter.allow([Budget(unit=Unit.REQUESTS, limit=1, window_s=0.15)])
    await read(client)
    claimed_at = client._clock.now()

    waited_s = await place(client)

    assert waited_s > 0.1
    assert abs(int(venue.parameters("POST /order")["timestamp"]) - claimed_at.timestamp() * 1000) < 50


@pytest.mark.asyncio
async def test_an_order_that_gets_no_place_in_its_window_is_not_sent(venue: ScriptedVenue, client: CcxtClient) -> None:
    gate_of(client).limiter.allow([Budget(unit=Unit.REQUESTS, limit=1, window_s=60)])
    await read(client)

    with pytest.raises(NotSent, match="left no room in time") as caught:
        await client.place_order(request(sent_at=client._clock.now() - timedelta(seconds=3.9)), guard=go)

    assert caught.value.code == "RATE_LIMIT"
    assert venue.count("POST /order") == 0


@row(6)
@pytest.mark.asyncio
async def test_a_429_stops_everything_for_as_long_as_the_venue_says(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /order"] = refuses(429, "1")
    with pytest.raises(ExchangeRateLimited):
        await read(client)
    stopped_at = time.monotonic()
    venue.requests.clear()

    with pytest.raises(ExchangeRateLimited, match=r"Binance has asked this server to wait until \d\d:\d\d:\d\d UTC") as caught:
        await read(client)
    async with asyncio.TaskGroup() as group:
        for lane in (Lane.ENTRY, Lane.EXIT, Lane.PROTECTIVE):
            group.create_task(place(client, lane=lane, client_order_id=f"q{lane.value}"))
        await asyncio.sleep(0.5)
        assert venue.requests == []
    waited_s = time.monotonic() - stopped_at

    assert caught.value.retry_after_s == pytest.approx(1, abs=0.1)
    assert 1.0 <= waited_s < 3
    assert [name for name, _ in venue.requests] == ["GET /time", "POST /order", "POST /order", "POST /order"]
    assert [asked["newClientOrderId"] for name, asked in venue.requests if name == "POST /order"] == ["qprotective", "qexit", "qentry"]
    assert gate_of(client).gauge().circuit is CircuitState.CLOSED


@row(6)
@pytest.mark.asyncio
async def test_an_order_that_would_be_too_late_is_refused_at_once(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["GET /order"] = refuses(429, "30")
    with pytest.raises(ExchangeRateLimited):
        await read(client)
    venue.requests.clear()

    for lane in Lane:
        started = time.monotonic()
        with pytest.raises(NotSent, match="This one was not sent") as caught:
            await place(client, lane=lane)
        assert caught.value.code == "RATE_LIMIT"
        assert time.monotonic() - started < 2
    with pytest.raises(NotSent, match="The cancellation was not sent"):
        await client.cancel_order("BTC/USDT", client_order_id="q1", venue_order_id="28")

    assert venue.requests == []


@row(6)
@pytest.mark.asyncio
@pytest.mark.parametrize("in_words", [False, True])
async def test_a_ban_says_until_when_and_nothing_is_sent_meanwhile(venue: ScriptedVenue, client: CcxtClient, *, in_words: bool) -> None:
    until = datetime.now(UTC) + timedelta(minutes=20)  # noqa: TID251  # the venue's own clock
    words = f"Way too much request weight used; IP banned until {int(until.timestamp() * 1000)}."
    headers = {} if in_words else {"Retry-After": "1200"}
    venue.answers["GET /order"] = says({"code": -1003, "msg": words if in_words else "Banned."}, status=418, headers=headers)
    with capture_logs() as lines:
        with pytest.raises(ExchangeRateLimited):
            await read(client)
        venue.requests.clear()
        with pytest.raises(ExchangeRateLimited) as caught:
            await read(client)

    (moment,) = re.findall(
        r"^Binance has blocked this server until (\d\d:\d\d) UTC\. Orders already there are unaffected\.$", caught.value.message
    )
    gauge = gate_of(client).gauge()
    assert moment in {f"{until + timedelta(seconds=more):%H:%M}" for more in (0, 60)}
    assert venue.requests == []
    assert (gauge.circuit, gauge.reason) == (CircuitState.OPEN, Reason.BANNED)
    assert gauge.until is not None
    assert abs(gauge.until - until) < timedelta(seconds=2)
    assert [line["event"] for line in lines if "circuit" in line["event"]] == ["exchange_circuit_opened"]


@pytest.mark.asyncio
async def test_a_firewalls_page_opens_the_circuit_and_a_refused_permission_does_not(venue: ScriptedVenue, client: CcxtClient) -> None:
    venue.answers["POST /order"] = says({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, status=403)
    with pytest.raises(Exception, match="API key"):
        await place(client)
    assert gate_of(client).circuit.is_closed

    venue.answers["POST /order"] = says_text("<html>Forbidden</html>", status=403)
    with pytest.raises(OutcomeUnknown):
        await place(client)

    assert gate_of(client).gauge().reason is Reason.FIREWALL


@pytest.mark.asyncio
async def test_too_many_orders_stop_this_accounts_orders_and_nothing_else(
    venue: ScriptedVenue, registry: Registry, client: CcxtClient
) -> None:
    gate_of(client).limiter.allow(
        [Budget(unit=Unit.ORDERS, limit=100, window_s=10, kinds=frozenset({Kind.PLACE}), per_account=True, header="x-mbx-order-count-10s")]
    )
    other = await registry.client("binance", Credentials(api_key="another", api_secret="s"))
    venue.answers["POST /order"] = says({"code": -1015, "msg": "Too many new orders."}, status=429, headers={"Retry-After": "10"})
    with pytest.raises(ExchangeRateLimited):
        await place(client)
    venue.answers["POST /order"] = says(FILLED_ORDER)

    with pytest.raises(NotSent):
        await client.place_order(request(sent_at=client._clock.now() - timedelta(seconds=3.9)), guard=go)
    await read(client)
    await place(other)
    await other.close()

    assert venue.count("POST /order") == 2
    assert gate_of(client).circuit.is_closed


@pytest.mark.asyncio
@pytest.mark.parametrize("said_by", ["status", "words"])
async def test_where_a_venue_counts_by_user_one_that_asks_too_often_stops_no_other(said_by: str) -> None:
    gate = VenueGate("okx", budgets_of("okx", rate_limit_ms=100), clock=SystemClock())

    def slot(account: str, kind: Kind) -> Slot:
        return gate.limiter.slot(lane=Lane.PROTECTIVE, kind=kind, account=account, deadline=time.monotonic())

    async with slot("a", Kind.READ) as place:
        if said_by == "status":
            gate.answered(429, {}, {"code": "50011"}, slot=place, retry_after_s=None)
        else:
            gate.too_fast(place)

    with pytest.raises(ExchangeRateLimited):
        await slot("a", Kind.READ).__aenter__()
    async with slot("a", Kind.PLACE), slot("b", Kind.READ), slot("a", Kind.PUBLIC):
        assert gate.circuit.is_closed

    gate.answered(429, {}, {"code": "50011"}, slot=slot("a", Kind.PUBLIC), retry_after_s=None)
    assert gate.circuit.reason is Reason.RATE_LIMITED


@pytest.mark.asyncio
async def test_the_gauge_tells_what_is_used_who_waits_and_how_sure_the_clock_is(registry: Registry, client: CcxtClient) -> None:
    gate_of(client).limiter.allow([Budget(unit=Unit.WEIGHT, limit=100, window_s=60)])
    await read(client)
    (gauge,) = registry.limits()

    assert (gauge.exchange, gauge.used, gauge.budget, gauge.waiting) == ("binance", 4, 100, {})
    assert (gauge.circuit, gauge.until, gauge.open_since) == (CircuitState.CLOSED, None, None)
    assert gauge.is_clock_sure
    assert gauge.clock_offset_ms is not None
    assert gauge.clock_age_s is not None
    assert "the-" not in repr(gauge)
    found = registry.limit_of("binance")
    assert found is not None
    assert found.used == 4
    assert registry.limit_of("kraken") is None
