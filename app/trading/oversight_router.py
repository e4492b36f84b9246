"""What the account's owner should look at: orders placed elsewhere (`/api/orders/external`) and the audit (`/api/audit`)."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.domain.enums import OrderType, Side
from app.trading import audit, external
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
    rows = await external.list_open(database_of(request), principal.user_id, broker_id=broker_id)
    return ExternalOrderPage(items=[ExternalOrderOut(**{name: row[name] for name in ExternalOrderOut.model_fields}) for row in rows])


class FindingOut(BaseModel):
    """One thing that must always hold and does not."""

    code: str
    detail: str
    broker_id: UUID | None
    found_at: datetime


class UnexplainedOut(BaseModel):
    """What came to or went from an account without a trade: a deposit, a withdrawal, a conversion."""

    broker_id: UUID
    asset: str
    unexplained: MoneyOut
    at: datetime


class AuditOut(BaseModel):
    """The latest audit; `ran_at` is null before the first one."""

    ran_at: datetime | None
    findings: list[FindingOut]
    unexplained: list[UnexplainedOut]


@router.get("/audit", summary="What the latest audit found", responses=problems(401))
async def latest_audit(request: Request, principal: CurrentUser) -> AuditOut:
    """Return what does not hold in the user's accounts, and what of their balances no trade explains."""
    run, findings, unexplained = await audit.last_run(request.app.state.desk, principal.user_id)
    return AuditOut(
        ran_at=None if run is None else run["finished_at"],
        findings=[FindingOut(**{name: row[name] for name in FindingOut.model_fields}) for row in findings],
        unexplained=[UnexplainedOut(**{name: row[name] for name in UnexplainedOut.model_fields}) for row in unexplained],
    )
