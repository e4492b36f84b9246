"""`/api/backtests`: make, list, follow, cancel and delete backtests, and read their results."""

import weakref
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.backtests import service
from app.backtests.export import ExportKind
from app.backtests.exporting import make_file, pieces_of, to_export
from app.backtests.making import Backtests
from app.backtests.models import BacktestState
from app.backtests.results import MOST_POINTS, TradeOrder, amount, equity_points, page_of_trades, result_of
from app.backtests.schemas import (
    BacktestDetail,
    BacktestIn,
    BacktestNoteIn,
    BacktestOut,
    BacktestPage,
    BacktestTradeOut,
    BacktestTradePage,
    EquityOut,
)
from app.backtests.service import BacktestFilter
from app.backtests.stream import backtest_stream
from app.core.http import SessionDep, database_of, problems
from app.core.i18n import current_language
from app.core.streams import check_room, streaming
from app.errors import InvalidInput

router = APIRouter(prefix="/api/backtests", tags=["backtests"])

_FILES: Final = {kind.media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in ExportKind}


def backtests_of(request: Request) -> Backtests:
    """Return the backtests of this application."""
    backtests: Backtests = request.app.state.backtests
    return backtests


@router.get("", summary="Backtests", responses=problems(401, 422))
async def list_backtests(
    principal: CurrentUser,
    session: SessionDep,
    *,
    strategy_id: UUID | None = None,
    symbol: Annotated[str, Query(max_length=40)] = "",
    state: BacktestState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=20, description="`next` of the page before")] = None,
) -> BacktestPage:
    """Return the user's backtests, the newest first."""
    if cursor is not None and (not cursor.isdecimal() or len(cursor) > 9):
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    which = BacktestFilter(strategy_id=strategy_id, symbol=symbol.replace("\x00", ""), state=state)
    before = None if cursor is None else int(cursor)
    rows = await service.list_backtests(session, principal.user_id, which=which, before=before, limit=limit + 1)
    page = rows[:limit]
    following = str(page[-1].backtest.number) if len(rows) > limit else None
    return BacktestPage(items=[BacktestOut.of(row) for row in page], next=following)


@router.post("", status_code=201, summary="Make a backtest", responses=problems(401, 404, 409, 422, 503))
async def create_backtest(request: Request, principal: CurrentUser, body: BacktestIn) -> BacktestDetail:
    """Make a backtest; it waits for its turn, and `/events` tells how far it is."""
    made = await backtests_of(request).create(database_of(request), principal.user_id, body.wish())
    return await _detail(request, principal.user_id, made.id)


@router.get("/{backtest_id}", summary="One backtest with its report", responses=problems(401, 404))
async def get_backtest(principal: CurrentUser, session: SessionDep, backtest_id: UUID) -> BacktestDetail:
    """Return one backtest."""
    return BacktestDetail.of(await service.listed(session, principal.user_id, backtest_id))


@router.patch("/{backtest_id}", summary="Write a note", responses=problems(401, 404, 422))
async def change_note(principal: CurrentUser, session: SessionDep, backtest_id: UUID, body: BacktestNoteIn) -> BacktestDetail:
    """Write another note to a backtest."""
    await service.change_note(session, principal.user_id, backtest_id, note=body.note)
    return BacktestDetail.of(await service.listed(session, principal.user_id, backtest_id))


@router.delete("/{backtest_id}", status_code=204, summary="Delete a backtest", responses=problems(401, 404))
async def delete_backtest(request: Request, principal: CurrentUser, backtest_id: UUID) -> Response:
    """Delete a backtest with its result; one that runs stops."""
    await backtests_of(request).delete(database_of(request), principal.user_id, backtest_id)
    return Response(status_code=204)


@router.post("/{backtest_id}/cancel", summary="Cancel a backtest", responses=problems(401, 404))
async def cancel_backtest(request: Request, principal: CurrentUser, backtest_id: UUID) -> BacktestDetail:
    """Cancel a backtest: within two seconds it stops, and keeps what it has come to. One that is over stays as it is."""
    await backtests_of(request).cancel(database_of(request), principal.user_id, backtest_id)
    return await _detail(request, principal.user_id, backtest_id)


@router.post("/{backtest_id}/repeat", status_code=201, summary="Run a backtest again", responses=problems(401, 404, 409))
async def repeat_backtest(request: Request, principal: CurrentUser, backtest_id: UUID) -> BacktestDetail:
    """Make a backtest with the very header of this one: the same trades come of it, unless its candles have changed since."""
    made = await backtests_of(request).repeat(database_of(request), principal.user_id, backtest_id)
    return await _detail(request, principal.user_id, made.id)


@router.get("/{backtest_id}/trades", summary="Round trips of a result", responses=problems(401, 404, 409, 422))
async def list_trades(
    principal: CurrentUser,
    session: SessionDep,
    backtest_id: UUID,
    *,
    order: TradeOrder = TradeOrder.RECENT,
    reason: Annotated[str | None, Query(max_length=20, description="Why they ended; `open` for those that have not")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(max_length=20, description="`next` of the page before")] = None,
) -> BacktestTradePage:
    """Return one page of a result's round trips."""
    result = await result_of(session, principal.user_id, backtest_id)
    page = page_of_trades(result, order=order, limit=limit, cursor=cursor, reason=reason)
    return BacktestTradePage(items=[BacktestTradeOut.of(trade) for trade in page.trades], total=page.total, next=page.next)


@router.get("/{backtest_id}/equity", summary="Equity of a result", responses=problems(401, 404, 409, 422))
async def get_equity(
    principal: CurrentUser, session: SessionDep, backtest_id: UUID, *, points: Annotated[int, Query(ge=8, le=MOST_POINTS)] = 2_000
) -> EquityOut:
    """Return the account at the close of candles, in so many points as a chart can draw."""
    result = await result_of(session, principal.user_id, backtest_id)
    time, equity = equity_points(result, most=points)
    return EquityOut(time=time.tolist(), equity=[amount(value) for value in equity.tolist()], candles=len(result.time))


@router.get(
    "/{backtest_id}/export",
    summary="A result as a file",
    response_class=Response,
    responses={
        200: {"content": _FILES},
        **problems(401, 404, 409, 422, 429),
    },
)
async def export(
    request: Request,
    principal: CurrentUser,
    backtest_id: UUID,
    *,
    kind: Annotated[ExportKind, Query(alias="format", description="Which file: its name's end")] = ExportKind.JSON,
    language: Annotated[Literal["en", "fr"] | None, Query(description="Of the HTML report; the reader's own if not given")] = None,
) -> Response:
    """Return trades, fills or equity as CSV or parquet, the whole as JSON, or a report as one HTML file that needs nothing else."""
    state, user_id = request.app.state, principal.user_id
    state.backtest_files.begin(user_id)
    try:
        async with database_of(request).transaction() as session:
            given = await to_export(session, user_id, backtest_id)
        file = await state.backtest_tools.pool.run(make_file, given, kind, language or current_language())
    except BaseException:
        state.backtest_files.end(user_id)
        raise
    headers = {"Content-Disposition": f'attachment; filename="{given.named(kind)}"', "Cache-Control": "no-store"}
    answer = StreamingResponse(pieces_of(file), media_type=kind.media_type, headers=headers)
    # When it has been sent, or when its reader is gone: then it may not even have been begun.
    weakref.finalize(answer, state.backtest_files.end, user_id)
    return answer


@router.get(
    "/{backtest_id}/events",
    summary="How far a backtest is",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(401, 404, 429)},
)
async def follow(request: Request, principal: CurrentUser, backtest_id: UUID) -> StreamingResponse:
    """Send a `progress` event each time that it is further, with candles a second, seconds left and the equity so far; then `over`."""
    check_room(request, principal.user_id)
    async with database_of(request).transaction() as session:
        await service.get_backtest(session, principal.user_id, backtest_id)
    return streaming(request, principal.user_id, backtest_stream(request.app.state, principal.user_id, backtest_id))


async def _detail(request: Request, user_id: UUID, backtest_id: UUID) -> BacktestDetail:
    async with database_of(request).transaction() as session:
        return BacktestDetail.of(await service.listed(session, user_id, backtest_id))
