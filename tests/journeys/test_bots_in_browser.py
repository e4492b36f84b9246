"""A person promotes a backtest to a paper bot in a real Chromium, watches it trade, and takes it through everything that may stop it."""

import asyncio
import os
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Browser

from app.core.clock import SystemClock
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually, eventually_async
from tests.journeys.strategy_page import make_strategy
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: Is in the market whenever it may be: its first purchase costs a fee, which a narrow safeguard takes for a loss.
ALWAYS = """from aristobot import Strategy, param


class Always(Strategy):
    timeframe = "1m"
    warm_up = 2
    stop_loss = param(0.05, low=0.01, high=0.2)

    def should_long(self) -> bool:
        return True

    def should_exit(self) -> bool:
        return False
"""
WITHIN_S = 12.0


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


async def shot(watched: Watched, name: str) -> None:
    """Take a picture if SHOTS names a folder."""
    folder = os.environ.get("SHOTS")
    if folder:
        await watched.page.screenshot(path=f"{folder}/{name}.png")


def prepared(trader: Trader) -> int:
    """A paper account, a strategy that may trade, and a backtest of it that is over; returns its number."""
    play = {"exchange": "paper", "name": "Play money", "paper_balance_usdt": "50000"}
    trader.call("POST", "/api/brokers", json=play)
    strategy_id = make_strategy(trader, ALWAYS)
    report = trader.call("POST", f"/api/strategies/{strategy_id}/versions/1/validate", json={"symbol": "BTC/USDT"})
    assert report["is_valid"], report
    now = SystemClock().now()
    asked = {"strategy_id": strategy_id, "symbol": "BTC/USDT", "start_at": (now - timedelta(minutes=25)).isoformat()}
    number = int(trader.call("POST", "/api/backtests", json={**asked, "end_at": now.isoformat(), "capital": "2000"})["number"])

    def is_over() -> bool:
        found: dict[str, Any] = trader.call("GET", "/api/backtests")["items"][0]
        assert found["state"] != "failed", found
        return bool(found["state"] == "completed")

    eventually(is_over, "the backtest is over", within_s=30)
    return number


async def stands(watched: Watched, state: str) -> None:
    """Wait until the bot's page says that it is in that state."""
    await watched.see(f"#bot-live[data-state={state}]", within_s=WITHIN_S)


async def holds(watched: Watched, *, something: bool = True) -> None:
    """Wait until it holds something, or nothing."""
    await watched.see("#bot-levels", count=int(something), within_s=WITHIN_S)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_from_a_backtest_to_a_bot_that_trades_trips_is_killed_and_stopped(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    number, url = await asyncio.to_thread(prepared, trader), trader.server.url
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(url, trader.username, trader.password)
        await page.goto(f"{url}/backtests/{number}")
        await promote(watched, number)

        await page.click("#bot-1-start")
        await stands(watched, "running")
        # The fee of its first purchase is more than it may lose in a day.
        await watched.see(".bot-trip", within_s=20)
        await stands(watched, "suspended")
        await holds(watched)
        assert "Daily loss" in await watched.text(".bot-trip")
        await shot(watched, f"bot-tripped-{size[0]}")
        await page.click("#bot-tab-log")
        await watched.see("#bot-log [data-kind=entry]", within_s=WITHIN_S)

        await kill_and_resume(watched)
        await page.click(".bot-trip button")
        await watched.see(".bot-trip", count=0)
        await page.click("#bot-1-start")
        await holds(watched)

        await page.goto(f"{url}/bots")
        await watched.become_live()
        await shot(watched, f"bots-{size[0]}")
        await stop_and_sell(watched)
        await page.goto(f"{url}/bots/1?tab=trades")
        await holds(watched, something=False)
        await eventually_async(lambda: _has_trades(watched, 2), "both trades are over", within_s=WITHIN_S)
        await shot(watched, f"bot-stopped-{size[0]}")
        assert await watched.overflow() <= 0


async def promote(watched: Watched, number: int) -> None:
    """From the result of a backtest to a bot with its parameters and a narrow safeguard; pressed twice, it is made once."""
    page = watched.page
    await page.click("#backtest-promote")
    await watched.see("#bot-form")
    assert await page.input_value("#nb-capital") == "2000"
    assert "PAPER" in await watched.text("#nb-mode")
    await page.click(".sg-part > summary")
    await page.fill("#sg_daily", "0.02")
    await page.dblclick("#bot-form button[type=submit]")
    await page.wait_for_url("**/bots/1")
    await stands(watched, "ready")
    assert f"backtest #{number}" in await watched.text("#bot-settings")


async def kill_and_resume(watched: Watched) -> None:
    """Stop all bots and sell what they hold, with one press and one confirmation, and resume."""
    page, halted = watched.page, "#trading-state .halt.halted"
    await page.click("header .kill")
    await page.check("#kill-bots input[name=flatten]", force=True)
    await page.click("#kill-bots button[type=submit]")
    await watched.see(halted)
    assert "all your bots" in await watched.text(halted)
    await holds(watched, something=False)
    await page.click("#trading-state form button")
    await watched.see(halted, count=0)


async def stop_and_sell(watched: Watched) -> None:
    """End the bot from its card, and what it holds with it."""
    page = watched.page
    await page.click("#bot-1-stop")
    await page.check("#bot-dialog input[value=sell]")
    assert "sold at the market" in await watched.text("#bot-dialog")
    await page.click("#bot-stop button[type=submit]")
    await watched.see("#bot-1[data-state=stopped]")


async def _has_trades(watched: Watched, count: int) -> bool:
    return await watched.page.locator("#bot-trades tbody tr").count() == count
