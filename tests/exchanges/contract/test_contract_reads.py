"""TC-60 to TC-79: what the venue tells."""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.core.clock import SystemClock
from app.domain.candles import Timeframe
from app.domain.enums import OrderState, OrderType, Side
from app.errors import Unsupported
from tests.exchanges.contract.venue import BASE, FLAT, QUOTE, START, SYMBOL, ContractVenue

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc60_an_order_that_never_was_is_unknown(venue: ContractVenue) -> None:
    never = venue.request()
    found = await venue.client.fetch_order(SYMBOL, client_order_id=never.client_order_id, venue_order_id=None, type=never.type)
    assert found is None


async def test_tc61_an_order_is_found_by_our_id_and_by_the_venues(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    placed = await venue.place(order)

    ours = await venue.known(order)
    theirs = await venue.client.fetch_order(
        SYMBOL, client_order_id=order.client_order_id, venue_order_id=placed.venue_order_id, type=order.type
    )

    assert ours == theirs
    assert ours.venue_order_id == placed.venue_order_id


async def test_tc62_a_filled_order_is_told_with_the_fills_of_its_acknowledgement(venue: ContractVenue) -> None:
    order = venue.request()
    placed = await venue.place(order)

    found = await venue.known(order)

    assert found.state is OrderState.FILLED
    assert {(fill.trade_id, fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in found.fills} == {
        (fill.trade_id, fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in placed.fills
    }
    assert found.average_price == placed.average_price


async def test_tc63_open_orders_are_listed_with_all_that_was_asked(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    placed = await venue.place(order)

    (listed,) = await venue.client.fetch_open_orders(SYMBOL)

    assert listed.client_order_id == order.client_order_id
    assert (listed.symbol, listed.side, listed.type) == (SYMBOL, Side.BUY, OrderType.LIMIT)
    assert (listed.quantity, listed.price) == (Decimal("0.01"), Decimal(50000))
    assert listed.report.venue_order_id == placed.venue_order_id


async def test_tc64_a_waiting_order_is_listed_with_its_trigger(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    await venue.place(venue.waiting(OrderType.STOP_LIMIT, "59500", price=Decimal(59400)))

    (listed,) = await venue.client.fetch_open_orders(SYMBOL)

    assert listed.type is OrderType.STOP_LIMIT
    assert (listed.trigger_price, listed.price) == (Decimal(59500), Decimal(59400))


async def test_tc65_open_orders_of_all_symbols_are_listed_where_that_is_promised(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    await venue.place(order)

    if venue.client.capabilities.lists_all_open_orders:
        assert [listed.client_order_id for listed in await venue.client.fetch_open_orders()] == [order.client_order_id]
    else:
        with pytest.raises(Unsupported):
            await venue.client.fetch_open_orders()


async def test_tc66_a_finished_order_is_among_the_recent_ones_and_not_among_the_open(venue: ContractVenue) -> None:
    before = SystemClock().now() - timedelta(minutes=1)
    filled, resting = venue.request(), venue.limit(50000)
    await venue.place(filled)
    await venue.place(resting)

    recent = await venue.client.fetch_recent_orders(SYMBOL, since=before)

    assert [order.client_order_id for order in recent] == [filled.client_order_id, resting.client_order_id]
    assert [order.report.state for order in recent] == [OrderState.FILLED, OrderState.OPEN]
    assert await venue.open_ids() == {resting.client_order_id}


async def test_tc67_orders_from_before_the_asked_time_are_not_recent(venue: ContractVenue) -> None:
    await venue.place(venue.request())

    assert await venue.client.fetch_recent_orders(SYMBOL, since=SystemClock().now() + timedelta(minutes=1)) == []


async def test_tc68_trades_name_their_order_and_their_side(venue: ContractVenue) -> None:
    bought = await venue.place(venue.request(Side.BUY))
    sold = await venue.place(venue.request(Side.SELL))

    trades = await venue.client.fetch_trades(SYMBOL)

    assert {(trade.venue_order_id, trade.side) for trade in trades} == {
        (bought.venue_order_id, Side.BUY),
        (sold.venue_order_id, Side.SELL),
    }
    assert [trade.fill.trade_id for trade in trades] == [fill.trade_id for fill in (*bought.fills, *sold.fills)]


async def test_tc69_only_later_trades_are_told_after_a_trade_id(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.trades_by_id, "counting trades")
    first = await venue.place(venue.request())
    second = await venue.place(venue.request())

    later = await venue.client.fetch_trades(SYMBOL, after_trade_id=first.fills[-1].trade_id)

    assert [trade.fill.trade_id for trade in later] == [fill.trade_id for fill in second.fills]
    assert await venue.client.fetch_trades(SYMBOL, after_trade_id=second.fills[-1].trade_id) == []


async def test_tc70_trades_from_a_time_on(venue: ContractVenue) -> None:
    placed = await venue.place(venue.request())

    found = await venue.client.fetch_trades(SYMBOL, since=placed.fills[0].executed_at - timedelta(seconds=1))
    none = await venue.client.fetch_trades(SYMBOL, since=placed.fills[-1].executed_at + timedelta(minutes=1))

    assert [trade.fill.trade_id for trade in found] == [fill.trade_id for fill in placed.fills]
    assert none == []


async def test_tc71_a_fresh_account_holds_what_was_put_in(venue: ContractVenue) -> None:
    balances = await venue.client.fetch_balances()

    assert {asset: (balance.free, balance.locked) for asset, balance in balances.items()} == {
        asset: (amount, Decimal(0)) for asset, amount in START.items()
    }


async def test_tc72_the_best_prices_stand_around_the_last_one(venue: ContractVenue) -> None:
    ticker = await venue.client.fetch_ticker(SYMBOL)

    assert ticker.symbol == SYMBOL
    assert ticker.bid is not None
    assert ticker.ask is not None
    assert FLAT * Decimal("0.999") < ticker.bid < ticker.ask < FLAT * Decimal("1.001")
    assert ticker.bid <= ticker.last <= ticker.ask


async def test_tc73_instruments_have_the_rules_that_orders_are_checked_by(venue: ContractVenue) -> None:
    instrument = (await venue.client.instruments())[SYMBOL]

    assert (instrument.base, instrument.quote) == (BASE, QUOTE)
    assert instrument.tick_size > 0
    assert instrument.step_size > 0
    assert instrument.min_notional


async def test_tc74_candles_come_oldest_first(venue: ContractVenue) -> None:
    candles = await venue.client.fetch_candles(SYMBOL, Timeframe.M1, limit=10)

    assert len(candles) == 10
    assert [candle.open_time for candle in candles] == sorted(candle.open_time for candle in candles)


async def test_tc75_the_venues_clock_goes_with_ours(venue: ContractVenue) -> None:
    assert abs(await venue.client.server_time() - SystemClock().now()) < timedelta(seconds=5)


async def test_tc76_the_book_stands_around_the_last_price(venue: ContractVenue) -> None:
    depth = await venue.client.fetch_depth(SYMBOL, limit=20)

    assert len(depth.bids) == len(depth.asks) == 20
    assert list(depth.bids) == sorted(depth.bids, key=lambda level: level.price, reverse=True)
    assert list(depth.asks) == sorted(depth.asks, key=lambda level: level.price)
    assert FLAT * Decimal("0.999") < depth.bids[0].price < depth.asks[0].price < FLAT * Decimal("1.001")
    assert all(level.quantity > 0 for level in (*depth.bids, *depth.asks))


async def test_tc77_trades_of_the_market_come_oldest_first(venue: ContractVenue) -> None:
    trades = await venue.client.fetch_market_trades(SYMBOL, limit=10)

    assert 0 < len(trades) <= 10
    assert [trade.traded_at for trade in trades] == sorted(trade.traded_at for trade in trades)
    assert all(trade.price > 0 and trade.quantity > 0 and trade.trade_id for trade in trades)
