"""Paper accounts for tests, made as a broker account makes them."""

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from app.core.db import Database
from app.core.ids import new_id
from app.exchanges.paper.records import Terms
from app.exchanges.paper.store import open_account


async def open_paper_account(database: Database, holds: Mapping[str, Decimal], *, fee: str = "0.001") -> UUID:
    """Open an account of a new user that starts with its USDT and has the other assets as well."""
    user_id, broker_id = new_id(), new_id()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO users (id, username) VALUES ($1, $2)", user_id, f"user-{user_id}")
        await connection.execute("INSERT INTO brokers (id, user_id, exchange, name) VALUES ($1, $2, 'paper', 'Paper')", broker_id, user_id)
    terms = Terms(balance_usdt=holds["USDT"], maker_fee=Decimal(fee), taker_fee=Decimal(fee))
    async with database.transaction() as session:
        await open_account(session, user_id, broker_id, terms)
    async with database.connection() as connection:
        await connection.executemany(
            "INSERT INTO paper_balances (broker_id, user_id, asset, free, locked) VALUES ($1, $2, $3, $4, 0)",
            [(broker_id, user_id, asset, amount) for asset, amount in holds.items() if asset != "USDT"],
        )
    return broker_id
