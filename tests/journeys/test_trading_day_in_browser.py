"""A day of a trader on the trading page itself, once at a desk and once on a telephone: everything one does by hand, an exchange that goes
away in between, and at the end one truth in the page, the API and the exchange's own books."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.journeys.chromium import BOTH_WIDTHS, running_chromium, watched_page
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader
from tests.journeys.trading_page import DIALOG, TradingPage, same_everywhere

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as running:
        yield running


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An exchange in real time that can go away and come back with its books and at its address."""
    markets = ("--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--history", "600", *WITHOUT_LIMITS)
    with ExitStack() as stack:
        exchange = EmulatorProcess(*markets, "--state", str(tmp_path / "books.json"), keeps_port=True)
        stack.callback(exchange.stop)
        yield exchange.start()


@pytest.fixture
def trader(venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader) -> Trader:
    server = start_server(venue, registration="open", heartbeat_symbols="BTC/USDT,ETH/USDT")
    return make_trader(server, venue).sign_up().set_up()


async def ask(trader: Trader, path: str) -> Any:
    return await asyncio.to_thread(trader.call, "GET", path)


async def last_price(trader: Trader, symbol: str) -> float:
    return float((await ask(trader, f"/api/ticker?symbol={symbol}"))["last"])


async def open_orders(trader: Trader) -> list[Any]:
    return [order for order in (await ask(trader, "/api/orders?limit=500"))["items"] if order["state"] == "open"]


@pytest.mark.parametrize("size", BOTH_WIDTHS)
async def test_a_day_by_hand_ends_with_the_same_in_the_page_the_api_and_the_books(
    browser: Browser, trader: Trader, venue: EmulatorProcess, size: tuple[int, int]
) -> None:
    async with watched_page(browser, size) as watched:
        page = TradingPage(watched, trader)
        await page.open()
        waiting = await buy_wait_and_pair(page)
        await guard_move_and_halve(page)
        await the_exchange_goes_away(page, venue, waiting)
        await cancel_what_waits(page)
        await page.choose_symbol("BTC/USDT")
        await page.is_denied("Not enough BTC: needed 5", "sell", "market", quantity="5")
        await page.is_denied("is below the exchange minimum", "buy", "market", amount="3")
        await same_everywhere(page)
        await watched.page.reload()
        await page.stands()
        await same_everywhere(page)
        for name in ("balances", "orders", "fills", "positions"):
            await page.tab(name)


async def buy_wait_and_pair(page: TradingPage) -> Any:
    """A market buy, a limit that waits and is changed, a pair for half of what was bought. Returns the limit."""
    last = await last_price(page.trader, "BTCUSDT")
    await page.send("buy", "market", quantity="0.02")
    await page.tab("positions")
    await page.watched.see("#positions tr[id^=position-]")
    await page.send("buy", "limit", price=f"{last * 0.9:.2f}", quantity="0.01")
    (limit,) = await open_orders(page.trader)
    await page.amend(limit["id"], price=f"{last * 0.91:.2f}")
    await page.send("sell", "oco", trigger_price=f"{last * 0.8:.2f}", price=f"{last * 1.2:.2f}", quantity="0.01")
    await page.watched.see("#open-orders tbody tr[id^=open-order-]", count=3)
    (limit,) = [order for order in await open_orders(page.trader) if order["side"] == "buy"]
    assert limit["price"] == f"{last * 0.91:.2f}".rstrip("0").rstrip(".")
    return limit


async def guard_move_and_halve(page: TradingPage) -> None:
    """A buy with a stop and a target on another market, its stop moved, half of it closed; it cannot be turned round."""
    await page.choose_symbol("ETH/USDT")
    last = await last_price(page.trader, "ETHUSDT")
    target = {"target_price__0": f"{last * 1.15:.2f}", "target_percent__0": "100"}
    await page.send("buy", "market", quantity="1", stop_loss=f"{last * 0.9:.2f}", **target)
    await page.tab("positions")
    await page.watched.see("#positions tr[id^=position-]", count=2)
    (position,) = [one for one in await asyncio.to_thread(page.trader.positions) if one["symbol"] == "ETH/USDT"]
    if page.is_narrow:
        moved = f"{last * 0.93:.2f}"
        await page.ask(position["id"], "guard")
        await page.agree(stop_loss=moved)
    else:
        moved = await page.drag_stop(20)
        assert float(moved) > last * 0.9

    async def is_moved() -> bool:
        (guard,) = (await ask(page.trader, "/api/protections"))["items"]
        return float(guard["stop_loss"]) == float(moved)

    await eventually_async(is_moved, f"the stop is at {moved}")
    await page.ask(position["id"], "close")
    await page.agree(percent="50")
    await eventually_async(lambda: is_about(page, "ETH/USDT", "0.49"), "half of it is left")
    await cannot_be_turned(page, position["id"])


async def is_about(page: TradingPage, symbol: str, begins: str) -> bool:
    return (await page.positions()).get(symbol, "").startswith(begins)


async def cannot_be_turned(page: TradingPage, position_id: str) -> None:
    """A spot account cannot go short: nothing in the page offers it, and whoever asks all the same is told."""
    assert await page.page.locator(f"#guard-{position_id}-reverse").count() == 0
    url = f"/positions/{position_id}/reverse"
    await page.page.evaluate(f"() => {{ window.htmx.ajax('GET', '{url}', {{ target: '#position-dialog-content', swap: 'outerHTML' }}); }}")
    await page.watched.see(DIALOG)
    assert "A spot account cannot go short: this position can be closed, not turned round." in await page.watched.text(DIALOG)
    assert await page.page.locator(f"{DIALOG} button[type=submit]").count() == 0
    await page.page.click(f"{DIALOG} .dialog-acts button")
    await page.watched.see(DIALOG, count=0)


async def the_exchange_goes_away(page: TradingPage, venue: EmulatorProcess, waiting: Any) -> None:
    """It ends, and comes back; before anybody is connected again the limit fills. The page shows it without being touched."""
    assert waiting["id"] in await page.open_order_ids()
    await asyncio.to_thread(venue.stop)
    await asyncio.sleep(1.5)
    await page.shot(f"day-{'phone' if page.is_narrow else 'desktop'}-away")
    await asyncio.to_thread(venue.start)
    await asyncio.to_thread(venue.price, str(Decimal(waiting["price"]) - 10), quantity="0.5")

    async def is_gone() -> bool:
        return waiting["id"] not in await page.open_order_ids()

    await eventually_async(is_gone, "the page has caught up", within_s=20)
    await eventually_async(lambda: is_about(page, "BTC/USDT", "0.029"), "the position has what was missed", within_s=20)


async def cancel_what_waits(page: TradingPage) -> None:
    """All that waits is canceled at once; what guards a position stays."""
    await page.tab("open-orders")
    before = await page.open_order_ids()
    await page.page.click("#tab-acts [data-of-tab=open-orders]")
    await page.agree()

    async def is_left() -> bool:
        return len(await page.open_order_ids()) == len(before) - 2

    await eventually_async(is_left, "the pair is gone, the guards are not")
    assert {order["role"] for order in await open_orders(page.trader)} == {"stop", "target"}
