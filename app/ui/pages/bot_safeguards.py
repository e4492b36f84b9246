"""The safeguards that all bots of a user keep together: set on a page of their own, and armed again there."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.bots import lifecycle
from app.bots.safeguard_service import get_safeguards, set_safeguards
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.trading.desk import Desk
from app.ui.bot_trips import trips_of_all
from app.ui.safeguard_form import TypedSafeguards, fields_of, read_fields, safeguard_form
from app.ui.surroundings import fragment, page, reader_of, shell_of
from app.ui.views.bot_safeguards import UserSafeguardsView

router = APIRouter(include_in_schema=False)

_FORM: Final = "fragments/bots/_user_safeguards.html"
_TRIPS: Final = "fragments/bots/_user_trips.html"

Typed = Annotated[TypedSafeguards, Form()]


@router.get("/bots/safeguards")
async def show_safeguards(request: Request, principal: CurrentUser) -> Response:
    """What is set, and what has tripped."""
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            safeguards = await get_safeguards(session, principal.user_id)
            trips = await trips_of_all(session, principal.user_id)
        view = UserSafeguardsView(
            shell=await shell_of(request, principal, page="bots"), form=safeguard_form("user", fields_of(safeguards)), trips=trips
        )
    return page(request, "pages/bots/safeguards.html", view)


@router.post("/bots/safeguards")
async def save_safeguards(request: Request, principal: CurrentUser, typed: Typed) -> Response:
    """Set them, or say at its field what cannot be read."""
    fields = typed.safeguard_fields()
    safeguards, errors = read_fields(fields, "user")
    with use_language(reader_of(request, principal).language):
        if safeguards is None:
            return fragment(request, principal, _FORM, safeguard_form("user", fields, errors=errors), status=422)
        async with database_of(request).transaction() as session:
            kept = await set_safeguards(session, principal.user_id, safeguards)
        saved = gettext("The safeguards of all bots are saved.")
        return fragment(request, principal, _FORM, safeguard_form("user", fields_of(kept)), toast=("success", saved))


@router.post("/bots/trips/{trip_id}/rearm")
async def rearm(request: Request, principal: CurrentUser, trip_id: UUID) -> Response:
    """Arm a safeguard of all bots again; they are started by hand."""
    desk: Desk = request.app.state.desk
    with use_language(reader_of(request, principal).language):
        await lifecycle.rearm(desk, principal.user_id, trip_id, by=principal.username)
        async with database_of(request).transaction() as session:
            trips = await trips_of_all(session, principal.user_id)
        done = gettext("The safeguard is armed again. Start your bots when you are ready.")
        return fragment(request, principal, _TRIPS, trips, toast=("success", done))
