"""The clock of orders, over a real wire."""

import asyncio
import time
from datetime import timedelta

import pytest

from app.core.clock import SystemClock
from app.errors import ExchangeUnavailable, NotSent
from app.exchanges import ccxt_client
from app.exchanges.budgets import Budget, Unit
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.registry import Registry, RegistryConfig
from tests.exchanges.gated import SettableClock, gate_of, place, read
from tests.exchanges.scripted_venue import ScriptedVenue, says
from tests.exchanges.test_ccxt_client import KEYS
from tests.exchanges.wire.clients import VENUES, make_client
from tests.exchanges.wire.session import Answer, RecordingSession
from tests.fault_matrix import row

NOW_MS = 1_767_225_600_000
#: What the venues' documents show for the time.
CLOCKS: dict[str, tuple[str, object]] = {
    "binance": ("GET /api/v3/time", {"serverTime": NOW_MS}),
    "binanceus": ("GET /api/v3/time", {"serverTime": NOW_MS}),
    "kraken": ("GET /0/public/Time", {"error": [], "result": {"unixtime": NOW_MS // 1000, "rfc1123": "Thu, 01 Jan 26 00:00:00 +0000"}}),
    "coinbase": ("GET /v2/time", {"data": {"epoch": NOW_MS // 1000, "iso": "2026-01-01T00:00:00Z"}}),
    "kucoin": ("GET /api/v1/timestamp", {"code": "200000", "data": NOW_MS}),
    "bitget": ("GET /api/v2/public/time", {"code": "00000", "msg": "success", "requestTime": NOW_MS, "data": {"serverTime": str(NOW_MS)}}),
    "okx": ("GET /api/v5/public/time", {"code": "0", "msg": "", "data": [{"ts": str(NOW_MS)}]}),
    "bybit": (
        "GET /v5/market/time",
        {"retCode": 0, "retMsg": "OK", "result": {"timeSecond": str(NOW_MS // 1000), "timeNano": f"{NOW_MS}000000"}, "time": NOW_MS},
    ),
    "gate": ("GET /api/v4/spot/time", {"server_time": NOW_MS}),
    "mexc": ("GET /api/v3/time", {"serverTime": NOW_MS}),
}


@row(37)
@pytest.mark.asyncio
@pytest.mark.parametrize("step", [timedelta(seconds=7), timedelta(hours=-2)])
async def test_after_a_jump_of_the_clock_nothing_is_sent_until_it_was_read_again(
    venue: ScriptedVenue, client: CcxtClient, clock: SettableClock, step: timedelta
) -> None:
    clock.step = step
    gate_of(client).clock._tried_at = 0.0
    venue.answers["GET /time"] = says({}, status=500)
    with pytest.raises(NotSent, match="this server's clock jumped by") as caught:
        await place(client)
    assert venue.count("POST /order") == 0

    del venue.answers["GET /time"]
    gate_of(client).clock._tried_at = 0.0
    await place(client)

    assert caught.value.code == "CLOCK_UNSURE"
    assert abs(int(venue.parameters("POST /order")["timestamp"]) - time.time() * 1000) < 500
    await read(client)
    assert abs(int(venue.parameters("GET /order")["timestamp"]) - time.time() * 1000) < 500


@row(37)
@pytest.mark.asyncio
async def test_a_jump_while_an_order_waits_stops_it_in_the_last_moment(
    venue: ScriptedVenue, client: CcxtClient, clock: SettableClock
) -> None:
    gate_of(client).limiter.allow([Budget(unit=Unit.REQUESTS, limit=1, window_s=0.15)])
    await read(client)

    async def jump() -> None:
        await asyncio.sleep(0.05)
        clock.step = timedelta(seconds=-7)

    outcome, _ = await asyncio.gather(place(client), jump(), return_exceptions=True)

    assert isinstance(outcome, NotSent)
    assert outcome.code == "CLOCK_UNSURE"
    assert venue.count("POST /order") == 0


@pytest.mark.asyncio
async def test_the_loop_reads_the_clock_of_venues_with_accounts_each_minute_and_after_a_step(
    venue: ScriptedVenue, client: CcxtClient, clock: SettableClock
) -> None:
    gate = gate_of(client)
    await gate.tend(is_active=True)
    assert venue.count("GET /time") == 0  # it is fresh
    gate.clock._read_at -= 61
    gate.clock._tried_at = 0.0
    await gate.tend(is_active=False)
    assert venue.count("GET /time") == 0
    await gate.tend(is_active=True)
    assert venue.count("GET /time") == 5

    clock.step = timedelta(milliseconds=-600)
    gate.clock._tried_at = 0.0
    await gate.tend(is_active=True)
    assert venue.count("GET /time") == 10
    assert gate.clock.offset_ms == pytest.approx(-600, abs=100)


@row(24, 37)
@pytest.mark.asyncio
async def test_a_refused_time_is_read_again_once_and_nothing_is_repeated(venue: ScriptedVenue, client: CcxtClient) -> None:
    gate_of(client).clock._tried_at = 0.0
    late = says({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, status=400)
    venue.answers["POST /order"] = venue.answers["GET /order"] = late

    outcomes = await asyncio.gather(
        *(place(client) for _ in range(10)),
        *(client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None) for _ in range(10)),
        return_exceptions=True,
    )

    assert all(isinstance(outcome, NotSent | ExchangeUnavailable) for outcome in outcomes)
    assert (venue.count("POST /order"), venue.count("GET /order"), venue.count("GET /time")) == (10, 10, 5)


@pytest.mark.asyncio
async def test_an_account_that_was_closed_is_no_reason_to_read_a_clock(registry: Registry, client: CcxtClient) -> None:
    (post,) = registry._posts.values()
    assert post.is_active

    await client.close()

    assert not post.is_active


@pytest.mark.asyncio
async def test_an_order_whose_symbols_took_too_long_is_too_old_to_send(
    venue: ScriptedVenue, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ccxt_client, "LONGEST_WAIT_S", 0.0)
    client = await registry.client("binance", KEYS)

    with pytest.raises(NotSent, match="took too long") as caught:
        await place(client)
    await client.close()

    assert caught.value.code == "DEADLINE_PASSED"
    assert venue.count("POST /order") == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("exchange", VENUES)
async def test_the_clock_of_every_tested_venue_can_be_read(exchange: str) -> None:
    name, body = CLOCKS[exchange]
    session = RecordingSession({name: [Answer(body=body)]})
    client = make_client(exchange, session)
    gate = gate_of(client)
    gate.read_time = client._ccxt.fetch_time

    await gate.require_clock()

    assert [sent.name for sent in session.sent] == [name] * 5
    assert abs(time.time() * 1000 - gate.clock.offset_ms - NOW_MS) < 5_000


@pytest.mark.asyncio
@pytest.mark.parametrize(("exchange", "is_needed"), [("binance", True), ("bitstamp", False)])
async def test_only_a_tested_venues_clock_is_needed_for_an_order(exchange: str, *, is_needed: bool) -> None:
    registry = Registry(RegistryConfig(), clock=SystemClock())
    client = await registry.client(exchange, KEYS)
    is_refused = not gate_of(client).is_clock_sure
    await client.close()
    await registry.close()

    assert is_refused is is_needed
