"""Candles of ten lengths from minutes, live: at the emulator, whose own longer candles must be the same."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from app.domain.candles import EPOCH, LIVE_TIMEFRAMES, Candle, Timeframe
from app.exchanges.binance_messages import TIMEFRAMES
from app.marketdata.aggregate import aggregate, to_candles
from app.marketdata.events import CandleClosed, CandleRevised
from tests.app.test_marketdata_heartbeat import MINUTE, Feed, emulator, feed, feed_at, running, until

__all__ = ["emulator", "feed"]

pytestmark = pytest.mark.asyncio


async def stored(feed: Feed, timeframe: Timeframe, symbol: str = "BTC/USDT") -> list[Candle]:
    return await feed.heartbeat.store.latest("binance", symbol, timeframe, limit=100_000)


async def assert_sums(feed: Feed, *, at_least: dict[Timeframe, int] | None = None, own: bool = True) -> None:
    """What is stored are the sums of the stored minutes, and the venue's own candles where it has any of that length."""
    array = await feed.heartbeat.store.array("binance", "BTC/USDT", Timeframe.M1)
    client = await feed.client()
    for timeframe in LIVE_TIMEFRAMES[1:]:
        found = await stored(feed, timeframe)
        assert len(found) >= (at_least or {}).get(timeframe, 0), timeframe
        sums = {candle.open_time: candle for candle in to_candles(aggregate(array, timeframe)[0])}
        assert found == [sums[candle.open_time] for candle in found], timeframe
        assert all(b.open_time - a.open_time == timeframe.duration for a, b in pairwise(found)), timeframe
        if own and timeframe in TIMEFRAMES and found:
            theirs = {candle.open_time: candle for candle in await client.fetch_candles("BTC/USDT", timeframe, start=found[0].open_time)}
            for candle in found:
                venues = theirs[candle.open_time]
                assert (candle.open, candle.high, candle.low, candle.close) == (venues.open, venues.high, venues.low, venues.close)
                assert candle.volume == pytest.approx(venues.volume, rel=1e-9)


async def test_every_length_is_stored_with_its_last_minute_and_told_after_it_once(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        for _ in range(31):  # with the history four hours at least, so that a whole candle of two is among them at any time of day
            feed.emulator.advance(5)
            await until(lambda: feed.closed() and feed.heartbeat.last_closed("BTC/USDT") == feed.closed()[-1].candle.open_time)
        await feed.until_closed(154)
        await feed.assert_complete()
        await assert_sums(feed, at_least={Timeframe.M3: 42, Timeframe.M10: 12, Timeframe.H1: 2, Timeframe.H2: 1})

    told = [event for event in feed.drain() if isinstance(event, CandleClosed)]
    assert {event.timeframe for event in told} >= set(LIVE_TIMEFRAMES) - {Timeframe.H4, Timeframe.D1}
    keys = [(event.timeframe, event.candle.open_time) for event in told]
    assert len(keys) == len(set(keys))
    last_minute = None
    for event in told:
        if event.timeframe is Timeframe.M1:
            last_minute = event.candle.open_time
        else:
            assert last_minute is not None
            assert event.candle.open_time + event.timeframe.duration == last_minute + MINUTE
    for timeframe in LIVE_TIMEFRAMES:
        opened = [event.candle.open_time for event in told if event.timeframe is timeframe]
        assert opened == sorted(opened)


async def test_a_longer_candle_that_was_open_when_the_server_stopped_is_whole_after_the_next_start(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(37)
        await feed.until_closed(37)
    feed.emulator.advance(11)
    async with feed_at(feed.emulator, feed.database) as again, running(again):
        await again.until_fresh()
        for _ in range(3):
            feed.emulator.advance(30)
        await again.until_closed(90)
        await again.assert_complete()
        await assert_sums(again, at_least={Timeframe.H1: 1, Timeframe.M30: 3})


async def test_a_question_that_fails_in_the_middle_of_a_catch_up_costs_no_longer_candle(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(7)
        await feed.until_closed(7)
        feed.emulator.fault("status_before", path="/api/v3/klines", times=2, status=503)
        feed.emulator.fault("ws_close", on="streams")
        feed.emulator.advance(65)
        await feed.until_closed(70)
        feed.emulator.advance(85)
        await feed.until_closed(155)
        await feed.assert_complete()
        await assert_sums(feed, at_least={Timeframe.M10: 12, Timeframe.H1: 2, Timeframe.H2: 1})
        assert await feed.heartbeat.gaps.unexplained("BTC/USDT", since=EPOCH) == []


async def test_a_minute_that_comes_late_leaves_no_hole_in_the_book(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        for _ in range(3):
            feed.emulator.fault("late_close", stream="btcusdt@kline_1m", delay_ms=20_000, times=1)
            feed.emulator.fault("truncate", method="GET", path="/api/v3/klines", times=1)
            feed.emulator.advance(3)
        await feed.until_closed(8)
        # What nobody had to ask is not for this test's own question.
        feed.emulator.control("DELETE", "/_fault")
        await feed.assert_complete()
        assert await feed.heartbeat.gaps.unexplained("BTC/USDT", since=EPOCH) == []


async def differences(feed: Feed) -> list[Any]:
    async with feed.database.connection() as connection:
        return list(await connection.fetch("SELECT * FROM candle_differences ORDER BY found_at, timeframe"))


@pytest.mark.parametrize("delay_ms", [1_000, 420_000])
async def test_a_revised_minute_is_written_down_and_changes_the_longer_candles_that_hold_it(feed: Feed, delay_ms: int) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(10)
        await feed.until_closed(10)
        feed.emulator.fault("revised_close", stream="btcusdt@kline_1m", delay_ms=delay_ms, times=1)
        with feed.bus.subscribe(CandleRevised) as revisions:
            feed.emulator.advance(1)
            await feed.until_closed(11)
            feed.emulator.advance(9)
            await feed.until_closed(20)
            async with asyncio.timeout(20):
                while not (rows := await differences(feed)):  # noqa: ASYNC110  # in the database
                    await asyncio.sleep(0.02)
            feed.emulator.advance(10)
            await feed.until_closed(30)
            rows = await differences(feed)
            told = [event for _ in range(100) if isinstance(event := revisions.get_nowait(), CandleRevised)]
        await assert_sums(feed, own=False)

    assert {row["timeframe"] for row in rows} >= {"1m"} | ({"3m", "5m"} if delay_ms > 300_000 else set())
    assert {row["cause"] for row in rows} == {"revised"}
    assert all(row["was"] != row["became"] for row in rows)
    assert {(event.timeframe, event.candle.open_time) for event in told} == {(row["timeframe"], row["open_time"]) for row in rows}
    keys = [(event.timeframe, event.candle.open_time) for event in feed.drain() if isinstance(event, CandleClosed)]
    assert len(keys) == len(set(keys))
