"""API tokens: a section of the account, with a page of its own."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts import tokens
from app.accounts.dependencies import CurrentUser, FreshUser
from app.accounts.models import TokenScope
from app.accounts.principal import Principal
from app.core.i18n import N_, gettext, use_language
from app.errors import AppError
from app.ui.surroundings import fragment, page, reader_of, shell_of, templating_of
from app.ui.views import Choice, Region, TokenForm, TokenMade, TokenRow, TokensView

router = APIRouter(include_in_schema=False)

_LIST = "fragments/accounts/_tokens.html"
_FORM = "fragments/accounts/_token_form.html"
_SCOPES = {
    TokenScope.READ: N_("Read: look at everything"),
    TokenScope.TRADE: N_("Trade: place and cancel orders, change accounts and limits"),
    TokenScope.ADMIN: N_("Administrator: what only administrators may, such as stopping the whole platform"),
}
_SHORT = {TokenScope.READ: N_("read"), TokenScope.TRADE: N_("trade"), TokenScope.ADMIN: N_("administrator")}
_DAYS = (7, 30, 90, 365)


def days_of(days: tuple[int, ...]) -> tuple[Choice, ...]:
    """Return how long something may last, as options of a select."""
    return tuple(Choice(value=str(count), label=gettext("%(count)s days") % {"count": count}) for count in days)


async def tokens_of(request: Request, principal: Principal) -> Region[TokenRow]:
    """Return the user's tokens."""
    now = request.app.state.clock.now()
    async with request.app.state.database.transaction() as session:
        found = await tokens.list_tokens(session, principal.user_id)
    return Region(
        rows=tuple(
            TokenRow(
                id=str(token.id),
                name=token.name,
                scopes=tuple(gettext(_SHORT[TokenScope(scope)]) for scope in token.scopes),
                created_at=token.created_at,
                expires_at=token.expires_at,
                last_used_at=token.last_used_at,
                is_expired=token.expires_at <= now,
            )
            for token in found
        )
    )


def token_form(
    principal: Principal,
    *,
    name: str = "",
    chosen: tuple[str, ...] = ("read",),
    days: str = "90",
    errors: dict[str, str] | None = None,
) -> TokenForm:
    """Return the form; only an administrator may choose the scope of one."""
    return TokenForm(
        scopes=tuple(
            Choice(value=scope.value, label=gettext(words))
            for scope, words in _SCOPES.items()
            if principal.is_admin or scope is not TokenScope.ADMIN
        ),
        days=days_of(_DAYS),
        name=name,
        chosen=chosen,
        expires_in_days=days,
        errors=errors or {},
    )


@router.get("/account/tokens")
async def show_tokens(request: Request, principal: CurrentUser) -> Response:
    """All tokens, and the form for another."""
    shell = await shell_of(request, principal, page="account")
    with use_language(shell.reader.language):
        view = TokensView(shell=shell, form=token_form(principal), tokens=await tokens_of(request, principal))
    return page(request, "pages/accounts/tokens.html", view)


@router.post("/account/tokens")
async def make_token(
    request: Request,
    principal: FreshUser,
    name: Annotated[str, Form(max_length=200)] = "",
    scopes: Annotated[list[str], Form()] = [],  # noqa: B006  # FastAPI copies it
    days: Annotated[str, Form(max_length=10)] = "90",
) -> Response:
    """Make a token and show it, this once."""
    state = request.app.state
    reader = reader_of(request, principal)
    known = tuple(scope for scope in TokenScope if scope.value in scopes)
    with use_language(reader.language):
        wrong = _wrong(name, known)
        try:
            if not wrong:
                async with state.database.transaction() as session:
                    _, token = await tokens.make_token(
                        session,
                        principal.user_id,
                        name=name,
                        scopes=known,
                        expires_in_days=int(days) if days.isdecimal() else 0,
                        is_admin=principal.is_admin,
                        now=state.clock.now(),
                    )
        except AppError as error:
            wrong = {error.field or "": error.message}
        if wrong:
            again = token_form(principal, name=name, chosen=tuple(scope.value for scope in known), days=days, errors=wrong)
            return fragment(request, principal, _FORM, again, status=422)
        base = (state.settings.public_url or str(request.base_url)).rstrip("/")
        shown = TokenMade(name=name.strip(), token=token, curl=f"curl -H 'Authorization: Bearer {token}' {base}/api/orders")
        rows = await tokens_of(request, principal)
        partial = templating_of(request).partial(_LIST, rows, target="tokens", reader=reader, swap="outerHTML")
    return fragment(request, principal, "fragments/accounts/_token_made.html", shown, partials=partial)


def _wrong(name: str, scopes: tuple[TokenScope, ...]) -> dict[str, str]:
    wrong = {} if name.strip() else {"name": gettext("This field is needed.")}
    return wrong if scopes else {**wrong, "scopes": gettext("Choose at least one.")}


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(request: Request, principal: CurrentUser, token_id: UUID) -> Response:
    """End a token at once."""
    state = request.app.state
    async with state.database.transaction() as session:
        await tokens.revoke_token(session, principal.user_id, token_id, now=state.clock.now())
    with use_language(reader_of(request, principal).language):
        words = gettext("The token is revoked.")
        rows = await tokens_of(request, principal)
    return fragment(request, principal, _LIST, rows, toast=("success", words))
