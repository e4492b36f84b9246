"""Searches for better parameters: the list, the form of a new one, the page of one, and what is made of its trials."""

from dataclasses import replace
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Form, Path, Query, Request
from sqlalchemy import select
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.backtests.search import service
from app.backtests.search.making import Searches
from app.backtests.search.models import Search
from app.backtests.search.service import ListedSearch
from app.backtests.service import backtest_numbered, version_number
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.errors import AppError, SearchNotFound
from app.sandbox.messages import Described, Value
from app.strategies.service import get_strategy
from app.strategies.versions import version_by_id
from app.ui.backtest_form import Asked
from app.ui.search_form import AskedSearch, SearchFormMaker, TypedSearch, refused_search, typed_axes
from app.ui.searches import search_head, search_list, search_live
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views.searches import SearchesView, SearchForm, SearchFormView, SearchLive, SearchQuestion, SearchView

router = APIRouter(include_in_schema=False)

_ROWS: Final = "fragments/searches/_rows.html"
_FORM: Final = "fragments/searches/_form.html"
_LIVE: Final = "fragments/searches/_live.html"
_DELETE: Final = "fragments/searches/_delete.html"

Text = Annotated[str, Query(max_length=64)]
Before = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Typed = Annotated[TypedSearch, Form()]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Sort = Literal["best", "last"]


def searches_of(request: Request) -> Searches:
    """Return the searches of this application."""
    found: Searches = request.app.state.searches
    return found


def _maker(request: Request, principal: Principal) -> SearchFormMaker:
    return SearchFormMaker(request.app, database_of(request), principal.user_id)


@router.get("/backtests/searches")
async def show_searches(request: Request, principal: CurrentUser) -> Response:
    """All searches, the newest first."""
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            found = await search_list(session, principal.user_id)
        view = SearchesView(shell=await shell_of(request, principal, page="backtests"), searches=found)
    return page(request, "pages/searches/index.html", view)


@router.get("/backtests/searches/list")
async def show_rows(request: Request, principal: CurrentUser, before: Before = None) -> Response:
    """The rows behind a number."""
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            return fragment(request, principal, _ROWS, await search_list(session, principal.user_id, before=before))


# ---- a new one


@router.get("/backtests/searches/new")
async def show_form(request: Request, principal: CurrentUser, strategy: Text = "", version: Text = "", backtest: Before = None) -> Response:
    """The form: empty, of a strategy, or filled with what a backtest was made of."""
    maker = _maker(request, principal)
    with use_language(reader_of(request, principal).language):
        if backtest is None:
            form: SearchForm = await maker.fresh(strategy=strategy, version=version)
        else:
            async with database_of(request).transaction() as session:
                found = await backtest_numbered(session, principal.user_id, backtest)
                number = await version_number(session, principal.user_id, found)
            form = await maker.of_backtest(found, number)
        view = SearchFormView(shell=await shell_of(request, principal, page="backtests"), form=form)
    return page(request, "pages/searches/new.html", view)


@router.post("/backtests/searches/form")
async def change_form(request: Request, principal: CurrentUser, typed: Typed, changed: Text = "") -> Response:
    """The form after something was chosen that decides what else can be."""
    maker, fields = _maker(request, principal), typed.fields()
    axes = {} if changed in ("strategy", "version") else typed_axes(await request.form())
    if changed == "strategy":
        fields = replace(fields, version="")
    with use_language(reader_of(request, principal).language):
        if changed == "account":
            fields = await maker.maker.with_fees(fields)
        form = await maker.form(AskedSearch(base=Asked(fields=fields), fields=typed.search_fields(), axes=axes))
        return fragment(request, principal, _FORM, form)


@router.post("/backtests/searches")
async def add_search(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Make a search, and go to its page."""
    maker = _maker(request, principal)
    asked = AskedSearch(base=Asked(fields=typed.fields()), fields=typed.search_fields(), axes=typed_axes(await request.form()))
    with use_language(reader_of(request, principal).language):
        wish, asked = await maker.read(typed.fields(), asked)
        if wish is not None:
            try:
                made = await searches_of(request).create(database_of(request), principal.user_id, wish)
            except AppError as error:
                asked = refused_search(asked, error)
            else:
                return see_other(request, f"/backtests/searches/{made.number}")
        return fragment(request, principal, _FORM, await maker.form(asked), status=422)


# ---- one search


async def _found(request: Request, principal: Principal, number: int) -> ListedSearch:
    """Return a search by its number.

    Raises:
        SearchNotFound: no such search of this user.
    """
    async with database_of(request).transaction() as session:
        query = select(Search.id).where(Search.user_id == principal.user_id, Search.number == number)
        search_id: UUID | None = await session.scalar(query)
        if search_id is None:
            raise SearchNotFound
        return await service.listed_search(session, principal.user_id, search_id)


@router.get("/backtests/searches/{number}")
async def show_search(
    request: Request, principal: CurrentUser, number: Number, x: Text = "", y: Text = "", sort: Sort = "best"
) -> Response:
    """One search: what it was made of, how far it is, and its trials."""
    found = await _found(request, principal, number)
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            has_draft = (await get_strategy(session, principal.user_id, found.search.strategy_id)).draft is not None
        view = SearchView(
            shell=await shell_of(request, principal, page="backtests"),
            head=search_head(found, has_draft=has_draft),
            live=await _live(request, principal, found, x=x, y=y, sort=sort),
        )
    return page(request, "pages/searches/search.html", view)


async def _live(
    request: Request, principal: Principal, found: ListedSearch, *, x: str = "", y: str = "", sort: Sort = "best"
) -> SearchLive:
    async with database_of(request).transaction() as session:
        version = await version_by_id(session, principal.user_id, found.search.version_id)
        described = None if version.described is None else msgspec.convert(version.described, Described)
        defaults: dict[str, Value] = {one.name: one.default for one in described.parameters} if described else {}
        return await search_live(
            session, principal.user_id, found.search, defaults=defaults | found.search.parameters, is_best_first=sort == "best", x=x, y=y
        )


@router.get("/backtests/searches/{number}/live")
async def show_live(request: Request, principal: CurrentUser, number: Number, x: Text = "", y: Text = "", sort: Sort = "best") -> Response:
    """What changes while it goes on."""
    found = await _found(request, principal, number)
    with use_language(reader_of(request, principal).language):
        return fragment(request, principal, _LIVE, await _live(request, principal, found, x=x, y=y, sort=sort))


@router.post("/backtests/searches/{number}/stop")
async def stop(request: Request, principal: CurrentUser, number: Number) -> Response:
    """Stop it; its trials are kept."""
    found = await _found(request, principal, number)
    await searches_of(request).stop(database_of(request), principal.user_id, found.search.id)
    return await show_live(request, principal, number)


@router.post("/backtests/searches/{number}/continue")
async def resume(request: Request, principal: CurrentUser, number: Number) -> Response:
    """Let it go on."""
    found = await _found(request, principal, number)
    await searches_of(request).resume(database_of(request), principal.user_id, found.search.id)
    return see_other(request, f"/backtests/searches/{number}")


@router.get("/backtests/searches/{number}/delete")
async def ask_delete(request: Request, principal: CurrentUser, number: Number) -> Response:
    """The question before it is deleted."""
    found = await _found(request, principal, number)
    return fragment(request, principal, _DELETE, SearchQuestion(number=number, strategy=found.strategy_name))


@router.post("/backtests/searches/{number}/delete")
async def delete(request: Request, principal: CurrentUser, number: Number) -> Response:
    """Delete it with its trials, and go to the list."""
    found = await _found(request, principal, number)
    await searches_of(request).delete(database_of(request), principal.user_id, found.search.id)
    return see_other(request, "/backtests/searches")


@router.post("/backtests/searches/{number}/trials/{place}/version")
async def promote_to_version(request: Request, principal: CurrentUser, number: Number, place: Number) -> Response:
    """Make a version of a trial; what came of it is said, and the page stays."""
    found = await _found(request, principal, number)
    _, saved = await searches_of(request).to_version(database_of(request), principal.user_id, found.search.id, place)
    with use_language(reader_of(request, principal).language):
        words = gettext("Version %(version)s has the values of trial %(trial)s.") % {"version": saved.version.number, "trial": place}
        return fragment(request, principal, _LIVE, await _live(request, principal, found), toast=("success", words))


@router.post("/backtests/searches/{number}/trials/{place}/backtest")
async def promote_to_backtest(request: Request, principal: CurrentUser, number: Number, place: Number) -> Response:
    """Backtest a trial over the whole range, and go there."""
    found = await _found(request, principal, number)
    made = await searches_of(request).to_backtest(database_of(request), principal.user_id, found.search.id, place)
    return see_other(request, f"/backtests/{made.number}")
