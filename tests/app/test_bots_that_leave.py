"""Exits of bots that did not come to their end: what is sold again, and what is not because its owner said otherwise."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.bots import upkeep
from tests.app.botting import LEAVES_ONCE, act, bot, replay_of_bots, valid_strategy
from tests.app.replaying import Replay
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replay]:
    async with replay_of_bots(postgres, tmp_path_factory.mktemp("leaving")) as running:
        yield running


async def holding_bot(replay: Replay, name: str) -> str:
    """A bot that has bought, and leaves at the next close."""
    broker_id = await replay.live(name)
    one = await bot(replay.person, await valid_strategy(replay, replay.person, LEAVES_ONCE, name), str(broker_id), name=name, mode="live")
    await act(replay.person, one["id"], "start")
    await replay.quiet()
    await replay.minute()
    assert await held(replay, one["id"]) is not None
    return str(one["id"])


async def held(replay: Replay, bot_id: str) -> Any:
    return (await replay.person.call("GET", f"/api/bots/{bot_id}")).json()["held"]


async def fault(replay: Replay, **rule: Any) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{replay.venue.url}/_fault", json={"method": "POST", "path": "/api/v3/order", **rule})
        assert answer.is_success, answer.text


async def let_all_pass(replay: Replay) -> None:
    async with httpx.AsyncClient() as http:
        assert (await http.delete(f"{replay.venue.url}/_fault")).is_success


async def exits(replay: Replay, bot_id: str) -> list[Any]:
    return await replay.rows("SELECT * FROM orders WHERE bot_id = $1::uuid AND role = 'exit' ORDER BY created_at", bot_id)


async def in_doubt(replay: Replay, bot_id: str) -> None:
    """Let the next candle close, and the exit that follows be cut off on its way."""
    await fault(replay, do="drop_before")
    await replay.venue.until(replay.venue.now_ms // 60_000 * 60_000 + 60_000)
    await until(replay, "SELECT 1 FROM orders WHERE bot_id = $1::uuid AND role = 'exit' AND state = 'unknown'", bot_id)


async def until(replay: Replay, question: str, bot_id: str) -> None:
    """Wait, while the market's time stands, until the question has an answer."""
    async with asyncio.timeout(30):
        while not await replay.rows(question, bot_id):  # noqa: ASYNC110  # the tables tell nobody
            await asyncio.sleep(0.01)


async def test_what_a_stopped_bot_is_to_keep_is_kept_though_its_exit_is_lost_later(replay: Replay) -> None:
    bot_id = await holding_bot(replay, "kept")
    await in_doubt(replay, bot_id)
    await act(replay.person, bot_id, "stop", position="keep")
    await replay.venue.advance(30_000)
    await replay.quiet()
    assert [row["state"] for row in await exits(replay, bot_id)] == ["lost"]
    assert await held(replay, bot_id) is not None


async def test_what_a_stopped_bot_is_to_keep_is_kept_though_it_was_being_sold_again(replay: Replay) -> None:
    bot_id = await holding_bot(replay, "kept_at_last")
    await fault(replay, do="status_before", status=400, body={"code": -2010, "msg": "Market is closed."}, times=1000)
    await replay.venue.until(replay.venue.now_ms // 60_000 * 60_000 + 60_000)
    refused = "SELECT 1 FROM orders WHERE bot_id = $1::uuid AND role = 'exit' AND state = 'rejected' OFFSET 1"
    await until(replay, refused, bot_id)
    await act(replay.person, bot_id, "stop", position="keep")
    await replay.quiet()
    await let_all_pass(replay)
    await asyncio.sleep(2.5)
    await replay.quiet()
    assert await held(replay, bot_id) is not None


async def test_an_exit_that_its_owner_canceled_is_not_made_again(replay: Replay) -> None:
    bot_id = await holding_bot(replay, "canceled")
    await in_doubt(replay, bot_id)
    (order,) = await exits(replay, bot_id)
    await replay.person.call("DELETE", f"/api/orders/{order['id']}")
    await replay.venue.advance(30_000)
    await replay.quiet()
    assert [(row["state"], row["cancel_requested_at"] is not None) for row in await exits(replay, bot_id)] == [("lost", True)]
    assert await held(replay, bot_id) is not None
    await act(replay.person, bot_id, "stop", position="sell")
    await replay.quiet()


async def test_what_was_bought_after_an_exit_is_not_sold_when_the_exit_turns_out_to_be_lost(replay: Replay) -> None:
    bot_id = await holding_bot(replay, "later")
    await in_doubt(replay, bot_id)
    # As if its stop had sold, and another entry had filled.
    await replay.venue.advance(1_000)
    await replay.rows("UPDATE positions SET opened_at = $2 WHERE bot_id = $1::uuid RETURNING id", bot_id, replay.venue.clock.now())
    await replay.venue.advance(30_000)
    await replay.quiet()
    assert [row["state"] for row in await exits(replay, bot_id)] == ["lost"]
    assert await held(replay, bot_id) is not None
    await act(replay.person, bot_id, "stop", position="sell")
    await replay.quiet()


@pytest.mark.parametrize("away_ms", [30_000, 130_000])
async def test_an_exit_that_was_lost_while_nobody_was_here_is_made_again(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, away_ms: int
) -> None:
    bot_id = await holding_bot(replay, f"away{away_ms}")
    # As if the process had died when the order was handed over, before its signal said so.
    monkeypatch.setattr(upkeep, "_SETTLE", "SELECT 1 WHERE $1::text || $2::text IS NULL AND $3::uuid[] IS NULL")
    monkeypatch.setattr(upkeep, "_UNSOLD", f"SELECT * FROM ({upkeep._UNSOLD}) w WHERE false")
    monkeypatch.setattr(upkeep, "_OPEN", f"SELECT * FROM ({upkeep._OPEN}) s WHERE false")
    await in_doubt(replay, bot_id)
    await replay.venue.advance(away_ms)
    await until(replay, "SELECT 1 FROM orders WHERE bot_id = $1::uuid AND state = 'lost'", bot_id)
    sql = "UPDATE bot_signals SET state = 'decided', order_ids = '{}' WHERE bot_id = $1::uuid AND state = 'submitted' RETURNING id"
    assert len(await replay.rows(sql, bot_id)) == 1
    monkeypatch.undo()
    await replay.quiet()
    assert [row["state"] for row in await exits(replay, bot_id)] == ["lost", "filled"]
    assert await held(replay, bot_id) is None
    await act(replay.person, bot_id, "stop")


async def test_an_exchange_that_always_refuses_is_asked_more_and_more_seldom(replay: Replay) -> None:
    bot_id = await holding_bot(replay, "refused")
    await fault(replay, do="status_before", status=400, body={"code": -2010, "msg": "Market is closed."}, times=1000)
    await replay.venue.until(replay.venue.now_ms // 60_000 * 60_000 + 60_000)
    await asyncio.sleep(8)
    refused = len(await exits(replay, bot_id))
    await let_all_pass(replay)
    assert 3 <= refused <= 5, "at once, and after one, two and four seconds"
    await replay.quiet()
    assert await held(replay, bot_id) is None
    await act(replay.person, bot_id, "stop")
