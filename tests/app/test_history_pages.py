"""The history's pages through the whole application: lists, filters, what comes when one reads on, one order, one round trip, notes."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from app.ui.history import HistoryQuestion
from app.ui.moments import moment_of
from app.ui.views import Reader
from benchmarks.seeded import seed
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABS = ["orders", "attempts", "fills", "trades"]
PARIS = Reader(language="fr", timezone="Europe/Paris")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        user = (await running.ada.call("GET", "/api/auth/current")).json()
        newest = running.app.state.clock.now()
        await seed(running.app.state.platform_database, UUID(user["id"]), UUID(running.ada.ids["broker_id"]), orders=3000, until=newest)
        yield running


async def get(person: Person, path: str, **query: str) -> str:
    answer = await person.browse("GET", path, params=query or None)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


@asynccontextmanager
async def speaking(person: Person, language: str) -> AsyncIterator[None]:
    """Let pages be in that language inside the block."""
    for chosen in (language, "en"):
        told = await person.call("PUT", "/api/auth/preferences", json={"language": chosen})
        assert told.status_code == 200, told.text
        if chosen == language:
            yield
        if language == "en":
            return


async def post(person: Person, path: str, **form: Any) -> httpx.Response:
    return await person.browse("POST", path, data=form, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"})


def rows(page: str) -> list[str]:
    """The links of the rows, each once."""
    return re.findall(r'<tr[^>]*>\s*<td class="head"><a href="(/[^"]+)"', page)


@pytest.mark.parametrize(("language", "word"), [("en", "Export CSV"), ("fr", "Exporter")])
@pytest.mark.parametrize("tab", TABS)
async def test_list_has_a_page_of_thirty_days_in_both_languages(site: Site, tab: str, language: str, word: str) -> None:
    async with speaking(site.ada, language):
        page = await get(site.ada, f"/history/{tab}")
    assert 0 < len(rows(page)) <= 50
    assert re.search(rf'<html[^>]*lang="{language}"', page)
    assert word in page
    assert f'href="/history/{tab}" aria-current="page"' in page
    assert f"/api/{tab}/export?from=" in page
    assert 'href="/history" aria-current="page"' in page


@pytest.mark.parametrize("tab", TABS)
async def test_reading_on_brings_every_row_once(site: Site, tab: str) -> None:
    page = await get(site.ada, f"/history/{tab}", range="90d")
    found, places = rows(page), 1
    while more := re.search(r'hx-get="([^"]+/rows\?[^"]+)"', page):
        page = (await site.ada.browse("GET", html.unescape(more[1]), headers={"HX-Request": "true"})).text
        assert page.strip().startswith("<tbody id=")
        found += rows(page)
        places += 1
    assert places > 3
    everything = (await site.ada.browse("GET", f"/api/{tab}", params={"limit": "500", "from": since_90_days(site)})).json()["items"]
    assert len(found) == len(everything)


def since_90_days(site: Site) -> str:
    return str(HistoryQuestion(tab="orders", range="90d").which(Reader(), site.app.state.clock.now()).since)


async def test_filter_comes_from_the_address_and_goes_back_into_it(site: Site) -> None:
    query = {"range": "all", "symbol": "btc", "side": "sell", "state": "filled", "source": "bot"}
    page = await get(site.ada, "/history/orders", **query)
    assert rows(page)
    assert set(re.findall(r"<b>(\w+/\w+)</b>", page)) == {"BTC/USDT"}
    assert '<option value="sell" selected>' in page
    answer = await site.ada.browse("GET", "/history/orders", params=query, headers={"HX-Request": "true"})
    assert answer.headers["HX-Replace-Url"].startswith("/history/orders?range=all&symbol=btc&side=sell")
    assert answer.text.lstrip().startswith('<section class="panel history" id="history-list"')
    assert "symbol=btc" in html.unescape(re.findall(r'href="(/api/orders/export[^"]*)"', page)[0])


async def test_what_cannot_be_meant_asks_for_nothing(site: Site) -> None:
    everything = rows(await get(site.ada, "/history/orders"))
    odd = {"side": "up", "state": "gone", "broker": "mine", "cursor": "x~y", "range": "century", "type": "<b>"}
    assert rows(await get(site.ada, "/history/orders", **odd)) == everything
    assert rows(await get(site.ada, "/history/orders", symbol="PEPE\x00", text="'); --")) == []
    tokyo = {"Cookie": f"sid={site.ada.cookie}; tz=Asia/Tokyo"}
    answer = await site.ada.http.request("GET", "/history/orders", params={"since": "0001-01-01"}, headers=tokyo)
    assert answer.status_code == 200, answer.text
    assert "Nothing in this range" in await get(site.ada, "/history/trades", symbol="PEPE/USDT")


async def test_round_trips_are_summed_over_the_whole_range(site: Site) -> None:
    page = await get(site.ada, "/history/trades", range="all", symbol="ETH/BTC")
    told = await site.ada.call("GET", "/api/trades", params={"symbol": "ETH/BTC", "with_sums": True})
    sums = told.json()["sums"]
    totals = " ".join(re.sub(r"<[^>]+>", " ", page[page.index('id="history-totals"') :][:1500]).split())
    assert f"Round trips {sums['trades']} Won" in totals
    assert "Net P&L in BTC" in totals


async def test_an_attempt_has_its_reason_and_opens_what_it_was(site: Site) -> None:
    page = await get(site.ada, "/history/attempts", range="all", text="95 s old")
    assert rows(page)
    assert all(link.startswith("/webhooks/deliveries/") for link in rows(page))
    denied = await get(site.ada, "/history/attempts", range="all", state="denied")
    assert any(link.startswith("/history/orders/") for link in rows(denied))
    assert "minimum" in denied


async def test_an_order_tells_its_story(site: Site) -> None:
    page = await get(site.ada, f"/history/orders/{site.ada.ids['order_id']}")
    for words in ("The order was wished for and stored", "Taken to be sent", "until the exchange answered", "You, by hand", "Limit price"):
        assert words in page
    async with speaking(site.ada, "fr"):
        assert "Pris pour l&#39;envoi" in await get(site.ada, f"/history/orders/{site.ada.ids['order_id']}")
    sold = await site.ada.call("GET", "/api/orders", params={"source": "webhook", "state": "filled", "limit": "1"})
    of_alert = await get(site.ada, f"/history/orders/{sold.json()['items'][0]['id']}")
    assert "An alert" in of_alert
    assert "/webhooks/deliveries/" in of_alert
    assert 'href="/history/trades/' in of_alert


async def test_a_round_trip_opens_with_its_fills_and_its_note_is_changed_in_place(site: Site) -> None:
    link = rows(await get(site.ada, "/history/trades"))[0]
    page = await get(site.ada, link)
    assert "data-fill" in page
    assert 'href="/history/orders/' in page
    kept = await post(site.ada, f"{link}/note", text="<b>Too</b> early", tags="Fomo, plan")
    assert kept.status_code == 200
    assert "&lt;b&gt;Too&lt;/b&gt; early" in kept.text
    assert 'value="fomo, plan"' in kept.text
    assert link in rows(await get(site.ada, "/history/trades", text="too</b> EARLY"))
    assert rows(await get(site.ada, "/history/trades", tag="fomo")) == [link]
    refused = await post(site.ada, f"{link}/note", text="x" * 2001)
    assert refused.status_code == 422
    assert "2,000 characters" in refused.text
    removed = await post(site.ada, f"{link}/note", text="", tags="")
    assert removed.status_code == 200
    assert rows(await get(site.ada, "/history/trades", tag="fomo")) == []


async def test_first_address_leads_to_the_orders(site: Site) -> None:
    answer = await site.ada.browse("GET", "/history")
    assert (answer.status_code, answer.headers["location"]) == (303, "/history/orders")


@pytest.mark.parametrize(
    ("day", "hours", "begins"),
    [
        ("2026-10-24", 24, datetime(2026, 10, 23, 22, tzinfo=UTC)),
        ("2026-10-25", 25, datetime(2026, 10, 24, 22, tzinfo=UTC)),
        ("2026-03-29", 23, datetime(2026, 3, 28, 23, tzinfo=UTC)),
    ],
)
async def test_a_day_is_the_reader_s_own_also_when_clocks_are_turned(day: str, hours: int, begins: datetime) -> None:
    asked = HistoryQuestion(tab="orders", since=day, until=day, range="7d").which(PARIS, datetime(2026, 11, 1, tzinfo=UTC))
    assert asked.since == begins
    assert asked.until is not None
    assert (asked.until.astimezone(UTC) - begins).total_seconds() == hours * 3600
    assert moment_of("2026-10-25T02:30", PARIS) is not None


async def test_a_day_in_the_address_is_a_day_of_the_reader_s_zone(site: Site) -> None:
    everything = (await site.ada.call("GET", "/api/orders", params={"limit": "500"})).json()["items"]
    day = everything[100]["created_at"][:10]
    tokyo = {"Cookie": f"sid={site.ada.cookie}; tz=Asia/Tokyo"}
    answer = await site.ada.http.request("GET", "/history/orders", params={"since": day, "until": day}, headers=tokyo)
    begin = datetime.fromisoformat(f"{day}T00:00:00+09:00")
    expected = [item["id"] for item in everything if 0 <= (datetime.fromisoformat(item["created_at"]) - begin).total_seconds() < 86400]
    assert expected
    assert [link.rpartition("/")[2] for link in rows(answer.text)] == expected
