import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.metrics_tables import distribution, telling_rows, year_returns
from tests.domain.equity_curves import curve


def test_months_and_years_of_a_quarter_across_new_year_multiply_up() -> None:
    days = 31 + 31 + 29  # December 2023 to February 2024
    start = 1_701_388_800_000  # 2023-12-01
    levels = 100 * np.cumprod([1.0] + [1.001] * days)
    times, equity = curve(*levels, start_ms=start)
    before, after = year_returns(times, equity, np.full(days + 1, 50.0))

    assert (before.year, after.year) == (2023, 2024)
    assert before.months[:11] == (None,) * 11
    assert before.months[11] == pytest.approx(1.001**31 - 1) == before.total
    assert after.months[:2] == pytest.approx((1.001**31 - 1, 1.001**29 - 1))
    assert after.total == pytest.approx(1.001**60 - 1)
    assert (before.held, after.held) == (0, 0)


def test_a_single_row_has_no_months() -> None:
    times, equity = curve(100)
    assert year_returns(times, equity, equity) == ()


def test_bars_have_round_edges_and_zero_among_them() -> None:
    found = distribution(np.array([-0.021, -0.003, 0.0, 0.004, 0.052]))
    assert found is not None
    assert 0.0 in found.edges
    assert np.diff(found.edges) == pytest.approx(0.005)
    assert sum(found.counts) == 5
    assert found.counts[found.edges.index(0.0)] == 2  # 0 and 0.004: an edge belongs to the bar right of it
    assert (found.below, found.above) == (0, 0)


def test_outliers_are_in_the_last_bars_and_counted() -> None:
    found = distribution(np.append(np.linspace(-0.0095, 0.0095, 500), [5.0, -7.0]))
    assert found is not None
    assert (found.below, found.above) == (1, 1)
    assert sum(found.counts) == 502
    assert found.edges[-1] < 0.05


@pytest.mark.parametrize("values", [[0.0], [0.02, 0.02], [0.0, 0.0, 0.0], [-1e-320], [1e300, -1e300]])
def test_values_that_are_all_the_same_or_far_apart_have_bars_too(values: list[float]) -> None:
    found = distribution(np.array(values))
    assert found is not None
    assert sum(found.counts) == len(values)
    assert len(found.counts) <= 60


def test_nothing_has_no_distribution() -> None:
    assert distribution(np.empty(0)) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_every_value_lies_in_its_bar(values: list[float]) -> None:
    found = distribution(np.array(values))
    assert found is not None
    assert sum(found.counts) == len(values)
    assert len(found.edges) == len(found.counts) + 1 <= 80
    assert all(left < right for left, right in zip(found.edges, found.edges[1:], strict=False))


@given(st.integers(1, 5_000), st.integers(0, 2**32 - 1))
def test_few_rows_keep_the_ends_and_every_extreme(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    equity, held = random.normal(size=rows).cumsum(), random.normal(size=rows).cumsum()
    kept = telling_rows(equity, held, 200, (rows // 2,))
    assert len(kept) <= 200
    assert np.all(np.diff(kept) > 0)
    assert {0, rows - 1, rows // 2} <= set(kept.tolist())
    for one in (equity, held):
        assert (one[kept].min(), one[kept].max()) == (one.min(), one.max())


def test_a_short_curve_is_kept_whole() -> None:
    assert telling_rows(np.arange(5.0), np.arange(5.0), 100).tolist() == [0, 1, 2, 3, 4]
