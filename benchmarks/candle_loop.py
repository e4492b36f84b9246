"""How fast strategies decide, candle by candle, beside a bare loop and the same strategy written out by hand.

    uv run python -m benchmarks.candle_loop [candles]

Everything runs in this process, one after the other, best of three: the jail adds nothing to a run but its start.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import talib

from app.domain.arrays import Candles
from app.domain.simulation import SimulationCosts, simulate
from app.sandbox.guest import preload
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Costs, Failed, Frame, Load, Run
from app.sandbox.sheet import Sheet
from app.strategies.builtins import builtins

PER_CANDLE = """
from aristobot import Strategy, ta

class Cross(Strategy):
    warm_up = 200
    stop_loss = 0.02
    take_profit = 0.04

    def indicators(self, candles):
        self.fast = ta.EMA(candles.close, 12)
        self.slow = ta.EMA(candles.close, 26)

    def should_long(self):
        return ta.crossed_above(self.fast, self.slow)

    def should_exit(self):
        return ta.crossed_below(self.fast, self.slow)
"""

SIGNALS = """
from aristobot import Strategy, ta

class Cross(Strategy):
    warm_up = 200
    stop_loss = 0.02
    take_profit = 0.04

    def signals(self, candles):
        fast, slow = ta.EMA(candles.close, 12), ta.EMA(candles.close, 26)
        return {"long": ta.crossed_above(fast, slow), "exit": ta.crossed_below(fast, slow)}
"""

TEMPLATE = """
import pandas_ta as ta

class Cross(Strategy):
    warm_up = 200
    window = 200

    def __init__(self, candles, balance, position=None):
        self.fast = ta.ema(candles["close"], length=12)
        self.slow = ta.ema(candles["close"], length=26)

    def should_long(self):
        return self.fast.iloc[-1] > self.slow.iloc[-1] and self.fast.iloc[-2] <= self.slow.iloc[-2]

    def should_short(self):
        return self.fast.iloc[-1] < self.slow.iloc[-1] and self.fast.iloc[-2] >= self.slow.iloc[-2]

    def calculate_position_size(self):
        return 1.0
"""


def made_candles(rows: int) -> Candles:
    """Return a random walk that ends about where it begins."""
    chance = np.random.default_rng(1)
    close = 100 * np.exp(0.3 * np.sin(np.arange(rows) / 500) + 0.1 * np.sin(np.arange(rows) / 37) + chance.normal(0, 0.002, rows))
    open_ = np.concatenate([[100.0], close[:-1]])
    return Candles(
        np.arange(rows) * 3_600_000, open_, np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999, close, np.ones(rows)
    )


def by_hand(candles: Candles) -> int:
    """Decide what PER_CANDLE decides, without stops, account or any method: the least that Python can do for it."""
    fast, slow = talib.EMA(candles.close, 12).tolist(), talib.EMA(candles.close, 26).tolist()
    entries, is_held = 0, False
    for row in range(200, len(fast)):
        if is_held:
            is_held = not (fast[row] < slow[row] and fast[row - 1] >= slow[row - 1])
        elif fast[row] > slow[row] and fast[row - 1] <= slow[row - 1]:
            is_held = True
            entries += 1
    return entries


def bare(rows: int) -> None:
    """Loop and do nothing."""
    for _ in range(rows):
        pass


def best(function: Callable[[], object]) -> float:
    """Return the seconds of the fastest of three runs."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return min(taken)


def show(name: str, rows: int, seconds: float, bare_s: float) -> None:
    """Print one line."""
    print(
        f"{name:34} {rows / seconds:>14,.0f} candles/s   {seconds / rows * 1e9:>8,.0f} ns a candle   {seconds / bare_s:>7.1f} × bare loop"
    )


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    preload.warm_up()
    candles = made_candles(rows)
    bare_s = best(lambda: bare(rows))
    show("bare loop", rows, bare_s, bare_s)
    show("EMA cross by hand, no account", rows, best(lambda: by_hand(candles)), bare_s)
    sources = [
        ("EMA cross, per candle", PER_CANDLE, rows),
        ("EMA cross, signals", SIGNALS, rows),
        ("EMA cross, older template", TEMPLATE, rows // 10),
    ]
    sources += [(each.title, each.source, rows // 5) for each in builtins()]
    for name, source, length in sources:
        part = candles.until(length)
        days = Candles(*(getattr(part, column)[::24] for column in ("time", "open", "high", "low", "close", "volume")))
        frames = [(Frame(symbol="X", timeframe=timeframe, rows=len(them)), them) for timeframe, them in (("1h", part), ("1d", days))]
        guest = Guest(frames, Sheet(length))
        for reply in (guest.handle(Load(source=source)), guest.handle(Run(start=0, costs=Costs()))):
            if isinstance(reply, Failed):
                sys.exit(f"{name}: {reply.message}")
        show(name, length, best(lambda guest=guest: guest.handle(Run(start=0, costs=Costs()))), bare_s * length / rows)  # type: ignore[misc]
    decisions = Sheet(rows)
    frame = Frame(symbol="X", timeframe="1h", rows=rows)
    guest = Guest([(frame, candles)], decisions)
    guest.handle(Load(source=PER_CANDLE))
    guest.handle(Run(start=0, costs=Costs()))
    show("replay of the decisions", rows, best(lambda: simulate(candles, decisions.decisions(), SimulationCosts())), bare_s)


if __name__ == "__main__":
    main()
