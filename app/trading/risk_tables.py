"""Tables of what may be traded: states with their log, limits, each day's results and each account's order count, kill switches."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Date, ForeignKey, Identity, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.domain.enums import TradingState
from app.domain.risk import KillAction, ScopeKind


class TradingStateRow(Base):
    """Why a scope may not trade freely: one row per cause, none while it may. Read through `trading.states` only.

    `user_id` is empty for the platform's own rows, which concern everybody.
    """

    __tablename__ = "trading_states"
    __table_args__ = (
        one_of("scope", ScopeKind),
        CheckConstraint("state IN ('reducing', 'reconciling', 'halted')", name="state_restrains"),
        Index("ix_trading_states_user_id", "user_id"),
    )

    #: Which thing of that kind; unique among all kinds.
    key: Mapped[str] = mapped_column(primary_key=True)
    #: The cause. A second cause is a second row, so that lifting one does not lift the other.
    code: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str]
    user_id: Mapped[UUID | None]
    state: Mapped[str]
    reason: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
    #: Whether a person must resume trading; otherwise what set it lifts it.
    needs_rearm: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))


class TradingStateLog(Base):
    """Who restrained or resumed trading, when and why. Append-only."""

    __tablename__ = "trading_state_log"
    __table_args__ = (
        one_of("state", TradingState),
        CheckConstraint("action IN ('tripped', 'rearmed', 'lifted')", name="action_known"),
        Index("ix_trading_state_log_key_code_id", "key", "code", "id"),
        Index("ix_trading_state_log_user_id_id", "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    scope: Mapped[str]
    key: Mapped[str]
    user_id: Mapped[UUID | None]
    action: Mapped[str]
    #: What the cause asks for from now on; active when it is gone.
    state: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime]


class RiskLimitsRow(Owned, Base):
    """What a user has set: for one account, or (`broker_id` empty) for all of them together. Empty means the default.

    The row for all accounts is also the turn in which their orders are admitted (`trading.gate`).
    """

    __tablename__ = "risk_limits"
    __table_args__ = (Index("ix_risk_limits_user_id", "user_id"),)

    #: The account's id, or the user's own.
    scope_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    broker_id: Mapped[UUID | None] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"))
    max_order_notional: Mapped[Decimal | None]
    max_position_notional: Mapped[Decimal | None]
    max_daily_loss: Mapped[Decimal | None]
    max_open_orders: Mapped[int | None] = mapped_column(Integer)
    max_daily_orders: Mapped[int | None] = mapped_column(Integer)
    orders_per_minute: Mapped[int | None] = mapped_column(Integer)
    rejects_per_minute: Mapped[int | None] = mapped_column(Integer)
    price_collar: Mapped[Decimal | None]
    price_deviation: Mapped[Decimal | None]
    updated_at: Mapped[datetime]


class AccountActivity(Owned, Base):
    """How many orders an account has stored in its current minute and day. Its row is the lock under which they are admitted."""

    __tablename__ = "account_activity"
    __table_args__ = (Index("ix_account_activity_user_id", "user_id"),)

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID]
    minute: Mapped[datetime]
    minute_orders: Mapped[int] = mapped_column(Integer)
    day: Mapped[date] = mapped_column(Date)
    day_orders: Mapped[int] = mapped_column(Integer)


class DailyResult(Owned, Base):
    """What an account's positions realised on one UTC day, in each quote currency, after fees; counted with the fill."""

    __tablename__ = "daily_results"
    __table_args__ = (Index("ix_daily_results_user_id_day", "user_id", "day"),)

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    quote: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    realized: Mapped[Decimal]


class KillCommand(Identified, Owned, Base):
    """Somebody used the kill switch. The engine carries the command out from this table, step by step, until nothing of it is left to do.

    `user_id` is who used it; what it is about is the scope, which for an administrator may be the whole platform.
    """

    __tablename__ = "kill_commands"
    __table_args__ = (
        one_of("scope", ScopeKind),
        one_of("action", KillAction),
        CheckConstraint("state IN ('running', 'done', 'superseded')", name="state_known"),
        Index("uq_kill_commands_user_id_idempotency_key", "user_id", "idempotency_key", unique=True),
        Index("ix_kill_commands_running", "key", postgresql_where=text("state = 'running'")),
        Index("ix_kill_commands_user_id_id", "user_id", "id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    scope: Mapped[str]
    key: Mapped[str]
    #: Whose orders and positions; empty for everybody's.
    of_user_id: Mapped[UUID | None]
    action: Mapped[str]
    state: Mapped[str]
    issued_by: Mapped[str]
    idempotency_key: Mapped[str]
    #: What there was to do when it was given, and how far it is.
    plan: Mapped[dict[str, Any]] = mapped_column(JSONB)
    progress: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
