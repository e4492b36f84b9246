"""A person backtests a strategy in a real Chromium: from the editor to the result, canceled on the way, again, and two runs compared."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.core.clock import SystemClock
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, Watched, watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.journeys.eventually import eventually, eventually_async
from tests.journeys.strategy_page import SOURCE, make_strategy
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: Takes its time at each candle, so that a person can look on.
SLOW = SOURCE.replace("    def should_long(self) -> bool:\n", "    def should_long(self) -> bool:\n        sum(range(6_000_000))\n")
WRONG = SOURCE.replace("crossed_above(self.fast_line, self.slow_line)", "crossed_above(self.fast_line, slow_line)")
WRONG_LINE = 18
#: Enters at each third candle, so that there is more than one page of trades.
BUSY = SOURCE.replace("ta.crossed_above(self.fast_line, self.slow_line)", "True").replace(
    "ta.crossed_below(self.fast_line, self.slow_line)", "True"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that has stored ten hours of minutes."""
    urls = await postgres.create_database()
    settings = settings_for(market, urls, registration="open", heartbeat_history_minutes=590)
    with ServerProcess(tmp_path_factory.mktemp("backtests"), **settings) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, market).sign_up()


async def shot(watched: Watched, name: str) -> None:
    """Take a picture if SHOTS names a folder."""
    folder = os.environ.get("SHOTS")
    if folder:
        await watched.page.screenshot(path=f"{folder}/{name}.png")


def make(trader: Trader, source: str = SOURCE) -> int:
    """Make a backtest of a new strategy over the last hours and return its number."""
    now = SystemClock().now()
    body = {"strategy_id": make_strategy(trader, source), "symbol": "BTC/USDT", "start_at": (now - timedelta(hours=8)).isoformat()}
    return int(trader.call("POST", "/api/backtests", json={**body, "end_at": now.isoformat()})["number"])


def ended(trader: Trader, *numbers: int) -> None:
    """Wait until these backtests are over."""

    def are_over() -> bool:
        found = {one["number"]: one["state"] for one in trader.call("GET", "/api/backtests")["items"]}
        return all(found[number] in ("completed", "failed", "canceled") for number in numbers)

    eventually(are_over, f"backtests {numbers} are over", within_s=30)


async def percent(watched: Watched) -> float:
    return float(await watched.page.locator("#progress-bar").get_attribute("value") or 0)


async def reads(watched: Watched, selector: str) -> int:
    """How many canvases a chart has drawn that have a size."""
    found: int = await watched.page.evaluate(
        "(selector) => [...document.querySelectorAll(`${selector} canvas`)].filter((one) => one.width > 100).length", selector
    )
    return found


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_from_the_editor_through_progress_and_cancel_to_a_run_again(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    url = trader.server.url
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(url, trader.username, trader.password)
        await page.goto(f"{url}/strategies/{make_strategy(trader, SLOW)}")
        await page.click("#sed-backtest")
        await watched.see("#param-fast")
        assert await page.input_value("#bt-symbol") == "BTC/USDT"
        await page.fill("#bt-capital", "none")
        await page.click("#backtest-form button[type=submit]")
        await watched.hear("422")
        assert "not a number" in await watched.text("#bt-capital-note"), "said beside the field"
        await shot(watched, f"backtest-form-{size[0]}")
        await page.fill("#bt-capital", "5000")
        await page.fill("#param-fast", "4")
        await page.click("#backtest-form button[type=submit]")
        await page.wait_for_url("**/backtests/1")
        await watched.see("#backtest-progress[data-state=running]", within_s=20)
        await eventually_async(lambda: _is_above(watched, 0), "it is further", within_s=15)
        await eventually_async(lambda: _is_drawn(watched, "#growing-chart"), "the curve grows", within_s=15)
        await shot(watched, f"backtest-running-{size[0]}")
        await page.reload()
        assert await percent(watched) > 0, "a page that is opened anew knows how far it is"
        await page.click("#backtest-cancel")
        await watched.see("#backtest-kpis", within_s=6)
        assert "Canceled" in await watched.text("#backtest-head h1")
        assert "part that was decided" in await watched.text("#backtest-kpis")
        await shot(watched, f"backtest-canceled-{size[0]}")
        await page.click("#backtest-again")
        await page.wait_for_url("**/backtests/2")
        assert "5,000.00" in await watched.text("#backtest-head")
        await page.click("#backtest-head summary")
        assert "fast 4" in await watched.text("#backtest-head .entry-facts")
        await watched.see("#backtest-progress", within_s=10)
        await page.click("#backtest-cancel")
        await watched.see("#backtest-again", within_s=8)
        assert await watched.overflow() <= 0


async def _is_above(watched: Watched, least: float) -> bool:
    return await percent(watched) > least


async def _is_drawn(watched: Watched, selector: str) -> bool:
    return await reads(watched, selector) > 0


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_result_its_trades_on_the_chart_and_two_runs_compared(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    url = trader.server.url
    first, second = make(trader, BUSY), make(trader)
    ended(trader, first, second)
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(url, trader.username, trader.password)
        await page.goto(f"{url}/backtests")
        await watched.see("#backtests tbody tr[id]", count=2)
        assert await page.is_disabled("#compare-button")
        await shot(watched, f"backtests-{size[0]}")
        await page.click(f"#backtest-{first} td.head a")
        await eventually_async(lambda: _is_drawn(watched, "#curve-chart"), "the curve is drawn")
        await page.locator("#backtest-price").scroll_into_view_if_needed()
        await eventually_async(lambda: _is_drawn(watched, "#price-chart"), "the candles are drawn")
        await shot(watched, f"backtest-{size[0]}")
        for link in await page.locator("#backtest-export a").all():
            answer = await page.request.get(f"{url}{await link.get_attribute('href')}")
            assert (answer.status, len(await answer.body()) > 100) == (200, True), await link.inner_text()
        await page.click("#trades-worst")
        await watched.see("#trades-worst[aria-pressed=true]")
        await page.locator("#backtest-trades tr[data-trade] button").first.click()
        await watched.see("#backtest-trades tr.is-chosen")
        number = await page.locator("#backtest-trades tr.is-chosen").get_attribute("data-trade")
        assert f"#{number}" in (await page.locator("#price-legend").text_content() or ""), "the chart says which one it shows"
        await page.locator("#curve-data summary").click()
        await watched.see("#curve-data table")
        await shot(watched, f"backtest-trade-{size[0]}")
        await page.goto(f"{url}/backtests")
        for run in (first, second):
            await page.check(f"#backtest-{run} input[name=run]")
        await page.click("#compare-button")
        await watched.see("[data-run]", count=2)
        await eventually_async(lambda: _is_drawn(watched, "#overlay-chart"), "both curves are drawn")
        assert f"#{first}" in await watched.text(".bt-metrics thead")
        await shot(watched, f"backtest-compare-{size[0]}")
        assert await watched.overflow() <= 0
        await page.goto(f"{url}/backtests/{second}")
        await page.click("#backtest-head .btn.danger")
        await page.click("#backtest-delete button[type=submit]")
        await watched.see("#backtests tbody tr[id]", count=1)


async def test_a_run_that_fails_leads_to_its_line_in_the_editor(browser: Browser, trader: Trader) -> None:
    number = make(trader, WRONG)
    ended(trader, number)
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await watched.page.goto(f"{trader.server.url}/backtests/{number}")
        assert "slow_line" in await watched.text("#backtest-failure")
        await shot(watched, "backtest-failed")
        await watched.page.click("#backtest-failure a")
        await watched.see("code-editor#sed-code[data-ready]")
        line = "() => document.getElementById('sed-code').shadowRoot.querySelector('.cm-activeLine')?.textContent"

        async def is_there() -> bool:
            return "slow_line" in (await watched.page.evaluate(line) or "")

        await eventually_async(is_there, f"the cursor is in line {WRONG_LINE}")
