"""What the zygote does once, before it forks workers: import all that will be needed, so that no file is opened after the lock."""

import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.utf_8
import gc
import io
import linecache
import logging
import traceback
import unicodedata
from datetime import UTC, datetime

import numpy as np

from app.domain.arrays import Candles
from app.domain.simulation import SimulationCosts
from app.sandbox.guest import imports, module, older_ta
from app.sandbox.guest.failures import failed
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Costs, Failed, Frame, Load, Run
from app.sandbox.sheet import Sheet

#: Used, so that no linter takes them for forgotten: codecs and tables that Python looks up by name when it first needs them.
_BY_NAME = (encodings.ascii, encodings.idna, encodings.latin_1, encodings.utf_8, linecache, unicodedata, logging)

_EXAMPLE = """
from aristobot import Strategy, param, ta

class Example(Strategy):
    fast = param(3, low=2, high=9)

    def indicators(self, candles):
        self.average = ta.EMA(candles.close, self.fast)

    def should_long(self):
        return ta.crossed_above(self.candles.close, self.average)

    def should_exit(self):
        return self.candles.close[-1] < self.average[-1]
"""
_BROKEN = "def f(:\n"
_RAISES = "import pandas\n"


def warm_up() -> None:
    """Import and exercise everything once. Takes some tenths of a second; may be called again."""
    imports.preload()
    module.register()
    older_ta.register()
    _exercise_python()
    _exercise_numpy()
    _exercise_guest()
    gc.collect()


def _exercise_python() -> None:
    for value in ("é\u202e😀", b"\xff", 10**30, 1.5, {1: [2, (3,)]}, datetime(2024, 1, 1, tzinfo=UTC)):
        repr(value)
        str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    datetime.strptime("2024-01-31 10:00", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    try:
        compile(_BROKEN, "strategy.py", "exec")
    except SyntaxError as error:
        "".join(traceback.format_exception(error))
    try:
        dict[str, int]()["missing"]
    except KeyError as error:
        "".join(traceback.format_exception(error))
        failed(error)
    print("warm", file=io.StringIO())


def _exercise_numpy() -> None:
    values = np.arange(12.0).reshape(3, 4)
    repr(values)
    str(values)
    repr(np.array([True, False]))
    repr(np.array([np.nan, 1e-300]))
    np.linalg.svd(values)
    np.linalg.lstsq(values, np.arange(3.0), rcond=None)
    np.fft.rfft(values)
    np.random.default_rng(0).normal(size=3)
    np.polynomial.polynomial.polyfit(np.arange(4.0), np.arange(4.0), 1)
    np.polyfit(np.arange(4.0), np.arange(4.0), 1)
    np.convolve(values[0], values[1])
    np.percentile(values, 50)
    np.nanmedian(values)
    np.corrcoef(values)
    np.histogram(values)
    np.ma.masked_invalid(values).mean()
    with np.errstate(all="ignore"):
        repr(np.float64(1.0) / 0.0)


def _exercise_guest() -> None:
    rows = 64
    close = 100 + np.sin(np.arange(rows) / 3)
    candles = Candles(np.arange(rows) * 3_600_000, close, close + 1, close - 1, close, close)
    guest = Guest([(Frame(symbol="BTC/USDT", timeframe="1h", rows=rows), candles)], Sheet(rows))
    for request in (Load(source=_EXAMPLE), Run(start=0, costs=Costs())):
        reply = guest.handle(request)
        if isinstance(reply, Failed):
            raise TypeError(f"the example strategy failed: {reply.message}")
    guest.handle(Load(source=_BROKEN))
    guest.handle(Load(source=_RAISES))
    SimulationCosts()
