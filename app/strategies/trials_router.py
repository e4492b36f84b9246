"""Validations and quick backtests over the API: as one answer, or step by step as server-sent events for whoever accepts them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.db import Database
from app.core.http import database_of, problems
from app.core.streams import check_room, streaming
from app.errors import AppError
from app.strategies.report import Report, StepReport
from app.strategies.service import get_strategy, remember_market
from app.strategies.trial_schemas import QuickIn, QuickOut, ReportOut, StepOut, TryVersionIn, ValidateIn
from app.strategies.trials import Library, remembering
from app.strategies.validation import Begun, Progress
from app.strategies.versions_router import Number

router = APIRouter(prefix="/api/strategies", tags=["strategies"])
log = structlog.get_logger(__name__)

_STREAM: Final = "text/event-stream"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {_STREAM: {"schema": {"type": "string"}}}}}


def library_of(request: Request) -> Library:
    """Return the library of this application."""
    library: Library = request.app.state.strategies
    return library


@router.post(
    "/validate", summary="Validate a source", response_model=ReportOut, responses={**_ANSWERS, **problems(401, 404, 422, 429, 503)}
)
async def validate(request: Request, principal: CurrentUser, body: ValidateIn) -> Response | ReportOut:
    """Validate a source that need not be saved; nothing is kept.

    Whoever accepts `text/event-stream` is sent `begin` and `step` events as they come, then `report`; `problem` if it cannot go on.
    """
    library = library_of(request)
    (library.paces.validations if body.is_whole else library.paces.checks).take(principal.user_id)
    database = database_of(request)
    await _check_owner(database, principal.user_id, body.strategy_id)
    steps = library.validator.validate(
        principal.user_id, body.source, market=body.market(), parameters=dict(body.parameters), is_whole=body.is_whole
    )
    remembered = remembering(database, principal.user_id, body.strategy_id, body.market(), steps)
    return await _answer(request, principal.user_id, remembered)


async def _check_owner(database: Database, user_id: UUID, strategy_id: UUID | None) -> None:
    """Pass for a strategy of this user's, and for none. Raises StrategyNotFound, before anything is run."""
    if strategy_id is not None:
        async with database.transaction() as session:
            await get_strategy(session, user_id, strategy_id)


@router.post(
    "/{strategy_id}/versions/{number}/validate",
    summary="Validate a version, and keep what is found",
    response_model=ReportOut,
    responses={**_ANSWERS, **problems(401, 404, 422, 429, 503)},
)
async def validate_version(
    request: Request, principal: CurrentUser, strategy_id: UUID, number: Number, body: TryVersionIn
) -> Response | ReportOut:
    """Validate a version and keep the report with it: only a version whose report is clean can be activated. Streams as `validate`."""
    steps = library_of(request).validate_version(database_of(request), principal.user_id, strategy_id, number, market=body.market())
    return await _answer(request, principal.user_id, steps)


@router.post("/quick", summary="Backtest a source on the last thousand candles", responses=problems(401, 404, 422, 429, 503))
async def quick_backtest(request: Request, principal: CurrentUser, body: QuickIn) -> QuickOut:
    """Return what a source would have done in the last thousand stored candles, beside buying and holding."""
    library = library_of(request)
    library.paces.quick_backtests.take(principal.user_id)
    database, market = database_of(request), body.market()
    await _check_owner(database, principal.user_id, body.strategy_id)
    result = await library.quick.run(
        principal.user_id, body.source, market=market, parameters=dict(body.parameters), account=body.account()
    )
    if body.strategy_id is not None:
        async with database.transaction() as session:
            await remember_market(session, principal.user_id, body.strategy_id, market.found(result.tried_on))
    return QuickOut.of(result)


async def _answer(request: Request, user_id: UUID, steps: AsyncGenerator[Progress, None]) -> Response | ReportOut:
    if _STREAM in request.headers.get("accept", ""):
        check_room(request, user_id)
        # What keeps it from beginning is answered as any refusal is: the second one comes when the jail has taken the source.
        begun = [await anext(steps), await anext(steps)]
        return streaming(request, user_id, _Steps(begun, steps))
    async with aclosing(steps) as progress:
        async for one in progress:
            if isinstance(one, Report):
                return ReportOut.of(one)
    raise AssertionError("a validation ends with its report")


class _Steps:
    """A validation as events."""

    def __init__(self, begun: list[Progress], rest: AsyncGenerator[Progress, None]) -> None:
        self._begun = begun
        self._rest = rest

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield an event for each step that begins and ends, and one for the report."""
        async with aclosing(self._rest) as rest:
            for one in self._begun:
                yield _event(one)
            try:
                async for one in rest:
                    yield _event(one)
            except AppError as error:
                yield _written("problem", {"code": error.code, "detail": error.message})


def _event(one: Progress) -> bytes:
    match one:
        case Begun():
            return _written("begin", {"step": one.step.value})
        case StepReport():
            return _written("step", StepOut.of(one).model_dump(mode="json"))
        case _:
            return _written("report", ReportOut.of(one).model_dump(mode="json"))


def _written(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
