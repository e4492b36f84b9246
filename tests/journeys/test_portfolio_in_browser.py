"""A person watches what comes and goes: the page shows it at once, leaves it out of profit, and takes down what they say it was."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import DESKTOP, PHONE, running_chromium, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually
from tests.journeys.trader import SYMBOL, Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as running:
        yield running


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


def profit(trader: Trader) -> Any:
    return trader.call("GET", "/api/portfolio")["profit"]["all"]


async def test_money_that_comes_is_shown_at_once_is_no_profit_and_is_labelled(browser: Browser, trader: Trader) -> None:
    paper = trader.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    trader.call("POST", "/api/orders", json={"symbol": SYMBOL, "side": "buy", "type": "market", "quantity": "0.05"})
    eventually(lambda: any(line["asset"] == "BTC" for line in trader.portfolio()["balances"]), "the coins are read")
    eventually(lambda: profit(trader)["amount"] is not None, "the account's worth is read")

    async with watched_page(browser, DESKTOP) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.page.goto(f"{trader.server.url}/portfolio?period=1d")
        await watched.become_live()
        await watched.see("#asset-BTC", within_s=20)
        await watched.see(".pf-slice", count=2, within_s=20)
        assert await watched.overflow() == 0

        trader.call("POST", f"/api/brokers/{paper['id']}/reset_paper")
        await watched.see("#pf-flows .pill.warn", count=2, within_s=30)
        told = profit(trader)
        assert abs(Decimal(told["amount"])) < 100, told
        await watched.see("#pf-flows select", count=2, within_s=90)
        flows = trader.call("GET", "/api/portfolio/flows")["items"]
        assert {(flow["asset"], flow["note"]) for flow in flows} == {("BTC", "reset"), ("USDT", "reset")}

        note = watched.page.locator("#pf-flows tr:has(b:text-is('USDT')) select")
        await note.select_option("income")
        await watched.see("#toasts :text('Saved.')", within_s=10)
        eventually(
            lambda: {flow["note"] for flow in trader.call("GET", "/api/portfolio/flows")["items"]} == {"income", "reset"},
            "what was said is kept",
        )
        await watched.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert await watched.overflow() == 0
        assert not watched.complaints, watched.complaints


async def test_currency_holds_at_once_on_a_page_that_is_open(browser: Browser, trader: Trader) -> None:
    trader.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    eventually(lambda: profit(trader)["amount"] is not None, "the account's worth is read")
    eventually(lambda: trader.call("GET", "/api/portfolio?currency=BTC")["rate_missing"] is None, "the rate is known")
    async with watched_page(browser, DESKTOP) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.page.goto(f"{trader.server.url}/portfolio")
        await watched.become_live()
        trader.call("PUT", "/api/auth/preferences", json={"currency": "BTC"})
        await watched.see("html[data-currency=BTC]", within_s=15)
        await watched.see("#pf-headline .unit:text-is('BTC')", within_s=15)
        trader.call("PUT", "/api/auth/preferences", json={"currency": "BRL"})
        await watched.see("#pf-headline .note.warn", within_s=15)
        assert "No rate of BRL" in await watched.text("#pf-headline .note.warn")
        assert not watched.complaints, watched.complaints
