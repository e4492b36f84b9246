from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
import pytest_asyncio
import structlog

from app.core.database_url import DatabaseUrls
from tests import forked
from tests.environment import keep_bytecode, keep_kernels
from tests.fault_matrix import Results, write
from tests.leaks import found_in_databases, leaks_in_files
from tests.postgres import PostgresForTests
from tests.sandbox.attacks import table as attack_table

RESULTS: Final = pytest.StashKey[Results]()
ATTACKS: Final = pytest.StashKey[attack_table.Results]()
LEAKS: Final = pytest.StashKey[list[str]]()
#: The run's exit code when a secret was written down.
LEAKED: Final = 13


#: Folders whose files take a minute each, longest first; the files of the others are short, which fills every process to the end.
_FIRST: Final = ("journeys", "webhooks", "migrations", "ui")


def _part(item: pytest.Item) -> str:
    """The folder of tests/ that a test stands in."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: random histories in the number that a release is judged by, instead of what fits into every run."""
    parser.addoption("--full", action="store_true", help="run random histories at their full number (minutes)")
    parser.addoption("--fault-matrix", metavar="PAGE", help="write what the tests of the fault matrix came to into this page")
    parser.addoption("--attack-table", metavar="PAGE", help="write what the attacks on the jail came to into this page")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that nobody waits for it alone at the end, and leave out what runs with `--full` alone."""
    items.sort(key=lambda item: _FIRST.index(part) if (part := _part(item)) in _FIRST else len(_FIRST))
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which rows of the fault matrix a test shows; the note travels with its report, from another process too."""
    report = yield
    numbers = [number for mark in item.iter_markers("fault") for number in mark.args]
    if numbers and (report.when == "call" or report.outcome != "passed"):
        report.user_properties.append(("fault", [getattr(item, "originalname", item.name), numbers]))
    return report


def pytest_configure(config: pytest.Config) -> None:
    keep_bytecode()
    keep_kernels()
    forked.hashes_cost_nothing = True
    _log_plainly()
    config.stash[RESULTS] = Results()
    config.stash[ATTACKS] = attack_table.Results()
    config.stash[LEAKS] = []
    config.pluginmanager.register(_Collector(config), "what the whole run came to")


def _log_plainly() -> None:
    """Log an exception as the server does. By itself structlog draws every variable of every frame, seconds for one of a whole request."""
    *processors, _ = structlog.get_config()["processors"]
    structlog.configure([*processors, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)])


class _Collector:
    """Sums up what the tests of all processes came to: rows of two tables, and secrets that were written down somewhere."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "fault" and isinstance(value, list):
                self._config.stash[RESULTS].add(tuple(value[1]), value[0], report.outcome)
            if name == "attack" and isinstance(value, list) and report.when == "call":
                self._config.stash[ATTACKS].add(*value)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """One of several processes has ended: take over what it found."""
        del error
        self._config.stash[LEAKS].extend(getattr(node, "workeroutput", {}).get("leaks", []))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look through the logs and databases of this process; the one that leads fails the run when anybody found something."""
        config = self._config
        folders = getattr(config, "_tmp_path_factory", None)
        found = [*found_in_databases, *(f"{path.name}: {leak}" for path, leak in leaks_in_files(folders.getbasetemp()))] if folders else []
        output = getattr(config, "workeroutput", None)
        if output is not None:
            output["leaks"] = found
            return
        config.stash[LEAKS].extend(found)
        if config.stash[LEAKS]:
            # No test failed, so none can make it good by passing the second time.
            session.exitstatus = LEAKED
        if page := config.getoption("--fault-matrix"):
            write(Path(page), config.stash[RESULTS])
        if page := config.getoption("--attack-table"):
            attack_table.write(Path(page), config.stash[ATTACKS])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        leaks = self._config.stash[LEAKS]
        for leak in sorted(set(leaks)):
            terminalreporter.write_line(f"a secret was written down: {leak}", red=True)
        if not leaks:
            terminalreporter.write_line("no key, signature or secret stands in the logs and databases of this run")


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
