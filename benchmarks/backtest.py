"""How fast backtests are: our whole engine beside vectorbt, backtesting.py and the bare loop, on the same bars and by the same rules.

    uv run --group bench python benchmarks/backtest.py [--quick] [--rows N]

Ours goes the way of the product: the strategy runs in a locked worker, its decisions come back through shared memory, are copied and looked
at, the compiled loop fills them, and the report is made of that. A run is timed from the wish to decide to the report, in a process that is
warm and a worker that has loaded the strategy; "no report" leaves the report out, which the peers do not make either. Each engine has a
process of its own; "cold" is from that process's start to its first result, with what was compiled in an earlier process; for ours,
sandboxd with all its attacks is started as well, which a server does before anybody asks. The check is that all come to the same trades
and the same equity. A quick run leaves out what must be compiled for many seconds, and lets the others compile in their cold start.
"""

import argparse
import asyncio
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.backtests.compiled import kernel
from app.backtests.engine import run as simulated
from app.domain.arrays import Candles
from app.domain.outcome import Outcome
from app.domain.safeguards import RuleNumbers, SafeguardNumbers
from app.domain.simulation import SimulationCosts
from benchmarks.backtest_peers import (
    CASH,
    FEE,
    MINUTE_MS,
    SLOW,
    Played,
    backtesting,
    bare_loop,
    keep_market,
    kept_market,
    made_market,
    vectorbt,
)

_HEAD: Final = """
import numpy as np
from aristobot import Strategy, ta

def average(close, length):
    # TA-Lib begins with the mean of the first values, the comparison with the first one.
    return ta.EMA(np.concatenate([np.full(length - 1, close[0]), close]), length)[length - 1:]

class Cross(Strategy):
    timeframe = "1m"
    warm_up = 27
    stop_loss = 0.02
    take_profit = 0.04
"""
_AS_ARRAYS: Final = """
    def signals(self, candles):
        fast, slow = average(candles.close, 12), average(candles.close, 26)
        return {"long": ta.crossed_above(fast, slow), "exit": ta.crossed_below(fast, slow)%s}
"""
#: One unit: with steps of one, the budget of one and a half.
_ONE_UNIT: Final = ', "size": np.minimum(1.5 * candles.close / 1e7, 1)'
_PER_CANDLE: Final = """
    def indicators(self, candles):
        self.fast, self.slow = average(candles.close, 12), average(candles.close, 26)

    def should_long(self):
        return ta.crossed_above(self.fast, self.slow)

    def should_exit(self):
        return ta.crossed_below(self.fast, self.slow)

    def position_size(self):
        return 1.5 * self.candles.close[-1] / 1e7
"""
_RULES: Final = SimulationCosts(capital=CASH, fee=FEE, maker_fee=FEE, slippage=0.0, step=1.0)
#: Every rule, none of them near: the trades stay the same, and what is measured is the looking.
_GUARDED: Final = replace(
    _RULES,
    safeguards=SafeguardNumbers(
        timeframe_ms=MINUTE_MS,
        most_notional=1e12,
        stops_window_ms=1_000 * MINUTE_MS,
        daily_loss=RuleNumbers(limit=0.9, flattens=True),
        drawdown=RuleNumbers(limit=0.9),
        stops=RuleNumbers(limit=1_000),
        losses=RuleNumbers(limit=1_000),
    ),
)
_DEFAULTS: Final = SimulationCosts(step=1e-5, tick=0.01, least_notional=5.0)
#: The best of so many runs, and of so many seconds: others may be at work on the machine.
_ROUNDS: Final = 5
_AT_LEAST_S: Final = 1.5
#: Of an engine's process: bars a second that it needs at least, so that a run ends.
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one engine's process says: seconds from its start to the first result and of a warm run, megabytes at most."""

    cold_s: float
    warm_s: float
    peak_mb: float
    trades: int
    equity: float
    #: Of ours: seconds of a warm run without the report.
    bare_s: float | None = None


def ours(source: str, costs: SimulationCosts) -> Callable[[Candles, float], Measured]:
    """Return our engine with a strategy."""
    return lambda candles, began: asyncio.run(_ours(candles, began, source, costs))


async def _ours(candles: Candles, began: float, source: str, costs: SimulationCosts) -> Measured:
    # Here and not above: what the peers' processes import is not theirs.
    jail_of = importlib.import_module("benchmarks.jail").running_jail
    messages = importlib.import_module("app.sandbox.messages")
    purpose = importlib.import_module("app.sandbox.quotas").Purpose.BACKTEST
    make_report = importlib.import_module("app.backtests.report").make_report
    importlib.import_module("app.sandbox.lock.kernel").keep_freed_memory()  # as the processes do that compute backtests
    rows = len(candles)
    frame = messages.Frame(symbol="BTC/USDT", timeframe="1m", rows=rows)
    asked_costs = messages.Costs(**asdict(costs))

    async def decide(worker: Any) -> Outcome:
        reply = await worker.ask(messages.Run(start=SLOW, costs=asked_costs))
        if not isinstance(reply, messages.Ran):
            raise SystemExit(f"the worker answered {reply}")
        return simulated(candles, await worker.decided(), costs, SLOW)

    async def report(worker: Any) -> Outcome:
        outcome = await decide(worker)
        make_report(outcome, candles, costs, SLOW, timeframe_ms=MINUTE_MS)
        return outcome

    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(asyncio.to_thread(kernel))
        async with jail_of() as jail, jail.worker(user_id=uuid4(), purpose=purpose, frames=[(frame, candles)], result_rows=rows) as worker:
            await worker.ask(messages.Load(source=source))
            await loading
            outcome = await report(worker)
            cold_s = time.monotonic() - began
            warm_s = await _best(lambda: report(worker))
            bare_s = await _best(lambda: decide(worker))
            peak_mb = _peak_mb() + _largest_child_mb()
    equity = float(outcome.equity[-1])
    return Measured(cold_s=cold_s, warm_s=warm_s, peak_mb=peak_mb, trades=len(outcome.trades), equity=equity, bare_s=bare_s)


async def _best(run: Callable[[], Awaitable[object]]) -> float:
    taken: list[float] = []
    while len(taken) < _ROUNDS or sum(taken) < _AT_LEAST_S:
        begun = time.perf_counter()
        await run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def peer(make: Callable[[], Callable[[Candles], Played]], at_least_s: float = _AT_LEAST_S) -> Callable[[Candles, float], Measured]:
    """Return a peer that is measured in its own process."""

    def measure(candles: Candles, began: float) -> Measured:
        play = make()
        played = play(candles)
        cold_s = time.monotonic() - began
        taken: list[float] = []
        while len(taken) < (_ROUNDS if at_least_s else 1) or sum(taken) < at_least_s:
            begun = time.perf_counter()
            play(candles)
            taken.append(time.perf_counter() - begun)
        return Measured(cold_s=cold_s, warm_s=min(taken), peak_mb=_peak_mb(), trades=played.trades, equity=played.equity)

    return measure


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _largest_child_mb() -> float:
    """Return the memory of the worker that it shares with nobody; sandboxd and its zygote serve everybody and are not counted."""
    found = [child.memory_full_info().uss for child in psutil.Process().children(recursive=True)]
    return float(max(found, default=0)) / 2**20


@dataclass(frozen=True, slots=True)
class Engine:
    """One line of the table: its title, the distribution that it needs, and whether it plays by the rules of the comparison."""

    title: str
    needs: str
    measure: Callable[[Candles, float], Measured]
    plays_along: bool = True
    compiles: bool = False
    is_slow: bool = False


ENGINES: Final = {
    "ours": Engine("ours, arrays, through the jail", "", ours(_HEAD + _AS_ARRAYS % _ONE_UNIT, _RULES), compiles=True),
    "ours_per_candle": Engine("ours, per candle, through the jail", "", ours(_HEAD + _PER_CANDLE, _RULES)),
    "ours_guarded": Engine("ours, arrays, with safeguards", "", ours(_HEAD + _AS_ARRAYS % _ONE_UNIT, _GUARDED)),
    "ours_default": Engine("ours, own default rules", "", ours(_HEAD + _AS_ARRAYS % "", _DEFAULTS), plays_along=False),
    "bare": Engine("bare numba loop, no engine", "numba", peer(bare_loop), compiles=True),
    "vectorbt_rust": Engine("vectorbt (rust)", "vectorbt_rust", peer(lambda: vectorbt("rust")), compiles=True),
    "vectorbt_numba": Engine("vectorbt (numba)", "vectorbt", peer(lambda: vectorbt("numba")), compiles=True, is_slow=True),
    "backtesting": Engine("backtesting.py", "backtesting", peer(backtesting, at_least_s=0)),
}


def in_own_process(name: str, market: Path, rows: int, *, is_quick: bool) -> Measured | None:
    """Measure an engine in a process of its own, after another that compiles what it needs; None where it is absent."""
    if ENGINES[name].needs and importlib.util.find_spec(ENGINES[name].needs) is None:
        return None
    last = None
    for each in (min(rows, 1_000), rows) if ENGINES[name].compiles and not is_quick else (rows,):
        command = [sys.executable, "-W", "ignore", __file__, "--one", name, "--market", str(market), "--rows", str(each)]
        done = subprocess.run(
            [*command, "--began", repr(time.monotonic())],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_PATIENCE_S,
        )  # fmt: skip
        last = Measured(**json.loads(done.stdout.splitlines()[-1]))
    return last


def table(found: dict[str, Measured | None], rows: int) -> None:
    """Print what was measured."""
    print(f"\n{rows:,} bars{'':24} {'bars/s':>12} {'no report':>12} {'cold, s':>8} {'peak, MB':>9} {'trades':>7} {'equity':>16}")
    for name, one in found.items():
        if one is None:
            print(f"{ENGINES[name].title:36} absent: {ENGINES[name].needs} is not installed")
            continue
        alone = f"{rows / one.bare_s:12,.0f}" if one.bare_s else f"{'':12}"
        spent = f"{one.cold_s:8.2f} {one.peak_mb:9.0f}"
        print(f"{ENGINES[name].title:36} {rows / one.warm_s:12,.0f} {alone} {spent} {one.trades:7,} {one.equity:16,.4f}")


def summary(found: dict[str, Measured | None], rows: int) -> dict[str, Any]:
    """Return the figures of the last line."""
    mine, slow = found["ours"], found["ours_per_candle"]
    assert mine is not None
    assert slow is not None
    vector = [one.warm_s for name in ("vectorbt_rust", "vectorbt_numba") if (one := found.get(name)) is not None]
    other, bare = found["backtesting"], found["bare"]
    along = [one for name, one in found.items() if one is not None and ENGINES[name].plays_along]
    same = all(one.trades == mine.trades and abs(one.equity - mine.equity) <= 1e-9 * CASH for one in along)
    return {
        "bars_per_s": round(rows / mine.warm_s),
        "ratio_to_vectorbt": round(min(vector) / mine.warm_s, 2) if vector else None,
        "per_candle_bars_per_s": round(rows / slow.warm_s),
        "ratio_to_backtesting_py": round(other.warm_s / slow.warm_s, 2) if other else None,
        "cold_s": round(mine.cold_s, 2),
        "peak_mb": round(mine.peak_mb),
        "same_trades": same,
        "bars_per_s_without_report": round(rows / mine.bare_s) if mine.bare_s else None,
        "ratio_to_bare_loop": round(bare.warm_s / mine.warm_s, 3) if bare else None,
        "times_as_long_with_safeguards": _times_as_long(found["ours_guarded"], mine),
        "trades": mine.trades,
        "absent": [name for name, one in found.items() if one is None],
    }


def _times_as_long(guarded: Measured | None, mine: Measured) -> float | None:
    """Return how much longer runs take with safeguards, without the report."""
    if guarded is None or guarded.bare_s is None or not mine.bare_s:
        return None
    return round(guarded.bare_s / mine.bare_s, 2)


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer bars: shows that it runs, not how fast")
    parser.add_argument("--rows", type=int, help="bars; 500,000 when left out")
    parser.add_argument("--one", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--market", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    rows = given.rows or (50_000 if given.quick else 500_000)
    if given.one:
        print(json.dumps(asdict(ENGINES[given.one].measure(kept_market(given.market, rows), given.began))))
        return
    with TemporaryDirectory() as folder:
        market = Path(folder) / "market.npz"
        keep_market(made_market(rows), market)
        found = {
            name: in_own_process(name, market, rows, is_quick=given.quick)
            for name in ENGINES
            if not (given.quick and ENGINES[name].is_slow)
        }
    table(found, rows)
    print(json.dumps(summary(found, rows)))


if __name__ == "__main__":
    main()
