"""Administration: users, invitations and the audit log of accounts. Everybody else is told that they may not."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts import administration, audit_log, invitations
from app.accounts.admin_router import change, everybody, invite
from app.accounts.audit_log import Action
from app.accounts.dependencies import CurrentAdmin, FreshAdmin
from app.accounts.principal import Principal
from app.core.config import Registration
from app.core.i18n import gettext, use_language
from app.errors import AppError
from app.ui.account_log import action_of, log_region
from app.ui.jail import jail_panel
from app.ui.pages.tokens import days_of
from app.ui.surroundings import fragment, page, reader_of, shell_of, templating_of
from app.ui.templating import triggers
from app.ui.views import (
    AccountLog,
    AdminView,
    InvitationForm,
    InvitationLink,
    InvitationList,
    InvitationRow,
    UserList,
    UserRow,
)

router = APIRouter(include_in_schema=False)

_USERS = "fragments/admin/_users.html"
_INVITATIONS = "fragments/admin/_invitations.html"
_JAIL = "fragments/admin/_jail.html"
_LOG = "fragments/admin/_log.html"
_DAYS = (1, 7, 30)
_PAGE = 50
_LOG_PAGE = 30


async def _users(request: Request, admin: Principal, *, after: UUID | None = None) -> UserList:
    found = await administration.list_users(everybody(request, admin), after=after, limit=_PAGE + 1)
    rows = tuple(
        UserRow(
            id=str(user.id),
            name=user.username,
            email=user.email or "",
            created_at=user.created_at,
            last_seen_at=user.last_seen_at,
            is_admin=user.is_admin,
            is_active=user.is_active,
            is_me=user.id == admin.user_id,
        )
        for user in found[:_PAGE]
    )
    following = f"/admin/users?after={rows[-1].id}" if len(found) > _PAGE else ""
    return UserList(rows=rows, next=following, is_first=after is None)


async def _invitations(request: Request, admin: Principal) -> InvitationList:
    now = request.app.state.clock.now()
    rows = tuple(
        InvitationRow(
            id=str(item.id),
            note=item.note,
            made_by=item.made_by or "",
            created_at=item.created_at,
            expires_at=item.expires_at,
            used_by=item.used_by or "",
            used_at=item.used_at,
            is_expired=item.expires_at <= now,
        )
        for item in await invitations.list_all(everybody(request, admin))
    )
    return InvitationList(rows=rows, is_taken=request.app.state.settings.registration is Registration.INVITATION)


async def _log(request: Request, admin: Principal, *, before: int | None = None, action: Action | None = None) -> AccountLog:
    return await log_region(everybody(request, admin), address="/admin/log", before=before, action=action)


def _form(*, note: str = "", days: str = "7", errors: dict[str, str] | None = None) -> InvitationForm:
    return InvitationForm(days=days_of(_DAYS), note=note, expires_in_days=days, errors=errors or {})


@router.get("/admin")
async def show_admin(request: Request, admin: CurrentAdmin) -> Response:
    """Users, invitations and the audit log."""
    shell = await shell_of(request, admin, page="admin")
    with use_language(shell.reader.language):
        view = AdminView(
            shell=shell,
            users=await _users(request, admin),
            invitations=await _invitations(request, admin),
            form=_form(),
            jail=jail_panel(request.app.state.jail),
            log=await _log(request, admin),
        )
    return page(request, "pages/admin/admin.html", view)


@router.get("/admin/users")
async def show_users(request: Request, admin: CurrentAdmin, after: UUID | None = None) -> Response:
    """Another page of users."""
    return fragment(request, admin, _USERS, await _users(request, admin, after=after))


@router.post("/admin/users/{user_id}")
async def change_user(
    request: Request,
    admin: FreshAdmin,
    user_id: UUID,
    active: Annotated[bool | None, Form()] = None,
    rights: Annotated[bool | None, Form()] = None,
) -> Response:
    """Disable or enable a user, or give or take an administrator's rights."""
    await change(request, admin, user_id, is_active=active, is_admin=rights)
    reader = reader_of(request, admin)
    with use_language(reader.language):
        log = templating_of(request).partial(_LOG, await _log(request, admin), target="log", reader=reader, swap="outerHTML")
        words = gettext("The user is changed.")
    return fragment(request, admin, _USERS, await _users(request, admin), toast=("success", words), partials=log)


@router.post("/admin/invitations")
async def make_invitation(
    request: Request, admin: FreshAdmin, note: Annotated[str, Form(max_length=200)] = "", days: Annotated[str, Form(max_length=10)] = "7"
) -> Response:
    """Make an invitation and show its link, this once."""
    reader = reader_of(request, admin)
    with use_language(reader.language):
        try:
            made = await invite(request, admin, text_note=note, expires_in_days=int(days) if days.isdecimal() else 0)
        except AppError as error:
            again = _form(note=note, days=days, errors={error.field or "": error.message})
            return fragment(request, admin, "fragments/admin/_invitation_form.html", again, status=422)
        rows = await _invitations(request, admin)
        partial = templating_of(request).partial(_INVITATIONS, rows, target="invitations", reader=reader, swap="outerHTML")
    shown = InvitationLink(note=note.strip(), url=made.url)
    return fragment(request, admin, "fragments/admin/_invitation_made.html", shown, partials=partial)


@router.post("/admin/invitations/{invitation_id}/revoke")
async def revoke_invitation(request: Request, admin: CurrentAdmin, invitation_id: UUID) -> Response:
    """Take back an invitation that nobody has used."""
    await invitations.revoke(everybody(request, admin), admin.user_id, invitation_id, now=request.app.state.clock.now())
    with use_language(reader_of(request, admin).language):
        words = gettext("The invitation is taken back.")
    return fragment(request, admin, _INVITATIONS, await _invitations(request, admin), toast=("success", words))


@router.get("/admin/jail")
async def show_jail(request: Request, admin: CurrentAdmin) -> Response:
    """How strategies are locked in, as it is now."""
    with use_language(reader_of(request, admin).language):
        region = jail_panel(request.app.state.jail)
    return fragment(request, admin, _JAIL, region)


@router.get("/admin/log/check")
async def check_log(request: Request, admin: CurrentAdmin) -> Response:
    """Say whether a row of the audit log was changed, taken out or put in."""
    broken = await audit_log.first_broken(everybody(request, admin))
    with use_language(reader_of(request, admin).language):
        if broken is None:
            words = triggers(toast=gettext("The audit log is whole: every entry follows from the one before it."))
        else:
            told = gettext("Entry %(number)s of the audit log does not follow from the one before it: somebody has changed the table.")
            words = triggers(toast=told % {"number": broken}, level="error")
    return Response(status_code=200, headers={"HX-Trigger": words, "HX-Reswap": "none"})


@router.get("/admin/log")
async def show_log(
    request: Request,
    admin: CurrentAdmin,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    action: str = "",
) -> Response:
    """Another page of the audit log, or what was done in one way only."""
    with use_language(reader_of(request, admin).language):
        region = await _log(request, admin, before=before, action=action_of(action))
    return fragment(request, admin, _LOG, region)
