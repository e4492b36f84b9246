"""Orders as they come out of the database, frozen."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.domain.enums import OrderState, OrderType, Side, Source, TimeInForce
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
    filled_quantity: Decimal
    fills_quantity: Decimal
    average_price: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    source: Source
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
        )
        return cls(**values)

    @property
    def status(self) -> OrderStatus:
        """The part that events change."""
        return OrderStatus(
            state=self.state,
            quantity=self.quantity,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            venue_order_id=self.venue_order_id,
            code=self.code,
            detail=self.detail,
        )

    def request(self, sent_at: datetime) -> OrderRequest:
        """Return what goes to the venue."""
        return OrderRequest(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            type=self.type,
            quantity=self.quantity,
            price=self.price,
            trigger_price=self.trigger_price,
            time_in_force=self.time_in_force,
            post_only=self.post_only,
            sent_at=sent_at,
        )
