"""A person adds, tries, edits and deletes a broker account with a mouse and a keyboard."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

CARD = "article.broker"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


def refused(complaint: str) -> bool:
    """What the browser says of an answer that sends a form back."""
    return "status of 422" in complaint


async def open_brokers(watched: Watched, trader: Trader) -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.page.goto(f"{trader.server.url}/brokers")


async def accounts(trader: Trader) -> list[Any]:
    return list((await asyncio.to_thread(trader.call, "GET", "/api/brokers"))["items"])


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_keys_are_tried_in_the_dialog_before_they_are_stored(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    await asyncio.to_thread(trader.open_account)
    await asyncio.to_thread(trader.emulator.change_key, trader.api_key, withdrawals=True)
    async with watched_page(browser, size) as watched:
        page = watched.page
        await open_brokers(watched, trader)
        await page.click(".page-head button[commandfor=broker-dialog]")
        assert not await page.locator("#broker-api_key").is_visible(), "a paper account needs no keys"
        await page.select_option("#broker-exchange", "okx")
        await watched.see("#broker-api_password")
        await page.select_option("#broker-exchange", "binance")
        await watched.see("#broker-api_password", count=0)
        await page.fill("#broker-name", "Main")
        await page.fill("#broker-api_key", "a-key-that-nobody-knows")
        await page.fill("#broker-api_secret", "and its secret")
        await page.press("#broker-api_secret", "Enter")
        await watched.see("#broker-try .steps .failed", within_s=30)
        assert "Key : failed The exchange refuses this key" in await watched.text("#broker-try")
        assert await watched.overflow() <= 0
        assert await accounts(trader) == []
        watched.forget(refused)

        await page.fill("#broker-api_key", trader.api_key)
        await page.fill("#broker-api_secret", trader.api_secret)
        await page.click("#broker-try-button")
        await watched.see("#broker-try .steps .ok", count=4)
        steps = await watched.text("#broker-try")
        assert "Balance : fine 100000 USDT" in steps
        assert "This key may withdraw." in steps
        await page.click("#broker-form button.primary")
        await watched.see(CARD)
        await watched.see("dialog[open]", count=0)
        assert "Ready" in await watched.text(f"{CARD} .broker-status")
        assert "This key may withdraw." in await watched.text(CARD)
        assert await watched.overflow() <= 0
        assert trader.api_secret not in await page.content()
    (made,) = await accounts(trader)
    assert (made["last_connection_success"], made["key_rights"]["can_withdraw"]) == (True, True)


async def test_an_account_is_edited_without_retyping_its_keys(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.open_account)
    await asyncio.to_thread(trader.add_broker)
    async with watched_page(browser) as watched:
        page = watched.page
        await open_brokers(watched, trader)
        await page.click(f"{CARD} button[id$='-edit']")
        await watched.see("#broker-card-dialog[open]")
        assert await page.input_value("#edit-api_key") == ""
        await page.click("#edit-try-button")
        await watched.see("#edit-try .steps .ok", count=5)
        await page.fill("#edit-name", "Swing")
        await page.fill("#edit-description", "Held for weeks")
        for mode in ("webhook", "bot"):
            await page.uncheck(f"#edit-modes input[value={mode}]")
        await page.click("#broker-edit button.primary")
        await watched.see("dialog[open]", count=0)
        card = await watched.text(CARD)
        assert "Swing" in card
        assert "Held for weeks" in card
        assert "Trading mode By hand API key" in card
        await page.click(f"{CARD} button[id$='-test-button']")
        await watched.see(f"{CARD} .steps .ok", count=5)

        await page.click(f"{CARD} button[id$='-capabilities']")
        await watched.see("#broker-card-dialog[open]")
        assert "Trailing stop At the exchange" in await watched.text("#broker-card-dialog")
        await page.keyboard.press("Escape")
        await watched.see("dialog[open]", count=0)
    (changed,) = await accounts(trader)
    assert (changed["name"], changed["trading_modes"]) == ("Swing", ["manual"])


async def test_deleting_an_account_with_an_open_order_explains_and_asks(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.set_up)
    limit = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "55000"}
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=limit)
    await asyncio.to_thread(trader.call, "POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    async with watched_page(browser) as watched:
        page = watched.page
        await open_brokers(watched, trader)
        await page.click(f"#broker-{trader.broker_id}-delete")
        await watched.see("#broker-card-dialog[open]")
        question = await watched.text("#broker-card-dialog")
        assert "1 open order, which is canceled" in question
        assert "1 webhook trades on this account" in question
        assert "“Practice” becomes the default account." in question
        submit = page.locator("#broker-delete button.danger")
        await page.fill("#broker-delete-confirm", trader.api_key)
        await submit.click()
        await watched.see(CARD, count=2)  # the switch must be set first
        await page.check("#broker-delete input[name=end]")
        await submit.click()
        await watched.see(CARD, count=1)
        await watched.see("dialog[open]", count=0)
        assert "Default" in await watched.text(CARD)
    assert [order["status"] for order in trader.placed()] == ["CANCELED"]
    assert [account["name"] for account in await accounts(trader)] == ["Practice"]


async def test_another_account_becomes_the_default(browser: Browser, trader: Trader) -> None:
    for name in ("First", "Second"):
        await asyncio.to_thread(trader.call, "POST", "/api/brokers", json={"exchange": "paper", "name": name})
    async with watched_page(browser) as watched:
        await open_brokers(watched, trader)
        await watched.see(CARD, count=2)
        await watched.page.click(f"{CARD} button[id$='-default']")
        await watched.see(f"{CARD}:first-child[aria-label='Second']")
        await watched.see(f"{CARD} button[id$='-default']")
    assert [account["name"] for account in await accounts(trader) if account["is_default"]] == ["Second"]
