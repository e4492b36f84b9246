"""A change of an order passes the same rules as a new order, wherever the order waits."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.enums import OrderState, OrderType, Side, Source
from app.domain.limits import RiskLimits
from app.errors import DenialReason, OrderDenied
from app.trading.amend import Amendment, amend
from app.trading.limits import put_limits
from app.trading.oco import OcoIntent, submit_oco
from app.trading.records import OrderRecord
from tests.app.conftest import SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.test_trading_modes import takes

pytestmark = pytest.mark.asyncio


async def held_buy(pieces: Pieces) -> OrderRecord:
    """A stop that this server watches, as the venue cannot."""
    whole = (await pieces.desk.connections.client(pieces.broker_id)).capabilities
    able = replace(whole, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}))
    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, capabilities=able)
    order = (await pieces.submit(pieces.intent(type=OrderType.STOP_MARKET, trigger_price=Decimal(60500)))).order
    assert order.is_held
    return order


async def refusal(pieces: Pieces, order: OrderRecord, quantity: str) -> DenialReason:
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(quantity=Decimal(quantity)))
    kept = await pieces.order(order.id)
    assert (kept.quantity, kept.reserved, kept.state) == (order.quantity, order.reserved, OrderState.INTENT)
    return caught.value.reason


async def test_an_order_that_waits_here_does_not_grow_beyond_the_balance(pieces: Pieces) -> None:
    assert await refusal(pieces, await held_buy(pieces), "90") is DenialReason.INSUFFICIENT_BALANCE


async def test_an_order_that_waits_here_does_not_grow_beyond_a_limit(pieces: Pieces) -> None:
    order = await held_buy(pieces)
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(max_order_notional=Decimal(1000)), broker_id=pieces.broker_id)
    assert await refusal(pieces, order, "0.02") is DenialReason.MAX_NOTIONAL


async def test_an_order_that_waits_here_is_not_changed_on_an_account_that_is_off(pieces: Pieces) -> None:
    order = await held_buy(pieces)
    await takes(pieces, Source.WEBHOOK)
    assert await refusal(pieces, order, "0.02") is DenialReason.BROKER_MODE


async def test_an_order_that_waits_here_keeps_back_what_it_needs_once_changed(pieces: Pieces) -> None:
    order = await held_buy(pieces)
    changed = await amend(pieces.desk, pieces.user_id, order.id, Amendment(quantity=Decimal("0.02")))
    assert (changed.id, changed.quantity, changed.reserved) == (order.id, Decimal("0.02"), 2 * order.reserved)


async def test_a_server_without_its_key_takes_neither_changes_nor_pairs(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000"))).order
    pieces.desk = replace(pieces.desk, closed=lambda: "the key is missing")
    with pytest.raises(OrderDenied) as of_change:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(51000)))
    pair = OcoIntent(
        symbol=SYMBOL,
        side=Side.SELL,
        source=Source.MANUAL,
        key="pair",
        quantity=Decimal("0.01"),
        price=Decimal(61000),
        trigger_price=Decimal(59000),
    )
    with pytest.raises(OrderDenied) as of_pair:
        await submit_oco(pieces.desk, pieces.user_id, pair)
    assert {of_change.value.reason, of_pair.value.reason} == {DenialReason.ENCRYPTION_KEY_MISSING}
    assert [placed["status"] for placed in pieces.placed()] == ["NEW"]


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
async def test_a_price_far_beyond_the_market_is_refused_also_where_nobody_quotes_it(pieces: Pieces, side: Side) -> None:
    """One digit too many, or too few: a new order is compared with what the exchange says then, and so is a change."""
    resting, wrong = ("50000", "100000") if side is Side.BUY else ("70000", "30000")
    order = (await pieces.submit(pieces.limit(resting, side))).order
    assert pieces.desk.quotes.last_price("binance", SYMBOL) is None
    with pytest.raises(OrderDenied) as of_new:
        await pieces.submit(pieces.limit(wrong, side))
    with pytest.raises(OrderDenied) as of_change:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(price=Decimal(wrong)))
    assert of_change.value.reason is of_new.value.reason is DenialReason.PRICE_COLLAR
    assert (await pieces.order(order.id)).state is OrderState.OPEN


async def test_a_trigger_is_not_moved_across_the_market_also_where_nobody_quotes_it(pieces: Pieces) -> None:
    order = await held_buy(pieces)
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, order.id, Amendment(trigger_price=Decimal(59000)))
    assert caught.value.reason is DenialReason.TRIGGER_INVALID
