"""Tables of market data: candles (partitioned by month), the holes in them, the heartbeat's state and the instruments."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, CandleFloat, Identified, one_of


class CandleSource(StrEnum):
    """Which road a candle came by."""

    STREAM = "stream"
    REST = "rest"
    IMPORT = "import"


class GapOutcome(StrEnum):
    """What became of a hole in the candles."""

    OPEN = "open"
    FILLED = "filled"
    EXCHANGE_HAS_NONE = "exchange_has_none"


class CandleRow(Base):
    """One closed candle. Written by `store` through asyncpg only; months are made by `ensure_candle_partition` (migrations)."""

    __tablename__ = "candles"
    __table_args__ = (one_of("source", CandleSource), {"postgresql_partition_by": "RANGE (open_time)"})

    exchange: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    timeframe: Mapped[str] = mapped_column(primary_key=True)
    open_time: Mapped[datetime] = mapped_column(primary_key=True)
    open: Mapped[float] = mapped_column(CandleFloat)
    high: Mapped[float] = mapped_column(CandleFloat)
    low: Mapped[float] = mapped_column(CandleFloat)
    close: Mapped[float] = mapped_column(CandleFloat)
    volume: Mapped[float] = mapped_column(CandleFloat)
    source: Mapped[str]


class CandleGap(Identified, Base):
    """Candles that were missed: open times from `start_at` inclusive to `end_at` exclusive."""

    __tablename__ = "candle_gaps"
    __table_args__ = (
        one_of("outcome", GapOutcome),
        CheckConstraint("end_at > start_at", name="range_not_empty"),
        UniqueConstraint("exchange", "symbol", "timeframe", "start_at", "end_at"),
        Index("ix_candle_gaps_open", "exchange", "symbol", postgresql_where="outcome = 'open'"),
        Index("ix_candle_gaps_exchange_start_at", "exchange", "start_at"),
    )

    exchange: Mapped[str]
    symbol: Mapped[str]
    timeframe: Mapped[str]
    start_at: Mapped[datetime]
    end_at: Mapped[datetime]
    found_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    outcome: Mapped[str]


class DifferenceCause(StrEnum):
    """How a stored candle came to have other numbers: the exchange told it again, or its own candle is not the sum of its minutes."""

    REVISED = "revised"
    CROSS_CHECK = "cross_check"


class CandleDifference(Identified, Base):
    """A stored candle that got other numbers. `was` and `became` are open, high, low, close and volume."""

    __tablename__ = "candle_differences"
    __table_args__ = (
        one_of("cause", DifferenceCause),
        CheckConstraint("cardinality(was) = 5 AND cardinality(became) = 5", name="five_numbers"),
        Index("ix_candle_differences_exchange_found_at", "exchange", "found_at"),
        Index("ix_candle_differences_candle", "exchange", "symbol", "timeframe", "open_time"),
    )

    exchange: Mapped[str]
    symbol: Mapped[str]
    timeframe: Mapped[str]
    open_time: Mapped[datetime]
    cause: Mapped[str]
    was: Mapped[list[float]] = mapped_column(ARRAY(CandleFloat))
    became: Mapped[list[float]] = mapped_column(ARRAY(CandleFloat))
    found_at: Mapped[datetime]


class HeartbeatStatus(Base):
    """How the live feed of one exchange is doing; one row per exchange, rewritten every few seconds.

    `lag_ms` is how long messages take from the venue's clock to us, `clock_offset_ms` how far its clock is ahead of ours; None: not known.
    `reconnects` counts since the start. `connections` holds what is open now: url, streams, opened_at, age_ms of its last data.
    """

    __tablename__ = "heartbeat_status"

    exchange: Mapped[str] = mapped_column(primary_key=True)
    is_connected: Mapped[bool]
    is_fresh: Mapped[bool]
    last_heartbeat: Mapped[datetime | None]
    last_error: Mapped[str | None]
    symbols_monitored: Mapped[list[str]] = mapped_column(JSONB)
    lag_ms: Mapped[float | None] = mapped_column(DOUBLE_PRECISION)
    clock_offset_ms: Mapped[float | None] = mapped_column(DOUBLE_PRECISION)
    reconnects: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    connections: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    started_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]


class HeartbeatSession(Identified, Base):
    """One run of the heartbeat, from start to stop; no stop means that the process was killed or is running."""

    __tablename__ = "heartbeat_sessions"
    __table_args__ = (Index("ix_heartbeat_sessions_exchange_started_at", "exchange", "started_at"),)

    exchange: Mapped[str]
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str | None]


class InstrumentRow(Identified, Base):
    """One symbol of one exchange with its trading rules (the mission's ExchangeSymbol); shared by all users."""

    __tablename__ = "instruments"
    __table_args__ = (UniqueConstraint("exchange", "symbol", "type"), Index("ix_instruments_exchange_quote", "exchange", "quote"))

    exchange: Mapped[str]
    symbol: Mapped[str]
    type: Mapped[str]
    base: Mapped[str]
    quote: Mapped[str]
    is_active: Mapped[bool]
    tick_size: Mapped[Decimal]
    step_size: Mapped[Decimal]
    min_quantity: Mapped[Decimal | None]
    max_quantity: Mapped[Decimal | None]
    min_price: Mapped[Decimal | None]
    max_price: Mapped[Decimal | None]
    #: A market order's own largest quantity, and how far a limit price may be from the market's, as ratios.
    max_market_quantity: Mapped[Decimal | None]
    buy_min_ratio: Mapped[Decimal | None]
    buy_max_ratio: Mapped[Decimal | None]
    sell_min_ratio: Mapped[Decimal | None]
    sell_max_ratio: Mapped[Decimal | None]
    min_notional: Mapped[Decimal | None]
    max_notional: Mapped[Decimal | None]
    raw_info: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: When this row last changed; the list as a whole may have been compared since.
    last_updated: Mapped[datetime]
    #: Since when the exchange does not list the symbol any more. One that is not active and yet listed is halted.
    delisted_at: Mapped[datetime | None]


class UpdateCause(StrEnum):
    """Who wanted an update of the instruments."""

    PERSON = "person"
    NIGHTLY = "nightly"


class UpdateState(StrEnum):
    """What became of an update. Interrupted: its server ended before it did."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class UpdatePhase(StrEnum):
    """How far an update is: it waits for others, asks the exchange, or stores its answer."""

    WAITING = "waiting"
    ASKING = "asking"
    STORING = "storing"


class InstrumentUpdate(Identified, Base):
    """One update of an exchange's instruments. The answer is everybody's, so the row is too; `started_by` is shown to nobody else.

    `done` of `total` symbols are stored. `names` holds the first symbols of what was added, updated and removed.
    """

    __tablename__ = "instrument_updates"
    __table_args__ = (
        one_of("cause", UpdateCause),
        one_of("state", UpdateState),
        one_of("phase", UpdatePhase),
        Index("uq_instrument_updates_running", "exchange", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_instrument_updates_exchange_id", "exchange", "id"),
    )

    exchange: Mapped[str]
    cause: Mapped[str]
    started_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    state: Mapped[str]
    phase: Mapped[str]
    done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    added: Mapped[int | None] = mapped_column(Integer)
    updated: Mapped[int | None] = mapped_column(Integer)
    removed: Mapped[int | None] = mapped_column(Integer)
    names: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    code: Mapped[str | None]
    detail: Mapped[str | None]
    #: The process that works on it, as `core.leases` names processes, and when it last said so.
    owner: Mapped[str]
    started_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
