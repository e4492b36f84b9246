"""Login, logout, registration and the two preferences of the menu."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.accounts import invitations
from app.accounts.dependencies import CurrentUser, MaybeUser, accounts_of, cookie_name
from app.accounts.router import admission
from app.accounts.service import Login, update_preferences
from app.core.config import Registration
from app.core.http import SessionDep
from app.core.i18n import gettext, use_language
from app.errors import AppError, InvitationInvalid, NotAuthenticated
from app.ui.surroundings import page, reader_of, see_other, shell_of
from app.ui.views import LoginView, RegisterView

router = APIRouter(include_in_schema=False)

_THEMES = ("dark", "light")
_LANGUAGES = ("en", "fr")


def _is_open(request: Request) -> bool:
    is_open: bool = request.app.state.settings.registration is Registration.OPEN
    return is_open


@router.get("/login")
async def show_login(request: Request, principal: MaybeUser, next: str = "") -> Response:  # the query's own name
    """The login page, or the dashboard for somebody who is logged in."""
    if principal is not None:
        return RedirectResponse("/", 303)
    view = LoginView(shell=await shell_of(request, None, page="login"), next=next, registration_open=_is_open(request))
    return page(request, "pages/accounts/login.html", view)


@router.post("/login")
async def log_in(
    request: Request,
    username: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=500)] = "",  # the form's own name
) -> Response:
    """Open a session and set its cookie."""
    try:
        login = await accounts_of(request).log_in(
            username,
            password,
            ip_address=request.client.host if request.client else None,
            user_agent=request.headers.get("user-agent"),
        )
    except NotAuthenticated as error:
        with use_language(reader_of(request, None).language):
            words = gettext(error.message)
        view = LoginView(
            shell=await shell_of(request, None, page="login"),
            error=words,
            username=username,
            next=next,
            registration_open=_is_open(request),
        )
        return page(request, "pages/accounts/login.html", view, status=401)
    return _with_cookie(request, see_other(request, next or "/"), login)


def _with_cookie(request: Request, response: Response, login: Login) -> Response:
    is_secure = request.url.scheme == "https"
    policy = accounts_of(request).policy
    response.set_cookie(
        cookie_name(request),
        login.cookie,
        max_age=int(policy.absolute.total_seconds()),
        path="/",
        httponly=True,
        secure=is_secure,
        samesite="lax",
    )
    return response


@router.post("/logout")
async def log_out(request: Request, principal: CurrentUser) -> Response:
    """End the session on the server and forget its cookie."""
    await accounts_of(request).log_out(principal.session_id)
    response = see_other(request, "/login")
    response.delete_cookie(cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax")
    return response


@router.get("/register")
async def show_register(request: Request, invite: str = "") -> Response:
    """The form for a new account, where this server lets anyone make one, or with a link that invites."""
    invitation = admission(request, invite)
    if invitation is not None:
        # The platform's database: invitations belong to no user, and who was invited is none yet.
        await invitations.check(request.app.state.platform_database, invitation, now=request.app.state.clock.now())
    view = RegisterView(shell=await shell_of(request, None, page="register"), invite=invitation or "")
    return page(request, "pages/accounts/register.html", view)


@router.post("/register")
async def register(
    request: Request,
    username: Annotated[str, Form(max_length=60)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    email: Annotated[str, Form(max_length=254)] = "",
    invite: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Make the account and log it in."""
    invitation = admission(request, invite)
    accounts = accounts_of(request)
    try:
        await accounts.create_user(username, password, email=email or None, invitation=invitation)
    except InvitationInvalid:
        raise
    except AppError as error:
        view = RegisterView(
            shell=await shell_of(request, None, page="register"),
            username=username,
            email=email,
            invite=invite,
            errors={error.field or "": error.message},
        )
        return page(request, "pages/accounts/register.html", view, status=422)
    return _with_cookie(request, see_other(request, "/"), await accounts.log_in(username, password))


@router.post("/preferences")
async def change_preferences(
    request: Request,
    principal: MaybeUser,
    session: SessionDep,
    theme: Annotated[str | None, Form()] = None,
    language: Annotated[str | None, Form()] = None,
    next: Annotated[str, Form(max_length=500)] = "/",  # the form's own name
) -> Response:
    """Change theme or language and go back to where one was. A stranger's choice lives in cookies."""
    given = (("theme", theme, _THEMES), ("language", language, _LANGUAGES))
    changes = {name: value for name, value, known in given if value in known}
    if principal is not None:
        await update_preferences(session, principal.user_id, changes)
    response = see_other(request, next)
    for name, value in changes.items():
        response.set_cookie("lang" if name == "language" else name, str(value), max_age=31_536_000, path="/", samesite="lax")
    return response
