"""Symbols that a user keeps at the top of the list. Knows no HTTP, and not whether an exchange lists them."""

from typing import Final
from uuid import UUID

from app.core.db import Database
from app.core.i18n import N_
from app.errors import InvalidInput

MOST: Final = 200
_ALL: Final = "SELECT symbol FROM favourite_symbols WHERE user_id = $1 AND exchange = $2"
#: One more is taken only while there is room; what is kept already is no further one.
_ADD: Final = """
INSERT INTO favourite_symbols (user_id, exchange, symbol)
SELECT $1, $2, $3 WHERE (SELECT count(*) FROM favourite_symbols WHERE user_id = $1 AND exchange = $2 AND symbol <> $3) < $4
ON CONFLICT ON CONSTRAINT pk_favourite_symbols DO UPDATE SET symbol = excluded.symbol RETURNING symbol
"""
_REMOVE: Final = "DELETE FROM favourite_symbols WHERE user_id = $1 AND exchange = $2 AND symbol = $3"
_FULL: Final = N_("You have very many favourites; take some away first.")


async def favourites_of(database: Database, user_id: UUID, exchange: str) -> frozenset[str]:
    """Return the user's favourite symbols of an exchange."""
    async with database.connection() as connection:
        return frozenset(row["symbol"] for row in await connection.fetch(_ALL, user_id, exchange))


async def keep(database: Database, user_id: UUID, exchange: str, symbol: str) -> None:
    """Make a symbol a favourite; one that is one stays it.

    Raises:
        InvalidInput: there are as many as one may have.
    """
    async with database.connection() as connection:
        if await connection.fetchval(_ADD, user_id, exchange, symbol, MOST) is None:
            raise InvalidInput(_FULL, field="symbol")


async def drop(database: Database, user_id: UUID, exchange: str, symbol: str) -> None:
    """Make a symbol no favourite any more."""
    async with database.connection() as connection:
        await connection.execute(_REMOVE, user_id, exchange, symbol)
