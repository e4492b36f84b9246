"""Backtests while they run: watched, canceled, deleted, their processes killed, twenty users at once."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import psutil
import pytest
import pytest_asyncio

from app.backtests.bounds import MIB
from app.backtests.memory import MemoryRoom
from app.backtests.stream import RowStream, backtest_stream
from app.backtests.work import prepare
from app.core.ids import new_id
from app.domain.candles import Timeframe
from app.sandbox.quotas import Purpose
from tests.app.backtesting import ROLES, URL, begun, got, slow, store_candles, strategy, until
from tests.app.library import somebody
from tests.app.whole_site import Person, Site, running_site
from tests.conftest import Size
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: A candle of the slow strategy takes a millisecond or two.
SLOWLY = slow(30_000)
MINUTES = 3_000
MINUTE = timedelta(minutes=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    ours = {"roles": ROLES, "backtests_at_once": 2}
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), **ours) as running:
        await store_candles(running, 6_000)
        # Compiled already, as it is some seconds after the first start.
        await running.app.state.backtest_tools.pool.run(prepare, None)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(site: Site) -> Person:
    return await somebody(site)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slow_id(person: Person) -> str:
    return await strategy(person, SLOWLY, "Slow")


def events(site: Site, person: Person, backtest_id: str) -> RowStream:
    return backtest_stream(site.app.state, UUID(person.ids["user_id"]), UUID(backtest_id))


async def followed(site: Site, person: Person, backtest_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every event until it is over."""
    found = []
    async for message in events(site, person, backtest_id).messages():
        name, _, data = message.decode().partition("\n")
        if name.startswith("event: "):
            found.append((name.removeprefix("event: "), orjson.loads(data.strip().removeprefix("data: "))))
    return found


async def test_a_run_tells_how_far_it_is_and_how_the_account_grows(site: Site, person: Person, slow_id: str) -> None:
    made = await begun(person, slow_id, minutes=5_800)
    told = await followed(site, person, made["id"])
    assert [name for name, _ in told[:-1]] == ["progress"] * (len(told) - 1)
    assert told[-1] == ("over", {"id": made["id"], "number": made["number"], "state": "completed"})
    deciding = [one for _, one in told if one.get("phase") == "deciding" and one["done"]]
    assert len(deciding) >= 2, told
    assert [one["done"] for one in deciding] == sorted(one["done"] for one in deciding)
    assert all(0 < one["pct"] <= 100 and one["bars_per_s"] > 0 and one["eta_s"] >= 0 and one["total"] == 5_800 for one in deciding)
    lengths = [one["points"][-1][0] for one in deciding if one["points"]]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 2
    # The curve that was shown is the curve that came of it.
    curve = (await person.call("GET", f"{URL}/{made['id']}/equity", params={"points": 20_000})).json()
    known = {at + 60_000: float(value) for at, value in zip(curve["time"], curve["equity"], strict=True)}
    for at, value in deciding[-1]["points"]:
        assert known[at] == pytest.approx(value, abs=1e-6)


async def test_a_page_that_is_loaded_again_finds_how_far_it_is_in_the_row(person: Person, slow_id: str) -> None:
    made = await begun(person, slow_id, minutes=MINUTES)
    await until(person, made["id"], "running")
    deadline = time.monotonic() + 20
    while not ((found := await got(person, made["id"]))["progress"] or {}).get("points"):
        assert time.monotonic() < deadline
        assert found["state"] in ("running", "fetching")
        await asyncio.sleep(0.05)
    assert found["progress"]["phase"] == "deciding"
    await until(person, made["id"])
    assert (await got(person, made["id"]))["progress"] is None


@pytest.mark.timeout(600)  # with --full
async def test_a_run_can_be_canceled_at_any_moment_and_keeps_what_it_had(person: Person, slow_id: str, size: Size) -> None:
    chance, took, kept = random.Random(5), [], 0
    whole = await until(person, (await begun(person, slow_id, minutes=MINUTES))["id"])
    all_trades = (await person.call("GET", f"{URL}/{whole['id']}/trades", params={"order": "oldest", "limit": 1000})).json()["items"]
    for _ in range(size(5, full=60)):
        made = await begun(person, slow_id, minutes=MINUTES)
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        asked = time.monotonic()
        await person.call("POST", f"{URL}/{made['id']}/cancel")
        over = await until(person, made["id"])
        took.append(time.monotonic() - asked)
        assert over["state"] in ("canceled", "completed"), over["error"]
        if over["state"] == "canceled" and over["report"] is not None:
            kept += 1
            assert 0 < over["report"]["candles"] <= MINUTES
            part = (await person.call("GET", f"{URL}/{made['id']}/trades", params={"order": "oldest", "limit": 1000})).json()["items"]
            closed = [trade for trade in part if trade["reason"] is not None]
            assert closed == all_trades[: len(closed)], "the part is the beginning of the whole"
    print("seconds from asking to the end:", [round(each, 2) for each in took])
    assert max(took) < 2.0
    assert kept


async def test_one_that_waits_is_canceled_at_once(person: Person, slow_id: str) -> None:
    made = [await begun(person, slow_id, minutes=MINUTES) for _ in range(4)]
    answer = await person.call("POST", f"{URL}/{made[-1]['id']}/cancel")
    assert (answer.json()["state"], answer.json()["attempts"]) == ("canceled", 0)
    for one in made[:-1]:
        await person.call("POST", f"{URL}/{one['id']}/cancel")
    for one in made:
        assert (await until(person, one["id"]))["state"] == "canceled"
    again = await person.call("POST", f"{URL}/{made[0]['id']}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "canceled")


async def test_one_that_waits_for_memory_behind_a_search_is_canceled_as_soon(site: Site, person: Person, slow_id: str) -> None:
    room = site.app.state.backtest_tools.room
    async with room.held(room.size - 140 * MIB), asyncio.TaskGroup() as group:
        behind = group.create_task(_hold(room, 160 * MIB))
        await asyncio.sleep(0.01)
        made = await begun(person, slow_id, minutes=MINUTES)
        await until(person, made["id"], "fetching")
        asked = time.monotonic()
        await person.call("POST", f"{URL}/{made['id']}/cancel")
        assert (await until(person, made["id"]))["state"] == "canceled"
        assert time.monotonic() - asked < 2
        behind.cancel()
    assert room.free == room.size


async def _hold(room: MemoryRoom, size: int) -> None:
    async with room.held(size):
        await asyncio.sleep(60)


async def test_one_that_waits_for_a_processor_is_canceled_as_soon(site: Site, person: Person, slow_id: str) -> None:
    jail = site.app.state.jail
    async with AsyncExitStack() as stack:
        for _ in range(2):  # as many as there are processors
            await stack.enter_async_context(jail.worker(user_id=new_id(), purpose=Purpose.BACKTEST))
        made = await begun(person, slow_id, minutes=MINUTES)
        await until(person, made["id"], "fetching")
        asked = time.monotonic()
        await person.call("POST", f"{URL}/{made['id']}/cancel")
        over = await until(person, made["id"])
    assert (over["state"], over["report"]) == ("canceled", None)
    assert time.monotonic() - asked < 2


async def test_one_that_is_deleted_while_it_runs_stops(site: Site, person: Person, slow_id: str) -> None:
    made = await begun(person, slow_id, minutes=6_000 - 120)
    await until(person, made["id"], "running")
    assert (await person.call("DELETE", f"{URL}/{made['id']}")).status_code == 204
    async with asyncio.timeout(3):
        while site.app.state.backtest_jobs.running:  # noqa: ASYNC110  # its loop tells nobody
            await asyncio.sleep(0.02)


async def test_a_process_that_is_killed_takes_nothing_else_along(site: Site, person: Person, slow_id: str) -> None:
    pool = site.app.state.backtest_tools.pool
    made = [await begun(person, slow_id, minutes=MINUTES) for _ in range(2)]
    for one in made:
        await until(person, one["id"], "running")
    killed: set[int] = set()
    deadline = time.monotonic() + 20
    while len(killed) < 3 and time.monotonic() < deadline:
        for pid in set(pool.pids) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        await asyncio.sleep(0.02)
    assert killed
    over = [await until(person, one["id"]) for one in made]
    assert [one["state"] for one in over] == ["completed", "completed"]
    assert over[0]["summary"] == over[1]["summary"]


async def test_what_brings_its_process_down_each_time_fails_in_the_end(site: Site, person: Person, slow_id: str) -> None:
    pool, stop = site.app.state.backtest_tools.pool, asyncio.Event()

    async def killing() -> None:
        while not stop.is_set():
            for pid in pool.pids:
                # One that has ended is still listed until its task is told.
                if psutil.pid_exists(pid):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(killing())
        failed = await until(person, (await begun(person, slow_id, minutes=300))["id"])
        stop.set()
    assert (failed["state"], failed["error"]["code"], failed["attempts"]) == ("failed", "BACKTEST_WORKER_LOST", 3)
    assert (await until(person, (await begun(person, slow_id, minutes=300))["id"]))["state"] == "completed", "the pool goes on"


async def test_history_that_is_not_here_is_fetched_from_the_exchange_of_the_account(site: Site, person: Person) -> None:
    venue = await site.app.state.registry.public("binance")
    there = await venue.fetch_candles("BTC/USDT", Timeframe.M1, limit=50)
    first, last = there[5].open_time, there[-2].open_time
    short = slow(10).replace("warm_up = 120", "warm_up = 5")
    given = {"start_at": (first + 5 * MINUTE).isoformat(), "end_at": last.isoformat()}
    made = await begun(person, await strategy(person, short, "Fetched"), **given)
    told = await followed(site, person, made["id"])
    over = await got(person, made["id"])
    assert over["state"] == "completed", over["error"]
    assert (over["data"]["rows"], over["data"]["gaps"], over["data"]["troubles"]) == (len(there) - 7, [], [])
    assert {one.get("state") for _, one in told} >= {"fetching", "completed"}
    stored = await site.app.state.backtest_tools.data._sources._store.array("binance", "BTC/USDT", Timeframe.M1, start=first, end=last)
    assert len(stored) == len(there) - 7


async def test_an_endless_loop_is_stopped_and_told(site: Site, person: Person) -> None:
    endless = slow(20_000).replace("        self.work()\n", "        while True:\n            pass\n", 1)
    config = site.app.state.jail.config
    object.__setattr__(config, "run_s", 1.0)  # frozen; a whole backtest has two minutes otherwise
    try:
        failed = await until(person, (await begun(person, await strategy(person, endless, "Endless"), minutes=300))["id"])
    finally:
        object.__setattr__(config, "run_s", 120.0)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "STRATEGY_KILLED")


async def test_twenty_users_at_once_lose_nothing_and_nobody_waits_for_ever(site: Site, person: Person) -> None:
    people = [await somebody(site) for _ in range(20)]
    ids = [await strategy(each) for each in people]
    # Nothing can begin while these two run.
    slower = await strategy(person, slow(400_000), "Slower")
    first = [await begun(person, slower, minutes=5_000) for _ in range(2)]
    for one in first:
        await until(person, one["id"], "running", "fetching")
    greedy = [(people[0], (await begun(people[0], ids[0], minutes=200))["id"]) for _ in range(8)]
    made = await asyncio.gather(*(begun(each, strategy_id, minutes=200) for each, strategy_id in zip(people * 2, ids * 2, strict=True)))
    for one in first:
        await person.call("POST", f"{URL}/{one['id']}/cancel")
    mine = greedy + [(each, one["id"]) for each, one in zip(people * 2, made, strict=True)]
    over = [await until(each, backtest_id, within_s=60) for each, backtest_id in mine]
    assert Counter((one["state"], one["attempts"]) for one in over) == {("completed", 1): len(mine)}
    order = sorted(range(len(mine)), key=lambda place: over[place]["started_at"])
    owners = [people.index(mine[place][0]) for place in order]
    assert set(owners[:20]) == set(range(20)), "everybody's first goes before anybody's second, though one came with eight before all"
    assert set(owners[20:40]) == set(range(20))
    assert owners[40:] == [0] * 8
