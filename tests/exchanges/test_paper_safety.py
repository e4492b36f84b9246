"""The paper exchange when processes die, when two of them act at once, and when one goes on where another stopped."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, OrderType, Side
from app.errors import InsufficientFunds, NotSent
from app.exchanges.paper.client import PaperClient
from app.exchanges.port import Ticker
from tests.exchanges.paper_parts import PaperParts, check_books, limit, open_paper_account, order, unguarded
from tests.journeys.eventually import eventually_async

pytestmark = pytest.mark.asyncio
START = {"USDT": Decimal(100_000), "BTC": Decimal(2)}


@pytest_asyncio.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(database_urls.app)
    await database.open()
    yield database
    await database.close()


@pytest_asyncio.fixture
async def running(database: Database) -> AsyncIterator[Any]:
    """Starts exchanges whose loop lets the market trade; `stop` ends one of them as a shutdown does."""
    async with AsyncExitStack() as stack:

        async def start() -> tuple[PaperParts, AsyncExitStack]:
            inner = await stack.enter_async_context(AsyncExitStack())
            supervisor = await inner.enter_async_context(Supervisor(on_fatal=lambda: None))
            parts = PaperParts(database)
            supervisor.start("paper.market", parts.exchange.run)
            return parts, inner

        yield start


async def settled(client: PaperClient, asked: Any, *states: OrderState) -> Any:
    async def ask() -> Any:
        found = await client.fetch_order("BTC/USDT", client_order_id=asked.client_order_id, venue_order_id=None)
        return found if found is not None and found.state in states else None

    return await eventually_async(ask, f"{asked.type} is {states}", within_s=5)


async def test_a_process_killed_at_any_moment_leaves_whole_books(database: Database, database_urls: DatabaseUrls) -> None:
    broker_id = await open_paper_account(database, START)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.exchanges.paper_process", database_urls.app, str(broker_id),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    dice = random.Random(7)
    try:
        for _ in range(12):
            process.stdin.write(f"{dice.randint(0, 150)}\n".encode())
            ended_by = int(await process.stdout.readline())
            assert ended_by == signal.SIGKILL
            await check_books(database, broker_id, START)
    finally:
        process.stdin.close()
        await process.wait()
    async with database.connection() as connection:
        made = await connection.fetchrow("SELECT last_order_id, last_trade_id FROM paper_accounts WHERE broker_id = $1", broker_id)
    assert made["last_order_id"] > 50
    assert made["last_trade_id"] > 20


async def test_two_processes_that_both_let_the_market_trade_fill_an_order_once(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    (one, _), (other, _) = await running(), await running()
    for parts in (one, other):
        parts.say(60000)
    asked = [limit(price, quantity="0.1") for price in range(59000, 60000, 100)]

    for request in asked:
        await one.exchange.client(broker_id).place_order(request, guard=unguarded)
    await eventually_async(lambda: knows(other, broker_id, len(asked)), "the other process knows the orders")

    for price in range(59900, 58800, -100):
        one.say(price)
        other.say(price)

    for request in asked:
        await settled(one.exchange.client(broker_id), request, OrderState.FILLED)
    await check_books(database, broker_id, START)
    trades = await one.exchange.client(broker_id).fetch_trades("BTC/USDT")
    assert [trade.fill.quantity for trade in trades] == [Decimal("0.1")] * 10


async def knows(parts: PaperParts, broker_id: UUID, orders: int) -> bool:
    """Whether the process's own copy of the account has that many open orders."""
    return parts.exchange.holds(broker_id) == orders


async def test_two_requests_at_once_never_spend_the_same_money(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, {"USDT": Decimal(1000)})
    (one, _), (other, _) = await running(), await running()
    clients = []
    for parts in (one, other):
        parts.say(60000)
        clients.append(parts.exchange.client(broker_id))

    async def place(index: int) -> bool:
        try:
            await clients[index % 2].place_order(limit(50000, quantity="0.004"), guard=unguarded)
        except InsufficientFunds:
            return False
        return True

    taken = await asyncio.gather(*(place(index) for index in range(12)))

    # 200 each: five of them are all there is.
    assert sum(taken) == 5
    await check_books(database, broker_id, {"USDT": Decimal(1000)})


async def test_open_orders_and_trailing_stops_go_on_after_a_restart(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    parts, stop = await running()
    client = parts.exchange.client(broker_id)
    parts.say(60000)
    trailing = order(Side.SELL, type=OrderType.TRAILING_STOP, trailing_delta=Decimal("0.02"))
    resting, stop_loss = limit(58000), order(Side.SELL, type=OrderType.STOP_MARKET, trigger_price=Decimal(57000))
    for request in (trailing, resting, stop_loss):
        await client.place_order(request, guard=unguarded)
    parts.say(62000)
    await eventually_async(lambda: watermark(database, 62000), "the watermark is kept")
    await stop.aclose()

    again, _ = await running()
    client = again.exchange.client(broker_id)
    again.say(61000)
    assert (await client.fetch_order("BTC/USDT", client_order_id=trailing.client_order_id, venue_order_id=None)).state is OrderState.OPEN
    # Two percent below 62000, which only the process before has seen.
    again.say(60700)

    report = await settled(client, trailing, OrderState.FILLED)
    assert report.average_price == Decimal("60699.99")
    assert {found.client_order_id for found in await client.fetch_open_orders()} == {resting.client_order_id, stop_loss.client_order_id}
    await check_books(database, broker_id, START)


async def watermark(database: Database, price: int) -> bool:
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT 1 FROM paper_orders WHERE watermark = $1", Decimal(price)))


async def test_prices_nobody_heard_are_not_invented_and_the_first_new_one_decides(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    parts, stop = await running()
    client = parts.exchange.client(broker_id)
    parts.say(60000)
    jumped, missed, passed = (
        order(Side.SELL, type=OrderType.STOP_MARKET, trigger_price=Decimal(59000)),
        limit(62500, Side.SELL),
        limit(59500),
    )
    for request in (jumped, missed, passed):
        await client.place_order(request, guard=unguarded)
    await stop.aclose()

    # While nobody listened the market was at 63000; now it is at 58000.
    again, _ = await running()
    client = again.exchange.client(broker_id)
    again.say(58000)

    assert (await settled(client, jumped, OrderState.FILLED)).average_price == Decimal("57999.99")
    assert (await settled(client, passed, OrderState.FILLED)).average_price == 59500
    assert (await settled(client, missed, OrderState.OPEN)).filled_quantity == 0


async def test_a_fill_that_was_not_written_before_the_death_is_made_up_for(database: Database, running: Any) -> None:
    """The market's place may have been kept already when the process dies before the fill is: the present price is matched again."""
    broker_id = await open_paper_account(database, START)
    parts, stop = await running()
    parts.say(60000)
    resting = limit(59500)
    await parts.exchange.client(broker_id).place_order(resting, guard=unguarded)
    await stop.aclose()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO paper_markets VALUES ('binance', 'BTC/USDT', 59000, now()) ON CONFLICT DO NOTHING")
        await connection.execute("UPDATE paper_markets SET price = 59000")

    again, _ = await running()
    await eventually_async(lambda: knows(again, broker_id, 1), "the new process knows the order")
    again.say(59000)

    await settled(again.exchange.client(broker_id), resting, OrderState.FILLED)


async def test_an_order_placed_where_nothing_is_matched_is_noticed_by_the_process_that_matches(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    web = PaperParts(database)
    engine, _ = await running()
    for parts in (web, engine):
        parts.say(60000)
    resting = limit(59500)
    await web.exchange.client(broker_id).place_order(resting, guard=unguarded)

    await eventually_async(lambda: knows(engine, broker_id, 1), "the engine knows the order")
    engine.say(59000)

    await settled(web.exchange.client(broker_id), resting, OrderState.FILLED)


async def test_a_symbol_that_the_feed_does_not_watch_is_asked_for(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    parts, _ = await running()
    client = parts.exchange.client(broker_id)
    with pytest.raises(NotSent, match="no price"):
        await client.place_order(order(), guard=unguarded)

    parts.ticker = ticker(60000)
    assert (await client.place_order(order(), guard=unguarded)).average_price == 60000
    resting = limit(59500)
    await client.place_order(resting, guard=unguarded)
    parts.ticker = ticker(59000)

    assert (await settled(client, resting, OrderState.FILLED)).average_price == 59500


def ticker(price: int) -> Ticker:
    return Ticker(symbol="BTC/USDT", last=Decimal(price), bid=Decimal(price - 1), ask=Decimal(price), at=SystemClock().now())


async def test_an_account_that_begins_anew_holds_its_start_and_keeps_its_history(database: Database, running: Any) -> None:
    broker_id = await open_paper_account(database, START)
    parts, _ = await running()
    client = parts.exchange.client(broker_id)
    parts.say(60000)
    await client.place_order(order(), guard=unguarded)
    resting = limit(50000)
    await client.place_order(resting, guard=unguarded)

    await parts.exchange.reset(broker_id)

    assert {asset: (held.free, held.locked) for asset, held in (await client.fetch_balances()).items()} == {"USDT": (START["USDT"], 0)}
    assert (await settled(client, resting, OrderState.CANCELED)).filled_quantity == 0
    assert len(await client.fetch_trades("BTC/USDT")) == 1
    await client.place_order(order(), guard=unguarded)
    assert [trade.fill.trade_id for trade in await client.fetch_trades("BTC/USDT")] == ["1", "2"]
    await check_books(database, broker_id, {"USDT": START["USDT"]})


async def test_one_accounts_trouble_keeps_nobody_elses_orders_from_filling(database: Database, running: Any) -> None:
    troubled, well = [await open_paper_account(database, START) for _ in range(2)]
    parts, _ = await running()
    parts.say(60000)
    asked = []
    for broker_id in (troubled, well):
        asked.append(limit(59500))
        await parts.exchange.client(broker_id).place_order(asked[-1], guard=unguarded)
    async with database.connection() as connection:
        # Nothing that it gets can be booked any more.
        await connection.execute(
            "INSERT INTO paper_fills (broker_id, user_id, trade_id, order_id, symbol, side, price, quantity, notional, fee, fee_asset,"
            " liquidity, executed_at) SELECT broker_id, user_id, 1, 1, 'X/Y', 'buy', 1, 1, 1, 0, 'X', 'taker', now() FROM paper_accounts"
            " WHERE broker_id = $1",
            troubled,
        )

    parts.say(59000)

    await settled(parts.exchange.client(well), asked[1], OrderState.FILLED)
    assert (await settled(parts.exchange.client(troubled), asked[0], OrderState.OPEN)).filled_quantity == 0
