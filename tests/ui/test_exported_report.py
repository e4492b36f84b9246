"""The HTML report as a file that somebody opens by double click, in a real Chromium."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser

from app.backtests.export import ExportKind, exported
from tests.backtests.runs import exported_like
from tests.ui.test_axe import AXE, browser, violations
from tests.ui.test_pages_in_chromium import CHROMIUM

__all__ = ["browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest.mark.parametrize(
    ("theme", "width", "language"), [("dark", 1440, "en"), ("light", 390, "fr"), ("light", 320, "en")], ids=lambda value: str(value)
)
async def test_the_report_opens_alone_fits_and_can_be_read(
    theme: Literal["dark", "light"], width: int, language: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(
        exported(exported_like(strategy="A name_that_is_very_long_" * 5, note="two\nlines"), ExportKind.HTML, language=language)
    )
    # Its own policy forbids scripts, axe's too.
    context = await browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}, bypass_csp=True)
    page = await context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    await page.goto(file.as_uri())
    assert (asked, said) == ([file.as_uri()], [])
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark, background) == ((True, "rgb(10, 14, 20)") if theme == "dark" else (False, "rgb(238, 242, 246)"))
    await page.evaluate(AXE)
    assert await violations(page, f"{theme} {width}") == []
    await context.close()
