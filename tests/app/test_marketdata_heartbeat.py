import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.domain.candles import Candle, Timeframe
from app.exchanges.port import ExchangeClient
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.events import CandleChanged, CandleClosed, CandlesLoaded, HeartbeatChanged, TickerChanged
from app.marketdata.heartbeat import Heartbeat, HeartbeatConfig
from app.marketdata.models import GapOutcome
from app.marketdata.quotes import Quotes
from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row

MINUTE = timedelta(minutes=1)
DEADLINE_S = 30.0
HISTORY = 90


@dataclass
class Feed:
    """A heartbeat at an emulator, with all that it published."""

    emulator: EmulatorProcess
    database: Database
    registry: Registry
    heartbeat: Heartbeat
    quotes: Quotes
    subscription: Subscription[object]
    bus: EventBus
    events: list[object] = field(default_factory=list)
    beats: int = 0

    def beat(self) -> None:
        self.beats += 1

    def drain(self) -> list[object]:
        while (event := self.subscription.get_nowait()) is not None:
            self.events.append(event)
        assert self.subscription.dropped == 0
        return self.events

    def closed(self, symbol: str = "BTC/USDT", timeframe: Timeframe = Timeframe.M1) -> list[CandleClosed]:
        told = [event for event in self.drain() if isinstance(event, CandleClosed)]
        return [event for event in told if event.symbol == symbol and event.timeframe is timeframe]

    async def until_fresh(self) -> None:
        await until(lambda: self.heartbeat.status.is_fresh)

    async def until_closed(self, count: int, symbol: str = "BTC/USDT") -> None:
        await until(lambda: len(self.closed(symbol)) >= count)

    async def client(self) -> ExchangeClient:
        return await self.registry.public("binance")

    async def assert_complete(self, symbol: str = "BTC/USDT") -> list[Candle]:
        """Stored candles equal the venue's, from the first stored to the last, and each was published at most once, in order."""
        stored = await self.heartbeat.store.latest("binance", symbol, Timeframe.M1, limit=100_000)
        source: list[Candle] = []
        client = await self.client()
        start = stored[0].open_time
        while page := [c for c in await client.fetch_candles(symbol, Timeframe.M1, start=start) if c.open_time <= stored[-1].open_time]:
            source += page
            start = page[-1].open_time + MINUTE
        assert stored == source
        published = [event.candle.open_time for event in self.closed(symbol)]
        assert published == sorted(set(published))
        return stored


async def until(condition: object) -> None:
    """Poll until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # conditions of another process have no event to wait for
            await asyncio.sleep(0.02)


MARKET = ("--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--history", str(HISTORY * 2), "--seed", "11")


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    """A market that moves only when a test says so, and its clock with it: no minute turns in between."""
    with EmulatorProcess(*MARKET, "--clock", "virtual") as process:
        yield process


@pytest.fixture
def running_market() -> Iterator[EmulatorProcess]:
    """A market that goes with the machine's clock."""
    with EmulatorProcess(*MARKET) as process:
        yield process


@asynccontextmanager
async def feed_at(emulator: EmulatorProcess, database: Database, **changes: object) -> AsyncIterator[Feed]:
    """Build the heartbeat; `running` runs it."""
    clock = SystemClock()
    bus = EventBus()
    quotes = Quotes("binance")
    registry = Registry(RegistryConfig(binance_rest_url=emulator.url), clock=clock)
    usual = {"symbols": ("BTC/USDT",), "history": HISTORY * MINUTE, "stream_urls": (emulator.ws_url,), "is_timed": False}
    config = HeartbeatConfig(**usual | changes)  # type: ignore[arg-type]  # a test's own names
    heartbeat = Heartbeat(config, database=database, registry=registry, quotes=quotes, bus=bus, clock=clock)
    try:
        with bus.subscribe(CandleClosed, CandlesLoaded, CandleChanged, TickerChanged, HeartbeatChanged, size=100_000) as subscription:
            yield Feed(emulator, database, registry, heartbeat, quotes, subscription, bus)
    finally:
        await registry.close()


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(feed.heartbeat.run(feed.beat))
        try:
            yield
        finally:
            task.cancel()


@pytest_asyncio.fixture
async def feed(emulator: EmulatorProcess, database: Database) -> AsyncIterator[Feed]:
    async with feed_at(emulator, database) as feed:
        yield feed


@pytest.mark.asyncio
async def test_a_new_symbol_gets_its_history_first_and_then_the_feed_is_fresh(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        stored = await feed.assert_complete()

    (loaded,) = [event for event in feed.events if isinstance(event, CandlesLoaded)]
    assert HISTORY - 2 <= len(stored) == loaded.count <= HISTORY + 1
    assert feed.closed() == []
    assert await feed.heartbeat.gaps.of("BTC/USDT") == []
    assert feed.beats > 0


@pytest.mark.asyncio
async def test_live_candles_are_stored_then_told_in_order(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        for _ in range(6):
            feed.emulator.advance(1)
        await feed.until_closed(5)
        await feed.assert_complete()

    assert {event.source for event in feed.closed()} == {"stream"}


@row(14)
@pytest.mark.asyncio
async def test_a_dropped_connection_leaves_no_hole(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(1)
        await feed.until_closed(1)
        feed.emulator.fault("ws_close")
        feed.emulator.advance(7)
        await until(lambda: feed.heartbeat.status.reconnects >= 1 and feed.heartbeat.status.is_fresh)
        feed.emulator.advance(2)
        await feed.until_closed(9)
        await feed.assert_complete()

    changes = [event for event in feed.events if isinstance(event, HeartbeatChanged)]
    assert any(not event.is_connected and event.last_error for event in changes)
    assert all(outcome is GapOutcome.FILLED for *_, outcome in await feed.heartbeat.gaps.of("BTC/USDT"))
    assert len(await feed.heartbeat.gaps.of("BTC/USDT")) >= 1


@row(11)
@pytest.mark.asyncio
async def test_a_silent_stream_is_dropped_and_nothing_is_missed(running_market: EmulatorProcess, database: Database) -> None:
    async with feed_at(running_market, database, silence_s=1.0) as feed, running(feed):
        await feed.until_fresh()
        running_market.fault("ws_silent", for_ms=4000)
        await until(lambda: not feed.heartbeat.status.is_connected)
        await until(lambda: feed.heartbeat.status.is_fresh)
        await feed.assert_complete()
        assert "no data" in str([event.last_error for event in feed.drain() if isinstance(event, HeartbeatChanged)])


@pytest.mark.asyncio
async def test_candles_closed_while_we_were_down_are_fetched_at_the_next_start(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
    before = await feed.heartbeat.store.latest("binance", "BTC/USDT", Timeframe.M1, limit=1)
    feed.emulator.advance(30)

    async with feed_at(feed.emulator, feed.database) as again, running(again):
        await again.until_fresh()
        stored = await again.assert_complete()
        (gap,) = await again.heartbeat.gaps.of("BTC/USDT")

    assert stored[-1].open_time >= before[0].open_time + 29 * MINUTE
    assert gap[0] == before[0].open_time + MINUTE
    assert gap[2] is GapOutcome.FILLED
    # What closed long ago is no news; what closed less than its own length ago may still be acted upon.
    assert len(again.closed()) <= 1
    told = [event for event in again.drain() if isinstance(event, CandleClosed)]
    assert told
    assert not any(event.is_late for event in told)
    assert all(stored[-1].open_time + MINUTE - event.candle.open_time < 2 * event.timeframe.duration for event in told)


@pytest.mark.asyncio
async def test_a_symbol_can_be_added_while_it_runs(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        await feed.heartbeat.watch("ETH/USDT")
        await feed.heartbeat.watch("ETH/USDT")
        await until(lambda: feed.heartbeat.last_closed("ETH/USDT") is not None)
        for _ in range(3):
            feed.emulator.advance(1)
        await feed.until_closed(2, "ETH/USDT")
        assert len(await feed.assert_complete("ETH/USDT")) >= HISTORY
        await feed.assert_complete()
        await until(lambda: feed.quotes.latest("ETH/USDT") is not None)


@pytest.mark.asyncio
async def test_prices_and_the_open_candle_are_told_a_few_times_a_second(running_market: EmulatorProcess, database: Database) -> None:
    async with feed_at(running_market, database) as feed, running(feed):
        await feed.until_fresh()
        await until(lambda: any(isinstance(event, TickerChanged) and event.last for event in feed.drain()))
        await until(lambda: any(isinstance(event, CandleChanged) for event in feed.drain()))
        quote = feed.quotes.latest("BTC/USDT", max_age_s=5.0)

    assert quote is not None
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.bid < quote.ask


@pytest.mark.asyncio
async def test_a_database_that_goes_away_loses_no_candle(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(1)
        await feed.until_closed(1)
        broken = feed.database._pool
        feed.database._pool = _NoPool()
        for _ in range(4):
            feed.emulator.advance(1)
        await until(lambda: not feed.heartbeat.status.is_fresh)
        feed.database._pool = broken
        await feed.until_fresh()
        await feed.until_closed(5)
        await feed.assert_complete()


@pytest.mark.asyncio
async def test_start_and_stop_are_written_down(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
    async with feed.database.connection() as connection:
        status = await connection.fetchrow("SELECT * FROM heartbeat_status")
        session = await connection.fetchrow("SELECT * FROM heartbeat_sessions")

    assert status["symbols_monitored"] == ["BTC/USDT"]
    assert status["is_connected"] is False
    assert status["stopped_at"] is not None
    assert session["stopped_at"] >= session["started_at"]
    assert session["stop_reason"] == "stopped"


@pytest.mark.asyncio
async def test_an_exchange_that_does_not_answer_is_asked_again(feed: Feed) -> None:
    feed.emulator.fault("status_before", path="/api/v3/klines", times=2, status=503)

    async with running(feed):
        await feed.until_fresh()
        await feed.assert_complete()

    assert any(isinstance(event, HeartbeatChanged) and event.last_error for event in feed.events)


def _file_with_a_hole(folder: Path) -> Path:
    first = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
    rows = [(first + i * 60_000, 100 + i, 101 + i, 99 + i, 100.5 + i, 7) for i in range(400) if not 40 <= i < 52]
    path = folder / "binance-BTCUSDT-1m-holed.csv"
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.asyncio
async def test_a_hole_of_the_exchanges_own_is_written_down_and_never_filled(tmp_path: Path, database: Database) -> None:
    with EmulatorProcess("--replay", str(_file_with_a_hole(tmp_path)), "--history", "70", "--clock", "virtual") as emulator:
        async with feed_at(emulator, database) as feed, running(feed):
            await feed.until_fresh()
            stored = await feed.assert_complete()
            holes = await feed.heartbeat.gaps.of("BTC/USDT")

    steps = [(a.open_time, b.open_time) for a, b in pairwise(stored) if b.open_time - a.open_time > MINUTE]
    assert len(steps) == 1
    (before, after) = steps[0]
    assert after - before == 13 * MINUTE
    assert holes == [(before + MINUTE, after, GapOutcome.EXCHANGE_HAS_NONE)]


class _NoPool:
    """A database that is not there."""

    def acquire(self) -> "_NoPool":
        return self

    async def __aenter__(self) -> None:
        raise ConnectionRefusedError("the database is not there")

    async def __aexit__(self, *_: object) -> None:
        return None


@row(11, 13)
@pytest.mark.asyncio
async def test_a_candle_newer_than_expected_waits_until_the_missing_ones_are_released(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(1)
        await feed.until_closed(1)
        feed.emulator.fault("ws_silent", for_ms=600_000)
        feed.emulator.advance(5)
        feed.emulator.control("DELETE", "/_fault")
        feed.emulator.advance(2)
        await feed.until_closed(7)
        await feed.assert_complete()
        assert feed.heartbeat.status.reconnects == 0

    opened = [event.candle.open_time for event in feed.closed()]
    assert [b - a for a, b in pairwise(opened)] == [MINUTE] * (len(opened) - 1)
    assert "rest" in {event.source for event in feed.closed()}


@pytest.mark.asyncio
async def test_a_market_that_runs_faster_than_the_clock_has_no_holes_either(database: Database) -> None:
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", str(HISTORY), "--speed", "300") as emulator:
        async with feed_at(emulator, database) as feed, running(feed):
            await feed.until_fresh()
            await feed.until_closed(5)
            emulator.fault("ws_close")
            await until(lambda: feed.heartbeat.status.reconnects >= 1 and feed.heartbeat.status.is_fresh)
            await feed.until_closed(len(feed.closed()) + 5)
            emulator.control("POST", "/_pause")
            stored = await feed.assert_complete()

    assert all(b.open_time - a.open_time == MINUTE for a, b in pairwise(stored))


@pytest.mark.asyncio
async def test_an_emulator_started_again_behind_what_is_stored_is_followed_where_it_is(
    emulator: EmulatorProcess, database: Database
) -> None:
    async with feed_at(emulator, database) as feed, running(feed):
        emulator.advance(120)
        await feed.until_fresh()
        ahead = feed.heartbeat.last_closed("BTC/USDT")
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", str(HISTORY * 2), "--clock", "virtual") as fresh:
        async with feed_at(fresh, database) as feed, running(feed):
            await feed.until_fresh()
            behind = feed.heartbeat.last_closed("BTC/USDT")
            fresh.advance(2)
            await feed.until_closed(1)

    assert ahead is not None
    assert behind is not None
    assert behind < ahead
