"""Columns of a result come back bit for bit, whatever they hold and however many rows there are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.backtests.packed import packed, packed_equity, unpacked, unpacked_equity

_KINDS: list[np.dtype[Any]] = [np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.int8)]


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(0, 200))
    names = draw(st.lists(st.text("abcdef_", min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
    kinds: list[np.dtype[Any]] = [draw(st.sampled_from(_KINDS)) for _ in names]
    return {name: draw(arrays.arrays(kind, rows)) for name, kind in zip(names, kinds, strict=True)}


@given(columns())
def test_columns_come_back_bit_for_bit(given_: dict[str, Any]) -> None:
    found = unpacked(packed(given_))
    assert list(found) == list(given_)
    for name, column in given_.items():
        assert found[name].dtype == column.dtype
        assert found[name].tobytes() == column.tobytes(), "a NaN keeps its bits, and a zero its sign"


@given(st.integers(0, 300), st.integers(0, 2**50))
def test_times_with_holes_come_back(rows: int, first: int) -> None:
    steps = np.full(rows, 60_000)
    steps[rows // 3 : rows // 3 + 1] += 3_600_000
    time, equity = first + np.cumsum(steps), np.linspace(0, 1, rows)
    found = unpacked_equity(packed_equity(time, equity))
    assert found[0].tolist() == time.tolist()
    assert found[1].tobytes() == equity.tobytes()


def test_a_column_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must be of one of"):
        unpacked(packed({"a": np.array([1 + 2j])}))


def test_a_million_flat_candles_take_next_to_nothing() -> None:
    rows = 1_000_000
    assert len(packed_equity(1_700_000_000_000 + 60_000 * np.arange(rows), np.full(rows, 10_000.0))) < 100_000
