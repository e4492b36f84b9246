"""Shapes of the API of searches. Figures of trials are numbers, but amounts of money are JSON strings."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.backtests.schemas import BacktestIn
from app.backtests.search.figures import Figures, Objective
from app.backtests.search.header import header_of
from app.backtests.search.models import MOST_TRIALS, Method, SearchState, SearchTrial
from app.backtests.search.service import ListedSearch, SearchWish
from app.backtests.search.space import MOST_AXES, AxisWish
from app.domain.metrics import amount
from app.sandbox.messages import Described

_Bound = Annotated[float | None, Field(ge=-1e15, le=1e15)]


class AxisIn(BaseModel):
    """How one parameter varies; what is left out is what the parameter declares, or usual."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    low: _Bound = None
    high: _Bound = None
    step: Annotated[float | None, Field(gt=0, le=1e15)] = None

    def wish(self) -> AxisWish:
        """Return the axis that is asked for."""
        return AxisWish(name=self.name, low=self.low, high=self.high, step=self.step)


class SearchIn(BacktestIn):
    """A search to make: a backtest's header, and what varies. `parameters` are of those that do not."""

    axes: Annotated[
        list[AxisIn], Field(max_length=MOST_AXES, default_factory=list, description="What varies; everything that can if left out")
    ]
    method: Method = Method.TPE
    objective: Objective = Objective.SHARPE
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS, description="Sets that are tried; a grid tries all that there are")] = 50
    least_trades: Annotated[int, Field(ge=0, le=1_000_000, description="With fewer a trial is not ranked")] = 10
    test_percent: Annotated[int, Field(ge=0, le=80, description="Of the range, at its end, that is never used for choosing")] = 30
    backtest_id: Annotated[UUID | None, Field(description="Where it is asked for")] = None

    def search_wish(self) -> SearchWish:
        """Return the search that is asked for."""
        own = {"axes", "method", "objective", "trials", "least_trades", "test_percent", "backtest_id"}
        base = BacktestIn(**self.model_dump(exclude=own)).wish()
        return SearchWish(
            base=base, axes=[axis.wish() for axis in self.axes], method=self.method, objective=self.objective, trials=self.trials,
            least_trades=self.least_trades, test_percent=self.test_percent, seed=self.seed, backtest_id=self.backtest_id,
        )  # fmt: skip


class ContinueIn(BaseModel):
    """How a search goes on."""

    model_config = ConfigDict(extra="forbid")

    trials: Annotated[int | None, Field(ge=1, le=MOST_TRIALS, description="Further ones; those that are left if not given")] = None


class SearchOut(BaseModel):
    """A search. `importance` says how much each parameter had to do with being among the best, 0 to 1; empty after few trials."""

    id: UUID
    number: int
    state: SearchState
    strategy_id: UUID
    strategy_name: str
    version: int
    version_id: UUID
    backtest_id: UUID | None
    header: dict[str, Any]
    parameters: dict[str, Any]
    space: dict[str, Any]
    method: Method
    objective: Objective
    least_trades: int
    test_percent: int
    wanted: int
    tried: int
    best: int | None
    best_score: float | None
    importance: dict[str, float]
    seed: int
    engine_version: str | None
    candles_sha256: str | None
    data: dict[str, Any] | None
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, listed: ListedSearch) -> "SearchOut":
        """Return a search."""
        search = listed.search
        ours = {"strategy_name": listed.strategy_name, "version": listed.version_number}
        header = msgspec.to_builtins(header_of(search.header))
        header.pop("memory_bytes")
        ours_too = {"header": header}
        rest = {name: getattr(search, name) for name in cls.model_fields if name not in (*ours, *ours_too)}
        return cls(**ours, **ours_too, **rest)


class SearchPage(BaseModel):
    """Searches, the newest first; `next` is the cursor of the page after, None at the end."""

    items: list[SearchOut]
    next: str | None


class FiguresOut(BaseModel):
    """What came of a trial in one stretch. Fractions of one; null where a figure does not exist (docs/metrics.md)."""

    net: str
    net_return: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    profit_factor: float | None
    sqn: float | None
    trades: int
    win_rate: float | None

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> "FiguresOut | None":
        """Return figures as they are stored."""
        if stored is None:
            return None
        figures = msgspec.convert(stored, Figures)
        return cls(**{**stored, "net": f"{amount(figures.net):f}"})


class TrialOut(BaseModel):
    """One set of parameters. `score` is what it is ranked by, null where it cannot be; `test` was never used for choosing."""

    number: int
    parameters: dict[str, Any]
    score: float | None
    train: FiguresOut | None
    test: FiguresOut | None
    problem: str
    line: int

    @classmethod
    def of(cls, trial: SearchTrial) -> "TrialOut":
        """Return a trial."""
        return cls(
            number=trial.number, parameters=trial.parameters, score=trial.score, train=FiguresOut.of(trial.train),
            test=FiguresOut.of(trial.test), problem=trial.problem, line=trial.line,
        )  # fmt: skip


class TrialPage(BaseModel):
    """Trials; `next` is the cursor of the page after, None at the end."""

    items: list[TrialOut]
    next: str | None


class SpaceOut(BaseModel):
    """The parameters of a version, and how each usually varies."""

    parameters: list[dict[str, Any]]
    axes: list[dict[str, Any]]

    @classmethod
    def of(cls, described: Described, axes: list[AxisWish]) -> "SpaceOut":
        """Return the space of a version."""
        return cls(parameters=msgspec.to_builtins(described.parameters), axes=msgspec.to_builtins(axes))


class PromotedOut(BaseModel):
    """A version that was made of a trial, or that was there already."""

    strategy_id: UUID
    version_id: UUID
    number: int
    is_new: bool
