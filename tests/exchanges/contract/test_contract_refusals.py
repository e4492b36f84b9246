"""TC-50 to TC-59: what a venue does not take. A refusal leaves nothing behind."""

from decimal import Decimal

import pytest

from app.domain.enums import OrderType, Side
from app.errors import InsufficientFunds, OrderRejected
from app.exchanges.port import OrderRequest
from tests.exchanges.contract.venue import BASE, QUOTE, START, SYMBOL, ContractVenue

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def refused(venue: ContractVenue, order: OrderRequest, error: type[OrderRejected] = OrderRejected) -> str:
    with pytest.raises(error) as refusal:
        await venue.place(order)
    assert not await venue.open_ids()
    for asset in (BASE, QUOTE):
        assert (await venue.held(asset)).free == START[asset]
    found = await venue.client.fetch_order(SYMBOL, client_order_id=order.client_order_id, venue_order_id=None, type=order.type)
    assert found is None
    return refusal.value.message


async def test_tc50_a_buy_beyond_the_balance_is_refused(venue: ContractVenue) -> None:
    await refused(venue, venue.limit(60000, quantity="17"), InsufficientFunds)


async def test_tc51_a_sell_beyond_the_balance_is_refused(venue: ContractVenue) -> None:
    await refused(venue, venue.limit(61000, Side.SELL, quantity="11"), InsufficientFunds)


async def test_tc52_what_resting_orders_lock_cannot_be_spent_again(venue: ContractVenue) -> None:
    await venue.place(venue.limit(50000, quantity="15"))

    with pytest.raises(InsufficientFunds):
        await venue.place(venue.limit(50000, quantity="6"))

    assert (await venue.held(QUOTE)).locked == 750_000


async def test_tc53_a_waiting_sell_beyond_the_balance_is_refused(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    order = venue.waiting(OrderType.STOP_LIMIT, "59500", quantity=Decimal(11), price=Decimal(59400))
    await refused(venue, order, InsufficientFunds)


async def test_tc54_a_quantity_below_the_smallest_step_is_refused(venue: ContractVenue) -> None:
    await refused(venue, venue.request(quantity="0.000001"))


async def test_tc55_an_order_worth_too_little_is_refused(venue: ContractVenue) -> None:
    await refused(venue, venue.limit(50000, quantity="0.00002"))


async def test_tc56_a_price_above_every_bound_is_refused(venue: ContractVenue) -> None:
    await refused(venue, venue.limit(2_000_000, Side.SELL))


async def test_tc57_a_symbol_that_is_not_listed_is_refused(venue: ContractVenue) -> None:
    with pytest.raises(OrderRejected):
        await venue.place(venue.request(symbol="NOSUCH/USDT"))
