"""Bots that trade by themselves beside a replayed exchange: what they decide, what comes of it, and what is written down."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio

from tests.app.botting import BUYS, LEAVES_ONCE, act, bot, kinds, replay_of_bots, signals, valid_strategy
from tests.app.replaying import Replay
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: In turns of two candles: in, and out again.
TURNS = """from aristobot import Strategy


class Turns(Strategy):
    timeframe = "1m"
    warm_up = 2
    stop_loss = 0.2

    def should_long(self):
        print("I like it")
        return True

    def should_exit(self):
        return True
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replay]:
    async with replay_of_bots(postgres, tmp_path_factory.mktemp("bots")) as running:
        yield running


async def test_a_bot_buys_and_sells_by_itself_and_says_why(replay: Replay) -> None:
    ada = replay.person
    broker_id = await replay.paper("turns")
    one = await bot(ada, await valid_strategy(replay, ada, TURNS, "Turns"), str(broker_id))
    await act(ada, one["id"], "start")
    await replay.quiet()
    for _ in range(4):
        await replay.minute()
    decided = list(reversed(await signals(ada, one["id"])))
    assert [(signal["action"], signal["state"]) for signal in decided] == [("long", "done"), ("exit", "done")] * 2
    assert decided[0]["reason"]["text"] == "the strategy enters"
    assert decided[0]["decision"]["output"] == "I like it\n"
    trades = (await ada.call("GET", f"/api/bots/{one['id']}/trades")).json()["items"]
    assert [trade["is_open"] for trade in trades] == [False, False]
    now = (await ada.call("GET", f"/api/bots/{one['id']}")).json()
    assert Decimal(now["profit"]) == sum((Decimal(trade["profit"]) for trade in trades), Decimal(0)) != 0
    assert {"entry", "exit", "bought", "sold", "printed"} <= set(await kinds(ada, one["id"]))
    equity = (await ada.call("GET", f"/api/bots/{one['id']}/equity")).json()["items"]
    assert len(equity) == 4
    await act(ada, one["id"], "stop")


async def test_a_stop_that_was_asked_to_sell_sells(replay: Replay) -> None:
    ada = replay.person
    broker_id = await replay.paper("sells")
    one = await bot(ada, await valid_strategy(replay, ada, BUYS, "Buys"), str(broker_id))
    await act(ada, one["id"], "start")
    await replay.quiet()
    await replay.minute()
    held = (await ada.call("GET", f"/api/bots/{one['id']}")).json()
    assert held["held"] is not None
    refused = await ada.call("POST", f"/api/bots/{one['id']}/stop")
    assert (refused.status_code, refused.json()["code"]) == (409, "BOT_HOLDS_POSITION")
    await act(ada, one["id"], "close_position")
    await replay.quiet()
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["held"] is None
    await act(ada, one["id"], "stop", position="sell")


async def test_a_safeguard_cuts_entries_trips_and_lets_nothing_in_until_it_is_armed_again(replay: Replay) -> None:
    ada = replay.person
    broker_id = await replay.paper("guarded")
    rules = {"max_notional": {"most": "300"}, "losses": {"trades": 2}}
    one = await bot(ada, await valid_strategy(replay, ada, TURNS, "Guarded turns"), str(broker_id), safeguards=rules)
    await act(ada, one["id"], "start")
    await replay.quiet()
    for _ in range(6):
        await replay.minute()
    decided = list(reversed(await signals(ada, one["id"])))
    assert [(signal["action"], signal["state"]) for signal in decided[:4]] == [("long", "done"), ("exit", "done")] * 2
    assert decided[0]["reason"]["text"].startswith("the entry was cut to")
    # The safeguard trips at the close, or between candles where the watch was quicker.
    assert (decided[4]["state"], decided[4]["code"]) in (("denied", "SAFEGUARD"), ("skipped", "BOT_SUSPENDED"))
    assert decided[5]["state"] == "skipped"
    trades = (await ada.call("GET", f"/api/bots/{one['id']}/trades")).json()["items"]
    assert len(trades) == 2
    assert all(Decimal(trade["quantity"]) * Decimal(trade["entry_price"]) <= Decimal("300.5") for trade in trades)
    now = (await ada.call("GET", f"/api/bots/{one['id']}")).json()
    assert (now["state"], now["trips"]) == ("suspended", 1)
    (trip,) = (await ada.call("GET", "/api/bots/trips", params={"bot_id": one["id"]})).json()["items"]
    assert trip["reason"]["text"] == "Loss streak: trades in a row that lost: 2; the limit is 2."
    assert (await ada.call("POST", f"/api/bots/trips/{trip['id']}/rearm")).status_code == 200
    await act(ada, one["id"], "start")
    await replay.quiet()
    await replay.minute()
    assert (await signals(ada, one["id"]))[0]["state"] == "done"
    await act(ada, one["id"], "stop", position="sell")


async def test_a_safeguard_that_flattens_sells_once_and_suspends(replay: Replay) -> None:
    ada = replay.person
    broker_id = await replay.paper("flattened")
    rules = {"daily_loss": {"fraction": "0.0005", "action": "flatten"}}
    one = await bot(ada, await valid_strategy(replay, ada, BUYS, "Guarded buys"), str(broker_id), safeguards=rules)
    await act(ada, one["id"], "start")
    await replay.quiet()
    for _ in range(3):
        await replay.minute()
    now = (await ada.call("GET", f"/api/bots/{one['id']}")).json()
    assert (now["state"], now["held"], now["is_selling"], now["trips"]) == ("suspended", None, False, 1)
    trades = (await ada.call("GET", f"/api/bots/{one['id']}/trades")).json()["items"]
    assert [trade["is_open"] for trade in trades] == [False]
    assert {"tripped", "sell_asked", "sold"} <= set(await kinds(ada, one["id"]))
    await act(ada, one["id"], "stop")


async def test_an_exit_that_the_exchange_refuses_is_tried_again(replay: Replay) -> None:
    ada = replay.person
    one = await bot(ada, await valid_strategy(replay, ada, TURNS, "Refused"), str(await replay.live("refused")), mode="live")
    await act(ada, one["id"], "start")
    await replay.quiet()
    await replay.minute()
    body = {"code": -2010, "msg": "Market is closed."}
    rule = {"do": "status_before", "method": "POST", "path": "/api/v3/order", "status": 400, "body": body}
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{replay.venue.url}/_fault", json=rule)).is_success
    await replay.minute()
    await replay.quiet()
    _, refused = list(reversed(await signals(ada, one["id"])))
    assert (refused["action"], refused["state"]) == ("exit", "denied")
    assert "tried again until it is sold" in refused["reason"]["text"]
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["held"] is None
    await act(ada, one["id"], "stop")


async def test_an_exit_that_never_arrived_is_sent_again_and_an_entry_is_not(replay: Replay) -> None:
    ada = replay.person
    one = await bot(ada, await valid_strategy(replay, ada, LEAVES_ONCE, "Cut off"), str(await replay.live("cutoff")), mode="live")
    await act(ada, one["id"], "start")
    await replay.quiet()
    assert await _cut_off(replay, one["id"]) == ("long", "denied", "ORDER_LOST")
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["held"] is None, "the market is another one by now"
    await replay.minute()
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["held"] is not None
    assert await _cut_off(replay, one["id"]) == ("exit", "denied", "ORDER_LOST")
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["held"] is None, "it did not want to leave a second time by itself"
    assert {"not_sold", "sold"} <= set(await kinds(ada, one["id"]))
    await act(ada, one["id"], "stop")


async def _cut_off(replay: Replay, bot_id: str) -> tuple[str, str, str]:
    """Let a candle close and the order that follows be lost on its way; return what became of its signal."""
    async with httpx.AsyncClient() as http:
        rule = {"do": "drop_before", "method": "POST", "path": "/api/v3/order"}
        assert (await http.post(f"{replay.venue.url}/_fault", json=rule)).is_success
    await replay.venue.until(replay.venue.now_ms // 60_000 * 60_000 + 60_000)
    for _ in range(1_000):
        if await replay.rows("SELECT 1 FROM orders WHERE bot_id = $1::uuid AND state = 'unknown'", bot_id):
            break
        await asyncio.sleep(0.01)
    await replay.venue.advance(30_000)
    await replay.quiet()
    found = (await signals(replay.person, bot_id))[0]
    assert "never arrived" in found["reason"]["text"]
    return found["action"], found["state"], found["code"]


async def test_a_suspended_bot_leaves_and_does_not_enter(replay: Replay) -> None:
    ada = replay.person
    one = await bot(ada, await valid_strategy(replay, ada, TURNS, "Suspended"), str(await replay.paper("suspended")))
    await act(ada, one["id"], "start")
    await replay.quiet()
    await replay.minute()
    await act(ada, one["id"], "suspend")
    await replay.quiet()
    for _ in range(2):
        await replay.minute()
    found = list(reversed(await signals(ada, one["id"])))
    assert [(signal["action"], signal["state"], signal["code"]) for signal in found] == [
        ("long", "done", None),
        ("exit", "done", None),
        ("long", "skipped", "BOT_SUSPENDED"),
    ]
    again = await act(ada, one["id"], "start")
    assert again["state"] == "running"
    await replay.quiet()
    await replay.minute()
    assert (await ada.call("GET", f"/api/bots/{one['id']}")).json()["state_reason"] is None
    await act(ada, one["id"], "stop", position="keep")


async def test_a_bot_begins_and_ends_at_its_times(replay: Replay) -> None:
    ada, now = replay.person, replay.venue.clock.now()
    given = {"start_at": (now + timedelta(minutes=2)).isoformat(), "end_at": (now + timedelta(minutes=4)).isoformat(), "at_end": "sell"}
    one = await bot(ada, await valid_strategy(replay, ada, BUYS, "Dated"), str(await replay.paper("dated")), **given)
    await act(ada, one["id"], "start")
    await replay.quiet()
    assert "waits until" in (await ada.call("GET", f"/api/bots/{one['id']}")).json()["state_reason"]["text"]
    for _ in range(5):
        await replay.minute()
    await replay.quiet()
    over = (await ada.call("GET", f"/api/bots/{one['id']}")).json()
    assert (over["state"], over["state_reason"]["text"], over["held"]) == ("stopped", "its end has come: it stopped by itself", None)
    found = await signals(ada, one["id"])
    assert [signal["action"] for signal in found].count("long") == 1
    assert min(signal["open_time"] for signal in found) >= given["start_at"][:16]
    assert len((await ada.call("GET", f"/api/bots/{one['id']}/trades")).json()["items"]) == 1


async def test_a_bot_without_a_place_waits_for_one_and_says_so(replay: Replay) -> None:
    ada, quotas = replay.person, replay.app.state.jail.quotas
    one = await bot(ada, await valid_strategy(replay, ada, BUYS, "Placeless"), str(await replay.paper("placeless")))
    quotas.limits, before = dataclasses.replace(quotas.limits, workers=0), quotas.limits
    try:
        await act(ada, one["id"], "start")
        async with asyncio.timeout(20):
            while "place to run" not in str(await _reason(replay, one["id"])):  # noqa: ASYNC110  # a loop of the site
                await asyncio.sleep(0.02)
    finally:
        quotas.limits = before
    await replay.quiet()
    assert await _reason(replay, one["id"]) is None
    await act(ada, one["id"], "stop")


async def _reason(replay: Replay, bot_id: str) -> object:
    return (await replay.person.call("GET", f"/api/bots/{bot_id}")).json()["state_reason"]
