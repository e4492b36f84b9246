"""What a person chose, on a page of its own and in the menu: looks, the default account, the AI provider."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.accounts.ai import AiCheck
from app.accounts.dependencies import CurrentUser, MaybeUser
from app.accounts.models import AiProvider, User
from app.accounts.principal import Principal
from app.accounts.router import check_ai, save_preferences
from app.accounts.schemas import AiIn, PreferencesIn
from app.accounts.service import get_user
from app.brokers.service import list_brokers
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.domain.currencies import Currency
from app.errors import AppError
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views import AiForm, Choice, DefaultBrokerForm, LooksForm, ModelList, OrderHabits, PreferencesView, Shell

router = APIRouter(include_in_schema=False)

_PAGE: Final = "/account/preferences"
_AI: Final = "fragments/accounts/_ai.html"
_MODELS: Final = "fragments/accounts/_ai_models.html"
_SAVED: Final = f"{_PAGE}?saved=broker"
_SWITCH: Final = {"on": True, "off": False}
_LOOKS: Final = {"theme": ("dark", "light"), "language": ("en", "fr"), "display_timezone": ("utc", "local"), "currency": tuple(Currency)}
#: What a stranger's choice is kept in.
_COOKIES: Final = {"theme": "theme", "language": "lang"}
Field = Annotated[str, Form(max_length=1000)]


@router.post("/preferences")
async def change_preferences(
    request: Request,
    principal: MaybeUser,
    theme: Field = "",
    language: Field = "",
    display_timezone: Field = "",
    has_shortcuts: Field = "",
    confirm_orders: Field = "",
    currency: Field = "",
    default_broker_id: Annotated[UUID | None, Form()] = None,
    next: Field = "/",  # the form's own name
) -> Response:
    """Change how pages look, or the default account, and go back to where one was. A stranger's choice lives in cookies."""
    given = {"theme": theme, "language": language, "display_timezone": display_timezone, "currency": currency}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value in _LOOKS[name]}
    switches = {"confirm_orders": confirm_orders, "has_shortcuts": has_shortcuts}
    changes |= {name: _SWITCH[value] for name, value in switches.items() if value in _SWITCH}
    response = see_other(request, next if default_broker_id is None else _SAVED)
    if principal is not None:
        await save_preferences(request, principal.user_id, PreferencesIn(**changes, default_broker_id=default_broker_id))
    for name, cookie in _COOKIES.items():
        if name in changes:
            response.set_cookie(
                cookie,
                changes[name],
                max_age=31_536_000,
                path="/",
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="lax",
            )
    return response


@router.get(_PAGE)
async def show_preferences(request: Request, principal: CurrentUser, saved: str = "") -> Response:
    """All of it on one page."""
    shell = await shell_of(request, principal, page="preferences")
    async with database_of(request).transaction() as session:
        user = await get_user(session, principal.user_id)
        brokers = await list_brokers(session, principal.user_id)
    default = next((str(broker.id) for broker in brokers if broker.is_default), "")
    view = PreferencesView(
        shell=shell,
        looks=_looks(shell, principal),
        broker=DefaultBrokerForm(
            csrf_token=shell.csrf_token,
            brokers=tuple(Choice(value=str(broker.id), label=broker.name) for broker in brokers),
            chosen=default,
            was_saved=saved == "broker",
        ),
        orders=OrderHabits(csrf_token=shell.csrf_token, confirms=principal.confirm_orders),
        ai=_ai(user),
    )
    return page(request, "pages/accounts/preferences.html", view)


def _looks(shell: Shell, principal: Principal) -> LooksForm:
    return LooksForm(
        csrf_token=shell.csrf_token,
        theme=shell.theme,
        language=shell.language,
        zone="local" if principal.display_timezone == "local" else "utc",
        timezone=shell.timezone,
        now=shell.clock,
        has_shortcuts=principal.has_shortcuts,
        currency=principal.currency.value,
        currencies=tuple(Currency),
    )


def _ai(user: User) -> AiForm:
    is_on = user.ai_provider != AiProvider.NONE
    return AiForm(
        provider=user.ai_provider,
        has_key=user.has_ai_key,
        key_hint=user.ai_key_hint,
        endpoint_url=user.ai_endpoint_url,
        openrouter_model=(user.ai_model or "") if user.ai_provider == AiProvider.OPENROUTER else "",
        ollama_model=(user.ai_model or "") if user.ai_provider == AiProvider.OLLAMA else "",
        # The page does not wait for a provider: its models come when it has answered.
        models=ModelList(provider=user.ai_provider, state="asking" if is_on else "unasked"),
    )


@router.post(f"{_PAGE}/ai")
async def change_ai(
    request: Request,
    principal: CurrentUser,
    ai_provider: Field = "none",
    ai_api_key: Field = "",
    ai_endpoint_url: Field = "",
    openrouter_model: Field = "",
    ollama_model: Field = "",
) -> Response:
    """Switch a provider on, or all off; what cannot be used comes back with its sentence."""
    models = {"openrouter": openrouter_model, "ollama": ollama_model}
    with use_language(reader_of(request, principal).language):
        try:
            given = PreferencesIn(**_ai_fields(ai_provider, ai_api_key, ai_endpoint_url, models))
            await save_preferences(request, principal.user_id, given)
        except (ValidationError, AppError) as error:
            form = await _again(request, principal, error, provider=ai_provider, endpoint_url=ai_endpoint_url, models=models)
            return fragment(request, principal, _AI, form, status=422)
        words = gettext("Saved.")
    return fragment(request, principal, _AI, await _stored(request, principal), toast=("success", words))


def _ai_fields(provider: str, api_key: str, endpoint_url: str, models: dict[str, str]) -> dict[str, Any]:
    """A form has the fields of both providers; of the one that was not chosen nothing is taken."""
    match provider:
        case "openrouter":
            key = {"ai_api_key": api_key} if api_key.strip() else {}
            return {"ai_provider": provider, "ai_model": models[provider], **key}
        case "ollama":
            return {"ai_provider": provider, "ai_model": models[provider], "ai_endpoint_url": endpoint_url}
        case _:
            return {"ai_provider": provider}


async def _stored(request: Request, principal: Principal) -> AiForm:
    async with database_of(request).transaction() as session:
        return _ai(await get_user(session, principal.user_id))


async def _again(
    request: Request, principal: Principal, error: Exception, *, provider: str, endpoint_url: str, models: dict[str, str]
) -> AiForm:
    stored = await _stored(request, principal)
    if isinstance(error, ValidationError):
        errors = {str(item["loc"][0]): gettext("This cannot be used.") for item in error.errors()}
    else:
        assert isinstance(error, AppError)  # noqa: S101  # the caller's other kind
        errors = {error.field or ("ai_endpoint_url" if provider == "ollama" else ""): gettext(error.message)}
    return AiForm(
        provider=provider if provider in list(AiProvider) else "none",
        has_key=stored.has_key,
        key_hint=stored.key_hint,
        endpoint_url=endpoint_url,
        openrouter_model=models["openrouter"],
        ollama_model=models["ollama"],
        errors=errors,
    )


@router.post(f"{_PAGE}/forget-key")
async def forget_key(request: Request, principal: CurrentUser) -> Response:
    """Drop the stored key; where OpenRouter was on, no provider is."""
    await save_preferences(request, principal.user_id, PreferencesIn(forget_ai_key=True))
    with use_language(reader_of(request, principal).language):
        words = gettext("The key is forgotten.")
    return fragment(request, principal, _AI, await _stored(request, principal), toast=("success", words))


@router.get(f"{_PAGE}/models")
async def show_models(request: Request, principal: CurrentUser) -> Response:
    """The models of the provider that is on."""
    async with database_of(request).transaction() as session:
        provider = (await get_user(session, principal.user_id)).ai_provider
    return await _asked(request, principal, AiIn(), provider)


@router.post(f"{_PAGE}/test")
async def ask_provider(
    request: Request,
    principal: CurrentUser,
    ai_provider: Field = "none",
    ai_api_key: Field = "",
    ai_endpoint_url: Field = "",
    openrouter_model: Field = "",
    ollama_model: Field = "",
) -> Response:
    """Ask the provider that is chosen in the form, as the form has it; nothing is stored."""
    models = {"openrouter": openrouter_model, "ollama": ollama_model}
    try:
        given = AiIn(**_ai_fields(ai_provider, ai_api_key, ai_endpoint_url, models))
    except ValidationError:
        with use_language(reader_of(request, principal).language):
            refused = ModelList(provider=ai_provider, state="failed", detail=gettext("This cannot be used."))
        return fragment(request, principal, _MODELS, refused)
    return await _asked(request, principal, given, ai_provider)


async def _asked(request: Request, principal: Principal, given: AiIn, provider: str) -> Response:
    try:
        found = await check_ai(request, principal.user_id, given)
    except AppError as error:
        found = AiCheck(success=False, message=error.message, code=error.code)
    with use_language(reader_of(request, principal).language):
        models = ModelList(provider=provider, state="ok" if found.success else "failed", detail=gettext(found.message), models=found.models)
    return fragment(request, principal, _MODELS, models)
