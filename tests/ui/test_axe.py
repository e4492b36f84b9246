"""Every page as axe-core sees it in a real Chromium: no violation in either theme, with its dialogs and menus closed and open."""

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.ui.assets import Assets
from app.ui.templating import Templating
from tests.conftest import Size
from tests.ui import sample_views
from tests.ui.looks import is_turn
from tests.ui.test_pages_in_chromium import CHROMIUM, build_app, chromium, serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
#: Colours that are on their way from one theme to another are nobody's to judge.
STANDING = "*, *::before, *::after { transition: none !important; animation: none !important; }"
OPEN = """(id) => {
  const element = document.getElementById(id);
  if (element.matches("dialog")) element.showModal(); else element.showPopover();
}"""
CLOSE = """(id) => {
  const element = document.getElementById(id);
  if (element.matches("dialog")) element.close(); else element.hidePopover();
}"""
#: Dialogs and menus, by their id and with all that is in them.
CLOSED = "() => [...document.querySelectorAll('dialog[id], .menu[popover]')].map((one) => [one.id, one.outerHTML])"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(templating: Templating, assets: Assets) -> AsyncIterator[str]:
    async with serving(build_app(templating, assets)) as address:
        yield address


async def silence(request: Request) -> Response:
    """A stream that brings nothing: what comes live has its own tests, and a region that changes while it is looked at is nobody's."""

    async def nothing() -> AsyncIterator[str]:
        while not await request.is_disconnected():
            yield ":\n\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(nothing(), media_type="text/event-stream")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet(templating: Templating, assets: Assets) -> AsyncIterator[str]:
    """The same pages with nothing live. (To intercept the stream in the browser would switch its cache off.)"""
    app = build_app(templating, assets)
    app.router.routes.insert(0, Route("/events", silence))
    async with serving(app) as address:
        yield address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One for all pages: it reads scripts and stylesheets once. Axe-core is a script that no page's policy allows."""
    shared = await browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    yield shared
    await shared.close()


async def violations(page: Page, where: str, within: str | None = None) -> list[str]:
    """What axe-core finds in the page, or within the element of that id."""
    found: list[dict[str, Any]] = await page.evaluate(
        "async (id) => (await axe.run((id && document.getElementById(id)) || document, { resultTypes: ['violations'] })).violations"
        ".map(({ id, help, nodes }) =>"
        " ({ id, help, nodes: nodes.map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary) }))",
        within,
    )
    return [f"{where}: {violation['id']}, {violation['help']}: {node}" for violation in found for node in violation["nodes"]]


LOOKS = (("dark", (1440, 900)), ("light", (390, 844)))
NAMES = sorted(sample_views.pages())


def looks_of(name: str, *, is_full: bool) -> list[tuple[str, tuple[int, int]]]:
    """The looks a page is looked at in."""
    return [look for number, look in enumerate(LOOKS) if is_turn(name, number, is_full=is_full)]


async def test_every_page_is_looked_at_and_its_variants_in_both_looks() -> None:
    seen: dict[str, set[tuple[str, tuple[int, int]]]] = {}
    for name in NAMES:
        assert looks_of(name, is_full=False)
        seen.setdefault(name.split("-")[0], set()).update(looks_of(name, is_full=False))
    assert all(looks == set(LOOKS) for looks in seen.values())


@pytest.fixture(scope="module")
def known() -> set[tuple[str, str]]:
    """The dialogs and menus that were looked at: (theme, what is in them)."""
    return set()


@pytest.mark.parametrize("name", NAMES)
async def test_page_has_no_violation(name: str, context: BrowserContext, quiet: str, known: set[tuple[str, str]], size: Size) -> None:
    found: list[str] = []
    is_full = size(0, full=1) == 1
    page = await context.new_page()
    # Languages take turns: what axe-core looks at is the same in both but for the words.
    await page.goto(f"{quiet}/page/{name}?lang={'fr' if len(name) % 2 else 'en'}")
    await page.add_style_tag(content=STANDING)
    await page.evaluate(AXE)
    for theme, (width, height) in looks_of(name, is_full=is_full):
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        found += await violations(page, f"{theme} {width}")
        for opened, inside in await page.evaluate(CLOSED):
            # Those of the shell are the same on a hundred pages, and axe-core takes longer for them than for the page itself.
            if (theme, inside) in known and not is_full:
                continue
            known.add((theme, inside))
            await page.evaluate(OPEN, opened)
            found += await violations(page, f"{theme} {width} #{opened}", opened)
            await page.evaluate(CLOSE, opened)
    await page.close()
    assert found == []


async def test_a_violation_would_be_found(browser: Browser) -> None:
    page = await browser.new_page()
    await page.set_content(
        "<html><body><main><h1>x</h1><button></button><p style='color:#999;background:#fff'>pale</p></main></body></html>"
    )
    await page.evaluate(AXE)
    found = await violations(page, "here")
    await page.close()
    assert {text.split(", ")[0] for text in found} >= {"here: button-name", "here: color-contrast", "here: html-has-lang"}
