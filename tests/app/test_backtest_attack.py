"""What one user's backtests and searches can do to everybody else's, tried out: nobody is kept waiting for ever, and nothing breaks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio

from app.backtests import aside
from app.backtests.exporting import MOST_FILES
from app.backtests.search import running as search_running
from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.candle_sources import CandleSources, Found, OnFetch, Series
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.strategies.candles import generated
from tests.app import backtesting, test_searches
from tests.app.backtesting import ROLES, slow, store_candles, strategy
from tests.app.library import refusal, somebody
from tests.app.test_backtest_lag import _MOST_MS as MOST_MS
from tests.app.test_backtest_lag import _watched as watched
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = timedelta(minutes=2_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    # One processor for everybody, and memory for little more than one at a time.
    ours = {"roles": ROLES, "backtests_at_once": 1, "backtest_memory_mb": 384, "strategy_run_s": 2}
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), **ours) as running:
        await store_candles(running, 6_000)
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def mallory(site: Site) -> Person:
    return await somebody(site)


@pytest_asyncio.fixture(loop_scope="module")
async def bob(site: Site) -> Person:
    return await somebody(site)


async def test_a_long_search_does_not_keep_others_from_their_backtests(
    site: Site, mallory: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_running, "TURN_S", 1.0)
    search = await test_searches.begun(mallory, await strategy(mallory, slow(2_000)), method="random", trials=60)
    await test_searches.until_tried(mallory, search, 1)
    began = time.monotonic()
    backtest = await backtesting.begun(bob, await strategy(bob))
    assert (await backtesting.until(bob, backtest["id"], within_s=25))["state"] == "completed"
    print(f"a backtest beside a search took {time.monotonic() - began:.1f} s")
    assert (await test_searches.got(mallory, search))["state"] in ("queued", "running"), "the search goes on beside it"
    tried = (await test_searches.got(mallory, search))["tried"]
    await test_searches.until_tried(mallory, search, tried + 1)
    await mallory.call("POST", f"{test_searches.URL}/{search['id']}/stop")
    await test_searches.until(mallory, search)


async def test_whoever_fetches_for_long_lets_others_go_first_and_goes_on_after_them(
    mallory: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that gives a page every other second, for ever: whoever wants all of its history holds the only place."""
    begins, begun, find = list[datetime](), asyncio.Event(), CandleSources.find

    async def slowly(self: CandleSources, exchange: str, one: Series, start: datetime, end: datetime, *, told: OnFetch) -> Found:
        if end - start > LONG:
            begins.append(start)
            begun.set()
            while True:
                told(one, 1, 1_000_000, 0.0)
                await asyncio.sleep(0.05)
        return await find(self, exchange, one, start, end, told=told)

    monkeypatch.setattr(CandleSources, "find", slowly)
    monkeypatch.setattr(aside, "FETCH_S", 0.5)
    large = await backtesting.begun(mallory, await strategy(mallory), minutes=4_000)
    await backtesting.until(mallory, large["id"], "fetching")
    await asyncio.wait_for(begun.wait(), 20)
    small = await backtesting.begun(bob, await strategy(bob), minutes=1_000)
    assert (await backtesting.until(bob, small["id"], within_s=25))["state"] == "completed"
    deadline = time.monotonic() + 15
    while len(begins) < 2:
        assert time.monotonic() < deadline, "it goes on at its next turn"
        await asyncio.sleep(0.05)
    assert (await backtesting.got(mallory, large["id"]))["attempts"] == 1, "stepping aside is no failed attempt"
    await mallory.call("POST", f"{backtesting.URL}/{large['id']}/cancel")
    assert (await backtesting.until(mallory, large["id"]))["state"] == "canceled"


#: Knows the next close, and pays nothing.
FORESIGHT = """import numpy as np
from aristobot import Strategy, param


class Foresight(Strategy):
    timeframe = "4h"
    length = param(1, low=1, high=5)

    def signals(self, candles):
        coming = np.append(candles.close[1:], candles.close[-1])
        return {"long": coming > candles.close, "exit": coming < candles.close}
"""


async def test_an_account_that_grows_beyond_all_numbers_fails_in_words_and_leaves_pages_whole(site: Site, mallory: Person) -> None:
    rows = 1_200
    candles = generated(rows, Timeframe.H4, end_ms=to_milliseconds(backtesting.END), seed=1)
    closes = np.where(np.arange(rows) % 2, 40.0, 10.0)
    opens = np.append(40.0, closes[:-1])
    candles["open"], candles["close"], candles["high"], candles["low"] = opens, closes, 40.0, 10.0
    await CandleStore(site.app.state.platform_database).load("binance", "BTC/USDT", Timeframe.H4, candles, source=CandleSource.IMPORT)
    wish: dict[str, Any] = {"timeframe": "4h", "minutes": 240 * rows, "fee": "0", "slippage": "0"}

    strategy_id = await strategy(mallory, FORESIGHT)
    backtest = await backtesting.begun(mallory, strategy_id, **wish)
    over = await backtesting.until(mallory, backtest["id"])
    assert (over["state"], over["error"]["code"]) == ("failed", "BACKTEST_BEYOND_NUMBERS")

    asked = backtesting.wish(strategy_id, **wish, trials=3, axes=[{"name": "length"}])
    search = (await mallory.call("POST", test_searches.URL, json=asked)).json()
    assert (await test_searches.until(mallory, search))["state"] == "completed"
    trials = await test_searches.trials(mallory, search)
    assert len(trials) == 3
    assert all(one["score"] is None and "beyond all numbers" in one["problem"] for one in trials)


async def test_files_of_one_user_are_counted_until_they_are_sent(site: Site, mallory: Person, bob: Person) -> None:
    """Each lies in the server's memory until its reader has taken it, and a reader may take for ever."""
    files, user_id = site.app.state.backtest_files, UUID(mallory.ids["user_id"])
    done = await backtesting.until(mallory, (await backtesting.begun(mallory, await strategy(mallory)))["id"])
    address = f"{backtesting.URL}/{done['id']}/export"
    for _ in range(MOST_FILES + 1):
        assert (await mallory.call("GET", address, params={"format": "equity.csv"})).status_code == 200
        assert (await bob.call("GET", address)).status_code == 404
    for _ in range(MOST_FILES):
        files.begin(user_id)
    assert refusal(await mallory.call("GET", address)) == (429, "RATE_LIMITED")
    assert (await bob.call("GET", address)).status_code == 404, "another user's files are another matter"
    files.end(user_id)
    assert (await mallory.call("GET", address)).status_code == 200
    files.end(user_id)


#: Does not come back with one of its values.
TRAP = backtesting.CROSS.replace(
    "    def indicators(self, candles):\n", "    def indicators(self, candles):\n        while self.fast == 4:\n            pass\n"
)


async def test_a_set_that_ends_its_worker_is_the_only_one_that_failed(mallory: Person) -> None:
    axes = [{"name": "fast", "low": 3, "high": 7, "step": 1}]
    search = await test_searches.begun(mallory, await strategy(mallory, TRAP), method="grid", axes=axes)
    over = await test_searches.until(mallory, search)
    assert (over["state"], over["error"]) == ("completed", None)
    found = {one["parameters"]["fast"]: one for one in await test_searches.trials(mallory, search)}
    assert {fast for fast, one in found.items() if one["train"] is None} == {4}
    assert "took too long" in found[4]["problem"]


@pytest.mark.parametrize(
    "given",
    [
        {"parameters": {"fast": "\0"}},
        {"parameters": {"fa\0st": 3}},
        {"parameters": {"fast": "\ud800"}},
        {"note": "\0"},
        {"note": "\ud800"},
        {"symbol": "BTC\0USDT"},
        {"parameters": {"fast": float("nan")}},
        {"parameters": {"fast": float("inf")}},
        {"options": {"volume_share": float("nan")}},
        {"options": {"funding_rate": float("nan")}},
        {"fee": "NaN"},
        {"slippage": "-0.1"},
        {"capital": "1e-400"},
        {"capital": "Infinity"},
        {"seed": 2**53},
    ],
)
async def test_what_no_row_can_hold_is_refused_before_it_is_stored(mallory: Person, given: dict[str, Any]) -> None:
    body = json.dumps(backtesting.wish(await strategy(mallory), **given), allow_nan=True)
    for address in (backtesting.URL, test_searches.URL):
        answer = await mallory.call("POST", address, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code == 201:  # what nobody minds is stored, and ends in words
            over = await (
                backtesting.until(mallory, answer.json()["id"]) if "back" in address else test_searches.until(mallory, answer.json())
            )
            assert over["error"] is None or over["error"]["code"] != "INTERNAL", over["error"]
        assert answer.status_code in (201, 404, 422), answer.text


async def test_one_that_needs_more_memory_than_there_is_does_not_stand_before_everybody(site: Site, mallory: Person, bob: Person) -> None:
    """As after the administrator gave backtests less memory than they had when it was made."""
    done = await backtesting.until(mallory, (await backtesting.begun(mallory, await strategy(mallory)))["id"])
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE backtests SET memory_bytes = $2 WHERE id = $1", UUID(done["id"]), 1 << 40)
    again = (await mallory.call("POST", f"{backtesting.URL}/{done['id']}/repeat")).json()
    small = await backtesting.begun(bob, await strategy(bob))
    assert (await backtesting.until(bob, small["id"], within_s=20))["state"] == "completed"
    assert (await backtesting.until(mallory, again["id"]))["state"] == "completed", "its candles are as few as they were"


async def test_a_search_of_very_many_trials_is_shown_without_keeping_the_loop_from_its_work(site: Site, mallory: Person) -> None:
    search = await test_searches.begun(mallory, await strategy(mallory), method="random", trials=2)
    await test_searches.until(mallory, search)
    address = f"/backtests/searches/{search['number']}"
    await mallory.browse("GET", address)  # its template is compiled by the first who asks
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO search_trials (search_id, number, user_id, point, parameters, score, train, test, problem, line)
               SELECT search_id, n, user_id, point, parameters, n, train, test, problem, line
                 FROM search_trials, generate_series(3, 5000) n WHERE search_id = $1 AND number = 1""",
            UUID(search["id"]),
        )
        await connection.execute("UPDATE searches SET tried = 5000, wanted = 5000 WHERE id = $1", UUID(search["id"]))
    stop, busy_ms = asyncio.Event(), list[float]()
    async with asyncio.TaskGroup() as group:
        group.create_task(watched(stop, busy_ms))
        answer = await mallory.call("GET", f"{test_searches.URL}/{search['id']}/heat-map")
        page = await mallory.browse("GET", address)
        stop.set()
    assert (answer.status_code, page.status_code) == (200, 200)
    print(f"the loop computed at most {max(busy_ms):.0f} ms at a time")
    assert max(busy_ms) < MOST_MS


async def test_a_search_that_computes_for_longer_than_a_worker_may_is_nobodys_offence(site: Site, mallory: Person) -> None:
    """A worker may compute for some eight seconds here; whoever goes on for longer would be stopped and accused of it."""
    killed = dict(site.app.state.jail.violations.counts)
    search = await test_searches.begun(mallory, await strategy(mallory, slow(2_000)), method="random", trials=60)
    over = await test_searches.until(mallory, search, within_s=90)
    assert (over["state"], over["tried"], over["error"]) == ("completed", 60, None)
    assert all(one["train"] is not None for one in await test_searches.trials(mallory, search))
    assert site.app.state.jail.violations.counts == killed
    assert site.app.state.jail.quotas.used_today_s(UUID(mallory.ids["user_id"])) > 8
