"""TC-30 to TC-39: two orders of which one trades, and one order in another's place."""

from decimal import Decimal

import pytest

from app.domain.enums import OrderState, Side
from app.errors import OrderRejected
from tests.exchanges.contract.venue import BASE, GONE, QUOTE, START, ContractVenue, unguarded

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc30_both_legs_are_open_and_the_quantity_is_locked_once(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")
    pair = venue.pair("60500", "59500")

    report = await venue.client.place_oco(pair, guard=unguarded)

    assert report.target.state is report.stop.state is OrderState.OPEN
    assert {pair.target.client_order_id, pair.stop.client_order_id} <= await venue.open_ids()
    assert (await venue.held(BASE)).locked == Decimal("0.01")


async def test_tc31_a_filled_target_ends_the_stop(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")
    pair = venue.pair("60500", "58500")
    await venue.client.place_oco(pair, guard=unguarded)

    await venue.fall()
    await venue.rise()

    report = await venue.becomes(pair.target, OrderState.FILLED)
    assert report.average_price == 60500
    assert (await venue.becomes(pair.stop, *GONE)).filled_quantity == 0
    assert (await venue.held(BASE)).total == START[BASE] - Decimal("0.01")
    assert (await venue.held(BASE)).locked == 0


async def test_tc32_a_triggered_stop_ends_the_target(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")
    pair = venue.pair("60500", "59500")
    await venue.client.place_oco(pair, guard=unguarded)

    await venue.fall()

    await venue.becomes(pair.stop, OrderState.FILLED)
    assert (await venue.becomes(pair.target, *GONE)).filled_quantity == 0
    await venue.rise()
    assert (await venue.held(BASE)).total == START[BASE] - Decimal("0.01")
    assert (await venue.held(BASE)).locked == 0


async def test_tc33_a_buying_pair_locks_the_dearer_leg(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")
    pair = venue.pair("59500", "60500", side=Side.BUY)
    await venue.client.place_oco(pair, guard=unguarded)
    assert (await venue.held(QUOTE)).locked == Decimal("605.5")

    await venue.fall()

    await venue.becomes(pair.target, OrderState.FILLED)
    assert (await venue.held(QUOTE)).locked == 0
    assert (await venue.held(QUOTE)).free == START[QUOTE] - 595


async def test_tc34_canceling_one_leg_ends_both(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")
    pair = venue.pair("60500", "59500")
    await venue.client.place_oco(pair, guard=unguarded)

    canceled = await venue.cancel(pair.target)

    assert canceled is not None
    assert canceled.state is OrderState.CANCELED
    await venue.becomes(pair.stop, *GONE)
    assert (await venue.held(BASE)).locked == 0


async def test_tc35_a_pair_that_does_not_enclose_the_market_is_refused_whole(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_oco and venue.symbol_takes_pairs, "pairs")

    with pytest.raises(OrderRejected):
        await venue.client.place_oco(venue.pair("59900", "59500"), guard=unguarded)

    assert not await venue.open_ids()
    assert (await venue.held(BASE)).free == START[BASE]


async def test_tc36_a_replaced_order_is_gone_and_the_new_one_stands(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_replace and venue.symbol_takes_replacing, "replacing an order")
    old, new = venue.limit(50000), venue.limit(51000)
    report = await venue.place(old)

    outcome = await venue.client.replace_order(
        new, old_client_order_id=old.client_order_id, old_venue_order_id=report.venue_order_id, guard=unguarded
    )

    assert outcome.canceled is not None
    assert outcome.canceled.state is OrderState.CANCELED
    assert outcome.created is not None
    assert outcome.created.state is OrderState.OPEN
    assert await venue.open_ids() == {new.client_order_id}
    assert (await venue.held(QUOTE)).locked == 510


async def test_tc37_replacing_what_is_not_open_places_nothing(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_replace and venue.symbol_takes_replacing, "replacing an order")
    filled, new = venue.request(), venue.limit(50000)
    report = await venue.place(filled)

    outcome = await venue.client.replace_order(
        new, old_client_order_id=filled.client_order_id, old_venue_order_id=report.venue_order_id, guard=unguarded
    )

    assert outcome.canceled is None
    assert outcome.created is None
    assert outcome.refusal
    assert not await venue.open_ids()


async def test_tc38_a_replacement_that_is_refused_says_why_and_is_not_there(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_replace and venue.symbol_takes_replacing, "replacing an order")
    old, too_large = venue.limit(50000), venue.limit(50000, quantity="100")
    report = await venue.place(old)

    outcome = await venue.client.replace_order(
        too_large, old_client_order_id=old.client_order_id, old_venue_order_id=report.venue_order_id, guard=unguarded
    )

    assert outcome.created is None
    assert outcome.refusal
    still_there = await venue.open_ids()
    assert still_there == ({old.client_order_id} if outcome.canceled is None else set())
