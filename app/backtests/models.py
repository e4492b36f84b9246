"""Backtests of users: what was asked, how far it is, and what came of it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of

LONGEST_NOTE: Final = 300


class BacktestState(StrEnum):
    """How far a backtest is."""

    QUEUED = "queued"
    #: Candles are brought together, and fetched where they are missing.
    FETCHING = "fetching"
    #: The strategy decides, and its decisions are simulated.
    RUNNING = "running"
    COMPLETED = "completed"
    #: Stopped by its user. What it had come to by then is kept.
    CANCELED = "canceled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to it any more."""
        return self not in UNDER_WAY


#: States of what waits or is being worked on.
UNDER_WAY: Final = (BacktestState.QUEUED, BacktestState.FETCHING, BacktestState.RUNNING)
UNDER_WAY_SQL: Final = "state IN ('queued', 'fetching', 'running')"


class Backtest(Identified, Owned, Base):
    """One backtest. Its header (up to `seed`, with `engine_version` and `candles_sha256`) is everything that repeats it."""

    __tablename__ = "backtests"
    __table_args__ = (
        one_of("state", BacktestState),
        # Not ON DELETE CASCADE: a strategy whose backtests are stored is archived, not deleted. A removed user takes both along.
        ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_backtests_strategy"),
        UniqueConstraint("user_id", "number", name="uq_backtests_user_id_number"),
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint(f"char_length(note) <= {LONGEST_NOTE}", name="note_length"),
        CheckConstraint("start_at < end_at", name="start_before_end"),
        CheckConstraint("capital > 0", name="capital_is_money"),
        CheckConstraint("fee >= 0 AND maker_fee > -1 AND slippage >= 0", name="costs_are_costs"),
        CheckConstraint("(finished_at IS NOT NULL) = (state IN ('completed', 'canceled', 'failed'))", name="end_has_its_time"),
        Index("ix_backtests_under_way", "user_id", "created_at", postgresql_where=text(UNDER_WAY_SQL)),
        Index("ix_backtests_strategy_id_user_id", "strategy_id", "user_id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: From 1 for each user, never given twice: #142.
    number: Mapped[int] = mapped_column(Integer)
    note: Mapped[str] = mapped_column(server_default="")
    strategy_id: Mapped[UUID]
    version_id: Mapped[UUID] = mapped_column(ForeignKey("strategy_versions.id"), index=True)
    #: Values of the strategy's parameters that differ from its own; `data["parameters"]` has all of them after a run.
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: The account whose exchange and fees were taken; None where it was asked of the server's own feed.
    broker_id: Mapped[UUID | None] = mapped_column(ForeignKey("brokers.id"), index=True)
    #: Where the candles are from; for a paper account the exchange that it mirrors.
    exchange: Mapped[str]
    symbol: Mapped[str]
    timeframe: Mapped[str]
    #: The first candle that may decide opens at or after it.
    start_at: Mapped[datetime]
    #: Exclusive.
    end_at: Mapped[datetime]
    #: Quote units.
    capital: Mapped[Decimal]
    #: Fractions of a fill's notional: 0.001 is 0.1 %. `fee` is the taker's.
    fee: Mapped[Decimal]
    maker_fee: Mapped[Decimal]
    slippage: Mapped[Decimal]
    #: See `wish.Options`: volume share, funding rate, detail.
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: The market's rules as they were: `tick`, `step`, `least_notional`, as strings.
    rules: Mapped[dict[str, Any]] = mapped_column(JSONB)
    seed: Mapped[int] = mapped_column(BigInteger)
    #: What simulated it; None before.
    engine_version: Mapped[str | None]
    #: Of all candles that it saw, as hexadecimal digits; None before.
    candles_sha256: Mapped[str | None]

    state: Mapped[str] = mapped_column(server_default=BacktestState.QUEUED.value)
    #: See `events.Progress`; None while it waits.
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: See `data.Facts`: rows, gaps, frames, parameters; None before its candles were together.
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: See `report.Report`; of a canceled one, of the part that was done.
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: What lists show of the report: `net`, `net_return`, `held_return`, `max_drawdown`, `sharpe`, `trades`.
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Why it failed: `code`, `message`, and `line`, `column`, `traceback` of the strategy's source.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: What the strategy printed.
    output: Mapped[str] = mapped_column(server_default="")

    #: Bytes that it is expected to take while it runs.
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    #: How often it was begun.
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    #: Who works on it, and until when that is believed; `epoch` grows each time that it is begun, and writes of an earlier one do nothing.
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Not before this, after something was busy or away.
    wait_until: Mapped[datetime | None]
    cancel_asked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class BacktestResult(Owned, Base):
    """The columns of one result (`packed`): every figure exactly as the engine gave it."""

    __tablename__ = "backtest_results"

    backtest_id: Mapped[UUID] = mapped_column(ForeignKey("backtests.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    trades: Mapped[bytes] = mapped_column(BYTEA)
    fills: Mapped[bytes] = mapped_column(BYTEA)
    #: Open time and equity of each candle.
    equity: Mapped[bytes] = mapped_column(BYTEA)


class BacktestCounter(Owned, Base):
    """The last number that a user's backtest was given, and when one of theirs was last begun: who waited longest is next."""

    __tablename__ = "backtest_counters"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    last_number: Mapped[int] = mapped_column(Integer)
    served_at: Mapped[datetime | None]
