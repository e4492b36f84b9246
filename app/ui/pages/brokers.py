"""Broker accounts."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.brokers import service
from app.brokers.router import begin_anew, remove
from app.brokers.schemas import BrokerIn
from app.brokers.testing import test_connection
from app.core.i18n import gettext, use_language
from app.errors import AppError
from app.exchanges.catalogue import EXCHANGES, OTHERS, PAPER, Sandbox, Venue, venue_of
from app.ui.regions import test_result
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of, templating_of
from app.ui.templating import ToastLevel
from app.ui.views import BrokerForm, BrokersView, Choice, ExchangeFacts

router = APIRouter(include_in_schema=False)

_FORM = "fragments/brokers/_broker_form.html"
_FACTS = "fragments/brokers/_broker_exchange.html"
_LIST = "fragments/brokers/_brokers.html"
_SANDBOXES: Final[dict[Sandbox, Literal["testnet", "demo"]]] = {Sandbox.TESTNET: "testnet", Sandbox.DEMO: "demo"}


def _form(
    *,
    exchange: str = PAPER,
    name: str = "",
    description: str = "",
    paper_balance: str = "",
    is_testnet: bool = False,
    errors: dict[str, str] | None = None,
) -> BrokerForm:
    """The form; the newcomer's choice comes first."""
    return BrokerForm(
        exchanges=tuple(Choice(value=key, label=_label(key, venue)) for key, venue in EXCHANGES.items()),
        untested=tuple(Choice(value=key, label=venue.name) for key, venue in OTHERS.items()),
        exchange=exchange,
        facts=_facts(exchange, is_testnet=is_testnet),
        name=name,
        description=description,
        paper_balance=paper_balance,
        errors=errors or {},
    )


def _label(exchange: str, venue: Venue) -> str:
    return gettext("Paper trading — no keys needed") if exchange == PAPER else venue.name


def _facts(exchange: str, *, is_testnet: bool = False) -> ExchangeFacts:
    """What the form says of an exchange; of one that does not exist, nothing."""
    venue = venue_of(exchange)
    if venue is None:
        return ExchangeFacts()
    reason = ""
    if venue.why_no_sandbox is not None and venue.is_tested:
        reason = gettext("%(name)s offers no test environment; use a paper account.") % {"name": venue.name}
    elif venue.why_no_sandbox is not None:
        reason = gettext("A test environment of %(name)s has not been tried here; use a paper account.") % {"name": venue.name}
    return ExchangeFacts(
        sandbox="" if venue.sandbox is None else _SANDBOXES[venue.sandbox],
        why_no_sandbox=reason,
        is_tested=venue.is_tested,
        is_testnet=is_testnet,
    )


@router.get("/brokers")
async def show_brokers(request: Request, principal: CurrentUser) -> Response:
    """All accounts, and the form for another."""
    shell = await shell_of(request, principal, page="brokers")
    with use_language(shell.reader.language):
        form = _form()
    view = BrokersView(shell=shell, form=form, brokers=await regions_of(request, principal).brokers())
    return page(request, "pages/brokers/brokers.html", view)


@router.get("/brokers/exchange")
async def show_exchange(request: Request, principal: CurrentUser, exchange: str = "") -> Response:
    """What the form says of the exchange that was chosen just now."""
    with use_language(reader_of(request, principal).language):
        facts = _facts(exchange)
    return fragment(request, principal, _FACTS, facts)


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
    paper_balance_usdt: Annotated[str, Form()] = "",
) -> Response:
    """Store the account; a field that cannot be used comes back with its sentence."""
    state = request.app.state
    keys = {"api_key": api_key, "api_secret": api_secret, "api_password": api_password}
    again = partial(
        _form, exchange=exchange, name=name, description=description, paper_balance=paper_balance_usdt, is_testnet=is_testnet == "true"
    )
    with use_language(reader_of(request, principal).language):
        try:
            given = BrokerIn.model_validate(
                {
                    "exchange": exchange,
                    "name": name,
                    "description": description,
                    **_only_what_fits(exchange, keys, paper_balance_usdt=paper_balance_usdt.strip(), is_testnet=is_testnet == "true"),
                }
            )
            async with state.database.transaction() as session:
                await service.create_broker(session, state.vault, principal.user_id, given)
        except ValidationError as error:
            return fragment(
                request, principal, _FORM, again(errors={str(item["loc"][0]): _sentence(item) for item in error.errors()}), status=422
            )
        except AppError as error:
            return fragment(request, principal, _FORM, again(errors={error.field or "": error.message}), status=422)
        reader = reader_of(request, principal)
        accounts = await regions_of(request, principal).brokers()
        cards = templating_of(request).partial(_LIST, accounts, target="brokers", reader=reader, swap="outerHTML")
        words = gettext("The account is stored. Test its connection.")
        form = _form()
    return fragment(request, principal, _FORM, form, toast=("success", words), close_dialog="broker-dialog", partials=cards)


def _only_what_fits(exchange: str, keys: dict[str, str], *, paper_balance_usdt: str, is_testnet: bool) -> dict[str, object]:
    """A form has all fields at once, whatever the exchange; of those that are hidden for it nothing is sent on."""
    if exchange == PAPER:
        return {"paper_balance_usdt": paper_balance_usdt or None}
    return {**{name: value or None for name, value in keys.items()}, "is_testnet": is_testnet}


def _sentence(item: Mapping[str, Any]) -> str:
    if item["loc"][0] == "paper_balance_usdt":
        return gettext("The balance must be a number above 0 and at most 1,000,000,000, with at most 8 decimals.")
    return gettext("This field is needed.")


@router.post("/brokers/{broker_id}/test")
async def test_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Ask the exchange for the balance with the stored keys and show what came of it."""
    state = request.app.state
    await test_connection(state.database, state.connections, principal.user_id, broker_id, now=state.clock.now())
    async with state.database.transaction() as session:
        account = await service.get_broker(session, principal.user_id, broker_id)
    return fragment(request, principal, "fragments/brokers/_broker_test_result.html", test_result(account))


@router.post("/brokers/{broker_id}/reset")
async def reset_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Begin a paper account anew."""
    await begin_anew(request, principal.user_id, broker_id)
    with use_language(reader_of(request, principal).language):
        words = gettext("The paper account has its starting balance again.")
    return fragment(request, principal, _LIST, await regions_of(request, principal).brokers(), toast=("success", words))


@router.post("/brokers/{broker_id}/delete")
async def delete_broker(request: Request, principal: CurrentUser, broker_id: UUID, confirm: Annotated[str, Form()] = "") -> Response:
    """Forget the account's keys, once its name was typed."""
    state = request.app.state
    async with state.database.transaction() as session:
        account = await service.get_broker(session, principal.user_id, broker_id)
    with use_language(reader_of(request, principal).language):
        if confirm.strip() == account.name:
            await remove(request, principal.user_id, broker_id, is_confirmed=False)
            toast: tuple[ToastLevel, str] = ("success", gettext("The account and its keys are removed."))
        else:
            toast = ("error", gettext("Type the account's name to confirm."))
    return fragment(request, principal, _LIST, await regions_of(request, principal).brokers(), toast=toast)
