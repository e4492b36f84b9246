"""Strategies of a user, their versions, and what was shared with other users."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.sandbox.messages import LONGEST_SOURCE

LONGEST_NAME: Final = 60
LONGEST_DESCRIPTION: Final = 2_000
LONGEST_NOTE: Final = 300


class Origin(StrEnum):
    """Where a strategy comes from."""

    WRITTEN = "written"
    TEMPLATE = "template"
    IMPORTED = "imported"
    FORKED = "forked"
    SHARED = "shared"


class Strategy(Identified, Owned, Base):
    """A strategy: a name, and the draft that is being written. What is run is one of its versions."""

    __tablename__ = "strategies"
    __table_args__ = (
        one_of("origin", Origin),
        CheckConstraint(f"char_length(name) BETWEEN 1 AND {LONGEST_NAME}", name="name_length"),
        CheckConstraint(f"char_length(description) <= {LONGEST_DESCRIPTION}", name="description_length"),
        CheckConstraint(f"char_length(draft) <= {LONGEST_SOURCE}", name="draft_length"),
        CheckConstraint("(draft IS NULL) = (draft_saved_at IS NULL)", name="draft_has_its_time"),
        UniqueConstraint("id", "user_id", name="uq_strategies_id_user_id"),
        Index("uq_strategies_user_id_name", "user_id", func.lower(text("name")), unique=True, postgresql_where=text("archived_at IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    #: The market that it was last tried on.
    exchange: Mapped[str | None]
    symbol: Mapped[str | None]
    timeframe: Mapped[str | None]
    #: The source as it stands in the editor; None: as the newest version has it.
    draft: Mapped[str | None]
    draft_saved_at: Mapped[datetime | None]
    #: Counts the drafts: who saves one names the one that it was made from.
    draft_revision: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    origin: Mapped[str] = mapped_column(server_default=Origin.WRITTEN.value)
    #: The template's name, the file's, the forked strategy's, or the name of the user who shared it.
    origin_name: Mapped[str | None]
    #: The version that was forked or shared.
    origin_number: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime]
    #: When its name, its description, its draft or its versions last changed.
    changed_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class StrategyVersion(Identified, Owned, Base):
    """One state of a strategy's source. Triggers keep the source for ever, and all that tells what it is once it has been used."""

    __tablename__ = "strategy_versions"
    __table_args__ = (
        ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], ondelete="CASCADE"),
        UniqueConstraint("strategy_id", "number", name="uq_strategy_versions_number"),
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint(f"char_length(source) <= {LONGEST_SOURCE}", name="source_length"),
        CheckConstraint("sha256 = encode(sha256(convert_to(source, 'UTF8')), 'hex')", name="sha256_of_source"),
        CheckConstraint(f"char_length(note) <= {LONGEST_NOTE}", name="note_length"),
        CheckConstraint("(validated_at IS NULL) = (report IS NULL)", name="report_has_its_time"),
        CheckConstraint("NOT is_valid OR (validated_at IS NOT NULL AND NOT has_look_ahead)", name="valid_is_validated"),
    )

    user_id: Mapped[UUID]
    strategy_id: Mapped[UUID]
    #: From 1, without gaps.
    number: Mapped[int] = mapped_column(Integer)
    source: Mapped[str]
    #: Of the source in UTF-8, as hexadecimal digits.
    sha256: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    #: What the strategy says of itself (`sandbox.messages.Described`); None until it was loaded once.
    described: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: See `strategies.report.Report`.
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Whether its last validation found nothing that keeps it from trading.
    is_valid: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    has_look_ahead: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    validated_at: Mapped[datetime | None]
    #: When something first ran it that names it for ever: a bot, a stored backtest.
    first_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class StrategyShare(Identified, Owned, Base):
    """A wish to give somebody a copy. It is written whether that user exists or not; `strategies.sharing` delivers it."""

    __tablename__ = "strategy_shares"
    __table_args__ = (
        CheckConstraint("char_length(to_name) BETWEEN 1 AND 100", name="to_name_length"),
        Index("ix_strategy_shares_waiting", "id", postgresql_where=text("settled_at IS NULL")),
        Index("ix_strategy_shares_user_id_created_at", "user_id", "created_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: None once its strategy was deleted; the row still counts, and nothing is delivered.
    version_id: Mapped[UUID | None] = mapped_column(ForeignKey("strategy_versions.id", ondelete="SET NULL"), index=True)
    #: As it was typed; whose name it is nobody is told.
    to_name: Mapped[str]
    created_at: Mapped[datetime]
    #: When it was looked at, whatever came of it.
    settled_at: Mapped[datetime | None]
