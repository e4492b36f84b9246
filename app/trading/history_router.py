"""`/api/trades`, the history as files, and notes."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.trading import history, history_files
from app.trading.history_schemas import (
    Cursor,
    FillsAsked,
    NoteIn,
    NoteOut,
    OrdersAsked,
    TradeDetail,
    TradeOut,
    TradePage,
    TradesAsked,
    TradeSumsOut,
)
from app.trading.history_tables import Subject
from app.trading.notes import put_note
from app.trading.schemas import FillOut

router = APIRouter(prefix="/api", tags=["history"])

Limit = Annotated[int, Query(ge=1, le=500)]
CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


async def _after(first: bytes, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for more in lines:
        yield more


async def as_file(lines: AsyncIterator[bytes], name: str) -> StreamingResponse:
    """Return lines as a file to keep.

    Its beginning is made before the answer begins: what cannot be asked for is said with its status, not by a file that breaks off.
    """
    names, first = await anext(lines), await anext(lines, b"")
    headers = {"Content-Disposition": f'attachment; filename="aristobot-{name}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(_after(names + first, lines), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/orders/export", summary="Orders as CSV", response_class=StreamingResponse, responses=CSV | problems(401, 422))
async def export_orders(request: Request, principal: CurrentUser, asked: OrdersAsked) -> StreamingResponse:
    """Return all orders that the filter lets through, newest first, refused ones too."""
    return await as_file(history_files.csv_of_orders(database_of(request), principal.user_id, asked), "orders")


@router.get("/fills/export", summary="Executions as CSV", response_class=StreamingResponse, responses=CSV | problems(401, 422))
async def export_fills(request: Request, principal: CurrentUser, asked: FillsAsked) -> StreamingResponse:
    """Return all fills that the filter lets through, newest first."""
    return await as_file(history_files.csv_of_fills(database_of(request), principal.user_id, asked), "fills")


@router.get("/trades/export", summary="Round trips as CSV", response_class=StreamingResponse, responses=CSV | problems(401, 422))
async def export_trades(request: Request, principal: CurrentUser, asked: TradesAsked) -> StreamingResponse:
    """Return all round trips that the filter lets through, newest first."""
    return await as_file(history_files.csv_of_trades(database_of(request), principal.user_id, asked), "trades")


@router.get("/trades", summary="Round trips, newest first", responses=problems(401, 422))
async def list_trades(
    request: Request, principal: CurrentUser, asked: TradesAsked, limit: Limit = 50, cursor: Cursor = None, *, with_sums: bool = False
) -> TradePage:
    """Return one page of closed positions, from flat to flat; with `with_sums` also what all of them, on every page, come to."""
    database = database_of(request)
    rows, following = await history.page_of_trades(database, principal.user_id, asked, limit=limit, cursor=cursor)
    sums = TradeSumsOut.of(await history.sums_of_trades(database, principal.user_id, asked)) if with_sums else None
    return TradePage(items=[TradeOut.of(row) for row in rows], next=following, sums=sums)


@router.get("/trades/{trade_id}", summary="One round trip", responses=problems(401, 404))
async def get_trade(request: Request, principal: CurrentUser, trade_id: UUID) -> TradeDetail:
    """Return one round trip with its fills."""
    database = database_of(request)
    trade = TradeOut.of(await history.trade_of(database, principal.user_id, trade_id))
    fills = await history.fills_of(database, principal.user_id, position_id=trade_id)
    shown = [FillOut(**{name: row[name] for name in FillOut.model_fields}) for row in fills]
    return TradeDetail(**trade.model_dump(), fills=shown)


@router.put("/trades/{trade_id}/note", summary="Note on a round trip", responses=problems(401, 404, 422))
async def note_trade(request: Request, principal: CurrentUser, trade_id: UUID, body: NoteIn) -> NoteOut:
    """Keep a note on a round trip instead of the one that was there."""
    return await _note(request, principal.user_id, Subject.TRADE, trade_id, body)


@router.put("/orders/{order_id}/note", summary="Note on an order", responses=problems(401, 404, 422))
async def note_order(request: Request, principal: CurrentUser, order_id: UUID, body: NoteIn) -> NoteOut:
    """Keep a note on an order instead of the one that was there."""
    return await _note(request, principal.user_id, Subject.ORDER, order_id, body)


async def _note(request: Request, user_id: UUID, subject: Subject, subject_id: UUID, body: NoteIn) -> NoteOut:
    now = request.app.state.clock.now()
    text, tags = await put_note(database_of(request), user_id, subject, subject_id, text=body.text, tags=body.tags, now=now)
    return NoteOut(text=text, tags=tags)
