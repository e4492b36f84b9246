"""What bots came to beside their shadows."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Date, ForeignKey, Index, Integer, UniqueConstraint, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of


class ShadowState(StrEnum):
    """How far a comparison is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class BotShadow(Identified, Owned, Base):
    """A bot beside its shadow over its whole life until then, as it was compared last on that day.

    While it waits or runs anew, the result of the time before stays.
    """

    __tablename__ = "bot_shadows"
    __table_args__ = (
        one_of("state", ShadowState),
        UniqueConstraint("bot_id", "day", name="uq_bot_shadows_bot_id_day"),
        CheckConstraint("(live IS NULL) = (finished_at IS NULL)", name="result_has_its_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failure_is_told"),
        Index("ix_bot_shadows_user_id_day", "user_id", "day"),
        Index("ix_bot_shadows_open", "asked_at", postgresql_where=text("state IN ('queued', 'running')")),
    )

    bot_id: Mapped[UUID] = mapped_column(ForeignKey("bots.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: Of UTC.
    day: Mapped[date] = mapped_column(Date)
    state: Mapped[str] = mapped_column(server_default=ShadowState.QUEUED.value)
    #: Whether somebody waits for it.
    is_by_hand: Mapped[bool] = mapped_column(Boolean, server_default=false())
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    asked_at: Mapped[datetime]
    #: Of the result that is there.
    finished_at: Mapped[datetime | None]
    #: The first candle that could decide, and the end of the last one.
    first_at: Mapped[datetime | None]
    until_at: Mapped[datetime | None]
    engine_version: Mapped[str | None]
    #: Quote units that the bot made, that its shadow made, and what no cause was found for: live − shadow = Σ causes + rest.
    live: Mapped[Decimal | None]
    shadow: Mapped[Decimal | None]
    rest: Mapped[Decimal | None]
    live_trades: Mapped[int | None] = mapped_column(Integer)
    shadow_trades: Mapped[int | None] = mapped_column(Integer)
    #: What the shadow was simulated with: `fee`, `maker_fee`, `slippage`, `capital`, `version`, `parameters`, `candles`.
    header: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    #: Quote units by cause (`causes.Cause`), as text.
    causes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    #: See `keeping.stored`; None once it is old.
    differences: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    #: Close times in ms and the equity of both, in few points; None once it is old.
    curve: Mapped[list[list[float]] | None] = mapped_column(JSONB(none_as_null=True))
    #: Why the last attempt failed: `code`, `message`.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
