"""What a page is told of a backtest that runs: the shape that its script reads, from the stream as well as when it asks."""

from typing import Any
from uuid import UUID

from app.backtests.events import BacktestChanged, Progress
from app.core.formatters import seconds
from app.core.i18n import current_language
from app.ui.backtest_result import phase_words

#: Topics of a page's stream: of all backtests without their curves, and of one.
ALL = "backtests"
ONE = "backtest"


def told_of(backtest_id: UUID, state: str, progress: Progress | None, *, has_points: bool = True) -> dict[str, Any]:
    """Return how far a backtest is, in the language spoken here."""
    return {
        "id": str(backtest_id),
        "state": state,
        "words": phase_words(state, progress),
        "pct": 0 if progress is None else progress.pct,
        "bars_per_s": None if progress is None else progress.bars_per_s,
        "left": "" if progress is None or progress.eta_s is None else seconds(progress.eta_s, language=current_language()),
        "points": progress.points if progress is not None and has_points else [],
    }


def backtest_event(event: BacktestChanged, topics: frozenset[str]) -> dict[str, Any] | None:
    """Return what a page with these topics is told; None when it is none of its."""
    if f"{ONE}:{event.backtest_id}" in topics:
        return told_of(event.backtest_id, event.state, event.progress)
    return told_of(event.backtest_id, event.state, event.progress, has_points=False) if ALL in topics else None
