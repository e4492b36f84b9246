"""Two people side by side in one server: what one does appears on their own open pages, and nothing of it on the other's."""

import asyncio

import pytest
from playwright.async_api import Browser

from tests.emulator_process import EmulatorProcess
from tests.journeys.chromium import Watched, watched_page
from tests.journeys.conftest import MakeTrader
from tests.journeys.trader import Trader
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio]

PAGES = ("/", "/webhooks", "/brokers", "/account", "/account/tokens", "/account/log")


async def everything_shown_to(watched: Watched, trader: Trader) -> str:
    """All text and markup of all pages, as the browser has it."""
    found = []
    for path in PAGES:
        await watched.page.goto(trader.server.url + path)
        found.append(await watched.page.content())
    return "\n".join(found)


async def test_two_people_see_their_own_things_live_and_nothing_of_each_other(
    browser: Browser, shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader
) -> None:
    ada, eve = (make_trader(shared_server, market).sign_up() for _ in range(2))
    await asyncio.to_thread(ada.set_up)
    await asyncio.to_thread(eve.set_up)
    async with watched_page(browser) as of_ada, watched_page(browser) as of_eve:
        await of_ada.log_in(shared_server.url, ada.username, ada.password)
        await of_eve.log_in(shared_server.url, eve.username, eve.password)
        await of_ada.become_live()
        await of_eve.become_live()
        delivery = await asyncio.to_thread(ada.decided, await asyncio.to_thread(ada.alert, quantity="0.01"))
        assert delivery["decision"] == "executed"
        await of_ada.see("#positions tr.led")
        (order,) = await asyncio.to_thread(ada.orders)
        await of_ada.see(f"#order-{order['id']}")
        # What would come to the other page has had the time to come.
        await asyncio.sleep(2.5)
        assert await of_eve.page.locator("#positions tr.led").count() == 0
        assert order["id"] not in await of_eve.page.content()

        shown_to_eve, shown_to_ada = await everything_shown_to(of_eve, eve), await everything_shown_to(of_ada, ada)
        of_hers = (ada.username, ada.api_key, ada.broker_id, order["id"], order["client_order_id"], delivery["id"])
        assert not [thing for thing in of_hers if thing in shown_to_eve]
        assert {ada.username, ada.api_key, ada.broker_id} <= {thing for thing in of_hers if thing in shown_to_ada}, "she sees them herself"
        for path in (f"/positions/{(await asyncio.to_thread(ada.positions))[0]['id']}/close", f"/brokers/{ada.broker_id}/test"):
            answer = await of_eve.page.request.get(shared_server.url + path)
            assert answer.status in (404, 405), path
