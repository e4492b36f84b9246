"""From a candle's close to the last of its bots' orders acknowledged, with 1, 50, 200 and 1,000 bots that all trade at it.

    uv run python benchmarks/bots.py [--quick] [--bots N ...] [--stops]

Server, sandboxd and exchange are processes of their own, on a PostgreSQL with fsync on. The market's time stands, and is the server's;
each step lets a minute pass, which closes a candle of every symbol, and all bots buy, do nothing, sell, do nothing in turn.
`close_to_ack_ms` is the time from the step until the database has the acknowledgement of every bot's order, `evaluated_ms` until every bot
has decided to do nothing. Beside it is the bare limit: as many round trips to locked workers, and then as many orders of ccxt's own, 32 at
a time. Bots have no stops here, as what guards a position comes after its order; with --stops each has one at the exchange, which has to
be taken back before the bot may sell. The orders at the exchange and in the tables are compared at the end.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.db import FOR_THE_PLATFORM, Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.sandbox.messages import Decision
from benchmarks.bare_endpoint import make_exchange
from benchmarks.bot_fleet import API_SECRET, BotSpec, Fleet, server_settings
from benchmarks.jail import closed, expect, hired, running_jail
from tests import shared_time
from tests.emulator_process import MINUTE_MS, WITHOUT_LIMITS, EmulatorProcess
from tests.server_process import ServerProcess
from tests.shared_time import SharedTime

NAMES = ("BTC", "ETH", "XRP", "ADA", "BNB", "DOT", "LTC", "SOL", "TRX", "XMR")
SYMBOLS = tuple(f"{name}/USDT" for name in NAMES)
ACCOUNTS = tuple(f"account-{number}" for number in range(4))
BARE_KEY, SENDERS, WORKERS = "bare-key", 32, 200
PATIENCE_S = 120.0
_ACKNOWLEDGED = "SELECT count(*) FROM orders WHERE acknowledged_at IS NOT NULL AND role IN ('entry', 'exit')"
_SENT = "SELECT client_order_id FROM orders WHERE acknowledged_at IS NOT NULL"
_ACTING = "SELECT count(*) FROM bot_signals WHERE state IN ('decided', 'submitted')"
STRATEGY = """from aristobot import Strategy, ta


class InTurn(Strategy):
    timeframe = "1m"
    warm_up = 60

    def indicators(self, candles):
        self.fast = ta.SMA(candles.close, 10)
        self.slow = ta.SMA(candles.close, 50)
        self.rsi = ta.RSI(candles.close, 14)

    def turn(self):
        return int(self.candles.time[-1]) // 60_000 % 4

    def should_long(self):
        return self.turn() == 0

    def should_exit(self):
        return self.turn() == 2

    def position_size(self):
        return 0.5
"""
WITH_STOP = STRATEGY.replace("warm_up = 60", "warm_up = 60\n    stop_loss = 0.3")


@dataclass(slots=True)
class Figures:
    """Milliseconds of each close with so many bots, and of the bare limit."""

    acknowledged: list[float] = field(default_factory=list)
    evaluated: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


class Market:
    """The exchange, a minute at a time, and what the server makes of it."""

    def __init__(self, emulator: EmulatorProcess, shared: SharedTime, connection: Any) -> None:
        self._emulator = emulator
        self._shared = shared
        self._connection = connection
        self._orders = 0

    async def close(self, bots: int) -> tuple[int, float]:
        """Let a candle close; return whose turn it was (0 to 3) and milliseconds until all bots were done with it."""
        opened_ms = self._open_ms()
        turn = opened_ms // MINUTE_MS % 4
        begun = time.perf_counter()
        await self._pass(opened_ms + MINUTE_MS)
        if turn in (0, 2):
            self._orders += bots
            await self._until(_ACKNOWLEDGED, self._orders)
        took_ms = (time.perf_counter() - begun) * 1000
        await self._until_decided(opened_ms, bots)
        if turn in (1, 3):
            took_ms = (time.perf_counter() - begun) * 1000
        await self._until(_ACTING, 0)
        return turn, took_ms

    async def begin(self, bots: int) -> None:
        """Let candles close until all are flat and the next turn is to buy; what that takes does not count."""
        turn = -1
        while turn != 3:
            opened_ms = self._open_ms()
            turn = opened_ms // MINUTE_MS % 4
            await self._pass(opened_ms + MINUTE_MS)
            await self._until_decided(opened_ms, bots)
            await self._until(_ACTING, 0)
        self._orders = await self._connection.fetchval(_ACKNOWLEDGED)

    async def _pass(self, moment_ms: int) -> None:
        now_ms = self._shared.get()
        # Before the candle's close is heard: what follows from it is signed with the time that the exchange has by then.
        self._shared.set(moment_ms)
        await asyncio.to_thread(self._emulator.advance_ms, moment_ms - now_ms)

    def _open_ms(self) -> int:
        return self._shared.get() // MINUTE_MS * MINUTE_MS

    async def _until_decided(self, opened_ms: int, bots: int) -> None:
        moment = datetime.fromtimestamp(opened_ms / 1000, UTC)
        await self._until("SELECT count(*) FROM bots WHERE last_candle_at >= $1", bots, moment)

    async def _until(self, sql: str, wanted: int, *values: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (found := await self._connection.fetchval(sql, *values)) != wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"{found} of {wanted}: {sql}")
            await asyncio.sleep(0.003)


class Bare:
    """The least that evaluating and ordering could cost: round trips to locked workers, and orders of ccxt's own."""

    def __init__(self, workers: list[Any], exchange: Any) -> None:
        self._workers = workers
        self._exchange = exchange
        self._number = 0

    async def measure(self, count: int) -> float:
        """Return milliseconds of so many decisions at once, and of so many orders after them."""
        begun = time.perf_counter()
        for first in range(0, count, len(self._workers)):
            asked = self._workers[: count - first]
            for reply in await asyncio.gather(*(worker.ask(closed(self._number), wall_s=PATIENCE_S) for worker in asked)):
                expect(reply, Decision)
            self._number += 1
        left = iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(SENDERS, count)):
                group.create_task(self._send(left))
        return (time.perf_counter() - begun) * 1000

    async def _send(self, left: Any) -> None:
        for _ in left:
            self._number += 1
            given = {"newClientOrderId": f"bare-{self._number}"}
            made = await self._exchange.create_order("BTC/USDT", "market", "buy", 1.0, None, given)
            if not made["id"]:
                raise SystemExit("bare ccxt got no id")


def specs(count: int) -> list[BotSpec]:
    """Return bots that all do the same, on ten symbols and four accounts."""
    return [
        BotSpec(strategy="in turn", symbol=SYMBOLS[number % 10], timeframe="1m", account=ACCOUNTS[number % 4], capital="1000")
        for number in range(count)
    ]


async def measure(sizes: tuple[int, ...], rounds: int, *, has_stops: bool) -> dict[int, Figures]:
    """Return what closes cost with each number of bots, each on a server of its own whose bots have all begun before the first close."""
    found: dict[int, Figures] = {}
    for count in sizes:
        begun = time.monotonic()
        async with AsyncExitStack() as stack:
            emulator, shared, server, database, connection = await stack.enter_async_context(surroundings(count))
            bare = await stack.enter_async_context(bare_limit(emulator, shared, count))
            with closing(await asyncio.to_thread(server.client)) as http:
                fleet = Fleet(http, database, shared)
                for account in ACCOUNTS:
                    await asyncio.to_thread(fleet.take_account, account)
                await fleet.add_strategy("in turn", WITH_STOP if has_stops else STRATEGY)
                await asyncio.to_thread(fleet.make, specs(count))
            await loaded(connection, count)
            ready_s = time.monotonic() - begun
            found[count] = await closes(Market(emulator, shared, connection), bare, count, rounds)
            await agree(emulator, connection)
        print(f"… {count} bots: loaded after {ready_s:.0f} s, done after {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


async def closes(market: Market, bare: Bare, count: int, rounds: int) -> Figures:
    """Let candles close, each round of four, and measure the bare limit beside each round."""
    figures = Figures()
    await market.begin(count)
    for _ in range(rounds):
        for _ in range(4):
            turn, took_ms = await market.close(count)
            (figures.evaluated if turn in (1, 3) else figures.acknowledged).append(took_ms)
        figures.bare.append(await bare.measure(count))
    return figures


async def loaded(connection: Any, count: int) -> None:
    """Wait until so many bots have their candles and their strategy."""
    deadline = time.monotonic() + PATIENCE_S
    while await connection.fetchval("SELECT count(*) FROM bots WHERE state = 'running' AND state_reason IS NULL") != count:
        if time.monotonic() > deadline:
            rows = await connection.fetch("SELECT state, state_reason, count(*) FROM bots GROUP BY 1, 2")
            raise SystemExit(f"the bots are not all loaded: {[dict(row) for row in rows]}")
        await asyncio.sleep(0.05)


async def agree(emulator: EmulatorProcess, connection: Any) -> None:
    """Stop when the exchange has other orders than the tables: a number of what went wrong is worth nothing."""
    theirs = [order["clientOrderId"] for order in emulator.orders() if order["api_key"] != BARE_KEY]
    ours = [row["client_order_id"] for row in await connection.fetch(_SENT)]
    if len(theirs) != len(set(theirs)) or set(theirs) != set(ours):
        raise SystemExit(f"the exchange has {len(theirs)} orders, the tables have {len(ours)}")


@asynccontextmanager
async def surroundings(bots: int) -> AsyncIterator[tuple[EmulatorProcess, SharedTime, ServerProcess, Database, Any]]:
    """An exchange whose market stands, a database that keeps what it was told, and a server."""
    folder = Path(tempfile.mkdtemp(prefix="aristobot-bench-"))
    folder.chmod(0o711)
    postgres = EmbeddedPostgres(folder / "data")
    urls = await postgres.start()
    made_up = [part for name in NAMES for part in ("--generate", f"{name}USDT:100")]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres.stop)
        await upgrade(urls.owner)
        market = ("--clock", "virtual", "--ideal", "0.0005", "--history", "600", *WITHOUT_LIMITS)
        emulator = stack.enter_context(EmulatorProcess(*made_up, *market))
        for name in (*ACCOUNTS, BARE_KEY):
            emulator.open_account(name, API_SECRET, {"USDT": "100000000"})
        settings = server_settings(urls, emulator.url, SYMBOLS, heartbeat_history_minutes=300, access_token_minutes=1440)
        shared = SharedTime(folder / "time")
        shared.set(int(emulator.state()["server_time"]))
        # Of the market's time, which stands.
        settings |= {shared_time.VARIABLE.lower(): folder / "time", "reconcile_settle_s": 0}
        settings |= {"strategies_per_user": bots + 100, "strategies_at_once": bots + 100}
        server = ServerProcess(folder / "server", **settings)
        await asyncio.to_thread(server.start)
        stack.callback(server.stop)
        database = Database(urls.app)
        await database.open()
        stack.push_async_callback(database.close)
        connection = await asyncpg.connect(urls.owner, server_settings=FOR_THE_PLATFORM)
        stack.push_async_callback(connection.close)
        yield emulator, shared, server, database, connection


@asynccontextmanager
async def bare_limit(emulator: EmulatorProcess, shared: SharedTime, most: int) -> AsyncIterator[Bare]:
    """Workers that have loaded a strategy, and ccxt on an account of its own."""
    os.environ |= {"EMULATOR_URL": emulator.url, "KEY": BARE_KEY, "SECRET": API_SECRET}
    exchange = make_exchange()
    exchange.milliseconds = shared.get
    await exchange.load_markets()
    try:
        async with running_jail() as jail, AsyncExitStack() as stack:
            yield Bare([await hired(jail, stack) for _ in range(min(most, WORKERS))], exchange)
    finally:
        await exchange.close()


def show(found: dict[int, Figures]) -> dict[str, float]:
    """Print the table, and return the figures by name."""
    named: dict[str, float] = {}
    print(f"{'bots':>6}{'close → all acknowledged, ms':>32}{'worst':>10}{'only evaluated':>18}{'bare limit':>14}{'ratio':>8}")
    for count, figures in found.items():
        acknowledged, evaluated, bare = (statistics.median(times) for times in (figures.acknowledged, figures.evaluated, figures.bare))
        print(
            f"{count:>6}{acknowledged:>32.0f}{max(figures.acknowledged):>10.0f}{evaluated:>18.0f}{bare:>14.0f}{acknowledged / bare:>8.2f}"
        )
        named[f"close_to_ack_ms_{count}"] = round(acknowledged, 1)
        named[f"evaluated_ms_{count}"] = round(evaluated, 1)
        named[f"bare_ms_{count}"] = round(bare, 1)
        named[f"ratio_{count}"] = round(acknowledged / bare, 2)
    return named


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few bots and rounds, within a minute")
    parser.add_argument("--stops", action="store_true", help="each position has a stop at the exchange")
    parser.add_argument("--bots", type=int, nargs="*", help="other numbers of bots than 1, 50, 200 and 1,000")
    given = parser.parse_args()
    sizes = tuple(given.bots or ((1, 10) if given.quick else (1, 50, 200, 1_000)))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(show(asyncio.run(measure(sizes, 1 if given.quick else 5, has_stops=given.stops)))))


if __name__ == "__main__":
    main()
