"""An account's trading mode: whose orders it takes, and what passes whatever it says."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.brokers.schemas import BrokerPatch
from app.brokers.service import change_broker
from app.core.crypto import Vault
from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.risk import LEFT_OUT, KillAction, lets_pass
from app.errors import DenialReason, OrderDenied
from app.trading import states
from app.trading.amend import Amendment, amend
from app.trading.cancel import cancel
from app.trading.send import send
from tests.app.conftest import FERNET_KEY, SYMBOL, Pieces
from tests.app.stored import stored
from tests.app.test_guardian import STOP, bought, live, protection, rest
from tests.app.test_guardian_races import close
from tests.app.test_kill_switch import carried_out, pull
from tests.app.test_trading_states import CASES, put_position

pytestmark = pytest.mark.asyncio


async def takes(pieces: Pieces, *sources: Source) -> None:
    """Let the account take orders of these sources only."""
    changes = BrokerPatch.model_validate({"trading_modes": [source.value for source in sources]})
    async with pieces.database.transaction() as session:
        await change_broker(session, Vault((FERNET_KEY,)), pieces.user_id, pieces.broker_id, changes)


async def denial(pieces: Pieces, source: Source, side: Side = Side.BUY, quantity: str | None = "0.01", **fields: object) -> OrderDenied:
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(replace(pieces.intent(side, quantity, **fields), source=source))
    return caught.value


async def entered(pieces: Pieces, source: Source) -> OrderState:
    return (await pieces.submit(replace(pieces.intent(), source=source))).order.state


async def test_an_account_takes_everybodys_orders_unless_its_owner_says_otherwise(pieces: Pieces) -> None:
    assert [await entered(pieces, source) for source in LEFT_OUT] == [OrderState.FILLED] * 3


@pytest.mark.parametrize("left_out", list(LEFT_OUT), ids=[source.value for source in LEFT_OUT])
async def test_an_order_of_a_source_that_the_mode_leaves_out_is_denied_and_the_others_pass(pieces: Pieces, left_out: Source) -> None:
    others = [source for source in LEFT_OUT if source is not left_out]
    await takes(pieces, *others)

    error = await denial(pieces, left_out)

    assert error.reason is DenialReason.BROKER_MODE
    assert error.message.endswith(f"its trading mode is {', '.join(sorted(source.value for source in others))}"), error.message
    assert pieces.placed() == []
    assert [await entered(pieces, source) for source in others] == [OrderState.FILLED] * 2


async def test_the_fast_path_asks_for_the_mode_again_in_the_statement_that_claims(pieces: Pieces) -> None:
    for _ in range(2):
        await entered(pieces, Source.WEBHOOK)  # from the second on an entry is made in one statement
    await takes(pieces, Source.MANUAL)
    error = await denial(pieces, Source.WEBHOOK)
    assert error.message == "nothing was sent: orders from webhooks are switched off on this account; its trading mode is manual"
    assert len(pieces.placed()) == 2


async def test_an_order_that_was_stored_before_the_mode_changed_is_not_claimed(pieces: Pieces) -> None:
    client = await pieces.connections.client(pieces.broker_id)
    order = await stored(pieces)
    await takes(pieces)

    kept = await send(pieces.desk, order, client)

    assert (kept.state, kept.code) == (OrderState.DENIED, "BROKER_MODE")
    assert kept.detail == "nothing was sent: new orders by hand are switched off on this account; its trading mode is off"
    assert pieces.placed() == []


async def test_an_account_that_is_off_opens_nothing_and_lets_go_of_everything_by_hand(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.03")
    resting = (await pieces.submit(pieces.limit("50000"))).order
    await takes(pieces)

    assert (await denial(pieces, Source.MANUAL)).reason is DenialReason.BROKER_MODE
    assert (await cancel(pieces.desk, pieces.user_id, resting.id)).state is OrderState.CANCELED
    sold = (await pieces.submit(pieces.intent(Side.SELL, "0.01"))).order
    assert sold.state is OrderState.FILLED, "a sell that makes the position smaller"
    assert (await close(pieces)).state is OrderState.FILLED
    assert await pieces.rows("SELECT 1 FROM positions WHERE status <> 'closed' AND quantity > 0.001") == []


async def test_a_signal_that_closes_is_not_followed_either_once_its_source_is_left_out(pieces: Pieces) -> None:
    await entered(pieces, Source.WEBHOOK)
    await takes(pieces, Source.MANUAL)
    error = await denial(pieces, Source.WEBHOOK, Side.SELL, None, close_position=True)
    assert error.reason is DenialReason.BROKER_MODE
    assert (await close(pieces)).state is OrderState.FILLED, "by hand it can be closed"


async def test_stops_are_put_and_moved_on_an_account_that_is_off_whoever_opened_the_position(moving: Pieces) -> None:
    await moving.submit(replace(moving.intent(Side.BUY, "0.01", protection=STOP), source=Source.WEBHOOK))
    await takes(moving)
    await rest(moving)
    (stop,) = await live(moving)
    assert (stop.role, stop.source, stop.state) == (Role.STOP, Source.WEBHOOK, OrderState.OPEN)


async def test_the_kill_switch_sells_what_an_account_holds_that_is_off(pieces: Pieces) -> None:
    await entered(pieces, Source.BOT)
    await takes(pieces)
    command = await carried_out(pieces, await pull(pieces, KillAction.FLATTEN))
    assert command.progress["positions_left"] == 0
    assert [order["side"] for order in pieces.placed()] == ["BUY", "SELL"]


async def test_an_order_whose_source_is_left_out_meanwhile_rests_as_it_was_and_cannot_be_changed(moving: Pieces) -> None:
    from_hook = replace(moving.intent(type=OrderType.LIMIT, price=Decimal(50000)), source=Source.WEBHOOK)
    resting = (await moving.submit(from_hook)).order
    await takes(moving, Source.MANUAL)
    with pytest.raises(OrderDenied) as caught:
        await amend(moving.desk, moving.user_id, resting.id, Amendment(price=Decimal(51000)))
    assert caught.value.reason is DenialReason.BROKER_MODE
    assert (await moving.order(resting.id)).state is OrderState.OPEN, "what rests at the exchange stays as it is"


async def test_a_guarded_position_of_a_mode_that_is_left_out_keeps_its_protection(moving: Pieces) -> None:
    await bought(moving, STOP)
    await rest(moving)
    await takes(moving, Source.BOT)
    assert (await protection(moving))["status"] == "active"


async def test_the_database_lets_pass_exactly_what_the_mode_does(pieces: Pieces) -> None:
    order = await stored(pieces, quantity="0.2", side=Side.SELL)
    buying = await stored(pieces, quantity="0.2", side=Side.BUY)
    await takes(pieces)
    query = f"""
      SELECT r.is_mode FROM (SELECT $1::uuid AS id, $2::uuid AS user_id, $3::uuid AS broker_id, NULL::uuid AS bot_id, $4 AS symbol,
                                    $5 AS side, $6 AS role, $8 AS source, $7::numeric AS quantity) o,
             LATERAL ({states.restraining("o")}) r
    """
    for case in CASES:
        await put_position(pieces, case.held)
        for other in (order, buying):
            is_same = other.side is case.side and case.closing
            quantity, role = (case.closing, "exit") if is_same else (Decimal("0.0000001"), "stop")
            await pieces.rows("UPDATE orders SET quantity = $2, role = $3 WHERE id = $1", other.id, quantity, role)
        for source in Source:
            asked = (new_id(), pieces.user_id, pieces.broker_id, SYMBOL, case.side.value, case.role.value, case.quantity, source.value)
            found = [row["is_mode"] for row in await pieces.rows(query, *asked)]
            passes = source not in LEFT_OUT or lets_pass(LEFT_OUT[source], case.role, lowers=case.lowers)
            assert found == ([] if passes else [True]), (source, case)
