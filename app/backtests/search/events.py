"""What searches and checks of robustness tell while they run; published after their rows say so."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchChanged:
    """A search has another state, or is further. `progress` is None while nobody works on it."""

    user_id: UUID
    search_id: UUID
    number: int
    state: str
    tried: int
    wanted: int
    best: int | None = None
    best_score: float | None = None
    progress: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAsked:
    """A search was made, is to go on or to stop, or a check was asked for: whoever works on them in this process looks at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessChanged:
    """The check of a backtest's robustness has another state, or is further."""

    user_id: UUID
    backtest_id: UUID
    state: str
    progress: dict[str, Any] | None = None
