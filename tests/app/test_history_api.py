"""The history's API: the same filters for lists and files, notes, and what is no filter."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from benchmarks.seeded import seed
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEWEST = datetime(2026, 10, 31, 12, tzinfo=UTC)
LISTS = ["orders", "attempts", "fills", "trades"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        user = (await running.ada.call("GET", "/api/auth/current")).json()
        await seed(running.app.state.platform_database, UUID(user["id"]), UUID(running.ada.ids["broker_id"]), orders=200, until=NEWEST)
        yield running


async def items(site: Site, what: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = await site.ada.call("GET", f"/api/{what}", params={**params, "limit": 60, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next"]
        if cursor is None:
            return found


async def file(site: Site, what: str, **params: Any) -> list[dict[str, str]]:
    answer = await site.ada.call("GET", f"/api/{what}/export", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == f'attachment; filename="aristobot-{what}.csv"'
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("what", LISTS)
async def test_list_and_file_take_the_same_filters(site: Site, what: str) -> None:
    asked = {
        "from": (NEWEST - timedelta(days=400)).isoformat(),
        "to": (NEWEST - timedelta(days=100)).isoformat(),
        "broker_id": site.ada.ids["broker_id"],
        "symbol": "BTC/USDT",
        "source": "manual",
    }
    key = "trade_id" if what == "fills" else "id"
    rows = await items(site, what, **asked)
    assert rows
    assert [row[key] for row in rows] == [line[key] for line in await file(site, what, **asked)]
    assert {row["symbol"] for row in rows} <= {"BTC/USDT", None}
    assert len(rows) < len(await items(site, what))


async def test_round_trip_says_what_the_contract_says(site: Site) -> None:
    answer = (await site.ada.call("GET", "/api/trades", params={"with_sums": True, "limit": 2})).json()
    trade, sums = answer["items"][0], answer["sums"]
    names = {"symbol", "side", "quantity", "entry_price", "exit_price", "opened_at", "closed_at", "pnl", "fees", "source"}
    assert names <= trade.keys()
    assert all(isinstance(trade[name], str) for name in names)
    assert sums["trades"] > 2
    assert sum(line["trades"] for line in sums["by_quote"]) == sums["trades"]
    detail = (await site.ada.call("GET", f"/api/trades/{trade['id']}")).json()
    assert {fill["order_id"] for fill in detail["fills"]} == set(trade["order_ids"])
    assert len(detail["fills"]) == trade["fill_count"]


async def test_note_is_put_shown_and_searched(site: Site) -> None:
    trade = (await items(site, "trades"))[3]
    told = await site.ada.call("PUT", f"/api/trades/{trade['id']}/note", json={"text": " Late exit ", "tags": ["Plan", "plan"]})
    assert told.json() == {"text": "Late exit", "tags": ["plan"]}
    assert [row["id"] for row in await items(site, "trades", text="late EXIT")] == [trade["id"]]
    assert [row["id"] for row in await items(site, "trades", tag="plan")] == [trade["id"]]
    assert (await site.ada.call("PUT", f"/api/trades/{trade['id']}/note", json={"text": "x" * 2001})).status_code == 422
    assert (await site.ada.call("PUT", f"/api/orders/{site.ada.ids['order_id']}/note", json={"text": "why"})).status_code == 200
    assert [row["id"] for row in await items(site, "orders", text="why")] == [site.ada.ids["order_id"]]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("orders", {"from": "2026-01-01T00:00:00"}),
        ("orders", {"type": "oco"}),
        ("orders", {"cursor": "x"}),
        ("trades", {"side": "buy"}),
        ("fills", {"broker_id": "mine"}),
        ("attempts", {"state": "gone"}),
        ("attempts/export", {"state": "gone"}),
    ],
)
async def test_what_is_no_filter_is_refused(site: Site, path: str, params: dict[str, str]) -> None:
    answer = await site.ada.call("GET", f"/api/{path}", params=params)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("what", LISTS)
@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_a_moment_that_no_calendar_has_is_refused_by_lists_and_files_alike(site: Site, what: str, at: str) -> None:
    for path in (f"/api/{what}", f"/api/{what}/export"):
        answer = await site.ada.call("GET", path, params={"from": at})
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


@pytest.mark.parametrize("path", ["attempts", "attempts/export"])
async def test_no_alert_has_a_kind_of_order_and_no_order_is_a_repeat(site: Site, path: str) -> None:
    answer = await site.ada.call("GET", f"/api/{path}", params={"state": "duplicate", "type": "limit"})
    assert answer.status_code == 200, answer.text
    assert "limit" not in answer.text


@pytest.mark.parametrize("what", LISTS)
async def test_nobody_else_s_rows_are_in_any_list_or_file(site: Site, what: str) -> None:
    mine = site.ada.ids["broker_id"]
    for path in (f"/api/{what}", f"/api/{what}/export"):
        answer = await site.eve.call("GET", path, params={"broker_id": mine})
        assert answer.status_code == 200
        assert "BTC/USDT" not in answer.text
