"""A person trades on the trading page, in a real Chromium: the list, the chart, the book, by mouse and by keyboard, at several widths."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, PHONE, Watched, running_chromium, watched_page
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually_async
from tests.journeys.returning_server import ReturningServer
from tests.journeys.trader import Trader
from tests.server_process import ADMIN, PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

WIDTHS = ((390, 844), (768, 1024), (1024, 768), (1440, 900), (1920, 1080))
SILENCE_MS = 22_000
RECONNECT_MS = 60_000
DIALOG = "#position-dialog[open]"
CHART = "document.getElementById('price-panel').chart"
RANGE = f"() => {{ const {{ from, to }} = {CHART}.chart.timeScale().getVisibleLogicalRange(); return [from, to]; }}"
LINES = "() => JSON.parse(document.getElementById('price-chart').dataset.lines)"
#: What a press of the page asks of the ticket.
LISTEN = """() => { window.asked = [];
  for (const name of ["ticket:price", "ticket:side", "ticket:percent", "ticket:review"])
    document.addEventListener(name, (event) => window.asked.push([name, Object.values(event.detail)[0] ?? null])); }"""


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
        # Hiding the caret would leave a style attribute behind, which the next swap would copy and the policy refuse.
        await watched.page.screenshot(path=f"{folder}/{name}.png", caret="initial")


async def open_trading(watched: Watched, trader: Trader, query: str = "") -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.page.goto(f"{trader.server.url}/trading{query}")
    await watched.become_live()


async def chart_is_drawn(watched: Watched) -> None:
    async def is_drawn() -> bool:
        return "O " in (await watched.page.locator("#chart-legend").text_content() or "")

    await eventually_async(is_drawn, "the chart has candles")


async def until(watched: Watched, script: str, what: str, *, within_s: float = 10.0) -> None:
    async def holds() -> bool:
        return bool(await watched.page.evaluate(script))

    await eventually_async(holds, what, within_s=within_s)


async def bracket(trader: Trader) -> Any:
    """A position with its stop and target not far from the market, so that both are in the picture."""
    ticker = await asyncio.to_thread(trader.call, "GET", "/api/ticker?symbol=BTCUSDT")
    last = float(ticker["last"])
    body = {"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01", "stop_loss": f"{last * 0.9:.2f}", "take_profit": f"{last * 1.1:.2f}"}
    await asyncio.to_thread(trader.call, "POST", "/api/orders", json=body)
    return last


async def test_the_page_fits_every_width_and_says_nothing_wrong(browser: Browser, trader: Trader) -> None:
    await bracket(trader)
    async with watched_page(browser, DESKTOP) as watched:
        await open_trading(watched, trader)
        for width, height in WIDTHS:
            await watched.page.set_viewport_size({"width": width, "height": height})
            await watched.page.reload()
            await watched.become_live()
            await chart_is_drawn(watched)
            assert await watched.overflow() <= 0, width
            main = "() => { const main = document.querySelector('main'); return main.scrollWidth - main.clientWidth; }"
            assert await watched.page.evaluate(main) <= 0, width
            await shot(watched, f"terminal-{width}")


async def test_a_symbol_is_chosen_by_keyboard_and_kept_as_a_favourite(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.id") == "market-search"
        await page.keyboard.type("eth")
        await watched.see(".mk-row", count=1)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/trading?*symbol=ETH%2FUSDT*")
        assert await page.locator("#price-panel").get_attribute("data-symbol") == "ETH/USDT"
        await chart_is_drawn(watched)
        await page.click("#star-ETH-USDT")
        await watched.see("#star-ETH-USDT[aria-pressed=true]")
        await page.click(".mk-chips label:has-text('★')")
        await watched.see(".mk-row", count=1)
        await page.goto(f"{trader.server.url}/trading")
        assert await page.locator("#price-panel").get_attribute("data-symbol") == "ETH/USDT", "the symbol looked at last"
        await page.keyboard.press("/")
        await page.keyboard.type("btc")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/trading?*symbol=BTC%2FUSDT*")


async def test_the_view_stays_where_it_is_while_candles_come_and_indicators_are_toggled(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT&timeframe=1m")
        await chart_is_drawn(watched)
        box = await page.locator("#price-chart").bounding_box()
        assert box is not None
        # A person looks at what was some time ago; not further back than a market goes that has just begun.
        await page.mouse.move(box["x"] + 200, box["y"] + 150)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 260, box["y"] + 150, steps=6)
        await page.mouse.up()
        await asyncio.sleep(0.3)
        before = await page.evaluate(RANGE)
        count = f"() => {CHART}.candles.byTime.size"
        candles = await page.evaluate(count)
        await page.click("#indicators-button")
        for name in ("rsi", "bollinger", "ema1", "volume"):
            await page.click(f"[data-indicator={name}] + span")
        assert await page.evaluate(RANGE) == pytest.approx(before, abs=0.01)
        await page.fill("[data-period=ema2]", "9")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Escape")
        assert "RSI 14" in (await page.locator("#chart-legend").text_content() or "")
        await shot(watched, "terminal-indicators")
        await until(watched, f"() => {CHART}.candles.byTime.size >= {candles + 3}", "three more candles", within_s=60)
        assert await page.evaluate(RANGE) == pytest.approx(before, abs=0.01)
        await page.reload()
        await chart_is_drawn(watched)
        assert "EMA 9" in (await page.locator("#chart-legend").text_content() or ""), "what was chosen is remembered"


async def test_every_timeframe_is_drawn_and_the_keys_step_through_them(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT&timeframe=1m")
        await chart_is_drawn(watched)
        for timeframe in ("3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "1d"):
            await page.keyboard.press("]")
            await watched.see(f"[data-set-timeframe='{timeframe}'][aria-pressed=true]")
            await until(watched, f"() => {CHART}.candles.timeframe === '{timeframe}'", timeframe)
        await page.keyboard.press("[")
        await watched.see("[data-set-timeframe='4h'][aria-pressed=true]")
        assert "timeframe=4h" in page.url


async def test_the_stop_is_dragged_and_the_question_has_both_prices(browser: Browser, trader: Trader) -> None:
    last = await bracket(trader)
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await chart_is_drawn(watched)
        await until(watched, f"() => ({LINES})().some(([kind]) => kind === 'stop')", "the stop is a line")
        await page.evaluate(f"([from, to]) => {CHART}.price.priceScale().setVisibleRange({{ from, to }})", [last * 0.85, last * 1.15])
        await asyncio.sleep(0.3)
        box = await page.locator("#price-chart").bounding_box()
        assert box is not None
        y = await page.evaluate(f"(price) => {CHART}.price.priceToCoordinate(price)", round(last * 0.9, 2))
        x = box["x"] + 120
        await page.mouse.move(x, box["y"] + y)
        await page.mouse.down()
        await page.mouse.move(x, box["y"] + y - 20, steps=4)
        await page.mouse.up()
        await watched.see(DIALOG)
        old = f"{last * 0.9:,.2f}"
        assert old in await watched.text(f"{DIALOG} .move-words")
        await shot(watched, "terminal-move")
        await page.click(f"{DIALOG} button:has-text('Leave it')")
        (stop,) = [price for kind, price in await page.evaluate(LINES) if kind == "stop"]
        assert float(stop) == pytest.approx(last * 0.9, abs=0.01), "it is back where it was"

        await page.mouse.move(x, box["y"] + y)
        await page.mouse.down()
        await page.mouse.move(x, box["y"] + y - 20, steps=4)
        await page.mouse.up()
        await watched.see(DIALOG)
        wanted = await page.input_value(f"{DIALOG} [data-moved]")
        await page.click(f"{DIALOG} button[type=submit]")
        await watched.see(DIALOG, count=0)
        await until(
            watched, f"() => ({LINES})().some(([kind, price]) => kind === 'stop' && Number(price) === {wanted})", "the line is there"
        )
        (guard,) = (await asyncio.to_thread(trader.call, "GET", "/api/protections"))["items"]
        assert float(guard["stop_loss"]) == float(wanted)
        assert float(wanted) > last * 0.9


async def test_an_order_is_changed_by_its_number_and_a_refusal_says_why(browser: Browser, trader: Trader) -> None:
    limit = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "30000"}
    made = await asyncio.to_thread(trader.call, "POST", "/api/orders", json=limit)
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await page.click("#tab-open-orders")
        await watched.see(f"#open-order-{made['id']}")
        await page.click(f"#open-order-{made['id']}-move")
        await watched.see(DIALOG)
        await page.fill(f"{DIALOG} [name=price]", "0.001")
        await page.click(f"{DIALOG} button[type=submit]")
        await watched.see(f"{DIALOG} .note.err")
        await watched.see(DIALOG)
        await watched.hear("422")
        await page.fill(f"{DIALOG} [name=price]", "31000")
        await page.click(f"{DIALOG} button[type=submit]")
        await watched.see(DIALOG, count=0)
        await watched.see("#open-orders td:has-text('31,000.00')")
        await page.click("#open-orders button[id$=-cancel]")
        await watched.see("#open-orders tr[id^=open-order-]", count=0)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_level_of_the_book_goes_into_the_ticket(browser: Browser, trader: Trader, size: tuple[int, int]) -> None:
    async with watched_page(browser, size) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await page.evaluate(LISTEN)
        if size == PHONE:
            await page.click("#tab-book")
        await until(watched, "() => document.querySelectorAll('#book-bids .lv:not([hidden])').length === 15", "fifteen bids")
        assert await page.locator("#book-asks .lv:not([hidden])").count() == 15
        await page.evaluate("() => document.querySelector('#ticket-form input[name=kind][value=limit]').click()")
        await page.locator("#book-bids .lv").first.click()
        ((_, price),) = [one for one in await page.evaluate("window.asked") if one[0] == "ticket:price"]
        assert float(price) > 0
        assert await page.locator("#ticket-form [name=price]").first.input_value() == price
        if size == PHONE:
            await watched.see("#ticket-panel:popover-open")
            await shot(watched, "terminal-sheet")
            await page.click("[data-close-ticket]")
        if size == DESKTOP:
            await page.click("[data-show-book=tape]")
        await until(watched, "() => document.querySelectorAll('#tape-rows li').length > 3", "trades of the market", within_s=20)
        await shot(watched, f"terminal-tape-{size[0]}")


async def test_keys_speak_to_the_ticket_and_are_silent_while_one_types(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        page = watched.page
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await page.evaluate(LISTEN)
        for key in ("b", "s", "2", "Control+Enter"):
            await page.keyboard.press(key)
        asked = [["ticket:side", "buy"], ["ticket:side", "sell"], ["ticket:percent", 50], ["ticket:review", None]]
        assert await page.evaluate("window.asked") == asked
        # The ticket has nothing in it yet, and says so.
        await watched.see("#ticket-form [aria-invalid=true]")
        await watched.hear("422")
        await until(watched, "() => document.activeElement.ariaInvalid === 'true'", "the keyboard stands at the mistake")
        await page.evaluate("() => document.activeElement.blur()")
        await page.keyboard.press("/")
        await page.keyboard.type("b1?")
        assert await page.evaluate("window.asked") == asked
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await watched.see("#shortcuts-dialog[open]")
        await page.keyboard.press("Escape")
        await watched.see("#shortcuts-dialog[open]", count=0)
        await page.keyboard.press("g")
        await page.keyboard.press("w")
        await page.wait_for_url("**/webhooks")


async def test_what_is_old_is_called_so_and_what_was_missed_is_fetched(
    browser: Browser, market: EmulatorProcess, database_urls: DatabaseUrls, tmp_path: Path, make_trader: MakeTrader
) -> None:
    with ExitStack() as stack:
        server = ReturningServer(tmp_path / "data", **settings_for(market, database_urls))
        stack.callback(end, server)
        server.start()
        await asyncio.to_thread(make_trader(server, market).log_in().set_up)
        async with watched_page(browser, DESKTOP) as watched:
            page = watched.page
            await page.clock.install()
            await watched.log_in(server.url, ADMIN, PASSWORD)
            await page.goto(f"{server.url}/trading?symbol=BTC/USDT&timeframe=1m")
            await watched.become_live()
            await chart_is_drawn(watched)
            await until(watched, "() => document.querySelectorAll('#book-bids .lv:not([hidden])').length > 0", "a book")
            before = await page.evaluate(f"() => Math.max(...{CHART}.candles.byTime.keys())")
            server.kill()
            await page.clock.fast_forward(SILENCE_MS)
            await watched.see("html[data-live=stale]")
            assert "Data stale since" in await watched.text("#live-stale")
            await watched.see("#book-panel[data-stale]")
            await shot(watched, "terminal-stale")

            await asyncio.to_thread(server.start)
            await page.clock.fast_forward(RECONNECT_MS)
            await watched.become_live()
            await until(watched, f"() => Math.max(...{CHART}.candles.byTime.keys()) > {before}", "what was missed", within_s=20)
            times = f"[...{CHART}.candles.byTime.keys()].sort((a, b) => a - b)"
            whole = f"() => {times}.every((at, index, all) => index === 0 || at - all[index - 1] === 60000)"
            await until(watched, whole, "no hole is left", within_s=30)
            watched.forget(lambda text: "ERR_" in text or "htmx:sse:error" in text)


async def test_the_page_weighs_less_than_its_budget(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser, DESKTOP) as watched:
        await open_trading(watched, trader, "?symbol=BTC/USDT")
        await watched.page.wait_for_load_state("load")
        names = await watched.page.evaluate("() => performance.getEntriesByType('resource').map((one) => one.name)")
    total = 0
    async with httpx.AsyncClient() as http:
        for name in sorted({name for name in names if "/static/" in name and "lightweight" not in name}):
            total += len(gzip.compress((await http.get(name)).content, 9))
    assert 20_000 < total < 150_000, "styles, scripts and the font, without the chart library"
