"""A newcomer finds the bell, says where they are reached, tries it, and sees what the other end answered."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.app.receivers import HttpReceiver, http_receiver
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    receiver: HttpReceiver, market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server whose administrator allows the receiver."""
    urls = await postgres.create_database()
    ours = {"registration": "open", "notifications_allowed_hosts": f"127.0.0.1:{receiver.port}"}
    with ServerProcess(tmp_path_factory.mktemp("notifications"), **settings_for(market, urls, **ours)) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_newcomer_is_told(
    browser: Browser, server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader, receiver: HttpReceiver, size: tuple[int, int]
) -> None:
    trader = make_trader(server, market).sign_up()
    receiver.heard.clear()
    async with watched_page(browser, size, timezone_id="Europe/Paris") as watched:
        page = watched.page
        await watched.log_in(server.url, trader.username, trader.password)
        await page.locator(".bell").click()
        # The browser is another device than the program that signed up; the list may be asked for before or after that is told.
        await expect(page.locator("#bell-list")).to_contain_text(re.compile("Nothing happened yet|A login from a new device"))
        await page.get_by_role("link", name="Where you are told, and what").click()
        await page.locator("#targets").get_by_role("button", name="Add a target").click()
        await page.locator("#target-service").select_option("webhook")
        await page.locator("#target-url").fill(f"http://127.0.0.1:{receiver.port}/tok3n-of-a-person")
        await page.locator("#target-name").fill("My hook")
        await page.locator("#target-form").get_by_role("button", name="Save").click()
        await expect(page.locator("#targets")).to_contain_text("json://…rson")
        await page.locator("#targets").get_by_role("button", name="Send a test").click()
        await expect(page.locator("#targets")).to_contain_text("It answers 200 OK.")
        await expect(page.locator("#log")).to_contain_text("Aristobot can reach you here")
        assert [heard.json["title"] for heard in receiver.heard] == ["Aristobot can reach you here"]
        trader.call("POST", "/api/kill-switch", json={"scope": "user", "action": "stop", "confirm": True})
        # Two: this browser is another device than the program that made the account.
        await expect(page.locator("#bell-count")).to_contain_text("2 unread", timeout=25_000)
        await page.locator(".bell").click()
        await expect(page.locator("#bell-list")).to_contain_text(f"{trader.username} pulled the kill switch")
        await page.get_by_role("button", name="Mark all as read").click()
        await expect(page.locator("#bell-count")).to_be_empty()
        await page.keyboard.press("Escape")
        await expect(page.locator("#targets")).to_be_visible()
        assert "tok3n" not in await page.content()
