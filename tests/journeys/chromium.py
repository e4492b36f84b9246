"""A real Chromium, and pages that remember every complaint of the browser."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, async_playwright

from tests.journeys.eventually import eventually_async

#: The same browser without its own windows and pages comes first: it takes half the processor time.
NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESKTOP: Final = (1440, 900)
PHONE: Final = (390, 844)
#: Every page is looked at in both widths in each run; what is done in a page is done on a phone too with --full.
BOTH_WIDTHS: Final = (pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone", marks=pytest.mark.full))
#: Runs before each page's own scripts; a violation of the policy becomes a complaint like any other.
_WATCH_POLICY: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def installed_chromium() -> str | None:
    """Return the path of the browser that CHROMIUM names or that is installed, if there is one."""
    given = os.environ.get("CHROMIUM")
    found = given if given else next((path for name in NAMES if (path := shutil.which(name))), None)
    return found if found is not None and Path(found).exists() else None


def find_chromium() -> str:
    """Return the path of the browser, or skip the calling test."""
    found = installed_chromium()
    if found is None:
        pytest.skip(f"no Chromium as {', '.join(NAMES)}; install it, or say where it is with CHROMIUM")
    return found


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """A headless browser."""
    path = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watched:
    """A page with what the browser said about it: errors on the console, exceptions, violations of the content policy."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def another_tab(self) -> "Watched":
        """A second tab of the same person; what the browser says of it is kept with the rest."""
        return Watched(await self.context.new_page(), self.context, self.complaints).listen()

    def listen(self) -> "Watched":
        """Begin to remember complaints."""
        self.page.on("console", self.on_console)
        self.page.on("pageerror", self.on_exception)
        self.page.set_default_timeout(10_000)
        return self

    def on_console(self, message: ConsoleMessage) -> None:
        """Keep errors and warnings."""
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def on_exception(self, error: Error) -> None:
        """Keep exceptions that no script caught."""
        self.complaints.append(f"exception: {error}")

    def forget(self, is_expected: Callable[[str], bool]) -> None:
        """Drop complaints that the test caused on purpose."""
        self.complaints[:] = [text for text in self.complaints if not is_expected(text)]

    async def hear(self, words: str) -> None:
        """Wait for a complaint that the test causes on purpose, and drop it: it comes in its own time, often after the page shows why."""

        async def has_come() -> bool:
            return any(words in text for text in self.complaints)

        await eventually_async(has_come, f"the browser complains of {words}")
        self.forget(lambda text: words in text)

    async def see(self, selector: str, *, count: int = 1, within_s: float = 8.0) -> None:
        """Wait until that many elements match."""

        async def matches() -> bool:
            return await self.page.locator(selector).count() == count

        await eventually_async(matches, f"{count} × {selector}", within_s=within_s)

    async def text(self, selector: str) -> str:
        """Return the text of the one element that matches, as it is read."""
        return " ".join((await self.page.locator(selector).inner_text()).split())

    async def attribute(self, name: str) -> str | None:
        """Return an attribute of the document's root."""
        return await self.page.locator("html").get_attribute(name)

    async def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        wider: int = await self.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    async def log_in(self, url: str, username: str, password: str) -> None:
        """Fill in the form as a person does, and wait for the dashboard."""
        await self.page.goto(f"{url}/login")
        await self.page.fill("#username", username)
        await self.page.fill("#password", password)
        await self.page.click("#login-form button[type=submit]")
        await self.page.wait_for_url(f"{url}/")

    async def become_live(self) -> None:
        """Wait until the page's event stream brings something."""

        async def is_fresh() -> bool:
            return await self.attribute("data-live") == "fresh"

        await eventually_async(is_fresh, "the page is live")


@asynccontextmanager
async def watched_page(browser: Browser, size: tuple[int, int] = DESKTOP, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own. Leaving it fails if the browser complained."""
    width, height = size
    context = await browser.new_context(viewport={"width": width, "height": height}, locale="en-GB", **options)
    try:
        await context.add_init_script(_WATCH_POLICY)
        watched = Watched(await context.new_page(), context).listen()
        yield watched
        assert not watched.complaints, watched.complaints
    finally:
        await context.close()
