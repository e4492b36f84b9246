"""Whatever a strategy is named and says, the reply can be sent and is what the other side takes."""

import msgspec
import pytest

from app.sandbox.messages import LONGEST_TEXT, Asked, Check, Described, Failed, Finding, Load, Reply, Request, Run
from tests.sandbox.guest.market import COSTS, guest_with, made_candles


def answers(source: str, *requests: Request) -> list[Reply]:
    guest = guest_with(made_candles(200))
    replies = [guest.handle(request) for request in (Load(source=source), *requests)]
    for reply in replies:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=Reply) == reply
    return replies


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
