"""What every table shares: the metadata with its naming convention, the column types, and the tenant's mark."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, Dialect, Index, MetaData, Numeric, Text, TypeDecorator, func, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.ids import new_id

#: A named constraint maps to a named error, so every constraint has a name one can predict.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Money = Numeric(38, 18, asdecimal=True)
#: Candles alone are binary floats: 15 significant digits go round exactly and load straight into numpy.
CandleFloat = DOUBLE_PRECISION
Timestamp = DateTime(timezone=True)


#: Version 0x80 and a time before the year 2106, then at least an initialisation vector, one block and a MAC: 73 bytes in URL-safe base64.
#: Source: github.com/fernet/spec, Spec.md "Token Format".
CIPHERTEXT = "^gAAAA[A-Za-z0-9_-]{93,}={0,2}$"
_CIPHERTEXT = re.compile(CIPHERTEXT.encode())


class Encrypted(TypeDecorator[bytes]):
    """Ciphertext as text. It refuses anything that is not a Fernet token, so plaintext cannot reach the table by mistake.

    Args:
        place: What the ciphertext is bound to, from the row's own columns: `user:{user_id}:broker:{id}:api_key`. It names whose it is.
        before: How an earlier version of this program called that place.
    """

    impl = Text
    cache_ok = True

    def __init__(self, place: str, *, before: str | None = None) -> None:
        super().__init__()
        self.place = place
        self.before = before

    def named(self, row: Mapping[str, Any]) -> dict[str, str | None]:
        """Return `context` and `before` of one row, as `Vault.open` takes them."""
        return {"context": self.place.format(**row), "before": None if self.before is None else self.before.format(**row)}

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Accept ciphertext only.

        Raises:
            ValueError: the value is not a Fernet token.
        """
        del dialect
        if value is None:
            return None
        if _CIPHERTEXT.fullmatch(value) is None:
            raise ValueError("encrypt the value before assigning it")
        return value.decode("ascii")

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Return ciphertext as bytes."""
        del dialect
        return None if value is None else value.encode("ascii")


def sealed(column: str) -> CheckConstraint:
    """Return the CHECK by which PostgreSQL itself refuses plaintext in a column of type `Encrypted`, whoever writes it."""
    return CheckConstraint(f"{column} ~ '{CIPHERTEXT}'", name=f"{column}_sealed")


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it as a class attribute
        Decimal: Money,
        datetime: Timestamp,
        UUID: PG_UUID(as_uuid=True),
        str: Text,
    }


class Identified:
    """A row with a UUIDv7 made in Python."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)


class Owned:
    """A row that belongs to one user. Read it through `core.tenancy.owned` only."""

    user_id: Mapped[UUID]


def one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    """Return the CHECK that keeps a text column inside an enum, or some of its values."""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Lease(Base):
    """Who holds a role, since which epoch and until when; `core.leases` takes and renews them."""

    __tablename__ = "leases"

    role: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    epoch: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[datetime]


class EncryptionKey(Base):
    """A key that secrets are or were sealed with, by its fingerprint; one of them seals. `core.keyring` reads and writes it."""

    __tablename__ = "encryption_keys"
    __table_args__ = (
        CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name="fingerprint_form"),
        Index("uq_encryption_keys_sealing", "is_sealing", unique=True, postgresql_where=text("is_sealing")),
    )

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    is_sealing: Mapped[bool] = mapped_column(Boolean)
    added_at: Mapped[datetime] = mapped_column(server_default=func.now())


class KeyHolder(Base):
    """A running server process and the keys it has, by their fingerprints; written every few seconds, so one that is silent is gone."""

    __tablename__ = "key_holders"

    process: Mapped[str] = mapped_column(primary_key=True)
    fingerprints: Mapped[list[str]] = mapped_column(ARRAY(Text))
    #: The one it seals with, whether it has it or not.
    sealing: Mapped[str | None]
    seen_at: Mapped[datetime]
