"""From submit to acknowledged, and orders a second, beside bare ccxt calling the same emulated exchange.

    uv run python benchmarks/orders.py [--quick]

Both run in one process after the other in turn, on the same event loop, against one exchange process. Ours checks the order against the
account's limits and balance, commits intent and claim to PostgreSQL (fsync on) before the request leaves, and commits its answer, its
fills and the position after; ccxt sends the request. The limit is ccxt between two commits of one small row each: less than that, nothing
that writes, commits and then speaks can cost. The rate is that of 32 senders who never wait.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.domain.enums import OrderState, OrderType, Side, Source
from app.domain.intents import OrderIntent
from app.trading.submit import submit
from benchmarks.bare_endpoint import make_exchange
from benchmarks.engine import Engine, running_engine
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess

KEY, SECRET = "benchmark-key", "benchmark-secret"
#: ccxt's own account: the engine would have to find out whose every one of its orders is, which is no part of sending ours.
THEIR_KEY, THEIR_SECRET = "bare-key", "bare-secret"
SENDERS = 32
QUANTITY, LIMIT, MARKET = Decimal("0.001"), Decimal(50000), Decimal(60000)
_numbers = itertools.count()
Order = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one sender, and orders a second of many."""

    p50_ms: float
    p99_ms: float
    per_s: float


def ours(engine: Engine, kind: OrderType) -> Order:
    """Return one order of ours, acknowledged: a small market buy, or a limit far below."""

    async def order() -> None:
        number = next(_numbers)
        # The market's feed has a price at hand, as it has in the server.
        engine.quotes.put("BTC/USDT", at=engine.desk.clock.now(), bid=MARKET, ask=MARKET, last=MARKET)
        price = LIMIT if kind is OrderType.LIMIT else None
        intent = OrderIntent(
            symbol="BTC/USDT", side=Side.BUY, source=Source.MANUAL, key=f"bench:{number}", type=kind, quantity=QUANTITY, price=price
        )
        made = (await submit(engine.desk, engine.user_id, intent)).order
        if made.state not in (OrderState.FILLED, OrderState.OPEN):
            raise SystemExit(f"an order became {made.state}: {made.code} {made.detail}")

    return order


def bare(exchange: Any, kind: OrderType) -> Order:
    """Return one order of ccxt's own."""

    async def order() -> None:
        number = next(_numbers)
        price = None if kind is OrderType.MARKET else 50000
        made = await exchange.create_order("BTC/USDT", kind.value, "buy", 0.001, price, {"newClientOrderId": f"bare-{number}"})
        if not made["id"]:
            raise SystemExit("bare ccxt got no id")

    return order


def limit(order: Order, connection: asyncpg.Pool) -> Order:
    """Return ccxt's order between the least that can be committed before it and after it."""

    async def noted() -> None:
        number = next(_numbers)
        await connection.execute("INSERT INTO benchmark_notes VALUES ($1, false)", number)
        await order()
        await connection.execute("UPDATE benchmark_notes SET is_done = true WHERE number = $1", number)

    return noted


async def latencies(order: Order, count: int) -> list[float]:
    """Return milliseconds of `count` orders, one after the other, sorted."""
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        await order()
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


async def rate(order: Order, count: int) -> float:
    """Return orders a second of many senders."""
    left = iter(range(count))

    async def sender() -> None:
        for _ in left:
            await order()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(sender())
    return count / (time.perf_counter() - begun)


async def measure(targets: dict[str, Order], *, count: int, rounds: int) -> dict[str, Figures]:
    """Measure the targets in turn, several times, and keep each one's medians: this machine's speed drifts."""
    runs: dict[str, list[Figures]] = {name: [] for name in targets}
    for order in targets.values():
        await latencies(order, min(20, count))
    for _ in range(rounds):
        for name, order in targets.items():
            found = await latencies(order, count)
            per_s = await rate(order, count)
            runs[name].append(Figures(statistics.median(found), found[min(len(found) - 1, int(len(found) * 0.99))], per_s))
    return {
        name: Figures(*(statistics.median(values) for values in zip(*((f.p50_ms, f.p99_ms, f.per_s) for f in found), strict=True)))
        for name, found in runs.items()
    }


async def run(*, quick: bool) -> None:
    count, rounds = (40, 1) if quick else (1000, 5)
    folder = Path(tempfile.mkdtemp(prefix="aristobot-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "data")
    urls = await server.start()
    try:
        await upgrade(urls.owner)
        with EmulatorProcess("--generate", "BTCUSDT:60000", "--paused", *WITHOUT_LIMITS) as emulator:
            emulator.open_account(KEY, SECRET, {"USDT": "1000000000"})
            emulator.open_account(THEIR_KEY, THEIR_SECRET, {"USDT": "1000000000"})
            os.environ |= {"EMULATOR_URL": emulator.url, "KEY": THEIR_KEY, "SECRET": THEIR_SECRET}
            exchange = make_exchange()
            await exchange.load_markets()
            try:
                async with (
                    running_engine(urls.app, emulator.url, api_key=KEY, api_secret=SECRET) as engine,
                    asyncpg.create_pool(urls.owner, min_size=1, max_size=SENDERS) as notes,
                ):
                    await notes.execute("CREATE TABLE benchmark_notes (number bigint PRIMARY KEY, is_done boolean NOT NULL)")
                    await engine.portfolio.refresh(None)
                    kind = OrderType.MARKET
                    theirs = bare(exchange, kind)
                    rows = await measure({"Aristobot": ours(engine, kind), "bare ccxt": theirs}, count=count, rounds=rounds)
                    least = await measure({"limit": limit(theirs, notes), "bare ccxt": theirs}, count=count, rounds=rounds)
            finally:
                await exchange.close()
    finally:
        await server.stop()
    show(kind, rows, limit_ratio=least["limit"].p50_ms / least["bare ccxt"].p50_ms)


def show(kind: OrderType, rows: dict[str, Figures], *, limit_ratio: float) -> None:
    print(f"{'submit → acknowledged':24}{'':10}{'p50 ms':>10}{'p99 ms':>10}{'orders/s':>10}{'p50 ÷ ccxt':>12}")
    mine, theirs = rows["Aristobot"], rows["bare ccxt"]
    for name, figures in rows.items():
        ratio = figures.p50_ms / theirs.p50_ms
        print(f"{kind.value:24}{name:10}{figures.p50_ms:>10.2f}{figures.p99_ms:>10.2f}{figures.per_s:>10.0f}{ratio:>12.2f}")
    print(f"{'':24}{'limit':40}{limit_ratio:>12.2f}")
    print(
        json.dumps(
            {
                "p50_ms": round(mine.p50_ms, 3),
                "p99_ms": round(mine.p99_ms, 3),
                "orders_per_s": round(mine.per_s),
                "ratio_to_ccxt": round(mine.p50_ms / theirs.p50_ms, 3),
                "limit_ratio_to_ccxt": round(limit_ratio, 3),
                "ccxt_orders_per_s": round(theirs.per_s),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    asyncio.run(run(quick=parser.parse_args().quick))
