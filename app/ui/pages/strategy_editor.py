"""The page of one strategy: its text, which is kept as a draft while it is written, and its versions."""

import json
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import JSONResponse, Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import N_, gettext, use_language
from app.core.sentences import said
from app.domain.candles import to_milliseconds
from app.errors import AppError, DraftChanged
from app.marketdata.queries import stored_symbols
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies import service, versions
from app.strategies.models import LONGEST_NAME, LONGEST_NOTE, Strategy, StrategyVersion
from app.strategies.templates import template
from app.ui.strategies import on_one_line
from app.ui.strategy_completions import completions
from app.ui.strategy_editor import (
    editor_state,
    market_choice,
    output_of,
    parameter_form,
    problem_list,
    report_of,
    step_rows,
    version_list,
)
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of, templating_of
from app.ui.templating import triggers
from app.ui.views import StrategyEditorView

router = APIRouter(include_in_schema=False)

PAGE: Final = "pages/strategies/editor.html"
STATE: Final = "fragments/strategies/_state.html"
VERSIONS: Final = "fragments/strategies/_versions.html"
_MOST_SYMBOLS: Final = 500
_NOT_KEPT: Final = N_("Nothing was saved: the strategy was changed in another tab or on another device. Open this page anew to see it.")

#: A browser sends a line's end as two characters.
Source = Annotated[str, Form(max_length=2 * LONGEST_SOURCE)]
#: Of the draft that a text was made from; whoever names none is told what is kept.
Revision = Annotated[int, Form(ge=-1, le=2**31 - 1)]
Number = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


async def _loaded(request: Request, principal: Principal, strategy_id: UUID) -> tuple[Strategy, StrategyVersion, list[StrategyVersion]]:
    async with request.app.state.database.transaction() as session:
        strategy = await service.get_strategy(session, principal.user_id, strategy_id)
        newest = await versions.get_version(session, principal.user_id, strategy_id)
        return strategy, newest, await versions.list_versions(session, principal.user_id, strategy_id)


async def symbols_of(request: Request) -> tuple[str, ...]:
    """Return the symbols whose candles are stored, those that are being followed first."""
    state = request.app.state
    followed = tuple(state.heartbeat.symbols)
    stored = await stored_symbols(state.database, state.heartbeat.status.exchange, limit=_MOST_SYMBOLS)
    return (*followed, *(symbol for symbol in stored if symbol not in followed))


async def editor_page(
    request: Request, principal: Principal, strategy_id: UUID, *, source: str | None = None, error: str = "", status: int = 200
) -> Response:
    """Return the page, with another text than what is kept where one is given."""
    strategy, newest, rows = await _loaded(request, principal, strategy_id)
    is_draft = strategy.draft is not None
    report = None if is_draft else report_of(newest)
    last = report_of(newest)
    with use_language(reader_of(request, principal).language):
        view = StrategyEditorView(
            shell=await shell_of(request, principal, page="strategies"),
            id=str(strategy.id),
            name=strategy.name,
            source=source if source is not None else strategy.draft if strategy.draft is not None else newest.source,
            state=editor_state(strategy, newest, error=error),
            versions=version_list(strategy, rows),
            market=market_choice(strategy, await symbols_of(request)),
            steps=step_rows(report),
            problems=problem_list(report, checked_at=newest.validated_at),
            output=output_of(report),
            parameters=parameter_form(last.described if last else None),
            completions=completions(),
            longest_source=LONGEST_SOURCE,
        )
        return page(request, PAGE, view, status=status)


@router.get("/strategies/{strategy_id}")
async def show_editor(
    request: Request,
    principal: CurrentUser,
    strategy_id: UUID,
    version: Number = None,
    template_name: Annotated[str, Query(alias="template", max_length=64)] = "",
) -> Response:
    """The editor; with an old version's or a template's text in it, not yet saved, where one is named."""
    source = None
    if version is not None or template_name:
        source = await _text_of(request, principal, strategy_id, version, template_name)
    return await editor_page(request, principal, strategy_id, source=source)


async def _text_of(request: Request, principal: Principal, strategy_id: UUID, version: int | None, template_name: str) -> str:
    if template_name:
        return template(template_name).source
    async with request.app.state.database.transaction() as session:
        return (await versions.get_version(session, principal.user_id, strategy_id, version)).source


@router.get("/strategies/{strategy_id}/text")
async def read_text(
    request: Request,
    principal: CurrentUser,
    strategy_id: UUID,
    version: Number = None,
    template_name: Annotated[str, Query(alias="template", max_length=64)] = "",
) -> JSONResponse:
    """A version's text, a template's, or what is kept: the draft, else the newest version; and what the next draft is made from."""
    if version is not None or template_name:
        return _json({"source": await _text_of(request, principal, strategy_id, version, template_name)})
    strategy, newest, _ = await _loaded(request, principal, strategy_id)
    source = newest.source if strategy.draft is None else strategy.draft
    return _json({"source": source, **_kept(strategy), "number": newest.number})


def _kept(strategy: Strategy) -> dict[str, Any]:
    at = strategy.draft_saved_at
    return {"revision": strategy.draft_revision, "is_draft": strategy.draft is not None, "at": None if at is None else to_milliseconds(at)}


def _json(content: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"Cache-Control": "no-store"})


@router.post("/strategies/{strategy_id}/draft")
async def keep_draft(
    request: Request, principal: CurrentUser, strategy_id: UUID, revision: Revision = -1, source: Source = ""
) -> JSONResponse:
    """Keep what stands in the editor; 409 where another tab kept something meanwhile."""
    state = request.app.state
    try:
        async with state.database.transaction() as session:
            strategy = await service.save_draft(
                session, principal.user_id, strategy_id, source=source, revision=revision, now=state.clock.now()
            )
            return _json(_kept(strategy))
    except DraftChanged as error:
        return _json({"code": error.code}, 409)


@router.post("/strategies/{strategy_id}")
async def save(
    request: Request,
    principal: CurrentUser,
    strategy_id: UUID,
    *,
    revision: Revision = -1,
    name: Annotated[str, Form(max_length=LONGEST_NAME)] = "",
    source: Source = "",
    note: Annotated[str, Form(max_length=LONGEST_NOTE)] = "",
) -> Response:
    """Save the text as the next version, and the name; what another tab kept meanwhile is not passed over."""
    is_scripted = request.headers.get("hx-request") == "true"
    source = source.replace("\r\n", "\n")
    with use_language(reader_of(request, principal).language):
        try:
            saved = await _save(
                request, principal, strategy_id, revision=revision, name=on_one_line(name), source=source, note=on_one_line(note)
            )
        except DraftChanged:
            if is_scripted:
                return Response(status_code=409, headers={"HX-Trigger": _trigger("strategy-conflict", {})})
            return await editor_page(request, principal, strategy_id, source=source, error=_NOT_KEPT, status=409)
        except AppError as error:
            if not is_scripted:
                return await editor_page(request, principal, strategy_id, source=source, error=error.message, status=error.status)
            strategy, newest, _ = await _loaded(request, principal, strategy_id)
            return fragment(request, principal, STATE, editor_state(strategy, newest, error=error.message), status=422)
        if not is_scripted:
            return see_other(request, f"/strategies/{strategy_id}")
        return await _saved(request, principal, strategy_id, saved)


async def _save(
    request: Request, principal: Principal, strategy_id: UUID, *, revision: int, name: str, source: str, note: str
) -> versions.Saved:
    state = request.app.state
    now = state.clock.now()
    async with state.database.transaction() as session:
        saved = await versions.save_version(
            session, principal.user_id, strategy_id, source=source, note=note, draft_revision=revision, now=now
        )
        report = state.recent_reports.of(principal.user_id, saved.version.sha256)
        if saved.is_new and report is not None:
            await versions.keep_report(session, principal.user_id, saved.version.id, report, now=now)
        if name:
            await service.change_strategy(session, principal.user_id, strategy_id, name=name, now=now)
        return saved


async def _saved(request: Request, principal: Principal, strategy_id: UUID, saved: versions.Saved) -> Response:
    strategy, newest, rows = await _loaded(request, principal, strategy_id)
    words = gettext("Version %(number)s is saved.") if saved.is_new else gettext("Nothing changed since version %(number)s.")
    detail = {"revision": strategy.draft_revision, "number": newest.number, "name": strategy.name}
    reader = reader_of(request, principal)
    partial = templating_of(request).partial(VERSIONS, version_list(strategy, rows), target="sed-versions", reader=reader, swap="outerHTML")
    answer = fragment(request, principal, STATE, editor_state(strategy, newest), partials=partial)
    toast = triggers(toast=said(words % {"number": newest.number}))
    answer.headers["HX-Trigger"] = json.dumps(json.loads(toast) | json.loads(_trigger("strategy-saved", detail)), ensure_ascii=True)
    return answer


def _trigger(name: str, detail: dict[str, Any]) -> str:
    return json.dumps({name: {"target": "body", **detail}}, ensure_ascii=True)


@router.post("/strategies/{strategy_id}/fork")
async def fork(
    request: Request, principal: CurrentUser, strategy_id: UUID, version: Annotated[int | None, Form(ge=1, le=2**31 - 1)] = None
) -> Response:
    """Make another strategy of a version, and go to it."""
    state = request.app.state
    async with state.database.transaction() as session:
        made = await versions.fork_strategy(session, principal.user_id, strategy_id, number=version, now=state.clock.now())
    return see_other(request, f"/strategies/{made.id}")
