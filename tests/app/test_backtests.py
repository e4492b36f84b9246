"""Backtests from the wish to the result, through the whole application, the real jail and the pool."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.app.backtesting import ROLES, URL, begun, store_candles, strategy, until
from tests.app.library import somebody
from tests.app.whole_site import Site, running_site
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


async def test_a_backtest_comes_to_a_report_with_everything_that_repeats_it(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    made = await begun(person, strategy_id)
    assert (made["number"], made["state"]) == (1, "queued")
    done = await until(person, made["id"])
    assert done["state"] == "completed", done["error"]
    print({key: value for key, value in done.items() if key != "report"})
    trades = (await person.call("GET", f"{URL}/{made['id']}/trades")).json()
    print(trades["items"][0], trades["total"])
