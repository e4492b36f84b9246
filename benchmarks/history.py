"""Pages of the history among 100,000 orders: each list with each filter, by the statements that the pages and the API run.

    uv run python benchmarks/history.py [--quick]

The tables are those of `benchmarks/seeded.py`, in a private PostgreSQL as the demo has it, read by the role that a page reads with, behind
row-level security. Each question is asked fifteen times; the table has the median and the slowest in milliseconds, of a page of 50
rows. "all" has no bounds in time; "30 d" is what a page asks for at first; "late page" begins in the middle of the two years. --quick
takes 20,000 orders.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import FOR_THE_PLATFORM, Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.ids import new_id
from app.core.migrate import upgrade
from app.core.tenancy import working_for
from app.trading import history
from app.trading.history_filter import HistoryFilter, place_of
from app.webhooks.attempts import page_of_attempts
from benchmarks.seeded import SPAN, seed, settle

ORDERS: Final = 100_000
_TIMES: Final = 15
_PAGES: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "orders": history.page_of_orders,
    "attempts": page_of_attempts,
    "fills": history.page_of_fills,
    "trades": history.page_of_trades,
}


def questions(now: datetime, broker_id: UUID) -> dict[str, HistoryFilter]:
    """Return what people ask, by a name for it; a list pays no heed to what it does not know."""
    return {
        "all": HistoryFilter(),
        "30 d": HistoryFilter(since=now - timedelta(days=30)),
        "a month long ago": HistoryFilter(since=now - timedelta(days=700), until=now - timedelta(days=670)),
        "account": HistoryFilter(broker_id=broker_id),
        "no such account": HistoryFilter(broker_id=new_id()),
        "symbol": HistoryFilter(symbol="ETH/BTC"),
        "symbol that was never traded": HistoryFilter(symbol="PEPE/USDT"),
        "side": HistoryFilter(side="sell"),
        "type": HistoryFilter(type="stop_limit"),
        "type that was never used": HistoryFilter(type="trailing_stop"),
        "state": HistoryFilter(state="rejected"),
        "state that none has": HistoryFilter(state="unknown"),
        "source": HistoryFilter(source="bot"),
        "text": HistoryFilter(text="below the exchange"),
        "text that nowhere stands": HistoryFilter(text="zzz"),
        "tag": HistoryFilter(tag="retest"),
    }


async def prepare(urls: DatabaseUrls, orders: int) -> tuple[UUID, UUID]:
    """Make a user with a history, and return the ids of user and account."""
    database = Database(urls.app)
    await database.open()
    user_id, broker_id = new_id(), new_id()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO users (id, username) VALUES ($1, 'ada')", user_id)
        await connection.execute(
            "INSERT INTO brokers (id, user_id, name, exchange, is_default) VALUES ($1, $2, 'Main', 'paper', true)", broker_id, user_id
        )
    await seed(database, user_id, broker_id, orders=orders)
    await database.close()
    owner = await asyncpg.connect(urls.owner, server_settings=FOR_THE_PLATFORM)
    await settle(owner)
    await owner.close()
    return user_id, broker_id


async def timed(ask: Callable[[], Awaitable[Any]]) -> list[float]:
    """Return milliseconds: the median and the slowest, the first time left out."""
    found = []
    await ask()
    for _ in range(_TIMES):
        begun = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - begun) * 1000)
    return [round(statistics.median(found), 1), round(max(found), 1)]


async def measure(orders: int) -> dict[str, dict[str, list[float]]]:
    """Return milliseconds by list and question."""
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="aristobot-history-") as folder:
        server = EmbeddedPostgres(Path(folder))
        urls = await server.start()
        await upgrade(urls.owner, app_role=urls.app_role)
        user_id, broker_id = await prepare(urls, orders)
        database = Database(urls.app, is_for_tenants=True)
        await database.open()
        now = SystemClock().now()
        with working_for(user_id):
            asked = questions(now, broker_id)
            for name, page in _PAGES.items():
                results[name] = {what: await timed(partial(page, database, user_id, which)) for what, which in asked.items()}
                tail = ("1", "A/B", str(broker_id)) if name == "fills" else ()
                late = place_of(now - SPAN / 2, *tail, new_id())
                results[name]["late page"] = await timed(partial(page, database, user_id, cursor=late))
            results["sums"] = {
                what: await timed(partial(history.sums_of_trades, database, user_id, which)) for what, which in asked.items()
            }
        await database.close()
        await server.stop()
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 orders instead of 100,000")
    found = asyncio.run(measure(20_000 if parser.parse_args().quick else ORDERS))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
