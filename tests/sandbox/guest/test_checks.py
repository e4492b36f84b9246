import pytest

from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Check, Checked, Failed, Finding
from tests.sandbox.guest.market import COSTS, described, found, guest_with, made_candles, resampled, sentence
from tests.sandbox.guest.three_styles import PER_CANDLE, TEMPLATE

HEAD = """
import numpy as np
from aristobot import Strategy, param, ta

class Tried(Strategy):
    warm_up = 50
"""
CANDLES = made_candles(1_200)


def check(step: str, body: str, *, head: str = HEAD) -> list[Finding]:
    guest = guest_with(CANDLES)
    described(guest, f"{head}{body}")
    return found(guest, step)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.code, each.attribute) for each in findings]


LONG = """
    def should_long(self):
        return self.candles.close[-1] > self.candles.open[-1]
"""


@pytest.mark.parametrize(
    ("written", "attribute", "near"),
    [
        ("    def shouldExit(self):\n        return True\n", "shouldExit", "should_exit"),
        ("    def should_exits(self):\n        return True\n", "should_exits", "should_exit"),
        ("    def stop_prise(self):\n        return 1.0\n", "stop_prise", "stop_price"),
        ("    def indicator(self, candles):\n        self.a = candles.close\n", "indicator", "indicators"),
        ("    stoploss = 0.02\n", "stoploss", "stop_loss"),
        ("    takeProfit = 0.02\n", "takeProfit", "take_profit"),
        ("    time_frame = '4h'\n", "time_frame", "timeframe"),
        ("    warmup = 10\n", "warmup", "warm_up"),
    ],
)
def test_a_name_that_nothing_calls_but_looks_like_one_is_an_error_with_its_line(written: str, attribute: str, near: str) -> None:
    (finding,) = check("contract", f"\n{written}{LONG}")

    assert (finding.code, finding.attribute, finding.severity, finding.line) == ("METHOD_MISSPELLED", attribute, "error", 8)
    assert sentence(finding) == f"{attribute} is never called; did you mean {near}?"


def test_a_helper_that_is_called_may_have_any_name() -> None:
    body = "\n    def should_buy(self):\n        return True\n\n    def should_long(self):\n        return self.should_buy()\n"

    assert check("contract", body) == []


@pytest.mark.parametrize(
    ("written", "signature"),
    [
        ("def should_exit():\n        return True", "should_exit(self)"),
        ("def should_exit(self, candles):\n        return True", "should_exit(self)"),
        ("def indicators(self):\n        pass", "indicators(self, candles)"),
        ("async def should_exit(self):\n        return True", "should_exit(self)"),
        ("should_exit = True", "should_exit(self)"),
        ("def on_fill(self):\n        pass", "on_fill(self, fill)"),
    ],
)
def test_a_method_with_other_arguments_is_an_error(written: str, signature: str) -> None:
    (finding,) = check("contract", f"\n    {written}\n{LONG}")

    assert finding.code == "METHOD_ARGUMENTS"
    assert sentence(finding) == f"{finding.attribute} must be written as def {signature}"
    assert finding.line == 8


@pytest.mark.parametrize(
    ("method", "returned", "code", "value"),
    [
        ("should_long", "pass", "RETURN_NONE", ""),
        ("should_exit", "return 1", "RETURN_TYPE", "int 1"),
        ("should_exit", "return 'yes'", "RETURN_TYPE", "str 'yes'"),
        ("should_long", "return self.candles.close", "RETURN_TYPE", "Series Series(…"),
        ("should_short", "return self.candles.close[-1]", "RETURN_TYPE", "float"),
    ],
)
def test_an_answer_that_is_neither_yes_nor_no_is_an_error(method: str, returned: str, code: str, value: str) -> None:
    other = "" if method == "should_long" else LONG
    findings = check("contract", f"\n    def {method}(self):\n        {returned}\n{other}")

    assert codes(findings) == [(code, method)]
    assert findings[0].values.get("value", "").startswith(value)
    assert findings[0].line == 8


@pytest.mark.parametrize(
    ("name", "value"), [("stop_loss", "5"), ("take_profit", "-0.1"), ("trailing_stop", "'wide'"), ("stop_loss", "True")]
)
def test_a_fraction_that_is_none_is_an_error(name: str, value: str) -> None:
    (finding,) = check("contract", f"\n    {name} = {value}\n{LONG}")

    assert (finding.code, finding.attribute, finding.line) == ("ATTRIBUTE_INVALID", name, 8)


def test_methods_that_are_seldom_asked_are_tried_all_the_same() -> None:
    guest = guest_with(CANDLES)
    described(
        guest, f"{HEAD}\n    def should_long(self):\n        return False\n\n    def should_exit(self):\n        return self.missing > 1\n"
    )

    reply = guest.handle(Check(step="contract", costs=COSTS))

    assert isinstance(reply, Failed)
    assert (reply.kind, reply.line) == ("AttributeError", 12)


def test_a_parameter_whose_bound_breaks_the_strategy_is_a_warning() -> None:
    body = f"""
    length = param(10, low=0, high=50)

    def indicators(self, candles):
        self.ema = ta.EMA(candles.close, self.length)
{LONG}"""
    findings = [each for each in check("contract", body) if each.severity == "warning"]

    assert codes(findings) == [("PARAMETER_EXTREME", "length")]
    assert sentence(findings[0]).startswith("with length = 0 the strategy fails: ")
    assert findings[0].line == 11


def test_a_strategy_that_never_enters_is_told_so() -> None:
    assert codes(check("contract", "\n    def should_long(self):\n        return False\n")) == [("NO_DECISION", "")]


def test_state_that_indicators_would_reset_is_a_warning() -> None:
    body = """
    def indicators(self, candles):
        self.count = 0

    def should_long(self):
        self.count += 1
        return self.count % 5 == 0
"""
    assert codes(check("contract", body)) == [("STATE_IN_INDICATORS", "count")]
    assert check("contract", body.replace("def indicators(self, candles)", "def __init__(self)")) == []


def test_warm_up_that_is_too_short_is_reported_with_what_would_do() -> None:
    body = f"""
    def indicators(self, candles):
        self.slow = ta.EMA(candles.close, 40)
        self.slower = ta.SMA(candles.close, 120)
        self.plain = ta.SMA(candles.close, 20)
        self.volume = ta.OBV(candles.close, candles.volume)
{LONG}"""
    findings = {each.attribute: each for each in check("warm_up", body)}

    assert {name: each.code for name, each in findings.items()} == {
        "slow": "WARM_UP_SHORT",
        "slower": "WARM_UP_NAN",
        "volume": "WARM_UP_NEVER",
    }
    assert int(findings["slow"].values["needed"]) in (100, 200, 400)
    assert findings["slower"].values["needed"] == "200"
    assert {each.severity for each in findings.values()} == {"warning"}


@pytest.mark.parametrize(("warm_up", "needed"), [(300, "more than 600"), (1_100, None)])
def test_a_long_warm_up_is_checked_with_what_is_left(warm_up: int, needed: str | None) -> None:
    head = HEAD.replace("warm_up = 50", f"warm_up = {warm_up}")
    findings = check(
        "warm_up", f"\n    def indicators(self, candles):\n        self.volume = ta.OBV(candles.close, candles.volume)\n{LONG}", head=head
    )

    assert codes(findings) == [("WARM_UP_SHORT", "volume")]
    assert needed is None or findings[0].values["needed"] == needed


def test_too_few_candles_after_the_warm_up_are_told() -> None:
    head = HEAD.replace("warm_up = 50", "warm_up = 1190")

    assert codes(check("warm_up", LONG, head=head)) == [("NOT_ENOUGH_CANDLES", "")]


def test_values_that_say_nothing_are_reported() -> None:
    body = """
    def indicators(self, candles):
        self.fine = ta.EMA(candles.close, 10)
        self.unused = ta.EMA(candles.close, 12)
        self.missing = np.full(len(candles), np.nan)
        self.late = ta.SMA(candles.close, 200)
        self.constant = np.full(len(candles), 7.0)
        with np.errstate(divide="ignore"):
            self.infinite = 1 / np.where(np.arange(len(candles)) == 300, 0, candles.close)
        self.short = candles.close[10:]
        self.weights = np.array([1.0, 2.0])

    def should_long(self):
        now = self.fine[-1] + self.missing[-1] + self.late[-1] + self.constant[-1] + self.infinite[-1]
        return bool(now + self.short[0] + self.weights[0])
"""
    findings = check("values", body)

    assert set(codes(findings)) == {
        ("VALUES_UNUSED", "unused"),
        ("VALUES_ALL_NAN", "missing"),
        ("VALUES_NAN", "late"),
        ("VALUES_CONSTANT", "constant"),
        ("VALUES_INFINITE", "infinite"),
        ("VALUES_LENGTH", "short"),
    }
    late = next(each for each in findings if each.attribute == "late")
    assert (late.candle, late.values["count"], late.line) == (49, "150", 12)


def test_speed_is_measured_and_slowness_a_warning() -> None:
    guest = guest_with(made_candles(300))
    described(guest, f"{HEAD}\n    def should_long(self):\n        return sum(range(20_000)) < 0\n")
    slow = guest.handle(Check(step="speed", costs=COSTS))
    described(guest, PER_CANDLE.replace("warm_up = 1000", "warm_up = 50"))
    fast = guest.handle(Check(step="speed", costs=COSTS))

    assert isinstance(slow, Checked)
    assert isinstance(fast, Checked)
    assert codes(slow.findings) == [("SLOW", "")]
    assert slow.bars_per_s is not None
    assert fast.bars_per_s is not None
    assert fast.bars_per_s > 10 * slow.bars_per_s


@pytest.mark.parametrize("step", ["contract", "look_ahead", "warm_up", "values"])
def test_the_older_template_passes_every_step(step: str) -> None:
    guest = guest_with(CANDLES)
    described(guest, TEMPLATE)

    assert [sentence(each) for each in found(guest, step)] == []


def test_every_step_needs_a_strategy() -> None:
    reply = Guest([], None).handle(Check(step="values", costs=COSTS))

    assert isinstance(reply, Failed)
    assert reply.kind == "NOT_LOADED"


def test_sentences_can_be_filled_with_their_values() -> None:
    daily = resampled(CANDLES, "1h", "1d")
    guest = guest_with(CANDLES, others={"1d": daily})
    described(guest, f"{HEAD}\n    def indicators(self, candles):\n        self.next = np.roll(candles.close, -1)\n{LONG}")

    (finding,) = found(guest, "look_ahead")

    assert sentence(finding).startswith(f"next looks ahead: at candle {finding.candle} it is ")
    assert all(len(value) <= 64 for value in finding.values.values())
