"""The trading page, its list of symbols, its favourites, its lines and what its rows do; through the whole application."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import Request

from app.accounts.favourites import MOST
from app.core.tenancy import working_for
from app.marketdata.lookout import lookout_of
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.conftest import NOW_MINUTE, script
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "50000"}
BRACKET = {
    "symbol": "BTCUSDT",
    "side": "buy",
    "quantity": "0.01",
    "stop_loss": "40000",
    "take_profits": [{"price": "90000", "percent": "50"}],
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000 until a test moves it."""
    path = script(tmp_path_factory.mktemp("market"))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: PostgresForTests, market: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(postgres, market, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def more_symbols(site: Site) -> None:
    """A hundred further symbols, some of them quoted in USDC."""
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            "INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)"
            " SELECT gen_random_uuid(), 'binance', 'C' || n || '/' || q, 'spot', 'C' || n, q, true, now(), 0.01, 0.001, '{}'"
            " FROM (SELECT n, CASE WHEN n % 10 = 0 THEN 'USDC' ELSE 'USDT' END AS q FROM generate_series(100, 199) n) s"
        )
    await site.app.state.instruments.reload("binance")


@pytest_asyncio.fixture(loop_scope="module")
async def order(site: Site) -> AsyncIterator[str]:
    """The id of ada's open limit order at 50000."""
    made = await site.ada.call("POST", "/api/orders", json=LIMIT)
    assert made.status_code == 201, made.text
    yield made.json()["id"]
    await site.ada.call("DELETE", "/api/orders")


@pytest_asyncio.fixture(loop_scope="module")
async def position(site: Site) -> AsyncIterator[str]:
    """The id of ada's open position, which has a stop at 40000 and a target at 90000 for a half."""
    assert (await site.ada.call("POST", "/api/orders", json=BRACKET)).status_code == 201
    (found,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    yield found["id"]
    await site.ada.call("POST", f"/api/positions/{found['id']}/close")


async def post(person: Person, path: str, **form: Any) -> httpx.Response:
    return await person.browse("POST", path, data=form, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"})


def toast(answer: httpx.Response) -> tuple[str, str]:
    told = json.loads(answer.headers["HX-Trigger"])["toast"]
    return told["level"], told["text"]


def symbols(html: str) -> list[str]:
    return re.findall(r'class="mk-row" data-symbol="([^"]+)"', html)


async def text(person: Person, path: str) -> str:
    answer = await person.browse("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.text


async def first_messages(site: Site, person: Person, *topics: str) -> dict[str, Any]:
    """What the stream of a page with these topics says first, by name."""
    principal = await site.app.state.accounts.by_cookie(person.cookie)
    request = Request({"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": []})
    regions, templating = regions_of(request, principal), templating_of(request)
    stream = PageStream(request, frozenset(topics), principal=principal, regions=regions, templating=templating)
    told: dict[str, Any] = {}
    with working_for(principal.user_id):
        async with asyncio.timeout(20), aclosing(stream.messages()) as messages:
            async for message in messages:
                for name, data in re.findall(r"event: (\w+)\ndata: (.*)\n", message.decode()):
                    told[name] = json.loads(data)
                if re.search(r'hx-target="#open-orders"', message.decode()):
                    told["open-orders"] = message.decode()
                if {"lines", "market"} <= told.keys():
                    return {**told, "watched": lookout_of(site.app).watchers.watched}
    raise AssertionError(told)


@pytest.mark.usefixtures("more_symbols")
async def test_the_page_is_about_the_default_account_and_the_symbol_looked_at_last(site: Site) -> None:
    page = await text(site.ada, "/trading")
    assert 'data-symbol="BTC/USDT" data-timeframe="5m"' in page
    assert f'data-account="{site.ada.ids["broker_id"]}"' in page
    await text(site.ada, "/trading?symbol=C101/USDT&timeframe=4h")
    page = await text(site.ada, "/trading")
    assert 'data-symbol="C101/USDT" data-timeframe="5m"' in page
    page = await text(site.ada, "/trading?symbol=BTCUSDT&timeframe=7m&broker=nobody")
    assert 'data-symbol="BTC/USDT" data-timeframe="5m"' in page


async def test_somebody_without_an_account_is_told_what_to_do(site: Site) -> None:
    page = await text(site.eve, "/trading")
    assert "No account to trade with yet" in page
    assert 'data-symbol="BTC/USDT"' in page, "the market is there all the same"


@pytest.mark.usefixtures("more_symbols")
async def test_the_list_is_found_by_text_and_filter_and_goes_on_when_its_end_is_seen(site: Site) -> None:
    rows = await text(site.ada, "/trading/symbols?quote=USDT")
    assert len(symbols(rows)) == 60
    (following,) = re.findall(r'class="mk-more" hx-get="([^"]+)"', rows)
    rest = await text(site.ada, following.replace("&amp;", "&"))
    assert "<ul" not in rest, "the rows alone take the place of the list's end"
    assert not set(symbols(rest)) & set(symbols(rows))
    assert len(symbols(rows)) + len(symbols(rest)) == 91
    assert symbols(await text(site.ada, "/trading/symbols?q=c12&quote=USDC")) == ["C120/USDC"]
    assert symbols(await text(site.ada, "/trading/symbols?q=c101-us&quote=all")) == ["C101/USDT"]
    assert "No symbol fits" in await text(site.ada, "/trading/symbols?q=zzz&quote=all")


@pytest.mark.usefixtures("more_symbols")
async def test_favourites_come_first_and_are_one_persons_own(site: Site) -> None:
    answer = await post(site.ada, "/trading/favourites", symbol="C177/USDT", is_favourite="true")
    assert 'aria-pressed="true"' in answer.text
    await post(site.ada, "/trading/favourites", symbol="C120/USDC", is_favourite="true")
    assert symbols(await text(site.ada, "/trading/symbols?quote=favourites")) == ["C120/USDC", "C177/USDT"]
    shown = symbols(await text(site.ada, "/trading/symbols?quote=USDT"))
    assert shown[0] == "C177/USDT"
    assert shown.count("C177/USDT") == 1
    assert "No favourites yet" in await text(site.eve, "/trading/symbols?quote=favourites")
    for symbol in ("C177/USDT", "C120/USDC"):
        await post(site.ada, "/trading/favourites", symbol=symbol, is_favourite="false")
    assert "No favourites yet" in await text(site.ada, "/trading/symbols?quote=favourites")
    assert (await post(site.ada, "/trading/favourites", symbol="NO/SUCH", is_favourite="true")).status_code == 404


async def test_nobody_has_more_favourites_than_a_list_can_show(site: Site) -> None:
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    async with site.app.state.platform_database.connection() as connection:
        statement = "INSERT INTO favourite_symbols (user_id, exchange, symbol) SELECT $1, 'binance', 'F' || n FROM generate_series(1, $2) n"
        await connection.execute(statement, principal.user_id, MOST)
    answer = await post(site.eve, "/trading/favourites", symbol="BTC/USDT", is_favourite="true")
    assert answer.status_code == 422
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("DELETE FROM favourite_symbols WHERE user_id = $1", principal.user_id)


async def test_the_stream_brings_lines_the_last_day_and_watches_the_symbol_while_it_is_open(site: Site, order: str, position: str) -> None:
    broker, at = site.ada.ids["broker_id"], site.app.state.clock.now()
    site.app.state.quotes.put("BTC/USDT", at=at, bid=Decimal("59999.5"), ask=Decimal(60000), last=Decimal(60000))
    told = await first_messages(site, site.ada, f"terminal:{broker}:BTC/USDT", "open-orders", "chart")
    lines = {(line["kind"], line["p"], line["movable"]) for line in told["lines"]}
    assert ("order", "50000", True) in lines
    assert ("stop", "40000", True) in lines
    assert ("target", "90000", True) in lines
    assert {line["id"] for line in told["lines"] if line["kind"] == "entry"} == {position}
    assert {line["id"] for line in told["lines"] if line["kind"] == "order"} >= {order}
    assert (told["market"]["last"], told["market"]["spread"]) == ("60000", "0.5")
    assert set(told["market"]) == {"last", "change", "high", "low", "volume", "turnover", "spread"}
    assert told["watched"] == {"BTC/USDT": 1}
    hers = await first_messages(site, site.eve, f"terminal:{broker}:BTC/USDT", "chart")
    assert hers["lines"] == [], "another person's account is nobody's"
    assert lookout_of(site.app).watchers.watched == {}, "nobody looks any more"


async def test_a_line_that_is_moved_asks_with_both_prices_and_changes_the_order(site: Site, order: str) -> None:
    question = await text(site.ada, f"/trading/orders/{order}/move?price=50100.004")
    assert re.search(r"50,000.00.*50,100.00", question, re.DOTALL)
    assert 'name="price" value="50100"' in question
    answer = await post(site.ada, f"/trading/orders/{order}/amend", price="50100", quantity="0.01")
    assert (answer.status_code, toast(answer)) == (200, ("success", "The order is changed."))
    prices = {row["price"] for row in (await site.ada.call("GET", "/api/orders?state=open")).json()["items"]}
    assert "50100" in prices
    (new,) = [row["id"] for row in (await site.ada.call("GET", "/api/orders?state=open")).json()["items"] if row["price"] == "50100"]
    refused = await post(site.ada, f"/trading/orders/{new}/amend", price="50100", quantity="0.00001")
    assert refused.status_code == 422
    assert 'name="quantity" value="0.00001"' in refused.text
    assert "minimum" in refused.text
    assert toast(refused)[0] == "error"
    unreadable = await post(site.ada, f"/trading/orders/{new}/amend", price="a lot")
    assert "This must be a number above 0" in unreadable.text


async def test_a_stop_and_a_target_are_moved_with_everything_else_as_it_was(site: Site, position: str) -> None:
    question = await text(site.ada, f"/trading/positions/{position}/move?line=stop&price=41000.5")
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', question))
    assert fields == {"stop_loss": "41000.5", "target_price": "90000", "target_percent": "50"}
    question = await text(site.ada, f"/trading/positions/{position}/move?line=target&number=0&price=91000")
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', question))
    assert fields == {"stop_loss": "40000", "target_price": "91000", "target_percent": "50"}
    assert (await post(site.ada, f"/positions/{position}/guard", **fields)).status_code == 200
    (guard,) = (await site.ada.call("GET", "/api/protections")).json()["items"]
    assert (guard["stop_loss"], guard["take_profits"]) == ("40000", [{"price": "91000", "percent": "50"}])
    missing = await site.ada.browse("GET", f"/trading/positions/{position}/move?line=target&number=7&price=1")
    assert missing.status_code == 404
    assert (await site.ada.browse("GET", f"/trading/positions/{position}/move?line=stop&price=-1")).status_code == 422


async def test_a_stop_is_moved_also_when_so_much_was_sold_by_hand_that_a_target_is_left_with_nothing(site: Site) -> None:
    halves = [{"price": "90000", "percent": "60"}, {"price": "95000", "percent": "40"}]
    bought = await site.ada.call("POST", "/api/orders", json={**BRACKET, "take_profits": halves})
    assert bought.status_code == 201
    (found,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    assert (await site.ada.call("POST", f"/api/positions/{found['id']}/close", json={"percent": "60"})).status_code == 201
    question = await text(site.ada, f"/trading/positions/{found['id']}/move?line=stop&price=41000")
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', question):
        fields.setdefault(name, []).append(value)
    moved = await post(site.ada, f"/positions/{found['id']}/guard", **fields)
    assert moved.status_code == 200, moved.text
    (guard,) = (await site.ada.call("GET", "/api/protections")).json()["items"]
    assert (guard["stop_loss"], guard["take_profits"]) == ("41000", [{"price": "90000", "percent": "100"}])
    await site.ada.call("POST", f"/api/positions/{found['id']}/close")


async def test_an_order_is_canceled_from_its_row_and_all_of_them_after_a_question(site: Site, order: str, position: str) -> None:
    assert f'id="open-order-{order}"' in await text(site.ada, "/trading")
    answer = await post(site.ada, f"/trading/orders/{order}/cancel")
    assert toast(answer) == ("success", "The order is canceled.")
    assert (await post(site.ada, f"/trading/orders/{order}/cancel")).status_code == 422
    for price in ("50001", "50002"):
        await site.ada.call("POST", "/api/orders", json={**LIMIT, "price": price})
    question = await text(site.ada, "/trading/cancel-all?symbol=BTC/USDT")
    assert question.count("BTC/USDT</b>") == 2, "not the stop"
    assert toast(await post(site.ada, "/trading/cancel-all")) == ("success", "2 orders are canceled.")
    assert (await site.ada.call("GET", "/api/positions")).json()["items"], "a position is not closed by that"


async def test_all_positions_are_closed_by_one_question_and_a_second_click_sends_nothing(site: Site, position: str) -> None:
    question = await text(site.ada, "/trading/close-all")
    (key,) = re.findall(r'name="key" value="([^"]+)"', question)
    assert toast(await post(site.ada, "/trading/close-all", key=key)) == ("success", "1 position is closed or being closed.")
    assert (await site.ada.call("GET", "/api/positions")).json()["items"] == []
    orders = (await site.ada.call("GET", "/api/orders?limit=500")).json()["items"]
    again = await post(site.ada, "/trading/close-all", key=key)
    assert toast(again)[1].startswith("0 positions")
    assert len((await site.ada.call("GET", "/api/orders?limit=500")).json()["items"]) == len(orders)
    assert position not in await text(site.ada, "/trading")


async def test_prices_of_another_exchange_are_called_so(site: Site) -> None:
    async with site.app.state.platform_database.connection() as connection:
        account = await connection.fetchval(
            "INSERT INTO brokers (id, user_id, exchange, name) SELECT gen_random_uuid(), user_id, 'kraken', 'Kraken' FROM brokers"
            " WHERE id = $1::text::uuid RETURNING id",
            site.ada.ids["broker_id"],
        )
        await connection.execute(
            "INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)"
            " VALUES (gen_random_uuid(), 'kraken', 'BTC/USDT', 'spot', 'BTC', 'USDT', true, now(), 0.1, 0.001, '{}'),"
            " (gen_random_uuid(), 'kraken', 'ADA/EUR', 'spot', 'ADA', 'EUR', true, now(), 0.1, 0.001, '{}')"
        )
    page = await text(site.ada, f"/trading?broker={account}&symbol=BTC/USDT")
    assert 'data-exchange="binance"' in page
    assert "Prices: Binance" in page
    assert f"book:kraken:{'BTC/USDT'}".replace(":", "%3A").replace("/", "%2F") in page or "book%3Akraken%3ABTC/USDT" in page
    page = await text(site.ada, f"/trading?broker={account}&symbol=ADA/EUR")
    assert 'data-exchange="kraken"' in page
    assert "No live feed of Kraken" in page
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE brokers SET removed_at = now() WHERE id = $1", account)


async def test_single_keys_are_switched_off_in_the_preferences(site: Site) -> None:
    assert " data-shortcuts" in (await text(site.ada, "/trading"))[:600]
    await post(site.ada, "/preferences", has_shortcuts="off", next="/")
    assert " data-shortcuts" not in (await text(site.ada, "/trading"))[:600]
    assert (await site.ada.call("GET", "/api/auth/current")).json()["id"]
    await post(site.ada, "/preferences", has_shortcuts="on", next="/")
