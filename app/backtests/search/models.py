"""Searches of users for better parameters, their trials, and what was found out about how robust a backtest is."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.backtests.search.figures import Objective
from app.core.models import Base, CandleFloat, Identified, Owned, one_of

MOST_TRIALS: Final = 5_000
LONGEST_PROBLEM: Final = 300


class Method(StrEnum):
    """How a search chooses what it tries next."""

    #: Every point, one after the other.
    GRID = "grid"
    #: By chance.
    RANDOM = "random"
    #: Tree-structured Parzen estimator: near what was good, and sometimes elsewhere.
    TPE = "tpe"


class SearchState(StrEnum):
    """How far a search is."""

    QUEUED = "queued"
    RUNNING = "running"
    #: By its user; it can go on.
    STOPPED = "stopped"
    #: It has tried as many as were wanted, or all that there are.
    COMPLETED = "completed"
    #: Nothing more can be tried: `error` says why. It can go on once that is put right.
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to it until somebody asks."""
        return self not in (SearchState.QUEUED, SearchState.RUNNING)


class RobustnessState(StrEnum):
    """How far the question is answered whether a backtest is robust."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


UNDER_WAY_SQL: Final = "state IN ('queued', 'running')"


class Work:
    """Columns of what a process works on for a while: who has it, and until when that is believed."""

    #: `phase` and what else is shown while it runs.
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Why it failed: `code`, `message`, and `line` of the strategy's source.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    #: Grows each time that it is begun; what an earlier one writes does nothing.
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: How often it was begun since it last came any further.
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    #: Not before this, after something was busy or away.
    wait_until: Mapped[datetime | None]
    #: When it last had its turn: who waited longest is next.
    served_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Search(Identified, Owned, Work, Base):
    """One search. What repeats it: `header`, `parameters`, `space`, `method`, `objective`, `least_trades`, `test_percent` and `seed`."""

    __tablename__ = "searches"
    __table_args__ = (
        one_of("state", SearchState),
        one_of("method", Method),
        one_of("objective", Objective),
        ForeignKeyConstraint(
            ["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_searches_strategy", ondelete="CASCADE"
        ),
        UniqueConstraint("user_id", "number", name="uq_searches_user_id_number"),
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint(f"wanted BETWEEN 1 AND {MOST_TRIALS}", name="wanted_is_bounded"),
        CheckConstraint("test_percent BETWEEN 0 AND 80", name="test_percent_is_a_part"),
        CheckConstraint("(finished_at IS NOT NULL) = (state IN ('stopped', 'completed', 'failed'))", name="end_has_its_time"),
        Index("ix_searches_under_way", "user_id", "created_at", postgresql_where=text(UNDER_WAY_SQL)),
        Index("ix_searches_strategy_id_user_id", "strategy_id", "user_id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: From 1 for each user, never given twice while its successor is there.
    number: Mapped[int] = mapped_column(Integer)
    strategy_id: Mapped[UUID]
    version_id: Mapped[UUID] = mapped_column(ForeignKey("strategy_versions.id", ondelete="CASCADE"), index=True)
    #: Where it was asked for; None where it came from nowhere, or that was deleted.
    backtest_id: Mapped[UUID | None] = mapped_column(ForeignKey("backtests.id", ondelete="SET NULL"), index=True)
    #: See `search.header.Header`: market, range, costs.
    header: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Of those that do not vary, what differs from the strategy's own.
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: See `search.space.Space`.
    space: Mapped[dict[str, Any]] = mapped_column(JSONB)
    method: Mapped[str]
    objective: Mapped[str]
    #: With fewer a trial is not ranked.
    least_trades: Mapped[int] = mapped_column(Integer)
    #: Of the range, at its end: never used for choosing.
    test_percent: Mapped[int] = mapped_column(Integer)
    #: Trials.
    wanted: Mapped[int] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(BigInteger)
    engine_version: Mapped[str | None]
    candles_sha256: Mapped[str | None]
    #: Candles, and the close times in ms between which it trains and tests; None before they were together.
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    state: Mapped[str] = mapped_column(server_default=SearchState.QUEUED.value)
    stop_asked_at: Mapped[datetime | None]
    #: Trials that are done, and the place of the best of them.
    tried: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    best: Mapped[int | None] = mapped_column(Integer)
    best_score: Mapped[float | None] = mapped_column(CandleFloat)
    #: By parameter, 0 to 1; empty while there are too few trials.
    importance: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class SearchTrial(Owned, Base):
    """One set of parameters and what it came to."""

    __tablename__ = "search_trials"
    __table_args__ = (
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint(f"char_length(problem) <= {LONGEST_PROBLEM}", name="problem_length"),
    )

    search_id: Mapped[UUID] = mapped_column(ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True)
    #: From 1, in the order in which they were tried.
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: Its place on each axis.
    point: Mapped[list[int]] = mapped_column(JSONB)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: What it is ranked by; None where it cannot be.
    score: Mapped[float | None] = mapped_column(CandleFloat)
    #: See `search.figures.Figures`; None where the strategy failed.
    train: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Of what was kept back; None where nothing was.
    test: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Why the strategy failed with these.
    problem: Mapped[str] = mapped_column(server_default="")
    line: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class Robustness(Owned, Work, Base):
    """How robust a backtest is: asked for with one button, answered on one page."""

    __tablename__ = "robustness_checks"
    __table_args__ = (
        one_of("state", RobustnessState),
        CheckConstraint("(finished_at IS NOT NULL) = (state IN ('completed', 'failed'))", name="end_has_its_time"),
        Index("ix_robustness_checks_under_way", "user_id", "created_at", postgresql_where=text(UNDER_WAY_SQL)),
    )

    backtest_id: Mapped[UUID] = mapped_column(ForeignKey("backtests.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(server_default=RobustnessState.QUEUED.value)
    #: See `robustness.report.RobustnessReport`.
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
