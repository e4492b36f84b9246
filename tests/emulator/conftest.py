import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pytest
import pytest_asyncio

from tests.emulator_process import EmulatorProcess, SignedClient, steps, write_candles

SECRET = "secret-of-a-test"
BALANCES = {"USDT": "1000000", "BTC": "1"}

# Flat at 60000 for an hour of history and a while beyond, down to 59000, up to 61000, flat.
PRICES = [*([60000.0] * 70), *range(59900, 58900, -100), *range(59100, 61100, 100), *([61000.0] * 40)]
NOW_MINUTE = 60

StartEmulator = Callable[..., EmulatorProcess]

_numbers = itertools.count(1)


class LoopbackBinance(ccxt.binance):  # type: ignore[misc]  # ccxt carries no types
    """ccxt picks the spot error table by the host's name, which a loopback address does not have."""

    def get_exceptions_by_url(self, url: str, kind: str) -> Any:
        return self.safe_dict(self.exceptions["spot"], kind, {})


@pytest.fixture
def start_emulator() -> Iterator[StartEmulator]:
    """Start emulators that are stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(EmulatorProcess(*arguments))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A recorded market whose every price is known."""
    return write_candles(tmp_path / "binance-BTCUSDT-1m-script.csv", steps(PRICES))


@pytest.fixture
def emulator(start_emulator: StartEmulator, script: Path) -> EmulatorProcess:
    """An emulator whose market stands still at 60000 until a test moves it."""
    return start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused")


@pytest.fixture(scope="session")
def standing_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for all tests that leave the market where it stands: at 60000."""
    path = write_candles(tmp_path_factory.mktemp("standing") / "binance-BTCUSDT-1m-script.csv", steps(PRICES))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused") as process:
        yield process


@pytest.fixture(scope="session")
def movable_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for all tests that move the price by hand and nothing else."""
    path = write_candles(tmp_path_factory.mktemp("movable") / "binance-BTCUSDT-1m-script.csv", steps(PRICES))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused") as process:
        yield process


@pytest.fixture
def at_60000(movable_emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The movable emulator without orders, its price at 60000, a bid there and an ask one tick above."""
    state = movable_emulator.state()
    if state["open_order_count"]:
        for account in state["accounts"]:
            movable_emulator.open_account(account["api_key"], SECRET, {})
    movable_emulator.price(60001)
    movable_emulator.price(60000)
    yield movable_emulator
    movable_emulator.control("POST", "/_depth", {"symbol": "BTCUSDT", "bids": None, "asks": None})


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[SignedClient]:
    """A bare signed client with an account of its own."""
    yield account_on(emulator)
    emulator.control("DELETE", "/_fault")


def account_on(emulator: EmulatorProcess) -> SignedClient:
    """Open a new account."""
    api_key = f"key-of-test-{next(_numbers)}"
    emulator.open_account(api_key, SECRET, BALANCES)
    return SignedClient(emulator=emulator, api_key=api_key, api_secret=SECRET)


def connect_ccxt(client: SignedClient, session: aiohttp.ClientSession) -> Any:
    emulator = client.emulator
    exchange = LoopbackBinance(
        {
            "apiKey": client.api_key,
            "secret": client.api_secret,
            "session": session,
            "enableRateLimit": False,
            "timeout": 5000,
            "options": {
                "defaultType": "spot",
                "fetchMarkets": {"types": ["spot"]},
                "fetchMargins": False,
                "fetchCurrencies": False,
                "adjustForTimeDifference": True,
                "recvWindow": 5000,
            },
        }
    )
    exchange.number = str
    api = exchange.urls["api"]
    for name, url in api.items():
        if isinstance(url, str):
            api[name] = f"{emulator.url}/BLOCKED"
    api["public"] = api["private"] = f"{emulator.url}/api/v3"
    api["sapi"] = f"{emulator.url}/sapi/v1"
    return exchange


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        yield opened
    await asyncio.sleep(0)


@pytest_asyncio.fixture
async def exchange(client: SignedClient, session: aiohttp.ClientSession) -> AsyncIterator[Any]:
    """An unmodified ccxt client (but for its error table) of the emulator."""
    connected = connect_ccxt(client, session)
    try:
        yield connected
    finally:
        await connected.close()
