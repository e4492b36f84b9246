"""A person writes a strategy in a real Chromium: what is typed is kept, two tabs never overwrite each other, versions come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Dialog, Route

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, PHONE, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.strategy_page import SOURCE, StrategyPage, make_strategy
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess
from tests.ui.test_axe import AXE, STANDING, violations

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MORE = "# one more line"


@pytest.fixture
def trader(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


@asynccontextmanager
async def open_editor(browser: Browser, trader: Trader, size: tuple[int, int] = DESKTOP) -> AsyncIterator[StrategyPage]:
    async with watched_page(browser, size) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        yield await StrategyPage(watched, f"{trader.server.url}/strategies/{make_strategy(trader)}").open()


async def refuse(route: Route) -> None:
    await route.abort()


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_what_was_typed_is_there_again_after_a_reload(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with open_editor(browser, trader, size) as editor:
        await editor.type_at_end(MORE)
        await editor.says("Not kept yet")
        await editor.is_kept()
        await editor.page.reload()
        await editor.is_ready()
        assert await editor.text() == SOURCE + MORE
        await editor.says("Draft kept")
        assert await editor.watched.overflow() <= 0


async def test_what_the_server_never_got_comes_back_after_a_crash(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.page.route("**/draft", refuse)
        await editor.type_at_end(MORE)
        await editor.says("could not be kept")
        # A tab that crashes asks nobody: another one of the same browser is opened instead.
        again = await editor.another_tab()
        assert await again.text() == SOURCE + MORE
        await again.is_kept()
        editor.watched.forget(lambda text: "ERR_FAILED" in text or "409" in text)


async def test_nobody_leaves_without_what_could_not_be_kept(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.page.route("**/draft", refuse)
        await editor.type_at_end(MORE)
        await editor.page.click(".rail a[href='/history']")
        await editor.watched.see("#sed-leave[open]")
        await editor.page.get_by_role("button", name="Stay").click()
        await editor.watched.see("#sed-leave[open]", count=0)
        assert await editor.text() == SOURCE + MORE
        asked: list[str] = []

        async def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            await dialog.dismiss()

        editor.page.on("dialog", stay)
        await editor.page.close(run_before_unload=True)
        await editor.until("() => true", "the page is still there")
        assert asked == ["beforeunload"]
        await editor.page.unroute("**/draft")
        await editor.type_at_end("#")
        await editor.is_kept()
        await editor.page.click(".rail a[href='/history']")
        await editor.page.wait_for_url("**/history/orders")
        editor.watched.forget(lambda text: "ERR_FAILED" in text)


async def test_a_link_is_followed_at_once_when_the_draft_could_be_kept(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.type_at_end(MORE)
        await editor.page.click(".rail a[href='/history']")
        await editor.page.wait_for_url("**/history/orders")
        await editor.open()
        assert await editor.text() == SOURCE + MORE


async def test_two_tabs_never_overwrite_each_other(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as first:
        # A tab on another device: nothing tells it of the other but the server.
        second = await first.another_tab()
        await second.page.evaluate("() => { BroadcastChannel.prototype.postMessage = () => {}; }")
        await first.page.evaluate("() => { BroadcastChannel.prototype.postMessage = () => {}; }")
        await first.type_at_end("first = 1")
        await first.is_kept()
        await second.type_at_end("second = 2")
        await second.watched.see("#sed-conflict:visible")
        assert await second.text() == SOURCE + "second = 2", "what was typed here stays"
        assert await second.server_text() == SOURCE + "first = 1", "and what was typed there"
        await second.shot("strategy-conflict")
        await second.page.click("[data-conflict=compare]")
        await second.watched.see("#sed-diff .cm-deletedChunk")
        assert "first = 1" in await second.watched.text("#sed-diff .cm-deletedChunk")
        await second.page.click("#sed-compare-close")
        await second.page.click("[data-conflict=mine]")
        await second.is_kept()
        assert await second.server_text() == SOURCE + "second = 2"
        # The first one is now behind, and takes over what the second has.
        await first.type_at_end("third = 3")
        await first.watched.see("#sed-conflict:visible")
        await first.page.click("[data-conflict=theirs]")
        await first.watched.see("#sed-conflict:visible", count=0)
        assert await first.text() == SOURCE + "second = 2"
        await first.page.locator("#sed-code .cm-content").click()
        await first.page.keyboard.press("Control+z")
        assert await first.text() == SOURCE + "first = 1third = 3", "what was given up comes back with an undo"
        await first.is_kept()
        first.watched.forget(lambda text: "409" in text)


async def test_a_tab_without_changes_follows_the_other_one(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as first:
        second = await first.another_tab()
        await first.type_at_end(MORE)
        await first.is_kept()
        await second.until(f"() => document.getElementById('sed-code').value.endsWith({MORE!r})", "the other tab follows")
        await second.watched.see("#sed-conflict:visible", count=0)


async def test_a_tab_that_could_not_read_the_other_ones_text_keeps_its_own_later(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as first:
        second = await first.another_tab()
        await second.page.route("**/text?*", refuse)
        async with second.page.expect_event("requestfailed", lambda request: "/text" in request.url):
            await first.type_at_end(MORE)
            await first.is_kept()
        await second.page.unroute("**/text?*")
        await second.type_at_end("# mine")
        await second.watched.see("#sed-conflict:visible")
        assert await second.text() == SOURCE + "# mine"
        first.watched.forget(lambda text: "409" in text or "ERR_FAILED" in text)


async def test_a_version_that_another_tab_saved_is_in_the_list_here_too(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as first:
        second = await first.another_tab()
        await first.type_at_end(MORE)
        await first.page.keyboard.press("Control+s")
        await first.watched.see("#sed-state[data-number='2']")
        await second.watched.see("#sed-state[data-number='2']")
        await second.watched.see("#sed-versions [data-version='2']")
        assert await second.text() == SOURCE + MORE
        # It goes on from there without a conflict.
        await second.type_at_end("!")
        await second.is_kept()


async def test_saving_by_key_makes_a_version_and_validity_is_told_of_the_text_in_the_editor(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.type_at_end(MORE)
        await editor.page.fill("#sed-note", "with a line more")
        await editor.page.locator("#sed-code .cm-content").click()
        await editor.page.keyboard.press("Control+s")
        await editor.watched.see("#sed-state[data-number='2']")
        await editor.watched.see("#sed-versions [data-version='2']")
        assert "with a line more" in await editor.watched.text("#sed-versions [data-version='2']")
        assert await editor.page.input_value("#sed-note") == ""
        await editor.says("Saved")
        # It goes on from there: the draft after it is made from what was saved.
        await editor.type_at_end(" and more")
        await editor.is_kept()


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_versions_are_compared_and_restored(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with open_editor(browser, trader, size) as editor:
        await editor.replace_all(SOURCE.replace("param(5, low=2", "param(9, low=2"))
        await editor.page.keyboard.press("Control+s")
        await editor.watched.see("#sed-state[data-number='2']")
        if size == PHONE:
            await editor.page.click("[data-sed-show=versions]")
        await editor.page.click("#sed-versions [data-diff='1']")
        await editor.watched.see("#sed-diff .cm-changedLine")
        assert "param(9, low=2" in await editor.watched.text("#sed-diff .cm-changedLine")
        assert "param(5, low=2" in await editor.watched.text("#sed-diff .cm-deletedChunk")
        assert await editor.watched.text("#sed-compare-title") == "Version 1 against the text in the editor"
        await editor.shot(f"strategy-diff-{size[0]}")
        await editor.page.select_option("#sed-against", "2")
        await editor.until(
            "() => document.getElementById('sed-compare-title').textContent.includes('version 2')", "two versions are compared"
        )
        await editor.page.keyboard.press("Escape")
        await editor.watched.see("#sed-compare:visible", count=0)
        if size == PHONE:
            await editor.page.click("[data-sed-show=versions]")
        await editor.page.click("#sed-versions [data-restore='1']")
        await editor.watched.see(".toast", count=2)
        assert await editor.text() == SOURCE
        await editor.page.keyboard.press("Control+s")
        await editor.watched.see("#sed-versions [data-version='3']")


async def test_a_name_that_is_taken_is_said_and_what_was_typed_stays(browser: Browser, trader: Trader) -> None:
    taken = await asyncio.to_thread(trader.call, "POST", "/api/strategies", json={"name": "Taken", "source": SOURCE})
    assert taken["name"] == "Taken"
    async with open_editor(browser, trader) as editor:
        await editor.type_at_end(MORE)
        await editor.page.fill("#sed-name", "taken")
        await editor.page.click("#sed-save")
        await editor.watched.see("#sed-state .error")
        assert "already have a strategy named taken" in await editor.watched.text("#sed-state")
        assert await editor.text() == SOURCE + MORE
        await editor.page.fill("#sed-name", "Free")
        await editor.page.click("#sed-save")
        await editor.watched.see("#sed-state[data-number='2']")
        await editor.watched.see("#sed-state .error", count=0)
        assert (await editor.page.title()).startswith("Free ·")
        editor.watched.forget(lambda text: "422" in text)


async def test_a_template_takes_the_place_of_the_text_and_undo_brings_it_back(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.page.click("[data-template=donchian_trend]")
        await editor.until("() => document.getElementById('sed-code').value.includes('DonchianTrend')", "the template is there")
        await editor.page.keyboard.press("Control+z")
        assert await editor.text() == SOURCE
        assert await editor.page.evaluate("() => location.search") == ""


async def test_a_fork_is_a_strategy_of_its_own(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.page.click("#sed-versions [name=version][value='1']")
        await editor.page.wait_for_url(lambda url: url.startswith(f"{trader.server.url}/strategies/") and url != editor.url)
        await editor.is_ready()
        assert await editor.text() == SOURCE


async def test_a_proposal_changes_the_text_only_when_it_is_accepted(browser: Browser, trader: Trader) -> None:
    proposed = SOURCE.replace("0.02, low", "0.03, low")
    send = "(source) => document.dispatchEvent(new CustomEvent('aristobot:proposal', { detail: { source, message_id: 'm1' } }))"
    async with open_editor(browser, trader) as editor:
        await editor.page.evaluate(
            "() => { window.decided = []; document.addEventListener('aristobot:proposal-decided', ({ detail }) => decided.push(detail)); }"
        )
        await editor.page.evaluate(send, proposed)
        await editor.watched.see("#sed-compare:visible")
        assert await editor.text() == SOURCE
        await editor.shot("strategy-proposal")
        await editor.page.click("#sed-reject")
        assert await editor.text() == SOURCE
        await editor.page.evaluate(send, proposed)
        await editor.page.click("#sed-accept")
        assert await editor.text() == proposed
        assert await editor.page.evaluate("() => decided") == [
            {"accepted": False, "message_id": "m1"},
            {"accepted": True, "message_id": "m1"},
        ]
        await editor.is_kept()
        await editor.watched.see("[data-of-text=changed]:visible")
        # Nobody made this proposal, so the server does not know it.
        editor.watched.forget(lambda text: "/assist/messages/m1" in text)


async def test_the_api_is_offered_while_it_is_typed_and_tab_leaves_after_escape(browser: Browser, trader: Trader) -> None:
    async with open_editor(browser, trader) as editor:
        await editor.replace_all("from aristobot import Strategy, ta\n\nline = ta.")
        await editor.page.keyboard.type("crossed_ab")
        await editor.watched.see("#sed-code .cm-tooltip-autocomplete li[aria-selected]")
        await editor.page.wait_for_timeout(150)
        await editor.page.keyboard.press("Enter")
        assert (await editor.text()).endswith("line = ta.crossed_above")
        await editor.page.keyboard.press("Escape")
        await editor.page.keyboard.press("Tab")
        assert await editor.page.evaluate("() => document.activeElement.id") != "sed-code"
        await editor.is_kept()


@pytest.mark.parametrize(("theme", "size"), [("dark", DESKTOP), ("light", PHONE)])
async def test_every_state_of_the_page_is_clean_for_axe(browser: Browser, trader: Trader, theme: str, size: tuple[int, int]) -> None:
    url = f"{trader.server.url}/strategies/{make_strategy(trader, SOURCE.replace('self.slow_line)', 'slow_line)', 1))}"
    async with watched_page(browser, size, bypass_csp=True) as watched:
        await watched.log_in(trader.server.url, trader.username, trader.password)
        editor = await StrategyPage(watched, url).open()
        await editor.page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        await editor.page.add_style_tag(content=STANDING)
        await editor.page.evaluate(AXE)
        found = await violations(editor.page, "at first")
        await editor.page.click("#sed-validate")
        await editor.until("() => document.querySelector('.sed-problem')", "problems are shown")
        found += await violations(editor.page, "with problems")
        for tab in ("output", "parameters", "trial"):
            await editor.show("results")
            await editor.page.click(f"#sed-tab-{tab}")
            found += await violations(editor.page, tab)
        await editor.replace_all(SOURCE)
        await editor.page.click("#sed-try")
        await editor.watched.see("#sed-trial .sed-numbers")
        found += await violations(editor.page, "tried")
        await editor.show("versions")
        found += await violations(editor.page, "versions")
        await editor.page.click("#sed-versions [data-diff='1']")
        await editor.watched.see("#sed-diff .cm-changedLine")
        found += await violations(editor.page, "compared")
        await editor.page.click("#sed-compare-close")
        await editor.page.locator("#sed-code .cm-content").click()
        await editor.page.keyboard.press("Control+f")
        found += await violations(editor.page, "searched")
        assert found == []


async def test_without_scripts_the_source_is_shown_and_saved(browser: Browser, trader: Trader) -> None:
    url = f"{trader.server.url}/strategies/{make_strategy(trader)}"
    async with watched_page(browser, DESKTOP, java_script_enabled=False) as watched:
        await watched.page.goto(f"{trader.server.url}/login")
        await watched.page.fill("#username", trader.username)
        await watched.page.fill("#password", trader.password)
        await watched.page.click("#login-form button[type=submit]")
        await watched.page.goto(url)
        assert await watched.page.locator("#sed-validate").is_hidden()
        area = watched.page.locator("#sed-code textarea")
        assert await area.input_value() == SOURCE
        await area.fill(SOURCE + MORE)
        await watched.page.click("#sed-save")
        await watched.see("#sed-state[data-number='2']")
        assert await area.input_value() == SOURCE + MORE
