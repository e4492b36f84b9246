"""The trading page open three times: two tabs of one person, who sees in each what the other does, and one of somebody else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import running_chromium, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.journeys.trading_page import TradingPage, same_everywhere
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as running:
        yield running


async def test_two_tabs_tell_the_same_and_a_stranger_hears_nothing(
    browser: Browser, shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader
) -> None:
    ada, eve = (make_trader(shared_server, market).sign_up().set_up() for _ in range(2))
    async with watched_page(browser) as of_ada, watched_page(browser) as of_eve:
        one, hers = TradingPage(of_ada, ada), TradingPage(of_eve, eve)
        await one.open()
        await hers.open()
        two = TradingPage(await of_ada.another_tab(), ada)
        await two.open(logs_in=False)

        await trade_in_turns(one, two)
        assert await hers.positions() == {}
        assert await hers.open_order_ids() == set()
        await hers.send("buy", "market", quantity="0.03")
        await hers.watched.see("#positions tr[id^=position-]")
        # What would come to the other pages has had the time to come.
        await asyncio.sleep(2.5)
        assert [text[:5] for text in (await one.positions()).values()] == ["0.019"]
        assert [text[:5] for text in (await hers.positions()).values()] == ["0.029"]
        await nothing_is_known(hers, ada)
        await nothing_is_known(one, eve)

        for page in (one, two, hers):
            await page.page.reload()
            await page.stands()
            await same_everywhere(page)
        assert (await one.positions(), await one.open_order_ids()) == (await two.positions(), await two.open_order_ids())


async def trade_in_turns(one: TradingPage, two: TradingPage) -> None:
    """Each does something that the other has to show, without being touched."""
    last = float((await asyncio.to_thread(one.trader.call, "GET", "/api/ticker?symbol=BTCUSDT"))["last"])
    await one.send("buy", "market", quantity="0.02")
    await two.watched.see("#positions tr[id^=position-]")
    await two.watched.see("#fills tbody tr")
    await two.send("buy", "limit", price=f"{int(last * 0.8)}.00", quantity="0.01")
    await one.watched.see("#open-orders tbody tr[id^=open-order-]")
    assert await one.watched.text("[data-count=open-orders]") == "1"
    (order_id,) = await one.open_order_ids()
    wanted = f"{int(last * 0.81)}"
    await one.amend(order_id, price=wanted)
    await eventually_async(lambda: shows(two, f"{int(wanted):,}.00"), "the other tab has the new price")
    (order_id,) = await two.open_order_ids()
    await two.tab("open-orders")
    await two.page.click(f"#open-order-{order_id}-cancel")
    await one.watched.see("#open-orders tbody tr[id^=open-order-]", count=0)
    await one.send("buy", "limit", price=f"{int(last * 0.7)}.00", quantity="0.01")
    await two.watched.see("#open-orders tbody tr[id^=open-order-]")


async def shows(page: TradingPage, price: str) -> bool:
    return price in (await page.page.locator("#open-orders").text_content() or "")


async def nothing_is_known(page: TradingPage, other: Trader) -> None:
    """No word of the other person stands in the page, shown or not."""
    orders: list[Any] = await asyncio.to_thread(other.orders)
    content = await page.page.content()
    for word in (other.username, other.api_key, other.broker_id, *(order["id"] for order in orders)):
        assert word not in content
