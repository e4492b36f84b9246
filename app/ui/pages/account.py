"""A person's own account: password, second factor, logins."""

import base64
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.accounts import sessions
from app.accounts.dependencies import CurrentUser, accounts_of, address_of
from app.accounts.principal import Principal
from app.accounts.second_factor import Enrolment, picture_of
from app.core.http import database_of
from app.core.i18n import gettext, ngettext, use_language
from app.errors import AppError, NotAuthenticated
from app.ui.devices import device_of
from app.ui.surroundings import fragment, page, reader_of, shell_of
from app.ui.views import AccountView, FactorForm, FreshCodeForm, PasswordForm, Region, SessionRow

router = APIRouter(include_in_schema=False)

_PASSWORD = "fragments/accounts/_password.html"  # noqa: S105  # a template's name
_FACTOR = "fragments/accounts/_second_factor.html"
_FRESH_CODE = "fragments/shell/_fresh_code.html"
_SESSIONS = "fragments/accounts/_sessions.html"
Text = Annotated[str, Form(max_length=1000)]
Code = Annotated[str, Form(max_length=40)]


@router.get("/account")
async def show_account(request: Request, principal: CurrentUser) -> Response:
    """All of it on one page."""
    view = AccountView(
        shell=await shell_of(request, principal, page="account"),
        password=PasswordForm(username=principal.username),
        factor=await _factor(request, principal),
        sessions=await _sessions(request, principal),
    )
    return page(request, "pages/accounts/account.html", view)


@router.post("/account/password")
async def change_password(request: Request, principal: CurrentUser, current_password: Text = "", new_password: Text = "") -> Response:
    """Change the password; what cannot be used comes back with its sentence."""
    with use_language(reader_of(request, principal).language):
        try:
            ended = await accounts_of(request).change_password(
                principal.user_id, principal.session_id, current=current_password, new=new_password, ip_address=address_of(request)
            )
        except AppError as error:
            form = PasswordForm(username=principal.username, errors=_errors(error, default="current_password"))
            return fragment(request, principal, _PASSWORD, form, status=error.status)
        words = gettext("Your password is changed.") + " " + _ended(ended)
    return fragment(request, principal, _PASSWORD, PasswordForm(username=principal.username), toast=("success", words))


@router.post("/account/second-factor")
async def begin(request: Request, principal: CurrentUser, current_password: Text = "") -> Response:
    """Make a secret and show it, once the password was given again."""
    accounts = accounts_of(request)
    with use_language(reader_of(request, principal).language):
        try:
            await accounts.check_password(principal.user_id, current_password, ip_address=address_of(request))
            made = await accounts.factors.enrol(principal.user_id, principal.username)
        except AppError as error:
            return fragment(request, principal, _FACTOR, FactorForm(errors=_errors(error, default="current_password")), status=error.status)
    return fragment(request, principal, _FACTOR, _enrolling(made))


@router.post("/account/second-factor/confirm")
async def confirm(request: Request, principal: CurrentUser, code: Code = "", secret: Code = "") -> Response:
    """Take the first code and show the recovery codes."""
    with use_language(reader_of(request, principal).language):
        try:
            codes = await accounts_of(request).switch_on(principal.user_id, principal.session_id, code)
        except AppError as error:
            # The page still has the secret; only it can show it again.
            form = _enrolling(picture_of(secret, principal.username), errors=_errors(error, default="code"))
            return fragment(request, principal, _FACTOR, form, status=_status(error))
        words = gettext("The second factor is on. All your other logins have ended.")
    form = FactorForm(step="on", recovery_codes=len(codes), codes=tuple(codes))
    return fragment(request, principal, _FACTOR, form, toast=("success", words))


@router.post("/account/second-factor/codes")
async def renew_codes(request: Request, principal: CurrentUser, code: Code = "") -> Response:
    """Replace the recovery codes."""
    with use_language(reader_of(request, principal).language):
        try:
            codes = await accounts_of(request).renew_codes(principal.user_id, code)
        except AppError as error:
            return await _refused(request, principal, error)
    return fragment(request, principal, _FACTOR, FactorForm(step="on", recovery_codes=len(codes), codes=tuple(codes)))


@router.post("/account/second-factor/off")
async def switch_off(request: Request, principal: CurrentUser, code: Code = "", current_password: Text = "") -> Response:
    """Forget the second factor, when password and code are right."""
    accounts = accounts_of(request)
    with use_language(reader_of(request, principal).language):
        try:
            await accounts.check_password(principal.user_id, current_password, ip_address=address_of(request))
            await accounts.switch_off(principal.user_id, principal.session_id, code)
        except AppError as error:
            return await _refused(request, principal, error)
        words = gettext("The second factor is off.")
    return fragment(request, principal, _FACTOR, FactorForm(), toast=("success", words))


@router.post("/account/verify")
async def verify(request: Request, principal: CurrentUser, code: Code = "") -> Response:
    """Take a fresh code, in the dialog that something asked for; that something is then done again by who wanted it."""
    with use_language(reader_of(request, principal).language):
        try:
            await accounts_of(request).verify(principal.user_id, principal.session_id, code)
        except AppError as error:
            form = FreshCodeForm(error=error.message)
            return fragment(request, principal, _FRESH_CODE, form, status=_status(error))
        words = gettext("Thank you. Now repeat what you were about to do.")
    return fragment(request, principal, _FRESH_CODE, FreshCodeForm(), toast=("success", words), close_dialog="fresh-code-dialog")


@router.post("/account/sessions/end-others")
async def end_others(request: Request, principal: CurrentUser) -> Response:
    """End every login but this one."""
    now = request.app.state.clock.now()
    ended = await sessions.end_other_sessions(database_of(request), principal.user_id, principal.session_id, now=now)
    with use_language(reader_of(request, principal).language):
        words = _ended(ended)
    return fragment(request, principal, _SESSIONS, await _sessions(request, principal), toast=("success", words))


@router.post("/account/sessions/{session_id}/end")
async def end_one(request: Request, principal: CurrentUser, session_id: UUID) -> Response:
    """End one login."""
    await sessions.end_session(database_of(request), principal.user_id, session_id, now=request.app.state.clock.now())
    with use_language(reader_of(request, principal).language):
        words = _ended(1)
    return fragment(request, principal, _SESSIONS, await _sessions(request, principal), toast=("success", words))


def _ended(count: int) -> str:
    return ngettext("%(count)d other login has ended.", "%(count)d other logins have ended.", count) % {"count": count}


def _status(error: AppError) -> int:
    """A wrong code is a field that cannot be used: nobody's login has ended by it, as 401 would say."""
    return 422 if isinstance(error, NotAuthenticated) else error.status


def _errors(error: AppError, *, default: str) -> dict[str, str]:
    return {error.field or default: error.message}


async def _refused(request: Request, principal: Principal, error: AppError) -> Response:
    left = (await accounts_of(request).factors.state(principal.user_id)).recovery_codes
    form = FactorForm(step="on", recovery_codes=left, errors=_errors(error, default="code"))
    return fragment(request, principal, _FACTOR, form, status=_status(error))


def _enrolling(made: Enrolment, *, errors: dict[str, str] | None = None) -> FactorForm:
    picture = "data:image/svg+xml;base64," + base64.b64encode(made.svg.encode()).decode("ascii")
    return FactorForm(step="enrolling", secret=made.secret, picture=picture, errors=errors or {})


async def _factor(request: Request, principal: Principal) -> FactorForm:
    state = await accounts_of(request).factors.state(principal.user_id)
    return FactorForm(step="on" if state.is_on else "off", recovery_codes=state.recovery_codes)


async def _sessions(request: Request, principal: Principal) -> Region[SessionRow]:
    now = request.app.state.clock.now()
    used_since = now - accounts_of(request).policy.absolute
    rows = await sessions.list_sessions(database_of(request), principal.user_id, now=now, used_since=used_since)
    return Region(
        rows=tuple(
            SessionRow(
                id=str(row["id"]),
                device=device_of(row["user_agent"]),
                ip_address=row["ip_address"] or "",
                created_at=row["created_at"],
                last_seen_at=row["last_seen_at"],
                is_current=row["id"] == principal.session_id,
            )
            for row in rows
        )
    )
