"""Which errors mean that the database is away or full: nothing is wrong with the work, and it goes on when the database can."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError

#: `OSError` is a refused or broken connection; SQLSTATE class 53 says that the server has no room left, on its disk for one; the others are
#: what asyncpg raises on a connection that has gone.
DATABASE_GONE: Final[tuple[type[BaseException], ...]] = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
#: The server undid the transaction to let another one pass: certainly nothing of it was stored.
UNDONE: Final[tuple[type[BaseException], ...]] = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def is_database_gone(error: BaseException | None) -> bool:
    """Tell whether `error`, one of the errors it groups, or the driver's error that SQLAlchemy wrapped in it is an outage."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_database_gone(part) for part in error.exceptions)
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_database_gone(error.orig.__cause__ if error.orig else None)
    return isinstance(error, DATABASE_GONE)
