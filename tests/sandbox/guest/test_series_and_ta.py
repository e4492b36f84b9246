from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.sandbox.guest import ta
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.series import Cursor, Cursors, Series, as_series

VALUES = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
OTHERS = np.array([2.0, 2.0, 2.0, 2.0, 6.0, 6.0, 6.0, 6.0])


def test_a_series_ends_at_the_current_candle() -> None:
    cursor = Cursor(3)
    series = Series(VALUES, cursor)

    assert (series[-1], series[-2], series[0], len(series)) == (4, 1, 3, 3)
    assert series[-2:].tolist() == [1, 4]
    assert list(series) == [3, 1, 4]
    assert series.values.tolist() == series.to_numpy().tolist() == [3, 1, 4]
    assert np.asarray(series).tolist() == [3, 1, 4]
    assert np.mean(series) == pytest.approx(8 / 3)
    cursor.end = 4
    assert (series[-1], len(series)) == (1, 4)


@pytest.mark.parametrize("index", [3, 100, -4, np.int64(5)])
def test_what_has_not_happened_or_was_not_there_is_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match="of a series that has 3 so far"):
        Series(VALUES, Cursor(3))[index]


def test_a_slice_is_a_copy_without_the_future_behind_it() -> None:
    part = Series(VALUES, Cursor(3))[-2:]

    assert part.base is None
    part[0] = 77
    assert VALUES[1] == 1


@pytest.mark.parametrize("use", [lambda s: s > 1, lambda s: s <= 1, lambda s: s + s, lambda s: -s, lambda s: s / 2, bool])
def test_a_series_is_not_taken_for_a_number(use: object) -> None:
    with pytest.raises(TypeError, match=r"take the current candle's value with \[-1\]"):
        use(Series(VALUES, Cursor(3)))  # type: ignore[operator]


def test_arrays_inside_tuples_lists_and_dicts_become_series_and_others_stay() -> None:
    given = (VALUES, [VALUES], {"a": VALUES}, VALUES[:3], 5)

    one, (two,), named, short, number = as_series(given, Cursors(Cursor(2), 8, []))

    assert all(isinstance(each, Series) for each in (one, two, named["a"]))
    assert (short.tolist(), number) == ([3, 1, 4], 5)


#: Helpers on arrays must say for each candle what they say on series there.
HELPERS: dict[str, Callable[[Any, Any], Any]] = {
    "crossed_above": lambda x, y: ta.crossed_above(x, y),
    "crossed_below": lambda x, y: ta.crossed_below(x, y),
    "crossed": lambda x, y: ta.crossed(x, y),
    "crossed_above a number": lambda x, _: ta.crossed_above(x, 3.5),
    "a number crossed_below": lambda x, _: ta.crossed_below(3.5, x),
    "highest": lambda x, _: ta.highest(x, 3),
    "lowest": lambda x, _: ta.lowest(x, 3),
    "mean": lambda x, _: ta.mean(x, 3),
    "stddev": lambda x, _: ta.stddev(x, 3),
    "zscore": lambda x, _: ta.zscore(x, 3),
    "rising": lambda x, _: ta.rising(x),
    "rising twice": lambda x, _: ta.rising(x, 2),
    "falling": lambda x, _: ta.falling(x),
    "shift": lambda x, _: ta.shift(x, 2),
    "shift by none": lambda x, _: ta.shift(x, 0),
    "change": lambda x, _: ta.change(x, 2),
}


@pytest.mark.parametrize("name", HELPERS)
@pytest.mark.parametrize("seed", range(4))
def test_a_helper_says_the_same_on_arrays_and_candle_by_candle(name: str, seed: int) -> None:
    chance = np.random.default_rng(seed)
    one, other = chance.integers(0, 6, 60).astype(float), chance.integers(0, 6, 60).astype(float)
    whole = HELPERS[name](one, other)
    cursor = Cursor()
    series, series_of_other = Series(one, cursor), Series(other, cursor)

    for row in range(60):
        cursor.end = row + 1
        now = HELPERS[name](series, series_of_other)
        assert float(now) == pytest.approx(float(whole[row]), nan_ok=True, abs=1e-9), row
    assert len(whole) == 60


def test_crossing_needs_the_candle_before_to_be_on_the_other_side_or_on_the_line() -> None:
    assert ta.crossed_above(VALUES, OTHERS).tolist() == [False, False, True, False, False, True, False, False]
    assert ta.crossed_below(VALUES, OTHERS).tolist() == [False, True, False, True, False, False, True, False]


def test_bars_since_counts_from_the_last_time() -> None:
    condition = np.array([False, True, False, False, True, False])

    assert np.array_equal(ta.bars_since(condition), [np.nan, 0, 1, 2, 0, 1], equal_nan=True)
    assert ta.bars_since(Series(condition, Cursor(4))) == 2


def test_a_shift_into_the_future_is_refused() -> None:
    with pytest.raises(StrategyMistake, match="the length must be 0 or more, was -1"):
        ta.shift(VALUES, -1)


def test_every_function_of_ta_lib_is_there_and_takes_whole_numbers_and_series() -> None:
    assert len(ta.FUNCTIONS) > 150
    assert all(callable(getattr(ta, name)) for name in ta.FUNCTIONS)
    assert ta.SMA(np.arange(5), 2).tolist()[1:] == [0.5, 1.5, 2.5, 3.5]  # type: ignore[attr-defined]
    assert ta.SMA(Series(VALUES, Cursor(3)), timeperiod=2).tolist()[1:] == [2, 2.5]  # type: ignore[attr-defined]
