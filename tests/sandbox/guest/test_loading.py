import subprocess
import sys

import pytest

from app.sandbox.messages import Informative, Load, Parameter
from tests.sandbox.guest.market import described, guest_with, made_candles, refused
from tests.sandbox.guest.three_styles import PER_CANDLE, TEMPLATE

GUEST = guest_with(made_candles(60))


def in_class(lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines.strip().split("\n"))
    return (
        f"from aristobot import Strategy, param, ta\n\nclass Tried(Strategy):\n{body}\n\n    def should_long(self):\n        return False\n"
    )


def test_a_strategy_says_what_it_is() -> None:
    told = described(GUEST, PER_CANDLE)

    assert (told.class_name, told.timeframe, told.warm_up, told.style, told.can_short) == ("EmaCross", "1h", 1000, "per_candle", False)
    assert told.docstring == "Long when the fast EMA crosses above the slow one."


def test_parameters_are_told_in_the_order_they_are_written() -> None:
    told = described(
        GUEST,
        in_class(
            """
length = param(14, low=2, high=50, help="Candles")
width = param(2, low=0.5, high=4, step=0.5)
is_strict = param(True)
source = param("close", choices=["close", "hl2"])
stop_loss = param(None, low=0.01, high=0.2)
"""
        ),
    )

    assert told.parameters == [
        Parameter(name="length", kind="int", default=14, low=2, high=50, help="Candles"),
        Parameter(name="width", kind="float", default=2.0, low=0.5, high=4, step=0.5),
        Parameter(name="is_strict", kind="bool", default=True),
        Parameter(name="source", kind="choice", default="close", choices=["close", "hl2"]),
        Parameter(name="stop_loss", kind="float", default=None, low=0.01, high=0.2, is_optional=True),
    ]


def test_parameters_of_a_base_class_come_first_and_can_be_taken_away() -> None:
    told = described(
        GUEST,
        """
from aristobot import Strategy, param

class Base(Strategy):
    one = param(1, low=0, high=9)
    two = param(2, low=0, high=9)

    def should_long(self):
        return False

class Tried(Base):
    three = param(3, low=0, high=9)
    one = 5
""",
    )

    assert told.class_name == "Tried"
    assert [each.name for each in told.parameters] == ["two", "three"]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"fast": 100}, "PARAMETER_OUT_OF_BOUNDS", "parameter fast must be at most 50, was 100"),
        ({"fast": 1}, "PARAMETER_OUT_OF_BOUNDS", "parameter fast must be at least 5, was 1"),
        ({"fast": 10.5}, "PARAMETER_INVALID", "parameter fast must be a whole number, was 10.5"),
        ({"fast": "10"}, "PARAMETER_INVALID", "parameter fast must be a number, was '10'"),
        ({"fast": True}, "PARAMETER_INVALID", "parameter fast must be a number, was True"),
        ({"fast": None}, "PARAMETER_INVALID", "parameter fast must have a value, was None"),
        ({"fats": 10}, "PARAMETER_UNKNOWN", "there is no parameter fats; did you mean fast?"),
        ({"stop_loss": float("nan")}, "PARAMETER_INVALID", "parameter stop_loss must be a number, was nan"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_the_reason(given: dict[str, float], code: str, message: str) -> None:
    reply = refused(PER_CANDLE, **given)

    assert (reply.kind, reply.message) == (code, message)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("param(60, low=2, high=50)", "the default must be at most 50, was 60"),
        ("param(5, low=9, high=2)", "low is 9 and high is 2"),
        ("param(5, step=0)", "step must be above 0, was 0"),
        ("param(None)", "needs low and high"),
        ("param('x', choices=['a', 'b'])", "the default 'x' is none of its choices"),
        ("param('x')", "default must be a number, was 'x'"),
        ("param(1, choices=[])", "choices must name 1 to 50 values"),
    ],
)
def test_a_parameter_that_is_written_wrongly_is_refused_with_its_line(declared: str, message: str) -> None:
    reply = refused(in_class(f"length = {declared}"))

    assert reply.kind == "PARAMETER_DECLARATION"
    assert message in reply.message
    assert reply.line == 4


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        (
            "from aristobot import Strategy\nclass A(Strategy):\n    def should_long(self): return True\nclass B(A):\n    pass\n"
            "class C(Strategy):\n    def should_long(self): return False",
            "CLASSES_SEVERAL",
            "there are several strategies in one source, B and C: keep the one that is to trade",
        ),
        ("x = 1", "CLASS_MISSING", "there is no class that extends Strategy"),
        ("class A:\n    def go(self): pass", "CLASS_NOT_A_STRATEGY", "class A does not extend Strategy: write class A(Strategy):"),
        ("class A(Strategy):\n    pass", "NOTHING_DECIDES", "class A never decides anything"),
        ("class A(Strategy):\n    def shouldLong(self): return True", "NOTHING_DECIDES", "did you mean should_long instead of shouldLong?"),
        (in_class('timeframe = "7m"'), "TIMEFRAME_UNKNOWN", "timeframe must be one of 1m, 3m,"),
        (in_class("warm_up = -1"), "WARM_UP_INVALID", "warm_up must be a whole number of candles, 0 or more, was -1"),
        (in_class("informative = 5"), "INFORMATIVE_INVALID", "informative holds timeframes or (symbol, timeframe) pairs"),
        (in_class('informative = ["9h"]'), "TIMEFRAME_UNKNOWN", "informative: the timeframe must be one of"),
    ],
)
def test_a_source_that_is_no_strategy_is_refused_with_a_hint(source: str, code: str, message: str) -> None:
    reply = refused(source)

    assert reply.kind == code
    assert message in reply.message


def test_a_syntax_error_is_told_with_line_and_column() -> None:
    reply = refused("from aristobot import Strategy\n\nclass A(Strategy):\n    def should_long(self:\n        return True\n")

    assert reply.kind == "SyntaxError"
    assert (reply.line, reply.column) == (4, 20)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import os", "a strategy cannot import os: a strategy has no file system and no processes"),
        ("import pandas as pd", "a strategy cannot import pandas: columns are numpy arrays here, and ta has the indicators"),
        ("from urllib import request", "a strategy cannot import urllib: you may import"),
        ("import nunpy as np", "a strategy cannot import nunpy: did you mean numpy?"),
        ("from . import other", "a strategy is one file"),
    ],
)
def test_an_import_that_is_not_allowed_is_refused_with_its_line(line: str, message: str) -> None:
    reply = refused(f"x = 1\n{line}\n")

    assert reply.kind == "ImportError"
    assert message in reply.message
    assert reply.line == 2


def test_what_the_guide_allows_can_be_imported() -> None:
    described(
        GUEST,
        """
from __future__ import annotations
import numpy as np, math, statistics, itertools, functools, datetime, collections, re, random, json, decimal, talib
import aristobot.ta
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple
import aristobot
from aristobot import Strategy

class Mode(Enum):
    ON = 1

@dataclass
class Level:
    price: float = 1.0

class Pair(NamedTuple):
    one: int

class Tried(Strategy):
    def indicators(self, candles):
        self.level = Level()
        self.ema = aristobot.ta.EMA(candles.close, 5)

    def should_long(self):
        return False
""",
    )


def test_other_candles_are_asked_for_by_timeframe_or_with_a_symbol() -> None:
    as_attribute = described(GUEST, in_class('informative = ["4h", ("ETH/USDT", "1h")]'))
    as_method = described(GUEST, in_class('def informative(self):\n    return ["4h", ("ETH/USDT", "1h")]'))

    assert as_attribute.informative == [Informative(timeframe="4h"), Informative(symbol="ETH/USDT", timeframe="1h")]
    assert as_method.informative == as_attribute.informative


def test_a_later_source_takes_the_place_of_an_earlier_one() -> None:
    guest = guest_with(made_candles(60))
    described(guest, PER_CANDLE)

    assert described(guest, TEMPLATE).style == "template"
    guest.handle(Load(source="broken"))
    assert described(guest, PER_CANDLE).style == "per_candle"


ALOOF = """
import sys
from app.sandbox.guest import preload
preload.warm_up()
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Check, Costs, Decide, Failed, Holding, Load, Run
from app.strategies.builtins import builtins
from tests.sandbox.guest.market import COSTS, guest_with, made_candles, resampled
from tests.sandbox.guest.test_running import EVERYTHING
from tests.sandbox.guest.three_styles import PER_CANDLE, SIGNALS, TEMPLATE

candles = made_candles(3000)
sources = [each.source for each in builtins()] + [PER_CANDLE, SIGNALS, TEMPLATE, EVERYTHING]
sources += ["import pandas", "class A(", "x = undefined", "raise SystemExit", "print('é')\\n1/0"]
guest = guest_with(candles, others={"1d": resampled(candles, "1h", "1d")})
seen = []
# CPython looks for the file of a source with a syntax error, to show its line; where there is none it goes without.
usual = ("strategy.py", "rb", 0)
sys.addaudithook(lambda event, told: seen.append((event, told)) if event in ("open", "import") and told != usual else None)
failed = 0
for source in sources:
    steps = [Check(step=step, costs=COSTS) for step in ("contract", "look_ahead", "warm_up", "values", "speed")]
    holding = Holding(quantity=0.0, entry_price=0.0, equity=1000.0)
    for request in (Load(source=source), Run(start=0, costs=COSTS), *steps, Decide(candle=None, holding=holding)):
        failed += isinstance(guest.handle(request), Failed)
print(failed, seen)
"""


def test_nothing_is_opened_or_imported_after_the_warm_up() -> None:
    run = subprocess.run([sys.executable, "-c", ALOOF], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout == "40 []\n"
