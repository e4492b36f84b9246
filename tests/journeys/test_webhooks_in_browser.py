"""A person builds a message, sends it to the webhook's address, watches its line appear, opens it, and repeats it on paper."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Browser

from app.core.clock import SystemClock
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up().set_up()


def refused(complaint: str) -> bool:
    """What the browser says of an answer that sends a form back."""
    return "status of 422" in complaint


async def hook(trader: Trader) -> Any:
    (found,) = (await asyncio.to_thread(trader.call, "GET", "/api/webhooks"))["items"]
    return found


async def built_message(watched: Watched, hook_id: str) -> str:
    """Choose a purchase of 0.01 BTC in the builder, try it at the test door, and return the message as TradingView would send it."""
    page = watched.page
    await page.select_option("#build-hook", hook_id)
    await page.select_option("#build-kind", "indicator")
    await watched.see("#build-action option[value=strategy]", count=0)
    await page.select_option("#build-action", "buy")
    await page.fill("#build-symbol", "BTCUSDT")
    await page.select_option("#build-size_kind", "base")
    await page.fill("#build-size_value", "0.01")
    await watched.see('#built-message:has-text("0.01")')
    assert "alert.freq_once_per_bar_close" in await watched.text("#built-script")
    await page.click("#built-check button")
    await watched.see("#tried-built[data-decision=ping]")
    assert "BTCUSDT" in await watched.text("#tried-built")
    message = await page.locator("#built-message").inner_text()
    assert '"timenow": "{{timenow}}"' in message
    return message.replace("{{timenow}}", f"{SystemClock().now():%Y-%m-%dT%H:%M:%SZ}")


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_message_is_built_sent_seen_opened_and_repeated_on_paper(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    await asyncio.to_thread(trader.call, "POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    hook_id = (await hook(trader))["id"]
    async with watched_page(browser, size) as watched:
        page, url = watched.page, trader.server.url
        await watched.log_in(url, trader.username, trader.password)
        await page.goto(f"{url}/webhooks/builder?hook={hook_id}")
        message = await built_message(watched, hook_id)
        assert await watched.overflow() <= 0

        await page.goto(f"{url}/webhooks")
        await watched.become_live()
        answer = await asyncio.to_thread(trader.knock, message)
        assert answer.status_code == 202, answer.text
        delivery_id = answer.json()["delivery_id"]
        line = f"#delivery-{delivery_id}"
        await watched.see(f"{line}[data-decision=executed]", within_s=15)
        await watched.see("#hook-positions tbody tr", within_s=15)
        assert await watched.overflow() <= 0

        await page.locator(f"{line} a").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{url}/webhooks/deliveries/{delivery_id}")
        await watched.see("#delivery-orders article[data-state=filled]", within_s=15)
        assert await page.locator("#delivery-orders [data-fill]").count() >= 1
        assert "opened by this alert" in await watched.text("#delivery-orders")
        assert '"BTCUSDT"' in await watched.text(".raw-body")
        assert "Buy · BTCUSDT" in await watched.text("#understood")
        assert await page.locator(".latencies li").count() >= 1
        assert await watched.overflow() <= 0

        await page.click("#delivery button[commandfor=replay-dialog]")
        await page.click("#replay-dialog button[type=submit]")
        await page.wait_for_url(lambda address: "/webhooks/deliveries/" in address and delivery_id not in address)
        await watched.see("#delivery[data-decision=executed]", within_s=15)
        await watched.see("#delivery-orders article[data-state=filled]", within_s=15)
        assert "Practice" in await watched.text("#delivery")
        await watched.see(".chain li", count=2)
        orders = await asyncio.to_thread(trader.orders)
        assert len({order["broker_id"] for order in orders}) == 2, "one on the exchange, one on paper"
        assert len(await asyncio.to_thread(trader.placed)) == 1


async def test_a_replay_without_a_paper_account_says_so_in_place(browser: Browser, trader: Trader) -> None:
    delivery_id = await asyncio.to_thread(trader.alert, quantity="0.01")
    await asyncio.to_thread(trader.decided, delivery_id)
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.page.goto(f"{trader.server.url}/webhooks/deliveries/{delivery_id}")
        assert "no paper account" in await watched.text("#cannot-replay")
        assert await watched.page.locator("#delivery button[commandfor=replay-dialog]").count() == 0


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_settings_refuse_nonsense_beside_their_fields_and_hold_once_stored(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    hook_id = (await hook(trader))["id"]
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/webhooks")
        await page.click(f"#hook-{hook_id}-settings")
        await watched.see("#hook-card-dialog[open]")
        assert await watched.overflow() <= 0
        await page.fill("#settings-max_age_s", "soon")
        await page.fill("#settings-allowed_ips", "nobody")
        await page.fill("#settings-stop_percent", "1.234,5")
        await page.click("#hook-settings button[type=submit]")
        await watched.see("#hook-settings [aria-invalid=true]", count=3)
        assert "whole number" in await watched.text("#settings-max_age_s-note")
        assert "no address" in await watched.text("#settings-allowed_ips-note")
        assert (await hook(trader))["max_age_s"] == 60, "nothing was stored"

        await page.fill("#settings-max_age_s", "30")
        await page.click("[data-fill=settings-allowed_ips]")
        await page.fill("#settings-stop_percent", "2,5")
        await page.select_option("#settings-interval", "15m")
        await page.click("#hook-settings button[type=submit]")
        await watched.see("#hook-card-dialog[open]", count=0)
        told = await watched.text(f"#hook-{hook_id}")
        assert re.search(r"every 15m.*30 s old.*TradingView", told)
        stored = await hook(trader)
        assert (stored["max_age_s"], stored["interval"], len(stored["allowed_ips"])) == (30, "15m", 4)
        assert stored["rules"]["stop_percent"] == "0.025"
        watched.forget(refused)


async def test_the_log_is_filtered_held_and_taken_away(browser: Browser, trader: Trader) -> None:
    bought = await asyncio.to_thread(trader.alert, quantity="0.01")
    await asyncio.to_thread(trader.decided, bought)
    nonsense = (await asyncio.to_thread(trader.knock, b"=cmd|nonsense")).json()["delivery_id"]
    await asyncio.to_thread(trader.decided, nonsense)
    async with watched_page(browser) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/webhooks")
        await watched.become_live()
        await watched.see("#deliveries tbody tr", count=2)
        await page.select_option("#log-filter [name=decision]", "unreadable")
        await watched.see("#deliveries tbody tr", count=1)
        await watched.see(f"#delivery-{nonsense}")
        async with page.expect_download() as download:
            await page.click("#deliveries a[download]")
        file = await (await download.value).path()
        lines = file.read_text().splitlines()
        assert len(lines) == 2
        assert ",'=cmd|nonsense" in lines[1], "no cell is a formula"
        await page.select_option("#log-filter [name=decision]", "")
        await watched.see("#deliveries tbody tr", count=2)
        await page.click("#log-turn")
        await watched.see('#deliveries:has-text("held")')
        third = await asyncio.to_thread(trader.alert, quantity="0.01", action="sell")
        await asyncio.to_thread(trader.decided, third)
        await watched.see(f"#delivery-{third}", count=0)
        await page.click("#log-turn")
        await watched.see(f"#delivery-{third}")
