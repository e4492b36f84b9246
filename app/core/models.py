"""What every table shares: the metadata with its naming convention, the column types, and the tenant's mark."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, MetaData, Numeric, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION
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


class Encrypted(TypeDecorator[bytes]):
    """Ciphertext as text. It refuses anything that is not a Fernet token, so plaintext cannot reach the table by mistake."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Accept ciphertext only.

        Raises:
            ValueError: the value is not a Fernet token.
        """
        del dialect
        if value is None:
            return None
        if not value.startswith(b"gAAAA"):
            raise ValueError("encrypt the value before assigning it")
        return value.decode("ascii")

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Return ciphertext as bytes."""
        del dialect
        return None if value is None else value.encode("ascii")


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


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return the CHECK that keeps a text column inside an enum."""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Lease(Base):
    """Who holds a role, since which epoch and until when; `core.leases` takes and renews them."""

    __tablename__ = "leases"

    role: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    epoch: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[datetime]
