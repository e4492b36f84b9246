"""`/api/backtests/{id}/robustness`: how robust a backtest is."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from app.accounts.dependencies import CurrentUser
from app.backtests.robustness import service
from app.backtests.search.events import SearchAsked
from app.backtests.search.models import RobustnessState
from app.backtests.search.stream import robustness_stream
from app.core.http import SessionDep, database_of, problems
from app.core.streams import check_room, streaming

router = APIRouter(prefix="/api/backtests/{backtest_id}/robustness", tags=["backtests"])

_STREAM: Final = "text/event-stream"


class RobustnessOut(BaseModel):
    """How robust a backtest is. `report` (docs/searches.md) is of the last time that it was answered."""

    model_config = ConfigDict(from_attributes=True)

    backtest_id: UUID
    state: RobustnessState
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    report: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@router.post("", status_code=202, summary="Ask how robust a backtest is", responses=problems(401, 404, 409, 422))
async def ask(request: Request, principal: CurrentUser, backtest_id: UUID) -> RobustnessOut:
    """Let it be found out; asked again, anew."""
    async with database_of(request).transaction() as session:
        found = await service.ask_robustness(session, principal.user_id, backtest_id, now=request.app.state.clock.now())
        asked = RobustnessOut.model_validate(found)
    request.app.state.bus.publish(SearchAsked())
    return asked


@router.get("", summary="How robust a backtest is", responses=problems(401, 404, 422))
async def read(principal: CurrentUser, backtest_id: UUID, session: SessionDep) -> RobustnessOut:
    """Return what was found out, or how far that is."""
    return RobustnessOut.model_validate(await service.get_robustness(session, principal.user_id, backtest_id))


@router.get(
    "/events",
    summary="A check of robustness as it goes on",
    responses={200: {"content": {_STREAM: {"schema": {"type": "string"}}}}, **problems(401, 404, 422, 429)},
)
async def events(request: Request, principal: CurrentUser, backtest_id: UUID) -> Response:
    """Send a `progress` event whenever it is further, and `over` at its end."""
    check_room(request, principal.user_id)
    async with database_of(request).transaction() as session:
        await service.get_robustness(session, principal.user_id, backtest_id)
    return streaming(request, principal.user_id, robustness_stream(request.app.state, principal.user_id, backtest_id))
