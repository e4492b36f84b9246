"""Symbols that are watched for a while, and symbols that the exchange refuses."""

import pytest

from tests.app.test_marketdata_heartbeat import MINUTE, Feed, emulator, feed, running, until
from tests.emulator_process import EmulatorProcess

__all__ = ["emulator", "feed"]

pytestmark = pytest.mark.asyncio


async def test_a_symbol_that_nobody_wants_any_more_is_let_go_and_fetched_up_when_it_is_wanted_again(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        await feed.heartbeat.watch("ETH/USDT")
        await until(lambda: feed.heartbeat.last_closed("ETH/USDT") is not None)
        feed.emulator.advance(2)
        await feed.until_closed(2, "ETH/USDT")
        await feed.heartbeat.unwatch("ETH/USDT")
        assert feed.heartbeat.symbols == ("BTC/USDT",)
        feed.emulator.advance(5)
        await feed.until_closed(7)
        assert len(feed.closed("ETH/USDT")) == 2
        await feed.heartbeat.watch("ETH/USDT")
        await until(lambda: feed.heartbeat.last_closed("ETH/USDT") == feed.heartbeat.last_closed("BTC/USDT"))
        feed.emulator.advance(1)
        await until(lambda: feed.closed("ETH/USDT")[-1].candle.open_time == feed.closed()[-1].candle.open_time)
        stored = await feed.assert_complete("ETH/USDT")

    assert (stored[-1].open_time - stored[0].open_time) / MINUTE == len(stored) - 1


async def test_a_configured_symbol_is_never_let_go(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        await feed.heartbeat.unwatch("BTC/USDT")
        feed.emulator.advance(2)
        await feed.until_closed(2)


async def test_a_symbol_that_the_exchange_does_not_have_holds_up_no_other(feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        await feed.heartbeat.watch("NOPE/USDT")
        await until(lambda: feed.heartbeat.refusal("NOPE/USDT") is not None)
        await feed.until_fresh()
        feed.emulator.advance(3)
        await feed.until_closed(3)
        await feed.assert_complete()
        assert feed.heartbeat.status.is_fresh


async def test_a_symbol_that_is_let_go_and_wanted_again_while_it_is_fetched_is_told_once(emulator: EmulatorProcess, feed: Feed) -> None:
    async with running(feed):
        await feed.until_fresh()
        for _ in range(4):
            emulator.fault("delay", method="GET", path="/api/v3/klines", delay_ms=300)
            await feed.heartbeat.watch("ETH/USDT")
            emulator.advance(1)
            await feed.heartbeat.unwatch("ETH/USDT")
            await feed.heartbeat.watch("ETH/USDT")
            emulator.advance(1)
            await until(lambda: feed.heartbeat.last_closed("ETH/USDT") == feed.heartbeat.last_closed("BTC/USDT"))
            await feed.heartbeat.unwatch("ETH/USDT")
        await feed.assert_complete("ETH/USDT")
