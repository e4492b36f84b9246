"""The statistics' API, files and page through the whole application."""

import csv
import gzip
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from tests.app.round_trips import put_equity, put_trips, random_trips
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=60)
PERIOD = {"start": BEGIN.isoformat(), "end": END.isoformat()}
PARTS = ("by-strategy", "by-symbol", "by-webhook", "by-bot", "by-exit", "by-hour", "calendar")
#: Kilobytes of a page compressed: the bound of the design, without charts and script.
MOST_KB = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        user_id = UUID((await running.ada.call("GET", "/api/auth/current")).json()["id"])
        broker_id = UUID(running.ada.ids["broker_id"])
        symbols = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/BTC")
        async with running.app.state.platform_database.connection() as connection:
            await put_trips(connection, user_id, broker_id, random_trips(1, 500, since=BEGIN, until=END, symbols=symbols))
            points = [(BEGIN + timedelta(hours=hour), str(1000 + hour % 37)) for hour in range(60 * 24)]
            await put_equity(connection, user_id, broker_id, points)
        yield running


async def told(site: Site, part: str, **params: Any) -> Any:
    answer = await site.ada.call("GET", f"/api/statistics/{part}", params=PERIOD | params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_part_adds_up_to_the_summary(site: Site) -> None:
    summary = await told(site, "summary")
    trades = next(metric["value"] for metric in summary["metrics"] if metric["key"] == "trades")
    assert (summary["currency"], summary["mode"], summary["timezone"]) == ("USDT", "live", "UTC")
    assert trades + sum(line["trades"] for line in summary["other_quotes"]) == 500
    for part in PARTS:
        items = (await told(site, part, timezone="America/New_York"))["items"]
        assert sum(item["trades"] for item in items) == trades, part
        assert sum(Decimal(item["profit"]) for item in items) == Decimal(summary["profit"]), part
    assert sum(Decimal(line["profit"]) for line in summary["by_month"]) == Decimal(summary["profit"])


async def test_money_is_text_and_each_metric_says_how_it_is_computed(site: Site) -> None:
    summary = await told(site, "summary")
    assert isinstance(summary["profit"], str)
    assert isinstance(summary["costs"]["fees"], str)
    for metric in summary["metrics"]:
        assert metric["convention"]
        assert metric["value"] is None or isinstance(metric["value"], str) == (metric["unit"] in ("profit", "money")), metric
    keys = {metric["key"] for metric in summary["metrics"]}
    assert {"total_return", "cagr", "sharpe", "sortino", "calmar", "max_drawdown", "max_drawdown_ms", "volatility", "exposure"} <= keys
    assert {"win_rate", "expectancy", "profit_factor", "sqn", "payoff_ratio", "average_hold_ms", "longest_wins", "mae", "best"} <= keys


async def test_curve_is_of_accounts_or_of_the_trades_that_are_asked_for(site: Site) -> None:
    whole, part = await told(site, "equity"), await told(site, "equity", symbol="ETH/USDT")
    assert (whole["of"], part["of"]) == ("accounts", "trades")
    assert 2 <= len(whole["items"]) <= 2000
    assert whole["items"][0]["earned"] == 0
    by_symbol = (await told(site, "by-symbol", symbol="ETH/USDT"))["items"]
    assert [Decimal(item["profit"]) for item in by_symbol] == [Decimal(part["items"][-1]["value"])]


async def test_file_has_every_table_and_no_formula(site: Site) -> None:
    answer = await site.ada.call("GET", "/api/statistics/export", params=PERIOD)
    assert answer.headers["content-disposition"] == 'attachment; filename="aristobot-statistics.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    tables = {row["table"] for row in rows}
    assert {"metrics", "by_symbol", "by_exit", "by_account", "by_month", "by_day", "by_hour", "without_rate"} <= tables
    profit = Decimal((await told(site, "summary"))["profit"])
    for table in ("by_symbol", "by_exit", "by_day", "by_hour", "by_month"):
        assert sum(Decimal(row["profit"]) for row in rows if row["table"] == table) == profit
    whole = await told(site, "export", format="json")
    assert whole["summary"]["profit"] == str(profit)
    assert set(whole) >= {"by_symbol", "by_hour", "calendar", "equity"}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"end": BEGIN.isoformat()}, "end"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"end": "9999-12-31T23:59:59-14:00"}, "end"),
        ({"mode": "both"}, "mode"),
        ({"broker_id": "x"}, "broker_id"),
    ],
)
async def test_what_nobody_could_mean_is_refused(site: Site, params: dict[str, str], field: str) -> None:
    answer = await site.ada.call("GET", "/api/statistics/summary", params=PERIOD | params)
    assert answer.status_code == 422
    assert field in answer.text


async def test_strangers_find_nothing_of_anybody_elses(site: Site) -> None:
    params = PERIOD | {"broker_id": site.ada.ids["broker_id"]}
    summary = (await site.eve.call("GET", "/api/statistics/summary", params=params)).json()
    assert (summary["profit"], summary["broker_ids"], summary["by_month"]) == ("0", [], [])


async def test_page_is_light_and_says_the_same(site: Site) -> None:
    answer = await site.ada.browse("GET", "/statistics", params={"since": "2026-03-01", "until": "2026-04-29"})
    assert answer.status_code == 200
    assert len(gzip.compress(answer.content)) < MOST_KB * 1000
    found = re.search(r'id="statistics-kpis".*?<dd><span class="(\w+)">([^<]+)<', answer.text, re.DOTALL)
    assert found is not None
    profit = Decimal((await told(site, "summary", end="2026-04-30T00:00:00Z"))["profit"])
    assert found[2] == f"{'+' if profit > 0 else '−'}{abs(profit):,.2f}"
    assert 'value="2026-03-01"' in answer.text


@pytest.mark.parametrize(
    "params",
    [
        {"range": "nonsense"},
        {"broker": "no-id"},
        {"source": "aliens", "mode": "x"},
        {"since": "yesterday"},
        {"until": "0001-01-02"},
        {"since": "0001-01-02", "until": "9999-12-30"},
        {"symbol": "\x00<b>"},
    ],
)
async def test_page_takes_any_address(site: Site, params: dict[str, str]) -> None:
    assert (await site.ada.browse("GET", "/statistics", params=params)).status_code == 200
    assert (await site.ada.browse("GET", "/statistics/curve", params=params)).status_code == 200


async def test_page_without_anything_says_why_and_what_to_do(site: Site) -> None:
    stranger = await site.eve.browse("GET", "/statistics")
    assert "statistics-nothing" in stranger.text
    assert 'href="/brokers"' in stranger.text
    paper = await site.ada.browse("GET", "/statistics", params={"mode": "paper"})
    assert "statistics-nothing" in paper.text
