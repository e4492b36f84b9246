"""Twelve classic ways of using the future, and some that hide: each is found, with the attribute and a candle named."""

import time

import pytest

from app.sandbox.messages import Finding
from tests.sandbox.guest.market import decisions_of, described, found, guest_with, made_candles, resampled, sentence

HEAD = """
import numpy as np
from aristobot import Strategy, param, ta

class Kept:
    pass

class Peeks(Strategy):
    timeframe = "1h"
    warm_up = 60
    informative = ["4h"]
"""

#: What `indicators` does wrong; the series that is named; how near the end of the known history it differs at most (None: anywhere).
MISTAKES: dict[str, tuple[str, str, int | None]] = {
    "shift(-1)": (
        """
        later = np.roll(candles.close, -1)
        self.signal = later > candles.close
        """,
        "signal",
        1,
    ),
    "centred window": (
        """
        windows = np.lib.stride_tricks.sliding_window_view(candles.close, 21)
        self.signal = np.full(len(candles), np.nan)
        self.signal[10:-10] = windows.mean(axis=1)
        """,
        "signal",
        10,
    ),
    "normalised by the whole column": (
        "self.signal = (candles.close - candles.close.mean()) / candles.close.std()",
        "signal",
        None,
    ),
    "resampled, labelled by the beginning": (
        """
        four = len(candles) // 4 * 4
        last_of_four = candles.close[:four].reshape(-1, 4)[:, -1]
        self.signal = np.append(np.repeat(last_of_four, 4), candles.close[four:])
        """,
        "signal",
        4,
    ),
    "last value broadcast": (
        "self.signal = np.full(len(candles), ta.EMA(candles.close, 20)[-1])",
        "signal",
        None,
    ),
    "informative candle of the future": (
        """
        other = candles.other("4h")
        skipped = int((other.time[0] - candles.time[0]) // 3_600_000)
        closes = np.repeat(other.close, 4)
        self.signal = np.full(len(candles), np.nan)
        length = min(len(candles) - skipped, len(closes))
        self.signal[skipped : skipped + length] = closes[:length]
        """,
        "signal",
        4,
    ),
    "highest of the whole history": (
        """
        top = int(np.argmax(candles.high))
        self.signal = np.arange(len(candles)) < top
        """,
        "signal",
        None,
    ),
    "central differences": (
        "self.signal = np.gradient(candles.close)",
        "signal",
        1,
    ),
    "convolution of mode same": (
        "self.signal = np.convolve(candles.close, np.ones(9) / 9, mode='same')",
        "signal",
        5,
    ),
    "smoothed forwards and backwards": (
        "self.signal = ta.EMA(np.ascontiguousarray(ta.EMA(candles.close[::-1], 10)[::-1]), 10)",
        "signal",
        None,
    ),
    "gaps filled from behind": (
        """
        marks = np.where(np.arange(len(candles)) % 7 == 0, candles.close, np.nan)
        for row in range(len(marks) - 2, -1, -1):
            if np.isnan(marks[row]):
                marks[row] = marks[row + 1]
        self.signal = marks
        """,
        "signal",
        7,
    ),
    "scaled between minimum and maximum": (
        "self.signal = (candles.close - candles.close.min()) / (candles.close.max() - candles.close.min())",
        "signal",
        None,
    ),
    "summed up from the end": (
        "self.signal = np.cumsum(candles.volume[::-1])[::-1]",
        "signal",
        None,
    ),
    "differences appended instead of prepended": (
        "self.signal = np.diff(candles.close, append=candles.close[-1])",
        "signal",
        1,
    ),
}


def _source(indicators: str) -> str:
    body = "\n".join(
        "        " + line.strip("\n")[8:] if line.startswith("        ") else "        " + line
        for line in indicators.strip("\n").split("\n")
    )
    methods = """
    def should_long(self):
        return bool(self.signal[-1] > 0)

    def should_exit(self):
        return bool(self.signal[-1] <= 0)
"""
    return f"{HEAD}\n    def indicators(self, candles):\n{body}\n{methods}"


def _findings(source: str, *, seed: int = 7) -> list[Finding]:
    candles = made_candles(1_500)
    guest = guest_with(candles, others={"4h": resampled(candles, "1h", "4h")})
    described(guest, source)
    return found(guest, "look_ahead", seed=seed)


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_classic_mistake_is_found_with_its_attribute_and_its_candle(mistake: str, seed: int) -> None:
    indicators, attribute, reach = MISTAKES[mistake]
    source = _source(indicators)

    findings = _findings(source, seed=seed)

    finding = next(each for each in findings if each.attribute == attribute)
    assert finding.code == "LOOK_AHEAD_SERIES"
    assert finding.severity == "error"
    assert finding.candle is not None
    assert source.split("\n")[finding.line - 1].lstrip().startswith("self.signal")
    assert f"candle {finding.candle} " in sentence(finding)
    if reach is not None:
        assert int(finding.values["gap"]) < reach


def test_a_number_out_of_the_whole_history_is_found() -> None:
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.mean = candles.close.mean()

    def should_long(self):
        return self.candles.close[-1] < self.mean
"""
    )

    assert (findings[0].code, findings[0].attribute) == ("LOOK_AHEAD_NUMBER", "mean")


def test_a_candle_read_from_an_array_kept_aside_is_found_at_the_method_that_reads_it() -> None:
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.kept = Kept()
        self.kept.candles = candles

    def should_long(self):
        return self.kept.candles.close[self.row + 1] > self.candles.close[-1]
"""
    )

    assert {each.code for each in findings} == {"LOOK_AHEAD_ERROR"}
    assert findings[0].attribute == "should_long"
    assert "IndexError" in sentence(findings[0]) or "out of bounds" in sentence(findings[0])
    assert findings[0].line == 18


def test_a_candle_read_ahead_with_care_not_to_fall_off_the_end_is_found() -> None:
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.kept = Kept()
        self.kept.candles = candles

    def should_long(self):
        closes = self.kept.candles.close
        return closes[min(self.row + 1, len(closes) - 1)] > self.candles.close[-1] * 1.005

    def should_exit(self):
        return self.position.candles_held >= 3
"""
    )

    assert ("LOOK_AHEAD_DECISION", "should_long") in {(each.code, each.attribute) for each in findings}


@pytest.mark.parametrize(
    ("method", "returned"),
    [
        ("should_exit", "bool(self.later() < now)"),
        ("position_size", "0.5 if self.later() > now else 0.25"),
        ("stop_price", "now * 0.95 if self.later() > now else now * 0.9"),
        ("target_price", "now * 1.05 if self.later() > now else now * 1.1"),
        ("trailing", "0.05 if self.later() > now else 0.1"),
        ("adjust", "-0.1 if self.later() > now else None"),
    ],
)
def test_every_method_that_decides_is_watched(method: str, returned: str) -> None:
    leaves = "" if method == "should_exit" else "    def should_exit(self):\n        return self.position.candles_held >= 4\n"
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.kept = Kept()
        self.kept.candles = candles

    def later(self):
        closes = self.kept.candles.close
        return closes[min(self.row + 1, len(closes) - 1)]

    def should_long(self):
        return self.row % 3 == 0

    def {method}(self):
        now = self.candles.close[-1]
        return {returned}

{leaves}"""
    )

    assert ("LOOK_AHEAD_DECISION", method) in {(each.code, each.attribute) for each in findings}


def test_signals_that_look_ahead_are_named_themselves() -> None:
    findings = _findings(
        f"""{HEAD}
    def signals(self, candles):
        top = np.roll(candles.close, -1) > candles.close
        return {{"long": top, "exit": ~top}}
"""
    )

    assert {each.attribute for each in findings} == {"signals[long]", "signals[exit]"}


def test_parts_of_a_tuple_and_of_a_dict_are_named() -> None:
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.pair = (ta.EMA(candles.close, 10), np.roll(candles.close, -1))
        self.named = {{"fine": candles.close * 2, "bad": candles.close[::-1].copy()}}

    def should_long(self):
        return self.pair[0][-1] > self.pair[1][-1]
"""
    )

    assert {each.attribute for each in findings} == {"pair[1]", "named[bad]"}


KINDS = """
from dataclasses import dataclass
from typing import NamedTuple
import pandas_ta as old

@dataclass(frozen=True)
class Held:
    line: object

class Pair(NamedTuple):
    one: object
    two: object
"""


@pytest.mark.parametrize(
    ("kept", "read", "name"),
    [
        ("Held({})", "self.kept.line[-1]", "kept[line]"),
        ("Pair(1.0, {})", "self.kept.two[-1]", "kept[1]"),
        ("old.sma({}, length=2)", "self.kept.iloc[-1]", "kept"),
        ("old.bbands({}, length=3)", "self.kept['BBM_3_2.0'][-1]", "kept[BBL_3_2.0]"),
        ("[({},)]", "self.kept[0][0][-1]", "kept[0][0]"),
    ],
)
def test_series_are_found_in_what_users_keep_them_in(kept: str, read: str, name: str) -> None:
    def findings(values: str) -> list[Finding]:
        indicators = f"    def indicators(self, candles):\n        self.kept = {kept.format(values)}\n"
        return _findings(f"{KINDS}{HEAD}\n{indicators}\n    def should_long(self):\n        return {read} > self.candles.close[-1]\n")

    assert findings("candles.close") == []
    assert name in {each.attribute for each in findings("np.roll(candles.close, -1)")}


def test_a_slow_strategy_is_checked_on_fewer_candles() -> None:
    candles = made_candles(6_000)
    guest = guest_with(candles)
    described(
        guest,
        "from aristobot import Strategy\n\nclass Slow(Strategy):\n"
        "    def indicators(self, candles):\n        self.next = candles.close[::-1]\n\n"
        "    def should_long(self):\n        return sum(range(20_000)) < 0\n",
    )
    began = time.perf_counter()

    findings = found(guest, "look_ahead")

    assert [each.attribute for each in findings] == ["next"]
    assert findings[0].candle is not None
    assert time.perf_counter() - began < 25


def test_what_is_random_is_called_so_instead() -> None:
    findings = _findings(
        f"""{HEAD}
    def indicators(self, candles):
        self.noise = np.random.default_rng().normal(size=len(candles))

    def should_long(self):
        return bool(self.noise[-1] > 1)
"""
    )

    assert [(each.code, each.attribute) for each in findings] == [("NOT_REPEATABLE", "noise")]


HONEST = f"""{HEAD}
    def indicators(self, candles):
        self.ema = ta.EMA(candles.close, 20)
        self.deviation = ta.zscore(candles.close, 40)
        self.smooth = np.convolve(candles.close, np.ones(5) / 5)[: len(candles)]
        self.change = np.diff(candles.close, prepend=candles.close[0])
        self.sums = np.cumsum(candles.volume)
        self.above = candles.other("4h").align(ta.EMA(candles.other("4h").close, 5))
        self.bands = ta.BBANDS(candles.close, 20)
        self.weights = np.array([0.5, 0.3, 0.2])
        self.count = len(candles)
        self.noise = np.random.default_rng(5).normal(size=3)

    def should_long(self):
        return self.ema[-1] > self.above[-1] and self.deviation[-1] < 1

    def should_exit(self):
        return self.position.candles_held >= 5
"""


@pytest.mark.parametrize("seed", range(5))
def test_what_uses_the_past_alone_is_not_reported(seed: int) -> None:
    assert [sentence(each) for each in _findings(HONEST, seed=seed)] == []


def test_a_strategy_with_too_few_candles_is_told_so() -> None:
    guest = guest_with(made_candles(60), others={"4h": made_candles(15, timeframe="4h")})
    described(guest, HONEST)

    assert [each.code for each in found(guest, "look_ahead")] == ["NOT_ENOUGH_CANDLES"]


def test_per_candle_methods_cannot_reach_the_future_through_series() -> None:
    source = f"""{HEAD}
    def indicators(self, candles):
        self.ema = ta.EMA(candles.close, 5)
        self.failures = 0

    def should_long(self):
        assert len(self.ema) == len(self.candles) == self.row + 1
        assert len(self.ema[:]) == len(np.asarray(self.ema)) == self.row + 1
        assert self.ema[self.row] == self.ema[-1]
        for index in (self.row + 1, 10**6, -self.row - 2):
            try:
                self.ema[index]
            except IndexError:
                continue
            raise AssertionError(index)
        return False
"""
    decisions_of(source.replace('    informative = ["4h"]\n', ""), made_candles(300))
