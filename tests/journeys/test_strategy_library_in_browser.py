"""A person keeps a library of strategies: begins one, imports one, forks, finds, shares, puts aside and deletes; a second one receives."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, PHONE, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

ITEM = "li.entry"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


@pytest.fixture
def other(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


async def open_library(watched: Watched, trader: Trader) -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.page.goto(f"{trader.server.url}/strategies")


async def strategies(trader: Trader) -> list[Any]:
    return list((await asyncio.to_thread(trader.call, "GET", "/api/strategies"))["items"])


async def make(trader: Trader, name: str) -> Any:
    return await asyncio.to_thread(trader.call, "POST", "/api/strategies", json={"name": name})


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_first_strategy_is_begun_from_the_empty_library(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with watched_page(browser, size) as watched:
        page = watched.page
        await open_library(watched, trader)
        assert "No strategy yet" in await watched.text("#strategies")
        await page.click("#strategies button[commandfor=strategy-new-dialog]")
        await page.fill("#strategy-name", "My cross")
        await page.check("input[name=chosen][value=ema_cross]")
        assert await watched.overflow() <= 0
        await page.press("#strategy-name", "Enter")
        await page.wait_for_url("**/strategies/*-*")
        await page.goto(f"{trader.server.url}/strategies")
        assert "from the template EMA cross" in await watched.text(ITEM)
        assert await watched.overflow() <= 0
    (made,) = await strategies(trader)
    assert (made["name"], made["newest"]) == ("My cross", 1)


async def test_a_file_goes_out_and_comes_back(browser: Browser, trader: Trader, tmp_path: Path) -> None:
    await make(trader, "Traveller")
    async with watched_page(browser) as watched:
        page = watched.page
        await open_library(watched, trader)
        async with page.expect_download() as started:
            await page.click(f"{ITEM} a[download]")
        download = await started.value
        assert download.suggested_filename == "traveller-v1.py"
        file = tmp_path / download.suggested_filename
        await download.save_as(file)
        await page.click(".page-head button[commandfor=strategy-import-dialog]")
        await page.set_input_files("#strategy-file", file)
        await page.click("#strategy-import button[type=submit]")
        await page.wait_for_url("**/strategies/*-*")
    names = sorted(one["name"] for one in await strategies(trader))
    assert names == ["Traveller", "Traveller 2"]


async def test_a_library_is_kept_in_order_with_the_keyboard_and_the_mouse(browser: Browser, trader: Trader) -> None:
    for name in ("Trend", "Range"):
        await make(trader, name)
    async with watched_page(browser) as watched:
        page = watched.page
        await open_library(watched, trader)
        await page.click(f"{ITEM}:has-text('Trend') button:has-text('Fork')")
        await watched.see(ITEM, count=3)
        await page.fill("#library-search", "tREND")
        await watched.see(ITEM, count=2)
        assert await page.evaluate("document.activeElement.id") == "library-search", "who types goes on typing"
        await page.click(f"{ITEM}:has-text('Trend 2') button:has-text('Archive')")
        await watched.see("#library-turn")
        await page.click("#library-turn")
        await watched.see(f"{ITEM}:has-text('Trend 2')")
        await page.click(f"{ITEM}:has-text('Trend 2') button:has-text('Delete')")
        await watched.see("#strategy-dialog[open]")
        await page.keyboard.press("Escape")
        await watched.see("dialog[open]", count=0)
        await page.click(f"{ITEM}:has-text('Trend 2') button:has-text('Delete')")
        await watched.see("#strategy-dialog[open]")
        await page.click("#strategy-delete button[type=submit]")
        await watched.see("dialog[open]", count=0)
    assert sorted(one["name"] for one in await strategies(trader)) == ["Range", "Trend"]


async def test_a_copy_reaches_another_library_and_is_declined_there(browser: Browser, trader: Trader, other: Trader) -> None:
    await make(trader, "A gift")
    async with watched_page(browser) as watched:
        page = watched.page
        await open_library(watched, trader)
        await page.click(f"{ITEM} button:has-text('Share')")
        await watched.see("#strategy-dialog[open]")
        await page.fill("#share-username", other.username)
        await page.press("#share-username", "Enter")
        await watched.see("dialog[open]", count=0)
    async with asyncio.timeout(20):
        while not await strategies(other):  # noqa: ASYNC110  # another process delivers it
            await asyncio.sleep(0.2)
    async with watched_page(browser, PHONE) as watched:
        page = watched.page
        await open_library(watched, other)
        told = await watched.text(ITEM)
        assert f"shared by {trader.username}" in told
        assert "New to you" in told
        await page.click(f"{ITEM} button:has-text('Delete')")
        await watched.see("#strategy-dialog[open]")
        await page.click("#strategy-delete button[type=submit]")
        await watched.see("#strategies .region-state")
    assert await strategies(other) == []
