"""The page of a strategy as a person uses it: typing into the editor, reading what it says, its files side by side."""

import os
from typing import Any
from uuid import uuid4

from tests.journeys.chromium import Watched
from tests.journeys.eventually import eventually_async
from tests.journeys.trader import Trader

SOURCE = '''from aristobot import Strategy, param, ta


class Trend(Strategy):
    """Long while the fast average is above the slow one."""

    timeframe = "1m"
    warm_up = 60
    fast = param(5, low=2, high=50)
    slow = param(20, low=5, high=200)
    stop_loss = param(0.02, low=0.005, high=0.10)

    def indicators(self, candles):
        self.fast_line = ta.EMA(candles.close, self.fast)
        self.slow_line = ta.EMA(candles.close, self.slow)

    def should_long(self) -> bool:
        return ta.crossed_above(self.fast_line, self.slow_line)

    def should_exit(self) -> bool:
        return ta.crossed_below(self.fast_line, self.slow_line)
'''
_VALUE = "() => document.getElementById('sed-code').value"


def make_strategy(trader: Trader, source: str = SOURCE) -> str:
    """Make a strategy of the trader's and return its id."""
    made = trader.call("POST", "/api/strategies", json={"name": f"Trend {uuid4().hex[:8]}", "source": source})
    return str(made["id"])


class StrategyPage:
    """One open page of a strategy."""

    def __init__(self, watched: Watched, url: str) -> None:
        self.watched = watched
        self.page = watched.page
        self.url = url

    async def open(self) -> "StrategyPage":
        """Open it, or open it again, and wait until the editor stands."""
        await self.page.goto(self.url)
        return await self.is_ready()

    async def is_ready(self) -> "StrategyPage":
        """Wait until the editor stands and listens."""
        await self.watched.see("code-editor#sed-code[data-ready]")
        await self.until("() => document.querySelector('#strategy-editor').dataset.ready === ''", "the page listens")
        return self

    async def another_tab(self) -> "StrategyPage":
        """Open the same page in another tab of the same browser."""
        return await StrategyPage(await self.watched.another_tab(), self.url).open()

    async def text(self) -> str:
        """What stands in the editor."""
        found: str = await self.page.evaluate(_VALUE)
        return found

    async def show(self, part: str) -> None:
        """Switch to a part of the page, where there is room for one at a time."""
        button = self.page.locator(f"[data-sed-show={part}]")
        if await button.is_visible():
            await button.click()

    async def type_at_end(self, text: str) -> None:
        """Click into the editor, go to its end and type."""
        await self.show("code")
        await self.page.locator("#sed-code .cm-content").click()
        await self.page.keyboard.press("Control+End")
        await self.page.keyboard.insert_text(text)

    async def replace_all(self, text: str) -> None:
        """Put another text in place of everything, as somebody who pastes does."""
        await self.show("code")
        await self.page.locator("#sed-code .cm-content").click()
        await self.page.keyboard.press("Control+a")
        await self.page.keyboard.insert_text(text)

    async def says(self, words: str) -> None:
        """Wait until the head says what became of the text."""

        async def is_said() -> bool:
            return words in await self.watched.text("#sed-saved")

        await eventually_async(is_said, f"the head says {words}", within_s=12)

    async def until(self, script: str, what: str, *, within_s: float = 12.0) -> None:
        """Wait until a script of the page returns something true."""

        async def holds() -> bool:
            return bool(await self.page.evaluate(script))

        await eventually_async(holds, what, within_s=within_s)

    async def is_kept(self) -> None:
        """Wait until the server has what stands in the editor."""
        await self.says("Draft kept")

    async def server_text(self) -> Any:
        """What the server has."""
        answer = await self.page.request.get(f"{self.url}/text")
        return (await answer.json())["source"]

    async def shot(self, name: str) -> None:
        """Take a picture if SHOTS names a folder."""
        folder = os.environ.get("SHOTS")
        if folder:
            await self.page.screenshot(path=f"{folder}/{name}.png", caret="initial")
