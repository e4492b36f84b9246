"""A text or a symbol is looked for in so many attempts at a time, and nothing that fits is ever left out of the file."""

import csv
import io
import re
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from app.webhooks.log import SEARCHED_AT_ONCE, LogFilter, page_of_log
from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 2 * SEARCHED_AT_ONCE + 500
#: Attempts of one minute after the other; of the oldest, one in the middle and the newest the message says something of its own.
_PUT = """
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, parsed, decision)
SELECT ('0100' || lpad(to_hex(n), 8, '0') || '-7000-8000-000000000000')::uuid, $1, $2, timestamptz '2026-01-01' + n * interval '1 minute',
       CASE WHEN n IN (1, $3 / 2, $3) THEN 'a rare word, sol-usdt' ELSE 'buy BTCUSDT' END, 20,
       CASE WHEN n IN (1, $3 / 2, $3) THEN '{"alerts": [{"symbol": "SOL/USDT"}, {"symbol": "LINKUSDT"}]}'::jsonb END, 'executed'
  FROM generate_series(1, $3::int) n
"""


async def log_of_ada(site: Site) -> UUID:
    """Whose the log is, with many attempts in it."""
    state, hook = site.app.state, UUID(site.ada.ids["webhook_id"])
    user_id: UUID = (await state.accounts.by_cookie(site.ada.cookie)).user_id
    async with state.platform_database.connection() as connection:
        await connection.execute("DELETE FROM webhook_deliveries WHERE user_id = $1", user_id)
        await connection.execute(_PUT, hook, user_id, MANY)
    return user_id


async def pages(site: Site, user_id: UUID, **which: Any) -> list[list[Any]]:
    found, cursor = [], None
    while True:
        rows, cursor = await page_of_log(site.app.state.platform_database, user_id, which=LogFilter(**which), limit=50, cursor=cursor)
        found.append([row["received_at"] for row in rows])
        if cursor is None:
            return found


@pytest.mark.parametrize(
    "which", [{"text": "RARE word"}, {"symbol": "sol/usdt"}, {"symbol": "LINK-USDT"}, {"text": "rare", "symbol": "SOL_"}]
)
async def test_search_goes_on_from_page_to_page_until_all_were_looked_through(site: Site, which: dict[str, str]) -> None:
    found = await pages(site, await log_of_ada(site), **which)
    assert [len(page) for page in found] == [1, 1, 1]


async def test_what_is_found_often_fills_its_pages_and_each_attempt_comes_once(site: Site) -> None:
    user_id = await log_of_ada(site)
    found = await pages(site, user_id, text="buy")
    moments = [moment for page in found for moment in page]
    assert {len(page) for page in found[:99]} == {50}
    assert (len(moments), len(set(moments)), moments) == (MANY - 3, MANY - 3, sorted(moments, reverse=True))
    assert [len(page) for page in await pages(site, user_id, decision="denied")] == [0], "what an index may answer is not cut"


async def test_page_says_how_many_were_searched_and_offers_to_go_on(site: Site) -> None:
    await log_of_ada(site)
    address, shown, states = "/webhooks/log?text=nothing+like+this", [], []
    while address:
        html = (await site.ada.browse("GET", address)).text
        shown.append("5000 attempts were searched" in html)
        states.append("among the attempts that were searched" in html)
        button = re.search(r'hx-get="([^"]*cursor=[^"]*)"[^>]*>Search older attempts', html)
        address = "" if button is None else button[1].replace("&amp;", "&")
        assert not address or urlsplit(address).path == "/webhooks/log"
    assert shown == states == [True, True, False]


async def test_file_holds_all_that_fit(site: Site) -> None:
    await log_of_ada(site)
    answer = await site.ada.call("GET", "/api/webhooks/deliveries/export", params={"symbol": "SOLUSDT"})
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 3
