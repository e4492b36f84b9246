"""Stored candles beside the exchange's own: what differs is found, recorded and put right once; what does not is left alone."""

import asyncio
import csv
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import SystemClock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.domain.candles import LIVE_TIMEFRAMES, Candle, Timeframe, from_milliseconds
from app.exchanges.port import ExchangeClient
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.check_loop import CheckConfig, CheckLoop
from app.marketdata.cross_check import CHECKED, Checked, CrossCheck, differs, ranges
from app.marketdata.events import CandleRevised, GapsChanged
from app.marketdata.models import CandleSource
from app.marketdata.status import FeedStatus
from app.marketdata.store import CandleStore, Close
from tests.app.test_marketdata_heartbeat import HISTORY, feed_at, running
from tests.emulator_process import EmulatorProcess
from tests.shared_data import shared_data

MINUTE = timedelta(minutes=1)
SYMBOL = "BTC/USDT"
M1, M5, M15, H1 = Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1
START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(hours=6)


class Venue:
    """An exchange's candles as they were recorded or made, handed out page by page as an exchange does."""

    def __init__(self, candles: dict[Timeframe, list[Candle]]) -> None:
        self.candles = candles

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        del symbol, end
        return [candle for candle in self.candles[timeframe] if start is None or candle.open_time >= start][:limit]


@dataclass
class Bench:
    """A comparison with a venue, and everything it told."""

    database: Database
    venue: Venue
    check: CrossCheck
    store: CandleStore
    subscription: Subscription[object]
    told: list[object] = field(default_factory=list)

    async def every(self, *timeframes: Timeframe, start: datetime = START, end: datetime = END) -> list[Checked]:
        return [await self.check.check(SYMBOL, timeframe, start=start, end=end) for timeframe in timeframes]

    async def rows(self, sql: str = "SELECT * FROM candle_differences ORDER BY timeframe, open_time") -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql))

    async def keep(self, timeframe: Timeframe, candles: list[Candle]) -> None:
        await self.store.upsert("binance", [Close(SYMBOL, timeframe, candle) for candle in candles], source=CandleSource.STREAM)

    def events(self) -> list[object]:
        while (event := self.subscription.get_nowait()) is not None:
            self.told.append(event)
        return self.told


def minutes(count: int = 360) -> list[Candle]:
    """A random walk, with volumes of eight decimals as exchanges have them."""
    random = np.random.default_rng(5)
    closes = np.round(60_000 + np.cumsum(random.normal(0, 20, count)), 2)
    opens = np.r_[60_000.0, closes[:-1]]
    volumes = np.round(random.exponential(12, count), 8)
    return [
        Candle(open_time=START + i * MINUTE, open=o, high=max(o, c) + 3.5, low=min(o, c) - 1.25, close=c, volume=v)
        for i, (o, c, v) in enumerate(zip(opens.tolist(), closes.tolist(), volumes.tolist(), strict=True))
    ]


def venue_of(candles: list[Candle]) -> Venue:
    """A venue whose longer candles are the exact sums of its minutes."""
    return Venue({M1: candles} | {timeframe: to_candles(aggregate(to_array(candles), timeframe)[0]) for timeframe in LIVE_TIMEFRAMES[1:]})


@asynccontextmanager
async def bench_at(database: Database, venue: Venue) -> AsyncIterator[Bench]:
    bus = EventBus()
    check = CrossCheck("binance", client=cast(ExchangeClient, venue), database=database, bus=bus, clock=SystemClock())
    with bus.subscribe(CandleRevised, GapsChanged) as subscription:
        yield Bench(database, venue, check, CandleStore(database), subscription)


@pytest.mark.asyncio
async def test_equal_candles_record_nothing(database: Database) -> None:
    async with bench_at(database, venue_of(minutes())) as bench:
        await bench.keep(M1, minutes())
        await bench.keep(H1, bench.venue.candles[H1])
        found = await bench.every(*CHECKED)
        assert [one.compared for one in found[:3]] == [360, 120, 72]
        assert sum(one.corrected + one.filled for one in found) == 0
        assert await bench.rows() == []
        assert bench.events() == []


@pytest.mark.asyncio
async def test_a_doctored_minute_is_found_recorded_and_put_right_once_with_the_longer_ones_that_hold_it(database: Database) -> None:
    true = minutes()
    async with bench_at(database, venue_of(true)) as bench:
        wrong = replace(true[100], high=true[100].high + 1000, volume=1.0)
        doctored = [*true[:100], wrong, *true[101:]]
        await bench.keep(M1, doctored)
        await bench.keep(M15, to_candles(aggregate(to_array(doctored), M15)[0]))
        (found,) = await bench.every(M1)
        rows = await bench.rows()
        again = await bench.every(*CHECKED)
        stored = await bench.store.between("binance", SYMBOL, M1, start=START, limit=1000)
        longer = await bench.store.between("binance", SYMBOL, M15, start=START, limit=1000)

        assert found == Checked(compared=360, corrected=2, filled=0)
        assert [(row["timeframe"], row["open_time"], row["cause"]) for row in rows] == [
            ("15m", START + 90 * MINUTE, "cross_check"),
            ("1m", START + 100 * MINUTE, "cross_check"),
        ]
        assert rows[1]["was"] == [wrong.open, wrong.high, wrong.low, wrong.close, wrong.volume]
        assert rows[1]["became"] == [true[100].open, true[100].high, true[100].low, true[100].close, true[100].volume]
        assert stored == true
        assert longer == bench.venue.candles[M15]
        assert sum(one.corrected for one in again) == 0
        assert len(await bench.rows()) == 2
        revised = [(event.timeframe, event.candle) for event in bench.events() if isinstance(event, CandleRevised)]
        assert revised == [(M1, true[100]), (M15, longer[6])]


@pytest.mark.asyncio
async def test_a_longer_candle_that_differs_is_explained_by_its_minutes_where_they_do(database: Database) -> None:
    true = minutes()
    async with bench_at(database, venue_of(true)) as bench:
        doctored = [replace(candle, close=candle.close + 7) if i == 14 else candle for i, candle in enumerate(true)]
        await bench.keep(M1, doctored)
        (found,) = await bench.every(M15)
        assert (found.corrected, [row["timeframe"] for row in await bench.rows()]) == (1, ["1m"])
        assert await bench.store.between("binance", SYMBOL, M15, start=START, limit=10) == []
        assert sum(one.corrected for one in await bench.every(*CHECKED)) == 0
        assert len(await bench.rows()) == 1


@pytest.mark.asyncio
async def test_a_longer_candle_that_its_minutes_do_not_explain_takes_the_exchanges_numbers(database: Database) -> None:
    true = minutes()
    venue = venue_of(true)
    own = venue.candles[H1][2] = replace(venue.candles[H1][2], high=venue.candles[H1][2].high + 11)
    async with bench_at(database, venue) as bench:
        await bench.keep(M1, true)
        (found,) = await bench.every(H1)
        (row,) = await bench.rows()
        summed = to_candles(aggregate(to_array(true), H1)[0])[2]
        assert found == Checked(compared=6, corrected=1)
        assert (row["timeframe"], row["was"][1], row["became"][1]) == ("1h", summed.high, own.high)
        assert await bench.store.between("binance", SYMBOL, H1, start=START, limit=10) == [own]
        assert (await bench.every(H1))[0].corrected == 0
        assert len(await bench.rows()) == 1


@pytest.mark.asyncio
async def test_candles_that_the_exchange_has_and_we_lack_are_stored_and_the_hole_is_written_down_as_filled(database: Database) -> None:
    true = minutes()
    async with bench_at(database, venue_of(true)) as bench:
        # What lies before the first stored one was never wanted.
        await bench.keep(M1, [candle for i, candle in enumerate(true) if i >= 20 and not 50 <= i < 53 and i != 60])
        (found,) = await bench.every(M1)
        gaps = await bench.rows("SELECT start_at, end_at, outcome, timeframe FROM candle_gaps ORDER BY start_at")
        assert found == Checked(compared=360, corrected=0, filled=4)
        assert [tuple(gap) for gap in gaps] == [
            (START + 50 * MINUTE, START + 53 * MINUTE, "filled", "1m"),
            (START + 60 * MINUTE, START + 61 * MINUTE, "filled", "1m"),
        ]
        assert await bench.store.between("binance", SYMBOL, M1, start=START, limit=1000) == true[20:]
        assert await bench.rows() == []
        assert [type(event) for event in bench.events()] == [GapsChanged]
        assert (await bench.every(M1))[0].filled == 0


@pytest.mark.asyncio
async def test_a_candle_that_the_exchange_does_not_have_stays_as_it_is(database: Database) -> None:
    true = minutes()
    async with bench_at(database, venue_of(true[:200] + true[201:])) as bench:
        await bench.keep(M1, true)
        assert (await bench.every(M1))[0].corrected == 0
        assert await bench.store.between("binance", SYMBOL, M1, start=START, limit=1000) == true


@pytest.mark.asyncio
async def test_real_candles_of_every_length_are_the_sums_of_their_minutes(database: Database) -> None:
    path = shared_data() / "candles" / "binance-ETHBTC-15timeframes-to-2020-05-17.csv.gz"
    candles: dict[Timeframe, list[Candle]] = {timeframe: [] for timeframe in Timeframe}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["timeframe"] in set(Timeframe):
                numbers = {name: float(row[name]) for name in ("open", "high", "low", "close", "volume")}
                moment = from_milliseconds(int(row["open_time"]))
                candles[Timeframe(row["timeframe"])].append(Candle(open_time=moment, **numbers))
    known = candles[M1]
    async with bench_at(database, Venue(candles)) as bench:
        await bench.keep(M1, known[:-1])
        # The last minute was not over when they were fetched.
        found = await bench.every(*CHECKED, start=known[0].open_time, end=known[-1].open_time)
        compared = {timeframe.value: one.compared for timeframe, one in zip(CHECKED, found, strict=True)}
        assert sum(one.corrected + one.filled for one in found) == 0
        assert await bench.rows() == []
        assert compared["1m"] == len(known) - 1
        assert min(compared[name] for name in ("3m", "5m", "15m", "30m", "1h")) >= 7


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    arguments = ("--generate", "BTCUSDT:60000", "--history", str(HISTORY * 2), "--seed", "11", "--clock", "virtual")
    with EmulatorProcess(*arguments) as process:
        yield process


@pytest.mark.asyncio
async def test_a_close_that_the_stream_told_otherwise_than_the_exchange_has_it_is_put_right(
    emulator: EmulatorProcess, database: Database
) -> None:
    async with feed_at(emulator, database) as feed:
        async with running(feed):
            await feed.until_fresh()
            emulator.fault("revised_close", stream="btcusdt@kline_1m", times=1, delay_ms=30_000)
            for _ in range(3):
                emulator.advance(1)
            await feed.until_closed(2)
            first = feed.closed()[0].candle
            candles = feed.heartbeat.store

            async def is_revised() -> bool:
                (stored,) = await candles.between("binance", SYMBOL, M1, start=first.open_time, limit=1)
                return stored != first

            while not await is_revised():
                emulator.advance(1)
        async with feed.database.connection() as connection:
            await connection.execute("DELETE FROM candle_differences")
        check = CrossCheck("binance", client=await feed.client(), database=database, bus=EventBus(), clock=SystemClock())
        span = {"start": first.open_time - 30 * MINUTE, "end": first.open_time + 2 * MINUTE}
        found = [await check.check(SYMBOL, M1, **span) for _ in range(2)]
        async with feed.database.connection() as connection:
            rows = await connection.fetch("SELECT * FROM candle_differences")

        assert [(one.corrected, one.compared) for one in found] == [(len(rows), 32), (0, 32)]
        assert {row["cause"] for row in rows} == {"cross_check"}
        assert [row["open_time"] for row in rows if row["timeframe"] == "1m"] == [first.open_time]
        # Longer candles that hold the minute, and had closed, follow it.
        longer = [(Timeframe(row["timeframe"]), row["open_time"]) for row in rows if row["timeframe"] != "1m"]
        assert all(timeframe.floor(first.open_time) == open_time for timeframe, open_time in longer)
        assert await candles.between("binance", SYMBOL, M1, start=first.open_time, limit=1) == [first]


@pytest.mark.asyncio
async def test_beside_the_running_feed_a_doctored_candle_is_found_soon_and_put_right(emulator: EmulatorProcess, database: Database) -> None:
    async with feed_at(emulator, database) as feed, running(feed):
        await feed.until_fresh()
        emulator.advance(1)
        await feed.until_closed(1)
        newest = feed.closed()[-1].candle.open_time
        doctored = M15.floor(newest) - 15 * MINUTE  # closed for a minute at least: what has just closed is left alone for a while
        async with database.connection() as connection:
            done = await connection.execute("UPDATE candles SET volume = 1 WHERE open_time = $1 AND timeframe = '15m'", doctored)
            assert done == "UPDATE 1"
        clock = SystemClock()
        config = CheckConfig(exchange="binance")
        loop = CheckLoop(config, feed=feed.heartbeat, registry=feed.registry, database=database, bus=EventBus(), clock=clock)
        beats = 0

        def beat() -> None:
            nonlocal beats
            beats += 1

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(loop.run(beat))
            while True:
                async with database.connection() as connection:
                    rows = await connection.fetch("SELECT * FROM candle_differences")
                if rows:
                    break
                await asyncio.sleep(0.02)
            task.cancel()
        await feed.assert_complete()

    assert [(row["timeframe"], row["open_time"], row["was"][4]) for row in rows] == [("15m", doctored, 1.0)]
    assert beats >= 1


@pytest.mark.asyncio
async def test_all_requests_together_stay_below_the_share_of_the_limit(database: Database) -> None:
    clock = SystemClock()
    registry = Registry(RegistryConfig(), clock=clock)  # of Binance itself, which is not asked
    feed = StandingFeed(START, FeedStatus(exchange="binance"), START)
    loop = CheckLoop(
        CheckConfig(exchange="binance", share=0.05), feed=feed, registry=registry, database=database, bus=EventBus(), clock=clock
    )
    assert loop.pause_s(2) == 0
    await registry.public("binance")
    # Six thousand a minute, of which 300 are ours; a request weighs two: 150 of them take a minute.
    assert loop.pause_s(150) == 60
    await registry.close()


@dataclass
class StandingFeed:
    """A feed that is fresh, at a moment of a test's choice."""

    now: datetime
    status: FeedStatus
    closed: datetime

    def last_closed(self, symbol: str) -> datetime | None:
        del symbol
        return self.closed

    def venue_now(self) -> datetime:
        return self.now


@pytest.mark.asyncio
async def test_what_has_just_closed_comes_first_then_each_day_once_the_newest_first(database: Database) -> None:
    now = datetime(2026, 3, 10, 12, 2, tzinfo=UTC)
    status = FeedStatus(exchange="binance", is_fresh=True, symbols=[SYMBOL])
    feed = StandingFeed(now, status, now - 3 * MINUTE)
    registry = Registry(RegistryConfig(), clock=SystemClock())
    loop = CheckLoop(
        CheckConfig(exchange="binance", days=2), feed=feed, registry=registry, database=database, bus=EventBus(), clock=SystemClock()
    )
    jobs = []
    while (job := loop.next_job()) is not None:
        jobs.append(job)
        loop.done(job, Checked())
    soon = [job.timeframe.value for job in jobs if job.day is None]
    days = [job.day for job in jobs if job.day is not None]

    assert soon == ["1d", "4h", "2h", "1h", "30m", "15m"]
    assert [job.day is None for job in jobs] == [True] * 6 + [False] * 18
    assert [day.day for day in days if day is not None] == [9] * 9 + [8] * 9
    assert {job.timeframe for job in jobs if job.day is not None} == set(CHECKED)
    assert Timeframe.M10 not in CHECKED
    loop._planned_at = None
    assert loop.next_job() is None
    # What the feed has not closed yet is not looked at: here 11:59 is still to come.
    feed.closed = now - 4 * MINUTE
    loop._soon_done.clear()
    loop._planned_at = None
    assert [job.timeframe.value for job in iter(loop.next_job, None) if job is not None] == ["1d"]
    await registry.close()


@given(st.lists(st.integers(0, 200), unique=True))
def test_ranges_cover_each_missing_minute_once_and_nothing_else(numbers: list[int]) -> None:
    found = ranges((START + number * MINUTE for number in numbers), MINUTE)
    covered = [start + i * MINUTE for start, end in found for i in range((end - start) // MINUTE)]
    assert covered == sorted(START + number * MINUTE for number in numbers)
    assert all(end < start for (_, end), (start, _) in pairwise(found))


def test_a_sum_may_carry_the_noise_of_its_floats_and_a_minute_may_not() -> None:
    one = Candle(open_time=START, open=1.0, high=2.0, low=0.5, close=1.5, volume=123456.789)
    noisy = replace(one, volume=one.volume * (1 + 5e-9))
    assert not differs(one, noisy, is_sum=True)
    assert differs(one, noisy, is_sum=False)
    assert differs(one, replace(one, volume=one.volume * (1 + 2e-8)), is_sum=True)
    assert differs(one, replace(one, low=0.49), is_sum=True)
    assert differs(one, replace(one, volume=float("nan")), is_sum=True)
