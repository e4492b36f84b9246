"""The kill switch as a person uses it: in a real Chromium, at both widths, and seen in another tab."""

import asyncio

import httpx
import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

SWITCH = "#kill-switch > button"
HALTED = "#trading-state .halt.halted"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_click_stops_trading_every_tab_says_so_and_another_resumes(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    await asyncio.to_thread(trader.set_up)
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.become_live()
        other = await watched.context.new_page()
        await other.goto(f"{trader.server.url}/webhooks")
        assert await watched.page.locator("#trading-state .halt").count() == 0

        await watched.page.click(SWITCH)
        assert await watched.overflow() <= 0
        await watched.page.click("#kill-dialog .kill-step:has(input[value=stop]) button")
        await watched.see(HALTED)
        assert "trading was stopped by hand" in await watched.text(HALTED)
        assert await watched.overflow() <= 0
        assert not await watched.page.locator("#kill-dialog").is_visible()
        await eventually_async(lambda: other.locator(HALTED).is_visible(), "the other tab says so too")
        with pytest.raises(httpx.HTTPStatusError):
            await asyncio.to_thread(trader.call, "POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})

        await other.click("#trading-state button")
        await watched.see(HALTED, count=0)
        order = await asyncio.to_thread(trader.call, "POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})
        assert order["state"] == "filled"


async def test_positions_are_closed_only_after_the_word_was_typed(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.set_up)
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.see("#positions tr[id^=position-]")
        await watched.page.click(SWITCH)
        button = watched.page.locator("#kill-dialog .kill-step:has(input[value=flatten]) button")
        assert await button.is_disabled()
        await watched.page.fill("#kill-confirm", "CLOSE")
        await button.click()
        await watched.see(HALTED)
        await watched.see("#positions tr[id^=position-]", count=0)
        assert await asyncio.to_thread(trader.positions) == []
