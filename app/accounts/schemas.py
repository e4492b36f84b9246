"""Shapes of the account API."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.domain.currencies import Currency

ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=300)]


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


class AiIn(BaseModel):
    """Which AI provider answers, and how it is reached; fields left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    ai_provider: Literal["none", "openrouter", "ollama"] | None = Field(None, description="one at most is on")
    ai_api_key: ApiKey | None = Field(None, description="OpenRouter's; stored sealed, never given out again")
    ai_endpoint_url: str | None = Field(None, max_length=500, description="Ollama's")
    ai_model: str | None = Field(None, max_length=200, description="empty for none")


class PreferencesIn(AiIn):
    """What a user may choose; fields left out stay as they are."""

    theme: Literal["dark", "light"] | None = None
    language: Literal["en", "fr"] | None = None
    display_timezone: Literal["utc", "local"] | None = None
    has_shortcuts: bool | None = Field(None, description="whether single keys do something in pages")
    currency: Currency | None = Field(None, description="in which totals are shown; where no rate is known they are shown in USDT")
    default_broker_id: UUID | None = None
    confirm_orders: bool | None = Field(None, description="whether the order ticket asks once more before it sends")
    forget_ai_key: bool = Field(False, description="drops the stored key; where OpenRouter was on, no provider is")


class PreferencesOut(BaseModel):
    """What a user chose. Of the key only that there is one, and how it ends."""

    ai_provider: str
    ai_enabled: bool
    ai_endpoint_url: str
    ai_model: str | None
    has_ai_key: bool
    ai_key_hint: str
    theme: str
    display_timezone: str
    currency: str
    language: str
    has_shortcuts: bool
    confirm_orders: bool
    default_broker_id: UUID | None


class AiTestOut(BaseModel):
    """What came of asking the provider. `models` are the names it knows."""

    success: bool
    code: str | None
    message: str
    models: list[str]


class UserOut(PreferencesOut):
    """A user as the API shows it."""

    id: UUID
    username: str
    email: str | None
    is_admin: bool
    is_dev: bool


class TokenOut(BaseModel):
    """A bearer token. `expires_in` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the word of RFC 6750, not a secret
    expires_in: int
    user: UserOut
