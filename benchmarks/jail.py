"""What it costs to lock strategies in: making workers, asking one, and a candle that closes for hundreds of them.

    uv run python benchmarks/jail.py [--quick]

Everything goes the way of the product: server, sandboxd, locked worker, and back. The strategy computes two averages and an RSI of 500
candles at each close. Beside it the same worker is asked directly, locked and without any lock, in turn, which tells what the lock costs.
The memory of a worker is what it shares with nobody. A quick run leaves out the thousand.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import psutil
import structlog
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.sandbox import orders
from app.sandbox.cell import Cause, Cell
from app.sandbox.frames import Candles
from app.sandbox.jail import Jail, Worker
from app.sandbox.keeper import Keeper
from app.sandbox.memory import sealed_candles
from app.sandbox.messages import Asked, Decide, Decision, Described, Frame, Holding, Load, Reply
from app.sandbox.orders import Layers, Order
from app.sandbox.quotas import Limits, Purpose, Quotas
from app.sandbox.terms import JailConfig

ROWS: Final = 500
_HOUR_MS: Final = 3_600_000
_STRATEGY: Final = """
from aristobot import Strategy, ta

class Crossing(Strategy):
    timeframe = "1h"
    warm_up = 200

    def indicators(self, candles):
        self.fast = ta.SMA(candles.close, 50)
        self.slow = ta.SMA(candles.close, 200)
        self.rsi = ta.RSI(candles.close, 14)

    def should_long(self):
        return ta.crossed_above(self.fast, self.slow) and self.rsi[-1] < 70
"""
_UNLOCKED: Final = Layers(close_fds=True, rlimits=False, uid=False, dumpable=False, landlock=False, seccomp=False, audit_hook=False)
_PATIENCE_S: Final = 60.0


def made_up() -> Candles:
    """Return candles of a random walk."""
    close = 100 + np.cumsum(np.random.default_rng(3).normal(size=ROWS))
    return Candles(np.arange(ROWS, dtype=np.int64) * _HOUR_MS, close, close + 1, close - 1, close, np.ones(ROWS))


FRAME: Final = Frame(symbol="BTC/USDT", timeframe="1h", rows=ROWS)
CANDLES: Final = made_up()


def closed(number: int) -> Decide:
    """Return the request to decide at the candle that closes so many candles after the known ones."""
    price = 100.0 + number % 7
    candle = ((ROWS + number) * _HOUR_MS, price, price + 1, price - 1, price, 1.0)
    return Decide(candle=candle, holding=Holding(quantity=0.0, entry_price=0.0, equity=10_000.0))


def expect(reply: Reply, kind: type[Reply]) -> None:
    """Stop when a worker answers something else: figures of failures are worth nothing."""
    if not isinstance(reply, kind):
        raise SystemExit(f"a worker answered {reply}")


@asynccontextmanager
async def running_jail() -> AsyncIterator[Jail]:
    """Run a jail in which one user may have everything."""

    async def complain(violation: object) -> None:
        raise SystemExit(f"a worker was killed: {violation}")

    many = Limits(workers=5_000, all_workers=5_000)
    jail = Jail(JailConfig(limits=many), on_violation=complain, quotas=Quotas(many))
    task = asyncio.get_running_loop().create_task(jail.run(lambda: None))
    await jail.ready()
    yield jail
    task.cancel()
    await asyncio.wait([task])


async def hired(jail: Jail, stack: AsyncExitStack) -> Worker:
    """Return a worker with the strategy loaded."""
    worker = await stack.enter_async_context(jail.worker(user_id=uuid4(), purpose=Purpose.LIVE, frames=[(FRAME, CANDLES)]))
    expect(await worker.ask(Load(source=_STRATEGY), wall_s=_PATIENCE_S), Described)
    return worker


async def spawns(jail: Jail, count: int) -> list[float]:
    """Return milliseconds from the wish for a worker until it is locked and waits for its first request."""
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        async with jail.worker(user_id=uuid4(), purpose=Purpose.LIVE, frames=[(FRAME, CANDLES)]):
            found.append((time.perf_counter() - begun) * 1e3)
    return found


async def round_trips(jail: Jail, count: int) -> list[float]:
    """Return microseconds of one decision after another."""
    async with AsyncExitStack() as stack:
        worker = await hired(jail, stack)
        found = []
        for number in range(count):
            begun = time.perf_counter()
            reply = await worker.ask(closed(number), wall_s=_PATIENCE_S)
            found.append((time.perf_counter() - begun) * 1e6)
            expect(reply, Decision)
    return found[count // 10 :]


async def direct(rounds: int, each: int) -> dict[str, list[float]]:
    """Return microseconds of a decision by a worker that is asked directly, locked and unlocked in turn."""
    keeper = Keeper()
    found: dict[str, list[float]] = {"locked": [], "unlocked": []}
    cells = {}
    for name, layers in (("locked", Layers()), ("unlocked", _UNLOCKED)):
        memory = sealed_candles(CANDLES)
        cells[name] = await keeper.spawn(Order(frames=[FRAME], layers=layers), [memory])
        os.close(memory)
        await _asked(cells[name], orders.encode(Asked(request_id=1, request=Load(source=_STRATEGY))))
    for number in range(rounds):
        for name in sorted(cells, reverse=bool(number % 2)):
            bodies = [orders.encode(Asked(request_id=1, request=closed(number * each + index))) for index in range(each)]
            for body in bodies:
                begun = time.perf_counter()
                await _asked(cells[name], body)
                found[name].append((time.perf_counter() - begun) * 1e6)
    for cell in cells.values():
        cell.kill(Cause.RELEASED)
    await keeper.close()
    return {name: times[len(times) // 10 :] for name, times in found.items()}


async def _asked(cell: Cell, body: bytes) -> bytes:
    return await cell.ask(body, 1, wall_s=_PATIENCE_S, cpu_s=_PATIENCE_S)


async def closes(jail: Jail, count: int, rounds: int) -> dict[str, float]:
    """Return what one candle costs when it closes for so many strategies at once, and what their workers cost."""
    async with AsyncExitStack() as stack:
        before_mb = psutil.virtual_memory().available / 2**20
        begun = time.perf_counter()
        workers = [await hired(jail, stack) for _ in range(count)]
        hire_ms = (time.perf_counter() - begun) * 1e3 / count
        took = []
        for number in range(rounds):
            begun = time.perf_counter()
            for reply in await asyncio.gather(*(worker.ask(closed(number), wall_s=_PATIENCE_S) for worker in workers)):
                expect(reply, Decision)
            took.append((time.perf_counter() - begun) * 1e3)
        own_mb = unshared_mb(jail, count)
        all_mb = before_mb - psutil.virtual_memory().available / 2**20
        begun = time.perf_counter()
    return {
        "hire_ms": hire_ms,
        "close_ms": statistics.median(took[1:]),
        "worst_close_ms": max(took[1:]),
        "mb_per_worker": own_mb if own_mb is not None else all_mb / count,
        "release_ms": (time.perf_counter() - begun) * 1e3,
    }


def unshared_mb(jail: Jail, count: int) -> float | None:
    """Return the mean memory that a worker shares with nobody; None where we may not look at it."""
    assert jail.pid is not None
    (zygote,) = psutil.Process(jail.pid).children()
    try:
        found: list[int] = [process.memory_full_info().uss for process in zygote.children()[:count]]
    except psutil.AccessDenied:
        return None
    return statistics.mean(found) / 2**20


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


async def measure(*, is_quick: bool) -> dict[str, float | None]:
    """Print a table and return the figures."""
    begun = time.perf_counter()
    async with running_jail() as jail:
        start_ms = (time.perf_counter() - begun) * 1e3
        print(f"sandboxd, zygote and the doctor's attacks: ready in {start_ms:.0f} ms, level {jail.level}")
        spawn = statistics.median(await spawns(jail, 20 if is_quick else 200))
        trip, trip_99 = percentiles(await round_trips(jail, 1_000 if is_quick else 10_000))
        of_200 = await closes(jail, 200, 4 if is_quick else 12)
        of_1000 = None if is_quick else await closes(jail, 1_000, 12)
    alone = {name: percentiles(times) for name, times in (await direct(4 if is_quick else 12, 250)).items()}
    ratio = alone["locked"][0] / alone["unlocked"][0]
    print(f"\n{'':44} {'p50':>9} {'p99':>9}")
    print(f"{'make a locked worker, ms':44} {spawn:9.1f}")
    print(f"{'one decision, server to worker and back, µs':44} {trip:9.0f} {trip_99:9.0f}")
    for name, (middle, late) in alone.items():
        print(f"{f'the same asked directly, {name}, µs':44} {middle:9.0f} {late:9.0f}")
    for count, found in ((200, of_200), (1_000, of_1000)):
        if found is not None:
            print(f"{f'a close of {count} strategies, ms (worst)':44} {found['close_ms']:9.0f} {found['worst_close_ms']:9.0f}")
            print(f"{f'memory of each of {count} workers, MB':44} {found['mb_per_worker']:9.1f}")
    return {
        "start_ms": round(start_ms),
        "spawn_ms": round(spawn, 2),
        "round_trip_p50_us": round(trip, 1),
        "round_trip_p99_us": round(trip_99, 1),
        "direct_p50_us": round(alone["locked"][0], 1),
        "unlocked_p50_us": round(alone["unlocked"][0], 1),
        "ratio_to_unlocked": round(ratio, 3),
        "close_200_ms": round(of_200["close_ms"], 1),
        "close_1000_ms": None if of_1000 is None else round(of_1000["close_ms"], 1),
        "hire_ms": round(of_200["hire_ms"], 2),
        "release_200_ms": round(of_200["release_ms"], 1),
        "mb_per_worker": round(of_200["mb_per_worker"], 2),
    }


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few rounds, no thousand: shows that it runs, not how fast")
    is_quick = parser.parse_args().quick
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # The server's own loop.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(is_quick=is_quick))))


if __name__ == "__main__":
    main()
