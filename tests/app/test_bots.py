"""Bots of a user: made, changed, found, deleted, and by nobody else."""

from uuid import UUID

import pytest

from app.bots.retention import thin
from app.marketdata.instruments import Stopped
from tests.app.backtesting import CROSS
from tests.app.botting import URL, act, bot, paper_account, valid_strategy, wish
from tests.app.library import made, refusal, somebody
from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_bot_is_made_of_a_strategy_an_account_and_a_market(site: Site) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada), await paper_account(ada)
    made_bot = await bot(ada, strategy_id, broker_id, parameters={"fast": 7})
    assert (made_bot["number"], made_bot["state"], made_bot["symbol"], made_bot["timeframe"]) == (1, "ready", "BTC/USDT", "1m")
    assert (made_bot["name"], made_bot["equity"], made_bot["profit"], made_bot["held"]) == ("Cross BTC/USDT 1m", "1000", "0", None)
    again = await bot(ada, strategy_id, broker_id, name="Second")
    listed = (await ada.call("GET", URL, params={"limit": 1})).json()
    assert ([one["name"] for one in listed["items"]], listed["next"]) == (["Second"], str(again["number"]))
    rest = (await ada.call("GET", URL, params={"cursor": listed["next"]})).json()
    assert ([one["number"] for one in rest["items"]], rest["next"]) == ([1], None)


async def test_the_same_key_makes_one_bot(site: Site) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada), await paper_account(ada)
    answers = [await ada.call("POST", URL, json=wish(strategy_id, broker_id), headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mode": "live"}, (422, "BOT_INVALID")),
        ({"timeframe": "6h"}, (422, "BOT_INVALID")),
        ({"capital": "0.01"}, (422, "BOT_INVALID")),
        ({"symbol": "NOPEUSDT"}, (404, "SYMBOL_NOT_FOUND")),
        ({"end_at": "2020-01-01T00:00:00Z"}, (422, "BOT_INVALID")),
        ({"parameters": {"fast": 1}}, (422, "STRATEGY_FAILED")),
    ],
)
async def test_what_cannot_trade_is_not_made(site: Site, given: dict[str, object], expected: tuple[int, str]) -> None:
    ada = await somebody(site)
    strategy_id, broker_id = await valid_strategy(site, ada), await paper_account(ada)
    assert refusal(await ada.call("POST", URL, json=wish(strategy_id, broker_id, **given))) == expected


async def test_a_version_that_was_not_validated_does_not_start(site: Site) -> None:
    ada = await somebody(site)
    strategy = await made(ada, source=CROSS)
    made_bot = await bot(ada, strategy["id"], await paper_account(ada))
    assert refusal(await ada.call("POST", f"{URL}/{made_bot['id']}/start")) == (409, "STRATEGY_NOT_VALID")


async def test_a_bot_is_started_suspended_stopped_and_never_started_again(site: Site) -> None:
    ada = await somebody(site)
    made_bot = await bot(ada, await valid_strategy(site, ada), await paper_account(ada))
    bot_id = made_bot["id"]
    assert refusal(await ada.call("POST", f"{URL}/{bot_id}/suspend")) == (409, "BOT_STATE")
    assert (await act(ada, bot_id, "start"))["state"] == "running"
    assert refusal(await ada.call("DELETE", f"{URL}/{bot_id}")) == (409, "BOT_STATE")
    assert refusal(await ada.call("PATCH", f"{URL}/{bot_id}", json={"capital": "5000"})) == (409, "BOT_STATE")
    assert (await ada.call("PATCH", f"{URL}/{bot_id}", json={"name": "Renamed"})).json()["name"] == "Renamed"
    assert refusal(await ada.call("POST", f"{URL}/{bot_id}/close_position")) == (409, "BOT_HOLDS_NOTHING")
    assert (await act(ada, bot_id, "suspend"))["state"] == "suspended"
    assert (await act(ada, bot_id, "stop"))["state"] == "stopped"
    assert refusal(await ada.call("POST", f"{URL}/{bot_id}/start")) == (409, "BOT_STATE")
    kinds = [line["kind"] for line in (await ada.call("GET", f"{URL}/{bot_id}/events")).json()["items"]]
    assert [kind for kind in kinds if kind in ("started", "suspended", "stopped")] == ["stopped", "suspended", "started"]
    log = (await ada.call("GET", "/api/account/audit")).json()["items"]
    assert [one["action"] for one in log if one["object"] == f"bot:{bot_id}"][:3] == ["bot_stopped", "bot_suspended", "bot_changed"]
    assert (await ada.call("DELETE", f"{URL}/{bot_id}")).status_code == 204
    assert refusal(await ada.call("GET", f"{URL}/{bot_id}")) == (404, "BOT_NOT_FOUND")


async def test_a_strategy_that_a_bot_runs_is_not_deleted(site: Site) -> None:
    ada = await somebody(site)
    strategy_id = await valid_strategy(site, ada)
    await bot(ada, strategy_id, await paper_account(ada))
    assert refusal(await ada.call("DELETE", f"/api/strategies/{strategy_id}")) == (409, "STRATEGY_IN_USE")


async def test_an_account_that_bots_trade_on_is_not_removed(site: Site) -> None:
    ada = await somebody(site)
    broker_id = await paper_account(ada)
    made_bot = await bot(ada, await valid_strategy(site, ada), broker_id, name="Busy")
    await act(ada, made_bot["id"], "start")
    refused = await ada.call("DELETE", f"/api/brokers/{broker_id}")
    assert refusal(refused) == (409, "BROKER_IN_USE")
    assert "Busy" in refused.json()["detail"]
    await act(ada, made_bot["id"], "stop")
    assert (await ada.call("DELETE", f"/api/brokers/{broker_id}")).status_code == 204


async def test_a_symbol_that_trades_no_longer_suspends_its_bots(site: Site) -> None:
    ada = await somebody(site)
    made_bot = await bot(ada, await valid_strategy(site, ada), await paper_account(ada))
    await act(ada, made_bot["id"], "start")
    state = site.app.state
    stopped = Stopped(exchanges=("binance", "paper"), halted=("BTC/USDT",), removed=(), at=state.clock.now())
    async with state.platform_database.raw_transaction() as connection:
        await state.instruments.on_stopped(connection, stopped)
    now = (await ada.call("GET", f"{URL}/{made_bot['id']}")).json()
    assert (now["state"], now["state_reason"]["text"]) == ("suspended", "BTC/USDT is not traded at binance any more")


async def test_old_candles_at_which_nothing_was_wanted_are_let_go_of(site: Site) -> None:
    ada = await somebody(site)
    made_bot = await bot(ada, await valid_strategy(site, ada), await paper_account(ada))
    desk = site.app.state.desk
    async with desk.database.connection() as connection:
        # More than one piece of what is let go of at a time.
        await connection.execute(
            "INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state)"
            " SELECT gen_random_uuid(), b.id, b.user_id, now() - (n - 0.5) * interval '1 minute', now(), '{}',"
            "        CASE WHEN n = 30000 THEN 'long' ELSE 'none' END, 'done'"
            "   FROM bots b, generate_series(1, 45000) n WHERE b.id = $1",
            UUID(made_bot["id"]),
        )
        await thin(desk)
        kept = await connection.fetch("SELECT open_time < now() - interval '14 days' AS is_old, action FROM bot_signals")
    assert [row["action"] for row in kept if row["is_old"]] == ["long"]
    assert sum(not row["is_old"] for row in kept) == 14 * 1440
