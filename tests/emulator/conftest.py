import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pytest
import pytest_asyncio

from tests.emulator_process import EmulatorProcess, SignedClient, steps, write_candles

KEY, SECRET = "key-of-a-test", "secret-of-a-test"
BALANCES = {"USDT": "1000000", "BTC": "1"}

# Flat at 60000 for an hour of history and a while beyond, down to 59000, up to 61000, flat.
PRICES = [*([60000.0] * 70), *range(59900, 58900, -100), *range(59100, 61100, 100), *([61000.0] * 40)]
NOW_MINUTE = 60

StartEmulator = Callable[..., EmulatorProcess]


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
    """An emulator whose market stands still at 60000 until a test moves it, with one account."""
    process = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused")
    process.open_account(KEY, SECRET, BALANCES)
    return process


@pytest.fixture
def client(emulator: EmulatorProcess) -> SignedClient:
    """A bare signed client."""
    return SignedClient(emulator=emulator, api_key=KEY, api_secret=SECRET)


def connect_ccxt(emulator: EmulatorProcess, session: aiohttp.ClientSession, *, api_key: str = KEY, secret: str = SECRET) -> Any:
    exchange = LoopbackBinance(
        {
            "apiKey": api_key,
            "secret": secret,
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
async def exchange(emulator: EmulatorProcess, session: aiohttp.ClientSession) -> AsyncIterator[Any]:
    """An unmodified ccxt client (but for its error table) of the emulator."""
    connected = connect_ccxt(emulator, session)
    try:
        yield connected
    finally:
        await connected.close()
