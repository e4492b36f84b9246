"""Webhooks and the log of every attempt."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser, FreshUser
from app.accounts.principal import Principal
from app.brokers.service import list_brokers
from app.core.i18n import gettext, use_language
from app.errors import AppError, InvalidInput
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of, templating_of
from app.ui.views import Choice, HookCreated, HookForm, WebhooksView
from app.webhooks.router import address
from app.webhooks.service import create_webhook

router = APIRouter(include_in_schema=False)

_LOG_ROWS = 100


async def _form(
    request: Request, principal: Principal, *, name: str = "", broker_id: str = "", errors: dict[str, str] | None = None
) -> HookForm:
    async with request.app.state.database.transaction() as session:
        accounts = await list_brokers(session, principal.user_id)
    return HookForm(
        brokers=tuple(Choice(value=str(account.id), label=account.name) for account in accounts),
        name=name,
        broker_id=broker_id,
        errors=errors or {},
    )


@router.get("/webhooks")
async def show_webhooks(request: Request, principal: CurrentUser) -> Response:
    """All webhooks, and every attempt."""
    regions = regions_of(request, principal)
    with use_language(reader_of(request, principal).language):
        view = WebhooksView(
            shell=await shell_of(request, principal, page="webhooks", topics=("log", "hooks")),
            form=await _form(request, principal),
            hooks=await regions.hooks(),
            deliveries=await regions.deliveries(limit=_LOG_ROWS, with_strangers=principal.is_admin),
        )
    return page(request, "pages/webhooks/webhooks.html", view)


@router.post("/webhooks")
async def add_webhook(
    request: Request, principal: FreshUser, name: Annotated[str, Form()] = "", broker_id: Annotated[str, Form()] = ""
) -> Response:
    """Make a webhook and show its address, this once."""
    state = request.app.state
    reader = reader_of(request, principal)
    with use_language(reader.language):
        try:
            if not name.strip():
                raise InvalidInput(gettext("This field is needed."), field="name")
            async with state.database.transaction() as session:
                created = await create_webhook(
                    session, principal.user_id, name=name.strip()[:60], broker_id=_broker(broker_id), now=state.clock.now()
                )
        except AppError as error:
            form = await _form(request, principal, name=name, broker_id=broker_id, errors={error.field or "": error.message})
            return fragment(request, principal, "fragments/webhooks/_hook_form.html", form, status=422)
        url = address(request, created.secret)
        symbol = state.heartbeat.symbols[0].replace("/", "")
        alert = json.dumps({"ticker": symbol, "action": "buy", "quantity": "0.01"})
        shown = HookCreated(name=created.webhook.name, url=url, curl=f"curl -X POST {url} -H 'Content-Type: application/json' -d '{alert}'")
        hooks = await regions_of(request, principal).hooks()
        partial = templating_of(request).partial("fragments/webhooks/_hooks.html", hooks, target="hooks", reader=reader, swap="outerHTML")
    return fragment(request, principal, "fragments/webhooks/_hook_created.html", shown, partials=partial)


def _broker(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise InvalidInput(gettext("Choose one of your broker accounts."), field="broker_id") from error
