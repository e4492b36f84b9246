"""What was done with a person's own account."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of
from app.core.i18n import use_language
from app.ui.account_log import action_of, log_region
from app.ui.surroundings import fragment, page, shell_of
from app.ui.views import OwnLogView

router = APIRouter(include_in_schema=False)


@router.get("/account/log")
async def show_own_log(
    request: Request,
    principal: CurrentUser,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    action: str = "",
) -> Response:
    """The page, or another part of the log for one that is open."""
    shell = await shell_of(request, principal, page="account")
    with use_language(shell.reader.language):
        log = await log_region(
            database_of(request), address="/account/log", user_id=principal.user_id, before=before, action=action_of(action)
        )
    if request.headers.get("hx-request") == "true":
        return fragment(request, principal, "fragments/admin/_log.html", log)
    return page(request, "pages/accounts/log.html", OwnLogView(shell=shell, log=log))
