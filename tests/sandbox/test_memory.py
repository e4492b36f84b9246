"""Memory that is shared with a worker: what anybody can do to it, and what of it is believed."""

import fcntl
import os
from collections.abc import Iterator

import numpy as np
import pytest

from app.errors import StrategyKilled
from app.sandbox.frames import DECISION_COLUMNS
from app.sandbox.memory import blank_results, copied_results, sealed_candles
from tests.sandbox.conftest import candles

ROWS = 200


def test_sealed_memory_can_neither_be_written_nor_resized_by_anybody() -> None:
    fd = sealed_candles(candles(ROWS))
    try:
        for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 1), lambda: os.ftruncate(fd, 1 << 20)):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    finally:
        os.close(fd)


def test_results_keep_their_length_and_are_copied_before_they_are_looked_at() -> None:
    fd = blank_results(4)
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 8)
        copy = copied_results(fd, 4)
        os.pwrite(fd, np.int64(2).tobytes(), 0)
        assert copy.flags[0] == 0
        assert copied_results(fd, 4).flags[0] == 2
    finally:
        os.close(fd)


def test_a_frame_without_candles_is_no_memory_at_all() -> None:
    fd = sealed_candles(candles(0))
    assert os.fstat(fd).st_size == 0
    os.close(fd)


@pytest.fixture
def results() -> Iterator[int]:
    """Memory as an honest worker leaves it that decided nothing."""
    fd = blank_results(ROWS)
    for place in range(1, len(DECISION_COLUMNS)):
        os.pwrite(fd, np.full(ROWS, np.nan).tobytes(), 8 * ROWS * place)
    yield fd
    os.close(fd)


def put(fd: int, column: str, row: int, value: float) -> None:
    kind = np.int64 if column == "flags" else np.float64
    os.pwrite(fd, kind(value).tobytes(), 8 * (ROWS * DECISION_COLUMNS.index(column) + row))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("flags", 8), ("flags", -1), ("flags", 2**40), ("size", 1.01), ("size", -0.1), ("size", np.inf), ("stop", -1), ("stop", 1e16),
        ("target", -np.inf), ("target", 1e300), ("trailing", 1.5), ("adjust", -1.1), ("adjust", 11), ("stop_loss", 1.2),
        ("take_profit", -0.1),
    ],
)  # fmt: skip
def test_a_value_that_no_decision_has_is_refused_with_its_place(results: int, column: str, value: float) -> None:
    put(results, column, 17, value)
    with pytest.raises(StrategyKilled, match="candle 17") as caught:
        copied_results(results, ROWS)
    assert column in caught.value.message


def test_what_a_decision_can_be_is_taken(results: int) -> None:
    for column, value in (
        ("flags", 5),
        ("size", 0.5),
        ("stop", 90),
        ("target", 120),
        ("trailing", 0.02),
        ("adjust", -1),
        ("stop_loss", 0.1),
    ):
        put(results, column, 3, value)
    taken = copied_results(results, ROWS)
    assert (taken.flags[3], taken.size[3], taken.stop[3], taken.adjust[3]) == (5, 0.5, 90, -1)
    assert np.isnan(taken.take_profit).all()
