"""Whatever a strategy is named and says, the reply can be sent and is what the other side takes."""

import msgspec
import pytest

from app.sandbox.messages import LONGEST_TEXT, Asked, Check, Decide, Described, Failed, Finding, Holding, Load, Reply, Request, Run
from tests.sandbox.guest.market import COSTS, guest_with, made_candles


def answers(source: str, *requests: Request) -> list[Reply]:
    guest = guest_with(made_candles(200))
    replies = [guest.handle(request) for request in (Load(source=source), *requests)]
    for reply in replies:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=Reply) == reply
    return replies


ODD = {
    "a table and odd kinds of arrays": """
    def indicators(self, candles):
        self.table = np.zeros((len(candles), 3))
        self.things = np.array([object()] * len(candles))
        self.words = np.array(["a"] * len(candles))
        self.dates = candles.time.astype("datetime64[ms]")
        self.complex = candles.close.astype(complex)
        self.half, self.swapped = candles.close.astype("float16"), candles.close.astype(">f8")
        self.strided = np.repeat(candles.close, 2)[::2]

    def should_long(self):
        is_text = len(self.table[-1]) == 3 and self.words[-1] == "a"
        return bool(self.half[-1] > 0 and self.swapped[-1] > 0 and self.strided[-1] > 0 and is_text)
""",
    "what holds itself": """
    def indicators(self, candles):
        self.me, self.list, self.dict = self, [], {}
        self.list.append(self.list)
        self.dict["me"] = self.dict
        for _ in range(5000):
            self.deep = [getattr(self, "deep", None)]

    def should_long(self):
        return True
""",
    "no attributes": """
    def __setattr__(self, name, value):
        raise RuntimeError("no")

    @property
    def position(self):
        return 5

    def should_long(self):
        return True
""",
    "a number that answers for itself": """
    def should_long(self):
        return True

    def stop_price(self):
        class Odd(float):
            def __lt__(self, other):
                return False
            __le__ = __gt__ = __ge__ = lambda self, other: True
        return Odd(-5)
""",
    "a generator for signals": """
    def signals(self, candles):
        yield 1
""",
    "an interrupt wherever one looks": """
    def __getattribute__(self, name):
        raise KeyboardInterrupt

    def should_long(self):
        return True
""",
    "arguments to begin with": """
    def __init__(self, length):
        self.length = length

    def should_long(self):
        return True
""",
    "a parameter that cannot be shown": """
    class Rude:
        def __eq__(self, other):
            raise ValueError
        __repr__ = __str__ = __eq__

    rude = param(Rude(), choices=[Rude()])
    def should_long(self):
        return True
""",
    "a huge parameter": """
    huge = param(10**400, low=0)

    def should_long(self):
        return True
""",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_strategies_are_answered_like_others(name: str) -> None:
    holding = Holding(quantity=1.0, entry_price=1.0, equity=100.0)
    steps = [Check(step=step, costs=COSTS) for step in ("contract", "look_ahead", "warm_up", "values", "speed")]

    replies = answers(f"import numpy as np\n{HEAD}{ODD[name]}", Run(start=0, costs=COSTS), *steps, Decide(candle=None, holding=holding))

    assert len(replies) == 8
    assert not any(isinstance(reply, Failed) and reply.kind == "NOT_SENDABLE" for reply in replies)


@pytest.mark.parametrize("source", ["", "\0", "(" * 3_000, "x=" + "-" * 5_000 + "1\n", "\ufeff", "del Strategy", "raise SystemExit"])
def test_sources_that_are_none_are_answered(source: str) -> None:
    assert isinstance(answers(source)[0], Failed)


HEAD = "from aristobot import Strategy, param, ta\n\nclass Tried(Strategy):\n"
LONG = "\n    def should_long(self):\n        return True\n"


@pytest.mark.parametrize(
    "source",
    [
        f"{HEAD}    {'p' * 65} = param(1, low=0, high=9)\n{LONG}",
        f"{HEAD}    p = param(1e300, low=0, high=1e301)\n{LONG}",
        f"{HEAD}    p = param('a', choices=['a', '\\ud800'])\n{LONG}",
    ],
)
def test_what_the_protocol_does_not_take_is_told_instead_of_sent(source: str) -> None:
    (reply,) = answers(source)

    assert isinstance(reply, Failed)
    assert reply.kind == "NOT_SENDABLE"


def test_long_names_and_texts_are_cut() -> None:
    (reply,) = answers(f"from aristobot import Strategy\n\nclass {'N' * 300}(Strategy):\n    '''{'d' * 9_000}'''\n{LONG}")

    assert isinstance(reply, Described)
    assert (len(reply.class_name), len(reply.docstring)) == (64, 4_000)


@pytest.mark.parametrize("raised", ["ValueError('x' * 10**6)", "ValueError('\\ud800')", "type('E' * 500, (Exception,), {})('odd')"])
def test_an_exception_of_any_size_can_be_sent(raised: str) -> None:
    reply = answers(f"{HEAD}\n    def should_long(self):\n        raise {raised}\n", Run(start=0, costs=COSTS))[1]

    assert isinstance(reply, Failed)
    assert len(reply.message) <= LONGEST_TEXT


def test_any_text_can_be_printed() -> None:
    reply = answers(
        f"{HEAD}\n    def should_long(self):\n        print('\\ud800é' * 5000, 1, sep=chr(0))\n        return False\n",
        Run(start=0, costs=COSTS),
    )[1]

    assert len(getattr(reply, "output", "")) == LONGEST_TEXT


def test_findings_about_odd_names_can_be_sent() -> None:
    indicators = (
        f"    def indicators(self, candles):\n        setattr(self, '{'x' * 300}', candles.close[::-1])\n"
        "        self.d = {'\\ud800': candles.close[::-1]}\n"
    )
    odd = f"{HEAD}    warm_up = 5\n{indicators}{LONG}"

    found = [
        getattr(reply, "findings", []) for reply in answers(odd, Check(step="look_ahead", costs=COSTS), Check(step="values", costs=COSTS))
    ]

    assert all(isinstance(each, Finding) for findings in found for each in findings)
    assert found[1]


def test_a_request_comes_over_the_wire_as_it_was() -> None:
    asked = Asked(request_id=5, request=Load(source="x", parameters={"a": 1, "b": 0.5, "c": True, "d": None, "e": "word"}))

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(asked), type=Asked) == asked
