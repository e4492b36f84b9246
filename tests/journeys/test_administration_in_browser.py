"""An invitation, an account made with it, its token, and its end, in a real Chromium at both widths."""

import asyncio

import httpx
import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import StartServer
from tests.server_process import ADMIN, PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]


async def go_by_menu(watched: Watched, path: str) -> None:
    await watched.page.click('button[popovertarget="account-menu"]')
    await watched.page.click(f'#account-menu a[href="{path}"]')
    await watched.page.wait_for_url(f"**{path}")
    assert await watched.overflow() <= 0


async def invited(watched: Watched, server: ServerProcess) -> str:
    """Log in as the administrator and return the link of a new invitation."""
    await watched.log_in(server.url, ADMIN, PASSWORD)
    await go_by_menu(watched, "/admin")
    await watched.page.click('button[commandfor="invitation-dialog"][command="show-modal"]')
    await watched.page.fill("#invitation-note", "for Joe")
    await watched.page.keyboard.press("Enter")
    await watched.see("#invitation-made")
    await watched.see("#invitations tbody tr")
    link = await watched.text("#invitation-url")
    await watched.page.click("#invitation-made a.primary")
    await watched.see("#invitation-made", count=0)
    return link


async def signed_up(watched: Watched, link: str) -> str:
    """Make an account with the link, and a token in it; return the token."""
    page = watched.page
    await page.goto(link)
    await page.fill("#username", "joe")
    await page.fill("#password", PASSWORD)
    await page.click("#register-form button[type=submit]")
    await page.wait_for_url("**/")
    assert await page.locator('a[href="/admin"]').count() == 0
    await go_by_menu(watched, "/account/tokens")
    await page.click('button[commandfor="token-dialog"][command="show-modal"] >> nth=0')
    await page.uncheck('#token-form input[value="read"]')
    await page.fill("#token-name", "grafana")
    await page.click("#token-form button[type=submit]")
    await watched.see("#token-scopes-note")
    assert await page.input_value("#token-name") == "grafana"
    await page.check('#token-form input[value="read"]')
    await page.click("#token-form button[type=submit]")
    await watched.see("#token-made")
    token = await watched.text("#token-value")
    await watched.see("#tokens tbody tr")
    watched.forget(lambda text: "422" in text)  # the form that came back
    return token


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_somebody_is_invited_makes_a_token_and_is_disabled(
    browser: Browser, start_server: StartServer, paused_market: EmulatorProcess, size: tuple[int, int]
) -> None:
    server = await asyncio.to_thread(start_server, paused_market, registration="invitation")
    async with watched_page(browser, size) as admin, watched_page(browser, size) as guest:
        link = await invited(admin, server)
        token = await signed_up(guest, link)
        async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as program:
            assert (await program.get("/api/orders")).status_code == 200
            await admin.page.goto(f"{server.url}/admin")
            row = admin.page.locator("#users tbody tr", has_text="joe")
            await row.get_by_role("button", name="Disable", exact=True).click()
            await admin.page.click("dialog[open] button[type=submit]")
            await admin.see("dialog[open]", count=0)
            assert "Disabled" in await row.inner_text()
            assert "User disabled" in await admin.text("#log tbody tr >> nth=0")
            await admin.page.select_option("#log-action", "invitation_made")
            await admin.see("#log tbody tr")
            assert (await program.get("/api/orders")).status_code == 401
        await guest.page.goto(f"{server.url}/account/tokens")
        assert guest.page.url.startswith(f"{server.url}/login")
        guest.forget(lambda text: "401" in text)  # its stream, which ended with the session
