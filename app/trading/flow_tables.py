"""Tables of what came into accounts and left them without a trade, and of what assets are worth in dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.domain.enums import FlowNote


class BalanceReading(Owned, Base):
    """What an account held at a moment: `{asset: amount as text}`, and what one of each was worth in USDT where that was known.

    Written when something changed. Those that trades explain are left out again after some days.
    """

    __tablename__ = "balance_readings"

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    #: When the exchange was asked.
    at: Mapped[datetime] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    answered_at: Mapped[datetime]
    totals: Mapped[dict[str, Any]] = mapped_column(JSONB)
    prices: Mapped[dict[str, Any]] = mapped_column(JSONB)


class CashFlow(Identified, Owned, Base):
    """An amount that came or went without a trade, between two readings. Append-only but for its note, by a trigger.

    What a trade that became known later explains is taken back by a further row of the same reading, with the next revision.
    """

    __tablename__ = "cash_flows"
    __table_args__ = (
        one_of("note", FlowNote),
        CheckConstraint("amount <> 0", name="amount_is_something"),
        CheckConstraint("(revision = 0) = (corrects_id IS NULL)", name="correction_says_of_what"),
        Index("uq_cash_flows_reading", "broker_id", "at", "asset", "revision", unique=True),
        Index("ix_cash_flows_user_id_at", "user_id", "at"),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"))
    asset: Mapped[str]
    #: Signed: above zero it came in.
    amount: Mapped[Decimal]
    #: In USDT at that moment, signed; empty when nobody quoted the asset.
    value_usdt: Mapped[Decimal | None]
    #: The readings it lies between; `at` is also the moment of the snapshot of equity that has it for the first time.
    since: Mapped[datetime]
    at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    corrects_id: Mapped[UUID | None] = mapped_column(ForeignKey("cash_flows.id", ondelete="CASCADE"))
    note: Mapped[str]


class FlowWatch(Owned, Base):
    """How far an account's balances were looked at, and what of them waits to be believed: `[{asset, amount, value, at}]`."""

    __tablename__ = "flow_watches"

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID]
    read_at: Mapped[datetime | None]
    #: When all readings that are kept were last looked at, and not only the latest.
    swept_at: Mapped[datetime | None]
    waiting: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))


class Rate(Base):
    """What one unit of an asset was worth in USDT when it was last asked; the platform's, as prices are everybody's."""

    __tablename__ = "rates"
    __table_args__ = (CheckConstraint("usdt > 0", name="usdt_positive"),)

    asset: Mapped[str] = mapped_column(primary_key=True)
    usdt: Mapped[Decimal]
    at: Mapped[datetime]
