"""Changes of orders at bad moments: of a bracket's entry, twice at once, while it is being canceled, on an account that is off."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.enums import OrderState, OrderType, Side
from app.domain.protection import ProtectionPlan, Target, load_plan
from app.errors import AppError, Conflict, DenialReason, OrderDenied
from app.trading.amend import Amendment, amend
from app.trading.cancel import cancel
from app.trading.close import protect_position
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import Pieces
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio

GUARD = ProtectionPlan(stop_price=Decimal(45000), targets=(Target(price=Decimal(70000), fraction=Decimal(1)),))


async def bracket(pieces: Pieces) -> OrderRecord:
    """The resting entry of a bracket."""
    order = (await pieces.submit(pieces.limit("50000", protection=GUARD))).order
    assert order.state is OrderState.OPEN
    return order


def resting(pieces: Pieces) -> list[str]:
    """Prices of what stands at the exchange."""
    return [placed["price"] for placed in pieces.placed() if placed["status"] in ("NEW", "PARTIALLY_FILLED")]


async def test_the_entry_of_a_bracket_keeps_its_stop_and_targets_when_its_price_changes(pieces: Pieces) -> None:
    order = await bracket(pieces)
    changed = await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(51000)))
    assert changed.state is OrderState.OPEN
    assert changed.protection is not None, "the position would stand there without its stop"
    assert load_plan(changed.protection) == GUARD


async def test_the_entry_of_a_bracket_does_not_move_below_its_own_stop(pieces: Pieces) -> None:
    order = await bracket(pieces)
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(44000)))
    assert caught.value.reason is DenialReason.PLAN_INVALID
    assert resting(pieces) == ["50000.00000000"]


async def test_a_changed_entry_does_not_overrule_how_its_position_was_guarded_since(moving: Pieces) -> None:
    """A part fills, its stop is moved by hand, then the rest is wished for at another price and fills too."""
    order = (await moving.submit(moving.limit("59000", quantity="0.02", protection=GUARD))).order
    moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "58999", "quantity": "0.005"})
    await Reconciler(moving.desk).once()
    (position,) = await moving.rows("SELECT * FROM positions WHERE status <> 'closed'")
    by_hand = ProtectionPlan(stop_price=Decimal(50000))
    await protect_position(moving.desk, moving.user_id, position["id"], by_hand)
    changed = await amend(moving.desk, moving.user_id, order.id, Amendment(price=Decimal(58990)))
    assert changed.quantity < Decimal("0.02")
    moving.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "58000", "quantity": "1"})
    await Reconciler(moving.desk).once()
    assert (await moving.order(changed.id)).state is OrderState.FILLED
    (row,) = await moving.rows("SELECT * FROM protections WHERE status = 'active'")
    assert load_plan(row["plan"]) == by_hand


async def test_an_order_whose_end_is_awaited_is_not_replaced_a_second_time(pieces: Pieces) -> None:
    """The exchange does not answer to the cancellation of the first change; the second comes from another tab."""
    order = (await pieces.submit(pieces.limit("50000"))).order

    async def silent(*_: object, **__: object) -> None:
        return None

    real = pieces.desk
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, cancel_order=silent)
    first = await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(51000)))
    assert first.state is OrderState.INTENT
    with pytest.raises(Conflict):
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(52000)))
    pieces.desk = real
    for row in await pieces.rows("SELECT id FROM orders WHERE replaces_id IS NOT NULL"):
        await pieces.backdate(row["id"], seconds=2)
    for _ in range(3):
        await Reconciler(pieces.desk).once()
    assert resting(pieces) == ["51000.00000000"]


async def test_two_changes_at_once_make_one_order(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    changes = [Amendment(price=Decimal(51000)), Amendment(price=Decimal(52000))]
    answers = await asyncio.gather(*(amend(pieces.desk, pieces.user_id, order.id, change) for change in changes), return_exceptions=True)
    assert [answer for answer in answers if not isinstance(answer, OrderRecord | AppError)] == []
    await Reconciler(pieces.desk).once()
    assert len(resting(pieces)) == 1


async def test_an_order_that_somebody_wants_canceled_is_not_sent_again_by_a_change(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order

    async def silent(*_: object, **__: object) -> None:
        return None

    real = pieces.desk
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, cancel_order=silent)
    await cancel(pieces.desk, pieces.user_id, order.id)
    pieces.desk = real
    with pytest.raises(Conflict):
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(51000)))
    assert len(resting(pieces)) <= 1
    assert await pieces.rows("SELECT 1 FROM orders WHERE replaces_id IS NOT NULL") == []


@pytest.mark.parametrize("column", ["is_active = false", "paused_reason = 'the key was refused'"])
async def test_an_order_of_an_account_that_may_not_trade_stands_as_it_was(pieces: Pieces, column: str) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    await pieces.rows(f"UPDATE brokers SET {column} WHERE id = $1", pieces.broker_id)
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(51000)))
    assert caught.value.reason in (DenialReason.BROKER_INACTIVE, DenialReason.BROKER_DISABLED)
    assert resting(pieces) == ["50000.00000000"]


async def test_a_stop_that_spends_an_amount_spends_less_once_it_is_made_smaller(pieces: Pieces) -> None:
    """Where market buys name what they spend, and this server watches the stop."""
    whole = (await pieces.desk.connections.client(pieces.broker_id)).capabilities
    able = replace(whole, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}), market_buy_by_base=False)
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, capabilities=able)
    order = (await pieces.submit(pieces.intent(type=OrderType.STOP_MARKET, trigger_price=Decimal(60500)))).order
    assert (order.is_held, order.notional) == (True, Decimal(605))
    smaller = await amend(pieces.desk, pieces.user_id, order.id, Amendment(quantity=Decimal("0.005")))
    assert (smaller.quantity, smaller.notional, smaller.reserved) == (Decimal("0.005"), Decimal("302.5"), Decimal("302.5"))


async def test_a_stop_at_the_exchange_that_spends_an_amount_still_does_once_it_is_changed(pieces: Pieces) -> None:
    whole = (await pieces.desk.connections.client(pieces.broker_id)).capabilities
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, capabilities=replace(whole, market_buy_by_base=False, has_replace=False))
    order = (await pieces.submit(pieces.limit("50000"))).order
    await pieces.rows(
        "UPDATE orders SET type = 'stop_market', trigger_price = 61000, price = NULL, notional = 610, is_working = false WHERE id = $1",
        order.id,
    )
    changed = await amend(pieces.desk, pieces.user_id, order.id, Amendment(trigger_price=Decimal(62000)))
    assert changed.notional == Decimal(620)


async def test_a_trailing_stop_at_the_exchange_is_not_given_up_for_a_distance_that_it_does_not_take(pieces: Pieces) -> None:
    wish = pieces.intent(Side.SELL, "0.01", type=OrderType.TRAILING_STOP, trailing_delta=Decimal("0.02"))
    order = (await pieces.submit(wish)).order
    assert order.state is OrderState.OPEN
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(trailing_delta=Decimal("0.4")))
    assert caught.value.reason is DenialReason.TRAILING_INVALID
    assert (await pieces.order(order.id)).state is OrderState.OPEN


@pytest.mark.parametrize(
    "change", [{"price": "50000"}, {"price": "50000.0099"}, {"quantity": "0.01"}, {"price": "50000", "quantity": "0.010009"}]
)
async def test_an_order_that_is_to_be_what_it_is_keeps_its_place_in_the_queue(pieces: Pieces, change: dict[str, str]) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    same = await amend(pieces.desk, pieces.user_id, order.id, Amendment(**{name: Decimal(text) for name, text in change.items()}))
    assert (same.id, same.state) == (order.id, OrderState.OPEN)
    assert [placed["status"] for placed in pieces.placed()] == ["NEW"]
