"""What is done with a webhook: make one, change its settings, give it another address, pause it, try a message, remove it."""

import json
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser, FreshUser, fresh_user
from app.accounts.principal import Principal
from app.brokers.service import list_brokers
from app.core.i18n import gettext, use_language
from app.errors import AppError, BodyTooLarge, BrokerNotFound, NameTaken
from app.ui.hook_forms import FormErrors, HookSettings, TypedHook, hook_form, read_hook
from app.ui.message_builder import build
from app.ui.surroundings import fragment, reader_of, regions_of, templating_of
from app.ui.views import BuilderFields, HookCreated, HookForm, HookQuestion, HookTest, Tried
from app.ui.wishes import wishes_in
from app.webhooks import service
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision, Webhook
from app.webhooks.overview import what_is_left
from app.webhooks.queries import get_delivery
from app.webhooks.router import address
from app.webhooks.settings import HookChanges

router = APIRouter(include_in_schema=False)

LIST: Final = "fragments/webhooks/_hooks.html"
TRIED: Final = "fragments/webhooks/_tried.html"
_FORM: Final = "fragments/webhooks/_hook_form.html"
_SETTINGS: Final = "fragments/webhooks/_hook_settings.html"
_CREATED: Final = "fragments/webhooks/_hook_created.html"
_QUESTION: Final = "fragments/webhooks/_hook_question.html"
_TEST: Final = "fragments/webhooks/_hook_test.html"
_DIALOG: Final = "hook-card-dialog"
_LONGEST_MESSAGE: Final = 65_536

Typed = Annotated[TypedHook, Form()]
#: Where on a page a message is tried out.
Place = Literal["test", "built"]
Message = Annotated[str, Form(max_length=_LONGEST_MESSAGE)]


async def hook_of(request: Request, principal: Principal, webhook_id: UUID) -> Webhook:
    """Return one webhook of whoever asks.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    async with request.app.state.database.transaction() as session:
        return await service.get_webhook(session, principal.user_id, webhook_id)


async def _form(
    request: Request, principal: Principal, typed: TypedHook, *, errors: dict[str, str], webhook: Webhook | None = None
) -> HookForm:
    async with request.app.state.database.transaction() as session:
        accounts = await list_brokers(session, principal.user_id)
    return hook_form(accounts, typed.shown(), webhook=webhook, errors=errors)


def _complaints(error: AppError) -> dict[str, str]:
    if isinstance(error, NameTaken):
        return {"name": gettext("You already have a webhook of that name.")}
    if isinstance(error, BrokerNotFound):
        return {"account": error.message}
    return {error.field or "": error.message}


async def _list(request: Request, principal: Principal, words: str) -> Response:
    """All webhooks anew, with a toast; the dialog that was open is closed."""
    hooks = await regions_of(request, principal).hooks()
    return fragment(request, principal, LIST, hooks, toast=("success", words), close_dialog=_DIALOG)


@router.post("/webhooks")
async def add_webhook(request: Request, principal: FreshUser, typed: Typed) -> Response:
    """Make a webhook and show its address, this once."""
    with use_language(reader_of(request, principal).language):
        try:
            created = await _create(request, principal, read_hook(typed))
        except FormErrors as error:
            return fragment(request, principal, _FORM, await _form(request, principal, typed, errors=error.errors), status=422)
        except AppError as error:
            return fragment(request, principal, _FORM, await _form(request, principal, typed, errors=_complaints(error)), status=422)
        return await _address_shown(request, principal, created)


async def _create(request: Request, principal: Principal, settings: HookSettings) -> service.Created:
    async with request.app.state.database.transaction() as session:
        return await service.create_webhook(
            session,
            principal.user_id,
            name=settings.name,
            now=request.app.state.clock.now(),
            broker_id=settings.broker_id,
            rules=settings.rules,
            allowed_ips=settings.allowed_ips,
            max_age_s=settings.max_age_s,
            per_minute=settings.per_minute,
            interval=settings.interval,
        )


async def _address_shown(request: Request, principal: Principal, created: service.Created, *, is_rotated: bool = False) -> Response:
    reader = reader_of(request, principal)
    url = address(request, created.secret)
    symbol = request.app.state.heartbeat.symbols[0].replace("/", "")
    alert = json.dumps({"ticker": symbol, "action": "buy", "quantity": "0.01"})
    shown = HookCreated(
        id=str(created.webhook.id),
        name=created.webhook.name,
        url=url,
        curl=f"curl -X POST {url} -H 'Content-Type: application/json' -d '{alert}'",
        is_rotated=is_rotated,
    )
    hooks = await regions_of(request, principal).hooks()
    partial = templating_of(request).partial(LIST, hooks, target="hooks", reader=reader, swap="outerHTML")
    return fragment(request, principal, _CREATED, shown, partials=partial)


@router.get("/webhooks/{webhook_id}/settings")
async def show_settings(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """The form with the settings as they are."""
    webhook = await hook_of(request, principal, webhook_id)
    with use_language(reader_of(request, principal).language):
        async with request.app.state.database.transaction() as session:
            accounts = await list_brokers(session, principal.user_id)
        senders = request.app.state.door.senders
        form = hook_form(accounts, webhook=webhook, warning=None if senders is None else senders.warning(webhook.allowed_ips))
    return fragment(request, principal, _SETTINGS, form)


@router.post("/webhooks/{webhook_id}/settings")
async def change_settings(request: Request, principal: CurrentUser, webhook_id: UUID, typed: Typed) -> Response:
    """Store the settings; what cannot be used comes back beside its field."""
    webhook = await hook_of(request, principal, webhook_id)
    with use_language(reader_of(request, principal).language):
        try:
            changes = _changes(read_hook(typed))
            async with request.app.state.database.transaction() as session:
                is_widened = await service.is_widened(session, principal.user_id, webhook_id, changes)
        except FormErrors as error:
            form = await _form(request, principal, typed, errors=error.errors, webhook=webhook)
            return fragment(request, principal, _SETTINGS, form, status=422)
        if is_widened:
            # What lets alerts do more is not for a stranger at an open page.
            await fresh_user(principal)
        try:
            async with request.app.state.database.transaction() as session:
                now = request.app.state.clock.now()
                await service.change_webhook(session, principal.user_id, webhook_id, now=now, **changes)
        except AppError as error:
            form = await _form(request, principal, typed, errors=_complaints(error), webhook=webhook)
            return fragment(request, principal, _SETTINGS, form, status=422)
        return await _list(request, principal, gettext("The settings are stored. They hold from the next alert on."))


def _changes(settings: HookSettings) -> HookChanges:
    return {
        "name": settings.name,
        "broker_id": settings.broker_id,
        "rules": settings.rules,
        "allowed_ips": settings.allowed_ips,
        "max_age_s": settings.max_age_s,
        "per_minute": settings.per_minute,
        "interval": settings.interval,
    }


@router.post("/webhooks/{webhook_id}/pause")
async def pause(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """Trade no more of its alerts; they are still kept."""
    await _switch(request, principal, webhook_id, is_active=False)
    with use_language(reader_of(request, principal).language):
        return await _list(request, principal, gettext("The webhook is paused: its alerts are kept in the log and not traded."))


@router.post("/webhooks/{webhook_id}/resume")
async def resume(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """Trade its alerts again."""
    await _switch(request, principal, webhook_id, is_active=True)
    with use_language(reader_of(request, principal).language):
        return await _list(request, principal, gettext("The webhook trades again."))


async def _switch(request: Request, principal: Principal, webhook_id: UUID, *, is_active: bool) -> None:
    now = request.app.state.clock.now()
    async with request.app.state.database.transaction() as session:
        await service.change_webhook(session, principal.user_id, webhook_id, is_active=is_active, now=now)


@router.get("/webhooks/{webhook_id}/rotate")
async def ask_rotate(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """The question before the address changes."""
    webhook = await hook_of(request, principal, webhook_id)
    return fragment(request, principal, _QUESTION, HookQuestion(action="rotate", id=str(webhook.id), name=webhook.name))


@router.post("/webhooks/{webhook_id}/rotate")
async def rotate(request: Request, principal: FreshUser, webhook_id: UUID) -> Response:
    """Make a new address and show it, this once."""
    state = request.app.state
    async with state.database.transaction() as session:
        created = await service.rotate_secret(session, principal.user_id, webhook_id, now=state.clock.now())
    with use_language(reader_of(request, principal).language):
        return await _address_shown(request, principal, created, is_rotated=True)


@router.get("/webhooks/{webhook_id}/remove")
async def ask_remove(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """The question before it is removed, with what stays of it."""
    webhook = await hook_of(request, principal, webhook_id)
    orders, attempts = await what_is_left(request.app.state.database, principal.user_id, webhook_id)
    with use_language(reader_of(request, principal).language):
        positions = [one for one in (await regions_of(request, principal).hook_positions()).rows if one.hook == webhook.name]
    question = HookQuestion(
        action="remove", id=str(webhook.id), name=webhook.name, attempts=attempts, orders=orders, positions=len(positions)
    )
    return fragment(request, principal, _QUESTION, question)


@router.post("/webhooks/{webhook_id}/remove")
async def remove(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """Close the door; log, orders and positions stay."""
    state = request.app.state
    async with state.database.transaction() as session:
        await service.remove_webhook(session, principal.user_id, webhook_id, now=state.clock.now())
    with use_language(reader_of(request, principal).language):
        return await _list(request, principal, gettext("The webhook is removed. Its log stays."))


@router.get("/webhooks/{webhook_id}/test")
async def ask_test(request: Request, principal: CurrentUser, webhook_id: UUID) -> Response:
    """The dialog in which a message is tried out, with a sample in it."""
    webhook = await hook_of(request, principal, webhook_id)
    state = request.app.state
    symbol = state.heartbeat.symbols[0].replace("/", "")
    chosen = BuilderFields(kind="indicator", action="buy", symbol=symbol, size_kind="base", size_value="0.01")
    with use_language(reader_of(request, principal).language):
        sample = build(chosen, hook_name=webhook.name, url="", now=state.clock.now()).sample
    return fragment(request, principal, _TEST, HookTest(id=str(webhook.id), name=webhook.name, message=sample))


@router.post("/webhooks/{webhook_id}/test")
async def try_message(request: Request, principal: CurrentUser, webhook_id: UUID, message: Message = "") -> Response:
    """Try a message out, and show what it would do. It stands in the log as a test."""
    request.app.state.door.trials.test(principal.user_id)
    await hook_of(request, principal, webhook_id)
    with use_language(reader_of(request, principal).language):
        found = await put_through(request, principal, webhook_id, message, place="test")
    return fragment(request, principal, TRIED, found, status=422 if found.is_refused else 200)


async def put_through(request: Request, principal: Principal, webhook_id: UUID, message: str, *, place: Place) -> Tried:
    """Put a message into the webhook's test door. What it would do is known a moment later, and asked for by the page."""
    state = request.app.state
    try:
        async with state.database.transaction() as session:
            made = await service.put_test(session, principal.user_id, webhook_id, message, now=state.clock.now())
    except BodyTooLarge as error:
        return Tried(place=place, decision="unreadable", reason=error.message, code=error.code, is_refused=True)
    state.bus.publish(DeliveryChanged(user_id=principal.user_id, delivery_id=made, decision=Decision.PENDING))
    return Tried(place=place, decision="pending", delivery_id=str(made))


@router.get("/webhooks/deliveries/{delivery_id}/tried")
async def show_tried(request: Request, principal: CurrentUser, delivery_id: UUID, place: Place = "test") -> Response:
    """What a message that was tried would do, or that it is not known yet."""
    row = await get_delivery(request.app.state.database, principal.user_id, delivery_id)
    with use_language(reader_of(request, principal).language):
        found = tried(row, place=place)
    return fragment(request, principal, TRIED, found)


def tried(row: Any, *, place: Place) -> Tried:
    """Return what a trial found in words; its sentence says what would have been denied, its code why."""
    would_be_denied = row["decision"] == Decision.PING and row["code"] is not None
    return Tried(
        place=place,
        decision=Decision.DENIED.value if would_be_denied else row["decision"],
        reason=row["reason"] or "",
        code=row["code"] or "",
        delivery_id=str(row["id"]),
        wishes=wishes_in(row["raw"]),
    )
