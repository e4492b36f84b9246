"""One attempt on a page of its own, and its repetition on paper."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.i18n import use_language
from app.errors import OrderDenied
from app.ui.deliveries import delivery_detail
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views import DeliveryView
from app.webhooks.replay import replay_on_paper

router = APIRouter(include_in_schema=False)

_DETAIL: Final = "fragments/webhooks/_delivery.html"


@router.get("/webhooks/deliveries/{delivery_id}")
async def show_delivery(request: Request, principal: CurrentUser, delivery_id: UUID) -> Response:
    """The page, or for htmx its changing part."""
    with use_language(reader_of(request, principal).language):
        found = await delivery_detail(request.app, principal.user_id, delivery_id, is_admin=principal.is_admin)
    if request.headers.get("hx-request") == "true":
        return fragment(request, principal, _DETAIL, found)
    shell = await shell_of(request, principal, page="webhooks", topics=("delivery",))
    return page(request, "pages/webhooks/delivery.html", DeliveryView(shell=shell, delivery=found))


@router.post("/webhooks/deliveries/{delivery_id}/replay")
async def replay(request: Request, principal: CurrentUser, delivery_id: UUID) -> Response:
    """Repeat the attempt on a paper account and show the copy; why it cannot be is said in place."""
    state = request.app.state
    state.door.trials.replay(principal.user_id)
    try:
        made = await replay_on_paper(state.desk, principal.user_id, delivery_id)
    except OrderDenied as error:
        with use_language(reader_of(request, principal).language):
            found = await delivery_detail(
                request.app, principal.user_id, delivery_id, is_admin=principal.is_admin, replay_error=error.message
            )
        return fragment(request, principal, _DETAIL, found, status=422, toast=("error", error.message), close_dialog="replay-dialog")
    return see_other(request, f"/webhooks/deliveries/{made}")
