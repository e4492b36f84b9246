import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvicorn
from playwright.async_api import Browser, Page, async_playwright
from playwright.async_api import Route as Interception
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.core.middleware import CONTENT_SECURITY_POLICY
from app.ui.assets import Assets
from app.ui.templating import Templating
from tests.conftest import Size
from tests.journeys.chromium import installed_chromium
from tests.ui import (
    sample_assistant,
    sample_backtests,
    sample_bots,
    sample_history,
    sample_searches,
    sample_statistics,
    sample_terminal,
    sample_ticket,
    sample_views,
)
from tests.ui.looks import is_turn

CHROMIUM = installed_chromium()
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""
OVERFLOWS = "document.documentElement.scrollWidth > innerWidth || document.getElementById('main').scrollWidth > innerWidth"
#: The page scrolls inside its shell; a document that scrolls as well moves the bars out of the window.
SCROLLS_TWICE = "document.querySelector('.shell') !== null && document.documentElement.scrollHeight > innerHeight"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]


async def candles(request: Request) -> Response:
    if request.query_params.get("timeframe") == "1h":
        return sample_backtests.candles(request)
    minute = 60_000
    return JSONResponse({"items": [[index * minute, 10, 12, 9, 11, 5] for index in range(29_000_000, 29_000_100)]})


def build_app(templating: Templating, assets: Assets) -> Starlette:
    async def page(request: Request) -> Response:
        template, view = sample_views.pages(request.query_params.get("lang", "en"))[request.path_params["name"]]
        return HTMLResponse(templating.page(template, view), headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    async def more_orders(request: Request) -> Response:
        del request
        rows = replace(sample_history.orders(), place="second", more="")
        return HTMLResponse(templating.fragment("fragments/history/_orders_rows.html", rows, reader=sample_views.shell().reader))

    async def figures(request: Request) -> Response:
        del request
        return HTMLResponse(
            templating.fragment("fragments/terminal/_ticket_figures.html", sample_ticket.figures(), reader=sample_views.shell().reader)
        )

    async def assistant(request: Request) -> Response:
        del request
        return HTMLResponse(
            templating.fragment("fragments/assistant/_content.html", sample_assistant.content(), reader=sample_views.shell().reader)
        )

    async def more_symbols(request: Request) -> Response:
        del request
        rows = replace(sample_terminal.markets(), next="", is_first=False)
        return HTMLResponse(templating.fragment("fragments/terminal/_market_rows.html", rows, reader=sample_views.shell().reader))

    async def events(request: Request) -> Response:
        async def messages() -> AsyncIterator[str]:
            orders = templating.partial(
                "fragments/trading/_orders.html", sample_views.orders(), target="orders", reader=sample_views.shell().reader
            )
            # Again and again, as a live server does: a page that is still loading may miss the first, and a slow machine the first many.
            while not await request.is_disconnected():
                yield 'event: candle\ndata: {"s":"BTC/USDT","tf":"1m","t":1740005940000,"o":11,"h":99,"l":10,"c":42,"v":1,"x":false}\n\n'
                yield "".join(f"data: {line}\n" for line in orders.splitlines()) + "\n"
                yield 'event: toast\ndata: {"level":"success","text":"Order filled"}\n\n'
                await asyncio.sleep(0.4)

        return StreamingResponse(messages(), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/static/{path:path}", assets.serve),
            Route("/api/ohlcv", candles),
            Route("/events", events),
            Route("/history/orders/rows", more_orders),
            Route("/trading/ticket/preview", figures, methods=["POST"]),
            Route("/trading/symbols", more_symbols),
            Route("/strategies/{id}/assistant", assistant),
            *sample_searches.routes(templating),
            *sample_bots.routes(),
            *sample_statistics.routes(),
            *sample_backtests.routes(templating),
            Route("/page/{name}", page),
        ]
    )


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await server.shutdown([listener])


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def problems_of(page: Page, address: str) -> list[str]:
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    await page.goto(address)
    await page.wait_for_timeout(120)
    found += await page.evaluate("window.violations")
    if await page.evaluate(OVERFLOWS):
        found.append("scrolls sideways")
    if await page.evaluate(SCROLLS_TWICE):
        found.append("scrolls as a whole, beside its main part")
    return [f"{address}: {problem}" for problem in found]


@pytest.mark.asyncio
@pytest.mark.parametrize(("look", "width", "height", "language"), [(0, 1440, 900, "en"), (1, 390, 844, "fr")])
async def test_no_page_breaks_the_policy_or_its_layout(
    look: int, width: int, height: int, language: str, templating: Templating, assets: Assets, size: Size
) -> None:
    is_full = size(0, full=1) == 1
    problems: list[str] = []
    async with serving(build_app(templating, assets)) as base, chromium() as browser:
        context = await browser.new_context(viewport={"width": width, "height": height})
        await context.add_init_script(NOTE_VIOLATIONS)
        for name in [name for name in sample_views.pages() if is_turn(name, look, is_full=is_full)]:
            page = await context.new_page()
            problems += await problems_of(page, f"{base}/page/{name}?lang={language}")
            await page.close()
    assert problems == [], "\n".join(problems)


@pytest.mark.asyncio
async def test_live_messages_reach_chart_table_and_toasts(templating: Templating, assets: Assets) -> None:
    async with serving(build_app(templating, assets)) as base, chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"{base}/page/dashboard-empty")
        await page.locator("#order-o1").wait_for(timeout=30_000)
        await page.locator(".toast", has_text="Order filled").first.wait_for(timeout=30_000)
        await page.locator("#last-price", has_text="42.00").wait_for(timeout=30_000)


@pytest.mark.asyncio
async def test_a_page_gets_its_stream_however_late_the_extension_arrives(templating: Templating, assets: Assets) -> None:
    async def late(route: Interception) -> None:
        await asyncio.sleep(1.0)
        await route.continue_()

    async with serving(build_app(templating, assets)) as base, chromium() as browser:
        page = await browser.new_page()
        await page.route("**/hx-sse*", late)
        await page.goto(f"{base}/page/dashboard-empty")
        await page.locator("#order-o1").wait_for(timeout=30_000)


@pytest.mark.asyncio
async def test_a_list_goes_on_where_it_ends_as_soon_as_its_end_is_in_sight(templating: Templating, assets: Assets) -> None:
    async with serving(build_app(templating, assets)) as base, chromium() as browser:
        page = await browser.new_page(viewport={"width": 390, "height": 844})
        await page.goto(f"{base}/page/history_orders")
        assert await page.locator("#history-list tbody").count() == 1
        await page.locator("#history-list .more").scroll_into_view_if_needed()
        await page.locator("#rows-second").wait_for()
        assert await page.locator("#history-list tbody").count() == 2
        assert await page.locator("#history-list .more").is_hidden()
