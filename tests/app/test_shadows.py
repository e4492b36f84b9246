"""Bots beside their re-simulation: through the API of a running application, on candles that are made up and stored."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.domain.simulated import Reason
from tests.app.backtesting import ROLES, store_candles
from tests.app.botting import bot, paper_account, valid_strategy
from tests.app.library import refusal, somebody
from tests.app.shadowing import lived
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), roles=ROLES) as running:
        await store_candles(running, 3_000)
        yield running


def summed(found: dict[str, Any]) -> Decimal:
    return sum((Decimal(money) for money in found["causes"].values()), Decimal(0)) + Decimal(found["rest"])


async def test_a_bot_that_did_as_its_backtest_is_its_shadow(site: Site) -> None:
    life = await lived(site, await somebody(site))
    found = await life.compare()
    assert found["state"] == "completed", found
    assert found["shadow_trades"] > 3
    assert (found["live_trades"], found["differences"], found["causes"]) == (found["shadow_trades"], [], {}), found
    # The exchange keeps eight digits of a fee.
    assert abs(Decimal(found["rest"])) < Decimal("1e-6")
    assert Decimal(found["live"]) - Decimal(found["shadow"]) == Decimal(found["rest"])
    assert len(found["curve"]) > 10
    (line,) = (await life.person.call("GET", "/api/statistics/summary", params={"broker_id": str(life.broker_id)})).json()["shadow"]
    assert (line["bot_id"], line["trades"], line["shadow_trades"]) == (str(life.bot_id), found["live_trades"], found["shadow_trades"])
    assert (line["profit"], line["shadow_profit"]) == (found["live"], found["shadow"])
    later = {"broker_id": str(life.broker_id), "start": "2026-03-02T00:00:00Z"}
    assert (await life.person.call("GET", "/api/statistics/summary", params=later)).json()["shadow"] == []


async def test_each_thing_that_happened_to_a_bot_is_a_cause_of_its_own(site: Site) -> None:
    life = await lived(site, await somebody(site), minutes=1_200)
    entries = [order_id for order_id, reason in life.orders if reason is Reason.ENTRY]
    worse, missed, denied = entries[1], entries[3], entries[5]
    await life.rows("UPDATE fills SET price = price * 1.002 WHERE order_id = $1", worse)
    for order_id, change in ((missed, None), (denied, "INSUFFICIENT_FUNDS")):
        (row,) = await life.rows("SELECT o.key, f.position_id FROM orders o JOIN fills f ON f.order_id = o.id WHERE o.id = $1", order_id)
        decided = int(row["key"].split(":")[2])
        if change is None:
            await life.rows(
                "DELETE FROM bot_signals WHERE bot_id = $1 AND open_time = to_timestamp($2::bigint / 1000)", life.bot_id, decided
            )
        else:
            await life.rows(
                "UPDATE bot_signals SET state = 'denied', code = $3 WHERE bot_id = $1 AND open_time = to_timestamp($2::bigint / 1000)",
                life.bot_id, decided, change,
            )  # fmt: skip
        await life.rows("DELETE FROM fills WHERE position_id = $1", row["position_id"])
    found = await life.compare()
    assert Decimal(found["live"]) - Decimal(found["shadow"]) == summed(found)
    assert abs(Decimal(found["rest"])) < Decimal("1e-6"), found["causes"]
    assert {"fill_price", "missed_candle", "denied"} <= set(found["causes"])
    assert not {"decision", "hand"} & set(found["causes"]), found["causes"]
    by_cause = {one["cause"]: one for one in found["differences"] if Decimal(one["money"])}
    assert by_cause["denied"]["code"] == "INSUFFICIENT_FUNDS"
    assert by_cause["denied"]["signal_id"] is not None
    price = next(one for one in found["differences"] if one["order_ids"] == [str(worse)] and one["bps"])
    assert (price["cause"], price["bps"]) == ("fill_price", "20")
    assert Decimal(price["money"]) < 0


async def test_another_decision_on_the_same_candle_is_told_loudly(site: Site) -> None:
    ada = await somebody(site)
    life = await lived(site, ada)
    # It says that it wanted to enter where its strategy does not: nobody can have decided that.
    query = "SELECT open_time FROM bot_signals WHERE bot_id = $1 AND action = 'none' ORDER BY open_time LIMIT 1"
    (row,) = await life.rows(query, life.bot_id)
    await life.rows(
        "UPDATE bot_signals SET action = 'long', state = 'denied', code = 'X' WHERE bot_id = $1 AND open_time = $2", life.bot_id, row[0]
    )
    found = await life.compare()
    assert "decision" in found["causes"], found["differences"]
    notices = await life.rows("SELECT severity, url FROM notices WHERE user_id = $1 AND kind = 'shadow_differs'", life.user_id)
    assert [(one["severity"], one["url"]) for one in notices] == [("error", "/bots/1?tab=shadow")]
    page = (await ada.browse("GET", "/bots/1?tab=shadow")).text
    assert "It decided otherwise than its shadow on the same candle." in page
    region = await ada.browse("POST", "/bots/1/shadow", headers={"X-CSRF-Token": ada.csrf})
    assert (region.status_code, "It is being compared now." in region.text) == (200, True), region.text
    backtest = await ada.browse("POST", "/bots/1/backtest", headers={"X-CSRF-Token": ada.csrf, "HX-Request": "true"})
    assert backtest.headers.get("HX-Redirect", backtest.headers.get("Location")) == "/backtests/2", backtest.text
    # The same candle, corrected afterwards, is no riddle.
    await life.rows(
        """INSERT INTO candle_differences (id, exchange, symbol, timeframe, open_time, cause, was, became, found_at)
           VALUES (gen_random_uuid(), 'binance', 'BTC/USDT', '1m', $1, 'revised', '{1,1,1,1,1}', '{2,2,2,2,2}', now())""",
        row[0],
    )
    again = await life.compare()
    assert "decision" not in again["causes"]
    assert "candle_revised" in again["causes"]


async def test_nobody_sees_or_asks_for_the_shadow_of_anothers_bot(site: Site) -> None:
    ada, eve = await somebody(site), await somebody(site)
    made = await bot(ada, await valid_strategy(site, ada), await paper_account(ada))
    for method in ("GET", "POST"):
        assert refusal(await eve.call(method, f"/api/bots/{made['id']}/shadow")) == (404, "BOT_NOT_FOUND")
    assert refusal(await ada.call("GET", f"/api/bots/{made['id']}/shadow")) == (404, "SHADOW_NOT_FOUND")
    assert refusal(await ada.call("POST", f"/api/bots/{made['id']}/shadow")) == (409, "SHADOW_TOO_EARLY")
    assert refusal(await ada.call("POST", f"/api/bots/{made['id']}/backtest")) == (409, "SHADOW_TOO_EARLY")
