"""Broker accounts: a user's account at an exchange, with its encrypted keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Encrypted, Identified, Owned, sealed
from app.domain.risk import MODES
from app.exchanges.catalogue import PAPER

_MODES = "ARRAY[{}]".format(", ".join(f"'{mode.value}'" for mode in MODES))


class Broker(Identified, Owned, Base):
    """One account at one exchange. Removed accounts stay as rows, without keys, because their orders do.

    `trading_modes` are the sources whose orders it takes (`domain.risk`); none of them is off. `key_rights` is what the exchange said of
    its key at the last test (`exchanges.key_rights`), None where it did not say. `subaccount_name` is for people, but where a venue takes
    it (`exchanges.catalogue`).
    """

    __tablename__ = "brokers"
    __table_args__ = (
        *(sealed(column) for column in ("api_key", "api_secret", "api_password", "api_uid")),
        Index("uq_brokers_user_id_name", "user_id", func.lower(text("name")), unique=True, postgresql_where=text("removed_at IS NULL")),
        Index("uq_brokers_user_id_default", "user_id", unique=True, postgresql_where=text("is_default AND removed_at IS NULL")),
        CheckConstraint(f"trading_modes <@ {_MODES}", name="trading_modes_known"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    exchange: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    api_key: Mapped[bytes | None] = mapped_column(Encrypted("user:{user_id}:broker:{id}:api_key", before="broker:{id}:api_key"))
    api_secret: Mapped[bytes | None] = mapped_column(Encrypted("user:{user_id}:broker:{id}:api_secret", before="broker:{id}:api_secret"))
    api_password: Mapped[bytes | None] = mapped_column(
        Encrypted("user:{user_id}:broker:{id}:api_password", before="broker:{id}:api_password")
    )
    api_uid: Mapped[bytes | None] = mapped_column(Encrypted("user:{user_id}:broker:{id}:api_uid", before="broker:{id}:api_uid"))
    key_hint: Mapped[str] = mapped_column(server_default="")
    subaccount_name: Mapped[str | None]
    is_default: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_testnet: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    trading_modes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text(_MODES))
    key_rights: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    paused_reason: Mapped[str | None]
    last_connection_test: Mapped[datetime | None]
    last_connection_success: Mapped[bool | None] = mapped_column(Boolean)
    last_connection_message: Mapped[str | None]
    last_latency_ms: Mapped[int | None]
    last_balance_update: Mapped[datetime | None]
    #: The symbol that its user traded or looked at last.
    last_symbol: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]

    @property
    def is_paper(self) -> bool:
        """Whether it trades play money on the paper exchange."""
        return self.exchange == PAPER
