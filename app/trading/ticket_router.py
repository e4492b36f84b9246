"""`POST /api/orders/preview`, which sends nothing, and `POST /api/orders/batch`, which sends one order to several accounts."""

from typing import Annotated

from fastapi import APIRouter, Header, Request

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.core.ids import new_id
from app.errors import DuplicateIntent, InvalidInput
from app.marketdata.lookout import lookout_of
from app.trading import queries
from app.trading.batch import place_on_each
from app.trading.desk import Desk
from app.trading.preview import preview
from app.trading.router import OTHER_ORDER, is_same
from app.trading.schemas import OrderIn, OrderOut
from app.trading.ticket_schemas import BatchIn, BatchItem, BatchOut, PreviewOut, ProblemOut

router = APIRouter(prefix="/api", tags=["trading"])


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


@router.post("/orders/preview", summary="What an order would be", responses=problems(401, 404, 409, 422, 503))
async def preview_order(request: Request, principal: CurrentUser, body: OrderIn) -> PreviewOut:
    """Return quantity, fee, expected slippage, risk and what would forbid it. Nothing is sent, stored or counted."""
    found = await preview(
        _desk(request), principal.user_id, body.wish("preview"), broker_id=body.broker_id, books=lookout_of(request.app).books
    )
    return PreviewOut.of(found, body)


@router.post("/orders/batch", summary="Place an order on several accounts", responses=problems(401, 422, 503))
async def place_on_several(
    request: Request, principal: CurrentUser, body: BatchIn, idempotency_key: Annotated[str | None, Header(max_length=100)] = None
) -> BatchOut:
    """Send the order to each account at once, sized by its own balance. One that is refused keeps none of the others from being sent.

    The same `client_intent_id` (or Idempotency-Key) again answers with the orders it made the first time.
    """
    if body.order.broker_id is not None:
        raise InvalidInput("the accounts are in broker_ids; leave broker_id out of the order", field="order.broker_id")
    given = body.order.client_intent_id or idempotency_key
    key = f"manual:{principal.user_id}:{given}" if given else f"manual:{new_id()}"
    results = await place_on_each(
        _desk(request), principal.user_id, body.order.wish(key), body.broker_ids, books=lookout_of(request.app).books
    )
    items: list[BatchItem] = []
    for result in results:
        if result.value is None:
            assert result.problem is not None  # noqa: S101  # one of the two
            items.append(BatchItem(broker_id=result.broker_id, problem=ProblemOut.of(result.problem)))
        elif not result.value.is_new and not is_same(body.order, result.value.orders[0]):
            items.append(BatchItem(broker_id=result.broker_id, problem=ProblemOut.of(DuplicateIntent(OTHER_ORDER))))
        else:
            row = await queries.get_order(database_of(request), principal.user_id, result.value.orders[0].id)
            items.append(BatchItem(broker_id=result.broker_id, order=OrderOut.of(row)))
    return BatchOut(items=items)
