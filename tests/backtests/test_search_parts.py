"""The pure parts of searches: spaces, what comes next, figures of a stretch, heat maps, walk-forward windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtests.engine import run
from app.backtests.robustness.walk import TRAIN_PARTS, WINDOWS, WalkedSet, walk_spans, walked
from app.backtests.search import study as search_study
from app.backtests.search.figures import Figures, Objective, Span, Stretch, best_of, guiding, score, split_spans
from app.backtests.search.heat import SHADES, Scored, heat_map, two_of
from app.backtests.search.space import Axis, AxisWish, Space, space_of, usual
from app.domain.arrays import EXIT, LONG, Candles, no_decisions
from app.domain.metrics import equity_figures
from app.domain.metrics_trades import trade_figures
from app.domain.outcome import Outcome
from app.domain.simulated import SimulationCosts
from app.errors import InvalidInput
from app.sandbox.messages import Parameter

HOUR_MS = 3_600_000


def made_candles(rows: int, seed: int = 3) -> Candles:
    chance = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.01, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    return Candles(1_700_000_000_000 // HOUR_MS * HOUR_MS + HOUR_MS * np.arange(rows), open_, high, low, close, np.ones(rows))


def made_outcome(candles: Candles, seed: int) -> Outcome:
    chance = np.random.default_rng(seed)
    decisions = no_decisions(len(candles))
    decisions.flags[:] = np.where(chance.random(len(candles)) < 0.05, LONG, np.where(chance.random(len(candles)) < 0.08, EXIT, 0))
    return run(candles, decisions, SimulationCosts())


def test_figures_of_a_whole_run_are_those_of_its_report() -> None:
    candles = made_candles(2_000)
    closes = candles.time + HOUR_MS
    for seed in range(20):
        outcome = made_outcome(candles, seed)
        found = Stretch(closes, Span(0, len(candles) - 1)).figures(outcome)
        equity, trades = equity_figures(closes, outcome.equity), trade_figures(outcome.trades, candles.time)
        for name in ("sharpe", "sortino", "calmar", "max_drawdown"):
            assert getattr(found, name) == pytest.approx(getattr(equity, name), rel=1e-12), name
        assert (found.trades, found.profit_factor, found.sqn) == (trades.closed, trades.profit_factor, trades.sqn)
        assert found.net_return == pytest.approx(equity.total_return)


@settings(max_examples=60, deadline=None)
@given(border=st.integers(50, 1_900), seed=st.integers(0, 10_000), later=st.integers(0, 10_000))
def test_what_is_trained_on_does_not_see_what_is_kept_back(border: int, seed: int, later: int) -> None:
    """Another future of the same past leaves every figure of the past as it was."""
    candles, other = made_candles(2_000), made_candles(2_000, seed=later)
    columns = {
        name: np.concatenate([getattr(candles, name)[: border + 1], getattr(other, name)[border + 1 :]])
        for name in ("open", "high", "low", "close", "volume")
    }
    changed = Candles(candles.time, **columns)
    train = Span(0, border)
    figures = [Stretch(one.time + HOUR_MS, train).figures(made_outcome(one, seed)) for one in (candles, changed)]
    assert figures[0] == figures[1]


def test_the_parts_of_a_split_meet_and_take_all() -> None:
    assert split_spans(10, 1_000, 0.0) == [Span(10, 999)]
    train, test = split_spans(10, 1_000, 0.3)
    assert (train.first, train.last, test.last) == (10, test.first, 999)
    assert (test.last - test.first) / (test.last - train.first) == pytest.approx(0.3, abs=0.001)


def figures(**given: Any) -> Figures:
    values: dict[str, Any] = {
        "net": 1.0, "net_return": 0.1, "sharpe": 1.0, "sortino": 1.0, "calmar": 1.0, "max_drawdown": 0.1, "profit_factor": 1.5, "sqn": 1.0,
        "trades": 20, "win_rate": 0.5,
    }  # fmt: skip
    return Figures(**values | given)


def test_few_trades_and_missing_figures_are_not_ranked_and_are_worse_than_the_worst() -> None:
    scores = [
        score(Objective.SHARPE, one, 10) for one in (figures(sharpe=2.0), figures(trades=9), figures(sharpe=None), figures(sharpe=-3.0))
    ]
    assert scores == [2.0, None, None, -3.0]
    assert best_of(scores) == 0
    assert best_of([None, None]) is None
    assert best_of([1.0, 1.0]) == 0
    guided = guiding(scores)
    assert guided[1] == guided[2] < -3.0


PARAMETERS = [
    Parameter(name="fast", kind="int", default=12, low=5, high=50),
    Parameter(name="stop", kind="float", default=0.02, low=0.005, high=0.1),
    Parameter(name="only_long", kind="bool", default=True),
    Parameter(name="kind", kind="choice", default="EMA", choices=["EMA", "SMA"]),
    Parameter(name="unbounded", kind="int", default=14),
    Parameter(name="zero", kind="float", default=0.0),
]


def test_usual_bounds_are_the_parameters_own_or_around_its_default() -> None:
    found = {one.name: usual(one) for one in PARAMETERS}
    assert found["fast"] == AxisWish(name="fast", low=5, high=50, step=2)
    assert found["stop"] == AxisWish(name="stop", low=0.005, high=0.1, step=0.005)
    assert found["unbounded"] == AxisWish(name="unbounded", low=7, high=28, step=1)
    assert found["zero"] is None


def test_fractions_are_what_one_would_type() -> None:
    (axis,) = space_of(PARAMETERS, [AxisWish(name="stop", low=0.005, high=0.1, step=0.005)]).axes
    assert axis.values == [round(0.005 * place, 3) for place in range(1, 21)]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 2**53),
    parts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
)
def test_chance_and_the_grid_try_everything_and_nothing_twice(sizes: list[int], seed: int, parts: list[int]) -> None:
    space = Space(axes=[Axis(name=str(place), values=list(range(size))) for place, size in enumerate(sizes)])
    for is_grid in (True, False):
        tried: list[tuple[int, ...]] = []
        for count in [*parts, space.size]:
            tried += space.grid(len(tried), count) if is_grid else space.random(seed, tried, count)
        assert len(tried) == len(set(tried)) == space.size
        assert all(0 <= place < size for point in tried for place, size in zip(point, sizes, strict=True))
        assert all(space.point_of(space.parameters(point)) == point for point in tried)


def peak(point: Sequence[int]) -> float:
    return -((point[0] - 14) ** 2) / 40 - ((point[1] - 6) ** 2) / 10


def test_a_sampler_finds_the_peak_sooner_than_chance_and_says_what_mattered() -> None:
    names = ("matters", "matters_more", "idle")
    space = Space(axes=[Axis(name=name, values=list(range(size))) for name, size in zip(names, (30, 12, 25), strict=True)])
    learned, drawn = [], []
    for seed in range(5):
        known: list[tuple[Sequence[int], float | None]] = []
        while len(known) < 80:
            known += [(point, peak(point)) for point in search_study.suggest(space, seed, known, 10)]
        assert len({tuple(point) for point, _ in known}) == 80
        learned.append(max(value for _, value in known if value is not None))
        drawn.append(max(peak(point) for point in space.random(seed, [], 80)))
        share = search_study.importance(space, known)
        assert share["idle"] < min(share["matters"], share["matters_more"])
    assert np.mean(learned) > np.mean(drawn)


def test_a_suggestion_depends_on_the_trials_and_the_seed_alone() -> None:
    space = Space(axes=[Axis(name="a", values=list(range(50))), Axis(name="b", values=[False, True], is_ordered=False)])
    known: list[tuple[Sequence[int], float | None]] = [((place, place % 2), float(place)) for place in range(20)] + [((30, 0), None)]
    assert search_study.suggest(space, 4, known, 8) == search_study.suggest(space, 4, known, 8)
    whole = [(point, 1.0) for point in space.grid(0, 100)]
    assert search_study.suggest(space, 4, whole[:97], 8) != []
    assert search_study.suggest(space, 4, whole, 8) == []


@pytest.mark.parametrize(
    "wish",
    [
        [],
        [AxisWish(name="nothing")],
        [AxisWish(name="fast"), AxisWish(name="fast")],
        [AxisWish(name="fast", low=1)],
        [AxisWish(name="fast", high=51)],
        [AxisWish(name="fast", low=9, high=8)],
        [AxisWish(name="fast", low=5.5)],
        [AxisWish(name="fast", step=0.5)],
        [AxisWish(name="fast", step=float("nan"))],
        [AxisWish(name="fast", low=float("-inf"))],
        [AxisWish(name="stop", step=1e-9)],
        [AxisWish(name="zero")],
    ],
)
def test_a_space_that_is_none_is_refused_with_a_sentence(wish: list[AxisWish]) -> None:
    with pytest.raises(InvalidInput) as refused:
        space_of(PARAMETERS, wish)
    assert refused.value.field == "space"


def test_long_axes_share_cells_and_shades_go_by_rank() -> None:
    space = Space(axes=[Axis(name="x", values=list(range(100))), Axis(name="y", values=[1, 2]), Axis(name="one", values=[1])])
    trials = [Scored(number, (number, number % 2, 0), None if number == 50 else float(number) ** 3) for number in range(100)]
    found = heat_map(space, trials, "x", "y")
    assert (len(found.columns), found.rows) == (12, ((1, 1), (2, 2)))
    assert (found.columns[0], found.columns[-1][1]) == ((0, 7), 99)
    cells = [cell for row in found.cells for cell in row]
    assert sum(cell.trials for cell in cells) == 100
    assert {cell.shade for cell in cells} == set(range(SHADES)), "one far-off score does not leave the others alike"
    assert max(cells, key=lambda cell: cell.score or 0.0).best == 99
    assert two_of(space, {"y": 0.9, "x": 0.1}) == ("y", "x")
    assert two_of(Space(axes=space.axes[1:]), {}) is None


def test_windows_follow_each_other_and_each_is_chosen_by_what_was_before_it() -> None:
    spans = walk_spans(100, 2_000)
    assert len(spans) == 2 * WINDOWS
    for train, test in zip(spans[::2], spans[1::2], strict=True):
        assert train.last == test.first
        assert (train.last - train.first) / (test.last - test.first) == pytest.approx(TRAIN_PARTS, rel=0.02)
    assert (spans[0].first, spans[-1].last) == (100, 1_999)
    assert walk_spans(0, 100) == []

    chance = np.random.default_rng(1)
    ratios = chance.normal(0, 1, (5, len(spans)))
    sets = [WalkedSet({"set": number}, [figures(sharpe=float(value)) for value in ratios[number]]) for number in range(5)]
    windows = walked(sets, spans, np.arange(2_000) * HOUR_MS)
    assert [one.parameters["set"] for one in windows] == ratios[:, ::2].argmax(axis=0).tolist()
    assert [one.window.test_sharpe for one in windows] == [
        ratios[one.parameters["set"], 2 * place + 1] for place, one in enumerate(windows)
    ]
