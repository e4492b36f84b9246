"""Parts of a position that are closed twice, by two tabs or while the first answer is still awaited."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderState, Side
from app.errors import DuplicateIntent, OrderDenied
from app.trading.close import close_position
from app.trading.reconcile import Reconciler
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio


async def position(pieces: Pieces) -> Any:
    (row,) = await pieces.rows("SELECT * FROM positions WHERE status <> 'closed'")
    return row


async def part(pieces: Pieces, position_id: Any, key: str, fraction: str = "0.6") -> Any:
    return await close_position(pieces.desk, pieces.user_id, position_id, key=key, fraction=Decimal(fraction))


async def test_two_parts_at_once_sell_no_more_than_the_position_holds(pieces: Pieces) -> None:
    """The account has more of the coin than the position: what was never bought here must stay."""
    await pieces.filled(Side.BUY, "0.01")
    row = await position(pieces)
    await asyncio.gather(*(part(pieces, row["id"], f"tab:{number}") for number in range(3)), return_exceptions=True)
    (sold,) = await pieces.rows("SELECT coalesce(sum(filled_quantity), 0) AS quantity FROM orders WHERE side = 'sell'")
    assert sold["quantity"] <= row["quantity"]


async def test_a_part_leaves_alone_what_an_order_in_doubt_may_have_sold(pieces: Pieces) -> None:
    await pieces.filled(Side.BUY, "0.01")
    row = await position(pieces)
    pieces.fault("drop_after")
    first = await part(pieces, row["id"], "first")
    assert first.order.state is OrderState.UNKNOWN
    second = await part(pieces, row["id"], "second")
    assert first.order.quantity + second.order.quantity <= row["quantity"]
    with pytest.raises(OrderDenied):
        await part(pieces, row["id"], "third")
    await Reconciler(pieces.desk).once()
    (sold,) = await pieces.rows("SELECT sum(filled_quantity) AS quantity FROM orders WHERE side = 'sell'")
    assert sold["quantity"] <= row["quantity"]


async def test_parts_of_a_position_below_zero_buy_no_more_than_was_sold(pieces: Pieces) -> None:
    """Coins from elsewhere were sold; what buys them back in parts must not open a position."""
    await pieces.filled(Side.SELL, "0.01")
    row = await position(pieces)
    pieces.fault("drop_after")
    first = await part(pieces, row["id"], "first")
    assert first.order.state is OrderState.UNKNOWN
    await part(pieces, row["id"], "second")
    await Reconciler(pieces.desk).once()
    (bought,) = await pieces.rows("SELECT sum(filled_quantity) AS quantity FROM orders WHERE side = 'buy'")
    assert bought["quantity"] <= -row["quantity"]


async def test_a_key_that_named_another_order_is_not_taken_for_the_close_of_a_position(pieces: Pieces) -> None:
    """The answer would be an order that bought, filled: its reader thinks that the position is gone."""
    await pieces.submit(pieces.intent(Side.BUY, key="mine"))
    row = await position(pieces)
    with pytest.raises(DuplicateIntent):
        await close_position(pieces.desk, pieces.user_id, row["id"], key="mine")
    closed = await close_position(pieces.desk, pieces.user_id, row["id"], key="another")
    assert closed.order.state is OrderState.FILLED
