"""A person updates an exchange's symbols, watches it happen, and finds one."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.postgres import connected
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

EXCHANGE_INFO = "/api/v3/exchangeInfo"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    made = make_trader(shared_server, market).sign_up()
    assert [found["symbol"] for found in made.call("GET", "/api/symbols")["items"]] == ["BTC/USDT", "ETH/USDT"]
    return made


@pytest.fixture
def slow_change(trader: Trader, market: EmulatorProcess) -> Iterator[None]:
    """The exchange has changed a rule, and takes three seconds to say so."""
    market.change_symbol("ETHUSDT", min_notional="6")
    market.fault("delay", method="GET", path=EXCHANGE_INFO, delay_ms=3000)
    yield
    market.control("DELETE", "/_fault")
    market.change_symbol("ETHUSDT", min_notional="5")


async def shows(watched: Watched, selector: str, words: str) -> None:
    async def holds() -> bool:
        return await watched.page.locator(selector).count() == 1 and words in await watched.text(selector)

    await eventually_async(holds, f"{words!r} in {selector}")


@pytest.mark.usefixtures("slow_change")
async def test_an_update_is_followed_to_its_counts_and_the_list_changes_by_itself(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.click("nav.rail a[href='/symbols']")
        await watched.see("#symbols tbody tr", count=2)
        await watched.become_live()
        await page.click("#update-form button")
        await watched.see("#update-binance progress")
        await page.reload()
        await watched.see("#update-binance[data-state=running] progress")
        await shows(watched, "#update-binance .update-counts", "0 added 1 updated 0 removed")
        assert "ETH/USDT" in await watched.text("#update-binance .update-names")
        await shows(watched, "#symbols tbody tr:nth-child(2)", "6 USDT")

        await page.click("#update-form button")
        await watched.see(".toast.warning")
        assert "less than a minute ago" in await watched.text(".toast.warning p")


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_symbol_is_found_as_one_types_and_the_address_keeps_the_question(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/symbols")
        await watched.see("#symbols tbody tr", count=2)
        assert await watched.overflow() <= 0
        await page.locator("#search").press_sequentially("eth-us")
        await watched.see("#symbols tbody tr", count=1)
        assert "ETH/USDT" in await watched.text("#symbols td.head")
        await page.click(".chip:has(input[value=USDT])")
        await watched.see("#symbols tbody tr", count=1)
        await page.wait_for_url("**/symbols?exchange=binance&search=eth-us&quote=USDT")
        await page.reload()
        await watched.see("#symbols tbody tr", count=1)
        assert await page.input_value("#search") == "eth-us"
        await page.fill("#search", "doge")
        await watched.see("#symbols .region-state")
        assert await watched.overflow() <= 0

        assert await page.locator("input[name=quote][value=USDT]").is_checked(), "the answers leave the choice as it is"

        await page.select_option("#exchange", "kraken")
        await page.wait_for_url("**/symbols?exchange=kraken")
        assert "Nothing is known of Kraken yet" in await watched.text("#symbols")


async def many(shared_urls: DatabaseUrls) -> None:
    """An exchange with more symbols than a page holds, two of them at the end of the alphabet."""
    async with connected(shared_urls.owner) as owner:
        await owner.execute(
            "INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)"
            " SELECT gen_random_uuid(), 'gate', 'C' || n || '/USDC', 'spot', 'C' || n, 'USDC', true, now(), 1e-10, 1, '{}'"
            " FROM generate_series(1000, 1101) n"
        )


async def test_a_long_list_is_paged_from_its_top_and_back(browser: Browser, trader: Trader, shared_urls: DatabaseUrls) -> None:
    await many(shared_urls)
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/symbols?exchange=gate")
        await watched.see("#symbols tbody tr", count=100)
        assert "0.0000000001" in await watched.text("#symbols tbody tr:first-child td:nth-child(2)")
        await page.get_by_role("button", name="Next page").click()
        await watched.see("#symbols tbody tr", count=2)
        assert await page.locator("#search").is_visible()
        await page.get_by_role("button", name="First page").click()
        await watched.see("#symbols tbody tr", count=100)
        top = await page.evaluate("document.getElementById('symbols-filter').getBoundingClientRect().top")
        assert 0 <= top < 300
