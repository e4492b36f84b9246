"""`/api/searches`: searches for better parameters, their trials, and what is made of a trial."""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.backtests.search import service
from app.backtests.search.heat import heat_map, two_of
from app.backtests.search.making import Searches
from app.backtests.search.schemas import ContinueIn, PromotedOut, SearchIn, SearchOut, SearchPage, SpaceOut, TrialOut, TrialPage
from app.backtests.search.space import Space
from app.backtests.search.stream import search_stream
from app.core.db import Database
from app.core.http import SessionDep, database_of, problems
from app.core.streams import check_room, streaming
from app.errors import InvalidInput

router = APIRouter(prefix="/api/searches", tags=["backtests"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
_Cursor = Annotated[str | None, Query(max_length=20, description="`next` of the page before")]
_STREAM: Final = "text/event-stream"


def searches_of(request: Request) -> Searches:
    """Return the searches of this application."""
    searches: Searches = request.app.state.searches
    return searches


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdecimal() or not cursor.isascii() or len(cursor) > 9:
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    return int(cursor)


@router.get("", summary="Searches", responses=problems(401, 422))
async def list_searches(
    principal: CurrentUser,
    session: SessionDep,
    *,
    strategy_id: Annotated[UUID | None, Query(description="Only those of this strategy")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: _Cursor = None,
) -> SearchPage:
    """Return the user's searches, the newest first."""
    rows = await service.list_searches(session, principal.user_id, strategy_id=strategy_id, before=_place(cursor), limit=limit + 1)
    page = rows[:limit]
    return SearchPage(items=[SearchOut.of(one) for one in page], next=str(page[-1].search.number) if len(rows) > limit else None)


@router.post("", status_code=201, summary="Search for better parameters", responses=problems(401, 404, 409, 422, 429, 502, 503))
async def create_search(request: Request, principal: CurrentUser, body: SearchIn) -> SearchOut:
    """Store a search; it is begun when it is its turn."""
    database = database_of(request)
    made = await searches_of(request).create(database, principal.user_id, body.search_wish())
    return await _one(database, principal.user_id, made.id)


@router.get("/space", summary="What of a strategy can vary", responses=problems(401, 404, 422, 429, 503))
async def space(
    request: Request, principal: CurrentUser, strategy_id: UUID, version: Annotated[int | None, Query(ge=1, le=1_000_000)] = None
) -> SpaceOut:
    """Return the parameters of a version, the newest one without a number, and how each usually varies."""
    return SpaceOut.of(*await searches_of(request).axes(database_of(request), principal.user_id, strategy_id, version))


@router.get("/{search_id}", summary="A search", responses=problems(401, 404, 422))
async def read_search(request: Request, principal: CurrentUser, search_id: UUID) -> SearchOut:
    """Return one search."""
    return await _one(database_of(request), principal.user_id, search_id)


@router.delete("/{search_id}", status_code=204, summary="Delete a search", responses=problems(401, 404, 422))
async def delete_search(request: Request, principal: CurrentUser, search_id: UUID) -> Response:
    """Delete a search with its trials; one that runs is stopped."""
    await searches_of(request).delete(database_of(request), principal.user_id, search_id)
    return Response(status_code=204)


@router.post("/{search_id}/stop", summary="Stop a search", responses=problems(401, 404, 422))
async def stop_search(request: Request, principal: CurrentUser, search_id: UUID) -> SearchOut:
    """Stop a search within two seconds. It keeps its trials and can go on; one that is over stays as it is."""
    database = database_of(request)
    await searches_of(request).stop(database, principal.user_id, search_id)
    return await _one(database, principal.user_id, search_id)


@router.post("/{search_id}/continue", summary="Continue a search", responses=problems(401, 404, 409, 422))
async def continue_search(request: Request, principal: CurrentUser, search_id: UUID, body: ContinueIn) -> SearchOut:
    """Let a search go on from its trials, as if it had never stopped."""
    database = database_of(request)
    await searches_of(request).resume(database, principal.user_id, search_id, more=body.trials)
    return await _one(database, principal.user_id, search_id)


@router.get("/{search_id}/trials", summary="Trials", responses=problems(401, 404, 422))
async def list_trials(
    principal: CurrentUser,
    search_id: UUID,
    session: SessionDep,
    *,
    best: Annotated[bool, Query(description="The best first, instead of in the order in which they were tried")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: _Cursor = None,
) -> TrialPage:
    """Return the trials of a search."""
    after = _place(cursor) or 0
    rows = await service.list_trials(session, principal.user_id, search_id, after=after, limit=limit + 1, is_best_first=best)
    page = rows[:limit]
    following = (str(after + limit) if best else str(page[-1].number)) if len(rows) > limit else None
    return TrialPage(items=[TrialOut.of(one) for one in page], next=following)


@router.get("/{search_id}/heat-map", summary="The heat map of two parameters", responses=problems(401, 404, 422))
async def read_heat_map(
    principal: CurrentUser,
    search_id: UUID,
    session: SessionDep,
    *,
    x: Annotated[str, Query(max_length=64, description="Of the columns; the one that matters most if not given")] = "",
    y: Annotated[str, Query(max_length=64, description="Of the rows; the second one if not given")] = "",
) -> dict[str, Any]:
    """Return for each pair of values of two parameters the best score of the trials that have them."""
    search = await service.get_search(session, principal.user_id, search_id)
    trials = await service.scored_trials(session, principal.user_id, search_id)
    space_of_it = msgspec.convert(search.space, Space)
    usual = two_of(space_of_it, search.importance) or ("", "")
    chosen = (x or usual[0], y or usual[1])
    names = {axis.name for axis in space_of_it.axes}
    if chosen[0] == chosen[1] or not names.issuperset(chosen):
        raise InvalidInput("x and y must be two parameters that vary", field="x")
    found: dict[str, Any] = msgspec.to_builtins(heat_map(space_of_it, trials, *chosen))
    return found


@router.post("/{search_id}/trials/{number}/version", summary="Make a version of a trial", responses=problems(401, 404, 409, 422, 429, 503))
async def promote_to_version(request: Request, response: Response, principal: CurrentUser, search_id: UUID, number: Number) -> PromotedOut:
    """Save the searched source with the trial's values as defaults. 200 instead of 201 where the newest version has them already."""
    strategy_id, saved = await searches_of(request).to_version(database_of(request), principal.user_id, search_id, number)
    response.status_code = 201 if saved.is_new else 200
    return PromotedOut(strategy_id=strategy_id, version_id=saved.version.id, number=saved.version.number, is_new=saved.is_new)


@router.post(
    "/{search_id}/trials/{number}/backtest",
    status_code=201,
    summary="Backtest a trial over the whole range",
    responses=problems(401, 404, 409, 422, 429, 502, 503),
)
async def promote_to_backtest(request: Request, principal: CurrentUser, search_id: UUID, number: Number) -> dict[str, Any]:
    """Make a backtest with the trial's parameters, the searched version, market, range and costs; return its `id` and `number`."""
    made = await searches_of(request).to_backtest(database_of(request), principal.user_id, search_id, number)
    return {"id": made.id, "number": made.number}


@router.get(
    "/{search_id}/events",
    summary="A search as it goes on",
    responses={200: {"content": {_STREAM: {"schema": {"type": "string"}}}}, **problems(401, 404, 422, 429)},
)
async def events(request: Request, principal: CurrentUser, search_id: UUID) -> Response:
    """Send a `progress` event with how far it is whenever that changes, and `over` at its end; trials are read by their own address."""
    check_room(request, principal.user_id)
    async with database_of(request).transaction() as session:
        await service.get_search(session, principal.user_id, search_id)
    return streaming(request, principal.user_id, search_stream(request.app.state, principal.user_id, search_id))


async def _one(database: Database, user_id: UUID, search_id: UUID) -> SearchOut:
    async with database.transaction() as session:
        return SearchOut.of(await service.listed_search(session, user_id, search_id))
