"""How PostgreSQL reads the history's lists: through their indices, and no more rows than a page needs."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from app.core.database_url import DatabaseUrls
from app.core.db import FOR_THE_PLATFORM
from app.core.ids import new_id
from app.trading import history
from app.trading.history_filter import HistoryFilter
from app.webhooks import attempts
from benchmarks.seeded import seed, settle
from tests.app.conftest import make_user
from tests.app.test_trade_history import NEWEST, Seeded, account_of
from tests.app.test_trade_history import seeded as seeded  # the same history

pytestmark = pytest.mark.asyncio

STATEMENTS = {
    "orders": history.orders_statement,
    "attempts": attempts.attempts_statement,
    "fills": history.fills_statement,
    "trades": history.trades_statement,
}
QUESTIONS = [
    HistoryFilter(),
    HistoryFilter(since=NEWEST - timedelta(days=30)),
    HistoryFilter(since=NEWEST - timedelta(days=500), until=NEWEST - timedelta(days=400)),
    HistoryFilter(symbol="BTC/USDT"),
    HistoryFilter(side="sell"),
    HistoryFilter(type="limit"),
    HistoryFilter(source="bot"),
    HistoryFilter(state="rejected"),
    HistoryFilter(text="minimum"),
    HistoryFilter(tag="retest"),
    HistoryFilter(broker_id=new_id()),
]


def scans(plan: Any) -> list[Any]:
    below = [found for child in plan.get("Plans", ()) for found in scans(child)]
    return [plan, *below] if "Relation Name" in plan else below


@pytest.mark.parametrize("what", STATEMENTS)
async def test_every_list_with_every_filter_is_read_through_an_index(seeded: Seeded, shared_urls: DatabaseUrls, what: str) -> None:
    other = await make_user(seeded.database, "somebody")
    await seed(seeded.database, other, await account_of(seeded.database, other), orders=4000, until=NEWEST)
    owner = await asyncpg.connect(shared_urls.owner, server_settings=FOR_THE_PLATFORM)
    try:
        await settle(owner)
    finally:
        await owner.close()
    async with seeded.database.raw_transaction() as connection:
        # Tables of this size are read as a whole sooner than through an index; with a penalty on it only where there is no other way.
        await connection.execute("SET LOCAL enable_seqscan = off")
        for asked in QUESTIONS:
            if what == "trades" and asked.side:
                asked = replace(asked, side="long")  # as that list calls it
            statement, values = STATEMENTS[what](seeded.user_id, asked, limit=50, cursor=None)
            (row,) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
            found = scans(json.loads(row["QUERY PLAN"])[0]["Plan"])
            read = {"orders", "fills", "positions", "webhook_deliveries"}
            assert not [node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan" and node["Relation Name"] in read], asked
            if asked == HistoryFilter():
                touched = sum(node["Actual Rows"] * node["Actual Loops"] for node in found)
                assert touched < 51 * 30, f"{touched} rows for a page of 50"
