"""The pictures of the documentation: `uv run python -m tests.journeys.pictures [FOLDER]` starts a demo, trades on it, and takes them.

They are of the real pages with play money on the emulated exchange. PNG, each at most `HEAVIEST` bytes; look at them before you keep them.
"""

import argparse
import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser

from tests.journeys.chromium import DESKTOP, PHONE, Watched, running_chromium, watched_page
from tests.journeys.demo_process import DemoProcess
from tests.journeys.smaller_png import smaller
from tests.postgres import data_folder

HEAVIEST: Final = 200_000
IMAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
#: Market minutes a minute: within two minutes there is something to see in the curve of the account.
SPEED: Final = "30"
_SMALL: Final = (1120, 700)


class Demo:
    """The demo's user, over HTTP."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.http = httpx.AsyncClient(base_url=facts["url"], timeout=20, trust_env=False)

    async def log_in(self) -> None:
        """Log in for a bearer token."""
        login = {"username": self.facts["username"], "password": self.facts["password"]}
        self.http.headers["Authorization"] = f"Bearer {(await self.call('POST', '/api/auth/login', **login))['access_token']}"

    async def call(self, method: str, path: str, **document: Any) -> Any:
        """Send a JSON document and return the answer's."""
        answer = await self.http.request(method, path, json=document or None)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def price(self, symbol: str) -> float:
        """The last price."""
        return float((await self.call("GET", f"/api/ticker?symbol={symbol}"))["last"])

    async def order(self, symbol: str = "BTCUSDT", side: str = "buy", **members: Any) -> None:
        """Place an order."""
        await self.call("POST", "/api/orders", symbol=symbol, side=side, **members)

    async def alert(self, **members: Any) -> None:
        """Send an alert as TradingView would."""
        (await self.http.post(self.facts["webhook_url"], json={"ticker": "BTCUSDT", "action": "buy", **members})).raise_for_status()
        await asyncio.sleep(1)

    async def close_all(self) -> None:
        """Close every position."""
        for position in (await self.call("GET", "/api/positions"))["items"]:
            await self.call("POST", f"/api/positions/{position['id']}/close")


async def trade(demo: Demo) -> None:
    """A morning of a trader: alerts, trades that are over, a guarded position, one that is not, and orders that wait."""
    for _ in range(3):
        await demo.alert(quantity="0.05")
        await demo.order("ETHUSDT", quantity="1.5")
        await asyncio.sleep(20)
        await demo.close_all()
    await demo.alert(action="close")
    await demo.alert(ticker="ETHUSDT", quantity="0.8")
    last = await demo.price("BTCUSDT")
    bracket = {"stop_loss": f"{last * 0.992:.2f}", "take_profit": f"{last * 1.012:.2f}"}
    await demo.order(notional="6000", **bracket)
    await demo.order(type="limit", quantity="0.04", price=f"{last * 0.996:.2f}")
    await demo.order("ETHUSDT", "sell", type="limit", quantity="0.4", price=f"{await demo.price('ETHUSDT') * 1.03:.2f}")
    await asyncio.sleep(16)


@asynccontextmanager
async def page_of(browser: Browser, demo: Demo, size: tuple[int, int], path: str) -> AsyncIterator[Watched]:
    """A live page of the demo's user."""
    async with watched_page(browser, size) as watched:
        await watched.log_in(demo.facts["url"], demo.facts["username"], demo.facts["password"])
        await watched.page.goto(demo.facts["url"] + path)
        await watched.become_live()
        await asyncio.sleep(2.5)
        yield watched


async def keep(watched: Watched, folder: Path, name: str) -> None:
    """Take one picture, and say how heavy it is."""
    path = folder / f"{name}.png"
    path.write_bytes(smaller(await watched.page.screenshot(caret="initial")))
    size = path.stat().st_size
    print(f"{path}  {size / 1000:.0f} kB{'  TOO HEAVY' if size > HEAVIEST else ''}")


async def fill_ticket(watched: Watched, demo: Demo) -> None:
    """A buy that is about to be asked about."""
    last = await demo.price("BTCUSDT")
    await watched.page.check("#ticket-form [name=kind][value=limit]", force=True)
    await watched.page.fill("#tk-price", f"{last * 0.998:.2f}")
    await watched.page.fill("#tk-amount", "2500")
    await asyncio.sleep(1.5)


async def try_strategy(watched: Watched) -> None:
    """Validate what stands in the editor, and try it on candles of which many are stored."""
    await watched.page.select_option("#sed-timeframe", "5m")
    for button, sign in (("#sed-validate", "#step-speed[data-state=passed]"), ("#sed-try", "#trial-chart canvas >> nth=0")):
        await watched.page.click(button)
        await watched.see(sign, within_s=60)
    await watched.page.mouse.move(0, 0)
    await asyncio.sleep(1.5)


async def take_all(demo: Demo, folder: Path) -> None:
    """All pictures, one after the other."""
    trading = "/trading?symbol=BTC/USDT&timeframe=15m"
    async with running_chromium() as browser:
        async with page_of(browser, demo, DESKTOP, trading) as watched:
            await fill_ticket(watched, demo)
            await keep(watched, folder, "terminal")
        async with page_of(browser, demo, PHONE, trading) as watched:
            await keep(watched, folder, "terminal-phone")
        pages = (
            ("bots", "/bots"),
            ("history", "/history"),
            ("portfolio", "/portfolio?period=1d"),
            ("statistics", "/statistics?mode=paper"),
            ("webhooks", "/webhooks"),
        )
        for name, path in pages:
            async with page_of(browser, demo, _SMALL, path) as watched:
                if name == "webhooks":
                    await watched.page.locator("#deliveries").scroll_into_view_if_needed()
                await keep(watched, folder, name)
        made = await demo.call("POST", "/api/strategies", name="Donchian trend", template="donchian_trend")
        async with page_of(browser, demo, DESKTOP, f"/strategies/{made['id']}") as watched:
            await try_strategy(watched)
            await keep(watched, folder, "strategy-editor")
        await demo.call("PUT", "/api/auth/preferences", theme="light", language="fr")
        async with page_of(browser, demo, DESKTOP, trading) as watched:
            await keep(watched, folder, "terminal-light-fr")
        await demo.call("PUT", "/api/auth/preferences", theme="dark", language="en")


async def main(folder: Path) -> None:
    """Start a demo, trade, take the pictures, leave nothing behind."""
    home = data_folder()
    process = DemoProcess(home / "demo", arguments=("--speed", SPEED))
    try:
        demo = Demo((await asyncio.to_thread(process.start)).facts)
        async with demo.http:
            await demo.log_in()
            await trade(demo)
            await take_all(demo, folder)
    finally:
        process.end()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES, help="where they go")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(given.folder))
