"""The numbers on the page of a result are those of the stored report, read back off a real Chromium in both languages."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from app.core.clock import SystemClock
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.strategy_page import SOURCE, make_strategy
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BUSY = SOURCE.replace("ta.crossed_above(self.fast_line, self.slow_line)", "True").replace(
    "ta.crossed_below(self.fast_line, self.slow_line)", "self.position.candles_held > 2"
)
_NUMBER = re.compile(r"[+−-]?\d[\d\s\u00a0\u202f.,]*")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that has stored ten hours of minutes."""
    urls = await postgres.create_database()
    settings = settings_for(market, urls, registration="open", heartbeat_history_minutes=590)
    with ServerProcess(tmp_path_factory.mktemp("numbers"), **settings) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, market).sign_up()


def numbers(text: str, language: str) -> list[float]:
    """Return the numbers of a text that is written in a language."""
    found = []
    for match in _NUMBER.findall(text):
        plain = re.sub(r"[\s\u00a0\u202f]", "", match).replace("−", "-").rstrip(".,")
        plain = plain.replace(",", "") if language == "en" else plain.replace(",", ".")
        found.append(float(plain))
    return found


async def rows(page: Page, selector: str) -> list[list[str]]:
    found: list[list[str]] = await page.evaluate(
        "(selector) => [...document.querySelectorAll(selector)].map((row) => [...row.children].map((one) => one.innerText))", selector
    )
    return found


def completed(trader: Trader, source: str) -> dict[str, Any]:
    now = SystemClock().now()
    body = {"strategy_id": make_strategy(trader, source), "symbol": "BTC/USDT", "start_at": (now - timedelta(hours=8)).isoformat()}
    made = trader.call("POST", "/api/backtests", json={**body, "end_at": now.isoformat()})
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(trader.call("GET", f"/api/backtests/{made['id']}"))
        return found["state"] in ("completed", "failed", "canceled")

    eventually(is_over, "the backtest is over", within_s=60)
    assert found["state"] == "completed", found["error"]
    return found


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_the_page_has_the_numbers_of_the_stored_report(browser: Browser, trader: Trader, language: str) -> None:
    found = completed(trader, BUSY)
    report, kpis = found["report"], found["report"]["kpis"]
    trader.call("PUT", "/api/auth/preferences", json={"theme": "dark", "language": language})
    async with watched_page(browser) as watched:
        page = watched.page
        await watched.log_in(trader.server.url, trader.username, trader.password)
        await page.goto(f"{trader.server.url}/backtests/{found['number']}")
        assert await page.get_attribute("html", "lang") == language
        shown = [numbers(text, language) for text in await page.locator("#backtest-kpis dd").all_inner_texts()]
        assert shown[0] == pytest.approx([kpis["net_return"] * 100, float(kpis["net"])], abs=0.051)
        assert shown[0][1] == pytest.approx(float(kpis["net"]), abs=0.0051)
        assert shown[2] == pytest.approx([kpis["max_drawdown"] * 100, kpis["held_max_drawdown"] * 100], abs=0.051)
        assert shown[4] == pytest.approx([kpis["profit_factor"], kpis["payoff_ratio"]], abs=0.0051)
        assert shown[5] == pytest.approx([kpis["win_rate"] * 100, kpis["won"], kpis["closed"]], abs=0.051)
        assert shown[6][0] == kpis["closed"] + kpis["open"]
        assert shown[7] == pytest.approx([kpis["exposure"] * 100, kpis["held_return"] * 100], abs=0.051)

        costs = [numbers(row[1], language)[0] for row in await rows(page, "#backtest-costs tbody tr")]
        gross, fees, slippage, net = (float(report["costs"][name]) for name in ("gross", "fees", "slippage", "net"))
        assert costs[0] == pytest.approx(gross, abs=0.0051)
        assert costs[-1] == pytest.approx(net, abs=0.0051)
        assert sorted(costs[1:-1])[:2] == pytest.approx(sorted([-fees, -slippage]), abs=0.0051)

        reasons = [[numbers(text, language)[0] for text in row[1:]] for row in await rows(page, "#backtest-reasons tbody tr")]
        expected = [[one["trades"], one["win_rate"] * 100, float(one["profit"])] for one in report["by_exit_reason"]]
        assert len(reasons) == len(expected) > 0
        for ours, theirs in zip(reasons, expected, strict=True):
            assert ours == pytest.approx(theirs, abs=0.51)
            assert ours[2] == pytest.approx(theirs[2], abs=0.0051)
        words = [row[0] for row in await rows(page, "#backtest-reasons tbody tr")]
        assert language == "en" or not {"Strategy's exit", "exit", "Exit"} & set(words)

        told = await watched.text("#backtest-checks")
        sample = next(check for check in report["checks"] if check["code"] == "SAMPLE")
        assert str(sample["values"]["trades"]) in told
        with_percent = [check["values"] for check in report["checks"] if check["code"] == "HOLDING"]
        for value in with_percent[0].values():
            assert (value.replace("-", "−") if language == "en" else value.replace("-", "−").replace(".", ",")) in told
