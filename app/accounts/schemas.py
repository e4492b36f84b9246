"""Shapes of the account API."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class LoginIn(BaseModel):
    """Name and password; `otp` is kept for accounts with a second factor."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=200)
    password: str = Field(min_length=1, max_length=1000)
    otp: str | None = Field(None, max_length=20)


class RegisterIn(BaseModel):
    """A new account."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=2, max_length=60, pattern=r"^[A-Za-z0-9_.@-]+$")
    password: str = Field(min_length=1, max_length=1000)
    email: str | None = Field(None, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
    invitation: str | None = Field(None, max_length=200, description="where one is needed: what stands behind `invite=` in its link")


class PreferencesIn(BaseModel):
    """What a user may choose; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    theme: Literal["dark", "light"] | None = None
    language: Literal["en", "fr"] | None = None
    display_timezone: Literal["utc", "local"] | None = None


class UserOut(BaseModel):
    """A user as the API shows it."""

    id: UUID
    username: str
    email: str | None
    is_admin: bool
    is_dev: bool
    ai_provider: str
    ai_enabled: bool
    ai_model: str | None
    theme: str
    display_timezone: str
    language: str
    default_broker_id: UUID | None


class TokenOut(BaseModel):
    """A bearer token. `expires_in` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the word of RFC 6750, not a secret
    expires_in: int
    user: UserOut
