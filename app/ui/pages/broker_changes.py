"""What a broker account's card opens: changes, the default, what its exchange can do, and the question before it is deleted."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser, fresh_user
from app.accounts.principal import Principal
from app.brokers import service
from app.brokers.models import Broker
from app.brokers.router import remove
from app.brokers.schemas import BrokerPatch
from app.brokers.testing import note_test, test_connection
from app.core.i18n import gettext, use_language
from app.errors import AppError
from app.exchanges.catalogue import venue_of
from app.ui.brokers import capabilities_view, exchange_name, facts_of, mode_choices
from app.ui.pages.brokers import LIST, TRY, BrokerFields, Fields, complaints, key_try, told, tried
from app.ui.surroundings import fragment, reader_of, regions_of
from app.ui.templating import ToastLevel
from app.ui.views import BrokerDelete, BrokerEdit, KeyTry

router = APIRouter(include_in_schema=False)

_EDIT: Final = "fragments/brokers/_broker_edit.html"
_DELETE: Final = "fragments/brokers/_broker_delete.html"
_CAPABILITIES: Final = "fragments/brokers/_broker_capabilities.html"
#: The dialog of them all.
_DIALOG: Final = "broker-card-dialog"


async def _account(request: Request, principal: Principal, broker_id: UUID) -> Broker:
    async with request.app.state.database.transaction() as session:
        return await service.get_broker(session, principal.user_id, broker_id)


async def _list(request: Request, principal: Principal, words: str, *, level: ToastLevel = "success") -> Response:
    """All cards anew, with a toast; the dialog that was open is closed."""
    accounts = await regions_of(request, principal).brokers()
    return fragment(request, principal, LIST, accounts, toast=(level, words), close_dialog=_DIALOG)


def _edit(
    account: Broker, given: BrokerFields | None = None, *, errors: dict[str, str] | None = None, attempt: KeyTry | None = None
) -> BrokerEdit:
    fields = given or BrokerFields(
        name=account.name,
        description=account.description,
        subaccount_name=account.subaccount_name or "",
        is_active="true" if account.is_active else "",
        mode=account.trading_modes,
    )
    return BrokerEdit(
        id=str(account.id),
        title=account.name,
        name=fields.name,
        exchange_name=exchange_name(account),
        facts=facts_of(venue_of(account.exchange), is_testnet=account.is_testnet, subaccount=fields.subaccount_name, errors=errors),
        description=fields.description,
        key_hint=account.key_hint,
        is_paper=account.is_paper,
        is_active=fields.is_active == "true",
        modes=mode_choices(fields.mode),
        attempt=attempt or KeyTry(place="edit"),
        errors=errors or {},
    )


@router.get("/brokers/{broker_id}/edit")
async def show_edit(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """The form for changes, without the keys."""
    account = await _account(request, principal, broker_id)
    with use_language(reader_of(request, principal).language):
        form = _edit(account)
    return fragment(request, principal, _EDIT, form)


@router.post("/brokers/{broker_id}/try")
async def try_changed_keys(request: Request, principal: CurrentUser, broker_id: UUID, given: Fields) -> Response:
    """Find out whether the keys in the form work, or those that are stored where none are typed."""
    account = await _account(request, principal, broker_id)
    with use_language(reader_of(request, principal).language):
        found = await key_try(request, principal, given.model_copy(update={"exchange": account.exchange}), broker_id=broker_id)
    return fragment(request, principal, TRY, found)


@router.post("/brokers/{broker_id}/edit")
async def change_broker(request: Request, principal: CurrentUser, broker_id: UUID, given: Fields) -> Response:
    """Store the changes; new keys are tried first, and empty key fields keep what is stored."""
    account = await _account(request, principal, broker_id)
    given = given.model_copy(update={"exchange": account.exchange})
    if any(given.keys().values()):
        await fresh_user(principal)
    with use_language(reader_of(request, principal).language):
        try:
            answer = await _change(request, principal, account, given)
        except (AppError, ValidationError) as error:
            errors = complaints(error, exchange=account.exchange)
            return fragment(request, principal, _EDIT, _edit(account, given, errors=errors), status=422)
        if answer is not None:
            return fragment(request, principal, _EDIT, _edit(account, given, attempt=answer), status=422)
        return await _list(request, principal, gettext("The changes are stored."))


async def _change(request: Request, principal: Principal, account: Broker, given: BrokerFields) -> KeyTry | None:
    """Store the changes of a form; when its new keys do not work, say so instead."""
    state = request.app.state
    keys, is_active = {} if account.is_paper else given.keys(), given.is_active == "true"
    changes = BrokerPatch.model_validate(
        {
            "name": given.name,
            "description": given.description,
            "subaccount_name": given.subaccount_name,
            # Only when it changes: saying it again would lift the pause that a refused key caused.
            "is_active": is_active if is_active is not account.is_active else None,
            "trading_modes": given.mode,
            **keys,
        }
    )
    found = None
    if keys and given.anyway != "true":
        found = await tried(request, principal, given, broker_id=account.id)
        if not found.success:
            return told(found, KeyTry(place="edit"), asks_anyway=True)
    async with state.database.transaction() as session:
        await service.change_broker(session, state.vault, principal.user_id, account.id, changes)
    await state.connections.drop(account.id)
    if found is not None:
        await note_test(state.database, account.id, found, now=state.clock.now())
    return None


@router.post("/brokers/{broker_id}/resume")
async def resume_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Trade again on an account whose key was refused, once the exchange takes it."""
    state = request.app.state
    found = await test_connection(state.database, state.connections, principal.user_id, broker_id, now=state.clock.now())
    if found.success:
        async with state.database.transaction() as session:
            await service.change_broker(session, state.vault, principal.user_id, broker_id, BrokerPatch(is_active=True))
    with use_language(reader_of(request, principal).language):
        if found.success:
            return await _list(request, principal, gettext("The exchange takes the key again. Trading goes on."))
        words = gettext("The exchange still refuses the key, so trading stays paused.")
        return await _list(request, principal, words, level="error")


@router.post("/brokers/{broker_id}/default")
async def make_default(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Use this account where none is named."""
    async with request.app.state.database.transaction() as session:
        account = await service.set_default(session, principal.user_id, broker_id)
    with use_language(reader_of(request, principal).language):
        return await _list(request, principal, gettext("“%(name)s” is the default account now.") % {"name": account.name})


@router.get("/brokers/{broker_id}/capabilities")
async def show_capabilities(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """What the account's exchange can do."""
    account = await _account(request, principal, broker_id)
    with use_language(reader_of(request, principal).language):
        view = capabilities_view(account)
    return fragment(request, principal, _CAPABILITIES, view)


@router.get("/brokers/{broker_id}/delete")
async def ask_delete(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """The question before it is deleted, with what is open of it."""
    with use_language(reader_of(request, principal).language):
        question = await _question(request, principal, broker_id)
    return fragment(request, principal, _DELETE, question)


async def _question(request: Request, principal: Principal, broker_id: UUID, *, error: str = "") -> BrokerDelete:
    state = request.app.state
    left = await state.what_is_left(principal.user_id, broker_id)
    async with state.database.transaction() as session:
        account = await service.get_broker(session, principal.user_id, broker_id)
        following = await service.next_default(session, principal.user_id, broker_id) if account.is_default else None
    return BrokerDelete(
        id=str(account.id),
        name=account.name,
        exchange_name=exchange_name(account),
        is_paper=account.is_paper,
        orders=left.orders,
        positions=left.positions,
        guards=left.guards,
        webhooks=left.webhooks,
        next_default="" if following is None else following.name,
        error=error,
    )


@router.post("/brokers/{broker_id}/delete")
async def delete_broker(
    request: Request, principal: CurrentUser, broker_id: UUID, confirm: Annotated[str, Form()] = "", end: Annotated[str, Form()] = ""
) -> Response:
    """Forget the account's keys, once its name was typed; what is open of it ends first, where that was confirmed too."""
    account = await _account(request, principal, broker_id)
    with use_language(reader_of(request, principal).language):
        error = ""
        if confirm.strip() != account.name:
            error = gettext("Type the account's name to confirm.")
        else:
            try:
                await remove(request, principal.user_id, broker_id, is_confirmed=end == "true")
            except AppError as refusal:
                error = refusal.message
        if error:
            question = await _question(request, principal, broker_id, error=error)
            return fragment(request, principal, _DELETE, question, status=422)
        return await _list(request, principal, gettext("The account and its keys are removed."))
