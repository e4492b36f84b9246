import math
from itertools import groupby
from statistics import mean, median, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.metrics_outcomes import longest_streak
from app.domain.metrics_trades import by_reason, trade_figures, trade_returns
from app.domain.simulated import Reason
from tests.domain.equity_curves import joined, trades_of

HOUR_MS = 3_600_000
TIMES = np.arange(1_000, dtype=np.int64) * HOUR_MS


def test_figures_of_five_trades_are_those_one_computes_by_hand() -> None:
    trades = joined(
        trades_of((0, 2, 30.0), (3, 4, -10.0), (5, 5, 20.0), price=200.0),
        trades_of((6, 10, -20.0), (11, 12, 0.0), side=-1, price=200.0),
        trades_of((13, 20, 500.0), price=200.0, reason=None),
    )
    figures = trade_figures(trades, TIMES)

    assert (figures.closed, figures.open, figures.long, figures.short, figures.won, figures.lost) == (5, 1, 3, 2, 2, 2)
    assert figures.win_rate == pytest.approx(0.4)
    assert [str(value) for value in (figures.expectancy, figures.gross_profit, figures.gross_loss)] == ["4", "50", "30"]
    assert [str(value) for value in (figures.average_win, figures.average_loss)] == ["25", "15"]
    assert figures.profit_factor == pytest.approx(50 / 30)
    assert figures.payoff_ratio == pytest.approx(25 / 15)
    assert figures.sqn == pytest.approx(math.sqrt(5) * 4 / stdev([30, -10, 20, -20, 0]))
    assert [figures.average_return, figures.median_return] == pytest.approx([0.02, 0.0])
    assert figures.best is not None
    assert figures.worst is not None
    assert (figures.best.number, str(figures.best.profit)) == (1, "30")
    assert (figures.worst.number, str(figures.worst.profit)) == (4, "-20")
    assert [figures.best.returned, figures.worst.returned] == pytest.approx([0.15, -0.1])
    assert (figures.average_hold_ms, figures.median_hold_ms, figures.longest_hold_ms) == (
        round(1.6 * HOUR_MS), HOUR_MS, 4 * HOUR_MS,
    )  # fmt: skip
    assert (figures.longest_wins, figures.longest_losses) == (1, 1)


def test_excursions_tell_what_winners_went_through_and_losers_gave_back() -> None:
    found = trade_figures(trades_of((0, 1, 30.0), (2, 3, -10.0), (4, 5, 20.0)), TIMES).excursions
    assert found is not None
    assert [found.average_worst, found.average_best] == pytest.approx([(-0.01 - 0.11 - 0.01) / 3, (0.32 + 0.02 + 0.22) / 3])
    assert [found.average_worst_of_won, found.average_best_of_lost] == pytest.approx([-0.01, 0.02])
    assert found.edge_ratio == pytest.approx(0.56 / 0.13)


def test_with_no_trade_nothing_has_an_average() -> None:
    figures = trade_figures(trades_of(), TIMES)
    assert (figures.closed, figures.open, figures.longest_wins, str(figures.gross_profit)) == (0, 0, 0, "0")
    averages = (figures.win_rate, figures.expectancy, figures.profit_factor, figures.payoff_ratio, figures.sqn, figures.best)
    assert averages == (None,) * 6
    assert (figures.average_hold_ms, figures.excursions, by_reason(trades_of(), TIMES)) == (None, None, ())


def test_an_open_trade_counts_in_nothing_but_the_open_ones() -> None:
    figures = trade_figures(trades_of((0, 9, 1_000.0), reason=None), TIMES)
    assert (figures.closed, figures.open, figures.expectancy) == (0, 1, None)


def test_winners_alone_have_no_profit_factor_and_one_trade_no_quality() -> None:
    figures = trade_figures(trades_of((0, 1, 5.0)), TIMES)
    assert (figures.profit_factor, figures.payoff_ratio, figures.average_loss, figures.sqn) == (None, None, None, None)
    assert figures.win_rate == 1


def test_trades_are_told_apart_by_why_they_ended_most_first() -> None:
    trades = joined(trades_of((0, 1, 5.0), reason=Reason.TARGET), trades_of((2, 3, -3.0), (4, 7, 1.0), reason=Reason.STOP))
    stop, target = by_reason(trades, TIMES)
    assert (stop.reason, stop.trades, stop.won, str(stop.profit), str(stop.average)) == ("stop", 2, 1, "-2", "-1")
    assert stop.average_return == pytest.approx(-0.01)
    assert stop.average_hold_ms == 2 * HOUR_MS
    assert (target.reason, target.trades, target.win_rate) == ("target", 1, 1.0)


profits = st.lists(st.floats(-1e4, 1e4).map(lambda value: round(value, 2)), min_size=1, max_size=60)


@given(profits)
def test_figures_of_any_trades_are_those_of_plain_statistics(given_profits: list[float]) -> None:
    rows = [(2 * place, 2 * place + place % 5, profit) for place, profit in enumerate(given_profits)]
    trades = trades_of(*rows, quantity=2.0)
    figures = trade_figures(trades, TIMES)
    won, lost = [one for one in given_profits if one > 0], [one for one in given_profits if one < 0]

    assert float(figures.expectancy or 0) == pytest.approx(mean(given_profits), abs=1e-6)
    assert figures.median_return == pytest.approx(median(given_profits) / 200)
    assert trade_returns(trades) == pytest.approx(np.array(given_profits) / 200)
    assert figures.win_rate == pytest.approx(len(won) / len(given_profits))
    if won and lost:
        assert figures.profit_factor == pytest.approx(sum(won) / -sum(lost))
        assert figures.payoff_ratio == pytest.approx(mean(won) / -mean(lost))
    runs = [(kind, len(list(run))) for kind, run in groupby(given_profits, key=lambda one: (one > 0) - (one < 0))]
    assert figures.longest_wins == max((length for kind, length in runs if kind > 0), default=0)
    assert figures.longest_losses == max((length for kind, length in runs if kind < 0), default=0)


def test_the_longest_row_of_none_is_none() -> None:
    assert [longest_streak(np.array(row, dtype=bool)) for row in ([], [0, 0], [1, 1, 0, 1], [0, 1, 1, 1])] == [0, 0, 2, 3]
