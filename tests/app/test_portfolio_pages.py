"""The portfolio's page, API, files and live messages, through the whole application."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import Request

from app.core.ids import new_id
from app.core.tenancy import working_for
from app.trading.events import BalanceHeard, PortfolioChanged
from app.ui.portfolio import accounts_of
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.conftest import API_SECRET, open_account
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        keys = {"api_key": open_account(standing_emulator), "api_secret": API_SECRET}
        second = await running.ada.call("POST", "/api/brokers", json={"exchange": "binance", "name": "=Second", **keys})
        running.ada.ids["second_id"] = second.json()["id"]
        for name in ("broker_id", "second_id"):
            running.app.state.bus.publish(BalanceHeard(broker_id=UUID(running.ada.ids[name])))
            await until_read(running.ada, running.ada.ids[name])
        yield running


async def until_read(person: Person, broker_id: str) -> None:
    """Wait until an account's worth is known, and what its bitcoin is worth."""
    async with asyncio.timeout(30):
        while True:
            found = (await person.call("GET", "/api/portfolio", params={"broker_id": broker_id, "currency": "BTC"})).json()
            if found["profit"]["all"]["amount"] is not None and found["rate_missing"] is None:
                return
            await asyncio.sleep(0.05)


async def execute(site: Site, sql: str, *values: object) -> None:
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(sql, *values)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flow(site: Site) -> str:
    """The id of a deposit of 250000 in ada's first account just now."""
    flow_id = new_id()
    user = (await site.ada.call("GET", "/api/auth/current")).json()["id"]
    at = site.app.state.clock.now()
    await execute(
        site,
        """INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
           VALUES ($1, $2, $3, 'USDT', 250000, 250000, $4, $4, $4, 'deposit')""",
        flow_id,
        UUID(user),
        UUID(site.ada.ids["broker_id"]),
        at,
    )
    await execute(
        site,
        "INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt) SELECT $1, $2, $3, 1310000",
        UUID(site.ada.ids["broker_id"]),
        UUID(user),
        at + timedelta(seconds=1),
    )
    return str(flow_id)


async def test_api_keeps_its_fields_and_tells_worth_in_the_currency_asked_for(site: Site) -> None:
    found = (await site.ada.call("GET", "/api/portfolio", params={"currency": "BTC"})).json()
    assert {"user", "total_usdt", "balances", "positions", "pnls", "as_of"} <= found.keys()
    assert (found["currency"], found["rate_missing"]) == ("BTC", None)
    assert Decimal(found["total"]) == pytest.approx(Decimal(found["total_usdt"]) / 60000, rel=Decimal("0.001"))
    assert datetime.fromisoformat(found["as_of"]).tzinfo is not None


async def test_currency_without_a_rate_is_said_and_never_zero(site: Site) -> None:
    found = (await site.ada.call("GET", "/api/portfolio", params={"currency": "EUR"})).json()
    assert (found["currency"], found["rate_missing"], found["total"]) == ("USDT", "EUR", found["total_usdt"])
    assert (await site.ada.call("GET", "/api/portfolio", params={"currency": "XYZ"})).status_code == 422


async def test_one_account_or_several_can_be_asked_about(site: Site) -> None:
    whole = (await site.ada.call("GET", "/api/portfolio")).json()
    ids = [site.ada.ids["broker_id"], site.ada.ids["second_id"]]
    one = (await site.ada.call("GET", "/api/portfolio", params={"broker_id": ids[:1]})).json()
    both = (await site.ada.call("GET", "/api/portfolio", params={"broker_id": ids})).json()
    assert {line["broker_id"] for line in one["balances"]} == {ids[0]}
    assert {line["broker_id"] for line in both["balances"]} == {line["broker_id"] for line in whole["balances"]} == set(ids)
    assert (await site.eve.call("GET", "/api/portfolio", params={"broker_id": ids})).json()["balances"] == []


async def test_deposit_is_in_no_profit_not_in_the_bar_either(site: Site, flow: str) -> None:
    del flow
    ids = {"broker_id": site.ada.ids["broker_id"]}
    profit = (await site.ada.call("GET", "/api/portfolio", params=ids)).json()["profit"]["day"]
    # It had a million and one bitcoin.
    assert (profit["flows"], profit["amount"]) == ("250000", "0")
    curve = (await site.ada.call("GET", "/api/portfolio/equity", params={**ids, "period": "1d"})).json()["items"]
    assert Decimal(curve[-1]["earned"]) == 0
    assert Decimal(curve[-1]["equity"]) == 1310000
    assert "250,000" not in (await site.ada.browse("GET", "/")).text.partition('id="status-items"')[2].partition("</div>")[0]


async def test_flow_is_listed_labelled_and_its_amount_stays(site: Site, flow: str) -> None:
    ids = {"broker_id": site.ada.ids["broker_id"]}
    (line,) = (await site.ada.call("GET", "/api/portfolio/flows", params=ids)).json()["items"]
    assert (line["id"], line["amount"], line["note"]) == (flow, "250000", "deposit")
    answer = await site.ada.call("PATCH", f"/api/portfolio/flows/{flow}", json={"note": "income"})
    assert (answer.status_code, answer.json()["note"], answer.json()["amount"]) == (200, "income", "250000")
    assert (await site.ada.call("PATCH", f"/api/portfolio/flows/{flow}", json={"note": "gift"})).status_code == 422
    assert (await site.ada.call("PATCH", f"/api/portfolio/flows/{flow}", json={"amount": "1"})).status_code == 422
    assert (await site.eve.call("PATCH", f"/api/portfolio/flows/{flow}", json={"note": "deposit"})).status_code == 404
    page = await site.ada.browse("POST", f"/portfolio/flows/{flow}", data={"note": "unexplained"}, headers={"X-CSRF-Token": site.ada.csrf})
    assert page.status_code == 200
    assert '<option value="unexplained" selected>' in page.text


async def test_pages_of_flows_follow_each_other(site: Site) -> None:
    user = (await site.ada.call("GET", "/api/auth/current")).json()["id"]
    await execute(
        site,
        """INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
           SELECT gen_random_uuid(), $1, $2, 'X' || n, 1, NULL, now(), now() - make_interval(hours => n / 2), now(), 'income'
             FROM generate_series(1, 7) n""",
        UUID(user),
        UUID(site.ada.ids["second_id"]),
    )
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 3, "broker_id": site.ada.ids["second_id"], **({"cursor": cursor} if cursor else {})}
        answer = (await site.ada.call("GET", "/api/portfolio/flows", params=params)).json()
        seen += [line["id"] for line in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert (len(seen), len(set(seen))) == (7, 7)
    for junk in ("x", "~", "2026-01-01~no", f"2026-01-01T00:00:00~{seen[0]}"):
        assert (await site.ada.call("GET", "/api/portfolio/flows", params={"cursor": junk})).status_code == 422


async def test_files_have_plain_numbers_and_no_formula(site: Site, flow: str) -> None:
    await execute(site, "UPDATE cash_flows SET note = 'deposit' WHERE id = $1", UUID(flow))
    answer = await site.ada.call("GET", "/api/portfolio/balances/export")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert {line["account"] for line in lines} == {"Main", "'=Second"}
    assert Decimal(next(line for line in lines if line["asset"] == "BTC")["total"]) == 1
    ids = {"broker_id": site.ada.ids["broker_id"]}
    (line,) = csv.DictReader(io.StringIO((await site.ada.call("GET", "/api/portfolio/flows/export", params=ids)).text))
    assert (line["asset"], line["amount"], line["note"], line["id"]) == ("USDT", "250000", "deposit", flow)


async def test_page_shows_chosen_accounts_in_the_readers_language_and_currency(site: Site) -> None:
    ids = site.ada.ids
    page = (await site.ada.browse("GET", f"/portfolio?broker={ids['second_id']}&period=1d")).text
    assert f'value="{ids["second_id"]}" checked' in page
    assert f'value="{ids["broker_id"]}" checked' not in page
    assert f"account%3A{ids['second_id']}" in page
    await site.ada.call("PUT", "/api/auth/preferences", json={"currency": "BTC", "language": "fr"})
    try:
        page = (await site.ada.browse("GET", "/portfolio")).text
        assert "Portefeuille" in page
        assert 'data-currency="BTC"' in page
        for path in ("/", "/portfolio"):
            assert "BTC</span>" in (await site.ada.browse("GET", path)).text
        await site.ada.call("PUT", "/api/auth/preferences", json={"currency": "EUR", "language": "en"})
        for path in ("/", "/portfolio"):
            assert "No rate of EUR is known now" in (await site.ada.browse("GET", path)).text
    finally:
        await site.ada.call("PUT", "/api/auth/preferences", json={"currency": "USDT", "language": "en"})


async def test_somebody_without_accounts_is_told_what_to_do(site: Site) -> None:
    page = (await site.eve.browse("GET", f"/portfolio?broker={site.ada.ids['broker_id']}")).text
    assert "You have no broker account yet." in page
    assert ">Main<" not in page


async def test_live_message_has_the_chosen_accounts_only_and_the_curves_next_point(site: Site) -> None:
    principal = await site.app.state.accounts.by_cookie(site.ada.cookie)
    request = Request({"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": []})
    chosen = accounts_of(["portfolio", f"account:{site.ada.ids['second_id']}", "account:no-id"])
    assert chosen == (UUID(site.ada.ids["second_id"]),)
    assert accounts_of(["portfolio"]) is None
    with working_for(principal.user_id):
        stream = PageStream(
            request,
            frozenset({"portfolio"}),
            principal=principal,
            regions=regions_of(request, principal),
            accounts=chosen,
            templating=templating_of(request),
        )
        async with asyncio.timeout(20), aclosing(stream.messages()) as messages:
            first = await live_message(messages)
            event = PortfolioChanged(user_id=principal.user_id, broker_id=chosen[0], equity_usdt=Decimal(1), at=site.app.state.clock.now())
            site.app.state.bus.publish(event)
            again = await live_message(messages)
    assert b'hx-target="#portfolio-live"' in first
    assert b"event: worth" in first
    assert b"event: worth" in again


async def live_message(messages: Any) -> bytes:
    async for message in messages:
        if b"portfolio-live" in message:
            return bytes(message)
    raise AssertionError("no such message")
