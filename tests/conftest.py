from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import pytest_asyncio

from app.core.database_url import DatabaseUrls
from tests.postgres import PostgresForTests


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: random histories in the number that a release is judged by, instead of what fits into every run."""
    parser.addoption("--full", action="store_true", help="run random histories at their full number (minutes)")


class Size(Protocol):
    """How many random histories to live through."""

    def __call__(self, usual: int, *, full: int) -> int: ...


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    """Choose between what fits into every run and what `--full` asks for."""
    is_full = bool(request.config.getoption("--full"))
    return lambda usual, *, full: full if is_full else usual


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
