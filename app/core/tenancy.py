"""The doors to a tenant's rows: `owned`, and beneath it row-level security, which knows for whom this task works.

A database for tenants (`core.db`) shows the rows of the user whose work this is, and none when nobody has said whose it is. So a query that
forgets `owned` finds nothing of anybody else's. What works for all users, the engine and its loops, has a database of its own that says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, select

from app.core.models import Owned

T = TypeVar("T", bound=Owned)

_TENANT: Final[ContextVar[UUID | None]] = ContextVar("tenant", default=None)


def owned(model: type[T], user_id: UUID) -> Select[T]:
    """Return a SELECT of `model` that sees the rows of this user only."""
    return select(model).where(model.user_id == user_id)


def enter_tenant(user_id: UUID) -> None:
    """From now on this task, and what it starts, works for that user: for the rest of a request."""
    _TENANT.set(user_id)


@contextmanager
def working_for(user_id: UUID | None) -> Iterator[None]:
    """Work for that user inside the block; for nobody when it is None, until `enter_tenant` says for whom."""
    token = _TENANT.set(user_id)
    try:
        yield
    finally:
        _TENANT.reset(token)


def present_tenant() -> UUID | None:
    """Return for whom this task works; None when nobody has said so."""
    return _TENANT.get()
