"""The order ticket as a person uses it: in a real Chromium, at both widths, by mouse and by keyboard."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, running_chromium, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

DIALOG = "#ticket-dialog[open]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as running:
        yield running


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up().set_up()


async def shot(watched: Watched, name: str) -> None:
    folder = os.environ.get("SHOTS")
    if folder:
        await watched.page.screenshot(path=f"{folder}/{name}.png", full_page=True)


async def orders(trader: Trader) -> Any:
    return (await asyncio.to_thread(trader.call, "GET", "/api/orders?limit=500"))["items"]


async def open_ticket(watched: Watched, trader: Trader) -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.page.goto(f"{trader.server.url}/trading/ticket?symbol=BTCUSDT")
    await has_figure(watched, "Available", "USDT")


async def has_figure(watched: Watched, *words: str) -> None:
    async def does() -> bool:
        told = await watched.text("#ticket-figures")
        return all(word in told for word in words)

    await eventually_async(does, f"the figures say {words}")


async def value(watched: Watched, field: str) -> str:
    return await watched.page.input_value(f"#tk-{field}")


async def follows(watched: Watched, field: str, wanted: str) -> None:
    async def does() -> bool:
        return (await value(watched, field)).startswith(wanted)

    await eventually_async(does, f"{field} becomes {wanted}…")


async def choose(watched: Watched, name: str, chosen: str) -> None:
    await watched.page.check(f"#ticket-form [name={name}][value={chosen}]", force=True)


async def price_now(trader: Trader) -> float:
    found = await asyncio.to_thread(trader.call, "GET", "/api/ticker?exchange=binance&symbol=BTCUSDT")
    return float(found["last"])


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_market_buy_is_computed_asked_about_and_sent_once(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with watched_page(browser, size) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        assert await watched.overflow() <= 0
        await page.fill("#tk-amount", "600")
        await follows(watched, "quantity", "0.0")
        assert await value(watched, "amount") == "600", "what was typed stays as it is"
        assert await page.get_attribute("#ticket-form", "data-source") == "amount"
        assert await page.evaluate("document.activeElement.id") == "tk-amount", "the figures take no focus"
        await page.fill("#tk-quantity", "0,01")
        await has_figure(watched, "Buy 0.01000 BTC")
        assert float(await value(watched, "amount")) > 100
        await shot(watched, f"ticket-{size[0]}")
        await page.click("#ticket-submit")
        await watched.see(DIALOG)
        assert await watched.text("#ticket-dialog :focus") == "Cancel", "a stray Enter sends nothing"
        assert "0.01000 BTC" in await watched.text(DIALOG)
        await shot(watched, f"ticket-review-{size[0]}")
        assert await orders(trader) == []
        await page.dblclick("#ticket-confirm")
        await watched.see("#ticket-result .note.ok")
        await watched.see(DIALOG, count=0)
        assert "Bought 0.01000 BTC" in await watched.text("#ticket-result")
        assert [order["state"] for order in await orders(trader)] == ["filled"]
        await shot(watched, f"ticket-sent-{size[0]}")


async def test_two_clicks_and_two_enters_make_one_order_where_nobody_is_asked(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.call, "PUT", "/api/auth/preferences", json={"confirm_orders": False})
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        await page.fill("#tk-quantity", "0.01")
        await has_figure(watched, "Buy 0.01000 BTC")
        await page.evaluate("() => { for (let i = 0; i < 4; i++) document.getElementById('ticket-form').requestSubmit(); }")
        await watched.see("#ticket-result .note.ok")
        assert len(await orders(trader)) == 1
        first = await page.input_value("#ticket-intent")
        await page.focus("#tk-quantity")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")

        async def has_sent() -> bool:
            return len(await orders(trader)) == 2

        await eventually_async(has_sent, "the next wish is an order of its own")
        await asyncio.sleep(0.5)
        assert len(await orders(trader)) == 2
        assert await page.input_value("#ticket-intent") != first


async def test_a_limit_that_only_rests_and_a_price_from_the_book(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        price = f"{int(await price_now(trader) * 0.9)}.00"
        await page.evaluate(f'() => document.dispatchEvent(new CustomEvent("ticket:price", {{detail: {{price: "{price}"}}}}))')
        assert await value(watched, "price") == price
        assert await page.is_checked("#ticket-form [name=kind][value=limit]")
        await page.check("#tk-post_only")
        await page.evaluate('() => document.dispatchEvent(new CustomEvent("ticket:percent", {detail: {percent: 25}}))')
        await has_figure(watched, "maker")
        await page.evaluate('() => document.dispatchEvent(new CustomEvent("ticket:review"))')
        await watched.see(DIALOG)
        assert "GTC · post-only" in await watched.text(DIALOG)
        await page.click("#ticket-confirm")
        await watched.see("#ticket-result .note.ok")
        (order,) = await orders(trader)
        assert (order["state"], order["type"], order["post_only"]) == ("open", "limit", True)


async def test_a_bracket_with_two_targets_says_what_it_places_and_places_it(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        price = await price_now(trader)
        await page.click("#ticket-bracket summary")
        await page.fill("#tk-stop_loss", f"{price * 0.5:.2f}")
        await page.fill("#tk-target_price-0", f"{price * 1.5:.2f}")
        await page.fill("#tk-target_percent-0", "50")
        await page.fill("#tk-target_price-1", f"{price * 1.6:.2f}")
        await page.fill("#tk-target_percent-1", "50")
        await page.fill("#tk-break_even_after", "1")
        await page.select_option("#tk-risk_unit", "money")
        await page.fill("#tk-risk", "300")
        await has_figure(watched, "are placed at Binance as OCO", "Reward to risk", "Once target 1 is reached")
        assert await page.get_attribute("#ticket-bracket", "open") is not None, "the figures close nothing"
        await shot(watched, "ticket-bracket")
        await page.click("#ticket-submit")
        await watched.see(DIALOG)
        await shot(watched, "ticket-bracket-review")
        await page.click("#ticket-confirm")
        await watched.see("#ticket-result .note.ok")

        async def are_placed() -> bool:
            return sorted(order["role"] for order in await orders(trader)) == ["entry", "stop", "stop", "target", "target"]

        await eventually_async(are_placed, "two pairs guard the position")


async def test_a_pair_is_placed_from_the_ticket(browser: Browser, trader: Trader) -> None:
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.02"})
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        price = await price_now(trader)
        await choose(watched, "kind", "oco")
        await choose(watched, "side", "sell")
        assert not await page.is_visible("#ticket-bracket")
        await page.fill("#tk-trigger_price", f"{price * 0.8:.2f}")
        await page.fill("#tk-price", f"{price * 1.2:.2f}")
        await page.fill("#tk-quantity", "0.01")
        await has_figure(watched, "Sell 0.01000 BTC")
        await page.click("#ticket-submit")
        await watched.see(DIALOG)
        await page.click("#ticket-confirm")
        await watched.see("#ticket-result .note.ok")
        stop, limit, _ = await orders(trader)
        assert stop["group_id"] == limit["group_id"] is not None
        assert {stop["state"], limit["state"]} == {"open"}


async def test_one_order_goes_to_two_accounts_that_are_ticked(browser: Browser, trader: Trader, market: EmulatorProcess) -> None:
    market.open_account(f"second-of-{trader.username}", "secret-of-a-second", {"USDT": "1000"})
    keys = {"api_key": f"second-of-{trader.username}", "api_secret": "secret-of-a-second"}
    await asyncio.to_thread(trader.call, "POST", "/api/brokers", json={"exchange": "binance", "name": "Second", **keys})
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        await page.click("#ticket-accounts summary")
        await page.get_by_role("checkbox", name="Second").check()
        await page.click("#ticket-accounts summary")
        await watched.see("#ticket-accounts:not([open]) summary .pill", count=2)
        await page.click("#ticket-form button[data-percent='50']")
        await has_figure(watched, "Second", "Buy BTC on 2 accounts")
        await shot(watched, "ticket-two-accounts")
        await page.click("#ticket-submit")
        await watched.see(f"{DIALOG} .tk-account", count=2)
        await shot(watched, "ticket-two-accounts-review")
        await page.click("#ticket-confirm")
        await watched.see("#ticket-result .note.ok", count=2)
        assert sorted(order["state"] for order in await orders(trader)) == ["filled", "filled"]
        assert "500" in [order["notional"] for order in await orders(trader)]


async def test_what_is_halted_after_the_question_was_asked_is_not_sent_and_says_so(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        await page.fill("#tk-quantity", "0.01")
        await has_figure(watched, "Buy 0.01000 BTC")
        await page.click("#ticket-submit")
        await watched.see(DIALOG)
        await asyncio.to_thread(trader.call, "POST", "/api/kill-switch", json={"scope": "user", "action": "stop", "confirm": True})
        await page.click("#ticket-confirm")
        await watched.see(DIALOG, count=0)
        await watched.see("#ticket-form > .note.err")
        assert "trading is halted" in (await watched.text("#ticket-form > .note.err")).lower()
        assert await value(watched, "quantity") == "0.01", "what was typed is still there"
        await watched.hear("422")
        assert await orders(trader) == []


async def test_a_denied_order_says_why_at_its_field_and_the_keyboard_stands_there(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        page = watched.page
        await open_ticket(watched, trader)
        await page.fill("#tk-amount", "3")
        await is_told(watched, "is below the exchange minimum")
        assert await page.get_attribute("#tk-amount", "aria-invalid") == "true"
        await page.click("#ticket-submit")

        async def stands_there() -> bool:
            return bool(await page.evaluate("document.activeElement.id") == "tk-amount")

        await eventually_async(stands_there, "the first mistake has the focus")
        await is_told(watched, "is below the exchange minimum")
        await shot(watched, "ticket-denied")
        await page.fill("#tk-amount", "1.234,5")
        await page.keyboard.press("Enter")
        await is_told(watched, "This must be a number above 0")
        await eventually_async(stands_there, "the mistake has the focus")
        await watched.hear("422")
        await page.fill("#tk-amount", "50")
        await has_figure(watched, "Expected price")
        await is_told(watched, "")
        assert await page.get_attribute("#tk-amount", "aria-invalid") is None
        assert await orders(trader) == []


async def is_told(watched: Watched, words: str) -> None:
    async def does() -> bool:
        told = (await watched.page.locator("#tk-amount-note").inner_text()).strip()
        return words in told if words else told == ""

    await eventually_async(does, f"the field says {words!r}")
