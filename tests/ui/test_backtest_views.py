"""The figures of backtests as their pages show them."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from app.backtests.events import BacktestChanged, Progress
from app.core.formatters import span
from app.core.i18n import use_language
from app.domain.metrics_tables import Distribution, YearReturns
from app.ui.backtest_figures import cost_rows, histogram, kpis, metric_groups, year_rows
from app.ui.backtest_form import months_before
from app.ui.backtest_result import phase_words
from app.ui.backtest_trades import marks, trade_list
from app.ui.named_events import named_event
from app.ui.views import Reader
from tests.ui import sample_backtests


def test_the_best_of_each_metric_is_marked_and_a_drawdown_is_best_when_it_is_small() -> None:
    report, quiet = sample_backtests.report(), sample_backtests.quiet()
    rows = {row.name: row for group in metric_groups([report, quiet]) for row in group.rows}
    net = [figure.value for figure in rows["Net profit"].figures]
    assert [figure.is_best for figure in rows["Net profit"].figures] == [value == max(net) for value in net]  # type: ignore[type-var]
    assert [figure.value for figure in rows["Max. drawdown"].figures if figure.is_best] == [0], "the run without a trade lost nothing"
    assert not any(figure.is_best for figure in rows["Closed trades"].figures), "more trades are not better"
    assert rows["Win rate"].figures[2].value is None, "who holds makes no trades"


def test_where_all_say_the_same_nothing_is_best() -> None:
    report = sample_backtests.report()
    rows = [row for group in metric_groups([report, report], has_held=False) for row in group.rows]
    assert not any(figure.is_best for row in rows for figure in row.figures)


def test_gross_less_all_costs_is_net() -> None:
    rows = cost_rows(sample_backtests.report())
    assert sum(row.amount for row in rows if not row.is_total) + rows[0].amount == rows[-1].amount
    assert [row.is_total for row in (rows[0], rows[-1])] == [True, True]


def test_the_bars_of_the_distribution_lie_in_the_picture_and_count_all_trades() -> None:
    report = sample_backtests.report()
    assert report.distribution is not None
    shown = histogram(report.distribution, report.trades.closed)
    assert sum(bar.count for bar in shown.bars) == report.trades.closed
    assert all(bar.x >= 0 and bar.x + bar.width <= 360 and bar.y >= 0 and bar.y + bar.height <= 98.01 for bar in shown.bars)
    assert [bar.is_gain for bar in shown.bars] == sorted(bar.is_gain for bar in shown.bars), "losses stand left of gains"


def test_a_single_return_makes_a_picture_too() -> None:
    shown = histogram(Distribution(edges=(0.01, 0.02), counts=(1,), below=0, above=0), 1)
    assert (len(shown.bars), shown.zero) == (1, None)


@pytest.mark.parametrize(("value", "tone"), [(0.0, 0), (0.0004, 0), (-0.0005, -1), (0.02, 2), (-0.05, -3), (0.1, 4), (-0.6, -4)])
def test_a_month_is_coloured_by_its_size_on_both_sides_alike(value: float, tone: int) -> None:
    (row,) = year_rows([YearReturns(year=2026, months=(value, *(None,) * 11), total=value, held=0.0)])
    assert (row.months[0].tone, row.months[1].value) == (tone, None)


def test_the_headline_of_a_run_without_trades_has_dashes_and_no_error() -> None:
    found = {one.name: one.figure.value for one in kpis(sample_backtests.quiet())}
    assert (found["Profit factor"], found["Win rate"], found["Trades"]) == (None, None, Decimal(0))


def test_trades_are_listed_in_three_orders_page_by_page_each_once() -> None:
    stored = sample_backtests.stored()
    first = trade_list(stored, 142)
    assert [row.number for row in first.rows] == list(range(first.total, first.total - 50, -1))
    assert first.next == "/backtests/142/trades?sort=recent&after=50"
    seen = [row.number for after in range(0, first.total, 50) for row in trade_list(stored, 142, sort="worst", after=after).rows]
    assert sorted(seen) == list(range(1, first.total + 1))
    profits = {row.number: row.profit for after in range(0, first.total, 50) for row in trade_list(stored, 142, after=after).rows}
    assert [profits[number] for number in seen] == sorted(profits.values())
    assert trade_list(stored, 142, sort="best").rows[0].profit == max(profits.values())


def test_marks_are_of_the_trades_that_were_open_at_some_time_of_the_stretch() -> None:
    stored = sample_backtests.stored()
    one = trade_list(stored, 142).rows[30]
    found = marks(stored, one.t_in, one.t_out)
    assert one.number in {mark["number"] for mark in found}
    assert all(mark["in"] <= one.t_out and mark["out"] >= one.t_in for mark in found)
    assert marks(stored, 0, 1) == []


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [(0, "0 s", "0 s"), (119, "119 s", "119 s"), (720, "12 min", "12 min"), (108_000, "30 h", "30 h"), (864_000, "10 days", "10 j")],
)
def test_a_time_span_is_written_in_its_largest_fitting_unit(seconds: float, english: str, french: str) -> None:
    for language, text in (("en", english), ("fr", french)):
        with use_language(language):
            assert span(seconds, language=language).replace("\u00a0", " ").replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        ((2026, 11, 26), 6, (2026, 5, 26)),
        ((2026, 5, 31), 3, (2026, 2, 28)),
        ((2026, 1, 15), 12, (2025, 1, 15)),
        ((2024, 8, 31), 6, (2024, 2, 29)),
    ],
)
def test_months_before_a_day_end_with_the_month_at_the_latest(day: tuple[int, int, int], months: int, before: tuple[int, int, int]) -> None:
    assert months_before(date(*day), months) == date(*before)


def _changed(state: str = "running") -> BacktestChanged:
    progress = Progress(phase="deciding", pct=41.5, done=415, total=1000, bars_per_s=1.2e6, eta_s=38.0, points=[(1_000, 10_000.0)])
    return BacktestChanged(user_id=UUID(int=1), backtest_id=UUID(int=2), number=142, state=state, progress=progress)


def test_a_page_of_one_run_is_told_of_that_run_with_its_curve_and_of_no_other() -> None:
    french = Reader(language="fr", timezone="UTC")
    name, told = named_event(_changed(), frozenset({f"backtest:{UUID(int=2)}"}), french) or ("", {})
    assert (name, told) == (
        "backtest",
        {
            "id": str(UUID(int=2)),
            "state": "running",
            "words": "La stratégie décide",
            "pct": 41.5,
            "bars_per_s": 1.2e6,
            "left": "38\u00a0s",
            "points": [(1_000, 10_000.0)],
        },
    )
    assert named_event(_changed(), frozenset({f"backtest:{UUID(int=3)}"}), french) is None


def test_the_list_is_told_of_every_run_without_its_curve_and_other_pages_of_none() -> None:
    english = Reader(language="en", timezone="UTC")
    _, told = named_event(_changed(), frozenset({"status", "backtests"}), english) or ("", {})
    assert isinstance(told, dict)
    assert (told["pct"], told["points"]) == (41.5, [])
    assert named_event(_changed(), frozenset({"status", "trading", "chart"}), english) is None


@pytest.mark.parametrize(
    ("state", "progress", "words"),
    [
        ("queued", None, "Waiting for its turn"),
        ("fetching", None, "Bringing the candles together"),
        ("running", None, "The strategy decides"),
        ("fetching", Progress(phase="fetching", symbol="BTC/USDT"), "Fetching missing candles from the exchange: BTC/USDT"),
        ("fetching", Progress(phase="fetching", symbol="BTC/USDT", waits_s=7.6), "The exchange wants to be left alone for 8 s"),
        ("running", Progress(phase="simulating"), "Its trades are simulated"),
        ("running", Progress(phase="something new"), "Bringing the candles together"),
    ],
)
def test_every_phase_has_its_words(state: str, progress: Progress | None, words: str) -> None:
    assert phase_words(state, progress) == words
