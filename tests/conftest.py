from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Final, Protocol

import pytest
import pytest_asyncio

from app.core.database_url import DatabaseUrls
from tests.fault_matrix import Results, write
from tests.postgres import PostgresForTests

RESULTS: Final = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: random histories in the number that a release is judged by, instead of what fits into every run."""
    parser.addoption("--full", action="store_true", help="run random histories at their full number (minutes)")
    parser.addoption("--fault-matrix", metavar="PAGE", help="write what the tests of the fault matrix came to into this page")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what the tests of the fault matrix come to."""
    report = yield
    marks = list(item.iter_markers("fault"))
    if marks and (report.when == "call" or report.outcome != "passed"):
        name = getattr(item, "originalname", item.name)
        item.config.stash[RESULTS].add(tuple(number for mark in marks for number in mark.args), name, report.outcome)
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at the whole run comes last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("--fault-matrix")
    if page:
        write(Path(page), session.config.stash[RESULTS])


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
