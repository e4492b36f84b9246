"""A person secures their account with a mouse and a keyboard: second factor, recovery code, password, other logins."""

import asyncio
import time

import pyotp
import pytest
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.trader import Trader
from tests.postgres import connected
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


def refused(complaint: str) -> bool:
    """What the browser says of an answer that sends a form back."""
    return "status of 422" in complaint or "status of 401" in complaint


async def log_in_with(watched: Watched, trader: Trader, code: str) -> None:
    await watched.page.goto(f"{trader.server.url}/login")
    await watched.page.fill("#username", trader.username)
    await watched.page.fill("#password", trader.password)
    await watched.page.press("#password", "Enter")
    await watched.page.fill("#code", code)
    await watched.page.press("#code", "Enter")


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_second_factor_is_set_up_used_and_replaced_by_a_recovery_code(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/account")
        await page.fill("#factor-password", "not my password")
        await page.click("#second-factor button[type=submit]")
        await watched.see("#factor-password-note")
        await page.fill("#factor-password", trader.password)
        await page.click("#second-factor button[type=submit]")
        await watched.see(".qr")
        assert await watched.overflow() <= 0
        totp = pyotp.TOTP((await watched.text("#factor-secret")).strip())
        await page.fill("#first-code", "000000")
        await page.press("#first-code", "Enter")
        await watched.see("#first-code-note")
        await page.fill("#first-code", totp.now())
        await page.press("#first-code", "Enter")
        await watched.see("#recovery-codes")
        codes = (await watched.text("#recovery-codes")).split()
        assert len(codes) == 10
        assert await watched.overflow() <= 0
        watched.forget(refused)
        await page.goto(f"{trader.server.url}/account")
        assert not [code for code in codes if code in await page.content()], "shown once"
    async with watched_page(browser, size) as watched:
        await log_in_with(watched, trader, codes[0])
        await watched.see("#positions")
    async with watched_page(browser, size) as watched:
        await log_in_with(watched, trader, totp.at(time.time() + 30))
        await watched.see("#positions")
        await watched.page.goto(f"{trader.server.url}/account")
        assert "9" in await watched.text("#second-factor .muted")
        await watched.see("#sessions tbody tr", count=3)
        await watched.page.click("#sessions header button")
        await watched.see("#sessions tbody tr", count=1)


async def test_a_new_password_throws_out_who_is_logged_in_elsewhere(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as here, watched_page(browser) as there:
        for watched in (here, there):
            await watched.log_in(trader.server.url, trader.username, trader.password)
        await here.page.goto(f"{trader.server.url}/account")
        await here.page.fill("#current_password", trader.password)
        await here.page.fill("#new_password", "1234567890")
        await here.page.press("#new_password", "Enter")
        await here.see("#new_password-note.error")
        await here.page.fill("#current_password", trader.password)
        await here.page.fill("#new_password", "quite another sentence")
        await here.page.press("#new_password", "Enter")
        await here.see(".toast.success")
        here.forget(refused)
        await there.page.goto(f"{trader.server.url}/account")
        await there.page.wait_for_url("**/login**")
        trader.password = "quite another sentence"
        await asyncio.to_thread(trader.log_in, trader.username, trader.password)


async def test_a_fresh_code_is_asked_for_above_what_needs_it_and_what_was_typed_stays(
    browser: Browser, trader: Trader, shared_urls: DatabaseUrls
) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/account")
        await page.fill("#factor-password", trader.password)
        await page.click("#second-factor button[type=submit]")
        totp = pyotp.TOTP((await watched.text("#factor-secret")).strip())
        await page.fill("#first-code", totp.at(time.time() - 30))
        await page.press("#first-code", "Enter")
        await watched.see("#recovery-codes")
        async with connected(shared_urls.owner) as connection:
            await connection.execute(
                "UPDATE user_sessions SET verified_at = verified_at - interval '11 minutes'"
                " WHERE user_id = (SELECT id FROM users WHERE username = $1)",
                trader.username,
            )
        await page.goto(f"{trader.server.url}/account/tokens")
        await page.click("[commandfor=token-dialog]")
        await page.fill("#token-name", "my spreadsheet")
        await page.press("#token-name", "Enter")
        await watched.see("#fresh-code-dialog[open]")
        await page.fill("#fresh-code-value", "000000")
        await page.press("#fresh-code-value", "Enter")
        await watched.see("#fresh-code-value-note.error")
        await page.fill("#fresh-code-value", totp.now())
        await page.press("#fresh-code-value", "Enter")
        await watched.see(".toast.success")
        assert not await page.is_visible("#fresh-code-dialog")
        assert await page.input_value("#token-name") == "my spreadsheet"
        await page.press("#token-name", "Enter")
        await watched.see("#token-value")
        watched.forget(lambda complaint: refused(complaint) or "status of 403" in complaint)
