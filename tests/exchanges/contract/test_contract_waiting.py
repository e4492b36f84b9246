"""TC-20 to TC-29: orders that wait for their trigger."""

from decimal import Decimal

import pytest

from app.domain.enums import Liquidity, OrderState, OrderType, Side
from app.errors import OrderRejected
from tests.exchanges.contract.venue import BASE, OPEN, QUOTE, START, ContractVenue

pytestmark = pytest.mark.asyncio(loop_scope="session")
AROUND = Decimal("0.002")


def near(price: Decimal | None, other: int) -> bool:
    return price is not None and abs(price - other) <= other * AROUND


async def test_tc20_a_waiting_sell_is_open_and_locks_what_it_would_sell(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    order = venue.waiting(OrderType.STOP_LIMIT, "59500", price=Decimal(59400))

    report = await venue.place(order)

    assert report.state is OrderState.OPEN
    assert report.filled_quantity == 0
    assert (await venue.held(BASE)).locked == Decimal("0.01")
    assert order.client_order_id in await venue.open_ids()


async def test_tc21_a_stop_limit_sells_at_its_limit_or_better_once_the_market_has_fallen(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    order = venue.waiting(OrderType.STOP_LIMIT, "59500", price=Decimal(59300))
    await venue.place(order)

    await venue.fall()

    report = await venue.becomes(order, OrderState.FILLED)
    assert report.average_price is not None
    assert report.average_price >= 59300
    assert near(report.average_price, 59500)
    assert (await venue.held(BASE)).locked == 0


async def test_tc22_a_stop_limit_whose_limit_is_passed_rests_there(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    order = venue.waiting(OrderType.STOP_LIMIT, "59500", price=Decimal(59800))
    await venue.place(order)

    await venue.fall()

    assert (await venue.known(order)).state in OPEN
    await venue.rise()
    report = await venue.becomes(order, OrderState.FILLED)
    assert report.average_price == 59800
    assert {fill.liquidity for fill in report.fills} == {Liquidity.MAKER}


async def test_tc23_a_stop_sells_at_the_market_once_it_has_fallen(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_MARKET)
    order = venue.waiting(OrderType.STOP_MARKET, "59500")
    await venue.place(order)

    await venue.fall()

    report = await venue.becomes(order, OrderState.FILLED)
    assert near(report.average_price, 59500)
    assert {fill.liquidity for fill in report.fills} == {Liquidity.TAKER}


async def test_tc24_a_stop_buys_at_the_market_once_it_has_risen(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_MARKET)
    order = venue.waiting(OrderType.STOP_MARKET, "60500", Side.BUY)
    await venue.place(order)

    await venue.fall()
    assert (await venue.known(order)).state is OrderState.OPEN
    await venue.rise()

    report = await venue.becomes(order, OrderState.FILLED)
    assert near(report.average_price, 60500)
    assert (await venue.held(QUOTE)).locked == 0


async def test_tc25_a_take_profit_limit_sells_once_the_market_has_risen(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.TAKE_PROFIT_LIMIT)
    order = venue.waiting(OrderType.TAKE_PROFIT_LIMIT, "60500", price=Decimal(60400))
    await venue.place(order)

    await venue.fall()
    assert (await venue.known(order)).state is OrderState.OPEN
    await venue.rise()

    report = await venue.becomes(order, OrderState.FILLED)
    assert near(report.average_price, 60500)


async def test_tc26_a_take_profit_sells_at_the_market_once_it_has_risen(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.TAKE_PROFIT)
    order = venue.waiting(OrderType.TAKE_PROFIT, "60500")
    await venue.place(order)

    await venue.fall()
    assert (await venue.known(order)).state is OrderState.OPEN
    await venue.rise()

    assert near((await venue.becomes(order, OrderState.FILLED)).average_price, 60500)


async def test_tc27_a_trailing_stop_follows_the_market_and_sells_when_it_comes_back(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.TRAILING_STOP)
    # One percent below the best price since: 60000 to begin with, so 59400 on the way down.
    order = venue.waiting(OrderType.TRAILING_STOP, None, trailing_delta=Decimal("0.01"))
    report = await venue.place(order)
    assert report.state is OrderState.OPEN

    await venue.fall()

    assert near((await venue.becomes(order, OrderState.FILLED)).average_price, 59400)


async def test_tc28_a_trailing_stop_buys_when_the_market_has_turned(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.TRAILING_STOP)
    # One percent above the lowest price since: 59590 once the market has been at 59000.
    order = venue.waiting(OrderType.TRAILING_STOP, None, Side.BUY, trailing_delta=Decimal("0.01"))
    await venue.place(order)

    await venue.fall()
    assert (await venue.known(order)).state is OrderState.OPEN
    await venue.rise()

    assert near((await venue.becomes(order, OrderState.FILLED)).average_price, 59590)


async def test_tc29_a_stop_whose_trigger_is_reached_already_is_refused(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)

    with pytest.raises(OrderRejected):
        await venue.place(venue.waiting(OrderType.STOP_LIMIT, "60500", price=Decimal(60400)))

    assert (await venue.held(BASE)).free == START[BASE]


async def test_tc76_a_trailing_stop_follows_only_from_its_activation_price_on(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.TRAILING_STOP)
    # It begins to follow at 59500 on the way down, sees 59000, and buys one percent above that.
    order = venue.waiting(OrderType.TRAILING_STOP, "59500", Side.BUY, trailing_delta=Decimal("0.01"))
    assert (await venue.place(order)).state is OrderState.OPEN
    assert not (await venue.known(order)).is_working

    await venue.fall()
    await venue.rise()

    assert near((await venue.becomes(order, OrderState.FILLED)).average_price, 59590)
