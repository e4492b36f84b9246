"""Broker accounts: the list, and a new one, whose keys are tried before they are stored."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser, FreshUser
from app.accounts.principal import Principal
from app.brokers import service
from app.brokers.keys import FIELDS
from app.brokers.router import begin_anew
from app.brokers.schemas import BrokerIn, BrokerTryIn
from app.brokers.testing import ConnectionTest, note_test, test_connection, try_keys
from app.core.i18n import gettext, use_language
from app.errors import AppError, NameTaken
from app.exchanges.catalogue import EXCHANGES, OTHERS, PAPER, Venue, venue_of
from app.ui.brokers import facts_of, mode_choices, steps_of
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of, templating_of
from app.ui.views import BrokerForm, BrokersView, Choice, KeyTry

router = APIRouter(include_in_schema=False)

LIST: Final = "fragments/brokers/_brokers.html"
TRY: Final = "fragments/brokers/_broker_try.html"
_FORM: Final = "fragments/brokers/_broker_form.html"
_FACTS: Final = "fragments/brokers/_broker_exchange.html"


class BrokerFields(BaseModel):
    """What the forms send: all fields at once, those that are hidden for the exchange too, and each as text."""

    exchange: str = ""
    name: str = ""
    description: str = ""
    api_key: str = ""
    api_secret: str = ""
    api_password: str = ""
    api_uid: str = ""
    subaccount_name: str = ""
    is_testnet: str = ""
    is_active: str = ""
    paper_balance_usdt: str = ""
    mode: list[str] = []
    #: Save it although its keys do not work.
    anyway: str = ""

    def keys(self) -> dict[str, str]:
        """Return the key fields that were filled in."""
        return {field: value for field in FIELDS if (value := getattr(self, field).strip())}


Fields = Annotated[BrokerFields, Form()]


def _form(given: BrokerFields | None = None, *, errors: dict[str, str] | None = None, attempt: KeyTry | None = None) -> BrokerForm:
    """The form; the newcomer's choice comes first."""
    fields = given or BrokerFields(exchange=PAPER)
    is_testnet = fields.is_testnet == "true"
    return BrokerForm(
        exchanges=tuple(Choice(value=key, label=_label(key, venue)) for key, venue in EXCHANGES.items()),
        untested=tuple(Choice(value=key, label=venue.name) for key, venue in OTHERS.items()),
        exchange=fields.exchange,
        facts=facts_of(venue_of(fields.exchange), is_testnet=is_testnet, subaccount=fields.subaccount_name, errors=errors),
        name=fields.name,
        description=fields.description,
        paper_balance=fields.paper_balance_usdt,
        modes=mode_choices(None if given is None else given.mode),
        attempt=attempt or KeyTry(),
        errors=errors or {},
    )


def _label(exchange: str, venue: Venue) -> str:
    return gettext("Paper trading — no keys needed") if exchange == PAPER else venue.name


@router.get("/brokers")
async def show_brokers(request: Request, principal: CurrentUser) -> Response:
    """All accounts, and the form for another."""
    shell = await shell_of(request, principal, page="brokers")
    with use_language(shell.reader.language):
        view = BrokersView(shell=shell, form=_form(), brokers=await regions_of(request, principal).brokers())
    return page(request, "pages/brokers/brokers.html", view)


@router.get("/brokers/exchange")
async def show_exchange(request: Request, principal: CurrentUser, exchange: str = "") -> Response:
    """What the form says of the exchange that was chosen just now."""
    with use_language(reader_of(request, principal).language):
        facts = facts_of(venue_of(exchange))
    return fragment(request, principal, _FACTS, facts)


@router.post("/brokers/try")
async def try_new_keys(request: Request, principal: CurrentUser, given: Fields) -> Response:
    """Find out whether the keys in the form work, and show the steps; nothing is stored."""
    with use_language(reader_of(request, principal).language):
        found = await key_try(request, principal, given)
    return fragment(request, principal, TRY, found)


async def key_try(request: Request, principal: Principal, given: BrokerFields, *, broker_id: UUID | None = None) -> KeyTry:
    """Try the keys of a form, beside those of the account `broker_id`, and say in words what came of it."""
    place: KeyTry = KeyTry(place="broker" if broker_id is None else "edit")
    try:
        found = await tried(request, principal, given, broker_id=broker_id)
    except (AppError, ValidationError) as error:
        return KeyTry(place=place.place, problem=complaint(error, exchange=given.exchange)[1])
    return told(found, place)


async def tried(request: Request, principal: Principal, given: BrokerFields, *, broker_id: UUID | None = None) -> ConnectionTest:
    """Try the keys of a form.

    Raises:
        AppError: they cannot be tried: one is missing, or there is no such account.
        ValidationError: one is far too long.
    """
    state = request.app.state
    asked = BrokerTryIn.model_validate(
        {
            "broker_id": broker_id,
            "exchange": given.exchange or None,
            "subaccount_name": given.subaccount_name,
            "is_testnet": given.is_testnet == "true",
            **given.keys(),
        }
    )
    return await try_keys(state.database, state.vault, state.connections, principal.user_id, asked)


def told(found: ConnectionTest, at: KeyTry, *, asks_anyway: bool = False) -> KeyTry:
    """Return what a try found in words."""
    return KeyTry(place=at.place, steps=steps_of(found), is_success=found.success, latency_ms=found.latency_ms, asks_anyway=asks_anyway)


def complaint(error: AppError | ValidationError, *, exchange: str) -> tuple[str, str]:
    """Return the field that an error is about, "" for the whole form, and a sentence."""
    if isinstance(error, ValidationError):
        item: Mapping[str, Any] = error.errors()[0]
        return str(item["loc"][0]), _sentence(item)
    if isinstance(error, NameTaken):
        return "name", gettext("You already have an account of that name.")
    if error.field in FIELDS and exchange != PAPER:
        venue = venue_of(exchange)
        return error.field, gettext("%(name)s needs this.") % {"name": venue.name if venue else exchange}
    return error.field or "", error.message


def complaints(error: AppError | ValidationError, *, exchange: str) -> dict[str, str]:
    """Return sentences by field."""
    if isinstance(error, ValidationError):
        return {str(item["loc"][0]): _sentence(item) for item in error.errors()}
    return dict([complaint(error, exchange=exchange)])


def _sentence(item: Mapping[str, Any]) -> str:
    if item["loc"][0] == "paper_balance_usdt":
        return gettext("The balance must be a number above 0 and at most 1,000,000,000, with at most 8 decimals.")
    if str(item["type"]).endswith("too_long"):
        return gettext("This is too long.")
    return gettext("This field is needed.")


@router.post("/brokers")
async def add_broker(request: Request, principal: FreshUser, given: Fields) -> Response:
    """Try the keys and store the account; a field that cannot be used, or keys that do not work, come back with their sentences."""
    with use_language(reader_of(request, principal).language):
        try:
            answer = await _add(request, principal, given)
        except (AppError, ValidationError) as error:
            errors = complaints(error, exchange=given.exchange)
            return fragment(request, principal, _FORM, _form(given, errors=errors), status=422)
        if answer is not None:
            return fragment(request, principal, _FORM, _form(given, attempt=answer), status=422)
        reader = reader_of(request, principal)
        accounts = await regions_of(request, principal).brokers()
        cards = templating_of(request).partial(LIST, accounts, target="brokers", reader=reader, swap="outerHTML")
        words = gettext("The account is stored.")
        form = _form()
    return fragment(request, principal, _FORM, form, toast=("success", words), close_dialog="broker-dialog", partials=cards)


async def _add(request: Request, principal: Principal, given: BrokerFields) -> KeyTry | None:
    """Store the account of a form; when its keys do not work, say so instead."""
    state = request.app.state
    wanted = BrokerIn.model_validate(
        {
            "exchange": given.exchange,
            "name": given.name,
            "description": given.description,
            "trading_modes": given.mode,
            **_only_what_fits(given),
        }
    )
    service.known_venue(wanted.exchange)
    async with state.database.transaction() as session:
        await service.check_name(session, principal.user_id, wanted.name)
    found = None
    if wanted.exchange != PAPER and given.anyway != "true":
        found = await tried(request, principal, given)
        if not found.success:
            return told(found, KeyTry(), asks_anyway=True)
    async with state.database.transaction() as session:
        made = await service.create_broker(session, state.vault, principal.user_id, wanted)
    if found is not None:
        await note_test(state.database, made.id, found, now=state.clock.now())
    return None


def _only_what_fits(given: BrokerFields) -> dict[str, object]:
    """A form has all fields at once, whatever the exchange; of those that are hidden for it nothing is sent on."""
    if given.exchange == PAPER:
        return {"paper_balance_usdt": given.paper_balance_usdt.strip() or None}
    return {**given.keys(), "is_testnet": given.is_testnet == "true", "subaccount_name": given.subaccount_name.strip() or None}


@router.post("/brokers/{broker_id}/test")
async def test_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Ask the exchange for the balance with the stored keys and show what came of it."""
    state = request.app.state
    found = await test_connection(state.database, state.connections, principal.user_id, broker_id, now=state.clock.now())
    with use_language(reader_of(request, principal).language):
        card = await regions_of(request, principal).broker(broker_id, found)
    return fragment(request, principal, "fragments/brokers/_broker_card.html", card)


@router.post("/brokers/{broker_id}/reset")
async def reset_broker(request: Request, principal: CurrentUser, broker_id: UUID) -> Response:
    """Begin a paper account anew."""
    await begin_anew(request, principal.user_id, broker_id)
    with use_language(reader_of(request, principal).language):
        words = gettext("The paper account has its starting balance again.")
        accounts = await regions_of(request, principal).brokers()
    return fragment(request, principal, LIST, accounts, toast=("success", words))
