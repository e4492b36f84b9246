"""The API of backtests, through the whole application, the real jail and the pool."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio

from app.backtests.models import Backtest
from app.backtests.service import get_backtest, version_number
from app.backtests.wish import wish_of
from app.core.ids import new_id
from app.domain.candles import Timeframe
from tests.app.backtesting import CROSS, END, ROLES, URL, begun, got, store_candles, strategy, until, wish
from tests.app.library import keep, made, refusal, report_of, somebody
from tests.app.whole_site import Person, Site, running_site, state_of
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), roles=ROLES) as running:
        await store_candles(running, 6_000)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(site: Site) -> Person:
    return await somebody(site)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strategy_id(person: Person) -> str:
    return await strategy(person)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def done(person: Person, strategy_id: str) -> dict[str, Any]:
    """A backtest that came to its end."""
    found = await until(person, (await begun(person, strategy_id, parameters={"fast": 7}, note="The first"))["id"])
    assert found["state"] == "completed", found["error"]
    return found


async def all_trades(person: Person, backtest_id: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await person.call("GET", f"{URL}/{backtest_id}/trades", params={**params, **cursor})).json()
        found += page["items"]
        if page["next"] is None:
            assert len(found) == page["total"]
            return found
        cursor = {"cursor": page["next"]}


async def test_a_result_says_everything_that_makes_the_run_again(done: dict[str, Any], strategy_id: str) -> None:
    assert (done["strategy_id"], done["strategy_name"], done["version"]) == (strategy_id, "Cross", 1)
    assert (done["exchange"], done["symbol"], done["timeframe"]) == ("binance", "BTC/USDT", "1m")
    assert (done["capital"], done["fee"], done["slippage"]) == ("10000", "0.001", "0.0005")
    assert done["rules"] == {"tick": "0.01", "step": "0.00001", "least_notional": "5"}
    assert done["data"]["parameters"] == {"fast": 7, "slow": 20, "stop_loss": 0.02}
    assert done["engine_version"]
    assert len(done["candles_sha256"]) == 64
    assert isinstance(done["seed"], int)
    assert (done["data"]["rows"], done["data"]["start"], done["data"]["gaps"]) == (2_120, 120, [])


async def test_the_report_agrees_with_the_trades_and_the_equity_that_are_stored(person: Person, done: dict[str, Any]) -> None:
    trades = await all_trades(person, done["id"], limit=20)
    curve = (await person.call("GET", f"{URL}/{done['id']}/equity", params={"points": 500})).json()
    net = float(curve["equity"][-1]) - 10_000
    assert float(done["summary"]["net"]) == pytest.approx(net, abs=1e-6)
    assert float(done["report"]["kpis"]["net"]) == pytest.approx(sum(float(trade["profit"]) for trade in trades), abs=1e-6)
    assert done["summary"]["trades"] == len(trades) > 5
    assert (curve["candles"], len(curve["time"])) == (2_120, len(curve["equity"]))
    assert len(curve["time"]) <= 500


async def test_trades_come_in_the_order_that_is_asked_for(person: Person, done: dict[str, Any]) -> None:
    recent, oldest = [await all_trades(person, done["id"], order=order, limit=7) for order in ("recent", "oldest")]
    assert [trade["number"] for trade in recent] == [trade["number"] for trade in reversed(oldest)]
    best, worst = [await all_trades(person, done["id"], order=order) for order in ("best", "worst")]
    profits = [float(trade["profit"]) for trade in best]
    assert profits == sorted(profits, reverse=True)
    assert float(worst[0]["profit"]) == profits[-1]
    exits = await all_trades(person, done["id"], reason="exit")
    assert {trade["reason"] for trade in exits} == {"exit"}
    assert refusal(await person.call("GET", f"{URL}/{done['id']}/trades", params={"cursor": "-1"})) == (422, "INVALID_INPUT")


async def test_the_same_header_gives_the_same_trades_to_the_last_bit(site: Site, person: Person, done: dict[str, Any]) -> None:
    again = await person.call("POST", f"{URL}/{done['id']}/repeat")
    assert again.status_code == 201, again.text
    other = await until(person, again.json()["id"])
    assert (other["state"], other["number"]) == ("completed", done["number"] + 1)
    assert (other["candles_sha256"], other["seed"]) == (done["candles_sha256"], done["seed"])
    query = "SELECT trades, fills, equity FROM backtest_results WHERE backtest_id = $1"
    async with site.app.state.platform_database.connection() as connection:
        rows = [await connection.fetchrow(query, UUID(one["id"])) for one in (done, other)]
    assert rows[0] == rows[1]


async def test_a_wish_is_found_again_in_its_backtest(site: Site, person: Person, done: dict[str, Any]) -> None:
    user_id = UUID(person.ids["user_id"])
    async with site.app.state.platform_database.transaction() as session:
        row: Backtest = await get_backtest(session, user_id, UUID(done["id"]))
        found = wish_of(row, await version_number(session, user_id, row))
    assert (found.parameters, found.version, found.symbol, found.note) == ({"fast": 7}, 1, "BTC/USDT", "The first")
    assert (found.end_at, found.seed) == (END, done["seed"])


async def test_a_result_goes_into_every_kind_of_file(person: Person, done: dict[str, Any]) -> None:
    trades = await all_trades(person, done["id"], order="oldest")

    async def file(kind: str) -> bytes:
        answer = await person.call("GET", f"{URL}/{done['id']}/export", params={"format": kind})
        assert answer.status_code == 200, answer.text
        assert f"backtest-{done['number']}-BTCUSDT-1m.{kind}" in answer.headers["content-disposition"]
        return answer.content

    rows = list(csv.DictReader(io.StringIO((await file("trades.csv")).decode())))
    assert [row["profit"] for row in rows] == [trade["profit"] for trade in trades]
    assert orjson.loads(await file("json"))
    table = pytest.importorskip("pyarrow.parquet").read_table(io.BytesIO(await file("trades.parquet")))
    assert table.num_rows == len(trades)
    assert b"<html" in await file("html")


async def test_a_list_goes_on_where_the_page_before_ended_and_can_be_filtered(site: Site) -> None:
    person = await somebody(site)
    strategy_id, other = await strategy(person), await strategy(person, name="Other")
    for each in (strategy_id, other, strategy_id):
        await begun(person, each, minutes=200)
    seen, cursor = [], None
    while True:
        page = (await person.call("GET", URL, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [one["number"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == [3, 2, 1]
    for params, numbers in (({"strategy_id": other}, [2]), ({"symbol": "btcusdt"}, [3, 2, 1]), ({"symbol": "ETH/USDT"}, [])):
        assert [one["number"] for one in (await person.call("GET", URL, params=params)).json()["items"]] == numbers
    assert refusal(await person.call("GET", URL, params={"cursor": "x"})) == (422, "INVALID_INPUT")
    assert refusal(await person.call("GET", URL, params={"state": "x"})) == (422, "INVALID_INPUT")


async def test_a_deleted_backtest_is_gone_and_its_number_is_not_given_again(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    first = await until(person, (await begun(person, strategy_id, minutes=200))["id"])
    assert (await person.call("DELETE", f"/api/strategies/{strategy_id}")).json()["code"] == "STRATEGY_IN_USE"
    assert (await person.call("DELETE", f"{URL}/{first['id']}")).status_code == 204
    for method, path in (("GET", ""), ("GET", "/trades"), ("GET", "/equity"), ("GET", "/export"), ("POST", "/cancel"), ("DELETE", "")):
        assert refusal(await person.call(method, f"{URL}/{first['id']}{path}")) == (404, "BACKTEST_NOT_FOUND")
    assert (await begun(person, strategy_id, minutes=200))["number"] == 2


async def test_a_strategy_can_be_deleted_when_its_backtests_are(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    only = await until(person, (await begun(person, strategy_id, minutes=200))["id"])
    await person.call("DELETE", f"{URL}/{only['id']}")
    assert (await person.call("DELETE", f"/api/strategies/{strategy_id}")).status_code == 204


async def test_a_version_that_may_trade_counts_as_used(site: Site) -> None:
    person = await somebody(site)
    valid = await made(person, "Valid", source=CROSS)
    version = (await person.call("GET", f"/api/strategies/{valid['id']}/versions/1")).json()
    assert version["first_used_at"] is None
    await keep(site, person, version, report_of(CROSS))
    backtest = await until(person, (await begun(person, valid["id"], minutes=200))["id"])
    assert backtest["is_validated"]
    assert (await person.call("GET", f"/api/strategies/{valid['id']}/versions/1")).json()["first_used_at"] is not None


async def test_a_version_that_looks_ahead_can_be_tried_and_its_report_says_so(site: Site) -> None:
    person = await somebody(site)
    valid = await made(person, "Ahead", source=CROSS)
    version = (await person.call("GET", f"/api/strategies/{valid['id']}/versions/1")).json()
    await keep(site, person, version, report_of(CROSS, has_look_ahead=True))
    backtest = await until(person, (await begun(person, valid["id"], minutes=200))["id"])
    assert (backtest["state"], backtest["has_look_ahead"]) == ("completed", True)
    assert "look_ahead" in {check["code"].lower() for check in backtest["report"]["checks"] if check["verdict"] == "fail"}


async def test_a_note_can_be_changed(person: Person, done: dict[str, Any]) -> None:
    answer = await person.call("PATCH", f"{URL}/{done['id']}", json={"note": "The best so far"})
    assert (answer.status_code, answer.json()["note"]) == (200, "The best so far")
    assert (await got(person, done["id"]))["note"] == "The best so far"


async def test_the_strategys_own_timeframe_is_taken_where_nobody_says_one(site: Site, person: Person, strategy_id: str) -> None:
    made_ = await person.call("POST", URL, json=wish(strategy_id, minutes=200) | {"timeframe": None})
    assert (made_.status_code, made_.json()["timeframe"]) == (201, "1m")


async def test_a_strategy_that_fails_is_told_with_its_line(person: Person) -> None:
    source = CROSS.replace("        return ta.crossed_below(self.a, self.b)", "        return 1 / 0")
    failed = await until(person, (await begun(person, await strategy(person, source, "Fails"), minutes=500))["id"])
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "STRATEGY_FAILED"
    assert source.splitlines()[failed["error"]["line"] - 1].strip() == "return 1 / 0"
    assert "ZeroDivisionError" in failed["error"]["message"]
    assert refusal(await person.call("GET", f"{URL}/{failed['id']}/trades")) == (409, "BACKTEST_RESULT_MISSING")
    assert refusal(await person.call("GET", f"{URL}/{failed['id']}/export")) == (409, "BACKTEST_RESULT_MISSING")


async def test_other_timeframes_minutes_inside_candles_funding_and_volume_are_taken_into_account(person: Person) -> None:
    source = (
        CROSS.replace('timeframe = "1m"', 'timeframe = "5m"\n    informative = ["15m"]')
        .replace(
            "        self.a = ta",
            '        slow = candles.other("15m")\n        self.up = slow.align(slow.close > ta.EMA(slow.close, 5))\n        self.a = ta',
        )
        .replace("warm_up = 120", "warm_up = 60")
    )
    strategy_id = await strategy(person, source, "Everything")
    options = {"volume_share": 0.001, "funding_rate": 0.0001, "detail": True, "safeguards": {}}
    plain = await until(person, (await begun(person, strategy_id, minutes=2_000, timeframe="5m"))["id"])
    full = await until(person, (await begun(person, strategy_id, minutes=2_000, timeframe="5m", options=options))["id"])
    assert (plain["state"], full["state"]) == ("completed", "completed"), (plain["error"], full["error"])
    assert [(one["timeframe"], one["rows"] > 100) for one in plain["data"]["frames"]] == [("5m", True), ("15m", True)]
    assert [one["timeframe"] for one in full["data"]["frames"]] == ["5m", "15m", "1m"]
    assert full["options"] == options
    assert full["report"]["capped"] > 0
    assert float(full["report"]["costs"]["funding"]) != 0 == float(plain["report"]["costs"]["funding"])


async def test_a_strategy_is_told_of_the_fills_that_are_counted_when_minutes_are_walked(person: Person) -> None:
    """What its account sees inside the jail and what is simulated outside are the same, stop or target first."""
    source = (
        CROSS.replace('timeframe = "1m"', 'timeframe = "30m"')
        .replace("warm_up = 120", "warm_up = 25")
        .replace("stop_loss = param(0.02, low=0.001", "stop_loss = param(0.002, low=0.001")
        .replace("take_profit = 0.03", "take_profit = 0.001")
        + """
    def on_fill(self, fill):
        print(fill.time, fill.reason)
"""
    )
    strategy_id = await strategy(person, source, "Told")
    quick = {"parameters": {"fast": 2, "slow": 5, "stop_loss": 0.001}}
    runs = [
        await begun(person, strategy_id, minutes=5_000, timeframe="30m", options={"detail": detail}, **quick) for detail in (True, False)
    ]
    walked, plain = [await until(person, one["id"]) for one in runs]
    for one in (walked, plain):
        answer = await person.call("GET", f"{URL}/{one['id']}/export", params={"format": "fills.csv"})
        fills = list(csv.DictReader(io.StringIO(answer.text)))
        counted = [fill["reason"] for fill in fills]
        assert [line.split()[1] for line in one["output"].splitlines()] == counted[: len(one["output"].splitlines())]
        assert len(counted) >= len(one["output"].splitlines()) > 4
    assert walked["summary"] != plain["summary"], "some candle held both, and the target came first"


async def test_a_strategy_that_never_trades_has_a_result_as_well(person: Person) -> None:
    never = CROSS.replace("return ta.crossed_above(self.a, self.b)", "return False")
    done = await until(person, (await begun(person, await strategy(person, never, "Never"), minutes=500))["id"])
    assert (done["state"], done["summary"]["trades"], done["summary"]["net"]) == ("completed", 0, "0"), done["error"]
    assert (await person.call("GET", f"{URL}/{done['id']}/trades")).json() == {"items": [], "total": 0, "next": None}
    for kind in ("trades.csv", "html", "json", "trades.parquet"):
        assert (await person.call("GET", f"{URL}/{done['id']}/export", params={"format": kind})).status_code == 200, kind


async def test_a_parameter_out_of_bounds_fails_with_a_sentence(person: Person, strategy_id: str) -> None:
    failed = await until(person, (await begun(person, strategy_id, minutes=200, parameters={"fast": 1_000}))["id"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "STRATEGY_FAILED")
    assert "fast" in failed["error"]["message"]


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"start_at": "2026-02-02T00:00Z", "end_at": "2026-02-01T00:00Z"}, 422, "INVALID_INPUT", "end_at"),
        ({"start_at": "2026-02-01T00:00Z", "end_at": "2026-02-01T00:00Z"}, 422, "INVALID_INPUT", "end_at"),
        ({"start_at": "2001-01-01T00:00Z"}, 422, "INVALID_INPUT", "start_at"),
        ({"start_at": "2090-01-01T00:00Z", "end_at": "2091-01-01T00:00Z"}, 422, "INVALID_INPUT", "start_at"),
        ({"start_at": "2010-01-01T00:00Z"}, 422, "BACKTEST_TOO_LONG", "end_at"),
        ({"symbol": "NOSUCH/COIN"}, 404, "SYMBOL_NOT_FOUND", "symbol"),
        ({"timeframe": "7m"}, 422, "INVALID_INPUT", "timeframe"),
        ({"capital": "0"}, 422, "INVALID_INPUT", "capital"),
        ({"slippage": "0.5"}, 422, "INVALID_INPUT", "slippage"),
        ({"version": 9}, 404, "VERSION_NOT_FOUND", None),
        ({"broker_id": str(new_id())}, 404, "BROKER_NOT_FOUND", None),
        ({"strategy_id": str(new_id())}, 404, "STRATEGY_NOT_FOUND", None),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(
    person: Person, strategy_id: str, given: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    answer = await person.call("POST", URL, json=wish(strategy_id) | given)
    assert refusal(answer) == (status, code), answer.text
    if field is not None:
        assert [problem["field"] for problem in answer.json()["errors"]] == [field]


async def test_a_range_that_is_too_long_says_how_long_one_fits(person: Person, strategy_id: str) -> None:
    answer = await person.call("POST", URL, json=wish(strategy_id) | {"start_at": "2010-01-01T00:00Z"})
    assert "at most 2" in answer.json()["detail"]
    days = answer.json()["detail"].partition("at most ")[2].partition(" days")[0]
    assert 2_500 < int(days) < 3_000


async def test_a_market_without_any_candles_says_so(person: Person, strategy_id: str) -> None:
    asked = {"start_at": "2019-01-01T00:00Z", "end_at": "2019-01-03T00:00Z"}
    failed = await until(person, (await person.call("POST", URL, json=wish(strategy_id) | asked)).json()["id"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "BACKTEST_NO_CANDLES")
    assert "BTC/USDT 1m between 2019-01-01 and 2019-01-03" in failed["error"]["message"]


async def test_nobody_has_more_waiting_or_stored_than_one_may(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    backtests = site.app.state.backtests
    tight = type(backtests.bounds)(waiting=50, stored=1)
    with state_of(site, backtests=_with(backtests, bounds=tight)):
        await begun(person, strategy_id, minutes=200)
        answer = await person.call("POST", URL, json=wish(strategy_id, minutes=200))
    assert refusal(answer) == (409, "BACKTEST_LIMIT")
    assert "1 backtests stored" in answer.json()["detail"]


async def test_an_account_gives_its_exchange_and_its_fees(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    paper = await person.call(
        "POST", "/api/brokers", json={"exchange": "paper", "name": "Play", "paper_taker_fee": "0.002", "paper_maker_fee": "0.0015"}
    )
    assert paper.status_code == 201, paper.text
    made_ = await begun(person, strategy_id, minutes=200, broker_id=paper.json()["id"])
    assert (made_["exchange"], made_["fee"], made_["maker_fee"]) == ("binance", "0.002", "0.0015")
    own = await begun(person, strategy_id, minutes=200, broker_id=paper.json()["id"], fee="0.0005")
    assert (own["fee"], own["maker_fee"]) == ("0.0005", "0.0005")


async def test_minutes_are_summed_up_where_longer_candles_are_not_stored(person: Person, strategy_id: str) -> None:
    found = await until(person, (await begun(person, strategy_id, minutes=1_500, timeframe="5m"))["id"])
    assert found["state"] == "completed", found["error"]
    assert (found["data"]["rows"], found["data"]["missing"]) == (300 + 120, 0)
    assert found["report"]["timeframe_ms"] == Timeframe.M5.milliseconds


def _with(backtests: Any, **changed: Any) -> Any:
    fields = {name: getattr(backtests, name) for name in type(backtests).__dataclass_fields__}
    return type(backtests)(**fields | changed)
