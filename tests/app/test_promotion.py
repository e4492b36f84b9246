"""A backtest becomes a bot, with what will be otherwise said before; and a bot becomes a backtest."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from tests.app.backtesting import CROSS, ROLES, begun, store_candles, strategy, until
from tests.app.botting import paper_account, valid_strategy
from tests.app.library import keep, refusal, report_of, somebody
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORTS = CROSS + "\n    def should_short(self):\n        return ta.crossed_below(self.a, self.b)\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), roles=ROLES) as running:
        await store_candles(running, 3_000)
        yield running


async def a_backtest(person: Person, strategy_id: str, **given: Any) -> str:
    """A backtest that is done."""
    run = await begun(person, strategy_id, minutes=600, **given)
    assert (await until(person, run["id"]))["state"] == "completed"
    return str(run["id"])


async def test_a_bot_is_made_of_what_its_backtest_was_made_of(site: Site) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada), await paper_account(ada)
    backtest_id = await a_backtest(ada, strategy_id, parameters={"fast": 7}, capital="2500", broker_id=broker_id)
    answer = await ada.call("POST", f"/api/backtests/{backtest_id}/promote", json={"broker_id": broker_id, "mode": "paper"})
    assert answer.status_code == 201, answer.text
    made = answer.json()["bot"]
    assert (made["strategy_id"], made["version"], made["parameters"], made["symbol"], made["timeframe"]) == (
        strategy_id, 1, {"fast": 7}, "BTC/USDT", "1m",
    )  # fmt: skip
    assert (made["capital"], made["backtest_id"], made["state"]) == ("2500", backtest_id, "ready")
    # Ten hours of minutes are few trades; all else is as it was.
    assert {one["code"] for one in answer.json()["warnings"]} <= {"FEW"}


async def test_what_will_be_otherwise_is_said_before(site: Site) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada, SHORTS), await paper_account(ada)
    options = {"volume_share": 0.5, "funding_rate": 0.0001, "detail": True}
    backtest_id = await a_backtest(ada, strategy_id, fee="0.0001", slippage="0", options=options)
    offer = (await ada.call("GET", f"/api/backtests/{backtest_id}/promotion", params={"broker_id": broker_id})).json()
    told = {one["code"]: one["text"] for one in offer["warnings"]}
    assert {"SHORTS", "FEES", "SLIPPAGE", "FUNDING", "VOLUME", "DETAIL"} <= set(told), told
    shorts = (await ada.call("GET", f"/api/backtests/{backtest_id}/trades", params={"limit": 500})).json()["items"]
    count = sum(one["side"] == "short" for one in shorts)
    assert told["SHORTS"].startswith(f"{count} of its {len(shorts)} trades sold short")
    assert "0.01% and 0.01%, the account takes 0.1%" in told["FEES"]
    form = (await ada.browse("GET", "/bots/new?backtest=1")).text
    assert "What will be otherwise than in the backtest" in form
    assert told["SHORTS"] in form


async def test_a_version_that_may_not_trade_is_not_promoted(site: Site) -> None:
    ada = await somebody(site)
    broker_id = await paper_account(ada)
    unchecked = await strategy(ada, name="Unchecked")
    backtest_id = await a_backtest(ada, unchecked)
    body = {"broker_id": broker_id, "mode": "paper"}
    assert refusal(await ada.call("POST", f"/api/backtests/{backtest_id}/promote", json=body)) == (409, "PROMOTION_REFUSED")
    version = (await ada.call("GET", f"/api/strategies/{unchecked}/versions/1")).json()
    await keep(site, ada, version, report_of(version["source"], has_look_ahead=True))
    answer = await ada.call("POST", f"/api/backtests/{backtest_id}/promote", json=body)
    assert (refusal(answer), "looks into the future" in answer.json()["detail"]) == ((409, "PROMOTION_REFUSED"), True)


async def test_a_backtest_of_a_length_that_is_not_live_is_not_promoted(site: Site) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada), await paper_account(ada)
    backtest_id = await a_backtest(ada, strategy_id)
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE backtests SET timeframe = '6h' WHERE id = $1", UUID(backtest_id))
    answer = await ada.call("POST", f"/api/backtests/{backtest_id}/promote", json={"broker_id": broker_id, "mode": "paper"})
    assert refusal(answer) == (422, "BOT_INVALID")


async def test_nobody_promotes_anothers_backtest(site: Site) -> None:
    ada, eve = await somebody(site), await somebody(site)
    backtest_id = await a_backtest(ada, await valid_strategy(site, ada))
    broker_id = await paper_account(eve)
    answer = await eve.call("POST", f"/api/backtests/{backtest_id}/promote", json={"broker_id": broker_id, "mode": "paper"})
    assert refusal(answer) == (404, "BACKTEST_NOT_FOUND")
    assert refusal(await eve.call("GET", f"/api/backtests/{backtest_id}/promotion")) == (404, "BACKTEST_NOT_FOUND")
