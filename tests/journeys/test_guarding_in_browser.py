"""Guarding, changing and closing a position as a person does it: in a real Chromium, at both widths, by mouse and by keyboard."""

import asyncio
import os
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess, SignedClient
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

#: Far from a market that moves twenty minutes a minute.
BRACKET = {
    "symbol": "BTCUSDT",
    "side": "buy",
    "quantity": "0.01",
    "stop_loss": "30000",
    "take_profits": [{"price": "90000", "percent": "50"}, {"price": "95000", "percent": "50"}],
}
DIALOG = "#position-dialog[open]"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up().set_up()


async def shot(watched: Watched, name: str) -> None:
    folder = os.environ.get("SHOTS")
    if folder:
        await watched.page.screenshot(path=f"{folder}/{name}.png")


async def guards(trader: Trader) -> Any:
    return (await asyncio.to_thread(trader.call, "GET", "/api/protections"))["items"]


async def open_dashboard(watched: Watched, trader: Trader) -> str:
    """Log in and return the id of the position."""
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.become_live()
    await watched.see("#positions tr[id^=position-]")
    (position,) = await asyncio.to_thread(trader.positions)
    return str(position["id"])


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_stop_is_changed_a_protection_removed_and_a_position_closed_in_the_page(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=BRACKET)
    async with watched_page(browser, size) as watched:
        page = watched.page
        position = await open_dashboard(watched, trader)
        await watched.see(f"#guard-{position} .pill.ok")
        assert "Guarded at the exchange targets 90,000.00 (50%), 95,000.00 (50%)" in await watched.text(f"#guard-{position} p")
        assert "guards the position" in await watched.text("#orders")
        await page.locator(f"#guard-{position}").scroll_into_view_if_needed()
        await shot(watched, f"guarded-{size[0]}")

        await page.click(f"#guard-{position}-guard")
        await watched.see(DIALOG)
        assert await watched.overflow() <= 0
        assert await page.input_value("#guard-stop") == "30000"
        await page.fill("#guard-stop", "a lot")
        await page.fill("#guard-price-2", "99000")
        await page.click("#guard-form button[type=submit]")
        await watched.see("#guard-form .error", count=2)
        assert await page.input_value("#guard-stop") == "a lot"
        await shot(watched, f"guard-errors-{size[0]}")
        watched.forget(lambda text: "422" in text)
        await page.fill("#guard-stop", "31000")
        await page.fill("#guard-price-2", "")
        await page.click("#guard-form button[type=submit]")
        await watched.see(DIALOG, count=0)
        await watched.see(f"#position-{position} td:has-text('31,000.00')")
        assert [found["stop_loss"] for found in await guards(trader)] == ["31000"]

        await page.click(f"#guard-{position}-unguard")
        await watched.see(DIALOG)
        await shot(watched, f"unguard-{size[0]}")
        await page.click(f"{DIALOG} button[type=submit]")
        await watched.see(f"#guard-{position} .pill.mut")
        assert await watched.text(f"#guard-{position} .pill") == "Not guarded"

        await page.click(f"#guard-{position}-close")
        await watched.see(DIALOG)
        assert "0.00999 BTC at the market now" in await watched.text(DIALOG)
        await shot(watched, f"close-{size[0]}")
        await page.click(f"{DIALOG} button[type=submit]")
        await watched.see("#positions tr[id^=position-]", count=0)
        await watched.see(DIALOG, count=0)
        assert await asyncio.to_thread(trader.positions) == []
        assert await watched.overflow() <= 0


async def test_a_dialog_stays_open_while_its_position_moves_and_the_keyboard_alone_is_enough(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=BRACKET)
    async with watched_page(browser) as watched:
        page = watched.page
        position = await open_dashboard(watched, trader)
        await page.focus(f"#guard-{position}-guard")
        await page.keyboard.press("Enter")
        await watched.see(DIALOG)
        assert await page.evaluate("document.activeElement.id") == "guard-stop"
        mark = await watched.text(f"#position-{position}")

        async def has_moved() -> bool:
            return await watched.text(f"#position-{position}") != mark

        await page.keyboard.press("End")
        await page.keyboard.type("9")
        await eventually_async(has_moved, "the position's price moves behind the dialog")
        assert await page.input_value("#guard-stop") == "300009"
        await page.keyboard.press("Escape")
        await watched.see(DIALOG, count=0)
        assert await page.evaluate("document.activeElement.id") == f"guard-{position}-guard"

        await page.focus(f"#guard-{position}-close")
        await page.keyboard.press("Enter")
        await watched.see(DIALOG)
        assert await watched.text("#position-dialog :focus") == "Keep it", "a stray Enter closes nothing"
        await page.keyboard.press("Enter")
        await watched.see(DIALOG, count=0)
        assert len(await asyncio.to_thread(trader.positions)) == 1


async def test_a_stop_that_this_server_watches_is_shown_as_such_live(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=BRACKET)
    async with watched_page(browser) as watched:
        position = await open_dashboard(watched, trader)
        # The exchange has no trailing distance of a twentieth of a percent beyond its own bounds.
        path = f"/api/positions/{position}/protection"
        await asyncio.to_thread(trader.call, "PUT", path, json={"trailing_percent": "49.995"})
        await watched.see(f"#guard-{position} .pill.warn")
        assert "Watched here by this server, which must be running" in await watched.text(f"#guard-{position} p")
        await watched.see("#orders .pill.warn:has-text('Watched here')")
        await shot(watched, "watched-1440")


async def test_an_order_placed_elsewhere_appears_without_a_button_and_goes_when_it_is_gone(browser: Browser, trader: Trader) -> None:
    # Where orders of ours are open, the exchange is asked for all of them every moment.
    own = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "31000"}
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=own)
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.become_live()
        assert not await watched.page.locator("#external").is_visible()
        elsewhere = SignedClient(emulator=trader.emulator, api_key=trader.api_key, api_secret=trader.api_secret)
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "30000"}
        placed = await asyncio.to_thread(lambda: elsewhere.order(**order))
        assert placed.status == 200
        await watched.see("#external tbody tr", within_s=30)
        words = await watched.text("#external")
        assert "were not placed by Aristobot" in words
        assert "30,000.00" in words
        assert await watched.page.locator("#external :is(button, a, form)").count() == 0
        await watched.page.locator("#external").scroll_into_view_if_needed()
        await shot(watched, "external-1440")
        gone = {"symbol": "BTCUSDT", "orderId": placed.document["orderId"]}
        await asyncio.to_thread(lambda: elsewhere.call("DELETE", "/api/v3/order", gone))
        await watched.see("#external tbody tr", count=0, within_s=30)
