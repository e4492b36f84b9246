"""Memory that is shared with a worker: what anybody can do to it, and what of it is believed."""

import fcntl
import os
from collections.abc import Iterator

import numpy as np
import pytest

from app.errors import StrategyKilled
from app.sandbox.frames import DECIDED, NOTES, decision_bytes, decision_place
from app.sandbox.memory import blank_results, copied_results, rows_decided, sealed_candles
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
        os.pwrite(fd, b"\x02", decision_place(-1, 4))
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
    """Memory as an honest worker leaves it that used every column and decided nothing."""
    fd = blank_results(ROWS)
    note(fd, written=(1 << len(DECIDED)) - 1)
    for place in range(len(DECIDED)):
        os.pwrite(fd, np.full(ROWS, np.nan).tobytes(), decision_place(place, ROWS))
    yield fd
    os.close(fd)


def note(fd: int, **notes: int | dict[str, float]) -> None:
    """Write what a worker says of its results."""
    page = np.zeros(1, dtype=NOTES)
    for name, value in notes.items():
        if isinstance(value, dict):
            for column, number in value.items():
                page["repeated"][0] |= 1 << DECIDED.index(column)
                page["values"][0, DECIDED.index(column)] = number
        else:
            page[name] = value
    os.pwrite(fd, page.tobytes(), 0)


def put(fd: int, column: str, row: int, value: float) -> None:
    if column == "flags":
        os.pwrite(fd, bytes([int(value)]), decision_place(-1, ROWS) + row)
    else:
        os.pwrite(fd, np.float64(value).tobytes(), decision_place(DECIDED.index(column), ROWS) + 8 * row)


WRONG = [
    ("flags", 8), ("flags", 255), ("size", 1.01), ("size", -0.1), ("size", np.inf), ("stop", -1), ("stop", 1e16), ("target", -np.inf),
    ("target", 1e300), ("trailing", 1.5), ("adjust", -1.1), ("adjust", 11), ("stop_loss", 1.2), ("take_profit", -0.1), ("limit", -1),
    ("target_2", -1), ("target_3", np.inf), ("take_profit_2", -1), ("take_profit_3", 1e7), ("part", 1.1), ("part_2", -0.1), ("part_3", 2),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), WRONG)
def test_a_value_that_no_decision_has_is_refused_with_its_place(results: int, column: str, value: float) -> None:
    put(results, column, 17, value)
    with pytest.raises(StrategyKilled, match="candle 17") as caught:
        copied_results(results, ROWS)
    assert column in caught.value.message


@pytest.mark.parametrize(("column", "value"), [each for each in WRONG if each[0] != "flags"])
def test_a_value_for_all_rows_is_held_to_the_same_bounds(results: int, column: str, value: float) -> None:
    note(results, values={column: value})
    with pytest.raises(StrategyKilled, match=column):
        copied_results(results, ROWS)


def test_what_a_decision_can_be_is_taken(results: int) -> None:
    for column, value in (
        ("flags", 5),
        ("size", 0.5),
        ("stop", 90),
        ("target", 120),
        ("trailing", 0.02),
        ("adjust", -1),
        ("stop_loss", 0.1),
        ("limit", 95),
        ("part", 0.5),
    ):
        put(results, column, 3, value)
    taken = copied_results(results, ROWS)
    assert (taken.flags[3], taken.size[3], taken.stop[3], taken.adjust[3], taken.limit[3]) == (5, 0.5, 90, -1, 95)
    assert np.isnan(taken.take_profit).all()


def test_columns_that_are_not_used_say_nothing_and_are_not_read() -> None:
    fd = blank_results(ROWS)
    try:
        put(fd, "stop", 3, 90.0)
        note(fd, values={"stop_loss": 0.02})
        taken = copied_results(fd, ROWS)
        assert np.isnan(taken.stop).all()
        assert taken.stop_loss.tolist() == [0.02] * ROWS
        # Pages that nobody wrote take no room: two of the notes and of the stop, of sixteen columns and more.
        assert os.fstat(fd).st_blocks * 512 < decision_bytes(ROWS) / 4
    finally:
        os.close(fd)


def test_the_first_decisions_can_be_had_alone(results: int) -> None:
    put(results, "stop", 3, 90.0)
    put(results, "stop", 150, -5.0)
    assert copied_results(results, ROWS, 100).stop[3] == 90
    assert len(copied_results(results, ROWS, 0)) == 0


@pytest.mark.parametrize(("said", "taken"), [(0, 0), (150, 150), (ROWS, ROWS), (ROWS + 1, ROWS), (-1, 0), (2**63 - 1, ROWS), (-(2**63), 0)])
def test_how_far_a_worker_says_it_is_can_be_no_more_than_all(results: int, said: int, taken: int) -> None:
    note(results, decided=said)
    assert rows_decided(results, ROWS) == taken
