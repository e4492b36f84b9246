"""After an outage what happened at the venue is counted as it happened there, whatever the order in which we hear of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderState, Side
from app.errors import ExchangeUnavailable
from app.trading import compare
from app.trading.catching_up import PATIENCE_S
from app.trading.desk import Desk
from app.trading.fill_feed import Place, read_trades
from app.trading.reconcile import Reconciler
from app.trading.records import OrderRecord
from tests.app.conftest import SYMBOL, Pieces
from tests.app.scripted_client import scripted
from tests.app.test_guardian import STOP, bought, held, live, protection, rest, say

pytestmark = pytest.mark.asyncio


def trade(pieces: Pieces, price: str) -> None:
    """The venue trades at that price; nobody hears of it."""
    pieces.emulator.control("POST", "/_price", {"symbol": "BTCUSDT", "price": price, "quantity": "1"})
    say(pieces, price)


async def guarded(pieces: Pieces) -> OrderRecord:
    """A position of 0.01998 with its stop at 59500 at the venue; returns the stop."""
    say(pieces, "60000")
    await bought(pieces, STOP, "0.02")
    await rest(pieces)
    (stop,) = await live(pieces)
    return stop


async def resting_buys(pieces: Pieces, *prices: str) -> list[OrderRecord]:
    return [(await pieces.submit(pieces.limit(price, quantity="0.005"))).order for price in prices]


async def delayed(desk: Desk, broker_id: Any, delays_s: dict[str, float], **answers: Any) -> Desk:
    """The desk on which the answers about these orders (by client order id) take so long."""
    real = (await desk.connections.client(broker_id)).fetch_order

    async def late(symbol: str, *, client_order_id: str, **known: Any) -> Any:
        report = await real(symbol, client_order_id=client_order_id, **known)
        await asyncio.sleep(delays_s.get(client_order_id, 0.0))
        return report

    return (await scripted(desk, broker_id, fetch_order=late, **answers))[0]


@asynccontextmanager
async def running(reconciler: Reconciler) -> AsyncIterator[None]:
    task = asyncio.create_task(reconciler.run(lambda: None))  # noqa: TID251  # ends with the block
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(pieces: Pieces, question: str, *, within_s: float = 10.0) -> None:
    for _ in range(int(within_s / 0.05)):
        if (await pieces.rows(question))[0][0]:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"not within {within_s} s: {question}")


async def is_still_guarded(pieces: Pieces, first: Any) -> bool:
    now = await protection(pieces)
    positions = await pieces.rows("SELECT id FROM positions")
    return bool(now["id"] == first["id"] and now["status"] == "active" and len(positions) == 1)


async def test_a_buy_after_the_stop_is_a_position_of_its_own_and_not_sold_by_the_old_stop(moving: Pieces) -> None:
    await guarded(moving)
    await resting_buys(moving, "59300")
    trade(moving, "59400")  # the stop
    trade(moving, "59290")  # the buy
    await Reconciler(moving.desk).once()
    await rest(moving)
    assert await held(moving) == Decimal("0.004995")
    assert (await protection(moving))["status"] == "done", "it ended with the position that it guarded"
    assert await live(moving) == []
    assert [row["status"] for row in await moving.rows("SELECT status FROM positions ORDER BY opened_at")] == ["closed", "open"]


async def test_a_buy_in_doubt_that_filled_before_the_stop_is_counted_before_it(moving: Pieces) -> None:
    await guarded(moving)
    first = await protection(moving)
    (buy,) = await resting_buys(moving, "59800")
    await moving.rows("UPDATE orders SET state = 'unknown', venue_order_id = NULL WHERE id = $1", buy.id)
    trade(moving, "59790")
    trade(moving, "59400")
    desk = await delayed(moving.desk, moving.broker_id, {buy.client_order_id: 0.5})
    await Reconciler(desk).once()
    assert await is_still_guarded(moving, first)
    assert await held(moving) == Decimal("0.004995")


async def test_a_buy_that_has_been_in_doubt_for_long_is_asked_about_when_its_account_is_compared(moving: Pieces) -> None:
    await guarded(moving)
    first = await protection(moving)
    (buy,) = await resting_buys(moving, "59800")
    await moving.rows("UPDATE orders SET state = 'unknown', venue_order_id = NULL WHERE id = $1", buy.id)
    real = (await moving.desk.connections.client(moving.broker_id)).fetch_order
    silent = {buy.client_order_id}

    async def fetch(symbol: str, *, client_order_id: str, **known: Any) -> Any:
        if client_order_id in silent:
            raise ExchangeUnavailable("no answer")
        return await real(symbol, client_order_id=client_order_id, **known)

    desk, _ = await scripted(moving.desk, moving.broker_id, fetch_order=fetch)
    reconciler = Reconciler(desk)
    for _ in range(4):
        await reconciler.once()
        await asyncio.sleep(0.3)
    silent.clear()
    trade(moving, "59790")
    trade(moving, "59400")
    await reconciler.once()
    assert await is_still_guarded(moving, first), "it is not asked about for a second yet, but the stop is known to have sold"
    assert await held(moving) == Decimal("0.004995")


async def test_a_stop_in_doubt_waits_for_what_a_look_at_its_suspected_account_finds(moving: Pieces) -> None:
    stop = await guarded(moving)
    first = await protection(moving)
    await resting_buys(moving, "59800")
    real = (await moving.desk.connections.client(moving.broker_id)).fetch_open_orders

    async def listed(*arguments: Any) -> Any:
        await asyncio.sleep(0.3)
        return await real(*arguments)

    desk, _ = await scripted(moving.desk, moving.broker_id, fetch_open_orders=listed)
    reconciler = Reconciler(desk, interval_s=1_000.0)
    await reconciler.check_accounts()
    async with running(reconciler):
        await asyncio.sleep(0.6)  # the first round
        trade(moving, "59790")
        trade(moving, "59400")
        await moving.rows("UPDATE orders SET cancel_requested_at = now() WHERE id = $1", stop.id)
        desk.suspect(moving.broker_id)
        await until(moving, "SELECT count(*) = 3 FROM fills")
    assert await is_still_guarded(moving, first)
    assert await held(moving) == Decimal("0.004995")


async def test_a_stop_in_doubt_is_counted_after_a_resting_buy_that_filled_before_it(moving: Pieces) -> None:
    stop = await guarded(moving)
    first = await protection(moving)
    await resting_buys(moving, "59800")
    await moving.rows("UPDATE orders SET cancel_requested_at = now() WHERE id = $1", stop.id)
    trade(moving, "59790")
    trade(moving, "59400")
    await Reconciler(moving.desk).once()
    assert await is_still_guarded(moving, first)
    assert await held(moving) == Decimal("0.004995")


async def test_more_orders_than_one_round_asks_about_do_not_leave_the_buys_for_later(moving: Pieces) -> None:
    await guarded(moving)
    first = await protection(moving)
    resting = [moving.limit("50000", quantity="0.001") for _ in range(compare.MOST_ASKED)]
    others = [(await moving.submit(intent)).order for intent in resting]
    await resting_buys(moving, "59800", "59800")
    client = await moving.desk.connections.client(moving.broker_id)
    for other in others:
        await client.cancel_order(SYMBOL, client_order_id=other.client_order_id, venue_order_id=other.venue_order_id, type=other.venue_type)
    trade(moving, "59790")
    trade(moving, "59400")
    reconciler = Reconciler(moving.desk, interval_s=0.0)
    for _ in range(3):
        await reconciler.once()
        await rest(moving)  # the guardian looks between the rounds
    assert (await protection(moving))["id"] == first["id"]
    assert len(await moving.rows("SELECT 1 FROM positions")) == 1


async def test_orders_of_one_symbol_are_asked_about_together_and_each_once(moving: Pieces) -> None:
    await guarded(moving)
    buys = await resting_buys(moving, *["59800"] * 4)
    trade(moving, "59790")
    trade(moving, "59400")
    desk = await delayed(moving.desk, moving.broker_id, {buy.client_order_id: 0.4 for buy in buys})
    _, client = await scripted(desk, moving.broker_id, fetch_order=(await desk.connections.client(moving.broker_id)).fetch_order)
    began = asyncio.get_running_loop().time()
    await Reconciler(desk).once()
    assert asyncio.get_running_loop().time() - began < 1.5, "one after the other they take 1.6 s and more"
    assert client.asked.count("fetch_order") == 5


async def test_an_order_that_cannot_be_asked_about_keeps_no_other_waiting(moving: Pieces) -> None:
    stop = await guarded(moving)
    first = await protection(moving)
    broken, slow, good = await resting_buys(moving, "59800", "59800", "59800")
    trade(moving, "59790")
    trade(moving, "59400")
    real = (await moving.desk.connections.client(moving.broker_id)).fetch_order
    late = asyncio.Event()

    async def fetch(symbol: str, *, client_order_id: str, **known: Any) -> Any:
        if client_order_id == broken.client_order_id:
            raise ExchangeUnavailable("not this one")
        if client_order_id == slow.client_order_id:
            await late.wait()
        return await real(symbol, client_order_id=client_order_id, **known)

    desk, _ = await scripted(moving.desk, moving.broker_id, fetch_order=fetch)
    async with asyncio.TaskGroup() as group:
        round_ = group.create_task(Reconciler(desk).once())
        await asyncio.sleep(PATIENCE_S + 1)
        assert (await moving.order(good.id)).state is OrderState.FILLED
        assert (await moving.order(stop.id)).state is OrderState.FILLED
        assert not round_.done()
        late.set()
    assert (await moving.order(slow.id)).state is OrderState.FILLED
    assert (await moving.order(broken.id)).state is OrderState.OPEN
    assert first["id"] == (await protection(moving))["id"]


async def test_the_fill_feed_counts_trades_of_several_orders_as_they_happened(moving: Pieces) -> None:
    """A sale in two parts with a buy between them: the whole sale first would close the position."""
    sale = (await moving.submit(moving.limit("60100", Side.SELL, "0.01"))).order
    await moving.rows("UPDATE orders SET state = 'canceled' WHERE id = $1", sale.id)
    (buy,) = await resting_buys(moving, "50000")
    first = await bought(moving, STOP, "0.01")
    real = await moving.desk.connections.client(moving.broker_id)
    model = (await real.fetch_trades(SYMBOL, after_trade_id=None, since=first.created_at))[0]

    def at(order: OrderRecord, number: int, quantity: str) -> Any:
        assert order.venue_order_id is not None
        fill = replace(model.fill, trade_id=str(900_000 + number), quantity=Decimal(quantity), fee=Decimal(0))
        return replace(model, venue_order_id=order.venue_order_id, fill=fill)

    told = [at(sale, 1, "0.005"), at(buy, 2, "0.005"), at(sale, 3, "0.005")]
    pages: list[Sequence[Any]] = [told, []]

    async def fetch_trades(*_: Any, **__: Any) -> Sequence[Any]:
        return pages.pop(0)

    desk, client = await scripted(moving.desk, moving.broker_id, fetch_trades=fetch_trades)
    await read_trades(desk, Place(broker_id=moving.broker_id, user_id=moving.user_id, symbol=SYMBOL), client)
    order_ids = [
        row["order_id"]
        for row in await moving.rows(
            "SELECT order_id FROM order_events WHERE detail ? 'trade_ids' AND detail->'trade_ids' <> '[]' ORDER BY id"
        )
    ]
    assert order_ids[-3:] == [sale.id, buy.id, sale.id]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_order_of_the_answers_the_end_is_as_if_all_had_been_heard_live(moving: Pieces, seed: int) -> None:
    chance = random.Random(seed)
    await guarded(moving)
    below, above = ["59300", "59200"], ["59900", "59800", "59700"]
    prices = [chance.choice(below if seed % 3 == 0 else above + below) for _ in range(4)]
    buys = await resting_buys(moving, *prices)
    orders = [*buys, *await live(moving)]
    expected = len(prices) * Decimal("0.004995")
    is_open_at_stop = any(Decimal(price) > 59500 for price in prices)
    for price in ("59890", "59790", "59690", "59400", "59290", "59190"):
        trade(moving, price)
    if chance.random() < 0.5:
        await moving.rows("UPDATE orders SET state = 'unknown' WHERE id = $1", chance.choice(buys).id)
    desk = await delayed(moving.desk, moving.broker_id, {order.client_order_id: chance.random() * 0.4 for order in orders})
    await Reconciler(desk).once()
    states = [(row["status"], row["quantity"]) for row in await moving.rows("SELECT status, quantity FROM positions ORDER BY opened_at")]
    assert sum(quantity for status, quantity in states if status != "closed") == expected
    assert len(states) == (1 if is_open_at_stop else 2), (prices, states)
    await guard_once(moving)
    assert ((await protection(moving))["status"] == "active") == is_open_at_stop, prices


async def guard_once(pieces: Pieces) -> None:
    say(pieces, "60000")
    await rest(pieces)
