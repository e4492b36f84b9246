"""The list of backtests, the form of a new one, and up to four runs side by side. One backtest has a page of its own."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.backtests import service
from app.backtests.making import Backtests
from app.backtests.service import Listed
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.errors import AppError, BacktestNotFound
from app.ui.backtest_form import Asked, FormMaker, TypedBacktest, refused
from app.ui.backtests import MOST_COMPARED, backtest_list, compared_groups, compared_runs
from app.ui.strategy_parameters import typed_parameters
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views.backtests import BacktestForm, BacktestFormView, BacktestsView, CompareView

router = APIRouter(include_in_schema=False)

_LIST: Final = "fragments/backtests/_list.html"
_ROWS: Final = "fragments/backtests/_rows.html"
_FORM: Final = "fragments/backtests/_form.html"
_SYMBOLS: Final = "fragments/backtests/_symbols.html"

Text = Annotated[str, Query(max_length=64)]
Number = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Numbers = Annotated[list[int] | None, Query(alias="run", max_length=20)]
Typed = Annotated[TypedBacktest, Form()]


def backtests_of(request: Request) -> Backtests:
    """Return the backtests of this application."""
    found: Backtests = request.app.state.backtests
    return found


def _maker(request: Request, principal: Principal) -> FormMaker:
    return FormMaker(request.app, database_of(request), principal.user_id)


@router.get("/backtests")
async def show_backtests(request: Request, principal: CurrentUser, strategy: Text = "", symbol: Text = "", state: Text = "") -> Response:
    """All backtests, the newest first."""
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            found = await backtest_list(session, principal.user_id, strategy=strategy, symbol=symbol, state=state)
        view = BacktestsView(shell=await shell_of(request, principal, page="backtests", topics=("backtests",)), backtests=found)
    return page(request, "pages/backtests/index.html", view)


@router.get("/backtests/list")
async def show_list(
    request: Request, principal: CurrentUser, strategy: Text = "", symbol: Text = "", state: Text = "", before: Number = None
) -> Response:
    """The list anew, or the rows behind a number."""
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            found = await backtest_list(session, principal.user_id, strategy=strategy, symbol=symbol, state=state, before=before)
        return fragment(request, principal, _LIST if before is None else _ROWS, found)


# ---- a new one


@router.get("/backtests/new")
async def show_form(request: Request, principal: CurrentUser, strategy: Text = "", version: Text = "", copy: Number = None) -> Response:
    """The form: empty, of a strategy, or filled with what a backtest was made of."""
    with use_language(reader_of(request, principal).language):
        form = await _form(request, principal, strategy=strategy, version=version, copied=copy)
        view = BacktestFormView(shell=await shell_of(request, principal, page="backtests"), form=form)
    return page(request, "pages/backtests/new.html", view)


async def _form(request: Request, principal: Principal, *, strategy: str, version: str, copied: int | None) -> BacktestForm:
    maker = _maker(request, principal)
    if copied is None:
        return await maker.fresh(strategy=strategy, version=version)
    async with database_of(request).transaction() as session:
        backtest = await service.backtest_numbered(session, principal.user_id, copied)
        number = await service.version_number(session, principal.user_id, backtest)
    return await maker.copy(backtest, number)


@router.post("/backtests/form")
async def change_form(request: Request, principal: CurrentUser, typed: Typed, changed: Text = "") -> Response:
    """The form after something was chosen that decides what else can be."""
    maker, fields = _maker(request, principal), typed.fields()
    parameters = typed_parameters(await request.form())
    if changed == "strategy":
        fields, parameters = replace(fields, version=""), {}
    with use_language(reader_of(request, principal).language):
        if changed == "account":
            fields = await maker.with_fees(fields)
        form = await maker.form(Asked(fields=fields, typed=parameters, copied=typed.copied))
        return fragment(request, principal, _FORM, form)


@router.post("/backtests/symbols")
async def find_symbols(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Symbols that fit what was typed."""
    return fragment(request, principal, _SYMBOLS, await _maker(request, principal).symbols(typed.fields()))


@router.post("/backtests")
async def add_backtest(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Make a backtest, and go to its page."""
    maker, parameters = _maker(request, principal), typed_parameters(await request.form())
    with use_language(reader_of(request, principal).language):
        wish, asked = await maker.read(typed.fields(), parameters)
        asked = replace(asked, copied=typed.copied)
        if wish is not None:
            try:
                made = await backtests_of(request).create(database_of(request), principal.user_id, wish)
            except AppError as error:
                asked = refused(asked, error)
            else:
                return see_other(request, f"/backtests/{made.number}")
        return fragment(request, principal, _FORM, await maker.form(asked), status=422)


# ---- side by side


@router.get("/backtests/compare")
async def compare(request: Request, principal: CurrentUser, run: Numbers = None) -> Response:
    """Up to four runs side by side; one that is gone or has no result is left out, which is said."""
    wanted = list(dict.fromkeys(run or []))[:MOST_COMPARED]
    found = [one for number in wanted if (one := await _with_report(request, principal, number)) is not None]
    with use_language(reader_of(request, principal).language):
        view = CompareView(
            shell=await shell_of(request, principal, page="backtests"),
            runs=compared_runs(found),
            columns=(*(f"#{one.backtest.number}" for one in found), gettext("Held")),
            groups=compared_groups(found) if found else (),
            quote=found[0].backtest.symbol.partition("/")[2] if found else "",
            missing=len(wanted) - len(found),
        )
    return page(request, "pages/backtests/compare.html", view)


async def _with_report(request: Request, principal: Principal, number: int) -> Listed | None:
    async with database_of(request).transaction() as session:
        try:
            backtest = await service.backtest_numbered(session, principal.user_id, number)
        except BacktestNotFound:
            return None
        return await service.listed(session, principal.user_id, backtest.id) if backtest.report is not None else None
