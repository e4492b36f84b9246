"""`/api/attempts`: every attempt to trade, and why it came to nothing where it did."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.domain.enums import OrderType, Side, Source
from app.errors import InvalidInput
from app.trading.history_filter import HistoryFilter
from app.trading.history_router import CSV, Limit, as_file
from app.trading.history_schemas import Cursor, From, Search, Text, To
from app.trading.schemas import MoneyOut
from app.webhooks.attempts import STATES, csv_of_attempts, page_of_attempts

router = APIRouter(prefix="/api", tags=["history"])


class AttemptOut(BaseModel):
    """An order, or an alert of which none came. `state` is the order's, or what was decided of the alert; `at` when it began."""

    kind: Literal["order", "alert"]
    id: UUID
    at: datetime
    state: str
    code: str | None
    reason: str | None
    source: Source
    broker_id: UUID | None
    symbol: str | None
    side: Side | None
    type: OrderType | None
    quantity: MoneyOut | None
    price: MoneyOut | None
    trigger_price: MoneyOut | None
    filled_quantity: MoneyOut | None
    average_price: MoneyOut | None
    delivery_id: UUID | None
    bot_id: UUID | None
    webhook_name: str | None

    @classmethod
    def of(cls, row: Any) -> "AttemptOut":
        """Return an attempt of a row of `attempts.page_of_attempts`."""
        values = {name: row[name] for name in cls.model_fields if name not in ("source", "delivery_id")}
        delivery_id = row["id"] if row["kind"] == "alert" else row["delivery_id"]
        return cls(**values, source=row["source"] or Source.WEBHOOK, delivery_id=delivery_id)


class AttemptPage(BaseModel):
    """Attempts, newest first; `next` is the cursor of the following page."""

    items: list[AttemptOut]
    next: str | None


def _attempts(
    since: From = None,
    to: To = None,
    broker_id: UUID | None = None,
    symbol: Text | None = None,
    side: Side | None = None,
    type: OrderType | None = None,
    state: Annotated[str | None, Query(max_length=30)] = None,
    source: Source | None = None,
    text: Search = "",
) -> HistoryFilter:
    if state and state not in STATES:
        raise InvalidInput("no order and no alert has a state of that name", field="state")
    return HistoryFilter(
        since=since,
        until=to,
        broker_id=broker_id,
        symbol=(symbol or "").replace("\x00", ""),
        side=side or "",
        type=type or "",
        state=state or "",
        source=source or "",
        text=text.replace("\x00", ""),
    )


Asked = Annotated[HistoryFilter, Depends(_attempts)]


@router.get("/attempts", summary="Every attempt to trade, newest first", responses=problems(401, 422))
async def list_attempts(request: Request, principal: CurrentUser, asked: Asked, limit: Limit = 50, cursor: Cursor = None) -> AttemptPage:
    """Return one page of all orders, and of the alerts of which no order came."""
    rows, following = await page_of_attempts(database_of(request), principal.user_id, asked, limit=limit, cursor=cursor)
    return AttemptPage(items=[AttemptOut.of(row) for row in rows], next=following)


@router.get("/attempts/export", summary="Attempts as CSV", response_class=StreamingResponse, responses=CSV | problems(401, 422))
async def export_attempts(request: Request, principal: CurrentUser, asked: Asked) -> StreamingResponse:
    """Return all attempts that the filter lets through, newest first."""
    return await as_file(csv_of_attempts(database_of(request), principal.user_id, asked), "attempts")
