"""The kill switch over several accounts: what is odd about one keeps no other from being sold out."""

from dataclasses import replace

import pytest

from app.domain.risk import KillAction
from app.trading.kill_loop import KillLoop
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted
from tests.app.test_kill_switch import pull

pytestmark = pytest.mark.asyncio


async def test_an_order_of_an_account_that_is_gone_does_not_keep_the_others_positions(pieces: Pieces) -> None:
    lost = (await pieces.submit(pieces.limit("50000"))).order
    key = open_account(pieces.emulator)
    other = replace(
        pieces, api_key=key, broker_id=await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=key, name="Other")
    )
    await other.submit(broker_id=other.broker_id)
    await pieces.rows("UPDATE brokers SET removed_at = now(), is_active = false WHERE id = $1", pieces.broker_id)
    await pieces.connections.drop(pieces.broker_id)

    await pull(pieces, KillAction.FLATTEN)
    await KillLoop(pieces.desk).once()

    assert [order["side"] for order in other.placed()] == ["BUY", "SELL"], lost.id


async def test_an_odd_answer_about_one_position_does_not_keep_the_others(pieces: Pieces) -> None:
    await pieces.filled()
    key = open_account(pieces.emulator)
    other = replace(
        pieces, api_key=key, broker_id=await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=key, name="Other")
    )
    await other.submit(broker_id=other.broker_id)

    async def fail(*_: object, **__: object) -> None:
        raise KeyError("no such field")

    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_ticker=fail, fetch_balances=fail)
    command = await pull(pieces, KillAction.FLATTEN)
    await KillLoop(pieces.desk).once()

    assert [order["side"] for order in other.placed()] == ["BUY", "SELL"]
    (row,) = await pieces.rows("SELECT state, progress FROM kill_commands WHERE id = $1", command.id)
    assert (row["state"], [note["code"] for note in row["progress"]["obstacles"]]) == ("running", ["INTERNAL"])
