"""A person asks the assistant beside the editor, in a real Chromium, and a provider on this machine answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.app.ai_server import DONE, KEY, AiServer, Talk, ai_server, chunk, usage
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, PHONE, watched_page
from tests.journeys.conftest import MakeTrader, settings_for
from tests.journeys.eventually import eventually_async
from tests.journeys.strategy_page import SOURCE, StrategyPage, make_strategy
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TIGHTER = SOURCE.replace("param(0.02,", "param(0.01,")
ANSWER = f"A tighter stop.\n\n```python\n{TIGHTER}```\n\nIt is hit more often: `stop_loss` is a fraction."
WRONG = SOURCE.replace("crossed_above(self.fast_line, self.slow_line)", "crossed_above(self.fast_line, slow_line)")
ASK = "#assistant-question"
LAST = "#assistant-log > article:last-child"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[AiServer]:
    async with ai_server() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    made = await postgres.create_database()
    yield made
    await postgres.drop_database(made)


@pytest.fixture(scope="module")
def server(
    provider: AiServer, market: EmulatorProcess, urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server whose administrator allows the provider, which also stands in for OpenRouter."""
    ours = {
        "registration": "open",
        "heartbeat_history_minutes": 590,
        "ollama_allowed_hosts": f"127.0.0.1:{provider.port}",
        "openrouter_url": f"{provider.url}/v1",
    }
    with ServerProcess(tmp_path_factory.mktemp("assistant"), **settings_for(market, urls, **ours)) as process:
        yield process


@pytest.fixture
def trader(server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader, provider: AiServer) -> Trader:
    provider.talks.clear()
    provider.has_left.clear()
    return make_trader(server, market).sign_up()


@asynccontextmanager
async def open_page(browser: Browser, trader: Trader, size: tuple[int, int] = DESKTOP) -> AsyncIterator[StrategyPage]:
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        page = await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()
        await watched.see("#assistant-content[data-state]")
        if size == PHONE:
            await page.show("assistant")
        yield page


def choose(trader: Trader) -> None:
    trader.call("PUT", "/api/auth/preferences", json={"ai_provider": "openrouter", "ai_api_key": KEY, "ai_model": "vendor/clever"})


async def is_over(page: StrategyPage, button: str) -> None:
    """Wait until what a button started has ended."""
    await page.until(f"() => !document.getElementById('{button}').disabled", f"{button} has ended", within_s=60)


async def said(page: StrategyPage, selector: str, words: str) -> None:
    async def is_said() -> bool:
        found = page.page.locator(selector)
        return await found.count() == 1 and words in " ".join((await found.inner_text()).split())

    await eventually_async(is_said, f"{words} in {selector}", within_s=12)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_an_answer_streams_in_and_what_it_proposes_is_accepted_into_the_editor(
    browser: Browser, trader: Trader, provider: AiServer, size: tuple[int, int]
) -> None:
    choose(trader)
    go_on = asyncio.Event()
    provider.talks.append(
        Talk(events=[chunk("", reasoning="hm"), chunk(ANSWER[:20]), go_on, chunk(ANSWER[20:]), chunk(usage=usage(1500, 200, 0.0042)), DONE])
    )
    async with open_page(browser, trader, size) as page:
        await page.page.fill(ASK, "A tighter stop, please.")
        await page.page.press(ASK, "Control+Enter")
        await said(page, LAST, "A tighter stop.")
        await said(page, "#assistant-status", "Answering")
        assert await page.page.is_visible("#assistant-stop")
        assert await page.page.is_disabled("#assistant-ask")
        go_on.set()
        await page.watched.see("#sed-compare:not([hidden])")
        assert await page.text() == SOURCE, "nothing is applied by itself"
        await page.shot(f"assistant-proposal-{size[0]}")
        await page.page.click("#sed-accept")
        await page.until(f"() => document.getElementById('sed-code').value === {orjson.dumps(TIGHTER).decode()}", "it is in the editor")
        if size == PHONE:
            await page.show("assistant")
        await said(page, f"{LAST} .assistant-facts", "Accepted 1,700 tokens · 0.0042 USD")
        await said(page, "#assistant-usage summary", "This month: 1,700 tokens")
        await page.shot(f"assistant-accepted-{size[0]}")
        assert await page.watched.overflow() <= 0
    body = orjson.loads(provider.asked[-1])
    assert "stop_loss = param(0.02" in body["messages"][-1]["content"]


async def test_what_was_said_is_there_again_and_a_waiting_proposal_can_still_be_shown(
    browser: Browser, trader: Trader, provider: AiServer
) -> None:
    choose(trader)
    provider.says(ANSWER)
    async with open_page(browser, trader) as page:
        await page.page.click("[data-ask] >> nth=1")
        await page.watched.see("#sed-compare:not([hidden])")
        await page.page.reload()
        await page.is_ready()
        await said(page, LAST, "It is hit more often")
        await page.page.click(f"{LAST} [data-show-proposal]")
        await page.watched.see("#sed-compare:not([hidden])")
        await page.page.click("#sed-reject")
        await said(page, f"{LAST} .assistant-facts", "Rejected")
        assert await page.text() == SOURCE


async def test_stop_ends_the_answer_here_and_at_the_provider(browser: Browser, trader: Trader, provider: AiServer) -> None:
    choose(trader)
    provider.talks.append(Talk(events=[chunk("Once upon a time"), 120.0]))
    async with open_page(browser, trader) as page:
        await page.page.fill(ASK, "Tell me everything.")
        await page.page.click("#assistant-ask")
        await said(page, LAST, "Once upon a time")
        await page.page.click("#assistant-stop")
        async with asyncio.timeout(10):
            await provider.has_left.wait()
        await said(page, LAST, "You stopped this answer.")
        provider.says("Very well.")
        await page.page.click(f"{LAST} [data-again]")
        await said(page, LAST, "Very well.")


async def test_a_failure_says_what_to_do_about_it(browser: Browser, trader: Trader, provider: AiServer) -> None:
    choose(trader)
    provider.talks.append(Talk(status="402 Payment Required", document={"error": {"code": 402, "message": "x"}}))
    provider.talks.append(Talk(status="429 Too Many Requests", document={}, headers="Retry-After: 21\r\n"))
    async with open_page(browser, trader) as page:
        await page.page.fill(ASK, "Explain.")
        await page.page.click("#assistant-ask")
        await said(page, f"{LAST} .assistant-note", "Your credit with the provider is used up")
        assert await page.page.get_attribute(f"{LAST} .assistant-note a", "href") == "/account/preferences#ai"
        await page.page.click(f"{LAST} [data-again]")
        await said(page, f"{LAST} .assistant-note", "Try again in 21 seconds.")


async def test_what_a_model_writes_is_shown_as_text(browser: Browser, trader: Trader, provider: AiServer) -> None:
    choose(trader)
    evil = '<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script> `<b>code</b>`\n\n```html\n<iframe src=//x></iframe>\n```'
    provider.says(evil)
    async with open_page(browser, trader) as page:
        await page.page.fill(ASK, "Attack me.")
        await page.page.click("#assistant-ask")
        await said(page, LAST, "<script>window.hacked=1</script>")
        await page.page.reload()
        await page.is_ready()
        await said(page, LAST, "<iframe src=//x></iframe>")
        assert await page.page.evaluate(
            "() => [window.hacked ?? 0, document.querySelectorAll('#assistant-log :is(img, script, iframe)').length]"
        ) == [0, 0]
        assert await page.page.locator(f"{LAST} code").count() == 2


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_without_a_provider_the_panel_says_what_to_do(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with open_page(browser, trader, size) as page:
        await said(page, "#assistant-content .note", "The assistant is off")
        await page.shot(f"assistant-off-{size[0]}")
        assert await page.page.locator(ASK).count() == 0
        assert await page.watched.overflow() <= 0
        await page.page.click("#assistant-content .note a")
        await page.page.wait_for_url("**/account/preferences#ai")


async def test_a_provider_that_is_switched_off_meanwhile_is_explained(browser: Browser, trader: Trader) -> None:
    choose(trader)
    async with open_page(browser, trader) as page:
        trader.call("PUT", "/api/auth/preferences", json={"ai_provider": "none"})
        await page.page.fill(ASK, "Hello?")
        await page.page.click("#assistant-ask")
        await said(page, "#assistant-content .note", "The assistant is off")
        await page.watched.hear("409")


async def test_a_conversation_is_forgotten_on_request(browser: Browser, trader: Trader, provider: AiServer) -> None:
    choose(trader)
    provider.says("Remember this.")
    async with open_page(browser, trader) as page:
        await page.page.fill(ASK, "Hello.")
        await page.page.click("#assistant-ask")
        await said(page, LAST, "Remember this.")
        await page.page.click("[commandfor=assistant-clear]:not([command=close])")
        await page.page.click("#assistant-clear button[type=submit]")
        await page.watched.see("#assistant-log > article", count=0)
        await said(page, "#assistant-usage summary", "1,234 tokens")


async def test_when_the_server_stops_the_answer_is_marked_as_interrupted(
    browser: Browser, trader: Trader, provider: AiServer, server: ServerProcess
) -> None:
    choose(trader)
    provider.talks.append(Talk(events=[chunk("This will"), 120.0]))
    async with open_page(browser, trader) as page:
        await page.page.fill(ASK, "Go on.")
        await page.page.click("#assistant-ask")
        await said(page, LAST, "This will")
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(10):
            await provider.has_left.wait()
        await asyncio.to_thread(lambda: server.start(port=urlsplit(server.url).port or 0))
        await page.open()
        await said(page, LAST, "This server was stopped while the answer came.")
        page.watched.forget(lambda text: True)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_mistake_is_repaired_by_the_assistant_validated_saved_and_tried(
    browser: Browser, trader: Trader, provider: AiServer, size: tuple[int, int]
) -> None:
    choose(trader)
    provider.says(f"`slow_line` is an attribute.\n\n```python\n{SOURCE}```")
    async with open_page(browser, trader, size) as page:
        await page.show("code")
        await page.replace_all(WRONG)
        await page.is_kept()
        await page.watched.see("#sed-code .cm-lint-marker-error")
        await page.page.click("#sed-validate")
        await is_over(page, "sed-validate")
        await page.show("assistant")
        await page.page.click("[data-ask] >> nth=2")
        await page.watched.see("#sed-compare:not([hidden])")
        await page.shot(f"assistant-fix-{size[0]}")
        await page.page.click("#sed-accept")
        await page.until(f"() => document.getElementById('sed-code').value === {orjson.dumps(SOURCE).decode()}", "it is in the editor")
        await page.page.click("#sed-validate")
        await is_over(page, "sed-validate")
        await page.watched.see("#sed-state .pill.ok")
        await page.page.click("#sed-save")
        await is_over(page, "sed-save")
        await page.page.click("#sed-try")
        await is_over(page, "sed-try")
        await page.watched.see("#sed-trial .sed-numbers")
        assert await page.watched.overflow() <= 0
    question = orjson.loads(provider.asked[-1])["messages"][-1]["content"]
    assert "What the last validation found:\n- line 18: " in question
    assert "slow_line is not defined" in question
