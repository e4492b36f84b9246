"""The monitor of all bots, and the form of a new one. One bot has a page of its own."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.backtests import service as backtests
from app.bots.making import Bots
from app.bots.service import listed
from app.core.http import database_of
from app.core.i18n import use_language
from app.errors import AppError
from app.ui.bot_cards import Monitor, Shown, state_choices
from app.ui.bot_form import AskedBot, BotFormMaker, TypedBot, refused
from app.ui.bot_stream import MONITOR
from app.ui.bot_trips import trips_of_all
from app.ui.moments import moment_of
from app.ui.strategy_parameters import typed_parameters
from app.ui.surroundings import fragment, page, reader_of, regions_of, see_other, shell_of
from app.ui.views.bot_form import BotForm, BotFormView
from app.ui.views.bots import BotsView

router = APIRouter(include_in_schema=False)

_FORM: Final = "fragments/bots/_form.html"
_SYMBOLS: Final = "fragments/bots/_symbols.html"

Text = Annotated[str, Query(max_length=64)]
Number = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Typed = Annotated[TypedBot, Form()]


@router.get("/bots")
async def show_bots(
    request: Request,
    principal: CurrentUser,
    show: Text = "",
    q: Text = "",
    log: Text = "",
    before: Text = "",
    kiosk: bool = False,  # noqa: FBT001  # a part of the address
) -> Response:
    """All bots with what they do and why, live."""
    older = moment_of(before, reader_of(request, principal)) if before else None
    shown = Shown.of(show=show, search=q, log=log, before=older)
    monitor = Monitor(regions=regions_of(request, principal), shown=shown)
    # Older lines stand still: whoever reads them is not interrupted.
    topic = f"{MONITOR}:{shown.show}:{'-' if older is not None else shown.log}:{shown.search}"
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            trips = await trips_of_all(session, principal.user_id)
        view = BotsView(
            shell=await shell_of(request, principal, page="bots", topics=(topic,)),
            totals=await monitor.totals(),
            cards=await monitor.cards(),
            log=await monitor.log(),
            states=state_choices(),
            is_kiosk=kiosk,
            trips=trips,
        )
    return page(request, "pages/bots/index.html", view)


# ---- a new one


@router.get("/bots/new")
async def show_form(
    request: Request, principal: CurrentUser, strategy: Text = "", version: Text = "", backtest: Number = None, clone: Number = None
) -> Response:
    """The form: empty, of a strategy, or filled with what a backtest or another bot was made of."""
    with use_language(reader_of(request, principal).language):
        form = await _form(request, principal, strategy=strategy, version=version, backtest=backtest, clone=clone)
        view = BotFormView(shell=await shell_of(request, principal, page="bots"), form=form)
    return page(request, "pages/bots/new.html", view)


async def _form(request: Request, principal: Principal, *, strategy: str, version: str, backtest: int | None, clone: int | None) -> BotForm:
    maker = BotFormMaker(regions_of(request, principal))
    if backtest is not None:
        async with database_of(request).transaction() as session:
            found = await backtests.backtest_numbered(session, principal.user_id, backtest)
            number = await backtests.version_number(session, principal.user_id, found)
        return await maker.promoted(found, number)
    if clone is not None:
        async with database_of(request).transaction() as session:
            one = await listed(session, principal.user_id, clone)
        return await maker.cloned(one.bot, one.version)
    return await maker.fresh(strategy=strategy, version=version)


@router.post("/bots/form")
async def change_form(request: Request, principal: CurrentUser, typed: Typed, changed: Text = "") -> Response:
    """The form after something was chosen that decides what else can be."""
    maker, fields = BotFormMaker(regions_of(request, principal)), typed.fields()
    parameters = typed_parameters(await request.form())
    if changed == "strategy":
        fields, parameters = replace(fields, version=""), {}
    asked = AskedBot(fields=fields, key=typed.key[:40], typed=parameters, safeguards=typed.safeguard_fields(), backtest=typed.backtest)
    with use_language(reader_of(request, principal).language):
        return fragment(request, principal, _FORM, await maker.form(asked))


@router.post("/bots/symbols")
async def find_symbols(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Symbols that fit what was typed."""
    maker = BotFormMaker(regions_of(request, principal))
    return fragment(request, principal, _SYMBOLS, await maker.symbols(typed.fields()))


@router.post("/bots")
async def add_bot(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Make a bot, and go to its page. The same form sent twice makes one."""
    bots: Bots = request.app.state.bots
    maker, parameters = BotFormMaker(regions_of(request, principal)), typed_parameters(await request.form())
    with use_language(reader_of(request, principal).language):
        wish, asked = await maker.read(typed, parameters)
        if wish is not None:
            try:
                if typed.backtest:
                    async with database_of(request).transaction() as session:
                        found = await backtests.backtest_numbered(session, principal.user_id, typed.backtest)
                    wish = replace(wish, backtest_id=found.id)
                made = await bots.create(database_of(request), principal.user_id, wish)
            except AppError as error:
                asked = refused(asked, error)
            else:
                return see_other(request, f"/bots/{made.number}")
        return fragment(request, principal, _FORM, await maker.form(asked), status=422)
