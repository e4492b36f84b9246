"""The stop and the targets of a bot's position move as a backtest's do, and nobody else's with them."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.protection import ProtectionPlan, Target
from app.errors import NotFound, OrderDenied
from app.trading import levels
from app.trading.bot_ledger import read_ledger
from app.trading.guardian import guard
from app.trading.legs import refresh
from app.trading.levels import move_levels
from app.trading.records import OrderRecord
from app.trading.watch import TriggerWatch
from tests.app.conftest import SYMBOL, Pieces
from tests.app.test_bot_ledger import trade
from tests.app.test_guardian import say
from tests.app.test_guardian_races import supervise

pytestmark = pytest.mark.asyncio

STOP = ProtectionPlan(stop_fraction=Decimal("0.02"))


async def position_of(pieces: Pieces, bot_id: UUID | None) -> UUID:
    rows = await pieces.rows("SELECT id FROM positions WHERE bot_id IS NOT DISTINCT FROM $1 AND status <> 'closed'", bot_id)
    found: UUID = rows[0]["id"]
    return found


async def legs_of(pieces: Pieces, bot_id: UUID | None) -> list[OrderRecord]:
    rows = await pieces.rows(
        "SELECT * FROM orders WHERE bot_id IS NOT DISTINCT FROM $1 AND role IN ('stop', 'target') ORDER BY created_at, id", bot_id
    )
    return [leg for leg in map(OrderRecord.of, rows) if leg.state in (OrderState.INTENT, OrderState.OPEN, OrderState.PARTIAL)]


async def rest_all(pieces: Pieces) -> None:
    """Let every protection be as it is wished for."""
    for row in await pieces.rows("SELECT id FROM protections WHERE status = 'active'"):
        await guard(pieces.desk, row["id"])


async def moved(pieces: Pieces, bot_id: UUID | None, **wanted: Any) -> bool:
    return await move_levels(pieces.desk, pieces.user_id, await position_of(pieces, bot_id), **wanted)


async def test_a_stop_moves_up_at_the_venue_and_the_others_stay(moving: Pieces) -> None:
    say(moving, "60000")
    ada, bob = new_id(), new_id()
    for bot in (ada, bob, None):
        await trade(moving, bot, protection=STOP)
    await rest_all(moving)
    before = {bot: await legs_of(moving, bot) for bot in (bob, None)}
    assert await moved(moving, ada, stop_price=Decimal("59000.019"))
    await rest_all(moving)
    (stop,) = await legs_of(moving, ada)
    assert (stop.trigger_price, stop.state, stop.role) == (Decimal("59000.01"), OrderState.OPEN, Role.STOP)
    assert {bot: await legs_of(moving, bot) for bot in (bob, None)} == before
    async with moving.database.connection() as connection:
        assert (await read_ledger(connection, moving.user_id, ada)).stop_price == Decimal("59000.01")


async def test_a_level_that_changes_nothing_costs_one_look(moving: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    say(moving, "60000")
    bot = new_id()
    await trade(moving, bot, protection=replace(STOP, targets=(Target(gain=Decimal("0.1"), fraction=Decimal(1)),)))
    monkeypatch.setattr(levels, "read_on", None)
    monkeypatch.setattr(levels, "change_plan", None)
    same = [Target(price=Decimal(66000), fraction=Decimal(1))]
    assert not await moved(moving, bot, stop_price=Decimal(58800), targets=same)
    assert not await moved(moving, bot, stop_price=Decimal(58000))
    assert not await moved(moving, bot)


async def test_a_stop_at_the_market_or_beyond_sells_now(moving: Pieces) -> None:
    say(moving, "60000")
    ada, bob = new_id(), new_id()
    for bot in (ada, bob):
        await trade(moving, bot, protection=STOP)
    await rest_all(moving)
    assert await moved(moving, ada, stop_price=Decimal(60010))
    await rest_all(moving)
    rows = await moving.rows("SELECT bot_id, exit_role FROM positions WHERE status = 'closed'")
    assert [tuple(row) for row in rows] == [(ada, "stop")]
    assert [leg.trigger_price for leg in await legs_of(moving, bob)] == [Decimal(58800)]


async def test_what_a_target_has_sold_is_not_sold_again_when_the_targets_move(moving: Pieces) -> None:
    say(moving, "60000")
    bot = new_id()
    halves = (Target(gain=Decimal("0.005"), fraction=Decimal("0.5")), Target(gain=Decimal("0.5"), fraction=Decimal("0.5")))
    await trade(moving, bot, quantity="0.02", protection=replace(STOP, targets=halves))
    await rest_all(moving)
    moving.emulator.advance(40)  # through 59000 up to 61000
    for leg in await legs_of(moving, bot):
        client = await moving.desk.connections.client(moving.broker_id)
        await refresh(moving.desk, leg, client)
    say(moving, "61000")
    await rest_all(moving)
    async with moving.database.connection() as connection:
        before = await read_ledger(connection, moving.user_id, bot)
    assert before.quantity == Decimal("0.00999")
    later = [Target(price=Decimal(62000), fraction=Decimal("0.5")), Target(price=Decimal(70000), fraction=Decimal("0.5"))]
    assert await moved(moving, bot, targets=later)
    await rest_all(moving)
    targets = [leg for leg in await legs_of(moving, bot) if leg.role is Role.TARGET]
    assert [(leg.price, leg.quantity) for leg in targets] == [(Decimal(70000), Decimal("0.00999"))]


async def test_a_position_that_nothing_guards_is_guarded_from_now_on(moving: Pieces) -> None:
    say(moving, "60000")
    bot = new_id()
    await trade(moving, bot)
    assert await moved(moving, bot, stop_price=Decimal(59000))
    await rest_all(moving)
    (stop,) = await legs_of(moving, bot)
    assert (stop.type, stop.trigger_price) == (OrderType.STOP_MARKET, Decimal(59000))


async def test_of_several_moves_at_once_the_nearest_stop_holds(moving: Pieces) -> None:
    say(moving, "60000")
    bot = new_id()
    await trade(moving, bot, protection=STOP)
    wanted = [Decimal(59000 + 100 * step) for step in (3, 1, 4, 2)]
    await asyncio.gather(*(moved(moving, bot, stop_price=price) for price in wanted))
    async with moving.database.connection() as connection:
        assert (await read_ledger(connection, moving.user_id, bot)).stop_price == Decimal(59400)


async def test_levels_that_mean_nothing_or_belong_to_another_change_nothing(moving: Pieces) -> None:
    say(moving, "60000")
    bot = new_id()
    await trade(moving, bot, protection=STOP)
    halves = Target(price=Decimal(61000), fraction=Decimal("0.6"))
    with pytest.raises(OrderDenied):
        await moved(moving, bot, targets=[halves, replace(halves, price=Decimal(62000))])
    with pytest.raises(OrderDenied):
        await moved(moving, bot, stop_price=Decimal("0.001"))
    with pytest.raises(NotFound):
        await move_levels(moving.desk, new_id(), await position_of(moving, bot), stop_price=Decimal(59000))
    position_id = await position_of(moving, bot)
    await trade(moving, bot, Side.SELL, None, close_position=True)
    with pytest.raises(NotFound):
        await move_levels(moving.desk, moving.user_id, position_id, stop_price=Decimal(59000))


async def test_a_stop_that_is_watched_here_moves_too(moving: Pieces) -> None:
    say(moving, "60000")
    await supervise(moving)
    bot = new_id()
    await trade(moving, bot, protection=STOP)
    await rest_all(moving)
    await moved(moving, bot, stop_price=Decimal(59900))
    await rest_all(moving)
    (stop,) = await legs_of(moving, bot)
    assert (stop.is_held, stop.trigger_price) == (True, Decimal(59900))
    say(moving, "59850")
    await TriggerWatch(moving.desk).once("binance", SYMBOL, Decimal(59850))
    await rest_all(moving)
    (row,) = await moving.rows("SELECT status, exit_role FROM positions")
    assert tuple(row) == ("closed", "stop")
