"""Webhooks, the positions that their alerts opened, and the log of every attempt."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.brokers.service import list_brokers
from app.core.i18n import use_language
from app.ui.hook_forms import hook_form
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of
from app.ui.views import WebhooksView
from app.ui.webhooks import LogQuestion, log_form, log_page

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=200)]


def _asked(
    hook: Text = "",
    decision: Text = "",
    text: Text = "",
    symbol: Text = "",
    since: Text = "",
    until: Text = "",
    cursor: Text = "",
    held: Text = "",
) -> LogQuestion:
    return LogQuestion(hook=hook, decision=decision, text=text, symbol=symbol, since=since, until=until, cursor=cursor, held=held)


Asked = Annotated[LogQuestion, Depends(_asked)]


@router.get("/webhooks")
async def show_webhooks(request: Request, principal: CurrentUser, asked: Asked) -> Response:
    """All webhooks, and a page of the log."""
    regions = regions_of(request, principal)
    reader = reader_of(request, principal)
    with use_language(reader.language):
        hooks = await regions.hooks()
        async with request.app.state.database.transaction() as session:
            accounts = await list_brokers(session, principal.user_id)
        view = WebhooksView(
            shell=await shell_of(request, principal, page="webhooks", topics=("log", "hooks", "hook-positions")),
            form=hook_form(accounts),
            hooks=hooks,
            positions=await regions.hook_positions(),
            filter=log_form(hooks, asked, reader),
            deliveries=await log_page(request.app, principal.user_id, asked, reader=reader, is_admin=principal.is_admin),
        )
    return page(request, "pages/webhooks/webhooks.html", view)


@router.get("/webhooks/log")
async def show_log(request: Request, principal: CurrentUser, asked: Asked) -> Response:
    """Another page of the log, or the same anew."""
    reader = reader_of(request, principal)
    with use_language(reader.language):
        found = await log_page(request.app, principal.user_id, asked, reader=reader, is_admin=principal.is_admin)
    answer = fragment(request, principal, "fragments/webhooks/_log.html", found)
    here = asked.address("/webhooks", held="")
    # The address bar follows the filter; told what it says already, a browser would complain of being told too often.
    if not request.headers.get("hx-current-url", "").endswith(here):
        answer.headers["HX-Replace-Url"] = here
    return answer
