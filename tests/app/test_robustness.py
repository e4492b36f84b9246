"""How robust a backtest is, asked and answered through a running application, and its pages."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.app import backtesting
from tests.app.backtesting import ROLES, begun, store_candles, strategy
from tests.app.library import refusal, somebody
from tests.app.whole_site import Person, Site, running_site
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


@pytest_asyncio.fixture(loop_scope="module")
async def ada(site: Site) -> Person:
    return await somebody(site)


async def completed(person: Person, source: str = backtesting.CROSS, **given: Any) -> dict[str, Any]:
    made = await begun(person, await strategy(person, source), minutes=5_000, **given)
    return await backtesting.until(person, made["id"], "completed")


async def answered(person: Person, backtest: dict[str, Any]) -> dict[str, Any]:
    url, deadline = f"/api/backtests/{backtest['id']}/robustness", time.monotonic() + 60
    asked = await person.call("POST", url)
    assert asked.status_code == 202, asked.text
    while (found := (await person.call("GET", url)).json())["state"] not in ("completed", "failed"):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    assert found["state"] == "completed", found["error"]
    return dict(found["report"])


async def test_a_backtest_is_looked_at_from_all_sides(site: Site, ada: Person) -> None:
    backtest = await completed(ada)
    report = await answered(ada, backtest)

    assert report["trades"] == backtest["report"]["trades"]["closed"]
    assert report["sharpe"]["sharpe"] == pytest.approx(backtest["report"]["strategy"]["sharpe"]) if report["sharpe"] else True
    # Shuffled trades end where they ended.
    assert report["shuffled"]["final"]["percentiles"][0] == pytest.approx(report["shuffled"]["final"]["actual"])
    assert (report["varied"], report["sets"], len(report["windows"])) == (["fast", "slow", "stop_loss"], 64, 6)
    for before, after in pairwise(report["windows"]):
        assert before["window"]["test_end_ms"] == after["window"]["test_start_ms"]
        assert before["window"]["train_start_ms"] < before["window"]["test_start_ms"] < before["window"]["test_end_ms"]
    codes = [one["code"] for one in report["verdicts"]]
    assert codes == ["walk_forward", "trade_order", "other_trades", "fill_prices", "deflated_sharpe"]
    assert await answered(ada, backtest) == report  # the same seed, the same answers


async def test_trials_of_searches_are_counted_as_luck(site: Site, ada: Person) -> None:
    backtest = await completed(ada)
    wish = backtesting.wish(backtest["strategy_id"], minutes=5_000)
    search = (await ada.call("POST", "/api/searches", json={**wish, "trials": 30, "least_trades": 1})).json()
    while (await ada.call("GET", f"/api/searches/{search['id']}")).json()["state"] != "completed":  # noqa: ASYNC110  # over HTTP
        await asyncio.sleep(0.05)
    report = await answered(ada, backtest)
    assert report["searched"] == 30
    if report["sharpe"]:
        assert report["sharpe"]["trials"] == 31
        assert report["sharpe"]["deflated"] < report["sharpe"]["probabilistic"]


async def test_a_strategy_without_parameters_is_walked_forward_as_it_is(site: Site, ada: Person) -> None:
    source = re.sub(r"param\(([^,]+),[^)]*\)", r"\1", backtesting.CROSS)
    report = await answered(ada, await completed(ada, source))
    assert (report["varied"], report["sets"]) == ([], 1)
    assert all(one["parameters"] == {} for one in report["windows"])


async def test_its_page_asks_tells_and_answers(site: Site, ada: Person) -> None:
    backtest = await completed(ada)
    path = f"/backtests/{backtest['number']}/robustness"
    assert 'id="robustness-ask"' in (await ada.browse("GET", path)).text
    asked = await ada.browse("POST", path, headers={"X-CSRF-Token": ada.csrf})
    assert asked.status_code == 200, asked.text
    lines = (await ada.call("GET", f"/api/backtests/{backtest['id']}/robustness/events")).text.splitlines()
    assert [line for line in lines if line.startswith("event: ")][-1] == "event: over"
    assert orjson.loads(next(line for line in reversed(lines) if line.startswith("data: "))[6:])["state"] == "completed"
    answer = (await ada.browse("GET", path)).text
    for word in ("Does it hold in the months after?", "Window by window", "rob-fan"):
        assert word in answer


async def test_what_has_no_result_cannot_be_asked_about(site: Site, ada: Person) -> None:
    made = await begun(ada, await strategy(ada, backtesting.CROSS.replace("return ta.crossed_above(self.a, self.b)", "return 1 / 0")))
    failed = await backtesting.until(ada, made["id"])
    assert failed["state"] == "failed"
    assert refusal(await ada.call("POST", f"/api/backtests/{made['id']}/robustness")) == (409, "BACKTEST_RESULT_MISSING")
    assert refusal(await ada.call("GET", f"/api/backtests/{made['id']}/robustness")) == (404, "ROBUSTNESS_NOT_FOUND")
