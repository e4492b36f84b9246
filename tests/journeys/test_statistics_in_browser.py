"""A trader reads the statistics: figures with their conventions, tables that filter, heat maps, files, and play money kept apart."""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import FOR_THE_PLATFORM
from tests.app.round_trips import put_equity, put_flow, put_trips, random_trips
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import DESKTOP, PHONE, Watched, running_chromium, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

TRADES = 240


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as running:
        yield running


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


async def history(urls: DatabaseUrls, trader: Trader, broker_id: str) -> None:
    """Two months of trades, and of what the account was worth, with a deposit half-way."""
    user_id = UUID(trader.call("GET", "/api/auth/current")["id"])
    now = SystemClock().now()
    begin = now - timedelta(days=60)
    total = trader.portfolio()["total_usdt"]
    connection = await asyncpg.connect(urls.owner, server_settings=FOR_THE_PLATFORM)
    try:
        trips = random_trips(11, TRADES, since=begin, until=now, symbols=("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/BTC"))
        await put_trips(connection, user_id, UUID(broker_id), trips)
        paid_in = begin + timedelta(days=30)
        wave = [1 + 0.03 * math.sin(hour / 90) - 0.01 * math.sin(hour / 11) for hour in range(60 * 24 - 1)]
        points = [
            (begin + timedelta(hours=hour), f"{float(total) * level / wave[-1] - (2500 if hour < 720 else 0):.6f}")
            for hour, level in enumerate(wave)
        ]
        await put_equity(connection, user_id, UUID(broker_id), points)
        await put_flow(connection, user_id, UUID(broker_id), paid_in, "2500")
    finally:
        await connection.close()


async def test_trader_reads_the_statistics(browser: Browser, trader: Trader, shared_urls: DatabaseUrls) -> None:
    trader.open_account()
    broker_id = trader.add_broker()
    eventually(lambda: trader.portfolio()["profit"]["all"]["amount"] is not None, "the account's worth is read")
    trader.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    await history(shared_urls, trader, broker_id)
    told = trader.call("GET", "/api/statistics/summary")
    async with watched_page(browser, DESKTOP) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.page.click(".rail a[href='/statistics']")
        await watched.page.wait_for_url("**/statistics")
        await watched.see("#curve-chart canvas >> nth=0")
        await watched.see("#statistics-metrics small:has-text('riskless')")
        await look(watched, "desktop")
        assert await watched.overflow() == 0
        # The calendar and the week add up to what the API tells.
        metrics = {metric["key"]: metric["value"] for metric in told["metrics"]}
        assert f"{metrics['trades']} trades" in await watched.text("#statistics-kpis")
        await watched.page.click("#statistics-curve [data-shown=value]")
        await watched.page.click("#curve-data summary")
        await watched.see("#curve-data td >> nth=0")
        await watched.page.click("#statistics-symbol a:text-is('ETH/USDT')")
        await watched.page.wait_for_url("**symbol=ETH%2FUSDT**")
        await watched.see("#statistics-metrics .st-missing", count=2)
        await watched.see("#curve-chart canvas >> nth=0")
        assert await watched.page.locator("#statistics-symbol tbody tr").count() == 1
        lines = await downloaded(watched, ".st-files a:has-text('CSV')")
        assert any(line.startswith("by_symbol,ETH/USDT,ETH/USDT") for line in lines)
        await watched.page.click(".st-modes a:has-text('Paper')")
        await watched.see("#statistics-nothing")
        await look(watched, "nothing")
        trader.call("PUT", "/api/auth/preferences", json={"language": "fr", "theme": "light"})
        await watched.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        await watched.page.goto(f"{trader.server.url}/statistics")
        await watched.see("#curve-chart canvas >> nth=0")
        await watched.see("html[lang=fr][data-theme=light]")
        await look(watched, "phone")
        assert await watched.overflow() == 0
        assert not watched.complaints, watched.complaints


async def downloaded(watched: Watched, selector: str) -> list[str]:
    async with watched.page.expect_download() as waiting:
        await watched.page.click(selector)
    path = await (await waiting.value).path()
    return (await asyncio.to_thread(path.read_text)).splitlines()


async def look(watched: Watched, name: str) -> None:
    folder = os.environ.get("LOOK_AT")
    if folder:
        await asyncio.sleep(1)
        height: Any = await watched.page.evaluate("() => document.querySelector('#main').scrollHeight")
        size = watched.page.viewport_size or {"width": 1440, "height": 900}
        await watched.page.set_viewport_size({"width": size["width"], "height": int(height) + 120})
        await watched.page.screenshot(path=f"{folder}/{name}.png")
        await watched.page.set_viewport_size(size)
