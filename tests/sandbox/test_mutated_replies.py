"""Replies with some bytes changed: each is read, or is found to be broken, and nothing else ever comes of it."""

import random

import msgspec
import pytest

from app.sandbox.asking import encoded, reply_in
from app.sandbox.messages import (
    Answered,
    Asked,
    Checked,
    Costs,
    Decide,
    Decision,
    Described,
    Edit,
    Failed,
    Finding,
    Holding,
    Load,
    Packed,
    Parameter,
    Ran,
    Reply,
    Rewrite,
    Rewritten,
    Run,
    Sweep,
    Swept,
)
from app.sandbox.messages import Request as Asking
from app.sandbox.wire import BROKEN, LONGEST_UP, FrameReader, ProtocolBroken, framed

ID = 4_711
_DECIDE = Decide(candle=None, holding=Holding(quantity=0.0, entry_price=0.0, equity=1.0))
_PAIRS: tuple[tuple[Asking, Reply], ...] = (
    (_DECIDE, Decision(action="long", size=0.5, stop=1.0, output="text")),
    (_DECIDE, Failed(kind="ValueError", message="é…\n", traceback="x" * 100)),
    (Run(start=0, costs=Costs()), Ran(rows=3)),
    (Run(start=0, costs=Costs()), Checked(findings=[Finding(code="c", severity="note", message="m", values={"a": "b"})] * 3)),
    (Sweep(sets=[{"a": 1}], start=0, costs=Costs()), Swept(sets=[Packed(rows=3, columns=5), Packed(rows=0, problem="p", line=4)] * 3)),
    (Rewrite(defaults={"a": 1}), Rewritten(edits=[Edit(start=3, end=9, text="0.5")] * 3)),
    (
        Load(source="x"),
        Described(
            class_name="A", docstring="d", timeframe="1h", warm_up=1, style="both", can_short=False, informative=[],
            parameters=[Parameter(name="n", kind="int", default=1, choices=["a", "b"])] * 3,
        ),
    ),
)  # fmt: skip


def _mutated(body: bytes, chance: random.Random) -> bytes:
    """Return the body with bytes changed, taken out, put in, or a part of it many times over."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randint(1, 4)]
            case 2:
                changed[at:at] = bytes([chance.choice((0x80, 0x90, 0x91, 0xC0, 0xC1, 0xC9, 0xCB, 0xDC, 0xDD, 0xDF, 0xFF))])
            case 3:
                changed[at:at] = changed[at : at + 8] * chance.choice((2, 50))
            case _:
                changed[at:at] = b"\x91" * chance.choice((10, 5_000))
    return bytes(changed)


@pytest.mark.parametrize(("request_", "reply"), _PAIRS, ids=lambda value: type(value).__name__)
def test_a_mutated_reply_is_read_or_is_broken(request_: Asking, reply: Reply) -> None:
    chance = random.Random(8)
    body = msgspec.msgpack.encode(Answered(request_id=ID, reply=reply))
    read = broken = 0
    for _ in range(4_000):
        try:
            reply_in(_mutated(body, chance), request_, ID)
        except BROKEN:
            broken += 1
        else:
            read += 1
    assert broken > 1_000
    assert read + broken == 4_000


def test_a_stream_in_any_pieces_gives_the_same_bodies_or_ends_at_the_first_length_that_is_too_long() -> None:
    chance = random.Random(8)
    for _ in range(300):
        bodies = [chance.randbytes(chance.choice((0, 1, 3, 500))) for _ in range(chance.randint(1, 5))]
        stream = b"".join(map(framed, bodies)) + (b"\xff" * 8 if (is_too_long := chance.random() < 0.5) else b"")
        reader, found = FrameReader(LONGEST_UP), []
        try:
            at = 0
            while at < len(stream):
                step = chance.randint(1, 700)
                found += reader.take(stream[at : at + step])
                at += step
        except ProtocolBroken:
            assert is_too_long
        else:
            assert not is_too_long
            assert found == bodies


def test_what_is_asked_comes_through_as_it_was() -> None:
    for request, _ in _PAIRS:
        assert msgspec.msgpack.decode(encoded(request, ID), type=Asked) == Asked(request_id=ID, request=request)
