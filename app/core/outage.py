"""Which errors mean that the database is away: nothing is wrong with the work, and it goes on when the database is back."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError

#: `OSError` is a refused or broken connection; the others are what asyncpg raises on one that has gone.
DATABASE_GONE: Final[tuple[type[BaseException], ...]] = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


def is_database_gone(error: BaseException | None) -> bool:
    """Tell whether `error`, one of the errors it groups, or the driver's error that SQLAlchemy wrapped in it is an outage."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_database_gone(part) for part in error.exceptions)
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_database_gone(error.orig.__cause__ if error.orig else None)
    return isinstance(error, DATABASE_GONE)
