"""What was found at the exchanges that is not ours: `/api/orders/external`."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.accounts.dependencies import CurrentUser
from app.core.http import problems
from app.domain.enums import OrderType, Side
from app.trading import external
from app.trading.desk import Desk
from app.trading.schemas import MoneyOut

router = APIRouter(prefix="/api", tags=["trading"])


class ExternalOrderOut(BaseModel):
    """An open order in the account that was placed elsewhere. It is counted as exposure and never touched."""

    broker_id: UUID
    symbol: str
    venue_order_id: str
    client_order_id: str | None
    side: Side
    type: OrderType | None
    state: str
    quantity: MoneyOut
    filled_quantity: MoneyOut
    price: MoneyOut | None
    trigger_price: MoneyOut | None
    placed_at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime


class ExternalOrderPage(BaseModel):
    """Open orders that were placed elsewhere; at most 500."""

    items: list[ExternalOrderOut]


@router.get("/orders/external", summary="Open orders that were placed elsewhere", responses=problems(401))
async def list_external_orders(request: Request, principal: CurrentUser, broker_id: UUID | None = None) -> ExternalOrderPage:
    """Return the orders in the accounts that are not this server's, as the exchanges last told."""
    desk: Desk = request.app.state.desk
    rows = await external.list_open(desk.database, principal.user_id, broker_id=broker_id)
    return ExternalOrderPage(items=[ExternalOrderOut(**{name: row[name] for name in ExternalOrderOut.model_fields}) for row in rows])
