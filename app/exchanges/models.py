"""Tables of the paper exchange: the accounts of a venue that exists only here. Nobody but `app.exchanges.paper` reads or writes them.

Every write is one statement that raises the account's `revision`; whoever saw an older one has written nothing.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Owned, one_of
from app.domain.enums import Liquidity, OrderState, OrderType, Side, TimeInForce

_OPEN = "state IN ('open', 'partial')"


class PaperAccountRow(Owned, Base):
    """One paper account. `maker_fee` and `taker_fee` are fractions of what a fill brings in; `balance_usdt` is what it starts with.

    `last_order_id` and `last_trade_id` count for ever; `started_after_trade_id` is where the account was last begun.
    """

    __tablename__ = "paper_accounts"
    __table_args__ = (
        CheckConstraint("balance_usdt > 0", name="balance_positive"),
        CheckConstraint("maker_fee >= 0 AND maker_fee < 1 AND taker_fee >= 0 AND taker_fee < 1", name="fees_are_fractions"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID]
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    balance_usdt: Mapped[Decimal]
    maker_fee: Mapped[Decimal]
    taker_fee: Mapped[Decimal]
    last_order_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    last_trade_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_after_trade_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PaperBalanceRow(Owned, Base):
    """What an account holds of one asset."""

    __tablename__ = "paper_balances"
    __table_args__ = (
        CheckConstraint("free >= 0", name="free_not_negative"),
        CheckConstraint("locked >= 0", name="locked_not_negative"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("paper_accounts.broker_id", ondelete="CASCADE"), primary_key=True)
    asset: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    free: Mapped[Decimal]
    locked: Mapped[Decimal]


class PaperOrderRow(Owned, Base):
    """An order at the paper exchange. `locked` is what it keeps back of the asset it pays with.

    `notional` is what a market buy may spend; `list_id` binds the two legs of an OCO; `watermark` is the best price a trailing stop saw
    since it follows; `is_awake` is False while a trigger is awaited.
    """

    __tablename__ = "paper_orders"
    __table_args__ = (
        one_of("side", Side),
        one_of("type", OrderType),
        one_of("state", OrderState),
        one_of("time_in_force", TimeInForce),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint("filled_quantity >= 0 AND filled_quantity <= quantity", name="filled_within_quantity"),
        CheckConstraint("locked >= 0", name="locked_not_negative"),
        Index("uq_paper_orders_open_client_order_id", "broker_id", "client_order_id", unique=True, postgresql_where=text(_OPEN)),
        Index("ix_paper_orders_broker_id_client_order_id", "broker_id", "client_order_id"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("paper_accounts.broker_id", ondelete="CASCADE"), primary_key=True)
    order_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    user_id: Mapped[UUID]
    client_order_id: Mapped[str]
    list_id: Mapped[str | None]
    symbol: Mapped[str]
    side: Mapped[str]
    type: Mapped[str]
    time_in_force: Mapped[str]
    post_only: Mapped[bool] = mapped_column(Boolean)
    quantity: Mapped[Decimal]
    notional: Mapped[Decimal | None]
    price: Mapped[Decimal | None]
    trigger_price: Mapped[Decimal | None]
    trailing_delta: Mapped[Decimal | None]
    watermark: Mapped[Decimal | None]
    is_awake: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str]
    filled_quantity: Mapped[Decimal]
    filled_notional: Mapped[Decimal]
    locked: Mapped[Decimal]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class PaperFillRow(Owned, Base):
    """One execution at the paper exchange; `fee` is in units of `fee_asset`, which is what the fill brought in."""

    __tablename__ = "paper_fills"
    __table_args__ = (
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index("ix_paper_fills_broker_id_order_id", "broker_id", "order_id"),
    )

    broker_id: Mapped[UUID] = mapped_column(ForeignKey("paper_accounts.broker_id", ondelete="CASCADE"), primary_key=True)
    trade_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    order_id: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[UUID]
    symbol: Mapped[str]
    side: Mapped[str]
    price: Mapped[Decimal]
    quantity: Mapped[Decimal]
    notional: Mapped[Decimal]
    fee: Mapped[Decimal]
    fee_asset: Mapped[str]
    liquidity: Mapped[str]
    executed_at: Mapped[datetime]


class PaperMarketRow(Base):
    """Up to where a symbol's prices were matched: the last price, and when. Shared by all accounts, it belongs to no user."""

    __tablename__ = "paper_markets"

    exchange: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    matched_at: Mapped[datetime]
