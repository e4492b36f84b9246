"""What people were told, whom it was sent to, each attempt at it, and how they want it."""

from datetime import datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Encrypted, Identified, Owned, one_of, sealed
from app.notifications.kinds import Severity


class DeliveryState(StrEnum):
    """How far a notice is on its way to one target."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    QUIET = "quiet"


class AttemptState(StrEnum):
    """What became of one attempt. `unknown`: the server stopped before the answer was written down."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    LIMITED = "limited"
    UNKNOWN = "unknown"


class NotificationTarget(Identified, Owned, Base):
    """Where a user is reached. Its address holds a token, so it is sealed and never shown again; `hint` is its last four characters."""

    __tablename__ = "notification_targets"
    __table_args__ = (
        sealed("url"),
        one_of("least_severity", Severity),
        CheckConstraint("char_length(name) BETWEEN 1 AND 60", name="name_length"),
        UniqueConstraint("user_id", "name"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    #: Apprise's word for the kind of place: tgram, discord, mailtos …
    service: Mapped[str]
    url: Mapped[bytes] = mapped_column(Encrypted("user:{user_id}:notification_target:{id}:url"))
    hint: Mapped[str]
    is_enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    least_severity: Mapped[str] = mapped_column(server_default="info")
    #: None takes what is on by default.
    kinds: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    #: Nothing is sent there before: it asked for a rest, or has had its share of this minute.
    rest_until: Mapped[datetime | None]


class StoredNotice(Identified, Owned, Base):
    """A notice. `title` and `text` are sentences of the catalogue, `values` what stands in them."""

    __tablename__ = "notices"
    __table_args__ = (
        one_of("severity", Severity),
        UniqueConstraint("user_id", "key"),
        Index("ix_notices_bell", "user_id", "id", postgresql_where=text("is_in_bell")),
        Index("ix_notices_put_at", "put_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    severity: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    values: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    url: Mapped[str | None]
    key: Mapped[str | None]
    at: Mapped[datetime]
    put_at: Mapped[datetime] = mapped_column(server_default=func.now())
    is_in_bell: Mapped[bool] = mapped_column(Boolean)
    read_at: Mapped[datetime | None]


class NoticeDelivery(Identified, Owned, Base):
    """A notice on its way to one target. Whoever sends it writes its name and a time before it does (`sender`)."""

    __tablename__ = "notice_deliveries"
    __table_args__ = (
        one_of("state", DeliveryState),
        UniqueConstraint("notice_id", "target_id"),
        Index("ix_notice_deliveries_waiting", "target_id", "next_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_notice_deliveries_attempt_id", "attempt_id"),
        Index("ix_notice_deliveries_user_id", "user_id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    notice_id: Mapped[UUID] = mapped_column(ForeignKey("notices.id", ondelete="CASCADE"))
    target_id: Mapped[UUID] = mapped_column(ForeignKey("notification_targets.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_at: Mapped[datetime]
    #: The attempt under way or the latest one.
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("notification_attempts.id", ondelete="SET NULL"))
    claimed_until: Mapped[datetime | None]


class NotificationAttempt(Identified, Owned, Base):
    """One message sent to one target: the log. It keeps the target's name, as targets go."""

    __tablename__ = "notification_attempts"
    __table_args__ = (
        one_of("state", AttemptState),
        CheckConstraint("char_length(answer) <= 300", name="answer_length"),
        Index("ix_notification_attempts_user_id", "user_id", "id"),
        Index("ix_notification_attempts_target_id", "target_id", "started_at"),
        Index("ix_notification_attempts_started_at", "started_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    target_id: Mapped[UUID | None] = mapped_column(ForeignKey("notification_targets.id", ondelete="SET NULL"))
    target_name: Mapped[str]
    service: Mapped[str]
    is_test: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    severity: Mapped[str]
    #: What was said, in the reader's language.
    title: Mapped[str]
    #: How many notices it told of.
    covers: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    state: Mapped[str]
    #: A sentence of the catalogue, or what the other end said.
    answer: Mapped[str] = mapped_column(server_default="")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class NotificationSettings(Owned, Base):
    """How a user wants to be told: the time zone, what the bell shows, when it is quiet, and the address of their dead-man's switch."""

    __tablename__ = "notification_settings"
    __table_args__ = (
        sealed("deadman_url"),
        one_of("quiet_severity", Severity),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_has_both_ends"),
        CheckConstraint("deadman_minutes BETWEEN 1 AND 1440", name="deadman_minutes_bounded"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    bell_kinds: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    #: Local times; from the evening until the morning where the first is the later one.
    quiet_from: Mapped[time | None]
    quiet_until: Mapped[time | None]
    #: What is at least that grave is sent at night too.
    quiet_severity: Mapped[str] = mapped_column(server_default="error")
    deadman_url: Mapped[bytes | None] = mapped_column(Encrypted("user:{user_id}:deadman_url"))
    deadman_hint: Mapped[str] = mapped_column(server_default="")
    deadman_minutes: Mapped[int] = mapped_column(Integer, server_default=text("5"))
    #: Whether …/fail is called where something is wrong, instead of silence.
    deadman_tells_failure: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    deadman_at: Mapped[datetime | None]
    deadman_next_at: Mapped[datetime | None]
    #: Whether the latest ping was answered, and in words what came of it or why none was sent.
    deadman_ok: Mapped[bool | None] = mapped_column(Boolean)
    deadman_answer: Mapped[str] = mapped_column(server_default="")
