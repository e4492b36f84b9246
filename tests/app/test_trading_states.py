import asyncio
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, Role, Side, TradingState
from app.domain.risk import Scope, lets_pass
from app.errors import DenialReason, OrderDenied
from app.trading import states
from app.trading.events import TradingStateChanged
from app.trading.records import OrderRecord
from app.trading.send import send
from tests.app.conftest import SYMBOL, Pieces, make_user
from tests.app.stored import stored

pytestmark = pytest.mark.asyncio

RESTRAINTS = [TradingState.REDUCING, TradingState.RECONCILING, TradingState.HALTED]


def scopes(pieces: Pieces) -> list[Scope]:
    return [
        Scope.platform(),
        Scope.user(pieces.user_id),
        Scope.broker(pieces.broker_id, pieces.user_id),
        Scope.symbol(SYMBOL, pieces.user_id),
    ]


async def halt(pieces: Pieces, scope: Scope, state: TradingState = TradingState.HALTED, **fields: Any) -> bool:
    fields = {"code": "A_TEST", "reason": "a test asked for it", "set_by": "ada", **fields}
    return await states.trip(pieces.desk, scope, state=state, **fields)


@pytest.mark.parametrize("place", range(4), ids=["platform", "user", "broker", "symbol"])
async def test_halt_committed_between_store_and_claim_keeps_the_order_here(pieces: Pieces, place: int) -> None:
    client = await pieces.connections.client(pieces.broker_id)
    order = await stored(pieces)
    await halt(pieces, scopes(pieces)[place])

    denied = await send(pieces.desk, order, client)

    assert (denied.state, denied.code) == (OrderState.DENIED, "TRADING_HALTED")
    assert denied.detail == "trading is halted and nothing was sent: a test asked for it"
    assert denied.reserved == 0
    assert pieces.placed() == []


async def test_no_order_leaves_after_a_halt_while_many_are_being_claimed(pieces: Pieces) -> None:
    client = await pieces.connections.client(pieces.broker_id)
    orders = [await stored(pieces) for _ in range(12)]
    halted_at = 0.0
    loop = asyncio.get_running_loop()
    claimed_at: dict[UUID, float] = {}

    async def one(order: OrderRecord) -> OrderRecord:
        await asyncio.sleep(random.uniform(0, 0.02))
        claimed_at[order.id] = loop.time()
        return await send(pieces.desk, order, client)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(order)) for order in orders]
        await asyncio.sleep(0.01)
        await halt(pieces, Scope.user(pieces.user_id))
        halted_at = loop.time()
    ended = [task.result() for task in tasks]

    assert all(order.state is OrderState.DENIED for order in ended if claimed_at[order.id] > halted_at)
    sent = [order for order in ended if order.state is not OrderState.DENIED]
    assert len(pieces.placed()) == len(sent)


async def test_a_halt_of_another_user_account_or_symbol_stops_nothing(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    for scope in (Scope.user(eve), Scope.broker(new_id(), eve), Scope.symbol(SYMBOL, eve), Scope.symbol("ETH/USDT", pieces.user_id)):
        await halt(pieces, scope)
    await pieces.filled()
    assert [restraint.scope.name for restraint in await states.list_for(pieces.desk, pieces.user_id)] == ["ETH/USDT"]


@dataclass(frozen=True)
class Case:
    """An order as it would be claimed, beside a position and what is closing it already."""

    role: Role
    side: Side
    quantity: Decimal
    held: Decimal
    closing: Decimal

    @property
    def lowers(self) -> bool:
        is_opposite = self.held != 0 and (self.side is Side.SELL) == (self.held > 0)
        return is_opposite and self.quantity + self.closing <= abs(self.held)


CASES = [
    Case(role, side, Decimal(quantity), Decimal(held), Decimal(closing))
    for role in Role
    for side in Side
    for quantity, held, closing in (
        ("0.1", "0", "0"),
        ("0.1", "0.1", "0"),
        ("0.11", "0.1", "0"),
        ("0.1", "0.3", "0.2"),
        ("0.1", "0.3", "0.21"),
        ("0.1", "-0.1", "0"),
        ("0.1", "-0.05", "0"),
    )
]


async def test_the_database_lets_pass_exactly_what_the_table_does(pieces: Pieces) -> None:
    order = await stored(pieces, quantity="0.2", side=Side.SELL)
    buying = await stored(pieces, quantity="0.2", side=Side.BUY)
    query = f"""
      SELECT r.state FROM (SELECT $1::uuid AS id, $2::uuid AS user_id, $3::uuid AS broker_id, NULL::uuid AS bot_id, $4 AS symbol,
                                  $5 AS side, $6 AS role, 'manual' AS source, $7::numeric AS quantity) o,
           LATERAL ({states.restraining("o")}) r
    """
    for case in CASES:
        await put_position(pieces, case.held)
        # What is closing it: an order on the same side as the one that asks.
        for other in (order, buying):
            quantity = case.closing if other.side is case.side and case.closing else Decimal("0.0000001")
            role = "exit" if other.side is case.side and case.closing else "stop"
            await pieces.rows("UPDATE orders SET quantity = $2, role = $3 WHERE id = $1", other.id, quantity, role)
        for state in RESTRAINTS:
            await halt(pieces, Scope.user(pieces.user_id), state)
            found = await pieces.rows(
                query, new_id(), pieces.user_id, pieces.broker_id, SYMBOL, case.side.value, case.role.value, case.quantity
            )
            assert (not found) is lets_pass(state, case.role, lowers=case.lowers), (state, case)
            await states.rearm(pieces.desk, Scope.user(pieces.user_id), by="ada")


async def put_position(pieces: Pieces, quantity: Decimal) -> None:
    await pieces.rows("DELETE FROM positions WHERE broker_id = $1", pieces.broker_id)
    await pieces.rows(
        """INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, quantity, source, status, opened_at, updated_at)
           VALUES ($1, $2, $3, $4, 'BTC', 'USDT', $5, 'manual', 'open', now(), now())""",
        new_id(),
        pieces.user_id,
        pieces.broker_id,
        SYMBOL,
        quantity,
    )


async def test_a_sell_of_what_is_held_passes_while_reducing_and_a_buy_does_not(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    client = await pieces.connections.client(pieces.broker_id)
    buy = await stored(pieces, quantity="0.01")
    await halt(pieces, Scope.broker(pieces.broker_id, pieces.user_id), TradingState.REDUCING)

    # The fee was taken out of what was bought, so a little less than that is held.
    sold = (await pieces.submit(pieces.intent(Side.SELL, "0.0199"))).order
    bought = await send(pieces.desk, buy, client)
    with pytest.raises(OrderDenied, match="a test asked for it") as caught:
        await pieces.submit(pieces.intent(Side.SELL, "0.0001"))

    assert sold.state is OrderState.FILLED
    assert (bought.state, bought.code) == (OrderState.DENIED, "TRADING_REDUCING")
    assert caught.value.reason is DenialReason.TRADING_REDUCING, "nothing is left to be sold"


async def test_each_cause_is_lifted_by_itself_and_the_strictest_counts(pieces: Pieces) -> None:
    scope = Scope.broker(pieces.broker_id, pieces.user_id)
    await halt(pieces, scope, TradingState.RECONCILING, code="STARTING", needs_rearm=False)
    await halt(pieces, scope, TradingState.HALTED, code=states.KILL_SWITCH)
    assert await states.effective(pieces.desk, pieces.user_id, broker_id=pieces.broker_id) is TradingState.HALTED
    assert await states.effective(pieces.desk, pieces.user_id) is TradingState.ACTIVE

    assert await states.lift(pieces.desk, scope, code="STARTING", reason="checked")
    assert not await states.lift(pieces.desk, scope, code=states.KILL_SWITCH, reason="a machine may not")
    assert await states.effective(pieces.desk, pieces.user_id, broker_id=pieces.broker_id) is TradingState.HALTED

    await halt(pieces, scope, TradingState.RECONCILING, code="STARTING", needs_rearm=False)
    assert await states.rearm(pieces.desk, scope, by="ada") == [states.KILL_SWITCH]
    assert await states.effective(pieces.desk, pieces.user_id, broker_id=pieces.broker_id) is TradingState.RECONCILING


async def test_a_cause_gets_stricter_but_never_looser_by_itself(pieces: Pieces) -> None:
    scope = Scope.user(pieces.user_id)
    assert await halt(pieces, scope, TradingState.REDUCING, reason="first")
    assert await halt(pieces, scope, TradingState.HALTED, reason="second")
    assert not await halt(pieces, scope, TradingState.REDUCING, reason="third")
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert (restraint.state, restraint.reason) == (TradingState.HALTED, "second")


async def test_every_change_is_logged_with_who_and_when_and_published(pieces: Pieces) -> None:
    scope = Scope.user(pieces.user_id)
    with pieces.bus.subscribe(TradingStateChanged) as events:
        await halt(pieces, scope)
        await halt(pieces, scope)
        await states.rearm(pieces.desk, scope, by="grace")
        await states.rearm(pieces.desk, scope, by="grace")
    log = await states.history(pieces.desk, pieces.user_id)
    assert [(row["action"], row["by"], row["state"], row["code"]) for row in log] == [
        ("rearmed", "grace", "active", "A_TEST"),
        ("tripped", "ada", "halted", "A_TEST"),
    ]
    published = [events.get_nowait(), events.get_nowait()]
    assert [(event.scope, event.state) for event in published if isinstance(event, TradingStateChanged)] == [
        (scope, TradingState.HALTED),
        (scope, TradingState.ACTIVE),
    ]
    assert events.get_nowait() is None
