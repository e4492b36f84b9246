"""`/api/auth`: password, second factor and logins of whoever asks."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import sessions
from app.accounts.dependencies import CurrentUser, accounts_of, address_of
from app.core.http import database_of, problems

router = APIRouter(prefix="/api/auth", tags=["accounts"])


class PasswordIn(BaseModel):
    """The present password and the one to take its place."""

    model_config = ConfigDict(extra="forbid")

    current_password: str = Field(min_length=1, max_length=1000)
    password: str = Field(min_length=1, max_length=1000)


class Ended(BaseModel):
    """How many logins were ended by it."""

    ended_sessions: int


class SessionOut(BaseModel):
    """A login that works now. Times are UTC."""

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ip_address: str | None
    user_agent: str | None
    is_current: bool


class SessionPage(BaseModel):
    """The logins that work now, the one used last first."""

    items: list[SessionOut]


class CurrentPasswordIn(BaseModel):
    """The present password: a page that was left open must not be enough."""

    model_config = ConfigDict(extra="forbid")

    current_password: str = Field(min_length=1, max_length=1000)


class CodeIn(BaseModel):
    """A code of the authenticator app; a recovery code where the app is to be replaced."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=1, max_length=40)


class SwitchOffIn(CodeIn, CurrentPasswordIn):
    """Password and code."""


class FactorOut(BaseModel):
    """Whether logging in takes a second factor, and how many recovery codes are left."""

    is_on: bool
    recovery_codes: int


class EnrolmentOut(BaseModel):
    """What an authenticator app needs: the secret, the same as an `otpauth://` address, and that as a picture (SVG). Shown this once."""

    secret: str
    address: str
    svg: str


class RecoveryCodes(BaseModel):
    """Codes that each stand in for the app once. Shown this once."""

    codes: list[str]


@router.put("/password", summary="Change the password", responses=problems(401, 422, 429))
async def change_password(request: Request, principal: CurrentUser, body: PasswordIn) -> Ended:
    """Set a new password. All other logins end, their bearer tokens too."""
    ended = await accounts_of(request).change_password(
        principal.user_id, principal.session_id, current=body.current_password, new=body.password, ip_address=address_of(request)
    )
    return Ended(ended_sessions=ended)


@router.post("/verify", status_code=204, summary="Give a fresh code", responses=problems(401, 403, 422, 429))
async def verify(request: Request, principal: CurrentUser, body: CodeIn) -> None:
    """Take a code of the second factor. For ten minutes this login may then do what asks for a fresh one (OTP_AGAIN)."""
    await accounts_of(request).verify(principal.user_id, principal.session_id, body.code)


@router.get("/sessions", summary="Logins that work now", responses=problems(401))
async def list_sessions(request: Request, principal: CurrentUser) -> SessionPage:
    """Return where somebody is logged in as this user, by page or by API."""
    now = request.app.state.clock.now()
    used_since = now - accounts_of(request).policy.absolute
    rows = await sessions.list_sessions(database_of(request), principal.user_id, now=now, used_since=used_since)
    return SessionPage(items=[SessionOut(**row, is_current=row["id"] == principal.session_id) for row in rows])


@router.delete("/sessions", summary="End all other logins", responses=problems(401))
async def end_other_sessions(request: Request, principal: CurrentUser) -> Ended:
    """End every login but the one that asks."""
    now = request.app.state.clock.now()
    return Ended(ended_sessions=await sessions.end_other_sessions(database_of(request), principal.user_id, principal.session_id, now=now))


@router.delete("/sessions/{session_id}", status_code=204, summary="End one login", responses=problems(401, 404, 422))
async def end_session(request: Request, principal: CurrentUser, session_id: UUID) -> None:
    """End a login at once, with every bearer token that was made from it."""
    await sessions.end_session(database_of(request), principal.user_id, session_id, now=request.app.state.clock.now())


@router.get("/second-factor", summary="The second factor", responses=problems(401))
async def second_factor(request: Request, principal: CurrentUser) -> FactorOut:
    """Return whether there is one."""
    state = await accounts_of(request).factors.state(principal.user_id)
    return FactorOut(is_on=state.is_on, recovery_codes=state.recovery_codes)


@router.post("/second-factor", status_code=201, summary="Begin a second factor", responses=problems(401, 409, 422, 429))
async def enrol(request: Request, principal: CurrentUser, body: CurrentPasswordIn) -> EnrolmentOut:
    """Make a secret for an authenticator app. It counts once a first code of it was given."""
    accounts = accounts_of(request)
    await accounts.check_password(principal.user_id, body.current_password, ip_address=address_of(request))
    made = await accounts.factors.enrol(principal.user_id, principal.username)
    return EnrolmentOut(secret=made.secret, address=made.address, svg=made.svg)


@router.post("/second-factor/confirm", summary="Switch the second factor on", responses=problems(401, 409, 422, 429))
async def confirm(request: Request, principal: CurrentUser, body: CodeIn) -> RecoveryCodes:
    """Take the first code, switch the second factor on and end all other logins."""
    return RecoveryCodes(codes=await accounts_of(request).switch_on(principal.user_id, principal.session_id, body.code))


@router.post("/second-factor/codes", summary="New recovery codes", responses=problems(401, 422, 429))
async def renew_codes(request: Request, principal: CurrentUser, body: CodeIn) -> RecoveryCodes:
    """Replace all recovery codes."""
    return RecoveryCodes(codes=await accounts_of(request).renew_codes(principal.user_id, body.code))


@router.delete("/second-factor", summary="Switch the second factor off", responses=problems(401, 422, 429))
async def switch_off(request: Request, principal: CurrentUser, body: SwitchOffIn) -> Ended:
    """Forget the second factor; password and code are needed. All other logins end."""
    accounts = accounts_of(request)
    await accounts.check_password(principal.user_id, body.current_password, ip_address=address_of(request))
    return Ended(ended_sessions=await accounts.switch_off(principal.user_id, principal.session_id, body.code))
