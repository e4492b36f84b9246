"""What trading publishes after its commits."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from app.core.events import EventBus
from app.domain.enums import OrderState, Side, TradingState
from app.domain.risk import Scope
from app.trading.records import OrderRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """An order is new or has changed."""

    user_id: UUID
    order_id: UUID
    symbol: str
    state: OrderState
    delivery_id: UUID | None
    #: Whose position it is about; None for the hand's.
    bot_id: UUID | None = None
    #: Seconds from the order's leaving to the exchange's answer, when this change is that answer.
    answered_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecorded:
    """A fill was counted, and with it the position."""

    user_id: UUID
    broker_id: UUID
    order_id: UUID
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    executed_at: datetime
    #: Whether its order says how the position is to be guarded.
    is_guarded: bool = False
    #: Whose position it is about; None for the hand's.
    bot_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionChanged:
    """How a position is guarded has changed, or whether it is."""

    user_id: UUID
    broker_id: UUID
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardWanted:
    """A protection is to be looked at now."""

    protection_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceHeard:
    """The exchange says that an account's balance has changed: it is worth reading."""

    broker_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioChanged:
    """Balances and equity of an account were read again."""

    user_id: UUID
    broker_id: UUID
    equity_usdt: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BotShort:
    """The account has less than these bots hold of a symbol: somebody sold it. Told at each reading for as long as it is so."""

    user_id: UUID
    broker_id: UUID
    symbol: str
    bot_ids: tuple[UUID, ...]
    #: What the account's bots hold of the symbol's base asset, and what there is of it.
    base: str
    wanted: Decimal
    there: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingStateChanged:
    """A scope was restrained by a cause, or that cause is gone (ACTIVE). `user_id` is None when it concerns everybody."""

    user_id: UUID | None
    scope: Scope
    state: TradingState
    code: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitchChanged:
    """A kill switch was pulled, or has come further. `user_id` is None when it concerns everybody."""

    user_id: UUID | None
    command_id: UUID
    state: str


def announce(bus: EventBus, order: OrderRecord) -> None:
    """Publish that an order is new or has changed, after the commit that made it so."""
    bus.publish(
        OrderChanged(
            user_id=order.user_id,
            order_id=order.id,
            symbol=order.symbol,
            state=order.state,
            delivery_id=order.delivery_id,
            bot_id=order.bot_id,
            answered_after_s=_answered_after_s(order),
        )
    )


def _answered_after_s(order: OrderRecord) -> float | None:
    if order.sent_at is None or order.acknowledged_at is None or order.acknowledged_at != order.updated_at:
        return None
    return (order.acknowledged_at - order.sent_at).total_seconds()
