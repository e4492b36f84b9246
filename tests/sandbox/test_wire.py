"""Frames and messages as bytes, whatever bytes come."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.messages import Answered
from app.sandbox.wire import BROKEN, HEADER, LONGEST_UP, FrameReader, ProtocolBroken, framed


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 64))
def test_bodies_come_out_as_they_went_in_however_they_are_cut(bodies: list[bytes], step: int) -> None:
    text = b"".join(framed(body) for body in bodies)
    reader = FrameReader(300)
    found = [body for at in range(0, len(text), step) for body in reader.take(text[at : at + step])]
    assert found == bodies
    assert reader.is_empty


@given(st.integers(LONGEST_UP + 1, 2**32 - 1))
def test_a_length_above_the_bound_is_refused_before_its_bytes_come(length: int) -> None:
    with pytest.raises(ProtocolBroken):
        FrameReader(LONGEST_UP).take(HEADER.pack(length))


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_a_message_or_refused(junk: bytes) -> None:
    try:
        found = msgspec.msgpack.decode(junk, type=Answered)
    except BROKEN:
        return
    assert isinstance(found, Answered)
