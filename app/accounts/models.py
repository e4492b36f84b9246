"""Tables of people and their sessions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Encrypted, Identified, Owned, one_of


class AiProvider(StrEnum):
    """Who answers the strategy assistant."""

    NONE = "none"
    OPENROUTER = "openrouter"
    OLLAMA = "ollama"


class Theme(StrEnum):
    """Look of the pages."""

    DARK = "dark"
    LIGHT = "light"


class DisplayTimezone(StrEnum):
    """In which zone times are shown."""

    UTC = "utc"
    LOCAL = "local"


class Language(StrEnum):
    """Languages of the pages."""

    EN = "en"
    FR = "fr"


class User(Identified, Base):
    """A person. Their default broker account is the one whose `brokers.is_default` is set: one truth, one place."""

    __tablename__ = "users"
    __table_args__ = (
        one_of("ai_provider", AiProvider),
        one_of("theme", Theme),
        one_of("display_timezone", DisplayTimezone),
        one_of("language", Language),
        Index("uq_users_username", func.lower(text("username")), unique=True),
        Index("uq_users_email", func.lower(text("email")), unique=True, postgresql_where=text("email IS NOT NULL")),
    )

    username: Mapped[str]
    email: Mapped[str | None]
    password_hash: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_dev: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    ai_provider: Mapped[str] = mapped_column(server_default="none")
    ai_enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    ai_api_key: Mapped[bytes | None] = mapped_column(Encrypted)
    ai_endpoint_url: Mapped[str] = mapped_column(server_default="http://localhost:11434")
    ai_model: Mapped[str | None]
    theme: Mapped[str] = mapped_column(server_default="dark")
    display_timezone: Mapped[str] = mapped_column(server_default="local")
    language: Mapped[str] = mapped_column(server_default="en")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserSession(Identified, Owned, Base):
    """A login, by page or by API. The cookie's token is stored as a hash; logging out ends bearer tokens too."""

    __tablename__ = "user_sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]


class LoginAttempts(Base):
    """How many attempts went wrong, by the digest of a name or an address; `accounts.throttle` counts. Nobody's own."""

    __tablename__ = "login_attempts"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime]
    blocked_until: Mapped[datetime]


class SecondFactor(Owned, Base):
    """A user's second factor; it counts once it is confirmed. `last_step` is the latest half minute whose code was used."""

    __tablename__ = "second_factors"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[bytes] = mapped_column(Encrypted)
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None] = mapped_column(BigInteger)


class RecoveryCode(Identified, Owned, Base):
    """A code that stands in for the second factor once."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None]
