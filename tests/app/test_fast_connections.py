"""The connections that the fast path keeps at hand, when the database ends them."""

import asyncio

import pytest
import pytest_asyncio

from app.core.db import Database
from tests.app.conftest import SYMBOL, Pieces
from tests.app.stored import PLENTY, PRICE, told

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def ready(pieces: Pieces) -> Pieces:
    """An account that has traded before, with a price at hand: its next entry goes the fast way."""
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=PRICE, ask=PRICE, last=PRICE)
    await told(pieces, PLENTY)
    await pieces.filled()
    return pieces


async def test_a_connection_that_the_database_ended_while_it_was_kept_is_replaced(ready: Pieces) -> None:
    await ready.filled()
    async with ready.database.fast_connection() as connection:
        ended = await connection.fetchval("SELECT pg_backend_pid()")
    await ready.rows("SELECT pg_terminate_backend($1, 5000)", ended)
    await asyncio.sleep(0.05)
    await ready.filled()
    async with ready.database.fast_connection() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") != ended


async def test_a_connection_that_the_database_ended_while_it_was_in_use_takes_no_place(ready: Pieces) -> None:
    for _ in range(20):
        async with ready.database.fast_connection() as connection:
            await ready.rows("SELECT pg_terminate_backend($1, 5000)", await connection.fetchval("SELECT pg_backend_pid()"))
            await asyncio.sleep(0.02)
    await ready.filled()


@pytest.mark.parametrize("which", ["connection", "fast_connection", "raw_transaction"])
async def test_a_process_that_freezes_in_a_transaction_keeps_its_locks_for_five_seconds_at_most(pieces: Pieces, which: str) -> None:
    async with getattr(pieces.database, which)() as connection:
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"


async def test_a_database_that_is_closed_during_a_statement_waits_for_it_and_no_longer(pieces: Pieces) -> None:
    database = Database(pieces.database._url)
    await database.open()

    async def work() -> None:
        async with database.fast_connection() as connection:
            await connection.execute("SELECT pg_sleep(0.3)")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(work())
        await asyncio.sleep(0.1)
        await database.close()
