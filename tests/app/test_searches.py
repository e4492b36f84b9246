"""Searches through the API of a running application: tried, ranked, stopped, continued, promoted; nothing of another user's."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.app import backtesting
from tests.app.backtesting import ROLES, store_candles, strategy, wish
from tests.app.library import refusal, somebody
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/searches"
AXES = [{"name": "fast", "low": 3, "high": 12, "step": 1}, {"name": "slow", "low": 15, "high": 40, "step": 5}]


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


async def begun(person: Person, strategy_id: str, **given: Any) -> dict[str, Any]:
    given = {"axes": AXES, "trials": 24, "least_trades": 1, **given}
    answer = await person.call("POST", URL, json=wish(strategy_id, minutes=4_000, **given))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def got(person: Person, search: dict[str, Any]) -> dict[str, Any]:
    answer = await person.call("GET", f"{URL}/{search['id']}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def until(person: Person, search: dict[str, Any], *states: str, within_s: float = 60.0) -> dict[str, Any]:
    wanted, deadline = states or ("completed", "stopped", "failed"), time.monotonic() + within_s
    while (found := await got(person, search))["state"] not in wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def until_tried(person: Person, search: dict[str, Any], count: int) -> None:
    deadline = time.monotonic() + 60
    while (found := await got(person, search))["tried"] < count:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def trials(person: Person, search: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = await person.call("GET", f"{URL}/{search['id']}/trials", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


@pytest.mark.parametrize("method", ["grid", "random", "tpe"])
async def test_a_search_tries_ranks_and_ends(site: Site, ada: Person, method: str) -> None:
    search = await begun(ada, await strategy(ada), method=method, seed=5)
    over = await until(ada, search)
    assert (over["state"], over["error"]) == ("completed", None)
    found = await trials(ada, search, limit=500)

    assert over["tried"] == over["wanted"] == len(found) == (60 if method == "grid" else 24)
    assert [one["number"] for one in found] == list(range(1, len(found) + 1))
    assert len({tuple(one["parameters"].items()) for one in found}) == len(found)
    ranked = [one for one in found if one["score"] is not None]
    best = max(ranked, key=lambda one: one["score"])
    assert (over["best"], over["best_score"]) == (best["number"], best["score"])
    assert all(one["score"] == one["train"]["sharpe"] and one["test"] is not None for one in ranked)
    assert set(over["importance"]) == {"fast", "slow"}
    assert sum(over["importance"].values()) == pytest.approx(1.0, abs=0.01)


async def test_a_trial_is_what_a_backtest_of_its_parameters_comes_to(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada), test_percent=0, trials=3)
    await until(ada, search)
    trial = (await trials(ada, search, best=True))[0]
    made = (await ada.call("POST", f"{URL}/{search['id']}/trials/{trial['number']}/backtest")).json()
    backtest = await backtesting.until(ada, made["id"])

    assert backtest["state"] == "completed", backtest["error"]
    assert backtest["parameters"] == trial["parameters"]
    report = backtest["report"]
    assert report["strategy"]["sharpe"] == pytest.approx(trial["train"]["sharpe"], rel=1e-12)
    assert report["strategy"]["max_drawdown"] == pytest.approx(trial["train"]["max_drawdown"], rel=1e-12)
    assert report["trades"]["closed"] == trial["train"]["trades"]
    assert float(report["kpis"]["net"]) == pytest.approx(float(trial["train"]["net"]), abs=1e-6)


async def test_a_search_stops_and_goes_on_as_if_it_had_not(site: Site, ada: Person) -> None:
    strategy_id = await strategy(ada)
    whole = await begun(ada, strategy_id, method="random", seed=9, trials=40)
    parted = await begun(ada, strategy_id, method="random", seed=9, trials=20)
    await until(ada, whole)
    await until(ada, parted)
    answer = await ada.call("POST", f"{URL}/{parted['id']}/continue", json={"trials": 20})
    assert (answer.status_code, answer.json()["wanted"]) == (200, 40)
    await until(ada, parted)

    def told(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted((tuple(one["parameters"].items()), one["score"], one["test"]["net"]) for one in found)

    first, second = await trials(ada, whole, limit=500), await trials(ada, parted, limit=500)
    assert len({tuple(one["parameters"].items()) for one in second}) == 40
    # What both tried came to the same.
    known = {one[0]: one[1:] for one in told(first)}
    both = [one for one in told(second) if one[0] in known]
    assert both
    assert all(known[one[0]] == one[1:] for one in both)


async def test_a_stop_takes_effect_at_once_and_keeps_what_was_tried(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada, backtesting.slow(2_000)), method="random", trials=60)
    await until_tried(ada, search, 1)
    asked = time.monotonic()
    assert (await ada.call("POST", f"{URL}/{search['id']}/stop")).status_code == 200
    stopped = await until(ada, search)
    assert time.monotonic() - asked < 4
    assert stopped["state"] == "stopped"
    assert 0 < stopped["tried"] < 60
    assert len(await trials(ada, search)) == stopped["tried"]

    assert refusal(await ada.call("POST", f"{URL}/{search['id']}/continue", json={"trials": 100_000}))[0] == 422
    answer = await ada.call("POST", f"{URL}/{search['id']}/continue", json={})
    assert answer.json()["state"] in ("queued", "running")
    assert refusal(await ada.call("POST", f"{URL}/{search['id']}/continue", json={})) == (409, "SEARCH_UNDER_WAY")
    assert (await ada.call("DELETE", f"{URL}/{search['id']}")).status_code == 204
    assert (await ada.call("GET", f"{URL}/{search['id']}")).status_code == 404


async def test_a_grid_that_was_tried_whole_cannot_go_on(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada), method="grid", axes=[{"name": "fast", "low": 3, "high": 5, "step": 1}])
    await until(ada, search)
    assert refusal(await ada.call("POST", f"{URL}/{search['id']}/continue", json={})) == (409, "SEARCH_EXHAUSTED")


FAILS = backtesting.CROSS.replace(
    "        self.a = ta.EMA", "        if self.fast > 8:\n            raise ValueError('too fast')\n        self.a = ta.EMA"
)


async def test_a_set_with_which_the_strategy_fails_is_a_trial_that_says_so(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada, FAILS), method="grid")
    over = await until(ada, search)
    assert over["state"] == "completed", over["error"]
    failed = [one for one in await trials(ada, search, limit=500) if one["problem"]]
    assert {one["parameters"]["fast"] for one in failed} == {9, 10, 11, 12}
    assert {(one["problem"], one["line"], one["score"], one["train"]) for one in failed} == {("too fast", 14, None, None)}


async def test_too_few_trades_are_not_ranked(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada), least_trades=1_000_000, trials=14)
    over = await until(ada, search)
    assert (over["state"], over["best"], over["best_score"]) == ("completed", None, None)
    assert all(one["score"] is None and one["train"] is not None for one in await trials(ada, search))


async def test_a_trial_becomes_a_version_whose_defaults_are_its_values(site: Site, ada: Person) -> None:
    strategy_id = await strategy(ada)
    search = await begun(ada, strategy_id, trials=4, parameters={"stop_loss": 0.05})
    await until(ada, search)
    trial = (await trials(ada, search, best=True))[0]
    url = f"{URL}/{search['id']}/trials/{trial['number']}/version"
    promoted = await ada.call("POST", url)
    assert promoted.status_code == 201, promoted.text
    assert promoted.json()["number"] == 2
    version = (await ada.call("GET", f"/api/strategies/{strategy_id}/versions/2")).json()
    expected = backtesting.CROSS.replace("param(5,", f"param({trial['parameters']['fast']},")
    expected = expected.replace("param(20,", f"param({trial['parameters']['slow']},").replace("param(0.02,", "param(0.05,")
    assert version["source"] == expected
    assert (await ada.call("POST", url)).json() == {**promoted.json(), "is_new": False}

    draft = {"source": "x = 1", "revision": (await ada.call("GET", f"/api/strategies/{strategy_id}")).json()["draft_revision"]}
    assert (await ada.call("PUT", f"/api/strategies/{strategy_id}/draft", json=draft)).status_code == 200
    assert refusal(await ada.call("POST", url)) == (409, "DRAFT_UNSAVED")
    assert refusal(await ada.call("POST", f"{URL}/{search['id']}/trials/999/version")) == (404, "SEARCH_TRIAL_NOT_FOUND")


async def test_events_tell_how_far_it_is_until_it_is_over(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada), method="random", trials=30)
    lines = (await ada.call("GET", f"{URL}/{search['id']}/events")).text.splitlines()
    names = [line[7:] for line in lines if line.startswith("event: ")]
    told = [orjson.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert names[-1] == "over"
    assert set(names[:-1]) <= {"progress"}
    assert (told[-1]["state"], told[-1]["tried"], told[-1]["best"] is not None) == ("completed", 30, True)
    assert [one["tried"] for one in told] == sorted(one["tried"] for one in told)


async def test_the_heat_map_has_the_best_of_each_pair(site: Site, ada: Person) -> None:
    search = await begun(
        ada, await strategy(ada), method="grid", axes=[*AXES, {"name": "stop_loss", "low": 0.01, "high": 0.02, "step": 0.01}]
    )
    await until(ada, search)
    answer = await ada.call("GET", f"{URL}/{search['id']}/heat-map", params={"x": "fast", "y": "slow"})
    heat = answer.json()
    assert ([one[0] for one in heat["columns"]], [one[0] for one in heat["rows"]]) == (list(range(3, 13)), list(range(15, 41, 5)))
    found = await trials(ada, search, limit=500)
    for row, slow in zip(heat["cells"], range(15, 41, 5), strict=True):
        for cell, fast in zip(row, range(3, 13), strict=True):
            scores = [one["score"] for one in found if (one["parameters"]["fast"], one["parameters"]["slow"]) == (fast, slow)]
            assert (cell["score"], cell["trials"]) == (max(scores), 2)
    assert refusal(await ada.call("GET", f"{URL}/{search['id']}/heat-map", params={"x": "fast", "y": "fast"})) == (422, "INVALID_INPUT")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"axes": [{"name": "nothing"}]}, "space"),
        ({"axes": [{"name": "fast", "low": 1, "high": 9}]}, "space"),
        ({"axes": [{"name": "fast", "low": 9, "high": 3}]}, "space"),
        ({"axes": [{"name": "fast", "low": 3, "high": 9, "step": 0.5}]}, "space"),
        ({"axes": [{"name": "stop_loss", "low": 0.001, "high": 0.2, "step": 0.00001}]}, "space"),
        ({"axes": [{"name": "slow", "step": 1}, {"name": "fast", "step": 1}], "method": "grid"}, "space"),
        ({"timeframe": "7m"}, "timeframe"),
    ],
)
async def test_what_cannot_be_searched_is_said_at_its_field(site: Site, ada: Person, given: dict[str, Any], field: str) -> None:
    body = wish(await strategy(ada), minutes=4_000) | {"axes": AXES} | given
    answer = await ada.call("POST", URL, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text


async def test_the_space_of_a_strategy_is_what_can_vary(site: Site, ada: Person) -> None:
    answer = await ada.call("GET", f"{URL}/space", params={"strategy_id": await strategy(ada)})
    assert answer.json()["axes"] == [
        {"name": "fast", "low": 2.0, "high": 50.0, "step": 2.0},
        {"name": "slow", "low": 5.0, "high": 200.0, "step": 10.0},
        {"name": "stop_loss", "low": 0.001, "high": 0.2, "step": 0.01},
    ]


async def test_lists_are_the_users_own(site: Site, ada: Person) -> None:
    search = await begun(ada, await strategy(ada), trials=2)
    await until(ada, search)
    eve = await somebody(site)
    assert (await eve.call("GET", URL)).json()["items"] == []
    for method, path in (
        ("GET", ""), ("GET", "/trials"), ("GET", "/events"), ("GET", "/heat-map"), ("POST", "/stop"), ("POST", "/trials/1/version"),
        ("POST", "/trials/1/backtest"), ("DELETE", ""),
    ):  # fmt: skip
        assert refusal(await eve.call(method, f"{URL}/{search['id']}{path}")) == (404, "SEARCH_NOT_FOUND"), path
    page = (await ada.call("GET", URL, params={"limit": 1})).json()
    assert ([one["id"] for one in page["items"]], page["next"]) == ([search["id"]], None)
