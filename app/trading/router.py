"""`/api/orders`, `/api/positions`, `/api/fills`."""

import re
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.core.i18n import N_
from app.core.ids import new_id
from app.domain.enums import OrderState
from app.errors import DuplicateIntent
from app.marketdata.lookout import lookout_of
from app.trading import history, queries
from app.trading.cancel import cancel
from app.trading.desk import Desk
from app.trading.history_schemas import Cursor, FillsAsked, OrdersAsked
from app.trading.records import OrderRecord
from app.trading.schemas import (
    FillOut,
    FillPage,
    OrderIn,
    OrderOut,
    OrderPage,
    PositionOut,
    PositionPage,
)
from app.trading.wish import place_wish

router = APIRouter(prefix="/api", tags=["trading"])

OTHER_ORDER: Final = N_("this client_intent_id was used for another order; give each order its own")
Limit = Annotated[int, Query(ge=1, le=500)]


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


@router.post("/orders", status_code=201, summary="Place an order", responses=problems(401, 404, 409, 422, 503))
async def place_order(
    request: Request,
    response: Response,
    principal: CurrentUser,
    body: OrderIn,
    idempotency_key: Annotated[str | None, Header(max_length=100)] = None,
) -> OrderOut:
    """Send an order. 201 when the exchange answered; 202 while its answer is in doubt, and we keep asking.

    The same `client_intent_id` (or Idempotency-Key) again answers with the order it made the first time, and sends nothing.
    """
    desk = _desk(request)
    given = body.client_intent_id or idempotency_key
    key = f"manual:{principal.user_id}:{given}" if given else f"manual:{new_id()}"
    books = lookout_of(request.app).books
    placed = await place_wish(desk, principal.user_id, body.wish(key), broker_id=body.broker_id, books=books)
    (order,) = placed.orders
    if not placed.is_new and not is_same(body, order):
        raise DuplicateIntent(OTHER_ORDER)
    if order.state in (OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN):
        response.status_code = 202
    elif not placed.is_new:
        response.status_code = 200
    return OrderOut.of(await queries.get_order(database_of(request), principal.user_id, order.id))


def is_same(body: OrderIn, order: OrderRecord) -> bool:
    """Return whether a repeated id asks for what it asked for before, as far as the stored order can tell."""
    base, _, quote = order.symbol.partition("/")
    spelled = re.sub(r"[^A-Z0-9]", "", body.symbol.upper().rpartition(":")[2])
    quantity_differs = body.quantity is not None and not 0 <= body.quantity - order.quantity < body.quantity
    price_differs = body.price is not None and order.price is not None and abs(body.price - order.price) > order.price / 100
    is_same_kind = body.side is order.side and body.type is order.type and spelled == base + quote
    return is_same_kind and not quantity_differs and not price_differs


@router.get("/orders", summary="Orders, newest first", responses=problems(401, 422))
async def list_orders(request: Request, principal: CurrentUser, asked: OrdersAsked, limit: Limit = 50, cursor: Cursor = None) -> OrderPage:
    """Return one page of orders, refused ones too."""
    rows, following = await history.page_of_orders(database_of(request), principal.user_id, asked, limit=limit, cursor=cursor)
    return OrderPage(items=[OrderOut.of(row) for row in rows], next=following)


@router.get("/orders/{order_id}", summary="One order", responses=problems(401, 404))
async def get_order(request: Request, principal: CurrentUser, order_id: UUID) -> OrderOut:
    """Return one order."""
    return OrderOut.of(await queries.get_order(database_of(request), principal.user_id, order_id))


@router.delete("/orders/{order_id}", summary="Cancel an order", responses=problems(401, 404, 409, 503))
async def cancel_order(request: Request, principal: CurrentUser, order_id: UUID) -> OrderOut:
    """Cancel what is left of an order, and return it as it then stands."""
    desk = _desk(request)
    await cancel(desk, principal.user_id, order_id)
    return OrderOut.of(await queries.get_order(database_of(request), principal.user_id, order_id))


@router.get("/fills", summary="Executions, newest first", responses=problems(401, 422))
async def list_fills(request: Request, principal: CurrentUser, asked: FillsAsked, limit: Limit = 50, cursor: Cursor = None) -> FillPage:
    """Return one page of fills."""
    rows, following = await history.page_of_fills(database_of(request), principal.user_id, asked, limit=limit, cursor=cursor)
    return FillPage(items=[FillOut(**{name: row[name] for name in FillOut.model_fields}) for row in rows], next=following)


@router.get("/positions", summary="Open positions", responses=problems(401))
async def list_positions(request: Request, principal: CurrentUser, broker_id: UUID | None = None) -> PositionPage:
    """Return open positions at the market's price."""
    desk = _desk(request)
    found = await queries.list_positions(database_of(request), desk.quotes, principal.user_id, broker_id=broker_id)
    return PositionPage(items=[PositionOut.of(position) for position in found])
