"""The market and the rules of the comparison, and peers that play by them: each in its own idiom, none of them tuned.

EMA(12) and EMA(26) on the close, seeded with the first close; from bar 26 on a cross up buys one unit at the next open, a cross down sells
at the next open; a stop of 2 % and a target of 4 % live from the entry's bar on, the stop first; fee 0.1 % a side; cash of ten million, so
that no position is refused; a position that is open at the end is marked at the last close. Each bar opens at the close before it, so that
engines that trade at closes trade at the same prices as those that trade at opens.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.domain.arrays import Candles

FAST: Final = 12
SLOW: Final = 26
STOP: Final = 0.02
TARGET: Final = 0.04
FEE: Final = 0.001
CASH: Final = 10_000_000.0
MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Played:
    """What a run came to; the check that all played by the same rules."""

    trades: int
    equity: float


def made_market(rows: int) -> Candles:
    """Return a random walk of one-minute bars with clusters of volatility and rare wicks, the same on every machine."""
    chance = np.random.default_rng(2026)
    calm = np.repeat(chance.lognormal(0, 0.6, rows // 240 + 1), 240)[:rows]
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.0011, rows) * calm))
    open_ = np.concatenate([[100.0], close[:-1]])
    reach = np.abs(chance.normal(0, 0.0006, (2, rows))) * calm + np.where(chance.random((2, rows)) < 0.001, 0.02, 0.0)
    high, low = np.maximum(open_, close) * (1 + reach[0]), np.minimum(open_, close) * (1 - reach[1])
    return Candles(np.arange(rows) * MINUTE_MS, open_, high, low, close, chance.lognormal(3, 1, rows))


def keep_market(candles: Candles, path: Path) -> None:
    """Write candles where processes take them from without the memory that making them takes."""
    np.savez(path, **{name: getattr(candles, name) for name in Candles.__slots__})


def kept_market(path: Path, rows: int) -> Candles:
    """Return the first candles of a file."""
    with np.load(path) as columns:
        return Candles(**{name: columns[name] for name in Candles.__slots__}).until(rows)


def bare_loop() -> Callable[[Candles], Played]:
    """Return the rules as one loop without any engine: what this machine can do at all."""
    loop = importlib.import_module("numba").njit(cache=True)(_loop)
    return lambda candles: Played(*loop(candles.open, candles.high, candles.low, candles.close))


def _loop(open_: Any, high: Any, low: Any, close: Any) -> tuple[int, float]:
    fast = slow = close[0]
    was_above = was_below = False
    cash, entry, trades, order, is_held = CASH, 0.0, 0, 0, False
    for row in range(len(close)):
        if order == 1:
            entry, is_held, trades = open_[row], True, trades + 1
            cash -= entry * (1 + FEE)
        elif order == -1 and is_held:
            cash, is_held = cash + open_[row] * (1 - FEE), False
        order = 0
        if is_held:
            stop, target = entry * (1 - STOP), entry * (1 + TARGET)
            if low[row] <= stop:
                cash, is_held = cash + stop * (1 - FEE), False
            elif high[row] > target:
                cash, is_held = cash + target * (1 - FEE), False
        fast += (close[row] - fast) * 2 / (FAST + 1)
        slow += (close[row] - slow) * 2 / (SLOW + 1)
        is_above, is_below = fast > slow, fast < slow
        if row >= SLOW:
            if is_above and not was_above and not is_held:
                order = 1
            elif is_below and not was_below and is_held:
                order = -1
        was_above, was_below = is_above, is_below
    return trades, cash + (close[-1] if is_held else 0.0)


def vectorbt(engine: str) -> Callable[[Candles], Played]:
    """Return the rules in vectorbt. It trades at the close of the signal's bar, the next open: its stops live from the next bar on."""
    vbt = importlib.import_module("vectorbt")

    def play(candles: Candles) -> Played:
        fast, slow = (
            vbt.MA.run(candles.close, span, ewm=True, adjust=False, short_name=name) for span, name in ((FAST, "fast"), (SLOW, "slow"))
        )
        portfolio = vbt.Portfolio.from_signals(
            candles.close,
            entries=fast.ma_crossed_above(slow),
            exits=fast.ma_crossed_below(slow),
            open=candles.open,
            high=candles.high,
            low=candles.low,
            sl_stop=STOP,
            tp_stop=TARGET,
            stop_entry_price="fillprice",
            size=1.0,
            fees=FEE,
            init_cash=CASH,
            freq="1min",
            engine=engine,
        )
        return Played(int(portfolio.trades.count()), float(portfolio.final_value()))

    return play


def backtesting() -> Callable[[Candles], Played]:
    """Return the rules in backtesting.py."""
    pandas = importlib.import_module("pandas")
    library = importlib.import_module("backtesting")
    crossover = importlib.import_module("backtesting.lib").crossover

    def average(close: Any, span: int) -> Any:
        return pandas.Series(close).ewm(span=span, adjust=False).mean()

    class Cross(library.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, FAST)
            self.slow = self.I(average, self.data.Close, SLOW)

        def next(self) -> None:
            if len(self.data) <= SLOW:
                return
            if self.position:
                if crossover(self.slow, self.fast):
                    self.position.close()
            elif crossover(self.fast, self.slow):
                price = self.data.Close[-1]
                self.buy(size=1, sl=price * (1 - STOP), tp=price * (1 + TARGET))

    def play(candles: Candles) -> Played:
        table = pandas.DataFrame(
            {"Open": candles.open, "High": candles.high, "Low": candles.low, "Close": candles.close, "Volume": candles.volume},
            index=pandas.to_datetime(candles.time, unit="ms"),
        )
        found = library.Backtest(table, Cross, cash=CASH, commission=FEE).run()
        broker = found["_strategy"]
        return Played(len(broker.closed_trades) + len(broker.trades), float(found["Equity Final [$]"]))

    return play
