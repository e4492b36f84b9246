import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import DESKTOP, PHONE, Watched, watched_page
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually_async
from tests.journeys.returning_server import ReturningServer
from tests.journeys.trader import Trader
from tests.server_process import ADMIN, PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

SILENCE_MS = 21_000
#: Past the longest pause between two attempts to reconnect.
RECONNECT_MS = 61_000
MARK = "window.loadedOnce = (window.loadedOnce || 0) + 1"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    """A user with nothing yet."""
    return make_trader(shared_server, market).sign_up()


async def open_dashboard(watched: Watched, trader: Trader) -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.become_live()


async def was_not_reloaded(watched: Watched) -> bool:
    loaded: int = await watched.page.evaluate("() => window.loadedOnce || 0")
    return loaded == 1


async def test_an_alert_appears_on_the_open_dashboard_without_a_reload(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.set_up)
    async with watched_page(browser) as watched:
        await open_dashboard(watched, trader)
        await watched.page.evaluate(MARK)
        for region in ("orders", "positions", "deliveries"):
            assert await watched.page.locator(f"#{region} tbody tr").count() == 0
        price = await watched.text("#last-price")

        started = time.monotonic()
        delivery_id = await asyncio.to_thread(trader.alert, quantity="0.01")
        await watched.see("#orders tr[data-state=filled]")
        print(f"the order was seen {time.monotonic() - started:.2f} s after the alert was sent")
        await watched.see(f"#delivery-{delivery_id}[data-decision=executed]")
        await watched.see("#positions tr[id^=position-]")
        assert "BTC/USDT" in await watched.text("#orders tbody tr")
        assert "BTC/USDT" in await watched.text("#positions tr[id^=position-]")

        async def ticks() -> bool:
            return await watched.text("#last-price") not in ("", price)

        await eventually_async(ticks, "the price moves")
        await watched.see("#balances li", count=2)
        assert await was_not_reloaded(watched)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_no_page_is_wider_than_its_window(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    await asyncio.to_thread(trader.set_up)
    await asyncio.to_thread(trader.alert, quantity="0.01")
    await asyncio.to_thread(trader.knock, b"{" + b"word" * 200)
    async with watched_page(browser, size) as watched:
        await watched.page.goto(f"{trader.server.url}/login")
        assert await watched.overflow() <= 0
        await open_dashboard(watched, trader)
        await watched.see("#orders tr[data-state=filled]")
        for path in ("/", "/brokers", "/webhooks"):
            await watched.page.goto(trader.server.url + path)
            assert await watched.overflow() <= 0, path
        await watched.page.goto(f"{trader.server.url}/brokers")
        await watched.page.click(".page-head button[commandfor=broker-dialog]")
        assert await watched.overflow() <= 0


async def test_language_and_theme_change_and_are_remembered(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        await open_dashboard(watched, trader)
        assert await watched.attribute("lang") == "en"
        await watched.page.click("button[popovertarget=account-menu]")
        await watched.page.click("#language-form button[value=fr]")
        await watched.page.wait_for_selector("html[lang=fr]", state="attached")
        assert "Ordres" in await watched.text("#orders h2")
        assert await watched.text("nav.rail a[aria-current=page]") == "Tableau"
        await watched.become_live()

        await watched.page.click("button[popovertarget=account-menu]")
        async with watched.page.expect_response(lambda answer: urlsplit(answer.url).path == "/preferences"):
            await watched.page.click("#theme-form button[value=light]")
        assert await watched.attribute("data-theme") == "light"
        await watched.page.reload()
        assert (await watched.attribute("lang"), await watched.attribute("data-theme")) == ("fr", "light")


async def test_a_newcomer_adds_a_paper_account_without_seeing_a_field_for_keys(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await open_dashboard(watched, trader)
        await page.goto(f"{trader.server.url}/brokers")
        await page.click(".page-head button[commandfor=broker-dialog]")
        assert await page.input_value("#broker-exchange") == "paper"
        assert not await page.is_visible("#broker-api_key")
        await page.select_option("#broker-exchange", "binance")
        assert await page.is_visible("#broker-api_key")
        assert not await page.is_visible("#broker-paper_balance_usdt")
        await page.select_option("#broker-exchange", "paper")
        await page.fill("#broker-name", "Practice")
        await page.fill("#broker-paper_balance_usdt", "2500")
        await page.click("#broker-form button[type=submit]")
        await watched.see("article.broker .pill.paper")
        await watched.see("dialog[open]", count=0)

        await page.click("article.broker button[hx-post$='/test']")
        await watched.see("article.broker .note.ok")
        assert "2500 USDT" in await watched.text("article.broker .note.ok")
        await page.click("article.broker button[commandfor^=reset-]")
        await page.click("dialog[open] button[type=submit]")
        await watched.see("dialog[open]", count=0)
        await page.reload()
        assert "PAPER" in await watched.text("header.bar")


async def test_a_broker_account_is_added_tested_and_deleted_in_the_page(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.open_account)
    async with watched_page(browser) as watched:
        page = watched.page
        await open_dashboard(watched, trader)
        await page.goto(f"{trader.server.url}/brokers")
        await page.click(".page-head button[commandfor=broker-dialog]")
        await page.select_option("#broker-exchange", "binance")
        await page.fill("#broker-name", "My play account")
        await page.fill("#broker-api_key", trader.api_key)
        await page.fill("#broker-api_secret", trader.api_secret)
        await page.click("#broker-form button[type=submit]")
        await watched.see("article.broker")
        await watched.see("dialog[open]", count=0)
        card = await watched.text("article.broker")
        assert "My play account" in card
        assert trader.api_key[-4:] in card
        assert trader.api_secret not in await page.content()

        await page.click("article.broker button[hx-post$='/test']")
        await watched.see("article.broker .note.ok")
        await watched.see("article.broker .steps li", count=5)
        assert "Connection works" in await watched.text("article.broker .note.ok")
        (account,) = (await asyncio.to_thread(trader.call, "GET", "/api/brokers"))["items"]
        assert account["last_connection_success"] is True

        await page.click("article.broker button[id$='-delete']")
        await watched.see("#broker-card-dialog[open]")
        submit = page.locator("dialog[open] button[type=submit]")
        assert await submit.is_disabled()
        await page.fill("dialog[open] input[name=confirm]", "My play")
        assert await submit.is_disabled()
        await page.fill("dialog[open] input[name=confirm]", "My play account")
        await submit.click()
        await watched.see("article.broker", count=0)
        assert (await asyncio.to_thread(trader.call, "GET", "/api/brokers"))["items"] == []


async def test_a_webhook_made_in_the_page_trades_at_the_address_it_shows(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.open_account)
    await asyncio.to_thread(trader.add_broker)
    async with watched_page(browser) as watched:
        page = watched.page
        await open_dashboard(watched, trader)
        await page.goto(f"{trader.server.url}/webhooks")
        await page.click(".page-head button[commandfor=hook-dialog]")
        await page.fill("#hook-name", "From TradingView")
        await page.click("#hook-form button[type=submit]")
        address = await watched.text("#hook-url")
        assert address.startswith(f"{trader.server.url}/hooks/")
        trader.hook_paths.append(urlsplit(address).path)
        delivery_id = await asyncio.to_thread(trader.alert, quantity="0.01")
        assert (await asyncio.to_thread(trader.decided, delivery_id))["decision"] == "executed"
        await watched.see(f"#delivery-{delivery_id}[data-decision=executed]")
        await page.click("#hook-created a.primary")
        await watched.see("#hooks li.entry")
        assert "From TradingView" in await watched.text("#hooks li.entry")
        assert address not in await page.content()


def status_of_dashboard(url: str, cookies: dict[str, str]) -> int:
    """What somebody is answered who kept a copy of the session's cookie."""
    with httpx.Client(cookies=cookies, trust_env=False) as client:
        return client.get(f"{url}/").status_code


async def test_a_wrong_password_is_told_in_a_sentence_and_a_logout_ends_the_session(browser: Browser, trader: Trader) -> None:
    url = trader.server.url
    async with watched_page(browser) as watched:
        page = watched.page
        await page.goto(f"{url}/login")
        await page.fill("#username", trader.username)
        await page.fill("#password", "not it")
        await page.click("#login-form button[type=submit]")
        await watched.see(".note.err")
        assert await watched.text(".note.err") == "The name or the password is wrong."
        # The browser notes every 401 on its console.
        watched.forget(lambda text: "401" in text)

        await watched.log_in(url, trader.username, trader.password)
        cookies = {cookie["name"]: cookie["value"] for cookie in await watched.context.cookies()}
        assert await asyncio.to_thread(status_of_dashboard, url, cookies) == 200
        await page.click("button[popovertarget=account-menu]")
        await page.click("form[action='/logout'] button")
        await page.wait_for_url(f"{url}/login")
        assert await asyncio.to_thread(status_of_dashboard, url, cookies) in (303, 401)
        await page.goto(f"{url}/")
        assert urlsplit(page.url).path == "/login"


async def test_an_open_dashboard_turns_stale_with_the_server_and_comes_back_with_it(
    browser: Browser, market: EmulatorProcess, database_urls: DatabaseUrls, tmp_path: Path, make_trader: MakeTrader
) -> None:
    with ExitStack() as stack:
        server = ReturningServer(tmp_path / "data", **settings_for(market, database_urls))
        stack.callback(end, server)
        server.start()
        trader = await asyncio.to_thread(make_trader(server, market).log_in().set_up)
        async with watched_page(browser) as watched:
            # The page's own timers, so that nobody has to wait for its twenty seconds of patience.
            await watched.page.clock.install()
            await watched.log_in(server.url, ADMIN, PASSWORD)
            await watched.become_live()
            await watched.page.evaluate(MARK)
            server.kill()
            await watched.page.clock.fast_forward(SILENCE_MS)

            async def is_stale() -> bool:
                return await watched.attribute("data-live") == "stale"

            await eventually_async(is_stale, "the page says that it is stale")
            assert "stale" in (await watched.text("#live-stale")).lower()

            await asyncio.to_thread(server.start)
            await watched.page.clock.fast_forward(RECONNECT_MS)
            await watched.become_live()
            assert await watched.text("#live-stale") == ""
            delivery_id = await asyncio.to_thread(trader.alert, quantity="0.01")
            await watched.see(f"#delivery-{delivery_id}[data-decision=executed]")
            await watched.see("#orders tr[data-state=filled]")
            assert await was_not_reloaded(watched)
            watched.forget(lambda text: "ERR_" in text or "htmx:sse:error" in text)
