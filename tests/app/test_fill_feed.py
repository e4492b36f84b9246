"""Trades read without a gap: each is counted once, whatever road it came."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.domain.enums import OrderState, Side
from app.exchanges.port import VenueTrade
from app.trading.desk import Desk
from app.trading.fill_feed import Place, read_trades, search_orders
from tests.app.conftest import SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.strangers import ORPHAN_ID, placed_elsewhere, requests_of
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

TRADES = ("GET", "/api/v3/myTrades")


def place(pieces: Pieces) -> Place:
    return Place(broker_id=pieces.broker_id, user_id=pieces.user_id, symbol=SYMBOL)


async def read(pieces: Pieces, desk: Desk | None = None) -> int:
    chosen = desk or pieces.desk
    return await read_trades(chosen, place(pieces), await chosen.connections.client(pieces.broker_id))


async def held(pieces: Pieces) -> Decimal:
    ((quantity,),) = await pieces.rows("SELECT coalesce(sum(quantity), 0) FROM positions")
    return Decimal(quantity)


async def forget_fills(pieces: Pieces, order_id: UUID) -> None:
    """As if the report of an open order's fills had never come."""
    await pieces.rows("DELETE FROM fills WHERE order_id = $1", order_id)
    await pieces.rows("DELETE FROM positions")
    await pieces.rows(
        "UPDATE orders SET state = 'open', filled_quantity = 0, fills_quantity = 0, average_price = NULL WHERE id = $1", order_id
    )


@row(12)
async def test_fill_that_nothing_reported_is_counted_once(pieces: Pieces) -> None:
    order = await pieces.filled()
    await forget_fills(pieces, order.id)
    assert [await read(pieces), await read(pieces)] == [1, 0]
    found = await pieces.order(order.id)
    assert (found.state, found.fills_quantity, found.average_price) == (OrderState.FILLED, order.quantity, order.average_price)
    assert await held(pieces) == Decimal("0.00999")


async def test_trades_that_reports_brought_already_are_not_counted_again(pieces: Pieces) -> None:
    for side in (Side.BUY, Side.SELL, Side.BUY):
        await pieces.filled(side)
    before = await held(pieces)
    assert await read(pieces) == 0
    assert await held(pieces) == before
    (mark,) = await pieces.rows("SELECT trade_id, (SELECT max(trade_id::bigint) FROM fills)::text AS newest FROM trade_marks")
    assert mark["trade_id"] == mark["newest"]


async def test_second_reading_begins_behind_the_last_trade(pieces: Pieces) -> None:
    await pieces.filled()
    await read(pieces)
    asked = len(requests_of(pieces, *TRADES))
    await pieces.filled()
    assert await read(pieces) == 0
    # The new order's trade was told with its answer; one page holds it, the next one is empty.
    assert len(requests_of(pieces, *TRADES)) - asked == 2


@row(12, 34)
async def test_no_trade_is_missed_between_the_pages(pieces: Pieces) -> None:
    orders = [await pieces.filled(quantity="0.001") for _ in range(7)]
    for order in orders:
        await pieces.rows("DELETE FROM fills WHERE order_id = $1", order.id)
        await pieces.rows("UPDATE orders SET fills_quantity = 0 WHERE id = $1", order.id)
    await pieces.rows("DELETE FROM positions")
    real = await pieces.connections.client(pieces.broker_id)

    async def two_a_page(symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> Sequence[VenueTrade]:
        return (await real.fetch_trades(symbol, after_trade_id=after_trade_id, since=since))[:2]

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_trades=two_a_page)
    assert await read(pieces, desk) == 7
    assert await held(pieces) == Decimal("0.006993")


async def test_reading_that_breaks_off_goes_on_where_it_was(pieces: Pieces) -> None:
    orders = [await pieces.filled(quantity="0.001") for _ in range(5)]
    for order in orders:
        await pieces.rows("DELETE FROM fills WHERE order_id = $1", order.id)
        await pieces.rows("UPDATE orders SET fills_quantity = 0 WHERE id = $1", order.id)
    await pieces.rows("DELETE FROM positions")
    real = await pieces.connections.client(pieces.broker_id)
    pages = 0

    async def breaks_off(symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> Sequence[VenueTrade]:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise ConnectionResetError
        return (await real.fetch_trades(symbol, after_trade_id=after_trade_id, since=since))[:2]

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_trades=breaks_off)
    with pytest.raises(ConnectionResetError):
        await read(pieces, desk)
    assert await held(pieces) == Decimal("0.001998")
    await read(pieces, desk)
    assert await held(pieces) == Decimal("0.004995")


async def test_venue_that_counts_no_trades_is_read_by_time_and_each_trade_once(pieces: Pieces) -> None:
    order = await pieces.filled()
    await forget_fills(pieces, order.id)
    real = await pieces.connections.client(pieces.broker_id)
    asked: list[tuple[str | None, datetime | None]] = []

    async def by_time(symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> Sequence[VenueTrade]:
        asked.append((after_trade_id, since))
        return await real.fetch_trades(symbol, since=since)

    desk, client = await scripted(pieces.desk, pieces.broker_id, fetch_trades=by_time)
    client.capabilities = replace(real.capabilities, trades_by_id=False)
    assert [await read(pieces, desk), await read(pieces, desk)] == [1, 0]
    assert all(after is None and since is not None for after, since in asked)
    assert await held(pieces) == Decimal("0.00999")


async def test_trades_of_a_foreign_order_are_kept_apart_and_counted_for_it_alone(pieces: Pieces) -> None:
    await pieces.filled()
    before = await held(pieces)
    placed_elsewhere(pieces, side="BUY", type="MARKET", quantity="0.05")
    assert [await read(pieces), await read(pieces)] == [1, 0]
    assert await held(pieces) == before
    (trade,) = await pieces.rows("SELECT quantity, side FROM external_trades")
    assert (trade["quantity"], trade["side"]) == (Decimal("0.05"), "buy")
    (order,) = await pieces.rows("SELECT client_order_id, filled_quantity, state FROM external_orders")
    assert (order["client_order_id"], order["filled_quantity"], order["state"]) == ("of-my-own", Decimal("0.05"), "filled")


@pytest.mark.parametrize("state", ["unknown", "lost"])
async def test_order_in_doubt_or_lost_is_found_by_its_trade(pieces: Pieces, state: str) -> None:
    order = await pieces.filled()
    await forget_fills(pieces, order.id)
    await pieces.rows("UPDATE orders SET state = $1, venue_order_id = NULL, reserved = 0, next_check_at = now() + interval '1 hour'", state)
    await read(pieces)
    found = await pieces.order(order.id)
    assert (found.state, found.fills_quantity) == (OrderState.FILLED, order.quantity)
    assert await held(pieces) == Decimal("0.00999")
    assert await pieces.rows("SELECT 1 FROM external_trades") == []


async def test_lost_order_is_found_by_its_trade_also_where_the_venue_lists_no_finished_orders(pieces: Pieces) -> None:
    order = await pieces.filled()
    await forget_fills(pieces, order.id)
    await pieces.rows("UPDATE orders SET state = 'lost', venue_order_id = NULL, next_check_at = now() + interval '1 hour'")

    async def none(*_: Any, **__: Any) -> list[Any]:
        return []

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_recent_orders=none)
    await read(pieces, desk)
    assert (await pieces.order(order.id)).fills_quantity == order.quantity
    assert await pieces.rows("SELECT 1 FROM external_trades") == []


async def test_order_that_is_being_sent_now_is_left_to_its_sender(pieces: Pieces) -> None:
    order = await pieces.filled()
    await forget_fills(pieces, order.id)
    pieces.desk.in_flight.add(order.id)
    await read(pieces)
    assert (await pieces.order(order.id)).fills_quantity == 0
    assert await pieces.rows("SELECT 1 FROM external_trades") == []


async def test_days_orders_are_searched_for_ours_at_most_once_an_hour(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    await pieces.rows("UPDATE orders SET state = 'lost', venue_order_id = NULL, next_check_at = NULL WHERE id = $1", order.id)
    placed_elsewhere(pieces, client_order_id=ORPHAN_ID)
    await read(pieces)
    client = await pieces.connections.client(pieces.broker_id)
    for _ in range(3):
        await search_orders(pieces.desk, place(pieces), client)
    assert (await pieces.order(order.id)).state is OrderState.OPEN, "also one that nobody looks for any more"
    assert len(await pieces.rows("SELECT 1 FROM orders WHERE source = 'recovered'")) == 1
    pages = len(requests_of(pieces, "GET", "/api/v3/allOrders"))
    await pieces.rows("UPDATE trade_marks SET orders_known_until = orders_known_until - interval '61 minutes'")
    await search_orders(pieces.desk, place(pieces), client)
    assert (pages, len(requests_of(pieces, "GET", "/api/v3/allOrders"))) == (2, 4)


async def test_first_reading_goes_back_to_our_first_order(pieces: Pieces) -> None:
    order = await pieces.filled()
    asked: list[datetime | None] = []

    async def note(*_: Any, since: datetime | None = None, **__: Any) -> list[Any]:
        asked.append(since)
        return []

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_trades=note)
    await read(pieces, desk)
    assert asked == [order.created_at - timedelta(minutes=1)]
