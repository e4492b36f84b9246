"""TC-01 to TC-16: market and limit orders, and what they do to the account."""

from decimal import Decimal

import pytest

from app.domain.enums import Liquidity, OrderState, Side, TimeInForce
from app.errors import OrderRejected
from tests.exchanges.contract.venue import BASE, FLAT, GONE, OPEN, QUOTE, START, SYMBOL, ContractVenue

pytestmark = pytest.mark.asyncio(loop_scope="session")
AROUND = Decimal("0.002")


def near(price: Decimal, other: Decimal) -> bool:
    return abs(price - other) <= other * AROUND


async def test_tc01_market_buy_fills_at_once_as_taker(venue: ContractVenue) -> None:
    report = await venue.place(venue.request(Side.BUY, "0.01"))

    assert report.state is OrderState.FILLED
    assert report.filled_quantity == Decimal("0.01") == sum(fill.quantity for fill in report.fills)
    assert {fill.liquidity for fill in report.fills} == {Liquidity.TAKER}
    assert report.average_price is not None
    assert near(report.average_price, FLAT)


async def test_tc02_market_sell_fills_at_once_as_taker(venue: ContractVenue) -> None:
    report = await venue.place(venue.request(Side.SELL, "0.01"))

    assert report.state is OrderState.FILLED
    assert report.filled_quantity == Decimal("0.01")
    assert report.average_price is not None
    assert near(report.average_price, FLAT)


async def test_tc03_market_buy_by_notional_spends_no_more_than_that(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.market_buy_by_quote, "market buys by notional")

    report = await venue.place(venue.request(Side.BUY, "0.0016", notional=Decimal(100)))

    assert report.state is OrderState.FILLED
    assert report.average_price is not None
    spent = report.filled_quantity * report.average_price
    assert Decimal(99) < spent <= Decimal(100)


async def test_tc04_a_buys_fee_is_taken_out_of_the_base_it_brings(venue: ContractVenue) -> None:
    report = await venue.place(venue.request(Side.BUY, "0.01"))

    assert {fill.fee_asset for fill in report.fills} == {BASE}
    fees = sum((fill.fee for fill in report.fills), Decimal(0))
    assert fees == Decimal("0.00001")
    spent = sum((fill.price * fill.quantity for fill in report.fills), Decimal(0))
    assert (await venue.held(BASE)).total == START[BASE] + Decimal("0.01") - fees
    assert (await venue.held(QUOTE)).total == START[QUOTE] - spent


async def test_tc05_a_sells_fee_is_taken_out_of_the_quote_it_brings(venue: ContractVenue) -> None:
    report = await venue.place(venue.request(Side.SELL, "0.01"))

    assert {fill.fee_asset for fill in report.fills} == {QUOTE}
    brought = sum((fill.price * fill.quantity - fill.fee for fill in report.fills), Decimal(0))
    assert sum(fill.fee for fill in report.fills) > 0
    assert (await venue.held(BASE)).total == START[BASE] - Decimal("0.01")
    assert (await venue.held(QUOTE)).total == START[QUOTE] + brought


async def test_tc06_a_limit_away_from_the_market_rests_and_locks_what_it_pays(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    report = await venue.place(order)

    assert report.state is OrderState.OPEN
    assert report.filled_quantity == 0
    assert (await venue.held(QUOTE)).locked == 500
    assert (await venue.held(QUOTE)).total == START[QUOTE]
    assert order.client_order_id in await venue.open_ids()


async def test_tc07_a_limit_that_reaches_the_market_gets_the_markets_price(venue: ContractVenue) -> None:
    report = await venue.place(venue.limit(60500))

    assert report.state is OrderState.FILLED
    assert report.average_price is not None
    assert near(report.average_price, FLAT)
    assert (await venue.held(QUOTE)).locked == 0


async def test_tc08_a_resting_limit_fills_at_its_own_price_when_the_market_passes_it(venue: ContractVenue) -> None:
    order = venue.limit(59500)
    await venue.place(order)

    await venue.fall()

    report = await venue.becomes(order, OrderState.FILLED)
    assert report.average_price == 59500
    assert {fill.liquidity for fill in report.fills} == {Liquidity.MAKER}
    assert (await venue.held(QUOTE)).locked == 0


async def test_tc09_a_resting_limit_that_the_market_does_not_reach_stays(venue: ContractVenue) -> None:
    order = venue.limit(58000)
    await venue.place(order)

    await venue.fall()

    assert (await venue.known(order)).state is OrderState.OPEN


async def test_tc10_a_limit_takes_what_is_offered_and_rests_with_the_rest(venue: ContractVenue) -> None:
    ticker = await venue.client.fetch_ticker(SYMBOL)
    offered = await venue.offered(Side.BUY)
    assert ticker.ask is not None

    order = venue.limit(ticker.ask, quantity=offered + 1)
    report = await venue.place(order)

    assert report.state is OrderState.PARTIAL
    assert report.filled_quantity == offered
    assert (await venue.held(QUOTE)).locked == ticker.ask * 1


async def test_tc11_an_ioc_takes_what_is_offered_and_never_rests(venue: ContractVenue) -> None:
    venue.needs(TimeInForce.IOC in venue.client.capabilities.time_in_force, "IOC orders")
    ticker = await venue.client.fetch_ticker(SYMBOL)
    offered = await venue.offered(Side.BUY)
    assert ticker.ask is not None

    order = venue.limit(ticker.ask, quantity=offered + 1, time_in_force=TimeInForce.IOC)
    await venue.place(order)

    report = await venue.becomes(order, *GONE)
    assert report.filled_quantity == offered
    assert (await venue.held(QUOTE)).locked == 0


async def test_tc12_an_ioc_away_from_the_market_ends_with_nothing(venue: ContractVenue) -> None:
    venue.needs(TimeInForce.IOC in venue.client.capabilities.time_in_force, "IOC orders")

    order = venue.limit(50000, time_in_force=TimeInForce.IOC)
    await venue.place(order)

    report = await venue.becomes(order, *GONE)
    assert report.filled_quantity == 0
    assert (await venue.held(QUOTE)).free == START[QUOTE]


async def test_tc13_a_fok_fills_whole_or_not_at_all(venue: ContractVenue) -> None:
    venue.needs(TimeInForce.FOK in venue.client.capabilities.time_in_force, "FOK orders")
    ticker = await venue.client.fetch_ticker(SYMBOL)
    assert ticker.ask is not None
    too_large = venue.limit(ticker.ask, quantity=await venue.offered(Side.BUY) + 1, time_in_force=TimeInForce.FOK)
    fitting = venue.limit(ticker.ask, time_in_force=TimeInForce.FOK)

    await venue.place(too_large)
    whole = await venue.place(fitting)

    nothing = await venue.becomes(too_large, *GONE)
    assert nothing.filled_quantity == 0
    assert whole.state is OrderState.FILLED


async def test_tc14_a_post_only_order_that_would_take_is_refused(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_post_only, "post-only orders")

    with pytest.raises(OrderRejected):
        await venue.place(venue.limit(60500, post_only=True))

    assert (await venue.held(QUOTE)).free == START[QUOTE]


async def test_tc15_a_post_only_order_that_would_rest_rests(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_post_only, "post-only orders")

    report = await venue.place(venue.limit(59000, post_only=True))

    assert report.state is OrderState.OPEN


async def test_tc16_orders_of_both_sides_rest_side_by_side(venue: ContractVenue) -> None:
    buy, sell = venue.limit(59500), venue.limit(60500, Side.SELL)
    for order in (buy, sell):
        assert (await venue.place(order)).state in OPEN

    await venue.fall()

    await venue.becomes(buy, OrderState.FILLED)
    assert (await venue.known(sell)).state is OrderState.OPEN
    assert (await venue.held(BASE)).locked == Decimal("0.01")
