"""JSON routes of symbols: search, and updates as jobs. Who may call them is decided where they are mounted."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.http import problems
from app.marketdata.instruments import InstrumentBook
from app.marketdata.schemas import InstrumentOut, InstrumentsOut, UpdateIn, UpdateOut, UpdatesOut
from app.marketdata.updates import Updates

router = APIRouter(prefix="/api/symbols", tags=["market data"])

_MOST_SYMBOLS = 1000
_MOST_UPDATES = 100


def _instruments(request: Request) -> InstrumentBook:
    instruments: InstrumentBook = request.app.state.instruments
    return instruments


def _updates(request: Request) -> Updates:
    updates: Updates = request.app.state.updates
    return updates


InstrumentsDep = Annotated[InstrumentBook, Depends(_instruments)]
UpdatesDep = Annotated[Updates, Depends(_updates)]
ExchangeName = Annotated[str, Query(pattern="^[a-z0-9]{2,32}$", description="Exchange id, such as binance")]


@router.get("", response_model=InstrumentsOut, summary="Symbols with their trading rules", responses=problems(422, 503))
async def get_symbols(
    instruments: InstrumentsDep,
    *,
    exchange: ExchangeName = "binance",
    search: Annotated[str | None, Query(max_length=40, description="Part of the symbol: BTCUSDT, btc/usdt or BTC-USDT")] = None,
    quote: Annotated[str | None, Query(max_length=20, description="Quote asset, such as USDT")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_SYMBOLS)] = 100,
    cursor: Annotated[str | None, Query(max_length=40, description="`next` of the page before")] = None,
) -> Response:
    """Return symbols that trade in alphabetical order; those that begin with `search` come before those that only hold it."""
    listed = await instruments.search(exchange)
    page = listed.page(search=search or "", quote=quote or "", after=cursor, limit=limit)
    answer = InstrumentsOut(items=[InstrumentOut.of(found) for found in page.rows], next=page.rows[-1].symbol if page.has_more else None)
    # FastAPI would look at each of up to a thousand symbols once more: more work than finding them.
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("/updates", status_code=202, summary="Update an exchange's symbols", responses=problems(422, 429))
async def begin_update(given: UpdateIn, updates: UpdatesDep, principal: CurrentUser) -> UpdateOut:
    """Begin an update and return it, or the one that runs already. Once a minute for each exchange, whoever asks."""
    return UpdateOut.of(await updates.begin(given.exchange, started_by=principal.user_id), principal.user_id)


@router.get("/updates", summary="Updates of symbols", responses=problems(422))
async def list_updates(
    updates: UpdatesDep,
    principal: CurrentUser,
    *,
    exchange: Annotated[str | None, Query(pattern="^[a-z0-9]{2,32}$", description="Of this exchange only")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_UPDATES)] = 20,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> UpdatesOut:
    """Return updates, newest first: those that people asked for, and each night's."""
    found = await updates.history(exchange=exchange, before=cursor, limit=limit + 1)
    items = [UpdateOut.of(update, principal.user_id) for update in found[:limit]]
    return UpdatesOut(items=items, next=items[-1].id if len(found) > limit else None)


@router.get("/updates/{update_id}", summary="One update of symbols", responses=problems(404))
async def get_update(update_id: UUID, updates: UpdatesDep, principal: CurrentUser) -> UpdateOut:
    """Return how far an update is, or what came of it."""
    return UpdateOut.of(await updates.get(update_id), principal.user_id)
