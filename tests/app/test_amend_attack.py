"""Changes of orders at bad moments: of a bracket's entry, twice at once, while it is being canceled, on an account that is off."""

from decimal import Decimal

import pytest

from app.domain.enums import OrderState
from app.domain.protection import ProtectionPlan, Target, load_plan
from app.errors import DenialReason, OrderDenied
from app.trading.amend import Amendment, amend
from app.trading.close import protect_position
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import Pieces

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
