"""`/api/auth/tokens`: API tokens for programs. A token cannot ask here: only somebody who is logged in can."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import tokens
from app.accounts.dependencies import CurrentUser, FreshUser
from app.accounts.models import ApiToken, TokenScope
from app.core.http import SessionDep, problems

router = APIRouter(prefix="/api/auth/tokens", tags=["accounts"])


class KeyIn(BaseModel):
    """A new token: its name, what it may do, and for how many days."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    scopes: set[TokenScope] = Field(min_length=1, description="read: look; trade: change; admin: what an administrator may besides")
    expires_in_days: int = Field(90, ge=1, le=tokens.LONGEST_DAYS)


class KeyOut(BaseModel):
    """A token as it is listed. `last_used_at` is exact to a minute."""

    id: UUID
    name: str
    scopes: list[TokenScope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: ApiToken) -> "KeyOut":
        """Return a token as the API shows it."""
        return cls.model_validate(token, from_attributes=True)


class KeyMade(KeyOut):
    """A new token; `token` is shown this once."""

    token: str


class KeyPage(BaseModel):
    """All tokens that were not revoked."""

    items: list[KeyOut]


@router.post("", status_code=201, summary="Make an API token", responses=problems(401, 403, 409, 422))
async def make_key(request: Request, principal: FreshUser, body: KeyIn, session: SessionDep) -> KeyMade:
    """Return a token for `Authorization: Bearer …`. It is shown this once and stored only as a hash."""
    made, token = await tokens.make_token(
        session,
        principal.user_id,
        name=body.name,
        scopes=body.scopes,
        expires_in_days=body.expires_in_days,
        is_admin=principal.is_admin,
        now=request.app.state.clock.now(),
    )
    return KeyMade(token=token, **KeyOut.of(made).model_dump())


@router.get("", summary="API tokens", responses=problems(401, 403))
async def list_keys(principal: CurrentUser, session: SessionDep) -> KeyPage:
    """Return the user's tokens that were not revoked, the newest first."""
    return KeyPage(items=[KeyOut.of(token) for token in await tokens.list_tokens(session, principal.user_id)])


@router.delete("/{token_id}", status_code=204, summary="Revoke an API token", responses=problems(401, 403, 404, 422))
async def revoke_key(request: Request, principal: CurrentUser, token_id: UUID, session: SessionDep) -> None:
    """End a token at once."""
    await tokens.revoke_token(session, principal.user_id, token_id, now=request.app.state.clock.now())
