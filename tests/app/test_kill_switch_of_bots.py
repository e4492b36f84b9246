"""The kill switch for all bots, and for one: what it stops, cancels and sells, and what it leaves."""

from decimal import Decimal
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, Side, TradingState
from app.domain.protection import ProtectionPlan
from app.domain.risk import KillAction, Scope, ScopeKind
from app.errors import DenialReason, NotFound, OrderDenied
from app.trading import kill_switch, states
from app.trading.close import close_position
from tests.app.conftest import Pieces, make_user
from tests.app.test_bot_ledger import trade
from tests.app.test_bot_levels import legs_of, rest_all
from tests.app.test_kill_switch import carried_out, pull

pytestmark = pytest.mark.asyncio

STOP = ProtectionPlan(stop_price=Decimal(50000))
ALL_OF_THEM = Decimal("0.00999")


async def holding(pieces: Pieces) -> tuple[UUID, UUID]:
    """Two bots and the hand: each with a position, its stop, and an order that rests."""
    ada, bob = new_id(), new_id()
    for bot in (ada, bob, None):
        await trade(pieces, bot, protection=STOP)
        await rested(pieces, bot)
    await rest_all(pieces)
    return ada, bob


async def rested(pieces: Pieces, bot: UUID | None) -> None:
    intent = pieces.limit("50000", quantity="0.001")
    await trade(pieces, bot, quantity="0.001", type=intent.type, price=intent.price)


async def held(pieces: Pieces) -> dict[UUID | None, Decimal]:
    rows = await pieces.rows("SELECT bot_id, quantity FROM positions WHERE status <> 'closed'")
    return {row["bot_id"]: row["quantity"] for row in rows}


async def waiting(pieces: Pieces) -> set[UUID | None]:
    """Whose entries rest."""
    return {row["bot_id"] for row in await pieces.rows("SELECT bot_id FROM orders WHERE state = 'open' AND role = 'entry'")}


@pytest.mark.parametrize("kind", [ScopeKind.BOTS, ScopeKind.STRATEGY])
async def test_flatten_sells_what_those_bots_hold_and_nothing_else(pieces: Pieces, kind: ScopeKind) -> None:
    ada, bob = await holding(pieces)
    scope = Scope.bots(pieces.user_id) if kind is ScopeKind.BOTS else Scope.strategy(ada, pieces.user_id)
    left = {None} if kind is ScopeKind.BOTS else {bob, None}
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN, scope))
    assert (command.state, command.progress["obstacles"]) == ("done", [])
    assert await held(pieces) == dict.fromkeys(left, ALL_OF_THEM)
    assert await waiting(pieces) == left
    for bot in (ada, bob, None):
        assert len(await legs_of(pieces, bot)) == (bot in left), "a stop goes with its position, and stays with another's"
    rows = await pieces.rows("SELECT bot_id, exit_role FROM positions WHERE status = 'closed'")
    assert {tuple(row) for row in rows} == {(bot, "flatten") for bot in {ada, bob} - left}


async def test_cancel_takes_the_bots_entries_back_and_leaves_their_stops(pieces: Pieces) -> None:
    ada, bob = await holding(pieces)
    await carried_out(pieces, await pull(pieces, KillAction.CANCEL, Scope.bots(pieces.user_id)))
    assert await waiting(pieces) == {None}
    assert await held(pieces) == dict.fromkeys((ada, bob, None), ALL_OF_THEM)
    assert [len(await legs_of(pieces, bot)) for bot in (ada, bob, None)] == [1, 1, 1]


async def test_a_halt_of_bots_stops_what_they_order_and_nobody_else(pieces: Pieces) -> None:
    ada, bob = await holding(pieces)
    await pull(pieces, KillAction.STOP, Scope.strategy(ada, pieces.user_id))
    with pytest.raises(OrderDenied) as caught:
        await trade(pieces, ada)
    assert caught.value.reason is DenialReason.TRADING_HALTED
    assert (await trade(pieces, bob)).state is OrderState.FILLED
    await pull(pieces, KillAction.STOP, Scope.bots(pieces.user_id))
    for bot in (ada, bob):
        with pytest.raises(OrderDenied):
            await trade(pieces, bot, Side.SELL, None, close_position=True)
    assert (await trade(pieces, None)).state is OrderState.FILLED
    assert await states.effective(pieces.desk, pieces.user_id) is TradingState.ACTIVE
    assert await states.effective(pieces.desk, pieces.user_id, bot_id=bob) is TradingState.HALTED
    await kill_switch.rearm(pieces.desk, Scope.bots(pieces.user_id), by="ada")
    assert (await trade(pieces, bob)).state is OrderState.FILLED
    with pytest.raises(OrderDenied):
        await trade(pieces, ada)


async def test_what_halted_bots_hold_can_be_sold_by_hand(pieces: Pieces) -> None:
    ada, _ = await holding(pieces)
    await pull(pieces, KillAction.STOP, Scope.bots(pieces.user_id))
    (row,) = await pieces.rows("SELECT id FROM positions WHERE bot_id = $1", ada)
    made = await close_position(pieces.desk, pieces.user_id, row["id"], key="by-hand")
    assert (made.order.bot_id, made.order.state) == (ada, OrderState.FILLED)
    assert ada not in await held(pieces)


async def test_a_scope_of_bots_is_ones_own(pieces: Pieces) -> None:
    stranger = await make_user(pieces.database, "stranger")
    assert await kill_switch.own_scope(pieces.desk, stranger, ScopeKind.BOTS, None) == Scope.bots(stranger)
    for key in (str(new_id()), "no id at all"):
        with pytest.raises(NotFound):
            await kill_switch.own_scope(pieces.desk, stranger, ScopeKind.STRATEGY, key)
