"""`/api/admin`: users, invitations and everybody's audit log; and `/api/account/audit`, one's own part of it."""

import asyncio
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.accounts import administration, audit_log, invitations
from app.accounts.admin_schemas import (
    AccountOut,
    AccountPage,
    AccountPatch,
    ChainOut,
    EntryOut,
    EntryPage,
    InvitationIn,
    InvitationMade,
    InvitationOut,
    InvitationPage,
)
from app.accounts.audit_log import Action, Entry, note
from app.accounts.dependencies import CurrentAdmin, CurrentUser, FreshAdmin
from app.accounts.principal import Principal
from app.core.config import Registration
from app.core.db import Database
from app.core.http import database_of, problems
from app.errors import Conflict

router = APIRouter(prefix="/api", tags=["administration"])

_LONGEST_EXPORT: Final = 50_000
_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "The file", "content": {"text/csv": {"schema": {"type": "string"}}}}}
_LARGEST_NUMBER: Final = 2**63 - 1

PageSize = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=1, le=_LARGEST_NUMBER, description="only entries with smaller numbers")]


def everybody(request: Request, admin: Principal) -> Database:
    """Return the platform's database, which shows the rows of all users: what an administrator administrates is other people's accounts."""
    assert admin.is_admin  # noqa: S101  # every caller was let in by CurrentAdmin
    database: Database = request.app.state.platform_database
    return database


@router.get("/admin/users", summary="All users", responses=problems(401, 403, 422))
async def list_users(request: Request, admin: CurrentAdmin, after: UUID | None = None, limit: PageSize = 50) -> AccountPage:
    """Return users, the oldest account first."""
    found = await administration.list_users(everybody(request, admin), after=after, limit=limit + 1)
    items = [AccountOut.model_validate(account, from_attributes=True) for account in found[:limit]]
    return AccountPage(items=items, next=items[-1].id if len(found) > limit else None)


@router.patch("/admin/users/{user_id}", summary="Change a user's rights", responses=problems(401, 403, 404, 409, 422))
async def change_user(request: Request, admin: FreshAdmin, user_id: UUID, body: AccountPatch) -> AccountOut:
    """Change the fields that are given. Disabling ends sessions and API tokens and halts the user's trading; their stops stay in place."""
    await change(request, admin, user_id, is_active=body.is_active, is_admin=body.is_admin)
    account = await administration.get_account(everybody(request, admin), user_id)
    return AccountOut.model_validate(account, from_attributes=True)


async def change(request: Request, admin: Principal, user_id: UUID, *, is_active: bool | None = None, is_admin: bool | None = None) -> None:
    """Change a user; shared by API and page.

    Raises:
        UserNotFound: there is no such user.
        LastAdministrator: an administrator's own account.
    """
    state = request.app.state
    await administration.change_user(
        everybody(request, admin), admin.user_id, user_id, is_active=is_active, is_admin=is_admin, now=state.clock.now()
    )
    # A repetition does the halt again, should the server have died in between.
    if is_active is False:
        await state.halt_user(user_id, by=admin.username)
    elif is_active:
        await state.release_user(user_id)


@router.get("/admin/invitations", summary="Invitations", responses=problems(401, 403))
async def list_invitations(request: Request, admin: CurrentAdmin) -> InvitationPage:
    """Return the latest invitations, the newest first."""
    found = await invitations.list_all(everybody(request, admin))
    return InvitationPage(items=[InvitationOut.model_validate(item, from_attributes=True) for item in found])


@router.post("/admin/invitations", status_code=201, summary="Invite somebody", responses=problems(401, 403, 409, 422))
async def make_invitation(request: Request, admin: FreshAdmin, body: InvitationIn) -> InvitationMade:
    """Return a link that makes one account. It is shown this once and stored only as a hash."""
    return await invite(request, admin, text_note=body.note, expires_in_days=body.expires_in_days)


async def invite(request: Request, admin: Principal, *, text_note: str, expires_in_days: int) -> InvitationMade:
    """Make an invitation; shared by API and page.

    Raises:
        Conflict: this server takes no invitations.
        InvalidInput: a note or a time to live that cannot be used.
    """
    settings = request.app.state.settings
    if settings.registration is not Registration.INVITATION:
        raise Conflict(f"this server takes no invitations: REGISTRATION is {settings.registration.value}, it must be invitation")
    invitation_id, secret = await invitations.make(
        everybody(request, admin), admin.user_id, text_note=text_note, expires_in_days=expires_in_days, now=request.app.state.clock.now()
    )
    base = (settings.public_url or str(request.base_url)).rstrip("/")
    return InvitationMade(id=invitation_id, url=f"{base}/register?invite={secret}")


@router.delete(
    "/admin/invitations/{invitation_id}", status_code=204, summary="Take an invitation back", responses=problems(401, 403, 404, 422)
)
async def revoke_invitation(request: Request, admin: CurrentAdmin, invitation_id: UUID) -> None:
    """Take back an invitation that nobody has used."""
    await invitations.revoke(everybody(request, admin), admin.user_id, invitation_id, now=request.app.state.clock.now())


@router.get("/admin/audit", summary="Everybody's audit log", responses=problems(401, 403, 422))
async def show_audit(
    request: Request,
    admin: CurrentAdmin,
    user_id: UUID | None = None,
    action: Action | None = None,
    before: Before = None,
    limit: PageSize = 50,
) -> EntryPage:
    """Return what was done to accounts, the newest first."""
    return await _page(everybody(request, admin), user_id=user_id, action=action, before=before, limit=limit)


@router.get(
    "/admin/audit/export", summary="Everybody's audit log as CSV", response_class=Response, responses=_CSV | problems(401, 403, 422)
)
async def export_audit(request: Request, admin: CurrentAdmin, user_id: UUID | None = None, action: Action | None = None) -> Response:
    """Return the latest 50,000 entries as a file for a spreadsheet; no cell of it is a formula."""
    database = everybody(request, admin)
    rows = await audit_log.entries(database, user_id=user_id, action=action, limit=_LONGEST_EXPORT)
    async with database.connection() as connection:
        await note(connection, Action.AUDIT_EXPORTED, user_id=admin.user_id, detail={"rows": len(rows)})
    return await _file(rows)


@router.get("/admin/audit/check", summary="Check the audit log's chain", responses=problems(401, 403))
async def check_audit(request: Request, admin: CurrentAdmin) -> ChainOut:
    """Compute every row's hash anew, and tell whether a row was changed, taken out or put in."""
    broken = await audit_log.first_broken(everybody(request, admin))
    return ChainOut(is_whole=broken is None, first_broken=broken)


@router.get("/account/audit", summary="What was done with my account", responses=problems(401, 403, 422))
async def show_own_audit(
    request: Request, principal: CurrentUser, action: Action | None = None, before: Before = None, limit: PageSize = 50
) -> EntryPage:
    """Return the user's own part of the audit log, the newest first."""
    return await _page(database_of(request), user_id=principal.user_id, action=action, before=before, limit=limit)


@router.get("/account/audit/export", summary="My audit log as CSV", response_class=Response, responses=_CSV | problems(401, 403))
async def export_own_audit(request: Request, principal: CurrentUser) -> Response:
    """Return the user's latest 50,000 entries as a file for a spreadsheet."""
    return await _file(await audit_log.entries(database_of(request), user_id=principal.user_id, limit=_LONGEST_EXPORT))


async def _page(database: Database, *, limit: int, **which: Any) -> EntryPage:
    found: list[Entry] = await audit_log.entries(database, limit=limit + 1, **which)
    items = [EntryOut.model_validate(entry, from_attributes=True) for entry in found[:limit]]
    return EntryPage(items=items, next=items[-1].number if len(found) > limit else None)


async def _file(rows: list[Entry]) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="aristobot-audit.csv"'}
    # So many lines take a third of a second, in which the loop must not stand still.
    return Response(await asyncio.to_thread(audit_log.as_csv, rows), media_type="text/csv; charset=utf-8", headers=headers)
