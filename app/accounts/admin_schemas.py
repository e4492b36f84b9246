"""Shapes of administration and of the audit log."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.accounts.invitations import LONGEST_DAYS


class AccountPatch(BaseModel):
    """What an administrator changes of a user; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    is_active: bool | None = None
    is_admin: bool | None = None


class AccountOut(BaseModel):
    """A user as administrators see them; `last_seen_at` is exact to a minute, None before the first login."""

    id: UUID
    username: str
    email: str | None
    is_admin: bool
    is_dev: bool
    is_active: bool
    created_at: datetime
    last_seen_at: datetime | None


class AccountPage(BaseModel):
    """Users, the oldest account first; `next` is the `after` of the next page, None on the last."""

    items: list[AccountOut]
    next: UUID | None


class InvitationIn(BaseModel):
    """Whom the invitation is for, in the administrator's own words, and for how many days."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=100)
    expires_in_days: int = Field(7, ge=1, le=LONGEST_DAYS)


class InvitationOut(BaseModel):
    """An invitation; `made_by` and `used_by` are names."""

    id: UUID
    note: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    made_by: str | None
    used_by: str | None


class InvitationMade(BaseModel):
    """A new invitation; `url` is shown this once."""

    id: UUID
    url: str


class InvitationPage(BaseModel):
    """The latest invitations that were not taken back."""

    items: list[InvitationOut]


class EntryOut(BaseModel):
    """Something that was done: who, what, when, from where, to what, with what result."""

    number: int
    at: datetime
    user_id: UUID | None
    name: str | None
    action: str
    object: str
    result: Literal["done", "refused"]
    detail: dict[str, Any]
    ip_address: str | None
    user_agent: str | None


class ChainOut(BaseModel):
    """Whether every row of the audit log follows from the one before it; `first_broken` is the number of the first that does not."""

    is_whole: bool
    first_broken: int | None


class EntryPage(BaseModel):
    """Entries, the newest first; `next` is the `before` of the next page, None on the last."""

    items: list[EntryOut]
    next: int | None
