"""Tables of what is compared with the venue: when an account was, orders and trades that are not ours, and how far its trades are known."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.domain.enums import Liquidity, Side


class AccountCheck(Owned, Base):
    """When an account was compared with its venue in full, and when it is to be again. An account without a row is due."""

    __tablename__ = "account_checks"
    __table_args__ = (Index("ix_account_checks_next_at", "next_at"),)

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID]
    next_at: Mapped[datetime]
    #: The last comparison that reached its end.
    checked_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failed_since: Mapped[datetime | None]
    code: Mapped[str | None]
    detail: Mapped[str | None]


class ExternalOrder(Identified, Owned, Base):
    """An order in the account that is not ours: the trader's own, placed elsewhere. It is shown and counted, and never touched."""

    __tablename__ = "external_orders"
    __table_args__ = (
        one_of("side", Side),
        Index("uq_external_orders_venue_order_id", "broker_id", "symbol", "venue_order_id", unique=True),
        Index("ix_external_orders_open", "broker_id", postgresql_where=text("closed_at IS NULL")),
        Index("ix_external_orders_user_id_id", "user_id", "id"),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"))
    symbol: Mapped[str]
    venue_order_id: Mapped[str]
    client_order_id: Mapped[str | None]
    side: Mapped[str]
    #: As the venue's kind reads in our words; empty when we have no word for it.
    type: Mapped[str | None]
    state: Mapped[str]
    quantity: Mapped[Decimal]
    filled_quantity: Mapped[Decimal]
    price: Mapped[Decimal | None]
    trigger_price: Mapped[Decimal | None]
    placed_at: Mapped[datetime | None]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    #: When the venue no longer listed it as open.
    closed_at: Mapped[datetime | None]


class ExternalTrade(Owned, Base):
    """An execution of an order that is not ours; only the account's ledger counts it."""

    __tablename__ = "external_trades"
    __table_args__ = (
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index("ix_external_trades_broker_id_executed_at", "broker_id", "executed_at"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    trade_id: Mapped[str] = mapped_column(primary_key=True)
    venue_order_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    side: Mapped[str]
    price: Mapped[Decimal]
    quantity: Mapped[Decimal]
    fee: Mapped[Decimal]
    fee_asset: Mapped[str]
    liquidity: Mapped[str]
    executed_at: Mapped[datetime]


class TradeMark(Owned, Base):
    """Up to where an account's trades in a symbol are known: `trade_id` where the venue counts its trades, else `known_until`."""

    __tablename__ = "trade_marks"

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    trade_id: Mapped[str | None]
    known_until: Mapped[datetime]
    read_at: Mapped[datetime]
    #: Up to which moment the venue's list of all orders was searched for orders of ours.
    orders_known_until: Mapped[datetime | None]


class OutboxRow(Owned, Base):
    """Something a person is to be told, committed with what it is about, and handed on at least once after that."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_waiting", "id", postgresql_where=text("done_at IS NULL")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[UUID]
    broker_id: Mapped[UUID | None]
    kind: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
