"""Bots that lived beside a replayed exchange, and what their shadows make of the same candles."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.emulator.config import EmulatorConfig, GeneratedSymbol
from tests.app.botting import act, bot, valid_strategy, waits_for_bots
from tests.app.replaying import Replay, replayed
from tests.app.test_three_ways import RESTLESS
from tests.postgres import PostgresForTests
from tests.replay_venue import replaying, since_midnight

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOLS = ("BTC/USDT",)
SLIPPAGE = Decimal("0.0005")
MINUTES = 14


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replay]:
    config = EmulatorConfig(
        generate=(GeneratedSymbol(symbol="BTCUSDT", price=Decimal(60000), volatility=1.5),),
        clock=since_midnight(),
        history_minutes=700,
        ideal=SLIPPAGE,
    )
    folder = tmp_path_factory.mktemp("shadows")
    roles = ("web", "heartbeat", "engine", "backtests")
    async with (
        replaying(config, folder / "time") as venue,
        replayed(postgres, venue, folder, SYMBOLS, heartbeat_history_minutes=600, roles=roles, shadow_slippage=float(SLIPPAGE)) as running,
    ):
        running.waits.append(lambda: waits_for_bots(running))
        await running.quiet()
        yield running


async def compared(replay: Replay, bot_id: str, within_s: float = 120.0) -> dict[str, Any]:
    """A bot beside its shadow, compared now."""
    asked = await replay.person.call("POST", f"/api/bots/{bot_id}/shadow")
    assert asked.status_code == 202, asked.text
    deadline = time.monotonic() + within_s
    while True:
        found: dict[str, Any] = (await replay.person.call("GET", f"/api/bots/{bot_id}/shadow")).json()
        if found["state"] in ("completed", "failed"):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


def assert_adds_up(found: dict[str, Any]) -> None:
    made = sum((Decimal(money) for money in found["causes"].values()), Decimal(0)) + Decimal(found["rest"])
    assert Decimal(found["live"]) - Decimal(found["shadow"]) == made
    assert abs(Decimal(found["rest"])) < Decimal("1e-4"), found["differences"]
    assert "decision" not in found["causes"], found["differences"]


async def test_what_a_real_bot_did_otherwise_is_told_cause_by_cause(replay: Replay) -> None:
    ada = replay.person
    strategy_id = await valid_strategy(replay, ada, RESTLESS, "Restless")
    account = str(await replay.live("quote-fees", pays_in_quote=True))
    alike = await bot(ada, strategy_id, account, mode="live", name="Alike")
    disturbed = await bot(ada, strategy_id, account, mode="live", name="Disturbed")
    for one in (alike, disturbed):
        await act(ada, one["id"], "start")
    await replay.quiet()
    sold = False
    for _ in range(MINUTES):
        await replay.minute()
        held = (await ada.call("GET", f"/api/bots/{disturbed['id']}")).json()["held"]
        if held is not None and not sold:
            await act(ada, disturbed["id"], "close_position")
            await replay.quiet()
            sold = True
    assert sold
    found = await compared(replay, alike["id"])
    assert found["state"] == "completed", found
    assert found["live_trades"] > 1
    assert_adds_up(found)
    # An exchange that fills as the rules say leaves nothing to explain but the digits that it keeps of fees.
    assert {one["cause"] for one in found["differences"]} <= {"fee"}, found["differences"]
    found = await compared(replay, disturbed["id"])
    assert_adds_up(found)
    assert "hand" in found["causes"], found["differences"]
    told = [one["text"] for one in found["differences"] if one["cause"] == "hand"]
    assert told[0] == "sold by hand", told
