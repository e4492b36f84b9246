"""Who is asking, as a FastAPI dependency: by the session cookie, with its CSRF token for changes; on the API also by a bearer token.

A bearer token is a session's, or an API token. Pages take the cookie only.
"""

from typing import Annotated, Final

from fastapi import Depends, Request

from app.accounts import tokens
from app.accounts.principal import Principal
from app.accounts.service import Accounts
from app.core.http import is_page
from app.core.i18n import N_
from app.core.security import csrf_token, decode_token, same
from app.core.tenancy import enter_tenant
from app.errors import CsrfFailed, Forbidden, FreshCodeNeeded, NotAuthenticated, SessionNeeded

COOKIE: Final = "sid"
#: Over HTTPS the browser itself then guarantees that the cookie came from this host, for all its paths.
SECURE_COOKIE: Final = "__Host-sid"
_PAGES_TAKE_COOKIES: Final = N_("No bearer token opens a page: pages take the cookie of a login. Programs call /api.")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def accounts_of(request: Request) -> Accounts:
    """Return the accounts service of this application."""
    accounts: Accounts = request.app.state.accounts
    return accounts


def address_of(request: Request) -> str | None:
    """Return where a request comes from; behind a trusted proxy, from whom the proxy had it."""
    return request.client.host if request.client else None


def cookie_name(request: Request) -> str:
    """Return the name of the session cookie for this connection."""
    return SECURE_COOKIE if request.url.scheme == "https" else COOKIE


async def authenticate(request: Request) -> Principal | None:
    """Return who is asking, or None for a stranger. From then on the request works for that user (`core.tenancy`).

    Raises:
        NotAuthenticated: a bearer token was given and is not valid.
        SessionNeeded: a bearer token was given for a page, or an API token where none will do.
        ScopeMissing: an API token was given that may not do that.
        CsrfFailed: a cookie was used for a change without the page's token.
    """
    accounts = accounts_of(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if is_page(request):
            # A proxy in front may have a password of its own (Basic), which browsers send with everything: it is not for us.
            if is_bearer:
                raise SessionNeeded(_PAGES_TAKE_COOKIES)
        elif not is_bearer or not token:
            raise NotAuthenticated("use `Authorization: Bearer …`")
        else:
            return await _by_bearer(request, token.strip())
    cookie = request.cookies.get(cookie_name(request))
    principal = await accounts.by_cookie(cookie) if cookie else None
    if principal is not None and request.method not in _SAFE:
        await _check_csrf(request, principal)
    if principal is not None:
        enter_tenant(principal.user_id)
    return principal


async def _by_bearer(request: Request, token: str) -> Principal:
    if token.startswith(tokens.PREFIX):
        return await _by_api_token(request, token)
    claims = decode_token(request.app.state.jwt_secret, token)
    principal = await accounts_of(request).by_session(claims.session_id)
    if principal is None or principal.user_id != claims.user_id:
        raise NotAuthenticated("the session of this token is over; log in again")
    enter_tenant(principal.user_id)
    return principal


async def _by_api_token(request: Request, token: str) -> Principal:
    # The platform's database: whose token it is is what this finds out.
    principal = await tokens.by_token(request.app.state.platform_database, token, now=request.app.state.clock.now())
    if principal is None or principal.scopes is None:
        raise NotAuthenticated("the API token is not valid: it was revoked, has expired, or never was one")
    # Here and nowhere else is decided what a token may: every route asks who is there.
    tokens.check_scope(principal.scopes, request.method, request.scope["path"])
    enter_tenant(principal.user_id)
    return principal


async def _check_csrf(request: Request, principal: Principal) -> None:
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        value = (await request.form()).get("csrf_token")
        given = value if isinstance(value, str) else None
    if given is None or not same(given, csrf_token(request.app.state.jwt_secret, principal.session_id)):
        raise CsrfFailed


async def current_user(request: Request) -> Principal:
    """Return who is asking.

    Raises:
        NotAuthenticated: nobody is logged in.
    """
    principal = await authenticate(request)
    if principal is None:
        raise NotAuthenticated
    return principal


async def current_admin(principal: Annotated[Principal, Depends(current_user)]) -> Principal:
    """Return who is asking, who must be an administrator.

    Raises:
        Forbidden: an ordinary user.
    """
    if not principal.is_admin:
        raise Forbidden("only an administrator may do that")
    return principal


async def fresh_user(principal: Annotated[Principal, Depends(current_user)]) -> Principal:
    """Return who is asking, for what a stranger at an open page must not do. An API token has its scope instead.

    Raises:
        FreshCodeNeeded: there is a second factor, and no code of it was given within the last minutes.
    """
    if principal.needs_code:
        raise FreshCodeNeeded
    return principal


async def fresh_admin(principal: Annotated[Principal, Depends(current_admin)]) -> Principal:
    """Return the administrator who is asking. Raises as `fresh_user` and `current_admin`."""
    return await fresh_user(principal)


CurrentUser = Annotated[Principal, Depends(current_user)]
CurrentAdmin = Annotated[Principal, Depends(current_admin)]
FreshUser = Annotated[Principal, Depends(fresh_user)]
FreshAdmin = Annotated[Principal, Depends(fresh_admin)]
MaybeUser = Annotated[Principal | None, Depends(authenticate)]
