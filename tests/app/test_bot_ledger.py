"""Each bot has a ledger of its own: its positions, what they won, what guards them, and what it still wants."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.protection import ProtectionPlan, Target
from app.trading.bot_ledger import BotLedger, fills_after, read_ledger, read_ledgers
from app.trading.events import FillRecorded, OrderChanged
from app.trading.records import OrderRecord
from app.trading.submit import submit
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio

#: What the emulator takes of each trade: in base of a buy, in quote of a sell.
FEE = Decimal("0.001")


async def trade(pieces: Pieces, bot_id: UUID | None, side: Side = Side.BUY, quantity: str | None = "0.01", **fields: object) -> OrderRecord:
    """One order of a bot's, or of the hand."""
    source = Source.MANUAL if bot_id is None else Source.BOT
    intent = replace(pieces.intent(side, quantity, **fields), source=source, bot_id=bot_id)
    return (await submit(pieces.desk, pieces.user_id, intent)).order


async def ledger(pieces: Pieces, bot_id: UUID) -> BotLedger:
    async with pieces.database.connection() as connection:
        return await read_ledger(connection, pieces.user_id, bot_id)


async def test_a_bot_that_never_traded_is_flat(pieces: Pieces) -> None:
    found = await ledger(pieces, new_id())
    assert (found.quantity, found.realized_pnl, found.fees) == (Decimal(0), Decimal(0), Decimal(0))
    assert found.position_id is None
    assert not found.open_orders
    assert found.equity(Decimal(1000), Decimal(60000)) == Decimal(1000)


async def test_two_bots_and_the_hand_hold_one_symbol_apart(pieces: Pieces) -> None:
    ada, bob = new_id(), new_id()
    await trade(pieces, ada, quantity="0.01")
    await trade(pieces, bob, quantity="0.02")
    await trade(pieces, None, quantity="0.04")
    await trade(pieces, ada, quantity="0.01")
    rows = await pieces.rows("SELECT bot_id, quantity FROM positions")
    assert {row["bot_id"]: row["quantity"] for row in rows} == {
        ada: Decimal("0.02") * (1 - FEE),
        bob: Decimal("0.02") * (1 - FEE),
        None: Decimal("0.04") * (1 - FEE),
    }
    found = await ledger(pieces, ada)
    assert (found.entered, found.average_price, found.symbol) == (Decimal("0.02"), Decimal(60000), "BTC/USDT")
    assert found.realized_pnl == -found.fees == Decimal(-20 * 60) / 1000


async def test_what_a_bot_is_worth_is_its_capital_and_what_all_its_positions_won(pieces: Pieces) -> None:
    bot = new_id()
    for _ in range(2):
        await trade(pieces, bot, quantity="0.01")
        sold = await trade(pieces, bot, Side.SELL, None, close_position=True)
        assert (sold.quantity, sold.role) == (Decimal("0.00999"), Role.EXIT)
    await trade(pieces, bot, quantity="0.01")
    found = await ledger(pieces, bot)
    rows = await pieces.rows("SELECT status, realized_pnl, exit_role FROM positions ORDER BY opened_at")
    assert [row["status"] for row in rows] == ["closed", "closed", "open"]
    assert [row["exit_role"] for row in rows] == ["exit", "exit", None]
    assert found.realized_pnl == sum(row["realized_pnl"] for row in rows) < 0
    at_61000 = Decimal(1000) + found.realized_pnl + Decimal("0.00999") * 1000
    assert found.equity(Decimal(1000), Decimal(61000)) == at_61000


async def test_orders_that_wait_and_levels_that_guard_are_told(pieces: Pieces) -> None:
    bot = new_id()
    plan = ProtectionPlan(stop_fraction=Decimal("0.02"), targets=(Target(gain=Decimal("0.04"), fraction=Decimal(1)),))
    await trade(pieces, bot, protection=plan)
    resting = await trade(pieces, bot, type=OrderType.LIMIT, price=Decimal(50000), quantity="0.001")
    found = await ledger(pieces, bot)
    assert (found.stop_price, [target.at for target in found.targets]) == (Decimal(58800), [Decimal(62400)])
    (waiting,) = found.open_orders
    assert (waiting.id, waiting.state, waiting.price, waiting.role) == (resting.id, OrderState.OPEN, Decimal(50000), Role.ENTRY)
    (guarded,) = await pieces.rows("SELECT bot_id, base_quantity FROM protections")
    assert (guarded["bot_id"], guarded["base_quantity"]) == (bot, Decimal("0.00999"))


async def test_what_a_bot_adds_without_a_plan_makes_the_parts_of_its_targets_larger(pieces: Pieces) -> None:
    bot = new_id()
    await trade(pieces, bot, protection=ProtectionPlan(stop_price=Decimal(50000)))
    await trade(pieces, bot, quantity="0.02")
    (guarded,) = await pieces.rows("SELECT base_quantity FROM protections")
    assert guarded["base_quantity"] == Decimal("0.02997")


async def test_many_ledgers_come_at_once_and_nobody_elses(pieces: Pieces) -> None:
    bots = [new_id() for _ in range(3)]
    for bot in bots[:2]:
        await trade(pieces, bot)
    async with pieces.database.connection() as connection:
        found = await read_ledgers(connection, pieces.user_id, bots)
        of_another = await read_ledgers(connection, new_id(), bots)
    assert [found[bot].quantity for bot in bots] == [Decimal("0.00999"), Decimal("0.00999"), 0]
    assert {entry.quantity for entry in of_another.values()} == {Decimal(0)}


async def test_fills_since_a_moment_come_with_what_they_were_for(pieces: Pieces) -> None:
    bot, begun_at = new_id(), pieces.desk.clock.now() - timedelta(minutes=10)
    bought = await trade(pieces, bot)
    await trade(pieces, None)
    sold = await trade(pieces, bot, Side.SELL, None, close_position=True)
    async with pieces.database.connection() as connection:
        found = await fills_after(connection, pieces.user_id, bot, begun_at)
        later = await fills_after(connection, pieces.user_id, bot, found[-1].executed_at)
    assert [(fill.order_id, fill.role, fill.side) for fill in found] == [
        (bought.id, Role.ENTRY, Side.BUY),
        (sold.id, Role.EXIT, Side.SELL),
    ]
    assert later == []


async def test_news_of_an_order_says_whose_it_is(pieces: Pieces) -> None:
    bot = new_id()
    told: list[tuple[type, UUID | None]] = []
    with pieces.bus.subscribe(OrderChanged, FillRecorded) as changes:
        await trade(pieces, bot)
        while isinstance(event := changes.get_nowait(), OrderChanged | FillRecorded):
            told.append((type(event), event.bot_id))
    assert set(told) == {(OrderChanged, bot), (FillRecorded, bot)}
