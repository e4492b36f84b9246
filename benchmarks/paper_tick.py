"""How long the paper exchange takes for one price: many accounts with resting orders, on a real PostgreSQL.

    uv run python benchmarks/paper_tick.py [--accounts 1000] [--orders 10]

Prints milliseconds of the event loop's processor for a price that touches nothing, for one that moves every trailing stop, and for one
that fills an order of every account; then how long it takes until the last of those fills is committed. While nothing is filled, the
database is not asked.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.db import Database
from app.domain.enums import OrderType, Side
from app.exchanges.paper.account import PaperAccount
from app.exchanges.paper.accounts import PaperAccounts
from app.exchanges.paper.market import Offer, Tick
from app.exchanges.paper.prices import Prices, Venue
from app.exchanges.paper.store import PaperStore
from app.exchanges.port import OrderRequest
from app.marketdata.quotes import Quotes
from tests.exchanges.paper_parts import BTC, limit, open_paper_account, order
from tests.postgres import PostgresForTests

SYMBOL = "BTC/USDT"
HOLDS = {"USDT": Decimal(10_000_000), "BTC": Decimal(100)}
QUIET_TICKS, TRAILING_TICKS = 200, 100


def tick(price: Decimal) -> Tick:
    return Tick(price=price, offer=Offer(bid=price - BTC.tick_size, ask=price))


def orders_of_one_account(count: int) -> list[OrderRequest]:
    """Buys below, sells above, stops on both sides and a trailing stop: the market has to be compared with all of them."""
    made = [order(Side.SELL, type=OrderType.TRAILING_STOP, trailing_delta=Decimal("0.1"))]
    for number in range(1, count):
        away = 1000 + 100 * number
        kinds = (
            limit(60000 - away),
            limit(60000 + away, Side.SELL),
            order(Side.SELL, type=OrderType.STOP_MARKET, trigger_price=Decimal(60000 - away)),
            order(Side.BUY, type=OrderType.STOP_LIMIT, trigger_price=Decimal(60000 + away), price=Decimal(60100 + away)),
        )
        made.append(kinds[number % 4])
    return made


def timed(step: Callable[[], object]) -> float:
    """Processor time, so that a busy machine does not count."""
    started = time.thread_time()
    step()
    return (time.thread_time() - started) * 1000


class CountingDatabase(Database):
    """Counts how often it is asked for a connection."""

    asked = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """As the base class."""
        self.asked += 1
        async with super().connection() as connection:
            yield connection


async def measure(database: CountingDatabase, accounts_count: int, orders_count: int) -> None:
    quotes = Quotes("binance")
    quotes.put(SYMBOL, at=SystemClock().now(), bid=Decimal("59999.99"), ask=Decimal(60000), last=Decimal(60000))

    async def instruments() -> dict[str, object]:
        return {SYMBOL: BTC}

    venue = Venue(feed=quotes, public=instruments, instruments=instruments)  # type: ignore[arg-type]  # nobody asks the venue here
    prices, store = Prices(venue), PaperStore(database)
    await prices.instruments()
    accounts = PaperAccounts(store, prices, clock=SystemClock())
    accounts.begin()
    broker_ids = [await open_paper_account(database, HOLDS) for _ in range(accounts_count)]
    for broker_id in broker_ids:
        await place_all(accounts, broker_id, orders_of_one_account(orders_count))
    prices.take_ticks()
    print(f"{accounts_count} accounts with {orders_count} open orders each, one symbol")

    due: list[UUID] = []

    def trade(price: int) -> float:
        return timed(lambda: due.extend(accounts.trade({SYMBOL: [tick(Decimal(price))]})))

    database.asked = 0
    show("a price that touches nothing", [trade(59990 + number % 9) for number in range(QUIET_TICKS)])
    show("a price that moves every trailing stop", [trade(60001 + number) for number in range(TRAILING_TICKS)])
    print(f"{'times the database was asked until here':<44} {database.asked:>8}")
    show("a price that fills an order of each", [trade(61201)])
    started = time.perf_counter()
    few = asyncio.Semaphore(8)

    async def settle(broker_id: UUID) -> None:
        async with few:
            await accounts.settle(broker_id)

    await asyncio.gather(*(settle(broker_id) for broker_id in due))
    print(f"{f'until {len(due)} accounts are committed':<44} {(time.perf_counter() - started) * 1000:>8.0f} ms")


async def place_all(accounts: PaperAccounts, broker_id: UUID, requests: list[OrderRequest]) -> None:
    def place(account: PaperAccount) -> None:
        account.place(waiting.pop(0), BTC, tick(Decimal(60000)), at=SystemClock().now())

    waiting = list(requests)
    while waiting:
        await accounts.act(broker_id, place)


def show(what: str, milliseconds: list[float]) -> None:
    worst = max(milliseconds)
    print(f"{what:<44} {statistics.median(milliseconds):>8.2f} ms   at worst {worst:.2f} ms")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--orders", type=int, default=10)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    server = PostgresForTests()
    await server.start()
    try:
        urls = await server.create_database()
        database = CountingDatabase(urls.app)
        await database.open()
        await measure(database, given.accounts, given.orders)
        await database.close()
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
