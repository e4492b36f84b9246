"""Webhooks, every delivery to them, and the guard against repeats."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.domain.candles import LIVE_TIMEFRAMES


class Decision(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    EXECUTED = "executed"
    DENIED = "denied"
    STALE = "stale"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    PAUSED = "paused"
    PING = "ping"
    MISSED = "missed"


class Webhook(Identified, Owned, Base):
    """A door for one user's alerts. The secret in its address is stored as a hash."""

    __tablename__ = "webhooks"
    __table_args__ = (
        one_of("interval", LIVE_TIMEFRAMES),
        CheckConstraint("max_age_s BETWEEN 1 AND 86400", name="max_age"),
        CheckConstraint("per_minute BETWEEN 1 AND 6000", name="rate"),
        Index("uq_webhooks_user_id_name", "user_id", func.lower(text("name")), unique=True, postgresql_where=text("removed_at IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    broker_id: Mapped[UUID | None] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"))
    name: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    #: See `webhooks.rules`.
    rules: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Addresses and networks that may send; None: all.
    allowed_ips: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    #: How old an alert may be, in seconds, to be traded.
    max_age_s: Mapped[int] = mapped_column(Integer, server_default=text("60"))
    #: Alerts that are traded of one minute.
    per_minute: Mapped[int] = mapped_column(Integer, server_default=text("120"))
    #: An alert is expected with the close of each candle of this length, from `expected_from`; None: none is.
    interval: Mapped[str | None]
    expected_from: Mapped[datetime | None]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class WebhookDelivery(Identified, Base):
    """One request to a webhook's address, whatever became of it; this table is the inbox.

    Requests to an address that nobody has carry no webhook and no user: only administrators see them.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        one_of("decision", Decision),
        Index("ix_webhook_deliveries_pending", "user_id", "received_at", postgresql_where=text("decision = 'pending'")),
        Index("ix_webhook_deliveries_user_id_id", "user_id", "id"),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_history", "user_id", "received_at", "id"),
        Index("ix_webhook_deliveries_replay_of", "replay_of", postgresql_where=text("replay_of IS NOT NULL")),
    )

    webhook_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    user_id: Mapped[UUID | None]
    received_at: Mapped[datetime]
    ip_address: Mapped[str | None]
    content_type: Mapped[str | None]
    raw: Mapped[str]
    size: Mapped[int] = mapped_column(Integer)
    parsed: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    #: The way in which the message is written.
    dialect: Mapped[str | None]
    #: The moment that the message gives.
    alert_at: Mapped[datetime | None]
    #: The delivery that this one repeats on paper.
    replay_of: Mapped[UUID | None]
    #: The account on which it was acted.
    broker_id: Mapped[UUID | None]
    is_test: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    decision: Mapped[str]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    latencies_ms: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    done_at: Mapped[datetime | None]


class WebhookReplay(Base):
    """A body that came to a webhook, and until when the same one is a repeat. The row decides under its lock."""

    __tablename__ = "webhook_replays"

    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    body_key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    delivery_id: Mapped[UUID] = mapped_column(index=True)


class WebhookMark(Owned, Base):
    """The newest moment of a webhook's alerts that was acted on in a symbol of an account: what is older comes out of order."""

    __tablename__ = "webhook_marks"

    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    alert_at: Mapped[datetime]
    delivery_id: Mapped[UUID]
