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
from app.domain.enums import Execution, Liquidity, OrderState, OrderType, Role, Side, Source, TimeInForce
from app.trading import account_tables as account_tables  # so that whoever loads this package's tables has those too
from app.trading import audit_tables as audit_tables
from app.trading import flow_tables as flow_tables
from app.trading import history_tables as history_tables
from app.trading import risk_tables as risk_tables  # so that whoever loads this package's tables has those too
from app.trading.whose import whose

#: A supervised order waits here, unsent, until its trigger is reached.
_HELD = "state = 'intent' AND execution = 'supervised' AND triggered_at IS NULL"
_OPEN = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial')"
_UNSETTLED = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity"
_WHOSE = text(whose("bot_id"))


class Order(Identified, Owned, Base):
    """An instruction under our own client order id. Only `trading.apply` changes its state."""

    __tablename__ = "orders"
    __table_args__ = (
        one_of("side", Side),
        one_of("type", OrderType),
        one_of("state", OrderState),
        one_of("time_in_force", TimeInForce),
        one_of("source", Source),
        one_of("role", Role),
        one_of("execution", Execution),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("filled_quantity >= 0", name="filled_not_negative"),
        Index("uq_orders_broker_id_client_order_id", "broker_id", "client_order_id", unique=True),
        Index("uq_orders_broker_id_venue_order_id", "broker_id", "symbol", "venue_order_id", unique=True),
        Index("ix_orders_unsettled", "created_at", postgresql_where=text(_UNSETTLED)),
        Index("ix_orders_next_check_at", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
        Index("ix_orders_user_id_id", "user_id", "id"),
        # What pages show as open. Of the indices below the database believes that they hold nearly all orders.
        Index("ix_orders_open", "user_id", "id", postgresql_where=text(_OPEN)),
        # The risk gate's: an account's live orders, those that ended since its balance was told, and refusals of the last minute.
        Index("ix_orders_live", "user_id", "broker_id", postgresql_where=text(_UNSETTLED)),
        Index("ix_orders_ended", "broker_id", "updated_at", postgresql_where=text("state IN ('filled', 'canceled', 'expired')")),
        Index("ix_orders_rejected", "updated_at", postgresql_where=text("state = 'rejected'")),
        Index("ix_orders_held", "broker_id", postgresql_where=text(_HELD)),
        Index("ix_orders_group_id", "group_id", postgresql_where=text("group_id IS NOT NULL")),
        Index("ix_orders_replaces_id", "replaces_id", postgresql_where=text("replaces_id IS NOT NULL")),
        Index("ix_orders_of_bots", "bot_id", postgresql_where=text(f"bot_id IS NOT NULL AND ({_UNSETTLED})")),
        Index("ix_orders_delivery_id", "delivery_id", postgresql_where=text("delivery_id IS NOT NULL")),
        # As that of fills.
        Index(
            "ix_orders_history",
            "user_id",
            "created_at",
            "id",
            postgresql_include=["symbol", "broker_id", "side", "type", "state", "source"],
        ),
        Index("ix_orders_reasons", "user_id", "created_at", postgresql_where=text("detail IS NOT NULL OR code IS NOT NULL")),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"))
    client_order_id: Mapped[str]
    venue_order_id: Mapped[str | None]
    symbol: Mapped[str]
    side: Mapped[str]
    type: Mapped[str]
    state: Mapped[str]
    #: Base units; of a market buy by `notional` only our estimate.
    quantity: Mapped[Decimal]
    #: Quote units that a market buy is to spend.
    notional: Mapped[Decimal | None]
    filled_quantity: Mapped[Decimal] = mapped_column(server_default=text("0"))
    fills_quantity: Mapped[Decimal] = mapped_column(server_default=text("0"))
    average_price: Mapped[Decimal | None]
    price: Mapped[Decimal | None]
    trigger_price: Mapped[Decimal | None]
    #: Fraction at which a trailing stop follows the best price, and that price as far as this server has seen it.
    trailing_delta: Mapped[Decimal | None]
    watermark: Mapped[Decimal | None]
    time_in_force: Mapped[str]
    post_only: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str]
    role: Mapped[str] = mapped_column(server_default=text("'entry'"))
    execution: Mapped[str] = mapped_column(server_default=text("'native'"))
    #: When the trigger of a supervised order was reached: from then on it is sent like any other.
    triggered_at: Mapped[datetime | None]
    #: False while the venue keeps a stop that is not triggered.
    is_working: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    is_overfilled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    #: Orders of one pair or of one protection, whose id it then is.
    group_id: Mapped[UUID | None]
    #: The order whose place this one takes.
    replaces_id: Mapped[UUID | None]
    #: What that one had filled when this one was made for its remainder.
    replaces_filled: Mapped[Decimal | None]
    #: How the position that this entry opens is to be guarded (`domain.protection`).
    protection: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    #: What may leave the balance while the order can fill.
    reserved: Mapped[Decimal] = mapped_column(server_default=text("0"))
    reserved_asset: Mapped[str | None]
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
    #: When the venue last said how the order stands.
    reconciled_at: Mapped[datetime | None]
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
    #: Under which epoch of the engine role it was written; empty for what needs none, such as a wish to cancel.
    epoch: Mapped[int | None] = mapped_column(BigInteger)


class FillRow(Owned, Base):
    """One execution, counted once by the venue's trade id and order: a trade with oneself gives two orders the same trade id."""

    __tablename__ = "fills"
    __table_args__ = (
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index("ix_fills_order_id", "order_id"),
        Index("ix_fills_position_id", "position_id", postgresql_where=text("position_id IS NOT NULL")),
        # Newest first; what a list is filtered by is in it, so that rows that do not fit are passed over without being read.
        Index("ix_fills_history", "user_id", "executed_at", "trade_id", "symbol", "broker_id", "order_id", postgresql_include=["side"]),
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
    #: What the fee was worth in quote when it was paid; None where nobody knew, and of fills of before this was kept.
    fee_value: Mapped[Decimal | None]
    #: The position that it opened or changed.
    position_id: Mapped[UUID | None]


class PositionRow(Identified, Owned, Base):
    """A position, the fold of its fills; `domain.positions` says how."""

    __tablename__ = "positions"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'closing', 'closed')", name="status_known"),
        # One of each bot, and one of the hand.
        Index("uq_positions_open", "broker_id", "symbol", _WHOSE, unique=True, postgresql_where=text("status <> 'closed'")),
        Index("ix_positions_of_bots", "bot_id", postgresql_where=text("bot_id IS NOT NULL AND status <> 'closed'")),
        Index(
            "ix_positions_closed_by_bots",
            "bot_id",
            "closed_at",
            postgresql_where=text("bot_id IS NOT NULL AND status = 'closed'"),
            postgresql_include=["realized_pnl", "fees"],
        ),
        one_of("exit_role", Role),
        Index("ix_positions_user_id_status", "user_id", "status"),
        CheckConstraint("side IN ('long', 'short')", name="side_known"),
        # Round trips, newest first, with what their sums are made of.
        Index(
            "ix_positions_history",
            "user_id",
            "closed_at",
            "id",
            postgresql_where=text("status = 'closed'"),
            postgresql_include=["symbol", "broker_id", "side", "source", "quote", "realized_pnl", "fees"],
        ),
        Index("ix_positions_unvalued", "user_id", "closed_at", postgresql_where=text("status = 'closed' AND unvalued_fees <> '{}'")),
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
    #: What the open part was bought for; None in rows of before it was kept.
    cost: Mapped[Decimal | None]
    #: Fees in assets that had no price, by asset, as text.
    unvalued_fees: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Which way the first fill went: long or short.
    side: Mapped[str | None]
    stop_loss: Mapped[Decimal | None]
    take_profit: Mapped[Decimal | None]
    source: Mapped[str]
    status: Mapped[str]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    #: What the order was for that closed it.
    exit_role: Mapped[str | None]
    #: The webhook delivery whose order opened it.
    delivery_id: Mapped[UUID | None]


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


class ProtectionRow(Identified, Owned, Base):
    """How a position is guarded: the plan, committed with the fill that opened it; `trading.guardian` makes the venue agree with it."""

    __tablename__ = "protections"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'done')", name="status_known"),
        CheckConstraint("mode IN ('pairs', 'stop_at_venue', 'supervised')", name="mode_known"),
        Index("uq_protections_active", "broker_id", "symbol", _WHOSE, unique=True, postgresql_where=text("status = 'active'")),
        Index("ix_protections_user_id_id", "user_id", "id"),
    )

    user_id: Mapped[UUID]
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="RESTRICT"))
    symbol: Mapped[str]
    #: The bot whose position it guards; None for the hand's.
    bot_id: Mapped[UUID | None]
    status: Mapped[str]
    mode: Mapped[str]
    plan: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Base units that the targets' fractions are of.
    base_quantity: Mapped[Decimal]
    entry_order_id: Mapped[UUID | None]
    mode_since: Mapped[datetime] = mapped_column(server_default=text("now()"))
    #: The position it guards; a later one in the same symbol is not its.
    position_id: Mapped[UUID | None]
    #: Changes with everything that a decision of the guardian rests on, but for the legs themselves.
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Since when the plan holds: what targets sold before is not the plan's.
    plan_since: Mapped[datetime] = mapped_column(server_default=text("now()"))
    #: When its entry was ordered, or its owner gave it: the youngest wish holds.
    plan_wished_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    #: Since when no stop of it is live, at the venue or here.
    unprotected_since: Mapped[datetime | None]
    alerted_at: Mapped[datetime | None]
    code: Mapped[str | None]
    detail: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
