"""The assistant's panel in each of its states: no violation, in both themes and widths, and nothing wider than the panel."""

import pytest
from playwright.async_api import Browser

from app.ui.templating import Templating
from tests.ui import sample_assistant, sample_views
from tests.ui.test_axe import AXE, LOOKS, STANDING, base, browser, violations
from tests.ui.test_pages_in_chromium import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
]
__all__ = ["base", "browser"]

#: The page's script has taken the panel over already: what it renders is put into the panel, as an answer of the server is.
SHOW = """(html) => {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  document.getElementById("assistant-content").replaceWith(holder.content.querySelector("#assistant-content"));
  document.dispatchEvent(new Event("htmx:after:swap"));
  for (const details of document.querySelectorAll("#assistant details")) details.open = true;
}"""
SEEN = "(name) => document.querySelector(`[data-sed-show=${name}]`)?.click()"
WIDER = "() => { const one = document.getElementById('assistant-content'); return one.scrollWidth - one.clientWidth; }"


@pytest.mark.parametrize("name", sorted(set(sample_assistant.panels()) - {"loading"}))
async def test_panel_has_no_violation_and_is_not_wider_than_its_place(
    name: str, browser: Browser, base: str, templating: Templating
) -> None:
    reader = sample_views.shell(language="fr").reader
    html = templating.fragment("fragments/assistant/_panel.html", sample_assistant.panels()[name], reader=reader)
    found: list[str] = []
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.route("**/events*", lambda route: route.abort())
    await page.goto(f"{base}/page/strategy-editor?lang=fr")
    await page.add_style_tag(content=STANDING)
    await page.locator("#assistant-content[data-state]").wait_for(state="attached")
    await page.evaluate(AXE)
    await page.evaluate(SHOW, html)
    for theme, (width, height) in LOOKS:
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        await page.evaluate(SEEN, "assistant")
        assert await page.is_visible("#assistant"), width
        found += await violations(page, f"{theme} {width}", "assistant")
        assert await page.evaluate(WIDER) <= 0, width
    await context.close()
    assert found == []


async def test_an_answer_becomes_paragraphs_and_blocks_and_nothing_else(browser: Browser, base: str) -> None:
    page = await browser.new_page()
    await page.goto(f"{base}/page/strategy-editor")
    await page.locator("[data-id=m2] pre").first.wait_for(state="attached")
    answer = page.locator("[data-id=m2] .assistant-text")
    assert await answer.evaluate("(one) => [...one.children].map((child) => child.localName)") == ["p", "details", "p", "pre"]
    assert await answer.locator("pre").first.text_content() == sample_assistant.PROPOSAL.rstrip("\n")
    assert "<script>alert(" in (await answer.locator("p").last.inner_text())
    assert await answer.locator("script, img").count() == 0
    await page.close()
