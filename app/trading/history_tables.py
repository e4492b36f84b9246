"""What a trader writes down beside what happened."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from app.core.models import Base, Owned, one_of


class Subject(StrEnum):
    """What a note is about."""

    TRADE = "trade"
    ORDER = "order"


class NoteRow(Owned, Base):
    """A person's note on one of their orders, or on one of their round trips (a position, by its id)."""

    __tablename__ = "notes"
    __table_args__ = (
        one_of("subject", Subject),
        CheckConstraint("length(text) <= 2000", name="text_length"),
        CheckConstraint("cardinality(tags) <= 10", name="tags_count"),
        CheckConstraint("text <> '' OR cardinality(tags) > 0", name="not_empty"),
        Index("ix_notes_user_id", "user_id"),
    )

    subject: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    text: Mapped[str]
    #: Lower-case words, sorted.
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
