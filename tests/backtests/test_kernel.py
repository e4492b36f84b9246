"""The compiled loop comes to the same as the readable simulation, bit by bit."""

from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from app.backtests.engine import run
from app.domain.arrays import DECIDED, EXIT, LONG, SHORT, Candles, Decisions, no_decisions, repeated
from app.domain.outcome import REASONS, FillColumns, Outcome, TradeColumns, outcome_of
from app.domain.safeguards import TRIPPING
from app.domain.simulation import Reason, SimulationCosts, simulate
from tests.conftest import Size
from tests.domain.markets_at_random import guarded, random_case
from tests.sandbox.guest.market import resampled
from tests.shared_data import shared_data


def assert_same(ours: Outcome, theirs: Outcome) -> None:
    for name in FillColumns.__slots__:
        assert np.array_equal(getattr(ours.fills, name), getattr(theirs.fills, name)), f"fills: {name}"
    for name in TradeColumns.__slots__:
        assert np.array_equal(getattr(ours.trades, name), getattr(theirs.trades, name)), f"trades: {name}"
    assert np.array_equal(ours.equity, theirs.equity)
    for name in ("denied", "capped", "missed", "fees", "slippage", "funding", "candles_held", "refused", "limited", "trips"):
        assert getattr(ours, name) == getattr(theirs, name), name


def compare(candles: Candles, decisions: Decisions, costs: SimulationCosts, start: int = 0, detail: Candles | None = None) -> Outcome:
    ours = run(candles, decisions, costs, start, detail=detail)
    assert_same(ours, outcome_of(simulate(candles, decisions, costs, start, detail=detail)))
    return ours


def test_random_markets_come_out_as_in_the_readable_simulation(size: Size) -> None:
    fills = 0
    for seed in range(size(300, full=10_000)):
        case = random_case(seed, 150 + seed % 101, is_plain=seed % 3 == 0)
        try:
            outcome = compare(case.candles, case.decisions, case.costs, start=seed % 7, detail=case.detail)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        fills += len(outcome.fills)
    assert fills > 1_000


def test_every_market_with_safeguards_comes_out_as_in_the_readable_simulation(size: Size) -> None:
    trips: Counter[int] = Counter()
    refused = limited = left = 0
    for seed in range(size(300, full=5_000)):
        case = random_case(seed, 150 + seed % 101, is_plain=seed % 3 == 0)
        try:
            outcome = compare(case.candles, case.decisions, guarded(case, seed), start=seed % 7, detail=case.detail)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        trips.update(trip.rule for trip in outcome.trips)
        refused, limited = refused + outcome.refused, limited + outcome.limited
        left += int((outcome.fills.reason == REASONS.index(Reason.SAFEGUARD)).sum())
    assert min(refused, limited, left, *(trips[rule] for rule in range(len(TRIPPING)))) > 50


_WITH_ALL = SimulationCosts(step=1e-4, tick=1e-6, least_notional=0.01, volume_share=0.5, funding_rate=1e-4)


@pytest.mark.parametrize("costs", [SimulationCosts(), _WITH_ALL], ids=["usual", "with all"])
def test_every_recorded_market_comes_out_as_in_the_readable_simulation(costs: SimulationCosts, size: Size) -> None:
    """Entries where averages cross, with stops and targets, and now and then something of everything; in full all candles."""
    files = sorted((shared_data() / "candles").glob("*.csv.gz"))
    markets = [(file.name, market) for file in files for market in recorded(file, most=size(3_000, full=10**9))]
    assert len(markets) > 50
    for seed, (name, candles) in enumerate(markets):
        assert len(compare(candles, crossing(candles, seed=seed), costs).trades) > 5, name


def test_recorded_minutes_inside_longer_candles_come_out_as_in_the_readable_simulation(size: Size) -> None:
    files = sorted((shared_data() / "candles").glob("*-1m-*.csv.gz"))[:: size(3, full=1)]
    assert len(files) > 5
    for seed, file in enumerate(files):
        (minutes,) = recorded(file, most=size(15_000, full=10**9))
        quarters = resampled(minutes, "1m", "15m")
        decisions = crossing(quarters, seed=seed)
        inside = compare(quarters, decisions, _WITH_ALL, detail=minutes)
        assert len(inside.trades) > 5, file.name


def recorded(file: Path, *, most: int) -> list[Candles]:
    """Return the markets of a file, at most so many candles of each."""
    table = import_module("pyarrow.csv").read_csv(file)
    frames = [table]
    if "timeframe" in table.column_names:
        kinds = table["timeframe"].to_numpy()
        frames = [table.filter(kinds == kind) for kind in np.unique(kinds)]
    columns = [[frame[name].to_numpy()[:most] for name in ("open_time", "open", "high", "low", "close", "volume")] for frame in frames]
    return [Candles(each[0], *(column.astype(np.float64) for column in each[1:])) for each in columns if len(each[0]) > 100]


def crossing(candles: Candles, *, seed: int) -> Decisions:
    """Return decisions of an average that the price crosses, mixed with random ones."""
    chance = np.random.default_rng(seed)
    rows = len(candles)
    average = np.convolve(candles.close, np.full(20, 1 / 20))[:rows]
    is_above = candles.close > average
    crosses = is_above[1:] != is_above[:-1]
    decisions = no_decisions(rows)
    decisions.flags[21:] = np.where(crosses[20:], np.where(is_above[21:], LONG | EXIT, SHORT | EXIT), 0)
    decisions.stop_loss[:] = 0.01
    decisions.take_profit[:] = 0.02
    for name, low, high in (("limit", 0.998, 1.002), ("stop", 0.97, 1.03), ("target_2", 0.97, 1.03)):
        getattr(decisions, name)[:] = np.where(chance.random(rows) < 0.05, candles.close * chance.uniform(low, high, rows), np.nan)
    decisions.trailing[:] = np.where(chance.random(rows) < 0.02, 0.015, np.nan)
    decisions.adjust[:] = np.where(chance.random(rows) < 0.02, chance.uniform(-0.5, 0.5, rows), np.nan)
    decisions.part[:] = np.where(chance.random(rows) < 0.3, 0.5, np.nan)
    return decisions


def test_a_column_that_is_one_value_is_the_same_as_one_that_is_written_out() -> None:
    case = random_case(5, 300, is_plain=False)
    values = {"size": 0.4, "stop_loss": 0.03, "take_profit": 0.05, "part": 0.5, "trailing": 0.04}
    written = Decisions(case.decisions.flags, *(np.full(300, values.get(name, np.nan)) for name in DECIDED))
    short = Decisions(case.decisions.flags, *(repeated(values.get(name, np.nan), 300) for name in DECIDED))

    assert_same(run(case.candles, short, case.costs), run(case.candles, written, case.costs))
    compare(case.candles, short, case.costs)


def test_more_fills_than_there_is_room_for_at_first_are_all_written_down() -> None:
    rows = 20_000
    close = 100 + np.sin(np.arange(rows))
    candles = Candles(np.arange(rows) * 60_000, close, close + 0.5, close - 0.5, close, np.ones(rows))
    decisions = no_decisions(rows)
    decisions.flags[:] = np.where(np.arange(rows) % 2 == 0, LONG, EXIT)

    outcome = compare(candles, decisions, SimulationCosts())
    assert len(outcome.fills) > 19_000


@pytest.mark.parametrize(("rows", "start"), [(0, 0), (1, 0), (1, 1), (5, 4), (5, 5)])
def test_few_candles_or_none_are_no_trouble(rows: int, start: int) -> None:
    case = random_case(3, max(rows, 2))
    compare(case.candles.until(rows), case.decisions.until(rows), case.costs, start)


def test_arrays_that_nobody_can_write_and_views_are_taken_as_they_are() -> None:
    case = random_case(11, 300)
    doubled = Candles(*(np.repeat(getattr(case.candles, name), 2)[::2] for name in Candles.__slots__))
    for name in Candles.__slots__:
        getattr(case.candles, name).flags.writeable = False
    case.decisions.flags.flags.writeable = False

    assert_same(run(doubled, case.decisions, case.costs), run(case.candles, case.decisions, case.costs))


def test_decisions_must_be_as_many_as_candles() -> None:
    case = random_case(1, 10)
    with pytest.raises(ValueError, match="was 9 for 10"):
        run(case.candles, case.decisions.until(9), case.costs)


def test_the_same_input_gives_the_same_bytes() -> None:
    case = random_case(2, 400)
    first, second = (run(case.candles, case.decisions, case.costs, detail=case.detail) for _ in range(2))
    assert_same(first, second)
    assert first.equity.tobytes() == second.equity.tobytes()
