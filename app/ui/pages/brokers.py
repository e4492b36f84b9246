"""Broker accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.brokers import service
from app.brokers.router import remove
from app.brokers.schemas import BrokerIn
from app.core.i18n import gettext, use_language
from app.errors import AppError
from app.exchanges.catalogue import EXCHANGES
from app.ui.regions import test_result
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of, templating_of
from app.ui.templating import ToastLevel
from app.ui.views import BrokerForm, BrokersView, Choice

router = APIRouter(include_in_schema=False)

_FORM = "fragments/brokers/_broker_form.html"
_LIST = "fragments/brokers/_brokers.html"


def _form(*, exchange: str = "binance", name: str = "", description: str = "", errors: dict[str, str] | None = None) -> BrokerForm:
    choices = tuple(Choice(value=key, label=venue.name) for key, venue in EXCHANGES.items())
    return BrokerForm(exchanges=choices, exchange=exchange, name=name, description=description, errors=errors or {})


@router.get("/brokers")
async def show_brokers(request: Request, principal: CurrentUser) -> Response:
    """All accounts, and the form for another."""
    view = BrokersView(
        shell=await shell_of(request, principal, page="brokers"), form=_form(), brokers=await regions_of(request, principal).brokers()
    )
    return page(request, "pages/brokers/brokers.html", view)


@router.post("/brokers")
async def add_broker(
    request: Request,
    principal: CurrentUser,
    exchange: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    description: Annotated[str, Form()] = "",
    api_key: Annotated[str, Form()] = "",
    api_secret: Annotated[str, Form()] = "",
    api_password: Annotated[str, Form()] = "",
    is_testnet: Annotated[str, Form()] = "",
) -> Response:
    """Store the account; a field that cannot be used comes back with its sentence."""
    state = request.app.state
    with use_language(reader_of(request, principal).language):
        try:
            given = BrokerIn.model_validate(
                {
                    "exchange": exchange,
                    "name": name,
                    "description": description,
                    "api_key": api_key,
                    "api_secret": api_secret,
                    "api_password": api_password or None,
                    "is_testnet": is_testnet == "true",
                }
            )
            async with state.database.transaction() as session:
                await service.create_broker(session, state.vault, principal.user_id, given)
        except ValidationError as error:
            errors = {str(item["loc"][0]): gettext("This field is needed.") for item in error.errors()}
            return fragment(
                request, principal, _FORM, _form(exchange=exchange, name=name, description=description, errors=errors), status=422
            )
        except AppError as error:
            errors = {error.field or "": error.message}
            return fragment(
                request, principal, _FORM, _form(exchange=exchange, name=name, description=description, errors=errors), status=422
            )
        reader = reader_of(request, principal)
        accounts = await regions_of(request, principal).brokers()
        partial = templating_of(request).partial(_LIST, accounts, target="brokers", reader=reader, swap="outerHTML")
        words = gettext("The account is stored. Test its connection.")
    return fragment(request, principal, _FORM, _form(), toast=("success", words), close_dialog="broker-dialog", partials=partial)


@router.post("/brokers/{broker_id}/test")
async def test_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Ask the exchange for the balance with the stored keys and show what came of it."""
    state = request.app.state
    await service.test_connection(state.database, state.connections, principal.user_id, broker_id, now=state.clock.now())
    async with state.database.transaction() as session:
        account = await service.get_broker(session, principal.user_id, broker_id)
    return fragment(request, principal, "fragments/brokers/_broker_test_result.html", test_result(account))


@router.post("/brokers/{broker_id}/delete")
async def delete_broker(request: Request, principal: CurrentUser, broker_id: UUID, confirm: Annotated[str, Form()] = "") -> Response:
    """Forget the account's keys, once its name was typed."""
    state = request.app.state
    async with state.database.transaction() as session:
        account = await service.get_broker(session, principal.user_id, broker_id)
    with use_language(reader_of(request, principal).language):
        if confirm.strip() == account.name:
            async with state.database.transaction() as session:
                await remove(request, principal.user_id, broker_id, session)
            toast: tuple[ToastLevel, str] = ("success", gettext("The account and its keys are removed."))
        else:
            toast = ("error", gettext("Type the account's name to confirm."))
    return fragment(request, principal, _LIST, await regions_of(request, principal).brokers(), toast=toast)
