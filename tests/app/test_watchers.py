"""Symbols that somebody looks at are watched once for all who do, and for a while after the last has gone."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.marketdata.watchers import Watchers

pytestmark = pytest.mark.asyncio


class Market:
    """Remembers what is watched, and refuses what never happens: watching twice, or leaving what is not watched."""

    def __init__(self, *, slow: bool = False) -> None:
        self.watched: set[str] = set()
        self.asked: list[str] = []
        self._slow = slow

    async def watch(self, symbol: str) -> None:
        if symbol in self.watched:
            return
        await asyncio.sleep(0.005 if self._slow else 0)
        self.asked.append(f"+{symbol}")
        self.watched.add(symbol)

    async def unwatch(self, symbol: str) -> None:
        await asyncio.sleep(0.005 if self._slow else 0)
        assert symbol in self.watched
        self.asked.append(f"-{symbol}")
        self.watched.remove(symbol)


async def test_fifty_pages_of_one_symbol_are_one_subscription_until_the_last_closes() -> None:
    market = Market()
    watchers = Watchers(market, grace_s=0)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(watchers.watching({"ETH/USDT"}))
        assert watchers.watched == {"ETH/USDT": 50}
        await watchers.sweep()
        assert market.asked == ["+ETH/USDT"]
    await watchers.sweep()
    assert (market.asked, watchers.watched) == (["+ETH/USDT", "-ETH/USDT"], {})


async def test_a_page_that_is_loaded_again_finds_its_symbol_still_watched() -> None:
    market = Market()
    watchers = Watchers(market, grace_s=60)
    for _ in range(3):
        async with watchers.watching({"ETH/USDT"}):
            pass
        await watchers.sweep()
    assert market.asked == ["+ETH/USDT"]


async def test_who_comes_while_a_symbol_is_being_left_gets_it_watched_again() -> None:
    market = Market(slow=True)
    watchers = Watchers(market, grace_s=0)
    async with watchers.watching({"ETH/USDT"}):
        pass

    async def come() -> None:
        await asyncio.sleep(0.001)
        async with watchers.watching({"ETH/USDT"}):
            assert market.watched == {"ETH/USDT"}

    await asyncio.gather(watchers.sweep(), come())
    assert market.asked == ["+ETH/USDT", "-ETH/USDT", "+ETH/USDT"]


async def test_a_page_whose_symbol_cannot_be_watched_is_not_counted() -> None:
    class Refuses(Market):
        async def watch(self, symbol: str) -> None:
            raise ConnectionError(symbol)

    watchers = Watchers(Refuses())
    with pytest.raises(ConnectionError):
        async with watchers.watching({"ETH/USDT"}):
            pass
    assert watchers.watched == {}


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["open", "close", "sweep"]), st.integers(0, 2)), max_size=40))
async def test_whatever_opens_and_closes_what_is_looked_at_is_watched_and_nothing_else_after_the_grace(
    steps: list[tuple[str, int]],
) -> None:
    market = Market()
    watchers = Watchers(market, grace_s=0)
    pages: list[list[AsyncExitStack]] = [[], [], []]
    for step, number in steps:
        if step == "open":
            stack = AsyncExitStack()
            await stack.enter_async_context(watchers.watching({f"S{number}", "S0"}))
            pages[number].append(stack)
        elif step == "close" and pages[number]:
            await pages[number].pop().aclose()
        elif step == "sweep":
            await watchers.sweep()
        looked_at = {f"S{index}" for index, open_pages in enumerate(pages) if open_pages} | ({"S0"} if any(pages) else set())
        assert market.watched >= looked_at
    await watchers.sweep()
    assert market.watched == looked_at if steps else not market.watched
    for page in (page for open_pages in pages for page in open_pages):
        await page.aclose()
