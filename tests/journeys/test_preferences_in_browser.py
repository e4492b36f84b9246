"""A person chooses how pages look, with a second page open beside it that follows, and an AI provider on a machine of theirs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.app.ai_server import KEY, MODELS, AiServer, ai_server
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, PHONE, Watched, watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[AiServer]:
    async with ai_server() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    provider: AiServer, market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server whose administrator allows the provider, which also stands in for OpenRouter."""
    urls = await postgres.create_database()
    ours = {"registration": "open", "ollama_allowed_hosts": f"127.0.0.1:{provider.port}", "openrouter_url": f"{provider.url}/v1"}
    with ServerProcess(tmp_path_factory.mktemp("preferences"), **settings_for(market, urls, **ours)) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, market).sign_up()


@asynccontextmanager
async def two_pages(browser: Browser, trader: Trader, size: tuple[int, int], zone: str) -> AsyncIterator[tuple[Watched, Watched]]:
    """The preferences, and beside them, in another window of the same browser, the dashboard."""
    async with watched_page(browser, size, timezone_id=zone) as here:
        await here.log_in(trader.server.url, trader.username, trader.password)
        there = Watched(await here.context.new_page(), here.context)
        there.page.on("console", there.on_console)
        there.page.on("pageerror", there.on_exception)
        await there.page.goto(trader.server.url)
        await here.page.goto(f"{trader.server.url}/account/preferences")
        for watched in (here, there):
            await watched.become_live()
        yield here, there
        assert not there.complaints, there.complaints


async def sees(page: Page, selector: str, pattern: str) -> None:
    async def matches() -> bool:
        found = page.locator(selector)
        return await found.count() == 1 and re.search(pattern, await found.inner_text()) is not None

    await eventually_async(matches, f"{pattern} in {selector}", within_s=8)


async def shows(watched: Watched, name: str, value: str) -> None:
    async def matches() -> bool:
        return await watched.attribute(name) == value

    await eventually_async(matches, f"{name} is {value}", within_s=8)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_another_open_page_follows_theme_language_and_time_zone(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with two_pages(browser, trader, size, "Asia/Tokyo") as (here, there):
        await shows(there, "data-timezone", "Asia/Tokyo")
        await here.page.click("#looks [value=light]")
        for watched in (here, there):
            await shows(watched, "data-theme", "light")
        await here.page.click("#looks [value=fr]")
        await sees(here.page, "h1", "Préférences")
        await shows(there, "lang", "fr")
        assert "Tableau ·" in await there.page.title()
        await here.page.click("#looks [value=utc]")
        for watched in (here, there):
            await shows(watched, "data-timezone", "UTC")
        assert await here.page.locator("#looks [value=utc]").get_attribute("aria-pressed") == "true"
        assert await here.overflow() <= 0
        # The menu of the other page changes this one.
        await there.become_live()
        await there.page.click("[popovertarget=account-menu]")
        await there.page.click("#language-form [value=en]")
        await sees(here.page, "h1", "Preferences")


async def test_a_half_filled_dialog_is_not_taken_away_by_a_change_elsewhere(browser: Browser, trader: Trader) -> None:
    async with two_pages(browser, trader, DESKTOP, "UTC") as (here, there):
        await there.page.goto(f"{trader.server.url}/brokers")
        await there.become_live()
        await there.page.click("[commandfor=broker-dialog]")
        await there.page.fill("#broker-name", "Half a name")
        await here.page.click("#looks [value=fr]")
        await sees(here.page, "h1", "Préférences")
        await there.page.wait_for_timeout(1000)
        assert await there.page.input_value("#broker-name") == "Half a name"
        await there.page.keyboard.press("Escape")
        await shows(there, "lang", "fr")


async def test_ollama_is_chosen_with_a_model_of_its_list(browser: Browser, trader: Trader, provider: AiServer) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/account/preferences")
        assert not await page.locator("#ai_endpoint_url").is_visible()
        await page.check("#ai-form [value=ollama]")
        await page.fill("#ai_endpoint_url", "http://127.0.0.1:9")
        await page.click("text=Test and list models")
        await sees(page, "#ai-models", "its administrator has not allowed")
        await page.fill("#ai_endpoint_url", provider.url)
        await page.click("text=Test and list models")
        await sees(page, "#ai-models", "2 models to choose from")
        offered = await page.locator("#models-ollama option").evaluate_all("all => all.map((one) => one.value)")
        assert tuple(offered) == MODELS
        await page.fill("#ollama_model", offered[1])
        await page.click("#ai-form button[type=submit]")
        await watched.see(".toast.success")
        await page.reload()
        await sees(page, "#ai-models", "has that model")
        assert await page.input_value("#ollama_model") == MODELS[1]
        # To choose the other switches this one off.
        await page.check("#ai-form [value=openrouter]")
        assert not await page.locator("#ai_endpoint_url").is_visible()
        await page.click("#ai-form button[type=submit]")
        await sees(page, "#ai_api_key-note", "needs a key")
        await page.fill("#ai_api_key", KEY)
        await page.click("#ai-form button[type=submit]")
        await sees(page, "#ai-models", "2 models to choose from")
        await page.reload()
        assert await page.input_value("#ai_api_key") == ""
        assert await page.is_checked("#ai-form [value=openrouter]")
        assert KEY not in await page.content()
        await page.click("text=Forget the key")
        await watched.see(".toast.success")
        assert await page.is_checked("#ai-form [value=none]")
        watched.forget(lambda complaint: "status of 422" in complaint)


async def test_the_default_account_is_chosen_and_marks_the_other_page(browser: Browser, trader: Trader) -> None:
    for name in ("Paper one", "Paper two"):
        trader.call("POST", "/api/brokers", json={"exchange": "paper", "name": name})
    async with two_pages(browser, trader, PHONE, "UTC") as (here, there):
        before = await there.attribute("data-broker")
        await here.page.select_option("#default_broker_id", label="Paper two")
        await here.page.click("#default-broker button[type=submit]")
        await sees(here.page, "#default-broker", "Saved")
        chosen = await here.attribute("data-broker")
        assert chosen != before
        await shows(there, "data-broker", str(chosen))
