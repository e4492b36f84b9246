"""Tables of what may be traded: states with their log, limits, each day's results and each account's order count, kill switches."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, one_of
from app.domain.enums import TradingState
from app.domain.risk import ScopeKind


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
