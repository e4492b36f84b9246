"""Troubles in the middle of the feed's work: what fails is done again, and nobody is called fresh or stale who is not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from app.core.clock import SystemClock
from app.core.db import Database
from app.domain.candles import EPOCH, Timeframe
from app.exchanges.binance_stream import Connected
from app.marketdata.events import HeartbeatChanged
from app.marketdata.models import GapOutcome
from tests.app.test_heartbeat_timeframes import assert_sums, differences
from tests.app.test_marketdata_heartbeat import MARKET, MINUTE, Feed, emulator, feed, feed_at, running, until
from tests.emulator_process import EmulatorProcess

__all__ = ["emulator", "feed"]

pytestmark = pytest.mark.asyncio

BOTH = ("BTC/USDT", "ETH/USDT")


def failing_once(method: Callable[..., Awaitable[Any]], when: Callable[..., bool]) -> Callable[..., Awaitable[Any]]:
    """As `method`, but for the first call of which `when` holds: the database goes away under it."""
    left = [True]

    async def once(*args: Any, **options: Any) -> Any:
        if left and when(*args):
            left.clear()
            raise asyncpg.ConnectionDoesNotExistError("the connection was closed in the middle of the operation")
        return await method(*args, **options)

    return once


def changes(feed: Feed) -> list[tuple[bool, bool]]:
    return [(event.is_connected, event.is_fresh) for event in feed.drain() if isinstance(event, HeartbeatChanged)]


async def test_an_error_between_two_symbols_costs_neither_a_longer_candle(
    emulator: EmulatorProcess, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with feed_at(emulator, database, symbols=BOTH) as feed, running(feed):
        await feed.until_fresh()
        emulator.advance(3)
        for symbol in BOTH:
            await feed.until_closed(3, symbol)
        store = feed.heartbeat.store
        monkeypatch.setattr(store, "array", failing_once(store.array, lambda exchange, symbol, *_: symbol == "ETH/USDT"))
        for symbol in BOTH:
            feed.heartbeat.reread(symbol)
        emulator.advance(60)
        for symbol in BOTH:
            await feed.until_closed(63, symbol)
            await feed.assert_complete(symbol)
        await assert_sums(feed, at_least={Timeframe.M3: 50, Timeframe.M30: 4, Timeframe.H1: 1})


async def test_a_revision_during_which_the_database_goes_away_is_made_whole(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(10)
        await feed.until_closed(10)
        feed.emulator.fault("revised_close", stream="btcusdt@kline_1m", delay_ms=420_000, times=1)
        feed.emulator.advance(1)
        await feed.until_closed(11)
        store = feed.heartbeat.store
        revised = feed.closed()[-1].candle.open_time
        is_it = lambda exchange, closes: any(close.candle.open_time == revised for close in closes)  # noqa: E731
        monkeypatch.setattr(store, "write", failing_once(store.write, is_it))
        feed.emulator.advance(9)
        await feed.until_closed(20)
        async with asyncio.timeout(20):
            while not await differences(feed):  # noqa: ASYNC110  # in the database
                await asyncio.sleep(0.02)
        feed.emulator.advance(10)
        await feed.until_closed(30)
        await assert_sums(feed, own=False)
        assert {row["timeframe"] for row in await differences(feed)} >= {"1m", "3m", "5m"}


async def test_a_page_that_lags_never_replaces_what_the_stream_has_closed(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(2)
        await feed.until_closed(2)
    line = feed.heartbeat._closer.lines["BTC/USDT"]
    closed = replace(feed.closed()[-1].candle, open_time=feed.closed()[-1].candle.open_time + MINUTE, volume=9.0)
    line.waiting[closed.open_time] = closed
    await feed.heartbeat._closer._keep_page(line, [replace(closed, volume=5.0)], is_told=True, is_new=False)
    assert (await feed.heartbeat.store.latest("binance", "BTC/USDT", Timeframe.M1, limit=1))[-1] == closed


async def test_the_feed_is_not_fresh_while_a_new_connection_has_not_caught_up(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        feed.emulator.advance(1)
        await feed.until_closed(1)
        before = len(changes(feed))
        feed.emulator.fault("delay", method="GET", path="/api/v3/klines", delay_ms=700)
        # As after a connection that fell silent and was replaced in time.
        feed.heartbeat._take(Connected(streams=frozenset(feed.heartbeat._stream.streams), attempt=2))
        assert (feed.heartbeat.status.is_connected, feed.heartbeat.status.is_fresh) == (True, False)
        await asyncio.sleep(0.3)
        assert not feed.heartbeat.status.is_fresh, "what was missed between the two connections is still on its way"
        await feed.until_fresh()
        assert changes(feed)[before:] == [(True, False), (True, True)]


async def test_a_market_in_which_nobody_trades_is_not_taken_for_a_silent_exchange(database: Database) -> None:
    with EmulatorProcess(*MARKET, "--speed", "60") as quick_market:
        async with feed_at(quick_market, database, symbols=("ETH/USDT",), silence_s=1.0) as feed, running(feed):
            await feed.until_fresh()
            before = len(changes(feed))
            for stream in ("ethusdt@kline_1m", "ethusdt@bookTicker"):
                quick_market.fault("ws_silent", stream=stream, for_ms=3_600_000)
            await asyncio.sleep(3.0)
            heard = feed.heartbeat.status.last_message_at
            assert changes(feed)[before:] == []
            assert heard is not None
            assert SystemClock().now() - heard < timedelta(seconds=2.5), "the stream that always speaks shows that the connection lives"


async def test_years_of_a_new_symbols_history_hold_up_nobody_who_missed_a_minute(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        new = feed.heartbeat._closer._few_new
        while not new.locked():
            await new.acquire()
        await feed.heartbeat.watch("ETH/USDT")
        feed.emulator.fault("ws_close")
        feed.emulator.advance(5)
        await feed.until_closed(5)
        await feed.assert_complete()
        assert feed.heartbeat.last_closed("ETH/USDT") is None
        new.release()
        await until(lambda: feed.heartbeat.last_closed("ETH/USDT") is not None)


async def test_a_name_that_the_exchange_refuses_keeps_nobody_stale_after_a_lost_connection(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        await feed.heartbeat.watch("NOPE/USDT")
        await until(lambda: feed.heartbeat.refusal("NOPE/USDT") is not None)
        feed.emulator.fault("ws_close")
        await until(lambda: feed.heartbeat.status.reconnects >= 1)
        await feed.until_fresh()
        feed.emulator.advance(2)
        await feed.until_closed(2)


async def test_a_hole_that_grows_while_a_market_is_halted_stays_one_row(feed: Feed) -> None:
    gaps, start = feed.heartbeat.gaps, EPOCH + timedelta(days=20_000)
    for minutes in (2, 3, 50):
        await gaps.found("BTC/USDT", start, start + minutes * MINUTE, at=start)
    assert await gaps.of("BTC/USDT") == [(start, start + 50 * MINUTE, GapOutcome.OPEN)]
    later = start + timedelta(hours=2)
    await gaps.found("BTC/USDT", later, later + 5 * MINUTE, at=later)
    await gaps.covered("BTC/USDT", later, later + 5 * MINUTE, at=later)
    outcomes = {begin: outcome for begin, _, outcome in await gaps.of("BTC/USDT")}
    assert outcomes == {start: GapOutcome.OPEN, later: GapOutcome.FILLED}, "an older hole is not explained by what came later"
