"""The kill switch and its banner, which are on every page."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.i18n import gettext, pgettext, use_language
from app.domain.risk import KillAction, Scope, ScopeKind
from app.errors import AppError
from app.trading import kill_switch
from app.trading.kill_router import scope_of
from app.ui.surroundings import fragment, reader_of, regions_of

router = APIRouter(include_in_schema=False)

_STATE = "fragments/shell/_trading_state.html"
_DIALOG = "kill-dialog"


@router.post("/trading/kill")
async def pull(
    request: Request,
    principal: CurrentUser,
    action: Annotated[KillAction, Form()],
    where: Annotated[str, Form()] = ScopeKind.USER.value,
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Stop trading there. What closes positions must be typed out, so that no slip of the mouse does it."""
    desk = request.app.state.desk
    kind, _, key = where.partition(":")
    with use_language(reader_of(request, principal).language):
        if action is KillAction.FLATTEN and typed.strip() != pgettext("kill switch", "CLOSE"):
            return await _refused(request, principal, gettext("Nothing was closed: the word was not typed."))
        try:
            scope = await scope_of(desk, principal, ScopeKind(kind), key)
            await kill_switch.pull(desk, principal.user_id, scope, action=action, by=principal.username)
        except (AppError, ValueError) as error:
            return await _refused(request, principal, error.message if isinstance(error, AppError) else gettext("Nothing was stopped."))
        words = {
            KillAction.STOP: gettext("Trading is stopped."),
            KillAction.CANCEL: gettext("Trading is stopped; open orders are being canceled."),
            KillAction.FLATTEN: gettext("Trading is stopped; positions are being closed."),
        }[action]
        region = await regions_of(request, principal).trading()
    return fragment(request, principal, _STATE, region, toast=("warning", words), close_dialog=_DIALOG)


@router.post("/trading/kill-bots")
async def stop_bots(request: Request, principal: CurrentUser, flatten: Annotated[bool, Form()] = False) -> Response:  # a switch of the form
    """Stop all bots of whoever asks and cancel their orders; with `flatten` sell what they hold, too. Nothing else is touched."""
    desk, action = request.app.state.desk, KillAction.FLATTEN if flatten else KillAction.CANCEL
    with use_language(reader_of(request, principal).language):
        await kill_switch.pull(desk, principal.user_id, Scope.bots(principal.user_id), action=action, by=principal.username)
        words = (
            gettext("All bots are stopped; what they hold is being sold.")
            if flatten
            else gettext("All bots are stopped; their orders are being canceled.")
        )
        region = await regions_of(request, principal).trading()
    return fragment(request, principal, _STATE, region, toast=("warning", words), close_dialog=_DIALOG)


@router.post("/trading/resume")
async def resume(
    request: Request, principal: CurrentUser, scope: Annotated[ScopeKind, Form()], key: Annotated[str, Form()] = ""
) -> Response:
    """Resume trading in one scope."""
    desk = request.app.state.desk
    with use_language(reader_of(request, principal).language):
        try:
            await kill_switch.rearm(desk, await scope_of(desk, principal, scope, key), by=principal.username, user_id=principal.user_id)
        except AppError as error:
            return await _refused(request, principal, error.message)
        region = await regions_of(request, principal).trading()
        words = gettext("Trading goes on.") if not region.restraints else gettext("Resumed; something else still restrains trading.")
    return fragment(request, principal, _STATE, region, toast=("success" if not region.restraints else "info", words))


async def _refused(request: Request, principal: CurrentUser, words: str) -> Response:
    region = await regions_of(request, principal).trading()
    return fragment(request, principal, _STATE, region, status=422, toast=("error", words))
