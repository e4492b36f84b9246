"""The market streams against the emulated exchange: another process, another websocket library."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from app.domain.candles import Timeframe, to_milliseconds
from app.exchanges.binance_messages import KlineEvent
from app.exchanges.binance_stream import BinanceStreams, Connected, StreamEvent
from tests.emulator_process import EmulatorProcess
from tests.exchanges.stream_venue import Listener, listening, streams_at, until
from tests.fault_matrix import row
from tests.relay import relay_to

pytestmark = pytest.mark.asyncio
MINUTE_MS = 60_000
BTC = "btcusdt@kline_1m"
ETH = "ethusdt@kline_1m"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """Two markets of which a minute passes in half a second, and a venue as strict with messages as the real one."""
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--speed", "120", "--message-limit", "5") as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> Iterator[EmulatorProcess]:
    yield process
    process.control("DELETE", "/_fault")


class Closes(Listener):
    """Asks REST for the candles that it missed, and keeps when each stream's last came."""

    def __init__(self, streams: BinanceStreams, emulator: EmulatorProcess) -> None:
        super().__init__(streams)
        self._emulator = emulator
        self.closed: dict[str, dict[int, float]] = {BTC: {}, ETH: {}}
        self.asked = 0

    def take(self, event: StreamEvent) -> None:
        super().take(event)
        if isinstance(event, Connected):
            for stream in event.streams & self.closed.keys():
                self.asked += 1
                bars = self._emulator.get("/api/v3/klines", symbol=stream.partition("@")[0].upper(), interval="1m", limit=30)
                self.closed[stream].update({bar[0]: float(bar[4]) for bar in bars[:-1]})
        elif isinstance(event, KlineEvent) and event.is_closed and event.timeframe is Timeframe.M1:
            self.closed[f"{event.market.lower()}@kline_1m"][to_milliseconds(event.candle.open_time)] = event.candle.close

    def holes(self, stream: str) -> list[int]:
        known = self.closed[stream]
        return [moment for moment in range(min(known), max(known), MINUTE_MS) if moment not in known]

    async def hear_more(self, minutes: int = 2) -> None:
        goals = {stream: max(known, default=0) + minutes * MINUTE_MS for stream, known in self.closed.items()}
        await until(lambda: all(max(self.closed[stream], default=0) >= goal for stream, goal in goals.items()))


def closes_at(emulator: EmulatorProcess, **limits: Any) -> Closes:
    return Closes(streams_at(emulator.ws_url, streams=[BTC, ETH], between_requests_s=0.5, **limits), emulator)


@row(14)
@pytest.mark.parametrize("fault", [{"do": "ws_close"}, {"do": "close_code", "code": 1008}, {"do": "close_code", "code": 1012}])
async def test_what_a_lost_connection_missed_is_told_to_be_asked_for(emulator: EmulatorProcess, fault: dict[str, Any]) -> None:
    closes = closes_at(emulator)
    async with listening(closes.streams, listener=closes):
        await until(lambda: closes.live == {BTC, ETH})
        await closes.hear_more()
        emulator.fault(**fault)
        await until(lambda: len(closes.disconnected) == 1)
        await until(lambda: closes.live == {BTC, ETH})
        await closes.hear_more()
        assert emulator.state()["stream_connections"] == 1

    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])


@row(14)
async def test_an_announced_end_loses_no_close_and_nothing_has_to_be_asked_for(emulator: EmulatorProcess) -> None:
    closes = closes_at(emulator)
    async with listening(closes.streams, listener=closes):
        await until(lambda: closes.live == {BTC, ETH})
        asked = closes.asked
        emulator.fault("shutdown", delay_ms=5000)
        await until(lambda: closes.streams.connections[-1].opened_at > closes.streams.connections[0].opened_at)
        await until(lambda: len(closes.streams.connections) == 1)
        await closes.hear_more()

    assert closes.asked == asked
    assert not closes.disconnected
    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])


@row(14)
async def test_connections_older_than_they_may_become_are_replaced_without_a_hole(emulator: EmulatorProcess) -> None:
    emulator.control("POST", "/_limits", {"connection_lifetime_s": 2.5})
    closes = closes_at(emulator, rotate_after_s=1.0)
    opened: set[datetime] = set()
    try:
        async with listening(closes.streams, listener=closes):
            await until(lambda: closes.live == {BTC, ETH})
            asked, began = closes.asked, time.monotonic()
            while time.monotonic() - began < 4:
                opened |= {health.opened_at.replace(microsecond=0) for health in closes.streams.connections}
                await asyncio.sleep(0.05)
            await closes.hear_more()
    finally:
        emulator.control("POST", "/_limits", {"connection_lifetime_s": 86_400})

    assert len(opened) >= 3
    assert closes.asked == asked
    assert not closes.disconnected
    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])


@row(11)
async def test_silence_while_pings_are_answered_ends_with_another_connection(emulator: EmulatorProcess) -> None:
    closes = closes_at(emulator, silence_standby_s=0.75, silence_kill_s=1.5)
    async with listening(closes.streams, listener=closes):
        await until(lambda: closes.live == {BTC, ETH})
        began = time.monotonic()
        emulator.fault("ws_silent", **{"for": "1h"})
        await until(lambda: bool(closes.disconnected))
        assert time.monotonic() - began >= 1.2
        assert closes.disconnected[0].reason == "no data for 1.5 s"
        emulator.control("DELETE", "/_fault")
        await until(lambda: closes.live == {BTC, ETH})
        await closes.hear_more()

    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])


@row(10)
async def test_over_a_half_open_connection_the_standby_takes_over(emulator: EmulatorProcess) -> None:
    async with relay_to(emulator.url) as relay:
        closes = Closes(streams_at(relay.url("ws"), streams=[BTC, ETH], silence_standby_s=0.75, silence_kill_s=5), emulator)
        async with listening(closes.streams, listener=closes):
            await until(lambda: closes.live == {BTC, ETH})
            relay.swallow("requests", "answers")
            await until(lambda: relay.connections == 2)
            await until(lambda: closes.asked == 4)
            await closes.hear_more()

    assert not closes.disconnected, "the standby was there before it was given up"
    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])


async def test_a_market_that_stands_still_keeps_its_canary_alive() -> None:
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--clock", "virtual") as still:
        streams = streams_at(still.ws_url, streams=["dogeusdt@kline_1m"], silence_standby_s=2.5, silence_kill_s=3)
        async with listening(streams) as listener:
            await until(lambda: listener.live == {"dogeusdt@kline_1m"})
            await asyncio.sleep(3.5)
            assert len(streams.connections) == 1
            assert streams.connections[0].received >= 3

    assert not listener.disconnected
    assert not listener.books, "nobody asked for the canary"


@row(11, 14)
async def test_connections_killed_at_random_moments_leave_no_hole_that_was_not_told(emulator: EmulatorProcess) -> None:
    chance = random.Random(7)
    closes = closes_at(emulator)
    async with listening(closes.streams, listener=closes):
        for _ in range(12):
            await until(lambda: closes.live == {BTC, ETH})
            await asyncio.sleep(chance.uniform(0, 0.8))
            times = len(closes.disconnected)
            emulator.fault("ws_close")
            await until(lambda times=times: len(closes.disconnected) > times)  # type: ignore[misc]
        await until(lambda: closes.live == {BTC, ETH})
        await closes.hear_more()

    assert closes.streams.reconnects == 12
    assert (closes.holes(BTC), closes.holes(ETH)) == ([], [])
