from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.core.database_url import DatabaseUrls
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess, steps, write_candles
from tests.journeys.chromium import running_chromium
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests
from tests.server_process import ServerProcess

StartServer = Callable[..., ServerProcess]
MakeTrader = Callable[..., Trader]


def settings_for(emulator: EmulatorProcess, urls: DatabaseUrls, **settings: object) -> dict[str, Any]:
    """Return what a server needs to trade at an emulator, quicker than in production where waiting would only cost time."""
    return {
        "database_url": urls.app,
        "database_owner_url": urls.owner,
        "binance_rest_url": emulator.url,
        "binance_stream_url": emulator.ws_url,
        "heartbeat_symbols": "BTC/USDT",
        "heartbeat_history_minutes": 30,
        "reconcile_interval_s": 1,
        "reconcile_settle_s": 0.2,
        "equity_interval_s": 2,
        # Nobody listens there: no test asks the real one.
        "openrouter_url": "http://127.0.0.1:9/v1",
    } | settings


def end(server: ServerProcess) -> None:
    """End a server at once, if it has not ended already; nothing is kept of a test."""
    with suppress(AssertionError):
        server.kill()


@pytest.fixture(scope="package")
def market() -> Iterator[EmulatorProcess]:
    """An exchange with a made-up market, twenty minutes a minute. Tests keep to accounts of their own."""
    with EmulatorProcess(
        "--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--speed", "20", "--history", "600", *WITHOUT_LIMITS
    ) as process:
        yield process


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    """The database behind `shared_server`."""
    urls = await postgres.create_database()
    yield urls
    await postgres.drop_database(urls)


@pytest.fixture(scope="package")
def shared_server(market: EmulatorProcess, shared_urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that neither stop it nor need an empty one. Each trader signs up as a user of their own."""
    settings = settings_for(market, shared_urls, registration="open", heartbeat_symbols="BTC/USDT,ETH/USDT")
    with ServerProcess(tmp_path_factory.mktemp("shared-server"), **settings) as process:
        yield process


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests, each of which has a context of its own: starting one takes as long as a short test."""
    async with running_chromium() as running:
        yield running


@pytest.fixture
def start_server(database_urls: DatabaseUrls, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers on the test's own database, all with the same data directory; they are ended with it."""
    with ExitStack() as stack:

        def start(emulator: EmulatorProcess, **settings: object) -> ServerProcess:
            server = ServerProcess(tmp_path / "data", **settings_for(emulator, database_urls, **settings))
            stack.callback(end, server)
            return server.start()

        yield start


@pytest.fixture
def make_trader() -> Iterator[MakeTrader]:
    """Make traders, not yet logged in, whose connections are closed at the end of the test."""
    with ExitStack() as stack:

        def make(server: ServerProcess, emulator: EmulatorProcess) -> Trader:
            trader = Trader(server, emulator)
            stack.callback(trader.close)
            return trader

        yield make


@pytest.fixture
def paused_market(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000 until a test moves it."""
    path = write_candles(tmp_path / "binance-BTCUSDT-1m-standing.csv", steps([60000.0] * 600))
    with EmulatorProcess("--replay", str(path), "--history", "60", "--paused") as process:
        yield process
