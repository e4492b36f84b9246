"""The library of strategies: the list, and what is done with a strategy as a whole. One strategy has a page of its own."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import N_, gettext, use_language
from app.errors import AppError, InvalidInput, NameTaken
from app.strategies import service
from app.strategies.files import LARGEST_FILE, read_file
from app.strategies.models import LONGEST_NAME, Origin
from app.strategies.service import Provenance
from app.strategies.sharing import share_strategy
from app.strategies.templates import BLANK, template
from app.strategies.versions import fork_strategy, list_versions
from app.ui.strategies import on_one_line, strategy_form, strategy_list
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.templating import ToastLevel
from app.ui.views import Choice, ImportForm, ShareForm, StrategiesView, StrategyForm, StrategyQuestion

router = APIRouter(include_in_schema=False)

LIST: Final = "fragments/strategies/_list.html"
_NEW: Final = "fragments/strategies/_new.html"
_IMPORT: Final = "fragments/strategies/_import.html"
_SHARE: Final = "fragments/strategies/_share.html"
_DELETE: Final = "fragments/strategies/_delete.html"
_DIALOG: Final = "strategy-dialog"
_SHARED: Final = N_("If this server has a user of that name, a copy will be in their library in a moment.")
_NAME_TAKEN: Final = N_("You already have a strategy of that name.")

Text = Annotated[str, Query(max_length=200)]
Typed = Annotated[str, Form(max_length=200)]


@router.get("/strategies")
async def show_strategies(request: Request, principal: CurrentUser, search: Text = "", archived: Text = "") -> Response:
    """The whole library."""
    with use_language(reader_of(request, principal).language):
        async with request.app.state.database.transaction() as session:
            found = await strategy_list(session, principal.user_id, is_archive=bool(archived), search=search)
        view = StrategiesView(
            shell=await shell_of(request, principal, page="strategies"), strategies=found, form=strategy_form(), file=ImportForm()
        )
    return page(request, "pages/strategies/index.html", view)


@router.get("/strategies/list")
async def show_list(request: Request, principal: CurrentUser, search: Text = "", archived: Text = "") -> Response:
    """The list anew: searched, or of the archive."""
    return await _list(request, principal, is_archive=bool(archived), search=search)


async def _list(request: Request, principal: Principal, *, words: str = "", is_archive: bool = False, search: str = "") -> Response:
    """The list, with a toast when there is something to say; the dialog that was open is closed."""
    with use_language(reader_of(request, principal).language):
        async with request.app.state.database.transaction() as session:
            found = await strategy_list(session, principal.user_id, is_archive=is_archive, search=search)
        toast: tuple[ToastLevel, str] | None = ("success", gettext(words)) if words else None
        return fragment(request, principal, LIST, found, toast=toast, close_dialog=_DIALOG if words else "")


@router.post("/strategies")
async def add_strategy(request: Request, principal: CurrentUser, name: Typed = "", chosen: Typed = BLANK) -> Response:
    """Make a strategy of a template, and go to its page."""
    with use_language(reader_of(request, principal).language):
        try:
            begun, title = template(chosen), _checked_name(name)
            async with request.app.state.database.transaction() as session:
                made = await service.create_strategy(
                    session,
                    principal.user_id,
                    name=title,
                    source=begun.source,
                    came_from=Provenance(origin=Origin.TEMPLATE, name=begun.name),
                    now=request.app.state.clock.now(),
                )
        except AppError as error:
            form: StrategyForm = strategy_form(name=name, chosen=chosen, errors=_complaints(error))
            return fragment(request, principal, _NEW, form, status=422)
    return see_other(request, f"/strategies/{made.id}")


def _checked_name(name: str) -> str:
    """Return a name as it is kept.

    Raises:
        InvalidInput: nothing is left of it, or too much.
    """
    clean = on_one_line(name)
    if not 1 <= len(clean) <= LONGEST_NAME:
        raise InvalidInput(N_(f"a name needs 1 to {LONGEST_NAME} signs"), field="name")
    return clean


def _complaints(error: AppError) -> dict[str, str]:
    if isinstance(error, NameTaken):
        return {"name": gettext(_NAME_TAKEN)}
    return {error.field or "": error.message}


@router.post("/strategies/import")
async def import_file(request: Request, principal: CurrentUser, file: Annotated[UploadFile, File()]) -> Response:
    """Make a strategy of a file, and go to its page."""
    with use_language(reader_of(request, principal).language):
        try:
            read = read_file(await file.read(LARGEST_FILE + 1), called=file.filename or "")
            async with request.app.state.database.transaction() as session:
                made = await service.create_strategy(
                    session,
                    principal.user_id,
                    name=read.name,
                    description=read.description,
                    source=read.source,
                    came_from=Provenance(origin=Origin.IMPORTED, name=(file.filename or "")[:100] or None),
                    now=request.app.state.clock.now(),
                    is_renamed=True,
                )
        except AppError as error:
            return fragment(request, principal, _IMPORT, ImportForm(errors={"file": error.message}), status=422)
    return see_other(request, f"/strategies/{made.id}")


@router.post("/strategies/{strategy_id}/copy")
async def copy_strategy(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """Fork a strategy; the copy stands first in the list."""
    async with request.app.state.database.transaction() as session:
        await fork_strategy(session, principal.user_id, strategy_id, now=request.app.state.clock.now())
    return await _list(request, principal, words=N_("A copy was made. It goes its own way from here."))


@router.post("/strategies/{strategy_id}/archive")
async def archive(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """Put a strategy aside."""
    async with request.app.state.database.transaction() as session:
        await service.archive_strategy(session, principal.user_id, strategy_id, now=request.app.state.clock.now())
    return await _list(request, principal, words=N_("The strategy is in the archive."))


@router.post("/strategies/{strategy_id}/unarchive")
async def unarchive(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """Take a strategy back out of the archive."""
    async with request.app.state.database.transaction() as session:
        await service.unarchive_strategy(session, principal.user_id, strategy_id, now=request.app.state.clock.now())
    return await _list(request, principal, words=N_("The strategy is back among the others."))


@router.get("/strategies/{strategy_id}/share")
async def ask_share(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """The form that asks who gets a copy."""
    with use_language(reader_of(request, principal).language):
        return fragment(request, principal, _SHARE, await _share_form(request, principal, strategy_id))


async def _share_form(
    request: Request, principal: Principal, strategy_id: UUID, *, username: str = "", number: str = "", errors: dict[str, str] | None = None
) -> ShareForm:
    async with request.app.state.database.transaction() as session:
        strategy = await service.get_strategy(session, principal.user_id, strategy_id)
        rows = await list_versions(session, principal.user_id, strategy_id, limit=100)
    return ShareForm(
        id=str(strategy.id),
        name=strategy.name,
        numbers=tuple(Choice(value=str(row.number), label=f"{row.number} · {row.note}" if row.note else str(row.number)) for row in rows),
        number=number,
        username=username,
        errors=errors or {},
    )


@router.post("/strategies/{strategy_id}/share")
async def share(request: Request, principal: CurrentUser, strategy_id: UUID, username: Typed = "", number: Typed = "") -> Response:
    """Give somebody a copy; what is told does not depend on whether there is such a user."""
    state = request.app.state
    with use_language(reader_of(request, principal).language):
        try:
            async with state.database.transaction() as session:
                await share_strategy(
                    session,
                    principal.user_id,
                    strategy_id,
                    to_name=_checked_username(username),
                    own_name=principal.username,
                    number=int(number) if number.isdecimal() and number.isascii() and len(number) < 8 else None,
                    now=state.clock.now(),
                )
        except InvalidInput as error:
            errors = {error.field or "": error.message}
            form = await _share_form(request, principal, strategy_id, username=username, number=number, errors=errors)
            return fragment(request, principal, _SHARE, form, status=422)
    state.strategies.delivery.wake()
    return await _list(request, principal, words=_SHARED)


def _checked_username(username: str) -> str:
    clean = username.strip()
    if not 2 <= len(clean) <= 60 or not clean.isprintable():
        raise InvalidInput(N_("type the name by which they log in"), field="username")
    return clean


@router.get("/strategies/{strategy_id}/delete")
async def ask_delete(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """The question before a strategy is deleted."""
    async with request.app.state.database.transaction() as session:
        strategy = await service.get_strategy(session, principal.user_id, strategy_id)
        newest = (await list_versions(session, principal.user_id, strategy_id, limit=1))[0]
    return fragment(request, principal, _DELETE, StrategyQuestion(id=str(strategy.id), name=strategy.name, versions=newest.number))


@router.post("/strategies/{strategy_id}/delete")
async def delete(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """Delete a strategy of which nothing was ever used."""
    async with request.app.state.database.transaction() as session:
        await service.delete_strategy(session, principal.user_id, strategy_id)
    return await _list(request, principal, words=N_("The strategy is deleted."))
