"""A person searches for better parameters in a real Chromium, stops, goes on and promotes the best; and asks how robust a backtest is."""

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

#: Takes its time with each set, so that a person can look on.
SLOW = SOURCE.replace("    def should_long(self) -> bool:\n", "    def should_long(self) -> bool:\n        sum(range(9_000))\n")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that has stored ten hours of minutes."""
    urls = await postgres.create_database()
    settings = settings_for(market, urls, registration="open", heartbeat_history_minutes=590)
    with ServerProcess(tmp_path_factory.mktemp("searches"), **settings) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, market).sign_up()


def backtest(trader: Trader, strategy_id: str) -> int:
    """Make a backtest over the last hours and wait until it is over."""
    now = SystemClock().now()
    body = {"strategy_id": strategy_id, "symbol": "BTC/USDT", "timeframe": "1m", "start_at": (now - timedelta(hours=8)).isoformat()}
    made = trader.call("POST", "/api/backtests", json={**body, "end_at": now.isoformat()})
    eventually(lambda: trader.call("GET", f"/api/backtests/{made['id']}")["state"] == "completed", "it is over", within_s=30)
    return int(made["number"])


async def tried(watched: Watched) -> float:
    return float(await watched.page.locator("#search-live progress").get_attribute("value") or 0)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_fifty_trials_watched_stopped_continued_and_the_best_promoted(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    url = trader.server.url
    strategy_id = make_strategy(trader, SLOW)
    number = backtest(trader, strategy_id)
    async with watched_page(browser, size) as watched:
        page = watched.page
        await watched.log_in(url, trader.username, trader.password)
        await page.goto(f"{url}/backtests/{number}")
        await page.click("#backtest-search")
        await watched.see("#search-axes")
        assert await page.input_value("input[name='low:fast']"), "bounds are filled in"
        await page.fill("#search-trials", "0")
        await page.click("#backtest-form button[type=submit]")
        await watched.hear("422")
        assert "from 1 to" in await watched.text("#search-trials-note"), "said beside the field"
        await page.fill("#search-trials", "50")
        await page.fill("#search-least", "1")
        await page.select_option("#search-objective", "net")
        await page.click("#backtest-form button[type=submit]")
        await page.wait_for_url("**/backtests/searches/1")

        await watched.see("#search-live[data-state=running]", within_s=20)
        await eventually_async(lambda: _is_above(watched, 0), "trials come in by themselves", within_s=20)
        await page.click("#search-stop")
        await watched.see("#search-live[data-state=stopped]", within_s=8)
        stopped = await tried(watched)
        assert 0 < stopped < 50
        await page.reload()
        assert await tried(watched) == stopped, "they are kept"
        await page.click("#search-continue")
        await watched.see("#search-live[data-state=completed]", within_s=60)
        assert await tried(watched) == 50
        await watched.see("#search-heat td.is-best")
        await watched.see("#search-importance meter", count=3)
        assert await watched.overflow() <= 0

        best = page.locator("#search-trials tr.is-best")
        await best.get_by_role("button", name="Make a version").click()
        await eventually_async(lambda: _has_version(trader, strategy_id), "there is a second version", within_s=10)
        await best.get_by_role("button", name="Backtest trial").click()
        await page.wait_for_url(f"**/backtests/{number + 1}")
        await watched.see("#backtest-kpis", within_s=20)

        await page.click("#backtest-robustness")
        await page.click("#robustness-ask")
        await watched.see("#robustness-live .bt-checks li", count=5, within_s=60)
        await watched.see("#robustness-windows")
        assert await watched.overflow() <= 0


async def _is_above(watched: Watched, least: float) -> bool:
    return await tried(watched) > least


async def _has_version(trader: Trader, strategy_id: str) -> bool:
    return bool(trader.call("GET", f"/api/strategies/{strategy_id}")["newest"] == 2)
