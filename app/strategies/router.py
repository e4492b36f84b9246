"""`/api/strategies`: the library. Versions and trials have routers of their own."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile

from app.accounts.dependencies import CurrentUser
from app.core.http import SessionDep, problems
from app.core.i18n import N_
from app.errors import InvalidInput
from app.strategies import queries, service
from app.strategies.files import LARGEST_FILE, file_name, read_file, written_file
from app.strategies.models import Origin
from app.strategies.schemas import (
    DraftIn,
    DraftOut,
    ForkIn,
    Name,
    SharedOut,
    ShareIn,
    StrategyDetail,
    StrategyIn,
    StrategyOut,
    StrategyPage,
    StrategyPatch,
    TemplateOut,
    TemplatePage,
)
from app.strategies.service import Provenance
from app.strategies.sharing import Delivery, share_strategy
from app.strategies.templates import BLANK, template, templates
from app.strategies.versions import fork_strategy, get_version

router = APIRouter(prefix="/api/strategies", tags=["strategies"])

_SHARED: Final = N_("If this server has a user of that name, a copy will be in their library in a moment.")


def now_of(request: Request) -> datetime:
    """Return the present of this application."""
    now: datetime = request.app.state.clock.now()
    return now


@router.get("", summary="Strategies", responses=problems(401, 422))
async def list_strategies(
    principal: CurrentUser,
    session: SessionDep,
    *,
    archived: Annotated[bool, Query(description="Those of the archive, instead of the others")] = False,
    search: Annotated[str, Query(max_length=100, description="Part of the name or the description")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=80, description="`next` of the page before")] = None,
) -> StrategyPage:
    """Return the user's strategies, the one that was changed last first."""
    after = None if cursor is None else _after(cursor)
    rows = await queries.list_strategies(session, principal.user_id, is_archived=archived, search=search, after=after, limit=limit + 1)
    page = rows[:limit]
    following = f"{page[-1].changed_at.isoformat()}.{page[-1].id}" if len(rows) > limit else None
    return StrategyPage(items=[StrategyOut.of(row) for row in page], next=following)


def _after(cursor: str) -> tuple[datetime, UUID]:
    moment, _, last = cursor.rpartition(".")
    try:
        at, last_id = datetime.fromisoformat(moment), UUID(last)
    except ValueError as error:
        raise InvalidInput("cursor must be `next` of the page before", field="cursor") from error
    if at.tzinfo is None or not 1970 <= at.year <= 9998:
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    return at, last_id


@router.post("", status_code=201, summary="Make a strategy", responses=problems(401, 404, 409, 422))
async def create_strategy(request: Request, principal: CurrentUser, body: StrategyIn, session: SessionDep) -> StrategyDetail:
    """Make a strategy of a source or of a template; with neither of the blank one. Its first version is made with it."""
    if body.source is not None and body.template is not None:
        raise InvalidInput(N_("give a source or a template, not both"), field="template")
    came_from, source = Provenance(), body.source
    if source is None:
        chosen = template(body.template or BLANK)
        came_from, source = Provenance(origin=Origin.TEMPLATE, name=chosen.name), chosen.source
    made = await service.create_strategy(
        session, principal.user_id, name=body.name, description=body.description, source=source, came_from=came_from, now=now_of(request)
    )
    return await _detail(session, principal.user_id, made.id)


async def _detail(session: SessionDep, user_id: UUID, strategy_id: UUID) -> StrategyDetail:
    row = await queries.listed(session, user_id, strategy_id)
    strategy = await service.get_strategy(session, user_id, strategy_id)
    source = strategy.draft if strategy.draft is not None else (await get_version(session, user_id, strategy_id)).source
    return StrategyDetail.with_source(row, source)


@router.get("/templates", summary="What a new strategy can begin with", responses=problems(401))
async def list_templates(principal: CurrentUser) -> TemplatePage:
    """Return the examples, and the strategies that come with the application."""
    del principal
    return TemplatePage(items=[TemplateOut.model_validate(one) for one in templates()])


@router.post("/import", status_code=201, summary="Make a strategy of a file", responses=problems(401, 409, 413, 422))
async def import_strategy(
    request: Request,
    principal: CurrentUser,
    session: SessionDep,
    file: Annotated[UploadFile, File(description="A .py file in UTF-8")],
    name: Annotated[Name | None, Form(description="Instead of the name that the file gives")] = None,
) -> StrategyDetail:
    """Make a strategy of a file; a name that is taken is numbered."""
    read = read_file(await file.read(LARGEST_FILE + 1), called=file.filename or "")
    made = await service.create_strategy(
        session,
        principal.user_id,
        name=name or read.name,
        description=read.description,
        source=read.source,
        came_from=Provenance(origin=Origin.IMPORTED, name=(file.filename or "")[:100] or None),
        now=now_of(request),
        is_renamed=name is None,
    )
    return await _detail(session, principal.user_id, made.id)


@router.get("/{strategy_id}", summary="One strategy", responses=problems(401, 404))
async def get_strategy(principal: CurrentUser, strategy_id: UUID, session: SessionDep) -> StrategyDetail:
    """Return one strategy with what stands in the editor."""
    return await _detail(session, principal.user_id, strategy_id)


@router.patch("/{strategy_id}", summary="Rename or describe a strategy", responses=problems(401, 404, 409, 422))
async def change_strategy(
    request: Request, principal: CurrentUser, strategy_id: UUID, body: StrategyPatch, session: SessionDep
) -> StrategyDetail:
    """Change the fields that are given."""
    await service.change_strategy(
        session, principal.user_id, strategy_id, now=now_of(request), name=body.name, description=body.description
    )
    return await _detail(session, principal.user_id, strategy_id)


@router.delete("/{strategy_id}", status_code=204, summary="Delete a strategy that was never used", responses=problems(401, 404, 409))
async def delete_strategy(principal: CurrentUser, strategy_id: UUID, session: SessionDep) -> None:
    """Delete a strategy with its versions. One of which a version was used can be archived instead."""
    await service.delete_strategy(session, principal.user_id, strategy_id)


@router.put("/{strategy_id}/draft", summary="Keep the draft", responses=problems(401, 404, 409, 422))
async def save_draft(request: Request, principal: CurrentUser, strategy_id: UUID, body: DraftIn, session: SessionDep) -> DraftOut:
    """Keep what stands in the editor. Another tab that did so meanwhile is not overwritten: DRAFT_CHANGED."""
    kept = await service.save_draft(
        session, principal.user_id, strategy_id, source=body.source, revision=body.revision, now=now_of(request)
    )
    return DraftOut.of(kept)


@router.delete("/{strategy_id}/draft", summary="Let the draft go", responses=problems(401, 404))
async def discard_draft(request: Request, principal: CurrentUser, strategy_id: UUID, session: SessionDep) -> StrategyDetail:
    """Go back to the newest version's source."""
    await service.discard_draft(session, principal.user_id, strategy_id, now=now_of(request))
    return await _detail(session, principal.user_id, strategy_id)


@router.post("/{strategy_id}/archive", summary="Put a strategy aside", responses=problems(401, 404))
async def archive_strategy(request: Request, principal: CurrentUser, strategy_id: UUID, session: SessionDep) -> StrategyDetail:
    """Put a strategy into the archive: its name is free then."""
    await service.archive_strategy(session, principal.user_id, strategy_id, now=now_of(request))
    return await _detail(session, principal.user_id, strategy_id)


@router.post("/{strategy_id}/unarchive", summary="Take a strategy out of the archive", responses=problems(401, 404, 409))
async def unarchive_strategy(request: Request, principal: CurrentUser, strategy_id: UUID, session: SessionDep) -> StrategyDetail:
    """Take a strategy back; its name is numbered if another one has it now."""
    await service.unarchive_strategy(session, principal.user_id, strategy_id, now=now_of(request))
    return await _detail(session, principal.user_id, strategy_id)


@router.post("/{strategy_id}/fork", status_code=201, summary="Make another strategy of one", responses=problems(401, 404, 409, 422))
async def fork(request: Request, principal: CurrentUser, strategy_id: UUID, body: ForkIn, session: SessionDep) -> StrategyDetail:
    """Make a strategy of a version of this one."""
    made = await fork_strategy(session, principal.user_id, strategy_id, number=body.number, name=body.name, now=now_of(request))
    return await _detail(session, principal.user_id, made.id)


@router.post("/{strategy_id}/share", status_code=202, summary="Give somebody a copy", responses=problems(401, 404, 422, 429))
async def share(request: Request, principal: CurrentUser, strategy_id: UUID, body: ShareIn, session: SessionDep) -> SharedOut:
    """Give a user of this server a copy. The answer is the same whether there is one of that name or not."""
    await share_strategy(
        session,
        principal.user_id,
        strategy_id,
        to_name=body.username,
        own_name=principal.username,
        number=body.number,
        now=now_of(request),
    )
    delivery: Delivery = request.app.state.strategies.delivery
    delivery.wake()
    return SharedOut(detail=_SHARED)


@router.get(
    "/{strategy_id}/export",
    summary="A version as a file",
    response_class=Response,
    responses={200: {"content": {"text/x-python": {"schema": {"type": "string"}}}}, **problems(401, 404, 422)},
)
async def export(
    principal: CurrentUser,
    strategy_id: UUID,
    session: SessionDep,
    number: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The newest version if not given")] = None,
) -> Response:
    """Return a version as a file, which can be imported again."""
    strategy = await service.get_strategy(session, principal.user_id, strategy_id)
    version = await get_version(session, principal.user_id, strategy_id, number)
    text = written_file(name=strategy.name, description=strategy.description, source=version.source)
    # The name holds letters, digits and dashes only.
    headers = {"Content-Disposition": f'attachment; filename="{file_name(strategy.name, version.number)}"'}
    return Response(text.encode(), media_type="text/x-python; charset=utf-8", headers=headers)
