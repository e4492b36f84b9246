"""The whole of the page of statistics among 100,000 closed trades, beside the bare limit.

    uv run python benchmarks/statistics_page.py [--quick]

A user has 100,000 round trips in two years, made of twice as many filled orders (`benchmarks/seeded.py`): in eight symbols and three quote
currencies, by hand, by 4 webhooks and by 20 bots, with four ways out; 17,000 readings of an account's worth, and a bitcoin's rate of each
hour. They are read by the role that a page reads with, behind row-level security, in a private PostgreSQL as the demo has it.

`summary_ms` is everything that the page shows of all of it, from the question to finished figures: trips, curve, costs, every grouping.
The bare limit is one aggregate over the same trips (`count`, two sums) by the same role. `blocked_ms` is the longest time for which the
event loop could do nothing else meanwhile. Medians of 15 times, the first left out. --quick takes 10,000 trades.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import FOR_THE_PLATFORM, Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.ids import new_id
from app.core.migrate import upgrade
from app.core.tenancy import working_for
from app.shadow.lines import read_lines
from app.statistics.summary import StatisticsReader
from app.statistics.wish import StatisticsFilter
from benchmarks.history import prepare
from benchmarks.seeded import SPAN, settle

TRADES: Final = 100_000
_TIMES: Final = 15
#: Nine orders of ten are filled, and two make a trip.
_ORDERS_A_TRADE: Final = 20 / 9
_BARE: Final = "SELECT count(*), sum(realized_pnl), sum(fees) FROM positions WHERE user_id = $1 AND status = 'closed'"
_STRATEGIES: Final = "INSERT INTO strategies (id, user_id, name, created_at, changed_at) VALUES ($1, $2, $3, now(), now())"
_VERSIONS: Final = """
INSERT INTO strategy_versions (id, user_id, strategy_id, number, source, sha256, created_at)
VALUES ($1, $2, $1, 1, 'a = 1', encode(sha256('a = 1'), 'hex'), now())
"""
_BOTS: Final = """
INSERT INTO bots (id, user_id, number, name, strategy_id, version_id, parameters, broker_id, exchange, symbol, timeframe, mode, state,
                  capital, created_at)
SELECT md5('bot' || i)::uuid, $1, i, 'Bot ' || i, ($3::uuid[])[1 + i % 3], ($3::uuid[])[1 + i % 3], '{}', $2, 'binance', 'BTC/USDT', '1m',
       'live', 'ready', 1000, now() FROM generate_series(1, 20) i
"""
_SIGNALS: Final = """
INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state, price, order_ids)
SELECT gen_random_uuid(), md5('bot' || 1 + row_number() OVER (ORDER BY created_at) % 20)::uuid, $1, created_at, created_at, '{}', 'long',
       'done', average_price * 0.9997, ARRAY[id] FROM orders WHERE user_id = $1 AND source = 'bot' AND filled_quantity > 0
"""
_HOOKS: Final = """
INSERT INTO webhooks (id, user_id, name, secret_hash, created_at)
SELECT md5('hook' || i)::uuid, $1, 'Hook ' || i, decode(md5('hook' || i), 'hex'), now() FROM generate_series(0, 3) i
"""
_OF_HOOKS: Final = "UPDATE webhook_deliveries SET webhook_id = md5('hook' || abs(hashtext(id::text)) % 4)::uuid WHERE user_id = $1"
_OF_BOTS: Final = """
UPDATE positions SET bot_id = CASE WHEN source = 'bot' THEN md5('bot' || 1 + abs(hashtext(id::text)) % 20)::uuid END,
       exit_role = (ARRAY['exit', 'stop', 'target', 'flatten'])[1 + abs(hashtext(id::text || 'x')) % 4] WHERE user_id = $1
"""
_WORTH: Final = """
INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt)
SELECT $1, $2, at, 10000 + 500 * sin(extract(epoch FROM at) / 700000) FROM generate_series($3::timestamptz, $4, interval '1 hour') at
"""
_RATES: Final = """
INSERT INTO candles (exchange, symbol, timeframe, open_time, open, high, low, close, volume, source)
SELECT 'binance', 'BTC/USDT', '1h', at, 60000, 60000, 60000, 60000 + extract(hour FROM at), 1, 'rest'
  FROM generate_series(date_trunc('hour', $1::timestamptz), $2, interval '1 hour') at
"""
_TABLES: Final = ("positions", "webhook_deliveries", "orders", "bot_signals", "equity_snapshots", "candles")


async def fill(urls: DatabaseUrls, trades: int) -> UUID:
    """Make a user with all that statistics are made of."""
    user_id, broker_id = await prepare(urls, round(trades * _ORDERS_A_TRADE))
    now = SystemClock().now()
    strategies = [new_id() for _ in range(3)]
    owner = await asyncpg.connect(urls.owner, server_settings=FOR_THE_PLATFORM)
    # A paper account's trades are no other than a real one's; the seeds make one.
    await owner.execute("UPDATE brokers SET exchange = 'binance' WHERE id = $1", broker_id)
    for number, strategy_id in enumerate(strategies):
        await owner.execute(_STRATEGIES, strategy_id, user_id, f"Strategy {number}")
        await owner.execute(_VERSIONS, strategy_id, user_id)
    await owner.execute(_BOTS, user_id, broker_id, strategies)
    for statement in (_SIGNALS, _HOOKS, _OF_HOOKS, _OF_BOTS):
        await owner.execute(statement, user_id)
    await owner.execute(_WORTH, broker_id, user_id, now - SPAN, now)
    for weeks in range(-4, 108, 4):
        await owner.execute("SELECT ensure_candle_partition($1)", now - SPAN + timedelta(weeks=weeks))
    await owner.execute(_RATES, now - SPAN - timedelta(hours=2), now)
    await owner.execute("VACUUM FULL positions")
    await settle(owner)
    for table in _TABLES:
        await owner.execute(f"VACUUM ANALYZE {table}")
    await owner.close()
    return user_id


async def timed(ask: Callable[[], Awaitable[Any]]) -> float:
    """Return milliseconds, the median."""
    found = []
    await ask()
    for _ in range(_TIMES):
        begun = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - begun) * 1000)
    return round(statistics.median(found), 1)


async def blocked(ask: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Return for how long the loop could do nothing else at most, in milliseconds."""
    longest = 0.0
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        while not asking.done():
            begun = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - begun)
    return round(longest * 1000, 1)


async def measure(trades: int) -> dict[str, float]:
    """Return the figures of the last line."""
    with tempfile.TemporaryDirectory(prefix="aristobot-statistics-") as folder:
        server = EmbeddedPostgres(Path(folder))
        urls = await server.start()
        await upgrade(urls.owner, app_role=urls.app_role)
        user_id = await fill(urls, trades)
        database = Database(urls.app, is_for_tenants=True)
        await database.open()
        reader = StatisticsReader(database=database, exchange="binance", shadows=read_lines)
        now, asked = SystemClock().now(), StatisticsFilter(zone=ZoneInfo("Europe/Paris"))

        async def whole() -> Any:
            return await reader.summary(user_id, asked, await reader.names(user_id), now=now)

        async def month() -> Any:
            which = StatisticsFilter(zone=asked.zone, since=now - timedelta(days=30))
            return await reader.summary(user_id, which, await reader.names(user_id), now=now)

        async def bare() -> Any:
            async with database.connection() as connection:
                return await connection.fetchrow(_BARE, user_id)

        with working_for(user_id):
            found = await whole()
            figures = {
                "summary_ms": await timed(whole),
                "bare_ms": await timed(bare),
                "month_ms": await timed(month),
                "blocked_ms": await blocked(whole),
                "trades": found.figures.outcomes.closed,
            }
        await database.close()
        await server.stop()
    return figures | {"ratio_to_bare": round(figures["summary_ms"] / figures["bare_ms"], 2)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 trades instead of 100,000")
    found = asyncio.run(measure(10_000 if parser.parse_args().quick else TRADES))
    for name, value in found.items():
        sys.stdout.write(f"{name:>14} {value:>10,}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
