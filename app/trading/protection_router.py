"""Pairs, amendments, cancel all, and what guards positions: `/api/orders/oco`, `/api/positions/{id}/…`, `/api/protections`."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.core.ids import new_id
from app.domain.enums import OrderState
from app.domain.protection import ProtectionPlan
from app.trading import queries
from app.trading.amend import amend
from app.trading.cancel import cancel_all
from app.trading.close import break_even, close_position, list_protections, protect_position
from app.trading.desk import Desk
from app.trading.oco import submit_oco
from app.trading.protection_schemas import OcoIn, OrderPatch, ProtectionIn, ProtectionOut, ProtectionPage
from app.trading.schemas import OrderOut, OrderPage
from app.trading.ticket_schemas import CloseIn

router = APIRouter(prefix="/api", tags=["trading"])

IntentKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=100)]
_ON_ITS_WAY = (OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _key(user_id: UUID, given: str | None) -> str:
    return f"manual:{user_id}:{given}" if given else f"manual:{new_id()}"


@router.post("/orders/oco", status_code=201, summary="Place a pair: one cancels the other", responses=problems(401, 404, 409, 422, 503))
async def place_oco(request: Request, principal: CurrentUser, body: OcoIn, idempotency_key: IntentKey = None) -> OrderPage:
    """Send a limit and a stop of which one trades. Where the exchange has no pairs, both are watched here (`supervised`)."""
    desk = _desk(request)
    key = _key(principal.user_id, body.client_intent_id or idempotency_key)
    made = await submit_oco(desk, principal.user_id, body.intent(key), broker_id=body.broker_id)
    rows = [await queries.get_order(database_of(request), principal.user_id, order.id) for order in made]
    return OrderPage(items=[OrderOut.of(row) for row in rows], next=None)


@router.patch("/orders/{order_id}", summary="Change an open order", responses=problems(401, 404, 409, 422, 503))
async def amend_order(request: Request, principal: CurrentUser, order_id: UUID, body: OrderPatch) -> OrderOut:
    """Change price, quantity or trigger. The answer is the order that stands now: another one, where the exchange had to replace it."""
    desk = _desk(request)
    order = await amend(desk, principal.user_id, order_id, body.amendment())
    return OrderOut.of(await queries.get_order(database_of(request), principal.user_id, order.id))


@router.delete("/orders", summary="Cancel all open orders", responses=problems(401))
async def cancel_all_orders(
    request: Request,
    principal: CurrentUser,
    symbol: Annotated[str | None, Query(max_length=60)] = None,
    broker_id: UUID | None = None,
) -> OrderPage:
    """Cancel what is open, of one symbol or all. What guards a position stays; orders placed elsewhere are never touched."""
    desk = _desk(request)
    canceled = await cancel_all(desk, principal.user_id, broker_id=broker_id, symbol=symbol)
    rows = [await queries.get_order(database_of(request), principal.user_id, order.id) for order in canceled]
    return OrderPage(items=[OrderOut.of(row) for row in rows], next=None)


@router.post("/positions/{position_id}/close", status_code=201, summary="Close a position", responses=problems(401, 404, 409, 422, 503))
async def close(
    request: Request,
    response: Response,
    principal: CurrentUser,
    position_id: UUID,
    body: CloseIn | None = None,
    idempotency_key: IntentKey = None,
) -> OrderOut:
    """Sell it at the market, all of it or `percent` of it. Its stops and targets go, or guard what is left."""
    percent = None if body is None else body.percent
    fraction = None if percent is None else percent / 100
    return await _close(request, response, principal.user_id, position_id, key=idempotency_key, is_reversal=False, fraction=fraction)


@router.post("/positions/{position_id}/reverse", status_code=201, summary="Turn a position", responses=problems(401, 404, 409, 422, 503))
async def reverse(
    request: Request, response: Response, principal: CurrentUser, position_id: UUID, idempotency_key: IntentKey = None
) -> OrderOut:
    """Close it and open as much on the other side, where the account can."""
    return await _close(request, response, principal.user_id, position_id, key=idempotency_key, is_reversal=True)


async def _close(
    request: Request,
    response: Response,
    user_id: UUID,
    position_id: UUID,
    *,
    key: str | None,
    is_reversal: bool,
    fraction: Decimal | None = None,
) -> OrderOut:
    desk = _desk(request)
    made = await close_position(desk, user_id, position_id, key=_key(user_id, key), is_reversal=is_reversal, fraction=fraction)
    if made.order.state in _ON_ITS_WAY:
        response.status_code = 202
    return OrderOut.of(await queries.get_order(database_of(request), user_id, made.order.id))


@router.put("/positions/{position_id}/protection", summary="Guard a position", responses=problems(401, 404, 422, 503))
async def protect(request: Request, principal: CurrentUser, position_id: UUID, body: ProtectionIn) -> ProtectionOut:
    """Give it a stop and targets, or others than it has."""
    return ProtectionOut.of(await protect_position(_desk(request), principal.user_id, position_id, body.plan()))


@router.delete("/positions/{position_id}/protection", summary="Guard a position no longer", responses=problems(401, 404, 503))
async def unprotect(request: Request, principal: CurrentUser, position_id: UUID) -> ProtectionOut:
    """Take its stop and targets away."""
    return ProtectionOut.of(await protect_position(_desk(request), principal.user_id, position_id, ProtectionPlan()))


@router.post("/positions/{position_id}/break_even", summary="Move the stop to break even", responses=problems(401, 404, 422, 503))
async def move_to_break_even(request: Request, principal: CurrentUser, position_id: UUID) -> ProtectionOut:
    """Move the position's stop to its entry price."""
    return ProtectionOut.of(await break_even(_desk(request), principal.user_id, position_id))


@router.get("/protections", summary="How positions are guarded", responses=problems(401))
async def protections(request: Request, principal: CurrentUser) -> ProtectionPage:
    """Return what guards the user's open positions."""
    return ProtectionPage(items=[ProtectionOut.of(row) for row in await list_protections(_desk(request), principal.user_id)])
