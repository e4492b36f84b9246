"""Orders as they come out of the database, frozen."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.domain.enums import Execution, OrderState, OrderType, Role, Side, Source, TimeInForce
from app.domain.orders import OrderStatus
from app.exchanges.port import OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """One row of `orders`."""

    id: UUID
    user_id: UUID
    broker_id: UUID
    client_order_id: str
    venue_order_id: str | None
    symbol: str
    side: Side
    type: OrderType
    state: OrderState
    quantity: Decimal
    notional: Decimal | None
    filled_quantity: Decimal
    fills_quantity: Decimal
    average_price: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    trailing_delta: Decimal | None
    watermark: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    source: Source
    role: Role
    execution: Execution
    triggered_at: datetime | None
    is_working: bool
    is_overfilled: bool
    group_id: UUID | None
    replaces_id: UUID | None
    replaces_filled: Decimal | None
    protection: dict[str, Any] | None
    reserved: Decimal
    reserved_asset: str | None
    key: str
    leg: int
    attempt: int
    delivery_id: UUID | None
    bot_id: UUID | None
    code: str | None
    detail: str | None
    epoch: int | None
    deadline: datetime | None
    sent_at: datetime | None
    acknowledged_at: datetime | None
    cancel_requested_at: datetime | None
    reconciled_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Any) -> "OrderRecord":
        """Return the record of an asyncpg row that has every column of `orders`."""
        values = {name: row[name] for name in cls.__slots__}
        values.update(
            side=Side(row["side"]),
            type=OrderType(row["type"]),
            state=OrderState(row["state"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            source=Source(row["source"]),
            role=Role(row["role"]),
            execution=Execution(row["execution"]),
        )
        return cls(**values)

    @property
    def is_held(self) -> bool:
        """Whether it waits here for its trigger: it must not be sent yet."""
        return self.state is OrderState.INTENT and self.execution is Execution.SUPERVISED and self.triggered_at is None

    @property
    def venue_type(self) -> OrderType:
        """What the venue has of it: of a supervised order only what it became once its trigger was reached here."""
        return self.type if self.execution is Execution.NATIVE else self.type.once_triggered

    @property
    def leaves_quantity(self) -> Decimal:
        """What may still fill, base units."""
        return max(self.quantity - self.filled_quantity, Decimal(0))

    @property
    def status(self) -> OrderStatus:
        """The part that events change."""
        return OrderStatus(
            state=self.state,
            quantity=self.quantity,
            is_by_notional=self.notional is not None,
            is_working=self.is_working,
            is_overfilled=self.is_overfilled,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            venue_order_id=self.venue_order_id,
            code=self.code,
            detail=self.detail,
        )

    def request(self, sent_at: datetime) -> OrderRequest:
        """Return what goes to the venue: of a supervised order, whose trigger was reached here, only what it has become."""
        is_native = self.execution is Execution.NATIVE
        return OrderRequest(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            type=self.venue_type,
            quantity=self.quantity,
            notional=self.notional,
            price=self.price,
            trigger_price=self.trigger_price if is_native else None,
            trailing_delta=self.trailing_delta if is_native else None,
            time_in_force=self.time_in_force,
            post_only=self.post_only,
            sent_at=sent_at,
            lane=self.role.lane,
        )
