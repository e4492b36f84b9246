"""Every page as axe-core sees it in a real Chromium: no violation in either theme, with its dialogs and menus closed and open."""

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from app.ui.assets import Assets
from app.ui.templating import Templating
from tests.conftest import Size
from tests.ui import sample_views
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(templating: Templating, assets: Assets) -> AsyncIterator[str]:
    async with serving(build_app(templating, assets)) as address:
        yield address


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


def looks_of(name: str, *, is_full: bool) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Both looks of a page; one of each of its variants (`portfolio-empty`), which share most of their parts, in turn."""
    return LOOKS if is_full or "-" not in name else LOOKS[len(name) % 2 :][:1]


@pytest.mark.parametrize("name", sorted(sample_views.pages()))
async def test_page_has_no_violation(name: str, browser: Browser, base: str, size: Size) -> None:
    found: list[str] = []
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    page = await context.new_page()
    # What comes live has tests of its own, and a region that changes while it is looked at belongs to nobody.
    await page.route("**/events*", lambda route: route.abort())
    # Languages take turns: what axe-core looks at is the same in both but for the words.
    await page.goto(f"{base}/page/{name}?lang={'fr' if len(name) % 2 else 'en'}")
    await page.add_style_tag(content=STANDING)
    await page.evaluate(AXE)
    for theme, (width, height) in looks_of(name, is_full=size(0, full=1) == 1):
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        found += await violations(page, f"{theme} {width}")
        for opened in await page.evaluate("() => [...document.querySelectorAll('dialog[id], .menu[popover]')].map((one) => one.id)"):
            await page.evaluate(OPEN, opened)
            found += await violations(page, f"{theme} {width} #{opened}", opened)
            await page.evaluate(CLOSE, opened)
    await context.close()
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
