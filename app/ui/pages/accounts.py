"""Login, logout and registration."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.accounts import invitations
from app.accounts.dependencies import CurrentUser, MaybeUser, accounts_of, address_of, cookie_name
from app.accounts.development import DevelopmentMode, sitting_here
from app.accounts.router import admission
from app.accounts.service import Login
from app.core.config import Registration
from app.core.security import TOOK_TOO_LONG
from app.errors import AppError, InvitationInvalid, NotAuthenticated, SecondFactorNeeded, TooManyAttempts
from app.ui.surroundings import page, see_other, shell_of
from app.ui.views import CodeView, LoginView, RegisterView

router = APIRouter(include_in_schema=False)


def development_of(request: Request) -> DevelopmentMode:
    """Return the development mode of this application."""
    mode: DevelopmentMode = request.app.state.development
    return mode


def _is_open(request: Request) -> bool:
    is_open: bool = request.app.state.settings.registration is Registration.OPEN
    return is_open


@router.get("/login")
async def show_login(request: Request, principal: MaybeUser, next: str = "") -> Response:  # the query's own name
    """The login page, or the dashboard for somebody who is logged in."""
    if principal is not None:
        return RedirectResponse("/", 303)
    development = await _development(request)
    if development and next:
        # Sent here from a page, not come here to log in as somebody else.
        return await _as_dev(request, next)
    view = LoginView(
        shell=await shell_of(request, None, page="login"), next=next, registration_open=_is_open(request), development=development
    )
    return page(request, "pages/accounts/login.html", view)


async def _development(request: Request) -> bool | None:
    mode = development_of(request)
    return await mode.is_on() if mode.is_offered_to(_sitting_here(request)) else None


def _sitting_here(request: Request) -> str | None:
    return sitting_here(address_of(request), request.headers)


async def _as_dev(request: Request, target: str) -> Response:
    login = await development_of(request).log_in(address=_sitting_here(request), user_agent=request.headers.get("user-agent"))
    return _with_cookie(request, see_other(request, target), login)


@router.post("/login/development")
async def switch_development_mode(request: Request, on: Annotated[bool, Form()]) -> Response:
    """Switch development mode; on, it logs in at once."""
    await development_of(request).switch(is_on=on, address=_sitting_here(request))
    if on:
        return await _as_dev(request, "/")
    return see_other(request, "/login")


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
            ip_address=address_of(request),
            user_agent=request.headers.get("user-agent"),
        )
    except SecondFactorNeeded as needed:
        view = CodeView(shell=await shell_of(request, None, page="login"), challenge=needed.challenge, next=next)
        return page(request, "pages/accounts/code.html", view)
    except (NotAuthenticated, TooManyAttempts) as error:
        return await _not_logged_in(request, error, username=username, next_=next)
    return _with_cookie(request, see_other(request, next or "/"), login)


async def _not_logged_in(request: Request, error: AppError, *, username: str = "", next_: str) -> Response:
    view = LoginView(
        shell=await shell_of(request, None, page="login"),
        error=error.message,
        username=username,
        next=next_,
        registration_open=_is_open(request),
        development=await _development(request),
    )
    return _hurry_slowly(page(request, "pages/accounts/login.html", view, status=error.status), error)


def _hurry_slowly(response: Response, error: AppError) -> Response:
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return response


@router.post("/login/code")
async def give_code(
    request: Request,
    challenge: Annotated[str, Form(max_length=1000)] = "",
    code: Annotated[str, Form(max_length=40)] = "",
    next: Annotated[str, Form(max_length=500)] = "",  # the form's own name
) -> Response:
    """The second step: open the session when the code is right."""
    try:
        login = await accounts_of(request).finish_login(
            challenge, code, ip_address=address_of(request), user_agent=request.headers.get("user-agent")
        )
    except (NotAuthenticated, TooManyAttempts) as error:
        if error.message == TOOK_TOO_LONG:
            return await _not_logged_in(request, error, next_=next)
        shell = await shell_of(request, None, page="login")
        view = CodeView(shell=shell, challenge=challenge, next=next, error=error.message)
        return _hurry_slowly(page(request, "pages/accounts/code.html", view, status=error.status), error)
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
        await accounts.create_user(username, password, email=email or None, invitation=invitation, origin=address_of(request))
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
        return _hurry_slowly(page(request, "pages/accounts/register.html", view, status=error.status), error)
    login = await accounts.log_in(username, password, ip_address=address_of(request), user_agent=request.headers.get("user-agent"))
    return _with_cookie(request, see_other(request, "/"), login)
