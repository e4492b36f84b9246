"""From a candle's close on the wire to everybody who listens, stored in between; and how fast stored candles come out again.

    uv run --group bench python benchmarks/heartbeat.py [--quick] [--days N]

A venue in a process of its own sends the closes of one minute for 1, 100 and 1,000 symbols at once, minute after minute, over a real
websocket; the heartbeat stores them in a real PostgreSQL and publishes them. The time runs from each frame's sending to its event, on the
machine's one monotonic clock. Beside it stands the bare limit: the same frames received, parsed and stored by one statement, with nothing
that a heartbeat is for. `--days N` replays that many days of ten symbols at full speed and prints the memory day by day.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import orjson
import psutil
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.db import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.events import EventBus
from app.core.migrate import upgrade
from app.domain.candles import Candle, Timeframe, to_milliseconds
from app.exchanges.registry import Registry
from app.marketdata.events import CandleClosed
from app.marketdata.heartbeat import Heartbeat, HeartbeatConfig
from app.marketdata.models import CandleSource
from app.marketdata.quotes import Quotes
from app.marketdata.store import CandleStore, Close
from benchmarks import copy_out

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000


def symbols(count: int) -> tuple[str, ...]:
    """Return that many names."""
    return tuple(f"C{number}/USDT" for number in range(count))


def close_frame(market: str, minute: int) -> str:
    """Return what Binance sends when a minute of a market closes; the numbers do not matter."""
    opened = to_milliseconds(START) + minute * MINUTE_MS
    price = f"{100 + minute % 7}.{minute % 90 + 10}"
    bar = {"t": opened, "T": opened + MINUTE_MS - 1, "s": market, "i": "1m", "f": 1, "L": 9, "o": price, "c": price, "h": price, "l": price}
    bar |= {"v": "1.50000000", "n": 9, "x": True, "q": "150.0", "V": "0.5", "Q": "50.0", "B": "0"}
    event = {"e": "kline", "E": opened + MINUTE_MS, "s": market, "k": bar}
    return json.dumps({"stream": f"{market.lower()}@kline_1m", "data": event})


def venue(pipe: Connection) -> None:
    """The venue's process: for an order of (first minute, minutes, pause) it sends closes, and answers with when it sent each."""
    asyncio.run(_venue(pipe))


CANARY = json.dumps({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1.0", "B": "1.0", "a": "2.0", "A": "1.0"}})


async def _chirp(connections: dict[ServerConnection, list[str]]) -> None:
    """Tell everybody the one thing that is always told."""
    while True:
        for connection in list(connections):
            with suppress(ConnectionClosed):
                await connection.send(CANARY)
        await asyncio.sleep(0.5)


async def _venue(pipe: Connection) -> None:
    connections: dict[ServerConnection, list[str]] = {}

    async def handle(connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        names = path.partition("streams=")[2].split("/") if "streams=" in path else []
        connections[connection] = _markets(names)
        try:
            async for text in connection:
                request = json.loads(text)
                if request.get("method") == "SUBSCRIBE":
                    connections[connection] += _markets(request["params"])
                await connection.send(json.dumps({"result": None, "id": request.get("id")}))
        except ConnectionClosed:
            pass  # who has measured enough hangs up
        finally:
            del connections[connection]

    loop = asyncio.get_running_loop()
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server, asyncio.TaskGroup() as group:
        pipe.send(server.sockets[0].getsockname()[1])
        chirping = group.create_task(_chirp(connections))
        while (order := await loop.run_in_executor(None, pipe.recv)) is not None:
            kind, *details = order
            if kind == "markets":
                pipe.send(sum(len(markets) for markets in connections.values()))
                continue
            first, count, pause_s = details
            sent: dict[tuple[str, int], int] = {}
            for minute in range(first, first + count):
                for connection, markets in list(connections.items()):
                    for market in markets:
                        sent[market, minute] = time.monotonic_ns()
                        await connection.send(close_frame(market, minute))
                await asyncio.sleep(pause_s)
            pipe.send(sent if pause_s else len(sent))
        chirping.cancel()


def _markets(names: list[str]) -> list[str]:
    return [name.partition("@")[0].upper() for name in names if name.endswith("@kline_1m")]


class Venue:
    """The venue's process, and how to speak to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=venue, args=(theirs,), daemon=True)
        self._process.start()
        self.url = f"ws://127.0.0.1:{self._pipe.recv()}"

    async def ask(self, *order: object) -> Any:
        """Give an order and wait for its answer."""
        self._pipe.send(order)
        return await asyncio.to_thread(self._pipe.recv)

    def stop(self) -> None:
        """End it."""
        self._pipe.send(None)
        self._process.join(5)


class Instant:
    """The REST side of the venue: it has nothing to fill, and says so at once. Its clock stands where the last minute closed."""

    def __init__(self) -> None:
        self.now = START

    async def public(self, exchange: str) -> "Instant":
        """The client for everybody."""
        del exchange
        return self

    def clock_ahead_ms(self, exchange: str) -> None:
        """How far the venue's clock is ahead: nobody measures it."""
        del exchange

    async def server_time(self) -> datetime:
        """The venue's clock."""
        return self.now

    async def fetch_candles(self, symbol: str, timeframe: Timeframe, **_: object) -> list[Candle]:
        """No candle that the stream has not told."""
        del symbol, timeframe
        return []


@dataclass
class Heard(EventBus):
    """A bus that notes when each close was told."""

    at: dict[tuple[str, int], int] = field(default_factory=dict)
    doubled: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def publish(self, event: object) -> None:
        """Note a minute's close, and hand it on."""
        if isinstance(event, CandleClosed) and event.timeframe is Timeframe.M1:
            key = event.symbol.replace("/", ""), (event.candle.open_time - START) // timedelta(minutes=1)
            self.doubled += key in self.at
            self.at[key] = time.monotonic_ns()
        super().publish(event)


@asynccontextmanager
async def beating(database: Database, url: str, names: tuple[str, ...], bus: EventBus) -> AsyncIterator[Heartbeat]:
    """A heartbeat at work on these symbols."""
    config = HeartbeatConfig(symbols=names, history=timedelta(0), stream_urls=(url,), silence_s=600, is_timed=False)
    registry = cast(Registry, Instant())
    heartbeat = Heartbeat(config, database=database, registry=registry, quotes=Quotes("binance"), bus=bus, clock=SystemClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(heartbeat.run(lambda: None))
        await until(lambda: heartbeat.status.is_fresh)
        yield heartbeat
        task.cancel()


async def until(is_true: Callable[[], bool], *, every_s: float = 0.002, within_s: float = 120.0) -> None:
    """Wait for what happens in another task."""
    async with asyncio.timeout(within_s):
        while not is_true():  # noqa: ASYNC110  # nobody sets an event for it
            await asyncio.sleep(every_s)


async def all_subscribed(bench_venue: Venue, count: int) -> None:
    """Wait until the venue knows who wants what."""
    async with asyncio.timeout(60):
        while await bench_venue.ask("markets") < count:  # noqa: ASYNC110  # in another process
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Milliseconds from sending to telling, of each close; and of each minute from its first sending to its last telling."""

    p50: float
    p99: float
    minute: float
    missing: int
    doubled: int

    @classmethod
    def of(cls, sent: dict[tuple[str, int], int], heard: dict[tuple[str, int], int], *, doubled: int) -> "Measured":
        """Compare what was sent with what was heard."""
        taken = sorted((heard[key] - sent[key]) / 1e6 for key in sent if key in heard)
        minutes = sorted({minute for _, minute in sent})
        spans = [
            (max(heard[key] for key in keys) - min(sent[key] for key in keys)) / 1e6
            for minute in minutes
            if (keys := [key for key in sent if key[1] == minute and key in heard])
        ]
        return cls(
            p50=statistics.median(taken),
            p99=taken[int(len(taken) * 0.99)] if len(taken) > 1 else taken[0],
            minute=statistics.median(spans),
            missing=len(sent) - len(taken),
            doubled=doubled,
        )


async def measured(database: Database, bench_venue: Venue, *, count: int, minutes: int) -> Measured:
    """Send minutes of `count` symbols and see when they are told; the first few warm up."""
    bus = Heard()
    async with beating(database, bench_venue.url, symbols(count), bus):
        await all_subscribed(bench_venue, count)
        await bench_venue.ask("send", 0, 5, 0.3)
        sent = await bench_venue.ask("send", 5, minutes, max(0.1, count / 2500))
        await until(lambda: sum(key in bus.at for key in sent) == len(sent), within_s=30)
    stored = await _count(database)
    result = Measured.of(sent, bus.at, doubled=bus.doubled)
    await _empty(database)
    assert stored == (minutes + 5) * count, f"{stored} stored"
    return result


async def bare(database: Database, bench_venue: Venue, *, count: int, minutes: int) -> Measured:
    """The same frames received, parsed and stored, one statement for whatever is there; nothing else."""
    heard: dict[tuple[str, int], int] = {}
    queue: asyncio.Queue[Close] = asyncio.Queue()
    store = CandleStore(database)

    async def read() -> None:
        streams = [f"{name.replace('/', '').lower()}@kline_1m" for name in symbols(count)]
        async with connect(f"{bench_venue.url}/stream", compression=None, max_queue=4096, proxy=None) as connection:
            await connection.send(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
            async for frame in connection:
                if (bar := orjson.loads(frame).get("data", {}).get("k")) is None:
                    continue
                opened = START + timedelta(milliseconds=bar["t"] - to_milliseconds(START))
                values = {long: float(bar[short]) for long, short in zip(("open", "high", "low", "close", "volume"), "ohlcv", strict=True)}
                queue.put_nowait(Close(bar["s"], Timeframe.M1, Candle(open_time=opened, **values)))

    async def write() -> None:
        while True:
            batch = [await queue.get()]
            while not queue.empty():
                batch.append(queue.get_nowait())
            await store.write("binance", batch, source=CandleSource.STREAM)
            for close in batch:
                heard[close.symbol, (close.candle.open_time - START) // timedelta(minutes=1)] = time.monotonic_ns()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read()), group.create_task(write())]
        await all_subscribed(bench_venue, count)
        await bench_venue.ask("send", 0, 5, 0.3)
        sent = await bench_venue.ask("send", 5, minutes, max(0.1, count / 2500))
        await until(lambda: sum(key in heard for key in sent) == len(sent), within_s=30)
        for task in tasks:
            task.cancel()
    await _empty(database)
    return Measured.of(sent, heard, doubled=0)


async def _count(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM candles WHERE timeframe = '1m'"))


async def _empty(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM candles")


async def replayed(database: Database, bench_venue: Venue, *, days: int) -> tuple[list[float], float]:
    """Replay days of ten symbols as fast as they go; return the resident megabytes after each day, and closes per second."""
    bus, process, sizes = EventBus(), psutil.Process(), []
    names = symbols(10)
    async with beating(database, bench_venue.url, names, bus) as heartbeat:
        await all_subscribed(bench_venue, len(names))
        begun = time.monotonic()
        for day in range(days):
            await bench_venue.ask("send", day * 1440, 1440, 0)
            last = START + timedelta(minutes=(day + 1) * 1440 - 1)
            await until(lambda last=last: all(heartbeat.last_closed(name) == last for name in names), every_s=0.01)  # type: ignore[misc]
            sizes.append(process.memory_info().rss / 1e6)
        taken = time.monotonic() - begun
    return sizes, days * 1440 * len(names) / taken


async def run(*, is_quick: bool, days: int) -> dict[str, Any]:
    """Measure everything and print it."""
    document: dict[str, Any] = {}
    bench_venue = Venue()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            stack.callback(bench_venue.stop)
            postgres = EmbeddedPostgres(Path(folder) / "data")
            urls = await postgres.start()
            stack.push_async_callback(postgres.stop)
            await upgrade(urls.owner)
            database = Database(urls.app)
            await database.open()
            stack.push_async_callback(database.close)
            gc.freeze()  # as the server does when it has started
            print("close on the wire -> stored and told, milliseconds   heartbeat                    bare limit")
            for count, minutes in ((1, 40), (100, 30), (1000, 10)) if is_quick else ((1, 300), (100, 120), (1000, 40)):
                ours = await measured(database, bench_venue, count=count, minutes=minutes)
                limit = await bare(database, bench_venue, count=count, minutes=minutes)
                print(
                    f"  {count:5} symbols   p50 {ours.p50:7.2f}  p99 {ours.p99:7.2f}  whole minute {ours.minute:7.2f}"
                    f"   p50 {limit.p50:7.2f}  p99 {limit.p99:7.2f}  whole minute {limit.minute:7.2f}   ratio {ours.p50 / limit.p50:.2f}"
                )
                document |= {f"p50_ms_{count}": ours.p50, f"p99_ms_{count}": ours.p99, f"minute_close_{count}_ms": ours.minute}
                document[f"ratio_to_bare_{count}"] = ours.p50 / limit.p50
                document["missing"] = document.get("missing", 0) + ours.missing
                document["duplicated"] = document.get("duplicated", 0) + ours.doubled
            if days:
                sizes, rate = await replayed(database, bench_venue, days=days)
                print(f"{days} days of ten symbols: {rate:,.0f} closes/s, megabytes {', '.join(f'{size:.0f}' for size in sizes)}")
                document |= {"days": days, "closes_per_s": rate, "mb_after_day_2": sizes[min(1, days - 1)], "mb_at_end": sizes[-1]}
    return document


def main() -> None:
    """Read arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--days", type=int, default=None, help="days to replay for memory [default: 5, none with --quick]")
    chosen = parser.parse_args()
    days = chosen.days if chosen.days is not None else (0 if chosen.quick else 5)
    document = asyncio.run(run(is_quick=chosen.quick, days=days))
    with tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder:
        Path(folder).chmod(0o711)  # root's server cannot pass through a folder that is root's alone
        document |= asyncio.run(copy_out.with_database(Path(folder), is_quick=chosen.quick))
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in document.items()}))


if __name__ == "__main__":
    main()
