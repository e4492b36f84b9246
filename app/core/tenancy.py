"""The one door to a tenant's rows."""

from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, select

from app.core.models import Owned

T = TypeVar("T", bound=Owned)


def owned(model: type[T], user_id: UUID) -> Select[T]:
    """Return a SELECT of `model` that sees the rows of this user only."""
    return select(model).where(model.user_id == user_id)
