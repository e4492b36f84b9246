from collections.abc import AsyncIterator

import pytest_asyncio

from app.core.database_url import DatabaseUrls
from tests.postgres import PostgresForTests


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[PostgresForTests]:
    """The one server of this run."""
    server = PostgresForTests()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def database_urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    """A fresh migrated database, dropped after the test."""
    urls = await postgres.create_database()
    yield urls
    await postgres.drop_database(urls)
