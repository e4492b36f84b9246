"""Tables of people, their sessions and tokens, invitations, and the log of what was done to accounts."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Encrypted, Identified, Owned, one_of, sealed
from app.domain.currencies import Currency


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
        one_of("currency", Currency),
        sealed("ai_api_key"),
        CheckConstraint("ai_provider <> 'openrouter' OR ai_api_key IS NOT NULL", name="ai_key_given"),
        Index("uq_users_username", func.lower(text("username")), unique=True),
        Index("uq_users_is_dev", "is_dev", unique=True, postgresql_where=text("is_dev")),
        Index("uq_users_email", func.lower(text("email")), unique=True, postgresql_where=text("email IS NOT NULL")),
    )

    username: Mapped[str]
    email: Mapped[str | None]
    password_hash: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_dev: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    ai_provider: Mapped[str] = mapped_column(server_default="none")
    ai_api_key: Mapped[bytes | None] = mapped_column(Encrypted("user:{id}:ai_api_key"))
    ai_key_hint: Mapped[str] = mapped_column(server_default="")
    ai_endpoint_url: Mapped[str] = mapped_column(server_default="http://localhost:11434")
    ai_model: Mapped[str | None]
    theme: Mapped[str] = mapped_column(server_default="dark")
    display_timezone: Mapped[str] = mapped_column(server_default="local")
    language: Mapped[str] = mapped_column(server_default="en")
    #: Whether single keys, without a modifier, do something in pages (WCAG 2.1.4).
    has_shortcuts: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    #: Whether an order ticket shows the exact order once more before it is sent.
    confirm_orders: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    #: In which totals are shown; what is stored stays in USDT.
    currency: Mapped[str] = mapped_column(server_default="USDT")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def ai_enabled(self) -> bool:
        """Whether a provider is on; which, one column says alone."""
        return self.ai_provider != AiProvider.NONE

    @property
    def has_ai_key(self) -> bool:
        """Whether a key of OpenRouter is stored."""
        return self.ai_api_key is not None


class UserSession(Identified, Owned, Base):
    """A login, by page or by API. The cookie's token is stored as a hash; logging out ends bearer tokens too."""

    __tablename__ = "user_sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: When it last gave a code of the second factor.
    verified_at: Mapped[datetime | None]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]


class FavouriteSymbol(Owned, Base):
    """A symbol that its user keeps at the top of the list."""

    __tablename__ = "favourite_symbols"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    exchange: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


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
    __table_args__ = (sealed("secret"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[bytes] = mapped_column(Encrypted("user:{user_id}:second_factor"))
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None] = mapped_column(BigInteger)


class RecoveryCode(Identified, Owned, Base):
    """A code that stands in for the second factor once."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None]


class TokenScope(StrEnum):
    """What an API token may do; `admin` is what its owner may as an administrator, on top of the others."""

    READ = "read"
    TRADE = "trade"
    ADMIN = "admin"


class ApiToken(Identified, Owned, Base):
    """A program's key to this server, stored as a hash; the token itself was shown once."""

    __tablename__ = "api_tokens"
    __table_args__ = (CheckConstraint("scopes <@ ARRAY['read', 'trade', 'admin'] AND cardinality(scopes) > 0", name="scopes_known"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Invitation(Identified, Base):
    """The right to make one account. It belongs to the platform; `note` says for whom it is meant."""

    __tablename__ = "invitations"

    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    note: Mapped[str]
    made_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Something that was done to an account. The database numbers, dates and chains the rows, and lets nobody change one.

    `user_id` is None where nobody known asked. It is no foreign key: what somebody did outlives them.
    """

    __tablename__ = "audit_log"
    __table_args__ = (CheckConstraint("result IN ('done', 'refused')", name="result_known"), Index(None, "user_id", "number"))

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    user_id: Mapped[UUID | None]
    name: Mapped[str | None]
    action: Mapped[str]
    object: Mapped[str] = mapped_column(server_default="")
    result: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class PlatformSetting(Base):
    """A switch of the whole platform that outlives a restart; nobody's own."""

    __tablename__ = "platform_settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[datetime]
