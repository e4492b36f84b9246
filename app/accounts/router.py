"""`/api/auth`: tokens, the current user, and what they chose."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import preferences
from app.accounts.ai import AiCheck
from app.accounts.dependencies import CurrentUser, accounts_of, address_of
from app.accounts.events import PreferencesChanged
from app.accounts.models import User
from app.accounts.schemas import AiIn, AiTestOut, LoginIn, PreferencesIn, PreferencesOut, RegisterIn, TokenOut, UserOut
from app.accounts.service import Login, get_user
from app.core.config import Registration
from app.core.http import SessionDep, database_of, problems
from app.core.i18n import N_
from app.core.tenancy import enter_tenant
from app.errors import Forbidden, InvitationInvalid

router = APIRouter(prefix="/api/auth", tags=["accounts"])

_NEEDS_INVITATION: Final = N_("An account here needs an invitation. Ask the administrator of this server for one.")
_CLOSED: Final = N_("Registration is closed on this server. Ask its administrator for an account.")


async def user_out(session: AsyncSession, user: User) -> UserOut:
    """Return a user as the API shows it; the request works for that user."""
    enter_tenant(user.id)
    default: UUID | None = await session.scalar(
        text("SELECT id FROM brokers WHERE user_id = :user_id AND is_default"), {"user_id": user.id}
    )
    names = UserOut.model_fields.keys() - {"default_broker_id"}
    return UserOut(default_broker_id=default, **{name: getattr(user, name) for name in names})


@router.post("/login", summary="Log in for a bearer token", responses=problems(401, 422, 429))
async def log_in(request: Request, body: LoginIn, session: SessionDep) -> TokenOut:
    """Return a bearer token; wrong names and wrong passwords get the same answer after the same time. OTP_REQUIRED asks for `otp`."""
    login = await accounts_of(request).log_in(
        body.username,
        body.password,
        otp=body.otp,
        ip_address=address_of(request),
        user_agent=request.headers.get("user-agent"),
    )
    return await _token(request, session, login)


@router.post("/register", status_code=201, summary="Make an account", responses=problems(403, 409, 422))
async def register(request: Request, body: RegisterIn, session: SessionDep) -> UserOut:
    """Make an account, where this server lets anyone do so, or with an invitation."""
    invitation = admission(request, body.invitation)
    user = await accounts_of(request).create_user(
        body.username, body.password, email=body.email, invitation=invitation, origin=address_of(request)
    )
    return await user_out(session, user)


def admission(request: Request, invitation: str | None) -> str | None:
    """Return the invitation that making an account now will use up, None where anybody may make one; shared by API and page.

    Raises:
        Forbidden: nobody makes an account here themselves.
        InvitationInvalid: one is needed.
    """
    match request.app.state.settings.registration:
        case Registration.OPEN:
            return None
        case Registration.INVITATION:
            if not invitation:
                raise InvitationInvalid(_NEEDS_INVITATION)
            return invitation
        case _:
            raise Forbidden(_CLOSED, code="REGISTRATION_CLOSED")


@router.post("/refresh", summary="Replace a token that is about to expire", responses=problems(401))
async def refresh(request: Request, principal: CurrentUser, session: SessionDep) -> TokenOut:
    """Return a new bearer token of the same session."""
    user = await get_user(session, principal.user_id)
    return await _token(request, session, Login(user=user, session_id=principal.session_id, cookie=""))


@router.post("/logout", status_code=204, summary="End this session", responses=problems(401))
async def log_out(request: Request, principal: CurrentUser) -> None:
    """End the session on the server: its cookie and its bearer tokens stop working at once."""
    await accounts_of(request).log_out(principal.session_id)


@router.get("/current", summary="The user who is logged in", responses=problems(401))
async def current(principal: CurrentUser, session: SessionDep) -> UserOut:
    """Return the profile of whoever asks."""
    return await user_out(session, await get_user(session, principal.user_id))


@router.get("/preferences", summary="What you chose", responses=problems(401))
async def show_preferences(principal: CurrentUser, session: SessionDep) -> PreferencesOut:
    """Return how pages look, the default account and the AI provider, without its key."""
    return PreferencesOut.model_validate((await user_out(session, await get_user(session, principal.user_id))).model_dump())


@router.put("/preferences", summary="Choose", responses=problems(401, 404, 422))
async def change_preferences(request: Request, principal: CurrentUser, body: PreferencesIn) -> UserOut:
    """Change the fields that are given; your open pages follow at once. To switch one AI provider on switches the other off."""
    return await save_preferences(request, principal.user_id, body)


async def save_preferences(request: Request, user_id: UUID, changes: PreferencesIn) -> UserOut:
    """Change preferences and tell the open pages; shared by API and page. Raises as `preferences.change` does.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    state = request.app.state
    # Committed here and not with the request: the pages that are told read it again at once.
    async with database_of(request).transaction() as session:
        user = await preferences.change(session, state.vault, state.ai_providers, user_id, changes)
        if changes.default_broker_id is not None:
            await state.set_default_broker(session, user_id, changes.default_broker_id)
        saved = await user_out(session, user)
    state.bus.publish(PreferencesChanged(user_id=user_id, default_broker_id=changes.default_broker_id))
    return saved


@router.post("/ai/test", summary="Ask the AI provider", responses=problems(401, 422))
async def ask_ai(request: Request, principal: CurrentUser, body: AiIn) -> AiTestOut:
    """Ask the provider which models it has, as given here, or as stored where nothing is given. Nothing is stored."""
    found = await check_ai(request, principal.user_id, body)
    return AiTestOut(success=found.success, code=found.code, message=found.message, models=list(found.models))


async def check_ai(request: Request, user_id: UUID, given: AiIn) -> AiCheck:
    """Ask the provider; shared by API and page."""
    state = request.app.state
    async with database_of(request).transaction() as session:
        access = await preferences.access_of(session, state.vault, user_id, given)
    checked: AiCheck = await state.ai_providers.check(access)
    return checked


async def _token(request: Request, session: AsyncSession, login: Login) -> TokenOut:
    accounts = accounts_of(request)
    return TokenOut(
        access_token=accounts.issue_token(user_id=login.user.id, session_id=login.session_id),
        expires_in=int(accounts.policy.token_lifetime.total_seconds()),
        user=await user_out(session, login.user),
    )
