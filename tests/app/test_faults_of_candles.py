"""Rows of the fault matrix about candles: streams that fall silent, garble what they say, or end. Each is told once, none lost."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import websockets
from structlog.testing import capture_logs

from app.core.db import Database
from app.domain.candles import Candle, Timeframe
from app.marketdata.events import HeartbeatChanged
from app.marketdata.heartbeat import HeartbeatConfig
from app.marketdata.models import GapOutcome
from tests.app.test_marketdata_heartbeat import HISTORY, MINUTE, Feed, feed_at, running, until
from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

MARKET = ("--generate", "BTCUSDT:60000", "--history", str(HISTORY * 2), "--seed", "11", "--clock", "virtual")
KLINES = "btcusdt@kline_1m"


@pytest.fixture(scope="module")
def standing_market() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(*MARKET) as process:
        yield process


@pytest.fixture
def market(standing_market: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """A market whose time moves when a test says so, at the beginning of a minute; whole again afterwards."""
    standing_market.advance_ms(60_000 - standing_market.state()["server_time"] % 60_000)
    yield standing_market
    standing_market.control("DELETE", "/_fault")
    standing_market.control("POST", "/_limits", {"connection_lifetime_s": 86_400})


@dataclass
class Witness:
    """Somebody else at the same stream: which closed candles were sent, in what order."""

    closes: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self, socket: websockets.ClientConnection) -> None:
        async for message in socket:
            candle = json.loads(message)["k"]
            if candle["x"]:
                self.closes.append(candle)

    async def until_sent(self, count: int) -> None:
        await until(lambda: len(self.closes) >= count)


@asynccontextmanager
async def watched(market: EmulatorProcess) -> AsyncIterator[Witness]:
    witness = Witness()
    async with websockets.connect(f"{market.ws_url}/ws/{KLINES}", proxy=None, max_queue=None) as socket, asyncio.TaskGroup() as group:
        task = group.create_task(witness.listen(socket))
        yield witness
        task.cancel()


def told(feed: Feed) -> list[Candle]:
    """The candles that were told: each once, in order, none left out."""
    candles = [event.candle for event in feed.closed()]
    assert {b.open_time - a.open_time for a, b in pairwise(candles)} <= {MINUTE}, candles
    return candles


def reasons(feed: Feed) -> str:
    """Why connections were lost."""
    return str([event.last_error for event in feed.drain() if isinstance(event, HeartbeatChanged)])


@row(13)
@pytest.mark.parametrize(
    ("fault", "sent", "comes_from"),
    [
        ({"do": "late_close", "delay_ms": 90_000}, 4, {"rest", "stream"}),
        ({"do": "duplicate_close"}, 5, {"stream"}),
        ({"do": "missing_close"}, 3, {"rest", "stream"}),
    ],
    ids=["late", "twice", "never"],
)
async def test_a_candle_whose_close_is_garbled_is_told_once(
    market: EmulatorProcess, database: Database, fault: dict[str, Any], sent: int, comes_from: set[str]
) -> None:
    async with feed_at(market, database) as feed, running(feed), watched(market) as witness:
        await feed.until_fresh()
        market.fault(**fault, stream=KLINES, times=1)
        market.advance(2)
        await feed.until_closed(2)
        market.advance(1)
        await feed.until_closed(3)
        # What was sent before this one was read before it.
        await witness.until_sent(sent - 1)
        market.advance(1)
        await feed.until_closed(4)
        await feed.assert_complete()
        candles = told(feed)

    assert len(candles) == 4
    assert len(witness.closes) == sent
    assert {event.source.value for event in feed.closed()} == comes_from


@row(13)
async def test_a_candle_that_is_revised_is_told_once_and_kept_and_noted_as_revised(market: EmulatorProcess, database: Database) -> None:
    with capture_logs() as lines:
        async with feed_at(market, database) as feed, running(feed), watched(market) as witness:
            await feed.until_fresh()
            market.fault("revised_close", stream=KLINES, times=1, delay_ms=30_000)
            market.advance(1)
            await feed.until_closed(1)
            market.advance(1)
            await witness.until_sent(3)
            await feed.until_closed(2)
            first, second = told(feed)
            await until(lambda: "candle_revised" in [line["event"] for line in lines])
            stored = await feed.heartbeat.store.latest("binance", "BTC/USDT", Timeframe.M1, limit=2)

    original, revision = witness.closes[:2]
    assert original["t"] == revision["t"]
    assert first.close == float(original["c"])
    assert (stored[0].open_time, stored[0].close, stored[0].volume) == (first.open_time, float(revision["c"]), float(revision["v"]))
    assert stored[1] == second
    assert [line["open_time"] for line in lines if line["event"] == "candle_revised"] == [first.open_time]


@row(14)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"do": "ws_close"}, "no close frame"),
        ({"do": "close_code", "code": 1008}, "1008"),
        ({"do": "shutdown", "delay_ms": 60_000}, "shutting down"),
    ],
    ids=["1006", "1008", "shutdown"],
)
async def test_a_connection_that_the_exchange_ends_costs_no_candle(
    market: EmulatorProcess, database: Database, fault: dict[str, Any], why: str
) -> None:
    async with feed_at(market, database) as feed, running(feed):
        await feed.until_fresh()
        market.advance(1)
        await feed.until_closed(1)
        market.fault(**fault)
        market.advance(3)
        await until(lambda: feed.heartbeat.status.reconnects >= 1 and feed.heartbeat.status.is_fresh)
        market.advance(2)
        await feed.until_closed(6)
        await feed.assert_complete()
        gaps = await feed.heartbeat.gaps.of("BTC/USDT")

    assert len(told(feed)) == 6
    assert why in reasons(feed)
    assert {outcome for *_, outcome in gaps} <= {GapOutcome.FILLED}


@row(14)
async def test_connections_that_are_cut_for_their_age_over_and_over_cost_no_candle(market: EmulatorProcess, database: Database) -> None:
    async with feed_at(market, database) as feed, running(feed):
        await feed.until_fresh()
        market.control("POST", "/_limits", {"connection_lifetime_s": 90})
        market.fault("ws_close")
        count = 0
        while feed.heartbeat.status.reconnects < 3:
            market.advance(1)
            count += 1
            await feed.until_closed(count)
        await feed.assert_complete()

    assert len(told(feed)) == count


@row(11)
async def test_silence_is_noticed_by_the_age_of_data_while_pings_are_answered(market: EmulatorProcess, database: Database) -> None:
    async with feed_at(market, database, silence_s=0.5) as feed, running(feed):
        await feed.until_fresh()
        market.advance(1)
        await feed.until_closed(1)
        market.fault("ws_silent", for_ms=3_600_000)
        began = time.monotonic()
        market.advance(3)
        await until(lambda: "no data for 0.5 s" in reasons(feed))
        noticed_after_s = time.monotonic() - began
        assert market.state()["server_time"] > 0, "the exchange is well, it only says nothing"
        market.control("DELETE", "/_fault")
        market.advance(1)
        await feed.until_closed(5)
        await feed.assert_complete()

    assert noticed_after_s < 3, "a busy machine's seconds; half a one where it is quiet"
    assert HeartbeatConfig().silence_s <= 10
    assert len(told(feed)) == 5
