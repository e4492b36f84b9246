"""A person writes a strategy with a mistake in a real Chromium, sees it on its line, repairs it, validates, saves and tries it."""

from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator

from tests.app.ai_server import KEY, AiServer, ai_server
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.journeys.strategy_page import SOURCE, StrategyPage, make_strategy
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WRONG = SOURCE.replace("crossed_above(self.fast_line, self.slow_line)", "crossed_above(self.fast_line, slow_line)")
WRONG_LINE = 18
#: A strategy that knows the candle after the present one.
PEEKS = SOURCE.replace("self.slow_line = ta.EMA(candles.close, self.slow)", "self.slow_line = np.roll(candles.close, -1)").replace(
    "from aristobot", "import numpy as np\nfrom aristobot"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[AiServer]:
    """An AI provider on this machine."""
    async with ai_server() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    provider: AiServer, market: EmulatorProcess, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that has stored ten hours of minutes, in which a strategy is tried."""
    urls = await postgres.create_database()
    ours = {"registration": "open", "heartbeat_history_minutes": 590, "openrouter_url": f"{provider.url}/v1"}
    settings = settings_for(market, urls, **ours)
    with ServerProcess(tmp_path_factory.mktemp("strategies"), **settings) as process:
        yield process
    await postgres.drop_database(urls)


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, market).sign_up()


async def steps(editor: StrategyPage) -> dict[str, str]:
    """What came of each step."""
    found: list[list[str]] = await editor.page.evaluate(
        "() => [...document.querySelectorAll('.sed-step')].map((step) => [step.id.slice(5), step.dataset.state])"
    )
    return dict(found)


async def is_over(editor: StrategyPage, button: str) -> None:
    """Wait until what a button started has ended."""
    await editor.until(f"() => !document.getElementById('{button}').disabled", f"{button} has ended", within_s=60)


def drawn(editor: StrategyPage) -> Locator:
    return editor.page.locator("#trial-chart canvas")


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_from_a_mistake_through_the_assistant_to_a_saved_version_and_its_backtest(
    browser: Browser, trader: Trader, provider: AiServer, size: tuple[int, int]
) -> None:
    trader.call("PUT", "/api/auth/preferences", json={"ai_provider": "openrouter", "ai_api_key": KEY, "ai_model": "vendor/clever"})
    provider.says(f"The name lacks its `self.`:\n\n```python\n{SOURCE}```\n")
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()
        await editor.replace_all(WRONG)
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        await watched.see(f".sed-problem[data-mark='{WRONG_LINE}'] >> nth=0")
        await editor.show("assistant")
        await editor.page.fill("#assistant-question", "What is wrong here?")
        await editor.page.click("#assistant-ask")
        await watched.see("#sed-accept:visible")
        assert await editor.text() == WRONG, "nothing is changed before it is accepted"
        assert "slow_line" in await watched.text("#sed-diff .cm-deletedChunk")
        await editor.shot(f"strategy-accept-{size[0]}")
        await editor.page.click("#sed-accept")
        assert await editor.text() == SOURCE
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        await watched.see("#sed-state .pill.ok")
        await editor.type_at_end("# by the assistant")
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        await editor.page.keyboard.press("Control+s")
        await watched.see("#sed-state[data-number='2'] .pill.ok")
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        await watched.see("#sed-trial .sed-numbers")
        assert await drawn(editor).count() > 0
    asked = orjson.loads(provider.asked[-1])["messages"][-1]["content"]
    assert f"line {WRONG_LINE}" in asked, "the assistant is told what was found"


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_mistake_is_shown_on_its_line_and_gone_once_it_is_repaired(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()
        await editor.replace_all(WRONG)
        await editor.is_kept()
        # Nobody has asked yet: it is looked at while it is written.
        await editor.watched.see("#sed-code .cm-lint-marker-error")
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        assert (await steps(editor))["lint"] == "failed"
        row = editor.page.locator(f".sed-problem[data-mark='{WRONG_LINE}']").first
        assert "slow_line" in await row.inner_text()
        await editor.shot(f"strategy-problem-{size[0]}")
        await row.get_by_role("button").click()
        assert await editor.page.evaluate("() => document.activeElement.id") == "sed-code"
        await editor.page.keyboard.insert_text("self.")
        assert await editor.text() == SOURCE, "the cursor was put where the mistake is"
        await editor.page.keyboard.press("Control+Enter")
        await is_over(editor, "sed-validate")
        assert set((await steps(editor)).values()) <= {"passed", "warned"}
        assert await watched.page.locator("#sed-code .cm-lint-marker-error").count() == 0
        await watched.see("#sed-state .pill.ok:visible")
        await editor.shot(f"strategy-valid-{size[0]}")
        await editor.type_at_end("# repaired")
        await editor.watched.see("[data-of-text=changed]:visible")


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_valid_text_is_saved_as_a_valid_version_and_tried(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()
        await editor.type_at_end("# v2")
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        await watched.see("#sed-state .pill.ok")
        await editor.page.click("#sed-save")
        await watched.see("#sed-state[data-number='2'] .pill.ok")
        await watched.see("#sed-versions [data-version='2'] .pill.ok")
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        await watched.see("#sed-trial .sed-numbers")
        assert await drawn(editor).count() > 0
        await editor.until("() => document.querySelector('#trial-chart canvas').width > 100", "the chart has its room")
        await editor.shot(f"strategy-trial-{size[0]}")
        first = await watched.text("#sed-trial .sed-numbers")
        await editor.show("results")
        await editor.page.click("#sed-tab-parameters")
        await editor.page.fill("#param-fast", "2")
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        assert await watched.text("#sed-trial .sed-numbers") != first, "the value that was typed is used"
        assert await editor.page.input_value("#param-fast") == "2"
        assert "param(5" in await editor.text(), "the source says what it said"
        assert await watched.overflow() <= 0


async def test_a_parameter_that_cannot_be_is_said_beside_its_field(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        await editor.show("results")
        await editor.page.click("#sed-tab-parameters")
        await editor.page.fill("#param-fast", "51")
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        assert "outside its bounds" in (await editor.page.locator("#param-fast-note").text_content() or "")
        assert "Parameters" in await watched.text("#sed-trial")


async def test_a_strategy_that_looks_ahead_is_told_so_and_is_not_valid(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader, PEEKS)}").open()
        await editor.page.click("#sed-validate")
        await is_over(editor, "sed-validate")
        assert (await steps(editor))["look_ahead"] == "failed"
        assert "slow_line" in await watched.text("#sed-problems")
        await watched.see("#sed-state .pill.err")
        assert "Looks ahead" in await watched.text("#sed-state")
        await editor.shot("strategy-look-ahead")


async def test_what_a_strategy_prints_and_where_it_fails_is_shown(browser: Browser, trader: Trader) -> None:
    source = SOURCE.replace(
        "    def should_exit",
        '    def should_short(self) -> bool:\n        print("hello from inside")\n        return 1 / 0\n\n    def should_exit',
    )
    async with watched_page(browser) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader, source)}").open()
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        assert "ZeroDivisionError" in await watched.text("#sed-trial")
        await editor.page.locator("#sed-trial [data-line]").click()
        await editor.page.keyboard.press("Home")
        await editor.page.keyboard.insert_text("return False  # ")
        await editor.page.click("#sed-try")
        await is_over(editor, "sed-try")
        await watched.see("#sed-trial .sed-numbers")
        await editor.page.click("#sed-tab-output")
        assert "hello from inside" in await watched.text("#sed-output")
