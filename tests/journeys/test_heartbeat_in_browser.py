"""A person watches the heartbeat: signals as they close, through a restart of the server and a silence of the exchange, and fills a gap."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import Browser

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.ids import new_id
from app.domain.candles import Timeframe
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, DESKTOP, Watched, watched_page
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually_async
from tests.journeys.returning_server import ReturningServer
from tests.journeys.trader import Trader
from tests.postgres import connected

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

LIVE = "[data-signals='1m'] li[data-kind=live]"
STORED = "[data-signals='1m'] li[data-kind=db]"
KINDS = "() => [...document.querySelectorAll(\"[data-signals='1m'] li\")].map((row) => row.dataset.kind)"
MOMENTS = "() => [...document.querySelectorAll(\"[data-signals='1m'] li\")].map((row) => Number(row.dataset.time))"
COLOURS = "() => [...document.querySelectorAll(\"[data-signals='1m'] .close\")].map((one) => getComputedStyle(one).color)"
GREEN, AMBER = "rgb(0, 255, 136)", "rgb(255, 184, 0)"
#: What a browser says of a server that is away.
AWAY = (
    "htmx:sse:error",
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "network error",
)


@pytest.fixture
def quick_market() -> Iterator[EmulatorProcess]:
    """A minute a second: signals come while one looks."""
    generated = ("--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--speed", "60", "--history", "600")
    with EmulatorProcess(*generated, *WITHOUT_LIMITS) as process:
        yield process


@pytest.fixture
def server(quick_market: EmulatorProcess, database_urls: DatabaseUrls, tmp_path: Path) -> Iterator[ReturningServer]:
    settings = settings_for(quick_market, database_urls, registration="open", heartbeat_history_minutes=90)
    process = ReturningServer(tmp_path / "data", **settings)
    process.start()
    yield process
    end(process)


@pytest.fixture
def trader(server: ReturningServer, quick_market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(server, quick_market).sign_up()


async def many(watched: Watched, selector: str, *, least: int, within_s: float = 15.0) -> None:
    async def are_there() -> bool:
        return await watched.page.locator(selector).count() >= least

    await eventually_async(are_there, f"{least} × {selector}", within_s=within_s)


async def says(watched: Watched, selector: str, words: str, *, within_s: float = 15.0) -> None:
    async def holds() -> bool:
        return words in await watched.text(selector)

    await eventually_async(holds, f"{words!r} in {selector}", within_s=within_s)


async def look_at_heartbeat(watched: Watched, trader: Trader, question: str = "") -> None:
    await watched.log_in(trader.server.url, trader.username, trader.password)
    await watched.page.goto(f"{trader.server.url}/heartbeat{question}")
    await watched.become_live()


async def assert_in_order(watched: Watched) -> None:
    moments = await watched.page.evaluate(MOMENTS)
    assert moments == sorted(moments, reverse=True)
    assert len(moments) == len(set(moments)) <= 60, "of one symbol each candle once"


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_what_comes_live_stands_in_green_above_what_was_stored_in_orange(
    browser: Browser, trader: Trader, size: tuple[int, int]
) -> None:
    async with watched_page(browser, size) as watched:
        await look_at_heartbeat(watched, trader, "?symbol=BTC/USDT")
        await many(watched, STORED, least=20)
        await many(watched, LIVE, least=3)
        kinds = await watched.page.evaluate(KINDS)
        assert kinds == sorted(kinds, key=lambda kind: kind != "live"), "newest on top: live ones, then stored ones"
        colours = await watched.page.evaluate(COLOURS)
        assert {colours[0], colours[-1]} == {GREEN, AMBER}
        await assert_in_order(watched)
        await says(watched, "#feed-state", "Connected")
        await says(watched, "#feed-coherence", "OK")
        assert await watched.overflow() <= 0

        await many(watched, "#raw li", least=20)
        assert await watched.page.locator("#raw li").count() <= 60
        assert await watched.page.locator("#raw").get_attribute("aria-live") == "off"
        await watched.page.click("#raw-pause")
        first = await watched.text("#raw li:first-child")
        await says(watched, "#raw-held", "held back")
        assert await watched.text("#raw li:first-child") == first
        await watched.page.click("#raw-pause")
        await watched.page.mouse.move(5, 5)

        async def goes_on() -> bool:
            return await watched.text("#raw li:first-child") != first

        await eventually_async(goes_on, "the raw stream goes on")


async def test_a_restart_of_the_server_is_said_and_survived(browser: Browser, trader: Trader, server: ReturningServer) -> None:
    async with watched_page(browser) as watched:
        await look_at_heartbeat(watched, trader, "?symbol=BTC/USDT")
        await many(watched, LIVE, least=2)
        await watched.page.evaluate("window.loadedOnce = true")
        await asyncio.to_thread(server.stop)
        gone_at = time.monotonic()
        await says(watched, "#feed-state", "Stale since", within_s=10.0)
        await says(watched, "#feed-error", "This server does not answer", within_s=10.0)
        print(f"the page said stale and that the server is gone {time.monotonic() - gone_at:.1f} s after it ended")
        newest = max(await watched.page.evaluate(MOMENTS))
        await asyncio.to_thread(server.start)
        await says(watched, "#feed-state", "Connected", within_s=30.0)

        async def has_newer() -> bool:
            return bool(max(await watched.page.evaluate(MOMENTS)) > newest + 120_000)

        await eventually_async(has_newer, "signals go on", within_s=20.0)
        assert await watched.page.evaluate("window.loadedOnce") is True, "the page goes on by itself"
        moments = sorted(await watched.page.evaluate(MOMENTS))
        assert {later - earlier for earlier, later in pairwise(moments)} == {60_000}, "nothing was missed"
        await assert_in_order(watched)
        watched.forget(lambda text: any(words in text for words in AWAY) or "503" in text)


async def test_a_silent_exchange_is_said_within_ten_seconds(browser: Browser, trader: Trader, quick_market: EmulatorProcess) -> None:
    async with watched_page(browser) as watched:
        await look_at_heartbeat(watched, trader)
        await many(watched, LIVE, least=1)
        await says(watched, "#feed-state", "Connected")
        await asyncio.to_thread(quick_market.fault, "ws_silent", for_ms=3_600_000)
        silent_at = time.monotonic()
        await says(watched, "#feed-state", "Stale since", within_s=10.0)
        print(f"the page said stale {time.monotonic() - silent_at:.1f} s after the exchange went silent")
        await asyncio.to_thread(quick_market.control, "DELETE", "/_fault")
        await says(watched, "#feed-state", "Connected", within_s=45.0)


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_gap_is_filled_by_its_button_and_the_bar_says_so(
    browser: Browser, trader: Trader, database_urls: DatabaseUrls, size: tuple[int, int]
) -> None:
    start = Timeframe.M1.floor(SystemClock().now()) - timedelta(hours=4)
    gap_id = new_id()
    async with connected(database_urls.owner) as owner:
        await owner.execute(
            "INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, outcome)"
            " VALUES ($1, 'binance', 'BTC/USDT', '1m', $2, $3, now(), 'open')",
            gap_id,
            start,
            start + timedelta(minutes=5),
        )
    async with watched_page(browser, size) as watched:
        await look_at_heartbeat(watched, trader)
        await says(watched, "#feed-coherence", "1 open gap")
        row = f"#gap-{gap_id}"
        assert "Open" in await watched.text(row)
        assert await watched.overflow() <= 0
        await watched.page.locator(f"{row} button").focus()
        await watched.page.keyboard.press("Enter")
        await watched.see(f"{row}[data-outcome=filled]")
        assert await watched.page.locator(f"{row} button").count() == 0
        await says(watched, "#feed-coherence", "OK")
        if size == DESKTOP:
            await says(watched, ".coherence", "OK")
        async with connected(database_urls.owner) as owner:
            stored = await owner.fetchval(
                "SELECT count(*) FROM candles WHERE symbol = 'BTC/USDT' AND timeframe = '1m' AND open_time >= $1 AND open_time < $2",
                start,
                start + timedelta(minutes=5),
            )
        assert stored == 5


async def test_another_symbol_is_found_watched_while_it_is_shown_and_told_of(browser: Browser, trader: Trader) -> None:
    async with watched_page(browser) as watched:
        await look_at_heartbeat(watched, trader)
        await watched.page.locator("#feed-symbol-search").press_sequentially("eth")
        await watched.page.click("#symbol-hits a")
        await watched.page.wait_for_url("**/heartbeat?symbol=ETH/USDT")
        assert await watched.text("#feed-symbol") == "ETH/USDT"
        await many(watched, LIVE, least=1, within_s=20.0)
        assert {await one.inner_text() for one in await watched.page.locator("[data-signals='1m'] li > span:nth-of-type(1)").all()} == {
            "ETH/USDT"
        }
        await says(watched, "#watched", "ETH/USDT")
