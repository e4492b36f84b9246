"""Tells an open page or a program how far a search, or a check of robustness, is, until it is over."""

from typing import Any, Final
from uuid import UUID

from app.backtests.search.events import RobustnessChanged, SearchChanged
from app.backtests.search.models import RobustnessState, SearchState
from app.backtests.stream import RowStream

_SEARCH: Final = """
SELECT number, state, tried, wanted, best, best_score, progress FROM searches WHERE id = $1 AND user_id = $2"""
_ROBUSTNESS: Final = """
SELECT state, progress FROM robustness_checks WHERE backtest_id = $1 AND user_id = $2"""


def search_stream(state: Any, user_id: UUID, search_id: UUID) -> RowStream:
    """Return the events of one search: `{"state", "tried", "wanted", "best", "best_score", "progress"}`."""
    return RowStream(
        state,
        _SEARCH,
        (search_id, user_id),
        heard=(SearchChanged, lambda event: event.search_id == search_id),
        is_over=lambda state: SearchState(state).is_over,
    )


def robustness_stream(state: Any, user_id: UUID, backtest_id: UUID) -> RowStream:
    """Return the events of the check of one backtest: `{"state", "progress"}`."""
    return RowStream(
        state,
        _ROBUSTNESS,
        (backtest_id, user_id),
        heard=(RobustnessChanged, lambda event: event.backtest_id == backtest_id),
        is_over=lambda state: state in (RobustnessState.COMPLETED.value, RobustnessState.FAILED.value),
    )
