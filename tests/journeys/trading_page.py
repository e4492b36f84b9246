"""The trading page in the hands of a person: what is clicked and typed there, on a desktop and on a telephone."""

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.journeys.chromium import Watched
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader

ASKED: Final = "#ticket-dialog[open]"
DIALOG: Final = "#position-dialog[open]"
_CHART: Final = "document.getElementById('price-panel').chart"
_STOP: Final = "() => JSON.parse(document.getElementById('price-chart').dataset.lines).find(([kind]) => kind === 'stop')?.[1]"
_RESULTS: Final = "() => [...document.querySelectorAll('#ticket-result [id^=ticket-order-]')].map((one) => one.id).join(' ')"
_IDS: Final = "(selector) => [...document.querySelectorAll(selector)].map((row) => row.id)"
NARROW: Final = 960


@dataclass
class TradingPage:
    """One tab at /trading. `trader` is whoever looks at it."""

    watched: Watched
    trader: Trader

    @property
    def page(self) -> Any:
        """The tab itself."""
        return self.watched.page

    @property
    def is_narrow(self) -> bool:
        """Whether the ticket is a sheet and not a column."""
        size = self.page.viewport_size
        assert size is not None
        return bool(size["width"] <= NARROW)

    async def open(self, symbol: str = "BTC/USDT", *, logs_in: bool = True) -> None:
        """Log in if asked to, open the page of a symbol, and wait until it is live."""
        if logs_in:
            await self.watched.log_in(self.trader.server.url, self.trader.username, self.trader.password)
        await self.page.goto(f"{self.trader.server.url}/trading?symbol={symbol}")
        await self.stands()

    async def stands(self) -> None:
        """Wait until the page is live and has its ticket."""
        await self.watched.become_live()
        await self.page.wait_for_selector("#ticket-form", state="attached")
        await self.is_within("it is wider than its window")

    async def is_within(self, what: str) -> None:
        """Nothing scrolls sideways."""
        assert await self.watched.overflow() <= 0, what

    async def shot(self, name: str) -> None:
        """Keep a picture where SHOTS says."""
        folder = os.environ.get("SHOTS")
        if folder:
            await self.page.screenshot(path=f"{folder}/{name}.png", caret="initial")

    async def choose_symbol(self, symbol: str) -> None:
        """Take another symbol from the list of markets."""
        if self.is_narrow:
            await self.page.click("#pair")
            await self.watched.see("#markets:popover-open")
        await self.page.click(f".mk-row[data-symbol='{symbol}'] .mk-link")
        await self.watched.see(f"#price-panel[data-symbol='{symbol}']")
        await self.stands()

    # ---- the ticket

    async def fill_ticket(self, side: str, kind: str, **fields: str) -> None:
        """Open the ticket where it is a sheet, and fill it in."""
        if self.is_narrow:
            if not await self.page.locator("#ticket-panel:popover-open").count():
                await self.page.click(f"[data-open-ticket={side}]")
            await self.watched.see("#ticket-panel:popover-open")
        for name, value in (("side", side), ("kind", kind)):
            await self.page.click(f"#ticket-form label:has([name={name}][value={value}])")
            await self.watched.see(f"#ticket-form [name={name}][value={value}]:checked")
        if "stop_loss" in fields and not await self.page.locator("#ticket-bracket[open]").count():
            await self.page.click("#ticket-bracket summary")
        for name, value in fields.items():
            await self.page.fill(f"#tk-{name.replace('__', '-')}", value)

    async def send(self, side: str, kind: str, **fields: str) -> None:
        """Fill the ticket in, say yes to the question, and wait for what came of it."""
        await self.fill_ticket(side, kind, **fields)
        before = await self.page.evaluate(_RESULTS)
        await self.page.click("#ticket-submit")
        await self.watched.see(ASKED)
        await self.is_within(f"the question of {kind}")
        await self.page.click("#ticket-confirm")
        await self.watched.see(ASKED, count=0)

        async def has_come() -> bool:
            return await self.page.evaluate(_RESULTS) not in ("", before)

        await eventually_async(has_come, f"an answer to the {kind} order")
        assert await self.page.locator("#ticket-result .note.err").count() == 0, await self.watched.text("#ticket-result")
        await self.shot(f"day-{'phone' if self.is_narrow else 'desktop'}-{kind}")
        await self.put_ticket_away()

    async def put_ticket_away(self) -> None:
        """Close the sheet, where it is one."""
        if self.is_narrow:
            await self.page.click("[data-close-ticket]")
            await self.watched.see("#ticket-panel:popover-open", count=0)

    async def is_denied(self, words: str, side: str, kind: str, **fields: str) -> None:
        """Fill the ticket in and press the button: nothing is asked, and the sentence stands in the ticket."""
        await self.fill_ticket(side, kind, **fields)
        await self.page.click("#ticket-submit")

        async def says() -> bool:
            return words in await self.watched.text("#ticket-form")

        await eventually_async(says, f"the ticket says {words!r}")
        assert await self.page.locator(ASKED).count() == 0
        await self.is_within("a denied ticket")
        await self.watched.hear("422")
        await self.shot(f"day-{'phone' if self.is_narrow else 'desktop'}-denied")
        await self.put_ticket_away()

    # ---- the tabs

    async def tab(self, name: str) -> None:
        """Choose one of the tabs."""
        await self.page.click(f"#tab-{name}")
        await self.watched.see(f"#tab-{name}[aria-selected=true]")
        await self.is_within(name)

    async def agree(self, **fields: str) -> None:
        """Fill in the dialog that is open and press its button."""
        await self.watched.see(DIALOG)
        await self.is_within("the dialog")
        for name, value in fields.items():
            await self.page.fill(f"{DIALOG} [name={name}]", value)
        await self.page.click(f"{DIALOG} button[type=submit]")
        await self.watched.see(DIALOG, count=0)

    async def amend(self, order_id: str, **fields: str) -> None:
        """Change an open order by number."""
        await self.tab("open-orders")
        await self.page.click(f"#open-order-{order_id}-move")
        await self.agree(**fields)

    async def ask(self, position_id: str, action: str) -> None:
        """Press a button of a position."""
        await self.tab("positions")
        await self.page.click(f"#guard-{position_id}-{action}")
        await self.watched.see(DIALOG)

    async def drag_stop(self, by_px: int) -> str:
        """Drag the stop of the chart's symbol up by so many pixels, agree, and return the new price."""
        await eventually_async(lambda: self.page.evaluate(_STOP), "the stop is a line of the chart")
        stop = float(await self.page.evaluate(_STOP))
        await self.page.evaluate(f"([a, b]) => {_CHART}.price.priceScale().setVisibleRange({{ from: a, to: b }})", [stop * 0.9, stop * 1.2])
        await asyncio.sleep(0.3)
        box = await self.page.locator("#price-chart").bounding_box()
        assert box is not None
        x, y = box["x"] + 120, box["y"] + await self.page.evaluate(f"(price) => {_CHART}.price.priceToCoordinate(price)", stop)
        await self.page.mouse.move(x, y)
        await self.page.mouse.down()
        await self.page.mouse.move(x, y - by_px, steps=4)
        await self.page.mouse.up()
        await self.watched.see(DIALOG)
        wanted: str = await self.page.input_value(f"{DIALOG} [data-moved]")
        await self.agree()
        return wanted

    # ---- what it shows

    async def open_order_ids(self) -> set[str]:
        """The open orders in the page."""
        rows = await self.page.evaluate(_IDS, "#open-orders tbody tr[id^=open-order-]")
        return {row.removeprefix("open-order-") for row in rows}

    async def positions(self) -> dict[str, str]:
        """Of each position in the page the symbol and the quantity, as they are written."""
        script = """() => Object.fromEntries([...document.querySelectorAll('#positions tr[id^=position-]')]
          .map((row) => [row.dataset.symbol, row.cells[1].textContent.trim()]))"""
        found: dict[str, str] = await self.page.evaluate(script)
        return found

    async def balances(self) -> str:
        """What stands in the tab of the balances."""
        await self.tab("balances")
        return await self.watched.text("#pane-balances")


async def same_everywhere(page: TradingPage) -> None:
    """The page, the API and the exchange's own books say the same. Waits for a while: each is told in its own time."""
    trader, found = page.trader, list[str]()

    async def agree() -> bool:
        nonlocal found
        found = await differences(page, trader)
        return not found

    try:
        await eventually_async(agree, "all say the same", within_s=12)
    except AssertionError:
        raise AssertionError(found) from None


async def differences(page: TradingPage, trader: Trader) -> list[str]:
    """What does not agree, in words."""
    ours, theirs = await asyncio.to_thread(trader.orders), await asyncio.to_thread(trader.placed)
    sent = [order for order in ours if order["venue_order_id"] is not None]
    here = {order["client_order_id"]: Decimal(order["filled_quantity"]) for order in sent}
    there = {order["clientOrderId"]: Decimal(order["executedQty"]) for order in theirs}
    found = [] if here == there else [f"fills: {here} and {there}"]
    is_open = {order["client_order_id"] for order in ours if order["state"] in ("open", "partially_filled")}
    if is_open != (there_open := {order["clientOrderId"] for order in theirs if order["status"] in ("NEW", "PARTIALLY_FILLED")}):
        found.append(f"open: {is_open} and {there_open}")
    shown = await page.open_order_ids()
    if shown != (ids := {order["id"] for order in ours if order["client_order_id"] in is_open}):
        found.append(f"open orders in the page: {shown} and {ids}")
    positions = {one["symbol"]: Decimal(one["quantity"]) for one in await asyncio.to_thread(trader.positions)}
    in_page = {symbol: Decimal(text.replace(",", "")) for symbol, text in (await page.positions()).items()}
    if positions.keys() != in_page.keys() or any(abs(positions[symbol] - in_page[symbol]) >= Decimal("0.0001") for symbol in positions):
        found.append(f"positions: {positions} and {in_page}")
    books, portfolio = await asyncio.to_thread(trader.venue_balances), await asyncio.to_thread(trader.shown_balances)
    if books != portfolio:
        found.append(f"balances: {books} and {portfolio}")
    return found
