"""A sweep of two hundred sets of parameters beside vectorbt: the same trades, how fast, how much memory, and whether more workers help.

    uv run --group bench python benchmarks/sweep.py [--quick]

Everything goes the way of the product: a locked worker decides for set after set, processes of the pool simulate what it decided and
compute the figures that a search shows of each; of vectorbt no more is asked than final equity and number of trades. The rules are the
same in both: EMA of the close, seeded with the first close; from one candle on a cross up buys 1 unit at the next open, a cross down sells
it there; 2 % stop and 4 % target live from the entry's candle, the stop first; fee 0.1 % a side; cash of 10 million, so that no position is
refused. Trades and final equity of every set are compared. Each side runs in a process of its own, since memory is compared as well; the
best of three runs is taken of both, when compiled. Processor seconds are told too, which the work of others on the machine changes less.
Memory: the most that the process of vectorbt ever had, beside the most that our worker and our process had together, each page counted
once.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import structlog
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.backtests.data import Facts, Prepared
from app.backtests.pool import Pool
from app.backtests.search.figures import Span
from app.backtests.search.trying import Subject, Tried, trying
from app.domain.arrays import Candles
from app.domain.candles import Timeframe
from app.domain.simulated import SimulationCosts
from app.sandbox.jail import Jail
from app.sandbox.messages import Frame, Value
from app.sandbox.quotas import Limits
from app.sandbox.terms import JailConfig

CASH: Final = 1e7
FIRST: Final = 200
_STRATEGY: Final = """
import numpy as np
from aristobot import Strategy, param, ta


def ema(values, length):
    return ta.EMA(np.concatenate((np.full(length - 1, values[0]), values)), length)[length - 1:]


class Crossing(Strategy):
    timeframe = "1m"
    warm_up = 201
    fast = param(12, low=2, high=100)
    slow = param(26, low=2, high=200)
    stop_loss = 0.02
    take_profit = 0.04

    def signals(self, candles):
        fast, slow = ema(candles.close, self.fast), ema(candles.close, self.slow)
        return {
            "long": ta.crossed_above(fast, slow),
            "exit": ta.crossed_below(fast, slow),
            "size": candles.close * 1.5 / 1e7,  # of which a step of 1 leaves one unit
        }
"""
_PEER: Final = "vectorbt"


def walk(rows: int) -> Candles:
    """Return a random walk with clusters of volatility and rare wicks, each open at the close before; the same for the same length."""
    chance = np.random.default_rng(7)
    volatility = 0.0006 * np.exp(0.6 * np.sin(np.arange(rows) / 2_000) + 0.3 * chance.standard_normal(rows))
    close = 100 * np.exp(np.cumsum(chance.standard_normal(rows) * volatility))
    open_ = np.concatenate(([100.0], close[:-1]))
    reach = np.abs(chance.standard_normal((2, rows))) * volatility * np.where(chance.random((2, rows)) < 0.002, 12, 0.5)
    high = np.maximum(open_, close) * (1 + reach[0])
    low = np.minimum(open_, close) * (1 - reach[1])
    return Candles(1_700_000_000_000 + np.arange(rows, dtype=np.int64) * 60_000, open_, high, low, close, np.ones(rows))


def combinations(count: int) -> list[dict[str, Value]]:
    """Return so many sets, no two of them alike."""
    found: list[dict[str, Value]] = [{"fast": fast, "slow": slow} for fast, slow in product(range(5, 25), range(30, 80, 5))]
    return found[:count]


def everything(rows: int) -> Span:
    """Return all candles that anything is decided at."""
    return Span(FIRST, rows - 1)


# ---- vectorbt, in a process of its own -----------------------------------------------------------------------------------------------


def peer(rows: int, count: int, repeats: int, out: Path) -> None:
    """Sweep with vectorbt and write down seconds, memory, final equity and trades of each set."""
    try:
        import pandas as pd  # noqa: PLC0415  # of this process alone
        import vectorbt as vbt  # noqa: PLC0415
        from vectorbt.portfolio.enums import StopEntryPrice, StopExitPrice  # noqa: PLC0415
    except ImportError as error:
        out.write_text(json.dumps({"absent": str(error)}))
        return
    candles, sets = walk(rows), combinations(count)
    close = pd.Series(candles.close)
    seconds, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        fast = vbt.MA.run(close, window=[one["fast"] for one in sets], ewm=True, short_name="fast").ma.to_numpy()
        slow = vbt.MA.run(close, window=[one["slow"] for one in sets], ewm=True, short_name="slow").ma.to_numpy()
        up, down = np.zeros(fast.shape, dtype=bool), np.zeros(fast.shape, dtype=bool)
        up[FIRST:-1] = (fast[FIRST:-1] > slow[FIRST:-1]) & (fast[FIRST - 1 : -2] <= slow[FIRST - 1 : -2])
        down[FIRST:-1] = (fast[FIRST:-1] < slow[FIRST:-1]) & (fast[FIRST - 1 : -2] >= slow[FIRST - 1 : -2])
        # A signal of a candle is filled at the next open, and stops live from that candle on: so both stand in the row of the signal.
        portfolio = vbt.Portfolio.from_signals(
            close, up, down, price=np.append(candles.open[1:], np.nan)[:, None], open=candles.open[:, None], high=candles.high[:, None],
            low=candles.low[:, None], size=1.0, init_cash=CASH, fees=0.001, sl_stop=0.02, tp_stop=0.04,
            stop_entry_price=StopEntryPrice.FillPrice, stop_exit_price=StopExitPrice.StopLimit, freq="1min",
        )  # fmt: skip
        final, trades = portfolio.final_value().to_numpy(), portfolio.trades.closed.count().to_numpy()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    found = {
        "version": vbt.__version__,
        "seconds": seconds,
        "cpu_s": min(cpu),
        "peak_mb": peak,
        "final": final.tolist(),
        "closed": trades.tolist(),
    }
    out.write_text(json.dumps(found))


# ---- ours, in a process of its own ---------------------------------------------------------------------------------------------------


class Watch:
    """Looks at all that this process started, while it works: at its processor time, or at the most of the sum of proportional sizes.

    Args:
        is_of_memory: The second, which itself costs time.
    """

    def __init__(self, *, is_of_memory: bool = False) -> None:
        self.peak_mb = 0.0
        self._is_of_memory = is_of_memory
        self._begun = {pid: _ticks(pid) for pid in [os.getpid(), *_family(os.getpid())]}
        self._seen: dict[int, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(0.05):
            family = _family(os.getpid())
            if self._is_of_memory:
                self.peak_mb = max(self.peak_mb, sum(map(_proportional_kb, family)) / 1024)
            self._seen |= {pid: ticks for pid in (os.getpid(), *family) if (ticks := _ticks(pid))}

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all of them, and of this process, so far."""
        return sum(ticks - self._begun.get(pid, 0) for pid, ticks in self._seen.items()) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Stop looking."""
        self._is_over.set()
        self._thread.join()


def _family(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_family(int(child))]
    except OSError:
        return found
    return found


def _ticks(pid: int) -> int:
    """Return the processor time that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _proportional_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


async def ours(rows: int, count: int, repeats: int, workers: int) -> dict[str, Any]:
    """Sweep with our own and return seconds, memory, final equity and trades of each set."""
    candles = walk(rows)
    frame = Frame(symbol="BTC/USDT", timeframe="1m", rows=rows)
    facts = Facts(rows=rows, start=FIRST, warm_up=0, frames=[], gaps=[], gap_count=0, missing=0, troubles=[])
    prepared = Prepared(frames=[(frame, candles)], detail=None, start=FIRST, timeframe=Timeframe.M1, facts=facts, sha256="", memory_bytes=0)
    costs = SimulationCosts(capital=CASH, fee=0.001, maker_fee=0.001, slippage=0.0, step=1.0)
    subject = Subject(user_id=uuid4(), source=_STRATEGY, prepared=prepared, costs=costs, spans=(everything(rows),))
    sets = combinations(count)
    async with _jail() as jail:
        pool = Pool(workers)
        try:
            async with trying(subject, jail, pool, lanes=workers) as trier:
                await trier.tried(sets[: 2 * workers])  # compiled, and every process is there
            watch = Watch()
            seconds: list[float] = []
            found: list[Tried] = []
            for _ in range(repeats):
                began = time.perf_counter()
                async with trying(subject, jail, pool, lanes=workers) as trier:
                    found = await trier.tried(sets)
                seconds.append(time.perf_counter() - began)
            watch.close()
            memory = Watch(is_of_memory=True)
            async with trying(subject, jail, pool, lanes=workers) as trier:
                await trier.tried(sets)
            memory.close()
        finally:
            await pool.close()
    figures = [one.figures[0] for one in found if one.figures is not None]
    return {
        "seconds": seconds,
        "peak_mb": memory.peak_mb,
        "cpu_s": watch.cpu_s / repeats,
        "net": [one.net for one in figures],
        "trades": [one.trades for one in figures],
    }


@asynccontextmanager
async def _jail() -> AsyncIterator[Jail]:
    async def note(violation: object) -> None:
        sys.exit(f"the strategy was stopped: {violation}")

    jail = Jail(JailConfig(limits=Limits(backtests=8)), on_violation=note)
    jail._turns._free = asyncio.Semaphore(8)  # as many workers as are asked for, whatever this machine has
    running = asyncio.get_running_loop().create_task(jail.run(lambda: None))
    try:
        yield jail
    finally:
        running.cancel()
        await asyncio.wait([running])


# ---- the table -----------------------------------------------------------------------------------------------------------------------


def in_process(kind: str, rows: int, count: int, repeats: int, workers: int = 1) -> dict[str, Any]:
    """Run one side in a process of its own and return what it wrote down."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        arguments = ["--side", kind, "--rows", str(rows), "--count", str(count), "--repeats", str(repeats), "--workers", str(workers)]
        subprocess.run([sys.executable, __file__, *arguments, "--out", str(out)], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> int:
    """Return in how many sets the two differ."""
    net = np.array(other["final"]) - CASH
    is_same = np.isclose(np.array(one["net"]), net, rtol=0, atol=1e-5) & (np.array(one["trades"]) == np.array(other["closed"]))
    return int((~is_same).sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the sets")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--side", choices=["ours", "peer"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = given.rows or 100_000
    count = given.count or (40 if given.quick else 200)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    if given.side == "peer":
        peer(rows, count, given.repeats, given.out)
    elif given.side == "ours":
        given.out.write_text(json.dumps(uvloop.run(ours(rows, count, given.repeats, given.workers))))
    else:
        report(rows, count, given.repeats)


def report(rows: int, count: int, repeats: int) -> None:
    """Run both and print what came of it."""
    print(f"{count} sets of parameters × {rows:,} candles, on {os.cpu_count()} processors\n")
    theirs = in_process("peer", rows, count, repeats)
    alone = in_process("ours", rows, count, repeats)
    two = in_process("ours", rows, count, repeats, workers=2)
    line = "{:34} {:>9.3f} s {:>9.3f} s of processor {:>9,.1f} M candles/s {:>9,.0f} MB"
    for name, found in (("ours, 1 worker + 1 process", alone), ("ours, 2 workers + 2 processes", two)):
        best = min(found["seconds"])
        print(line.format(name, best, found["cpu_s"], rows * count / best / 1e6, found["peak_mb"]))
    best = min(min(alone["seconds"]), min(two["seconds"]))
    answer: dict[str, Any] = {
        "seconds": round(best, 3), "combinations": count, "bars": rows, "ratio_to_vectorbt": None, "peak_mb": round(alone["peak_mb"]),
        "cpu_s": round(alone["cpu_s"], 3), "speedup_of_two": round(min(alone["seconds"]) / min(two["seconds"]), 2),
    }  # fmt: skip
    if "absent" in theirs:
        print(f"vectorbt is absent: {theirs['absent']}")
    else:
        peer_best = min(theirs["seconds"])
        print(line.format(f"vectorbt {theirs['version']}", peer_best, theirs["cpu_s"], rows * count / peer_best / 1e6, theirs["peak_mb"]))
        differing = differences(alone, theirs)
        print(f"\nsame trades and equity in {count - differing} of {count} sets")
        answer |= {
            "ratio_to_vectorbt": round(peer_best / best, 1), "vectorbt_s": round(peer_best, 3),
            "processor_ratio": round(theirs["cpu_s"] / alone["cpu_s"], 1), "vectorbt_peak_mb": round(theirs["peak_mb"]),
            "same_results": differing == 0,
        }  # fmt: skip
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
