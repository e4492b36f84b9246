"""The page of one bot, and what is done with a bot: on its page and on the monitor."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Form, Path, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.bots import lifecycle, service
from app.bots.events import BotChanged
from app.bots.making import Bots
from app.bots.models import LONGEST_NAME, Bot
from app.core.http import database_of
from app.core.i18n import N_, gettext, use_language
from app.errors import AppError, BotNotFound, Conflict, InvalidInput
from app.trading.desk import Desk
from app.ui.bot_cards import LOGS, Monitor
from app.ui.bot_page import SIGNALS, BotRegions, OneShown
from app.ui.bot_stream import ONE
from app.ui.moments import moment_of
from app.ui.strategies import on_one_line
from app.ui.surroundings import fragment, page, reader_of, regions_of, see_other, shell_of
from app.ui.views import Reader
from app.ui.views.bot import BotQuestion, BotView

router = APIRouter(include_in_schema=False)

_CARD: Final = "fragments/bots/_card.html"
_LIVE: Final = "fragments/bots/_live.html"
_QUESTION: Final = "fragments/bots/_question.html"
_DIALOG: Final = "bot-dialog"
_TABS: Final = ("signals", "trades", "log", "shadow")
_SOLD_MEANWHILE: Final = N_("That position is gone: the bot sold it meanwhile.")
#: What stands when it is done.
_DONE: Final = {
    "start": N_("The bot is started."),
    "suspend": N_("The bot is suspended: it enters nothing more."),
    "stop": N_("The bot is stopped."),
    "sell": N_("Its position is being sold."),
}

#: A number, #7, or the id.
Name = Annotated[str, Path(max_length=40)]
#: Where a button stands that was pressed, which decides what its answer replaces.
Place = Literal["bots", "bot"]
Text = Annotated[str, Query(max_length=64)]
Act = Callable[[Desk, UUID, UUID], Awaitable[object]]


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def bot_named(request: Request, principal: Principal, name: str) -> Bot:
    """Return a bot by its number or its id.

    Raises:
        BotNotFound: no such bot of this user.
    """
    which: UUID | int | None = _uuid(name)
    if name.isdecimal() and name.isascii() and 1 <= int(name) < 2**31:
        which = int(name)
    if which is None:
        raise BotNotFound
    async with database_of(request).transaction() as session:
        return await service.get_bot(session, principal.user_id, which)


def regions_of_bot(request: Request, principal: Principal, bot: Bot, shown: OneShown | None = None) -> BotRegions:
    """Return the builder of a bot's regions."""
    return BotRegions(monitor=Monitor(regions=regions_of(request, principal)), bot_id=bot.id, shown=shown or OneShown())


@router.get("/bots/{bot_id}")
async def show_bot(
    request: Request,
    principal: CurrentUser,
    bot_id: Name,
    tab: Text = "signals",
    signals: Text = "all",
    log: Text = "all",
    before: Text = "",
) -> Response:
    """Everything about one bot. `before` is where an older page of the tab's list begins."""
    bot = await bot_named(request, principal, bot_id)
    tab = tab if tab in _TABS else "signals"
    shown = _shown(tab, reader_of(request, principal), signals=signals, log=log, before=before)
    regions = regions_of_bot(request, principal, bot, shown)
    with use_language(reader_of(request, principal).language):
        live = await regions.live()
        view = BotView(
            shell=await shell_of(request, principal, page="bots", topics=(f"{ONE}:{bot.id}:{shown.topic}",)),
            live=live,
            settings=await regions.settings(live.card),
            signals=await regions.signals(),
            trades=await regions.trades(),
            log=await regions.log(),
            shadow=await regions.shadow(),
            tab=tab,
        )
    return page(request, "pages/bots/bot.html", view)


def _shown(tab: str, reader: Reader, *, signals: str, log: str, before: str) -> OneShown:
    """Return what the lists show; a `before` that cannot be one asks for the newest."""
    moment: datetime | None = moment_of(before, reader) if before else None
    return OneShown(
        signals=signals if signals in SIGNALS else "all",
        log=log if log in LOGS else "all",
        signals_before=moment if tab == "signals" else None,
        trades_before=_uuid(before) if tab == "trades" else None,
        log_before=moment if tab == "log" else None,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


@router.get("/bots/{bot_id}/equity")
async def show_equity(request: Request, principal: CurrentUser, bot_id: Name) -> Response:
    """The points of its curve."""
    bot = await bot_named(request, principal, bot_id)
    return _json({"points": await regions_of_bot(request, principal, bot).points()})


# ---- what is done with it


@router.get("/bots/{bot_id}/{action}")
async def ask(
    request: Request,
    principal: CurrentUser,
    bot_id: Name,
    action: Literal["start", "stop", "sell", "delete", "rename"],
    place: Place = "bot",
) -> Response:
    """The question before something is done."""
    bot = await bot_named(request, principal, bot_id)
    with use_language(reader_of(request, principal).language):
        return await _question(request, principal, bot, action, place=place)


async def _question(
    request: Request, principal: Principal, bot: Bot, action: Any, *, place: Place, error: str = "", typed: str = "", status: int = 200
) -> Response:
    card = await regions_of_bot(request, principal, bot).card()
    position = card.position
    if action == "sell" and position is None:
        error = error or _SOLD_MEANWHILE
    question = BotQuestion(
        action=action,
        title=card.title,
        key="" if position is None else position.id,
        capital=card.capital,
        position=position,
        typed=typed,
        error=error,
        page=place,
    )
    return fragment(request, principal, _QUESTION, question, status=status)


@router.post("/bots/{bot_id}/start")
async def start(request: Request, principal: CurrentUser, bot_id: Name, place: Place = "bot") -> Response:
    """Let it trade."""
    return await _do(
        request,
        principal,
        bot_id,
        "start",
        lambda desk, user_id, which: lifecycle.start(desk, user_id, which, by=principal.username),
        place,
    )


@router.post("/bots/{bot_id}/suspend")
async def suspend(request: Request, principal: CurrentUser, bot_id: Name, place: Place = "bot") -> Response:
    """Let it enter nothing more; what it holds keeps its stop."""
    return await _do(
        request,
        principal,
        bot_id,
        "suspend",
        lambda desk, user_id, which: lifecycle.suspend(desk, user_id, which, by=principal.username),
        place,
    )


@router.post("/bots/{bot_id}/stop")
async def stop(
    request: Request,
    principal: CurrentUser,
    bot_id: Name,
    position: Annotated[Literal["keep", "sell"] | None, Form()] = None,
    place: Place = "bot",
) -> Response:
    """End it. While it holds something, the answer says what is to become of that."""

    async def end(desk: Desk, user_id: UUID, which: UUID) -> object:
        return await lifecycle.stop(desk, user_id, which, by=principal.username, position=position)

    return await _do(request, principal, bot_id, "stop", end, place, is_asked=True)


@router.post("/bots/{bot_id}/sell")
async def sell(
    request: Request, principal: CurrentUser, bot_id: Name, key: Annotated[str, Form(max_length=40)] = "", place: Place = "bot"
) -> Response:
    """Sell what it holds. The question names the position: sent again later, it does not sell the next one."""

    async def leave(desk: Desk, user_id: UUID, which: UUID) -> object:
        row = await BotRegions(monitor=Monitor(regions=regions_of(request, principal)), bot_id=which, shown=OneShown()).row()
        if row.held is None or str(row.held.position_id) != key:
            raise Conflict(_SOLD_MEANWHILE)
        return await lifecycle.close_position(desk, user_id, which, by=principal.username)

    return await _do(request, principal, bot_id, "sell", leave, place, is_asked=True)


async def _do(
    request: Request, principal: Principal, name: str, action: str, act: Act, place: Place, *, is_asked: bool = False
) -> Response:
    """Do it and answer with how the bot stands then; what does not go is said, in the dialog that asked or as a toast."""
    bot = await bot_named(request, principal, name)
    with use_language(reader_of(request, principal).language):
        try:
            await act(_desk(request), principal.user_id, bot.id)
        except Conflict as error:
            if is_asked:
                return await _question(request, principal, bot, action, place=place, error=error.message, status=error.status)
            return await _stands(request, principal, bot, place, toast=("error", error.message), status=error.status)
        return await _stands(request, principal, bot, place, toast=("success", gettext(_DONE[action])))


async def _stands(request: Request, principal: Principal, bot: Bot, place: Place, *, toast: tuple[Any, str], status: int = 200) -> Response:
    regions = regions_of_bot(request, principal, bot)
    template, region = (_CARD, await regions.card()) if place == "bots" else (_LIVE, await regions.live())
    return fragment(request, principal, template, region, status=status, toast=toast, close_dialog=_DIALOG if status == 200 else "")


@router.post("/bots/{bot_id}/signals/{signal_id}/approve")
async def approve(request: Request, principal: CurrentUser, bot_id: Name, signal_id: UUID) -> Response:
    """Let the orders of a decision be sent."""
    return await _answer(request, principal, bot_id, signal_id, is_approved=True)


@router.post("/bots/{bot_id}/signals/{signal_id}/reject")
async def reject(request: Request, principal: CurrentUser, bot_id: Name, signal_id: UUID) -> Response:
    """Let nothing come of a decision."""
    return await _answer(request, principal, bot_id, signal_id, is_approved=False)


async def _answer(request: Request, principal: Principal, name: str, signal_id: UUID, *, is_approved: bool) -> Response:
    bot = await bot_named(request, principal, name)
    answer = lifecycle.approve if is_approved else lifecycle.reject
    with use_language(reader_of(request, principal).language):
        try:
            await answer(_desk(request), principal.user_id, signal_id, by=principal.username)
        except Conflict as error:
            return await _stands(request, principal, bot, "bot", toast=("error", error.message), status=error.status)
        words = gettext("Approved: its order is being sent.") if is_approved else gettext("Rejected: nothing comes of it.")
        return await _stands(request, principal, bot, "bot", toast=("success", words))


@router.post("/bots/{bot_id}/trips/{trip_id}/rearm")
async def rearm(request: Request, principal: CurrentUser, bot_id: Name, trip_id: UUID) -> Response:
    """Arm a safeguard again; the bot is started by hand."""
    bot = await bot_named(request, principal, bot_id)
    with use_language(reader_of(request, principal).language):
        await lifecycle.rearm(_desk(request), principal.user_id, trip_id, by=principal.username)
        return await _stands(
            request, principal, bot, "bot", toast=("success", gettext("The safeguard is armed again. Start the bot when you are ready."))
        )


@router.post("/bots/{bot_id}/rename")
async def rename(request: Request, principal: CurrentUser, bot_id: Name, name: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Give it another name."""
    bot = await bot_named(request, principal, bot_id)
    bots: Bots = request.app.state.bots
    with use_language(reader_of(request, principal).language):
        try:
            clean = on_one_line(name)
            if not 1 <= len(clean) <= LONGEST_NAME:
                raise InvalidInput(N_(f"a name needs 1 to {LONGEST_NAME} signs"), field="name")
            await bots.change(database_of(request), principal.user_id, bot.id, {"name": clean})
        except AppError as error:
            return await _question(
                request, principal, bot, "rename", place="bot", error=error.message, typed=name[:LONGEST_NAME], status=422
            )
    return see_other(request, f"/bots/{bot.number}")


@router.post("/bots/{bot_id}/delete")
async def delete(request: Request, principal: CurrentUser, bot_id: Name) -> Response:
    """Delete it with its log, and go to the monitor; its orders and trades stay."""
    bot = await bot_named(request, principal, bot_id)
    with use_language(reader_of(request, principal).language):
        try:
            async with database_of(request).transaction() as session:
                await service.delete_bot(session, principal.user_id, bot.id)
        except Conflict as error:
            return await _question(request, principal, bot, "delete", place="bot", error=error.message, status=error.status)
    _desk(request).bus.publish(BotChanged(user_id=principal.user_id, bot_id=bot.id))
    return see_other(request, "/bots")


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"})
