"""What a webhook's dialog shows comes with an answer of the server: no violation in it either, in both themes and widths."""

import pytest
from playwright.async_api import Browser

from app.ui.templating import Templating
from tests.ui import sample_views, sample_webhooks
from tests.ui.test_axe import AXE, LOOKS, STANDING, base, browser, violations
from tests.ui.test_pages_in_chromium import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
]
__all__ = ["base", "browser"]

DIALOGS = ("_hook_settings", "_hook_question", "_hook_test")
SHOW = """(html) => {
  const dialog = document.getElementById("hook-card-dialog");
  dialog.innerHTML = html;
  dialog.showModal();
}"""
WIDER = "() => { const dialog = document.getElementById('hook-card-dialog'); return dialog.scrollWidth - dialog.clientWidth; }"


@pytest.mark.parametrize("name", DIALOGS)
async def test_dialog_has_no_violation_and_is_not_wider_than_its_window(
    name: str, browser: Browser, base: str, templating: Templating
) -> None:
    template = f"fragments/webhooks/{name}.html"
    html = templating.fragment(template, sample_webhooks.fragments()[template], reader=sample_views.shell(language="fr").reader)
    found: list[str] = []
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.route("**/events*", lambda route: route.abort())
    await page.goto(f"{base}/page/webhooks?lang=fr")
    await page.add_style_tag(content=STANDING)
    await page.evaluate(AXE)
    await page.evaluate(SHOW, html)
    for theme, (width, height) in LOOKS:
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        found += await violations(page, f"{theme} {width}", "hook-card-dialog")
        assert await page.evaluate(WIDER) <= 0, width
    await context.close()
    assert found == []
