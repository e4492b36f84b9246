"""Tables of orders, their events, fills, positions, balances and equity.

`user_id` repeats the broker account's, for the tenant's queries; only `broker_id` is a foreign key, since each key that is checked locks
a row that all orders of a user share.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Identity, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of
from app.domain.enums import Liquidity, OrderState, OrderType, Side, Source, TimeInForce

_UNSETTLED = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity"


class Order(Identified, Owned, Base):
    """An instruction under our own client order id. Only `trading.apply` changes its state."""

    __tablename__ = "orders"
    __table_args__ = (
        one_of("side", Side),
        one_of("type", OrderType),
        one_of("state", OrderState),
        one_of("time_in_force", TimeInForce),
        one_of("source", Source),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("filled_quantity >= 0", name="filled_not_negative"),
        Index("uq_orders_broker_id_client_order_id", "broker_id", "client_order_id", unique=True),
        Index("uq_orders_broker_id_venue_order_id", "broker_id", "symbol", "venue_order_id", unique=True),
        Index("ix_orders_unsettled", "created_at", postgresql_where=text(_UNSETTLED)),
        Index("ix_orders_next_check_at", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
        Index("ix_orders_user_id_id", "user_id", "id"),
        Index("ix_orders_delivery_id", "delivery_id", postgresql_where=text("delivery_id IS NOT NULL")),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"))
    client_order_id: Mapped[str]
    venue_order_id: Mapped[str | None]
    symbol: Mapped[str]
    side: Mapped[str]
    type: Mapped[str]
    state: Mapped[str]
    quantity: Mapped[Decimal]
    filled_quantity: Mapped[Decimal] = mapped_column(server_default=text("0"))
    fills_quantity: Mapped[Decimal] = mapped_column(server_default=text("0"))
    average_price: Mapped[Decimal | None]
    price: Mapped[Decimal | None]
    trigger_price: Mapped[Decimal | None]
    time_in_force: Mapped[str]
    post_only: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str]
    key: Mapped[str]
    leg: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    delivery_id: Mapped[UUID | None]
    bot_id: Mapped[UUID | None]
    code: Mapped[str | None]
    detail: Mapped[str | None]
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    deadline: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    #: When a lost order is looked for again.
    next_check_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class OrderEventRow(Owned, Base):
    """What happened to an order, in order. Append-only."""

    __tablename__ = "order_events"
    __table_args__ = (Index("ix_order_events_order_id_id", "order_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    user_id: Mapped[UUID]
    at: Mapped[datetime]
    kind: Mapped[str]
    state: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))


class FillRow(Owned, Base):
    """One execution, counted once by the venue's trade id and order: a trade with oneself gives two orders the same trade id."""

    __tablename__ = "fills"
    __table_args__ = (
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index("ix_fills_order_id", "order_id"),
        Index("ix_fills_user_id_executed_at", "user_id", "executed_at"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"), primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    trade_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="RESTRICT"), primary_key=True)
    user_id: Mapped[UUID]
    side: Mapped[str]
    price: Mapped[Decimal]
    quantity: Mapped[Decimal]
    fee: Mapped[Decimal]
    fee_asset: Mapped[str]
    liquidity: Mapped[str]
    executed_at: Mapped[datetime]


class PositionRow(Identified, Owned, Base):
    """A position, the fold of its fills; `domain.positions` says how."""

    __tablename__ = "positions"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'closing', 'closed')", name="status_known"),
        Index("uq_positions_open", "broker_id", "symbol", unique=True, postgresql_where=text("status <> 'closed' AND bot_id IS NULL")),
        Index("ix_positions_user_id_status", "user_id", "status"),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"))
    bot_id: Mapped[UUID | None]
    symbol: Mapped[str]
    base: Mapped[str]
    quote: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(server_default=text("0"))
    average_price: Mapped[Decimal | None]
    realized_pnl: Mapped[Decimal] = mapped_column(server_default=text("0"))
    fees: Mapped[Decimal] = mapped_column(server_default=text("0"))
    stop_loss: Mapped[Decimal | None]
    take_profit: Mapped[Decimal | None]
    source: Mapped[str]
    status: Mapped[str]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class BalanceRow(Owned, Base):
    """The last balance the exchange told, so that no page waits for an exchange."""

    __tablename__ = "balances"

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    asset: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    free: Mapped[Decimal]
    locked: Mapped[Decimal]
    value_usdt: Mapped[Decimal | None]
    updated_at: Mapped[datetime]


class EquitySnapshot(Owned, Base):
    """What an account was worth at a moment, in USDT."""

    __tablename__ = "equity_snapshots"
    __table_args__ = (Index("ix_equity_snapshots_user_id_at", "user_id", "at"),)

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    equity_usdt: Mapped[Decimal]
