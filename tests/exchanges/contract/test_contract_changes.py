"""TC-40 to TC-49: canceling, and what must not happen twice."""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.enums import OrderState, OrderType, Side
from app.errors import NotSent, OutcomeUnknown
from tests.exchanges.contract.venue import BASE, QUOTE, START, SYMBOL, ContractVenue

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_tc40_a_canceled_order_gives_back_what_it_locked(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    await venue.place(order)

    report = await venue.cancel(order)

    assert report is not None
    assert report.state is OrderState.CANCELED
    assert (await venue.known(order)).state is OrderState.CANCELED
    assert (await venue.held(QUOTE)).free == START[QUOTE]


async def test_tc41_canceling_the_rest_of_an_order_keeps_its_fills(venue: ContractVenue) -> None:
    ticker = await venue.client.fetch_ticker(SYMBOL)
    offered = await venue.offered(Side.BUY)
    assert ticker.ask is not None
    order = venue.limit(ticker.ask, quantity=offered + 1)
    await venue.place(order)

    report = await venue.cancel(order)

    assert report is not None
    assert report.state is OrderState.CANCELED
    assert report.filled_quantity == offered == sum(fill.quantity for fill in report.fills)
    assert (await venue.held(QUOTE)).locked == 0


async def test_tc42_canceling_what_never_was_says_none(venue: ContractVenue) -> None:
    assert await venue.cancel(venue.limit(50000)) is None


async def test_tc43_canceling_what_has_filled_says_none_and_changes_nothing(venue: ContractVenue) -> None:
    order = venue.request()
    await venue.place(order)

    assert await venue.cancel(order) is None

    assert (await venue.known(order)).state is OrderState.FILLED


async def test_tc44_an_order_is_canceled_by_the_venues_id_too(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    placed = await venue.place(order)

    report = await venue.client.cancel_order(
        SYMBOL, client_order_id=order.client_order_id, venue_order_id=placed.venue_order_id, type=order.type
    )

    assert report is not None
    assert report.venue_order_id == placed.venue_order_id
    assert not await venue.open_ids()


async def test_tc45_a_waiting_order_can_be_canceled(venue: ContractVenue) -> None:
    venue.needs_type(OrderType.STOP_LIMIT)
    order = venue.waiting(OrderType.STOP_LIMIT, "59500", price=Decimal(59400))
    await venue.place(order)

    report = await venue.cancel(order)
    await venue.fall()

    assert report is not None
    assert (await venue.known(order)).state is OrderState.CANCELED
    assert (await venue.held(BASE)).free == START[BASE]


async def test_tc46_an_open_orders_id_is_not_taken_a_second_time(venue: ContractVenue) -> None:
    order = venue.limit(50000)
    await venue.place(order)

    # It is ours, so what became of it is looked up, as after any other doubt.
    with pytest.raises(OutcomeUnknown):
        await venue.place(order)

    assert len(await venue.client.fetch_open_orders(SYMBOL)) == 1
    assert (await venue.held(QUOTE)).locked == 500


async def test_tc47_the_guard_stops_an_order_in_the_last_moment(venue: ContractVenue) -> None:
    def stop() -> None:
        raise NotSent("the lease is lost")

    order = venue.limit(50000)
    with pytest.raises(NotSent):
        await venue.client.place_order(order, guard=stop)

    assert not await venue.open_ids()
    assert (await venue.held(QUOTE)).free == START[QUOTE]
    assert await venue.cancel(order) is None


async def test_tc48_what_comes_too_late_is_refused(venue: ContractVenue) -> None:
    venue.needs(venue.client.capabilities.has_fence, "refusing what comes too late")
    order = venue.limit(50000)
    late = venue.limit(50000, client_order_id=order.client_order_id, sent_at=order.sent_at - timedelta(seconds=60))

    with pytest.raises(NotSent):
        await venue.place(late)

    assert not await venue.open_ids()
    assert (await venue.place(order)).state is OrderState.OPEN
